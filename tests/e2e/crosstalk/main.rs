//! Many clients over few server connections, each checking that every answer is its own, while clients vanish, cancel
//! and fail, and server connections are killed.
//!
//! `SLUICE_SEED`, `SLUICE_CLIENTS`, `SLUICE_SERVERS` and `SLUICE_SECONDS` change the size of the run.
#![expect(clippy::unwrap_used, reason = "the helpers of a test report by panicking, as tests do")]

mod asker;

use asker::{Asker, Stop, Tally};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sluice_check::Rng;
use sluice_tests::pooler::Table;
use sluice_tests::{Client, Config, Pooler, Postgres, postgres};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Enough for one frame of everything a client does; a thousand stacks must stay small.
const STACK: usize = 256 * 1024;

#[test]
fn a_thousand_clients_over_fifty_servers_get_their_own_answers() {
    let (seed, clients, servers) = (number("SEED", 1), number("CLIENTS", 1000), number("SERVERS", 50));
    let time = Duration::from_secs(number("SECONDS", 25));
    raise_descriptor_limit();
    let postgres =
        Postgres::with(&postgres::Options::default().set("max_connections", &(2 * servers + 20).to_string()));
    let pooler = Config::new(&postgres)
        .set("default_pool_size", &servers.to_string())
        .set("max_client_conn", &(2 * clients + 10).to_string())
        .set("listen_backlog", "1024")
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .start();

    let deadline = Instant::now() + time;
    let over = AtomicBool::new(false);
    let mut tally = Tally::default();
    let mut stops = Vec::new();
    let mut kills = 0;
    let (superuser, console) = (postgres.superuser(), pooler.console());
    std::thread::scope(|scope| {
        let killer = spawn(scope, || kill_at_random(superuser, &over));
        let watcher = spawn(scope, || watch(console, servers, &over));
        let askers: Vec<_> = (0..clients)
            .map(|id| {
                let (login, mut random) = (pooler.login("alice", "postgres"), Rng::new(seed ^ id << 32));
                spawn(scope, move || Asker::new(id, login).run(&mut random, deadline))
            })
            .collect();
        for asker in askers {
            match asker.join().unwrap() {
                Ok(counts) => tally.add(&counts),
                Err(stop) => stops.push(stop),
            }
        }
        over.store(true, Ordering::Relaxed);
        kills = killer.join().unwrap();
        watcher.join().unwrap();
    });

    println!("seed {seed}: {clients} clients, {servers} servers, {kills} killed; {tally:?}");
    let first: Vec<&Stop> = stops.iter().take(5).collect();
    assert!(
        stops.is_empty(),
        "{} of {clients} clients stopped; seed {seed}; the first: {first:#?}",
        stops.len()
    );
    assert!(tally.answers > clients && tally.lost > 0 && tally.cancelled > 0, "the run was a run: {tally:?}");
    assert_drained(&pooler);
}

/// Nobody is connected, nobody waits, no server connection is in use.
fn assert_drained(pooler: &Pooler) {
    pooler.until("POOLS", |pools| {
        let pool = pools.filter("database", "postgres");
        ["cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login"]
            .iter()
            .all(|state| pool.sum(state) == 0)
    });
    let clients = pooler.show("CLIENTS");
    assert_eq!(clients.column("database"), ["pgbouncer"], "only the console itself: {clients:#?}");
    let servers = pooler.show("SERVERS");
    assert!(servers.column("link").iter().all(String::is_empty), "a server still has a client: {servers:#?}");
    let mut client = pooler.client("alice");
    assert_eq!(client.value("SELECT 'and on'"), "and on");
}

/// Ends a random server connection every so often; how many.
fn kill_at_random(mut superuser: Client, over: &AtomicBool) -> usize {
    let mut kills = 0;
    while !over.load(Ordering::Relaxed) {
        let rows = superuser.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice' ORDER BY random() LIMIT 1",
        );
        kills += rows.len();
        superuser.rows("SELECT pg_sleep(0.1)");
    }
    kills
}

/// Checks all the time that the pool keeps its limit.
fn watch(mut console: Client, servers: u64, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let pools = Table::show(&mut console, "POOLS").filter("database", "postgres");
        let states = ["sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"];
        let open: i64 = states.iter().map(|state| pools.sum(state)).sum();
        assert!(open <= servers as i64, "{open} server connections of {servers}: {pools:?}");
        pause(&mut console);
    }
}

/// A tenth of a second without a request: nothing is expected on the connection.
fn pause(console: &mut Client) {
    console.set_timeout(Duration::from_millis(100));
    console.receive().unwrap_err();
    console.set_timeout(sluice_tests::PATIENCE);
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap()
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(format!("SLUICE_{name}")).map_or(usual, |value| value.parse().unwrap())
}

fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}
