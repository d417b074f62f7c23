//! What each command does, to whom, and what it says when it cannot.

use super::*;
use crate::core::Signal;

fn settled(bench: &mut Bench, signal: Signal) {
    bench.core.signal(signal, bench.now);
    bench.settle(&[]);
}

fn commit(bench: &mut Bench, client: ClientId, server: ServerId) {
    bench.query(client, "commit");
    bench.reply(server, 'I');
}

fn servers(bench: &Bench) -> usize {
    bench.core.servers.len()
}

#[test]
fn pause_waits_for_transactions_and_resume_serves_the_queue() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    bench.client("two");
    let (client, server) = bench.busy("one");
    assert_eq!(servers(&bench), 2);
    assert_eq!(bench.run(boss, "PAUSE"), "waits");
    assert_eq!(servers(&bench), 1, "free servers go at once");
    let other = bench.console("boss");
    assert_eq!(bench.row(other, "SHOW STATE", "paused")["value"], "yes");
    assert_eq!(bench.run(other, "PAUSE"), "ERROR 08P01 already suspended/paused");
    assert_eq!(bench.run(other, "PAUSE one"), "ERROR 08P01 already suspended/paused");
    assert_eq!(bench.run(other, "KILL"), "ERROR 08P01 already suspended/paused");
    assert_eq!(bench.run(other, "SUSPEND"), "ERROR 08P01 already suspended/paused");
    commit(&mut bench, client, server);
    assert_eq!(bench.answer(boss), "PAUSE");
    assert_eq!(servers(&bench), 0);
    bench.query(client, "select 1");
    assert!(bench.connecting.is_empty(), "nothing is opened while paused");
    assert_eq!(bench.run(boss, "RESUME"), "RESUME");
    assert_eq!(bench.connecting.len(), 1);
    bench.serve_logins();
    assert!(bench.core.clients.get(client.0).unwrap().link.is_some());
    assert_eq!(bench.run(boss, "RESUME"), "ERROR 08P01 pooler is not paused/suspended");
    assert!(bench.logged("PAUSE command issued") && bench.logged("RESUME command issued"));
}

#[test]
fn pause_of_one_database_leaves_the_others_alone() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    bench.client("one");
    bench.client("two");
    assert_eq!(bench.run(boss, "PAUSE one"), "PAUSE");
    assert_eq!(servers(&bench), 1);
    assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["paused"], "1");
    assert_eq!(bench.row(boss, "SHOW DATABASES", "two")["paused"], "0");
    assert_eq!(bench.row(boss, "SHOW STATE", "active")["value"], "yes");
    assert_eq!(bench.run(boss, "SUSPEND"), "ERROR 08P01 cannot suspend with paused databases");
    assert_eq!(bench.run(boss, "RESUME two"), "ERROR 08P01 database two is not paused");
    assert_eq!(bench.run(boss, "RESUME"), "ERROR 08P01 pooler is not paused/suspended");
    assert_eq!(bench.run(boss, "RESUME one"), "RESUME");
    assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["paused"], "0");
    assert!(bench.logged("PAUSE 'one' command issued"));
}

#[test]
fn resume_ends_what_others_wait_for() {
    let mut bench = Bench::new();
    let (first, second) = (bench.console("boss"), bench.console("boss"));
    bench.busy("one");
    for (pause, resume) in [("PAUSE", "RESUME"), ("PAUSE one", "RESUME one")] {
        assert_eq!(bench.run(first, pause), "waits");
        assert_eq!(bench.run(second, resume), "RESUME");
        assert_eq!(bench.answer(first), "ERROR 08P01 ended by RESUME");
        assert_eq!(bench.run(first, "SHOW STATE"), "SHOW");
    }
}

#[test]
fn a_cancel_request_ends_the_wait_and_the_pause() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (_, server) = bench.busy("one");
    for command in ["PAUSE", "PAUSE one", "SUSPEND"] {
        assert_eq!(bench.run(boss, command), "waits");
        let key = bench.core.clients.get(boss.0).unwrap().cancel_key;
        let mut request = Vec::new();
        frontend::cancel_request(&mut request, key[..4].try_into().unwrap(), &key[4..]);
        let canceller = bench.core.client_connected(Bench::tcp(1), Bench::tcp(2), bench.now);
        bench.send(canceller, &request);
        assert!(bench.is_closed(canceller));
        assert_eq!(bench.answer(boss), "ERROR 57014 canceling statement due to user request");
        assert_eq!(bench.row(boss, "SHOW STATE", "active")["value"], "yes");
        assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["paused"], "0");
    }
    assert!(bench.core.servers.get(server.0).is_some());
}

