//! Every limit and timeout of a pool, at N and at N+1.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use sluice_tests::message::query;
use sluice_tests::{Client, Config, Failure, Pooler, Postgres};

fn scene(more: impl FnOnce(Config) -> Config) -> (Postgres, Pooler) {
    let postgres = Postgres::start();
    let pooler = more(Config::new(&postgres)).start();
    (postgres, pooler)
}

/// A client inside a transaction, so with a server connection of its own.
fn holder(pooler: &Pooler, user: &str) -> Client {
    let mut client = pooler.client(user);
    client.query("BEGIN").unwrap();
    client
}

/// The client is closed with this FATAL error.
fn ends_with(client: &mut Client, code: &str, text: &str) {
    let told = client.closed().unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
    let told = told.unwrap_or_else(|| panic!("closed without {text}"));
    assert_eq!((told.severity(), told.code(), told.message()), ("FATAL", code, text));
}

#[test]
fn max_client_conn() {
    let (_postgres, pooler) = scene(|config| config.set("max_client_conn", "5"));
    let mut clients: Vec<Client> = (0..5).map(|_| pooler.client("alice")).collect();
    let failure = pooler.login("alice", "postgres").connect().unwrap_err();
    assert_eq!(
        (failure.code(), failure.text().as_str()),
        ("08P01", "no more connections allowed (max_client_conn)")
    );
    assert_eq!(pooler.show("POOLS").filter("database", "postgres").rows.len(), 1, "the console is exempt");
    clients.pop().unwrap().terminate();
    pooler.until("CLIENTS", |clients| clients.filter("user", "alice").rows.len() == 4);
    assert_eq!(pooler.client("alice").value("SELECT 1"), "1");
    for client in &mut clients {
        assert_eq!(client.value("SELECT 2"), "2");
    }
}

#[test]
fn default_pool_size_bounds_servers_and_the_queue_is_served_in_order() {
    let (postgres, pooler) = scene(|config| config.set("default_pool_size", "3"));
    let mut holders: Vec<Client> = (0..3).map(|_| holder(&pooler, "alice")).collect();
    let mut waiters: Vec<Client> = (0..5).map(|_| pooler.client("alice")).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        waiter.send(&query(&format!("BEGIN; SELECT 'waiter {number}'"))).unwrap();
        let queued = i64::try_from(number + 1).unwrap();
        pooler.until("POOLS", |pools| pools.sum("cl_waiting") == queued);
    }
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice'";
    assert_eq!(postgres.sql(backends), [["3"]]);
    holders.pop().unwrap().query("COMMIT").unwrap();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(waiter.reply().unwrap().value(), format!("waiter {number}"));
        assert_eq!(waiter.query("COMMIT").unwrap().status(), 'I');
    }
    assert_eq!(postgres.sql(backends), [["3"]]);
}

#[test]
fn query_wait_timeout_ends_who_waits_too_long() {
    let (_postgres, pooler) =
        scene(|config| config.set("default_pool_size", "1").set("query_wait_timeout", "1"));
    let mut held = holder(&pooler, "alice");
    let mut waiter = pooler.client("alice");
    waiter.send(&query("SELECT 1")).unwrap();
    ends_with(&mut waiter, "08P01", "query_wait_timeout");
    assert_eq!(held.query("COMMIT").unwrap().status(), 'I');
    assert_eq!(pooler.client("alice").value("SELECT 'next'"), "next");
}

#[test]
fn query_wait_notify_tells_who_waits() {
    let (_postgres, pooler) =
        scene(|config| config.set("default_pool_size", "1").set("query_wait_notify", "1"));
    let mut held = holder(&pooler, "alice");
    let mut waiter = pooler.client("alice");
    waiter.send(&query("SELECT 'served'")).unwrap();
    while waiter.notices.is_empty() {
        assert_eq!(waiter.receive().unwrap().tag, b'N');
    }
    assert_eq!(waiter.notices, ["No server connection available in postgres backend, client being queued"]);
    held.query("COMMIT").unwrap();
    assert_eq!(waiter.reply().unwrap().value(), "served");
}

#[test]
fn query_timeout_ends_a_running_query() {
    let (postgres, pooler) = scene(|config| config.set("query_timeout", "1").set("default_pool_size", "1"));
    let mut client = pooler.client("alice");
    client.send(&query("SELECT pg_sleep(600)")).unwrap();
    ends_with(&mut client, "08P01", "query timeout");
    assert_eq!(pooler.client("alice").value("SELECT 'next'"), "next");
    // Idle in a transaction no query runs, so no query times out.
    let mut idle = holder(&pooler, "alice");
    postgres.sql("SELECT pg_sleep(1.5)");
    assert_eq!(idle.value("SELECT 'still here'"), "still here");
}

