//! PostgreSQL restarts under load: clients between transactions survive, and nobody has to do anything.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use sluice_tests::{Client, Config, Failure, Login, Postgres};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What the workers see of the restart.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answers: AtomicUsize,
    /// Transactions the restart cut off: the client was told, and came back.
    cut: AtomicUsize,
    last_answer: Mutex<Option<Instant>>,
}

#[test]
fn clients_between_transactions_survive_a_restart_and_a_crash() {
    let mut postgres = Postgres::start();
    let pooler = Config::new(&postgres)
        .set("default_pool_size", "10")
        .set("max_client_conn", "200")
        .set("server_login_retry", "1")
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .start();
    let mut idle: Vec<Client> = (0..50).map(|_| pooler.client("alice")).collect();
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (login, seen) = (pooler.login("alice", "postgres"), &seen);
            scope.spawn(move || work(&login, number, seen));
        }
        for crash in [false, true] {
            answers(&seen, 200);
            match crash {
                true => postgres.crash(),
                false => postgres.stop(),
            }
            let down = Instant::now();
            postgres.start_again();
            let up = Instant::now();
            answers(&seen, 200);
            let first = Instant::now() - up;
            let how = if crash { "a crash" } else { "a restart" };
            println!("{how}: PostgreSQL was down {:?}, 200 answers {first:?} after it was up", up - down);
        }
        seen.over.store(true, Ordering::Relaxed);
    });
    println!("{} answers, {} transactions cut", seen.answers.into_inner(), seen.cut.into_inner());
    for client in &mut idle {
        assert_eq!(client.value("SELECT 'never noticed'"), "never noticed");
    }
    pooler.until("POOLS", |pools| {
        let pool = pools.filter("database", "postgres");
        pool.sum("cl_waiting") == 0 && pool.sum("sv_active") == 0 && pool.sum("cl_active") == 50
    });
}

/// Waits for that many answers more.
fn answers(seen: &Seen, more: usize) {
    let wanted = seen.answers.load(Ordering::Relaxed) + more;
    let deadline = Instant::now() + sluice_tests::PATIENCE;
    while seen.answers.load(Ordering::Relaxed) < wanted {
        let last = *seen.last_answer.lock().unwrap();
        assert!(
            Instant::now() < deadline,
            "no recovery; the last answer came {:?} ago",
            last.map(|at| at.elapsed())
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asks single queries and transactions until it is over. Only a request in flight may fail.
fn work(login: &Login, number: usize, seen: &Seen) {
    let mut client = connect(login);
    let mut count = 0;
    while !seen.over.load(Ordering::Relaxed) {
        count += 1;
        match ask(&mut client, &format!("{number}/{count}")) {
            Ok(()) => {
                seen.answers.fetch_add(1, Ordering::Relaxed);
                *seen.last_answer.lock().unwrap() = Some(Instant::now());
            }
            Err(Failure::Timeout) => panic!("client {number} is stuck"),
            Err(Failure::Protocol(what)) => panic!("client {number}: {what}"),
            Err(_) => {
                seen.cut.fetch_add(1, Ordering::Relaxed);
                client = connect(login);
            }
        }
    }
}

fn ask(client: &mut Client, marker: &str) -> Result<(), Failure> {
    client.query("BEGIN")?;
    let reply = client.query(&format!("SELECT '{marker}'"))?;
    client.query("COMMIT")?;
    assert_eq!(reply.value(), marker);
    Ok(())
}

/// Logs in, however long the server is away.
fn connect(login: &Login) -> Client {
    let deadline = Instant::now() + sluice_tests::PATIENCE;
    loop {
        match login.connect() {
            Ok(client) => return client,
            Err(failure) => assert!(Instant::now() < deadline, "login: {failure:?}"),
        }
    }
}