#[test]
fn commands_that_name_a_database() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    for command in ["PAUSE", "RESUME", "DISABLE", "ENABLE", "RECONNECT", "WAIT_CLOSE", "KILL"] {
        let answer = bench.run(boss, &format!("{command} none"));
        assert_eq!(answer, "ERROR 08P01 no such database: none", "{command}");
    }
    for (command, answer) in [
        ("PAUSE", "cannot pause admin db: pgbouncer"),
        ("RESUME", "database pgbouncer is not paused"),
        ("DISABLE", "cannot disable admin db: pgbouncer"),
        ("ENABLE", "cannot enable admin db: pgbouncer"),
        ("RECONNECT", "cannot reconnect admin db: pgbouncer"),
        ("WAIT_CLOSE", "cannot wait in admin db: pgbouncer"),
        ("KILL", "cannot kill admin db: pgbouncer"),
    ] {
        let got = bench.run(boss, &format!("{command} pgbouncer"));
        assert_eq!(got, format!("ERROR 08P01 {answer}"), "{command}");
    }
    for command in ["DISABLE", "ENABLE"] {
        assert_eq!(bench.run(boss, command), "ERROR 08P01 a database is required");
    }
}

#[test]
fn disable_refuses_logins_until_enable() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let before = bench.client("one");
    assert_eq!(bench.run(boss, "DISABLE one"), "DISABLE");
    let refused = bench.connect("one", "ann");
    assert_eq!(bench.answer(refused), "FATAL 08P01 database \"one\" is disabled, closed");
    assert!(!bench.is_closed(before));
    bench.client("two");
    assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["disabled"], "1");
    assert_eq!(bench.run(boss, "ENABLE one"), "ENABLE");
    bench.client("one");
}

#[test]
fn reconnect_replaces_servers_and_wait_close_tells_when() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (client, server) = bench.busy("one");
    bench.client("two");
    assert_eq!(bench.run(boss, "WAIT_CLOSE"), "WAIT_CLOSE", "nothing is marked");
    assert_eq!(bench.run(boss, "RECONNECT"), "RECONNECT");
    assert_eq!(servers(&bench), 1, "the free one went at once");
    assert_eq!(bench.rows(boss, "SHOW SERVERS")[0][13], "1", "close_needed");
    assert_eq!(bench.run(boss, "WAIT_CLOSE two"), "WAIT_CLOSE");
    assert_eq!(bench.run(boss, "WAIT_CLOSE one"), "waits");
    commit(&mut bench, client, server);
    assert_eq!(bench.answer(boss), "WAIT_CLOSE");
    assert!(bench.core.servers.get(server.0).is_none());
}

#[test]
fn kill_ends_a_database_until_it_is_resumed() {
    for (kill, resume) in [("KILL one", "RESUME one"), ("KILL one", "RESUME"), ("KILL", "RESUME")] {
        let mut bench = Bench::new();
        let boss = bench.console("boss");
        let (busy, _) = bench.busy("one");
        let idle = bench.client("one");
        let other = bench.client("two");
        assert_eq!(bench.run(boss, kill), "KILL");
        assert_eq!(bench.answer(busy), "FATAL 08P01 database removed, closed");
        assert_eq!(bench.answer(idle), "FATAL 08P01 database removed, closed");
        assert_eq!(bench.is_closed(other), kill == "KILL");
        assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["paused"], "1");
        let late = bench.connect("one", "ann");
        bench.query(late, "select 1");
        assert!(bench.connecting.is_empty());
        assert_eq!(bench.run(boss, resume), "RESUME");
        bench.serve_logins();
        assert!(bench.core.clients.get(late.0).unwrap().link.is_some(), "{kill}, {resume}");
    }
}