#[test]
fn idle_transaction_timeout_ends_an_idle_transaction_only() {
    let (postgres, pooler) =
        scene(|config| config.set("idle_transaction_timeout", "1").set("default_pool_size", "2"));
    let mut busy = holder(&pooler, "alice");
    let mut idle = holder(&pooler, "alice");
    busy.send(&query("SELECT 'slept' FROM pg_sleep(1.8)")).unwrap();
    ends_with(&mut idle, "08P01", "idle transaction timeout");
    assert_eq!(busy.reply().unwrap().value(), "slept");
    assert_eq!(busy.query("COMMIT").unwrap().status(), 'I');
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND state LIKE 'idle in%'";
    assert_eq!(postgres.sql(open), [["0"]]);
}

#[test]
fn transaction_timeout_holds_for_every_transaction_of_a_session() {
    for mode in ["transaction", "session"] {
        let (_postgres, pooler) =
            scene(|config| config.set("transaction_timeout", "1").set("pool_mode", mode));
        let mut client = pooler.client("alice");
        for _ in 0..2 {
            client.rows("BEGIN; SELECT 1; COMMIT");
        }
        client.query("BEGIN").unwrap();
        ends_with(&mut client, "08P01", "transaction timeout");
    }
}

#[test]
fn client_idle_timeout_ends_idle_clients_only() {
    let (_postgres, pooler) = scene(|config| config.set("client_idle_timeout", "1"));
    let mut idle = pooler.client("alice");
    idle.value("SELECT 1");
    let mut busy = pooler.client("alice");
    busy.send(&query("SELECT 'slept' FROM pg_sleep(1.8)")).unwrap();
    ends_with(&mut idle, "08P01", "client_idle_timeout");
    assert_eq!(busy.reply().unwrap().value(), "slept");
}

#[test]
fn client_login_timeout_ends_a_login_no_server_answers() {
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = format!("host=127.0.0.1 port={}", silent.local_addr().unwrap().port());
    let pooler = Config::empty().database("postgres", &connection).set("client_login_timeout", "1").start();
    let failure = pooler.login("alice", "postgres").connect().unwrap_err();
    assert_eq!((failure.code(), failure.text().as_str()), ("08P01", "client_login_timeout (server down)"));
}

#[test]
fn server_connect_timeout_gives_a_silent_server_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = format!("host=127.0.0.1 port={}", silent.local_addr().unwrap().port());
    let pooler = Config::empty()
        .database("postgres", &connection)
        .set("server_connect_timeout", "1")
        .set("query_wait_timeout", "10")
        .start();
    let mut client = Client::raw(&pooler.target()).unwrap();
    client.send(&pooler.login("alice", "postgres").startup()).unwrap();
    assert!(pooler.log().wait("closing because: connect timeout").is_some());
}

#[test]
fn server_idle_timeout_closes_unused_servers() {
    let (_postgres, pooler) = scene(|config| config.set("server_idle_timeout", "1"));
    let mut client = pooler.client("alice");
    let pid = client.value("SELECT pg_backend_pid()");
    pooler.until("SERVERS", |servers| servers.rows.is_empty());
    assert!(pooler.log().wait("closing because: server idle timeout").is_some());
    assert_ne!(client.value("SELECT pg_backend_pid()"), pid);
}

#[test]
fn server_lifetime_replaces_servers_that_are_not_in_use() {
    let (postgres, pooler) = scene(|config| config.set("server_lifetime", "1").set("default_pool_size", "2"));
    let mut held = holder(&pooler, "alice");
    let pid = held.value("SELECT pg_backend_pid()");
    postgres.sql("SELECT pg_sleep(1.5)");
    assert_eq!(held.value("SELECT pg_backend_pid()"), pid, "a server in use stays");
    held.query("COMMIT").unwrap();
    assert!(pooler.log().wait("closing because: server lifetime over").is_some());
    assert_ne!(held.value("SELECT pg_backend_pid()"), pid);
}

#[test]
fn min_pool_size_is_filled_once_somebody_came() {
    let (_postgres, pooler) = scene(|config| config.set("min_pool_size", "4"));
    assert!(pooler.show("SERVERS").rows.is_empty());
    let mut client = pooler.client("alice");
    client.value("SELECT 1");
    pooler.until("SERVERS", |servers| servers.rows.len() == 4);
}

