//! Clients that are gone in the middle of something: the server connection is cleaned and kept.

use crate::{pool, pool_with, until_running};
use sluice_tests::message::{bind, copy_data, copy_done, execute, extended, parse, query, sync, terminate};
use sluice_tests::{Client, PATIENCE, Pooler};

/// The backend that serves the pool of one now.
fn backend(pooler: &Pooler) -> String {
    pooler.client("alice").value("SELECT pg_backend_pid()")
}

/// Two ways to vanish: end of stream, reset.
fn leave(client: Client, by_reset: bool) {
    match by_reset {
        true => client.reset(),
        false => drop(client),
    }
}

#[test]
fn idle_in_a_transaction_it_is_rolled_back_and_the_server_kept() {
    let (postgres, pooler) = pool(1);
    postgres.sql("CREATE TABLE t (n int); GRANT ALL ON t TO alice");
    let pid = backend(&pooler);
    for way in 0..4 {
        let mut client = pooler.client("alice");
        client.rows("BEGIN; INSERT INTO t VALUES (1)");
        if way == 1 {
            client.query("SELECT 1/0").unwrap();
        }
        match way {
            2 => client.terminate(),
            3 => client.reset(),
            _ => drop(client),
        }
        let mut next = pooler.client("alice");
        assert_eq!(next.value("SELECT count(*) FROM t"), "0");
        assert_eq!(next.value("SELECT pg_backend_pid()"), pid, "the server connection is kept");
    }
}

#[test]
fn in_a_running_query_it_is_cancelled_and_the_server_kept() {
    let (postgres, pooler) = pool(1);
    let pid = backend(&pooler);
    for reset in [false, true] {
        let mut client = pooler.client("alice");
        client.send(&query("SELECT pg_sleep(600)")).unwrap();
        until_running(&postgres, "pg_sleep", "t");
        leave(client, reset);
        until_running(&postgres, "pg_sleep", "f");
        assert_eq!(backend(&pooler), pid);
    }
}

#[test]
fn without_reading_a_large_result_it_leaves_the_server_to_others() {
    let (postgres, pooler) = pool(1);
    let pid = backend(&pooler);
    for reset in [false, true] {
        let mut client = pooler.client("alice");
        client.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")).unwrap();
        // The result has filled every buffer on its way.
        let stopped =
            format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'ClientWrite'");
        let deadline = std::time::Instant::now() + PATIENCE;
        while postgres.sql(&stopped) != [["1"]] {
            assert!(std::time::Instant::now() < deadline, "the result is written out");
        }
        leave(client, reset);
        assert_eq!(backend(&pooler), pid);
    }
}

#[test]
fn by_terminate_its_last_statement_counts() {
    let (postgres, pooler) = pool(1);
    postgres.sql("CREATE TABLE t (n int); GRANT ALL ON t TO alice");
    let mut client = pooler.client("alice");
    client.send(&[query("INSERT INTO t SELECT 1 FROM pg_sleep(0.2)"), terminate()].concat()).unwrap();
    drop(client);
    let mut next = pooler.client("alice");
    assert_eq!(next.value("SELECT count(*) FROM t"), "1");
}

#[test]
fn in_an_open_batch_the_next_client_starts_clean() {
    let (postgres, pooler) = pool(1);
    postgres.sql("CREATE TABLE t (n int); GRANT ALL ON t TO alice");
    let requests = [
        parse("", "SELECT 1"),
        [parse("", "SELECT 1"), bind("", "", &[])].concat(),
        extended("INSERT INTO t VALUES (1)", &[]),
        [extended("INSERT INTO t VALUES (1)", &[]), extended("SELECT 1/0", &[])].concat(),
        [bind("", "ghost", &[]), query("INSERT INTO t VALUES (1)")].concat(),
        [parse("", "SELECT generate_series(1, 100)"), bind("", "", &[]), execute("", 1)].concat(),
        // PostgreSQL passes over the Sync, so the copy is complete and its batch is not.
        [extended("COPY t FROM STDIN", &[]), sync(), copy_data(b"1\n"), copy_done()].concat(),
    ];
    for request in requests {
        let mut client = pooler.client("alice");
        client.send(&request).unwrap();
        drop(client);
        let mut next = pooler.client("alice");
        assert_eq!(next.value("SELECT 'next'"), "next");
        assert_eq!(next.value("SELECT count(*) FROM t"), "0", "an open batch is not committed");
    }
}

#[test]
fn at_every_byte_of_a_batch_the_next_client_starts_clean() {
    let (_postgres, pooler) = pool(1);
    let bytes = [extended("SELECT $1::text", &["value"]), query("SELECT 2")].concat();
    let mut next = pooler.client("alice");
    for end in 0..bytes.len() {
        let mut client = pooler.client("alice");
        client.send(&bytes[..end]).unwrap();
        leave(client, end % 2 == 1);
        assert_eq!(next.value(&format!("SELECT 'after {end}'")), format!("after {end}"));
    }
}

#[test]
fn while_queued_it_leaves_the_queue() {
    let (_postgres, pooler) = pool(1);
    let mut holder = pooler.client("alice");
    holder.query("BEGIN").unwrap();
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let mut client = pooler.client("alice");
            client.send(&query("SELECT 'waited'")).unwrap();
            client
        })
        .collect();
    pooler.until("POOLS", |pools| pools.filter("database", "postgres").sum("cl_waiting") == 10);
    for waiter in waiters {
        waiter.terminate();
    }
    holder.query("COMMIT").unwrap();
    pooler.until("POOLS", |pools| {
        let pools = pools.filter("database", "postgres");
        pools.sum("cl_waiting") == 0 && pools.sum("cl_active") == 1 && pools.sum("sv_active") == 0
    });
    assert_eq!(holder.value("SELECT 'on'"), "on");
}

#[test]
fn with_a_large_result_unread_the_server_is_free_again() {
    let (postgres, pooler) = pool(1);
    for _ in 0..3 {
        let mut client = pooler.client("alice");
        client.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")).unwrap();
        client.receive().unwrap();
        drop(client);
        assert_eq!(pooler.client("alice").value("SELECT 'next'"), "next");
    }
    until_running(&postgres, "generate_series", "f");
}

#[test]
fn on_client_loss_close_closes_the_server_as_pgbouncer_does() {
    let (_postgres, pooler) = pool_with(1, |config| config.set("on_client_loss", "close"));
    let pid = backend(&pooler);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    client.send(&query("SELECT pg_sleep(600)")).unwrap();
    pooler.until("POOLS", |pools| pools.sum("sv_active") == 1);
    drop(client);
    assert_ne!(backend(&pooler), pid);
}

#[test]
fn a_killed_backend_is_replaced_and_its_client_told() {
    let (postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    client.query("BEGIN").unwrap();
    let pid = client.value("SELECT pg_backend_pid()");
    let mut idle = pooler.client("alice");
    postgres.sql(&format!("SELECT pg_terminate_backend({pid})"));
    let told = client.closed().unwrap().expect("an error before the end");
    assert_eq!(told.severity(), "FATAL");
    assert_ne!(idle.value("SELECT pg_backend_pid()"), pid);
}

#[test]
fn a_backend_killed_while_idle_is_nobodys_business() {
    let (postgres, pooler) = pool(1);
    let mut client = pooler.client("alice");
    for _ in 0..5 {
        let pid = client.value("SELECT pg_backend_pid()");
        postgres.sql(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
        pooler.until("POOLS", |pools| pools.sum("sv_idle") + pools.sum("sv_used") == 0);
        assert_ne!(client.value("SELECT pg_backend_pid()"), pid);
    }
}