#[test]
fn kill_client_by_id() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (victim, _) = bench.busy("one");
    let serial = bench.core.clients.get(victim.0).unwrap().serial;
    for text in ["KILL_CLIENT", "KILL_CLIENT x", "KILL_CLIENT 0xx"] {
        assert_eq!(bench.run(boss, text), "ERROR 08P01 invalid client pointer supplied", "{text}");
    }
    assert_eq!(bench.run(boss, "KILL_CLIENT 999999"), "ERROR 08P01 client not found");
    assert_eq!(bench.run(boss, &format!("KILL_CLIENT {serial}")), "KILL_CLIENT");
    assert_eq!(bench.answer(victim), "FATAL 08P01 admin forced disconnect, closed");
    assert_eq!(bench.run(boss, &format!("KILL_CLIENT {serial}")), "ERROR 08P01 client not found");
    let other = bench.console("boss");
    let serial = bench.core.clients.get(other.0).unwrap().serial;
    assert_eq!(bench.run(boss, &format!("KILL_CLIENT {serial:#x}")), "KILL_CLIENT");
    assert_eq!(bench.answer(other), "FATAL 08P01 admin forced disconnect, closed");
    let own = bench.core.clients.get(boss.0).unwrap().serial;
    let answer = bench.run(boss, &format!("KILL_CLIENT {own}"));
    assert!(
        answer.starts_with("FATAL 08P01 admin forced disconnect") && answer.ends_with("closed"),
        "{answer}"
    );
}

#[test]
fn suspend_stops_reading_until_resume() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (client, server) = bench.busy("one");
    bench.query(client, "select 1");
    assert_eq!(bench.run(boss, "SUSPEND"), "waits");
    assert_eq!(bench.asked, ["suspend"]);
    bench.query(client, "select 2");
    bench.reply(server, 'T');
    assert_eq!(bench.tags(client), "");
    bench.core.flushed();
    bench.settle(&[]);
    assert_eq!(bench.answer(boss), "SUSPEND");
    assert_eq!(bench.row(boss, "SHOW STATE", "suspended")["value"], "yes");
    assert_eq!(bench.run(boss, "RESUME"), "RESUME");
    assert_eq!(bench.tags(client), "CZ", "what was kept goes on");
    bench.reply(server, 'T');
    assert_eq!(bench.tags(client), "CZ");
}

#[test]
fn a_suspension_ends_with_its_console() {
    let mut bench = Bench::new();
    let (boss, other) = (bench.console("boss"), bench.console("boss"));
    bench.run(boss, "SUSPEND");
    bench.core.client_gone(other, bench.now);
    assert!(bench.core.suspended);
    bench.core.client_gone(boss, bench.now);
    bench.settle(&[]);
    assert!(!bench.core.suspended);
    assert!(bench.logged("admin disappeared when suspended, doing RESUME"));
}

#[test]
fn what_is_not_flushed_in_time_is_closed() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (client, server) = bench.busy("one");
    bench.run(boss, "SUSPEND");
    bench.core.flush_expired(Peer::Client(client), bench.now);
    bench.core.flush_expired(Peer::Server(server), bench.now);
    bench.core.flushed();
    bench.settle(&[]);
    assert_eq!(bench.answer(boss), "SUSPEND");
    assert_eq!(bench.answer(client), "closed");
    assert!(bench.logged("closing because: suspend_timeout (age=0s)"));
}

#[test]
fn reload_is_answered_when_it_is_done() {
    let mut bench = Bench::new();
    let (boss, other) = (bench.console("boss"), bench.console("boss"));
    bench.client("two");
    assert_eq!(bench.run(boss, "RELOAD"), "waits");
    assert_eq!(bench.run(other, "RELOAD"), "waits");
    assert_eq!(bench.asked, ["reload", "reload"]);
    let changed = snapshot(&CONFIG.replace("two = host=127.0.0.1", ""));
    bench.core.reload_finished(Ok(Arc::new(changed)), bench.now);
    bench.settle(&[]);
    assert_eq!((bench.answer(boss), bench.answer(other)), ("RELOAD".into(), "RELOAD".into()));
    assert_eq!(bench.rows(boss, "SHOW DATABASES").len(), 2);

    assert_eq!(bench.run(boss, "RELOAD"), "waits");
    bench.core.reload_finished(Err("test.ini:3: bad".into()), bench.now);
    bench.settle(&[]);
    assert_eq!(bench.answer(boss), "ERROR F0000 RELOAD failed, see logs for additional details");
    assert!(bench.logged("RELOAD Failed, see logs for more details"));
    assert_eq!(bench.rows(boss, "SHOW DATABASES").len(), 2);
}

