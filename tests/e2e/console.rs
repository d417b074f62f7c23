//! The administration console, signals and reloads, as PgBouncer's tools and operators know them.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

#[path = "console/columns.rs"]
mod columns;

use nix::sys::signal::Signal;
use sluice_tests::message::{self, query};
use sluice_tests::{Client, Config, Failure, PATIENCE, Pooler, Postgres};

fn scene(more: impl FnOnce(Config) -> Config) -> (Postgres, Pooler) {
    let postgres = Postgres::start();
    let pooler = more(Config::new(&postgres)).start();
    (postgres, pooler)
}

/// The command's tag; it must succeed.
fn done(console: &mut Client, command: &str) -> String {
    let reply = console.query(command).unwrap_or_else(|failure| panic!("{command}: {failure:?}"));
    assert!(reply.errors().is_empty(), "{command}: {:?}", reply.errors());
    assert_eq!(reply.status(), 'I');
    reply.commands().pop().unwrap()
}

/// The command's error.
fn refused(console: &mut Client, command: &str) -> String {
    let reply = console.query(command).unwrap_or_else(|failure| panic!("{command}: {failure:?}"));
    assert_eq!(reply.errors().len(), 1, "{command}");
    assert_eq!((reply.errors()[0].severity(), reply.code().as_str()), ("ERROR", "08P01"), "{command}");
    reply.errors()[0].message().to_owned()
}

#[test]
fn a_console_greets_as_pgbouncer_and_talks_to_psql() {
    let (_postgres, pooler) = scene(|config| config);
    let mut console = pooler.console();
    assert_eq!(console.parameters["server_version"], "1.25.2/bouncer");
    assert_eq!(console.parameters["client_encoding"], "UTF8");
    assert_eq!(console.parameters["is_superuser"], "on");
    assert!(pooler.show("VERSION").rows[0][0].starts_with("PgBouncer 1.25.2"));
    assert_eq!(done(&mut console, "show version;"), "SHOW");
    assert_eq!(console.value("SHOW client_encoding"), "UTF-8");
    assert_eq!(done(&mut console, "SET client_encoding TO 'UTF8'"), "SET");
    assert_eq!(refused(&mut console, "NONSENSE"), "invalid command 'NONSENSE', use SHOW HELP;");
    console.query("SHOW HELP").unwrap();
    assert!(console.notices.iter().any(|notice| notice == "Console usage"), "{:?}", console.notices);
    console.terminate();
}

#[test]
fn what_a_client_does_not_read_is_seen_in_its_buffers() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.send(&query("SELECT repeat('x', 100000) FROM generate_series(1, 1000)")).unwrap();
    let sockets = pooler.until("SOCKETS", |sockets| sockets.filter("user", "alice").sum("send_avail") > 0);
    let held = sockets.filter("user", "alice").sum("send_avail");
    assert!(held < 1_000_000, "{held} bytes of a result of a hundred million");
    let active = pooler.show("ACTIVE_SOCKETS").filter("user", "alice");
    assert_eq!(active.column("state"), ["cl_active", "sv_active"]);
    let mut console = pooler.console();
    let show = [message::extended("SHOW SOCKETS", &[]), message::sync()].concat();
    let reply = console.exchange(&show).unwrap();
    assert_eq!((reply.rows().len(), reply.status()), (3, 'I'));
}

#[test]
fn the_extended_protocol_works_without_parameters() {
    let (_postgres, pooler) = scene(|config| config);
    let mut console = pooler.console();
    let reply =
        console.exchange(&[message::extended("SHOW VERSION", &[]), message::sync()].concat()).unwrap();
    assert_eq!(reply.tags(), "12TDCZ");
    assert!(reply.value().starts_with("PgBouncer"));
    let reply = console.exchange(&[message::extended("NONSENSE", &[]), message::sync()].concat()).unwrap();
    assert_eq!((reply.code().as_str(), reply.status()), ("08P01", 'I'));
    assert_eq!(done(&mut console, "SHOW STATE"), "SHOW");
}

#[test]
fn pause_waits_for_transactions_and_resume_goes_on() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    let mut console = pooler.console();
    console.send(&query("PAUSE")).unwrap();
    pooler.until("STATE", |state| state.filter("key", "paused").rows == [["paused", "yes"]]);
    assert_eq!(client.value("SELECT 'in its transaction'"), "in its transaction");
    assert_eq!(client.query("COMMIT").unwrap().status(), 'I');
    assert_eq!(console.reply().unwrap().commands(), ["PAUSE"]);

    client.send(&query("SELECT 'held back'")).unwrap();
    pooler.until("POOLS", |pools| pools.filter("database", "postgres").sum("cl_waiting") == 1);
    assert!(pooler.show("SERVERS").rows.is_empty(), "paused means no server connection is left");
    assert_eq!(refused(&mut console, "PAUSE"), "already suspended/paused");
    assert_eq!(done(&mut console, "RESUME"), "RESUME");
    assert_eq!(client.reply().unwrap().value(), "held back");
    assert_eq!(refused(&mut console, "RESUME"), "pooler is not paused/suspended");
}