#[test]
fn the_reserve_opens_after_its_timeout_and_no_further() {
    let (_postgres, pooler) = scene(|config| {
        config.set("default_pool_size", "1").set("reserve_pool_size", "1").set("reserve_pool_timeout", "1")
    });
    let mut held = holder(&pooler, "alice");
    let mut reserved = pooler.client("alice");
    assert_eq!(reserved.query("BEGIN").unwrap().status(), 'T');
    assert!(pooler.log().wait("taking connection from reserve_pool").is_some());
    let mut waiter = pooler.client("alice");
    waiter.send(&query("SELECT 'waited'")).unwrap();
    waiter.set_timeout(std::time::Duration::from_millis(1500));
    assert!(matches!(waiter.reply(), Err(Failure::Timeout)), "the reserve is used up");
    waiter.set_timeout(sluice_tests::PATIENCE);
    held.query("COMMIT").unwrap();
    assert_eq!(waiter.reply().unwrap().value(), "waited");
}

#[test]
fn max_db_connections_is_shared_by_the_users_of_a_database() {
    let (postgres, pooler) = scene(|config| config.set("max_db_connections", "2"));
    let mut alice = pooler.client("alice");
    let mut bob = pooler.client("bob");
    for _ in 0..3 {
        let mut second = holder(&pooler, "alice");
        assert_eq!(alice.value("SELECT 1"), "1");
        // An idle server of alice's is evicted for bob's.
        bob.query("BEGIN").unwrap();
        let backends = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('alice', 'bob')";
        assert!(["1", "2"].contains(&postgres.sql(backends)[0][0].as_str()));
        alice.send(&query("SELECT 'waited'")).unwrap();
        pooler.until("POOLS", |pools| pools.filter("user", "alice").sum("cl_waiting") == 1);
        second.query("COMMIT").unwrap();
        assert_eq!(alice.reply().unwrap().value(), "waited");
        bob.query("COMMIT").unwrap();
    }
}

#[test]
fn max_user_connections_is_shared_by_the_databases_of_a_user() {
    let (postgres, pooler) = scene(|config| config.set("max_user_connections", "1"));
    postgres.sql("CREATE DATABASE second");
    let mut first = holder(&pooler, "alice");
    let mut second = Client::raw(&pooler.target()).unwrap();
    let login = pooler.login("alice", "second");
    second.send(&login.startup()).unwrap();
    pooler.until("POOLS", |pools| pools.filter("database", "second").sum("cl_waiting") == 1);
    first.query("COMMIT").unwrap();
    login.finish(&mut second).unwrap();
    assert_eq!(second.value("SELECT current_database()"), "second");
    assert_eq!(first.value("SELECT current_database()"), "postgres");
}

#[test]
fn a_database_overrides_pool_size_and_mode() {
    let postgres = Postgres::start();
    let start = format!("host=127.0.0.1 port={} dbname=postgres", postgres.port());
    let pooler = Config::new(&postgres)
        .set("default_pool_size", "5")
        .database("small", &format!("{start} pool_size=1"))
        .database("sessions", &format!("{start} pool_mode=session"))
        .start();
    let mut small = pooler.login("alice", "small").connect().unwrap();
    small.query("BEGIN").unwrap();
    let mut waiter = pooler.login("alice", "small").connect().unwrap();
    waiter.send(&query("SELECT 'waited'")).unwrap();
    pooler.until("POOLS", |pools| pools.filter("database", "small").sum("cl_waiting") == 1);
    small.query("COMMIT").unwrap();
    assert_eq!(waiter.reply().unwrap().value(), "waited");

    let mut session = pooler.login("alice", "sessions").connect().unwrap();
    session.rows("CREATE TEMP TABLE mine (n int)");
    let pid = session.value("SELECT pg_backend_pid()");
    let mut other = pooler.login("alice", "sessions").connect().unwrap();
    assert_ne!(other.value("SELECT pg_backend_pid()"), pid);
    assert_eq!(session.value("SELECT count(*) FROM mine"), "0");
}

#[test]
fn session_mode_resets_the_server_before_the_next_client() {
    let (_postgres, pooler) =
        scene(|config| config.set("pool_mode", "session").set("default_pool_size", "1"));
    let mut pid = String::new();
    for _ in 0..3 {
        let mut client = pooler.client("alice");
        let now = client.value("SELECT pg_backend_pid()");
        assert!(pid.is_empty() || pid == now, "the server connection is kept");
        pid = now;
        assert_eq!(client.value("SHOW work_mem"), "4MB");
        assert_eq!(client.value("SELECT count(*) FROM pg_prepared_statements"), "0");
        client.rows("SET work_mem = '64kB'");
        client.rows("PREPARE left_behind AS SELECT 1");
        client.rows("CREATE TEMP TABLE left_behind (n int)");
        client.terminate();
    }
}

#[test]
fn statement_mode_refuses_transaction_blocks() {
    let (_postgres, pooler) = scene(|config| config.set("pool_mode", "statement"));
    let mut client = pooler.client("alice");
    assert_eq!(client.value("SELECT 'one'"), "one");
    client.send(&query("BEGIN")).unwrap();
    ends_with(&mut client, "08P01", "transaction blocks not allowed in statement pooling mode");
    assert_eq!(pooler.client("alice").value("SELECT 'next'"), "next");
}