#[test]
fn set_changes_what_may_be_changed() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let client = bench.client("one");
    assert_eq!(bench.run(boss, "SET default_pool_size = 1"), "SET default_pool_size=1");
    assert_eq!(bench.asked, ["configured"]);
    assert_eq!(bench.row(boss, "SHOW CONFIG", "default_pool_size")["value"], "1");
    assert_eq!(bench.row(boss, "SHOW DATABASES", "one")["pool_size"], "1");
    let answer = bench.run(boss, "SET listen_port = '7000'");
    assert_eq!(answer, "NOTICE listen_port changes only at a restart, SET listen_port=7000");
    assert_eq!(bench.row(boss, "SHOW CONFIG", "listen_port")["value"], "6432");
    for text in ["SET default_pool_size = many", "SET nothing = 1", "SET application_name = 'x'"] {
        assert_eq!(bench.run(boss, text), "ERROR 08P01 SET failed", "{text}");
    }
    assert_eq!(bench.run(boss, "SET \"\" = 1"), "ERROR 08P01 bad arguments");
    assert!(!bench.is_closed(client));
    assert_eq!(bench.asked, ["configured"]);
}

#[test]
fn drivers_are_answered_what_they_want_to_hear() {
    let mut bench = Bench::new();
    let clerk = bench.console("clerk");
    assert_eq!(bench.rows(clerk, "SHOW client_encoding"), [["UTF-8"]]);
    assert_eq!(bench.rows(clerk, "show Default_Transaction_Isolation;"), [["read committed"]]);
    assert_eq!(bench.rows(clerk, "SELECT version"), bench.rows(clerk, "SHOW VERSION"));
    assert_eq!(bench.run(clerk, "SET extra_float_digits = 3"), "NOTICE SET ignored, SET");
    for text in [
        "",
        ";",
        "nonsense",
        "SHOW nothing",
        "SHOW",
        "RELOAD now",
        "SHUTDOWN later",
        "SHOW POOLS; SHOW LISTS",
    ] {
        let answer = bench.run(clerk, text);
        assert_eq!(answer, format!("ERROR 08P01 invalid command '{text}', use SHOW HELP;"));
    }
    let long = "x".repeat(64);
    assert_eq!(bench.run(clerk, &format!("PAUSE {long}")), "ERROR 08P01 bad arguments");
}

#[test]
fn shutdown_at_once_is_answered_by_its_effect() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    bench.busy("one");
    assert_eq!(bench.run(boss, "SHUTDOWN"), "waits");
    assert!(bench.core.finished());
    assert!(bench.logged("SHUTDOWN command issued"));
}

#[test]
fn shutdown_after_the_clients() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let (client, server) = bench.busy("one");
    let idle = bench.client("one");
    assert_eq!(bench.run(boss, "SHUTDOWN WAIT_FOR_CLIENTS"), "SHUTDOWN");
    assert_eq!(bench.asked, ["stop listening: Tcp"]);
    let late = bench.connect("one", "ann");
    assert_eq!(bench.answer(late), "FATAL 08P01 pooler is shutting down, closed");
    bench.console("boss");
    assert_eq!(bench.run(boss, "RESUME"), "ERROR 08P01 pooler is shutting down");
    bench.core.client_gone(idle, bench.now);
    commit(&mut bench, client, server);
    bench.query(client, "begin");
    assert_eq!(bench.tags(client), "CZ", "those who are here are served");
    assert!(!bench.core.finished());
    bench.core.client_gone(client, bench.now);
    assert!(bench.core.finished());
    bench.settle(&[]);
    assert!(bench.logged("client connections dropped, exiting"));
}