#[test]
fn pause_of_one_database_leaves_the_others() {
    let postgres = Postgres::start();
    postgres.sql("CREATE DATABASE second");
    let connection = format!("host=127.0.0.1 port={}", postgres.port());
    let pooler = Config::empty().database("postgres", &connection).database("second", &connection).start();
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    let mut second = pooler.login("alice", "second").connect().unwrap();
    let mut console = pooler.console();
    assert_eq!(done(&mut console, "PAUSE postgres"), "PAUSE");
    assert_eq!(second.value("SELECT 'served'"), "served");
    client.send(&query("SELECT 'later'")).unwrap();
    pooler.until("POOLS", |pools| pools.filter("database", "postgres").sum("cl_waiting") == 1);
    assert_eq!(pooler.show("DATABASES").filter("name", "postgres").column("paused"), ["1"]);
    assert_eq!(done(&mut console, "RESUME postgres"), "RESUME");
    assert_eq!(client.reply().unwrap().value(), "later");
    assert_eq!(refused(&mut console, "RESUME postgres"), "database postgres is not paused");
    assert_eq!(refused(&mut console, "PAUSE nowhere"), "no such database: nowhere");
    assert_eq!(refused(&mut console, "PAUSE pgbouncer"), "cannot pause admin db: pgbouncer");
}

#[test]
fn a_pause_whose_console_leaves_or_cancels_is_over() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    let mut console = pooler.console();
    console.send(&query("PAUSE")).unwrap();
    pooler.until("STATE", |state| state.filter("key", "paused").rows == [["paused", "yes"]]);
    console.cancel().unwrap();
    pooler.until("STATE", |state| state.filter("key", "paused").rows == [["paused", "no"]]);
    client.query("COMMIT").unwrap();
    assert_eq!(client.value("SELECT 'on'"), "on");
}

#[test]
fn reconnect_replaces_servers_once_they_are_free_and_wait_close_waits_for_it() {
    let (_postgres, pooler) = scene(|config| config);
    let mut held = pooler.client("alice");
    held.query("BEGIN").unwrap();
    let pid = held.value("SELECT pg_backend_pid()");
    let mut idle = pooler.client("alice");
    let idle_pid = idle.value("SELECT pg_backend_pid()");
    let mut console = pooler.console();
    assert_eq!(done(&mut console, "RECONNECT postgres"), "RECONNECT");
    assert_ne!(idle.value("SELECT pg_backend_pid()"), idle_pid);
    console.send(&query("WAIT_CLOSE postgres")).unwrap();
    assert_eq!(held.value("SELECT pg_backend_pid()"), pid);
    held.query("COMMIT").unwrap();
    assert_eq!(console.reply().unwrap().commands(), ["WAIT_CLOSE"]);
    assert_ne!(held.value("SELECT pg_backend_pid()"), pid);
}

#[test]
fn disable_refuses_new_logins_and_enable_lets_them_in() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    let mut console = pooler.console();
    assert_eq!(done(&mut console, "DISABLE postgres"), "DISABLE");
    let failure = pooler.login("alice", "postgres").connect().unwrap_err();
    assert_eq!(failure.text(), "database \"postgres\" is disabled");
    assert_eq!(client.value("SELECT 'already in'"), "already in");
    assert_eq!(done(&mut console, "ENABLE postgres"), "ENABLE");
    assert_eq!(pooler.client("alice").value("SELECT 1"), "1");
    assert_eq!(refused(&mut console, "DISABLE"), "a database is required");
    assert_eq!(refused(&mut console, "DISABLE pgbouncer"), "cannot disable admin db: pgbouncer");
}