#[test]
fn a_check_query_finds_a_dead_server_before_a_client_does() {
    let (postgres, pooler) =
        scene(|config| config.set("server_check_delay", "0").set("server_check_query", "SELECT 1"));
    let mut client = pooler.client("alice");
    for _ in 0..5 {
        let pid = client.value("SELECT pg_backend_pid()");
        postgres.sql(&format!("SELECT pg_terminate_backend({pid})"));
        assert_ne!(client.value("SELECT pg_backend_pid()"), pid);
    }
}

#[test]
fn autodb_idle_timeout_forgets_databases_nobody_uses() {
    let (_postgres, pooler) =
        scene(|config| config.set("autodb_idle_timeout", "1").set("server_idle_timeout", "1"));
    pooler.client("alice").value("SELECT 1");
    assert_eq!(pooler.show("DATABASES").filter("name", "postgres").rows.len(), 1);
    pooler.until("DATABASES", |databases| databases.filter("name", "postgres").rows.is_empty());
    assert_eq!(pooler.client("alice").value("SELECT 1"), "1");
}

#[test]
fn an_unreachable_server_fails_fast_and_recovers_by_itself() {
    let mut postgres = Postgres::start();
    let pooler =
        Config::new(&postgres).set("server_login_retry", "1").set("query_wait_timeout", "20").start();
    let mut client = pooler.client("alice");
    let mut late = pooler.client("alice");
    let login = pooler.login("bob", "postgres");
    let mut early = Client::raw(login.target()).unwrap();
    postgres.stop();
    client.send(&query("SELECT 'after'")).unwrap();
    early.send(&login.startup()).unwrap();
    for user in ["alice", "bob"] {
        let name = format!("postgres/{user}@127.0.0.1:{}", postgres.port());
        assert!(pooler.log().wait(&format!("{name} cannot connect: ")).is_some());
        assert!(pooler.log().wait(&format!("{name} closing because: connect failed (age=0s)")).is_some());
    }
    // Who waited goes on waiting; who comes now is told at once, with a session and without.
    let told = "server login has been failing, cached error: connect failed (server_login_retry)";
    late.send(&query("SELECT 'too late'")).unwrap();
    ends_with(&mut late, "08P01", told);
    assert_eq!(login.connect().unwrap_err().text(), told);
    postgres.start_again();
    assert_eq!(client.reply().unwrap().value(), "after");
    login.finish(&mut early).unwrap();
    assert_eq!(early.value("SELECT 'everybody'"), "everybody");
}

#[test]
fn a_name_that_is_not_found_fails_like_an_unreachable_server() {
    let pooler = Config::empty().database("postgres", "host=nonesuch.invalid").start();
    let login = pooler.login("alice", "postgres");
    let mut early = Client::raw(login.target()).unwrap();
    early.send(&login.startup()).unwrap();
    assert!(pooler.log().wait("DNS lookup failed: nonesuch.invalid: ").is_some());
    assert!(pooler.log().wait("closing because: server DNS lookup failed (age=").is_some());
    let told = "server login has been failing, cached error: server DNS lookup failed (server_login_retry)";
    assert_eq!(login.connect().unwrap_err().text(), told);
}

#[test]
fn databases_may_be_reached_by_unix_socket_and_by_name() {
    let postgres = Postgres::start();
    let (socket, port) = (postgres.socket_directory().display(), postgres.port());
    let pooler = Config::empty()
        .database("by_socket", &format!("host={socket} port={port} dbname=postgres"))
        .database("by_name", &format!("host=localhost port={port} dbname=postgres"))
        .database("by_list", &format!("host=127.0.0.1,localhost port={port} dbname=postgres"))
        .start();
    for database in ["by_socket", "by_name", "by_list"] {
        let mut client = pooler.login("alice", database).connect().unwrap();
        assert_eq!(client.value("SELECT current_database()"), "postgres", "{database}");
    }
    let hosts = pooler.show("DNS_HOSTS");
    assert_eq!(hosts.column("hostname"), ["localhost"]);
    assert!(hosts.column("addrs")[0].split(',').any(|address| address == "127.0.0.1" || address == "::1"));
}

#[test]
fn a_connect_query_runs_on_every_new_server() {
    let postgres = Postgres::start();
    let connection = format!(
        "host=127.0.0.1 port={} dbname=postgres connect_query='SET work_mem = ''123kB'''",
        postgres.port()
    );
    let pooler = Config::empty().database("prepared", &connection).start();
    for _ in 0..2 {
        let mut client = pooler.login("alice", "prepared").connect().unwrap();
        client.query("BEGIN").unwrap();
        assert_eq!(client.value("SHOW work_mem"), "123kB");
    }
}