#[test]
fn shutdown_after_the_servers() {
    let mut bench = Bench::new();
    let boss = bench.console("boss");
    let idle = bench.client("one");
    let (client, server) = bench.busy("one");
    let (other, second) = bench.busy("one");
    let waiter = bench.client("one");
    bench.query(waiter, "select 1");
    assert_eq!(bench.run(boss, "SHUTDOWN WAIT_FOR_SERVERS"), "SHUTDOWN");
    assert_eq!(bench.answer(waiter), "FATAL 08P01 server shutting down, closed");
    commit(&mut bench, client, server);
    assert!(bench.core.servers.get(server.0).is_none());
    bench.query(idle, "select 1");
    assert_eq!(bench.answer(idle), "FATAL 08P01 server shutting down, closed");
    assert!(!bench.core.finished());
    commit(&mut bench, other, second);
    assert!(bench.core.finished());
    assert!(bench.logged("server connections dropped, exiting"));
}

#[test]
fn shutdown_with_nothing_to_wait_for() {
    for text in ["SHUTDOWN WAIT_FOR_CLIENTS", "shutdown wait_for_servers"] {
        let mut bench = Bench::new();
        let boss = bench.console("boss");
        assert_eq!(bench.run(boss, text), "SHUTDOWN");
        assert!(bench.core.finished());
    }
}

#[test]
fn signals_mean_what_they_mean_to_pgbouncer() {
    let mut bench = Bench::new();
    bench.busy("one");
    settled(&mut bench, Signal::Usr2);
    settled(&mut bench, Signal::Usr1);
    assert!(bench.core.is_paused());
    settled(&mut bench, Signal::Usr1);
    settled(&mut bench, Signal::Usr2);
    assert!(!bench.core.is_paused());
    settled(&mut bench, Signal::Term);
    assert!(!bench.core.finished());
    settled(&mut bench, Signal::Usr2);
    settled(&mut bench, Signal::Int);
    assert!(bench.core.finished());
    let signals: Vec<&String> = bench.log.iter().filter(|line| line.starts_with("got SIG")).collect();
    let expected = [
        "got SIGUSR2, but not paused/suspended",
        "got SIGUSR1, pausing all activity",
        "got SIGUSR1, but already paused/suspended",
        "got SIGUSR2, continuing from PAUSE",
        "got SIGTERM, shutting down, waiting for all clients disconnect",
        "got SIGUSR2 while shutting down, ignoring",
        "got SIGINT while shutting down, fast exit",
    ];
    assert_eq!(signals, expected);
    let mut bench = Bench::new();
    bench.busy("one");
    settled(&mut bench, Signal::Int);
    assert!(!bench.core.finished());
    settled(&mut bench, Signal::Quit);
    assert!(bench.core.finished());
}

#[test]
fn the_control_socket_commands_the_same() {
    let mut bench = Bench::new();
    let (client, server) = bench.busy("one");
    assert_eq!(bench.control(1, "show pools"), "2 rows");
    assert_eq!(bench.control(1, "show help"), "SHOW");
    assert_eq!(bench.control(1, "set verbose = 1"), "SET verbose=1");
    assert_eq!(bench.control(1, "nonsense"), "ERROR 08P01 invalid command 'nonsense', use SHOW HELP;");
    bench.asked.clear();
    assert_eq!(bench.control(1, "pause"), "waits");
    commit(&mut bench, client, server);
    assert_eq!(bench.asked, ["answer 1: Ok(())"]);
    assert_eq!(bench.control(1, "resume"), "RESUME");
    bench.asked.clear();

    assert_eq!(bench.control(2, "reload"), "waits");
    bench.core.reload_finished(Err("bad".into()), bench.now);
    bench.settle(&[]);
    let refusal = "answer 2: Err(\"RELOAD failed, see logs for additional details\")";
    assert_eq!(bench.asked, ["reload", refusal]);
    bench.asked.clear();

    let key = sluice_unix::slab::Key { index: 3, generation: 1 };
    assert_eq!(bench.control(3, "suspend"), "waits");
    bench.core.control_gone(ControlId(key));
    bench.core.flushed();
    bench.settle(&[]);
    assert_eq!(bench.asked, ["suspend"]);
    assert!(bench.core.suspended, "a request is over when it is made: its suspension stays");
    assert_eq!(bench.control(4, "resume"), "RESUME");
    assert_eq!(bench.control(4, "shutdown"), "SHUTDOWN");
    assert!(bench.core.finished());
}