#[test]
fn kill_closes_everybody_and_resume_lets_them_come_back() {
    let (_postgres, pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    let mut console = pooler.console();
    assert_eq!(done(&mut console, "KILL postgres"), "KILL");
    client.closed().unwrap();
    assert!(pooler.show("SERVERS").rows.is_empty());
    assert_eq!(done(&mut console, "RESUME postgres"), "RESUME");
    assert_eq!(pooler.client("alice").value("SELECT 1"), "1");
}

#[test]
fn kill_client_closes_that_one() {
    let (_postgres, pooler) = scene(|config| config);
    let mut victim =
        pooler.login("alice", "postgres").parameter("application_name", "victim").connect().unwrap();
    let mut other = pooler.client("alice");
    let id = pooler.show("CLIENTS").filter("application_name", "victim").column("id").pop().unwrap();
    let mut console = pooler.console();
    assert_eq!(done(&mut console, &format!("KILL_CLIENT {id}")), "KILL_CLIENT");
    let told = victim.closed().unwrap().unwrap();
    assert_eq!((told.severity(), told.message()), ("FATAL", "admin forced disconnect"));
    assert_eq!(other.value("SELECT 'untouched'"), "untouched");
    assert_eq!(refused(&mut console, "KILL_CLIENT 999999"), "client not found");
    assert_eq!(refused(&mut console, "KILL_CLIENT rubbish"), "invalid client pointer supplied");
}

#[test]
fn set_changes_a_setting_and_refuses_bad_values() {
    let (_postgres, pooler) = scene(|config| config);
    let mut console = pooler.console();
    let value = || pooler.show("CONFIG").filter("key", "default_pool_size").column("value");
    for (command, shown) in [
        ("SET default_pool_size = 7", "7"),
        ("SET default_pool_size TO 8", "8"),
        ("set default_pool_size='9';", "9"),
    ] {
        assert!(done(&mut console, command).starts_with("SET"), "{command}");
        assert_eq!(value(), [shown], "{command}");
    }
    for command in ["SET default_pool_size = many", "SET no_such_key = 1"] {
        assert_eq!(refused(&mut console, command), "SET failed", "{command}");
    }
    assert_eq!(value(), ["9"]);
}

#[test]
fn reload_takes_a_new_configuration_whole() {
    let (postgres, mut pooler) = scene(|config| config.set("default_pool_size", "5"));
    let mut client = pooler.client("alice");
    let pid = client.value("SELECT pg_backend_pid()");
    let config = Config::new(&postgres).set("default_pool_size", "6").user("carol", "new here");
    pooler.rewrite(&config);
    assert_eq!(done(&mut pooler.console(), "RELOAD"), "RELOAD");
    assert_eq!(pooler.show("CONFIG").filter("key", "default_pool_size").column("value"), ["6"]);
    assert_eq!(client.value("SELECT pg_backend_pid()"), pid, "servers stay");
    assert!(pooler.show("USERS").column("name").contains(&"carol".to_owned()));

    let mark = pooler.log().mark();
    pooler.rewrite(&config.set("default_pool_size", "7"));
    pooler.process().signal(Signal::SIGHUP);
    assert!(pooler.log().wait_after(mark, "got SIGHUP, re-reading config").is_some());
    pooler.until("CONFIG", |config| config.filter("key", "default_pool_size").column("value") == ["7"]);
}

#[test]
fn a_bad_reload_changes_nothing_wherever_the_bad_line_stands() {
    let (postgres, pooler) = scene(|config| config.set("default_pool_size", "5"));
    let mut console = pooler.console();
    let mut client = pooler.client("alice");
    let before = pooler.show("CONFIG").rows;
    let changed = Config::new(&postgres).set("default_pool_size", "6");
    for (bad, wrong) in [
        (changed.clone().set("no_such_key", "1"), "no_such_key"),
        (changed.clone().set("pool_mode", "telepathy"), "pool_mode"),
        (changed.clone().text("this is no line\n"), "this is no line"),
        (changed.clone().text("[nonsense]\n"), "nonsense"),
        (changed.clone().database("broken", "host="), "broken"),
    ] {
        let mark = pooler.log().mark();
        pooler.rewrite(&bad);
        let reply = console.query("RELOAD").unwrap();
        assert_eq!(reply.code(), "F0000", "{wrong}");
        assert_eq!(reply.errors()[0].message(), "RELOAD failed, see logs for additional details");
        let line = pooler.log().wait_after(mark, "pooler.ini:");
        assert!(line.is_some(), "{wrong}: the log names file and line");
        assert_eq!(pooler.show("CONFIG").rows, before, "{wrong}");
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_bad_configuration_is_refused_at_start_with_file_line_and_nearest_key() {
    let postgres = Postgres::start();
    for (config, parts) in [
        (Config::new(&postgres).set("default_pool_sise", "1"), ["default_pool_sise", "default_pool_size"]),
        (Config::new(&postgres).set("max_client_conn", "lots"), ["lots", "max_client_conn"]),
        (Config::new(&postgres).text("[databasis]\n"), ["databasis", "databases"]),
    ] {
        let (status, log) = Pooler::refused(&config);
        assert_eq!(status.code(), Some(2), "{:?}", log.lines());
        let text = log.lines().join("\n");
        assert!(text.contains("pooler.ini:") && parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn shutdown_forms() {
    for (command, waits) in
        [("SHUTDOWN", false), ("SHUTDOWN WAIT_FOR_SERVERS", true), ("SHUTDOWN WAIT_FOR_CLIENTS", true)]
    {
        let (_postgres, mut pooler) = scene(|config| config);
        let mut client = pooler.client("alice");
        client.query("BEGIN").unwrap();
        let mut console = pooler.console();
        // An immediate shutdown may close before it answers.
        let _ = console.send(&query(command)).and_then(|()| console.reply().map(drop));
        if waits {
            assert!(pooler.process().running());
            assert_eq!(client.value("SELECT 'finishing'"), "finishing", "{command}");
            assert!(!lets_in(&pooler), "{command}: no new logins");
            client.query("COMMIT").unwrap();
            client.terminate();
            console.terminate();
        }
        let status = pooler.process().wait(PATIENCE).unwrap_or_else(|| panic!("{command} did not end it"));
        assert!(status.success(), "{command}: {status}");
    }
}

#[test]
fn signals_mean_what_they_mean_to_pgbouncer() {
    for (signal, waits) in [(Signal::SIGTERM, true), (Signal::SIGINT, true), (Signal::SIGQUIT, false)] {
        let (_postgres, mut pooler) = scene(|config| config);
        let mut client = pooler.client("alice");
        client.query("BEGIN").unwrap();
        pooler.process().signal(signal);
        assert!(pooler.log().wait(&format!("got {signal}")).is_some());
        if waits {
            assert_eq!(client.value("SELECT 'finishing'"), "finishing", "{signal}");
            assert!(!lets_in(&pooler), "{signal}: no new logins");
            client.query("COMMIT").unwrap();
            client.terminate();
        }
        let status = pooler.process().wait(PATIENCE).unwrap_or_else(|| panic!("{signal} did not end it"));
        assert!(status.success(), "{signal}: {status}");
    }
}

#[test]
fn a_second_signal_ends_the_waiting() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (_postgres, mut pooler) = scene(|config| config);
        let mut client = pooler.client("alice");
        client.query("BEGIN").unwrap();
        pooler.process().signal(signal);
        assert!(pooler.log().wait(&format!("got {signal}, shutting down")).is_some());
        pooler.process().signal(signal);
        assert!(pooler.process().wait(PATIENCE).is_some_and(|status| status.success()), "{signal}");
    }
}

#[test]
fn usr1_pauses_and_usr2_resumes() {
    let (_postgres, mut pooler) = scene(|config| config);
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    pooler.process().signal(Signal::SIGUSR1);
    assert!(pooler.log().wait("got SIGUSR1, pausing all activity").is_some());
    client.send(&query("SELECT 'held back'")).unwrap();
    pooler.until("POOLS", |pools| pools.filter("database", "postgres").sum("cl_waiting") == 1);
    pooler.process().signal(Signal::SIGUSR2);
    assert!(pooler.log().wait("got SIGUSR2, continuing from PAUSE").is_some());
    assert_eq!(client.reply().unwrap().value(), "held back");
}

#[test]
fn counts_are_true() {
    let (_postgres, pooler) = scene(|config| config.set("default_pool_size", "2"));
    let mut clients: Vec<Client> = (0..4).map(|_| pooler.client("alice")).collect();
    for client in &mut clients[..2] {
        client.query("BEGIN").unwrap();
    }
    for client in &mut clients[2..] {
        client.send(&query("SELECT 1")).unwrap();
    }
    let pools = pooler.until("POOLS", |pools| pools.filter("database", "postgres").sum("cl_waiting") == 2);
    let pool = pools.filter("database", "postgres");
    assert_eq!((pool.sum("cl_active"), pool.sum("sv_active"), pool.sum("sv_idle")), (2, 2, 0));
    assert_eq!(pool.column("pool_mode"), ["transaction"]);
    let servers = pooler.show("SERVERS").filter("user", "alice");
    assert_eq!(servers.column("state"), ["active", "active"]);
    let waiting = pooler.show("CLIENTS").filter("state", "waiting");
    assert_eq!(waiting.rows.len(), 2);
    let used = pooler.show("LISTS").filter("list", "used_clients").sum("items");
    assert_eq!(used, 5, "four and this console");
    for client in &mut clients[..2] {
        client.query("COMMIT").unwrap();
    }
    for client in &mut clients[2..] {
        client.reply().unwrap();
    }
    let stats = pooler.show("STATS").filter("database", "postgres");
    assert_eq!((stats.sum("total_query_count"), stats.sum("total_xact_count")), (6, 4));
    assert!(stats.sum("total_received") > 0 && stats.sum("total_sent") > 0);
}

/// Whether a new login is let in.
fn lets_in(pooler: &Pooler) -> bool {
    match pooler.login("alice", "postgres").connect() {
        Ok(_) => true,
        Err(Failure::Server(error)) => {
            assert!(error.message().contains("shutting down"), "{error}");
            false
        }
        Err(_) => false,
    }
}
