//! Transaction mode on a real PostgreSQL: what one client may see of others, which is nothing.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

mod cancel;
mod copy;
mod differential;
mod large;
mod parameters;
mod pipeline;
mod prepared;
mod unnamed;
mod vanish;

use sluice_tests::{Config, PATIENCE, Pooler, Postgres};
use std::time::Instant;

/// Fails when it is executed: the planner cannot know the divisor beforehand.
const DIVIDE_BY_ZERO: &str = "SELECT 1 / (pg_backend_pid() * 0)";

/// A server and a transaction-mode pooler with that many server connections.
fn pool(size: usize) -> (Postgres, Pooler) {
    pool_with(size, |config| config)
}

/// The same with more said in the configuration.
fn pool_with(size: usize, more: impl FnOnce(Config) -> Config) -> (Postgres, Pooler) {
    let postgres = Postgres::start();
    let config = Config::new(&postgres).set("default_pool_size", &size.to_string());
    let pooler = more(config).start();
    (postgres, pooler)
}

/// Waits until the text runs, or runs no longer.
fn until_running(postgres: &Postgres, text: &str, wanted: &str) {
    let sql = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity
         WHERE state = 'active' AND query LIKE '%{text}%' AND pid <> pg_backend_pid()"
    );
    let deadline = Instant::now() + PATIENCE;
    let mut superuser = postgres.superuser();
    while superuser.value(&sql) != wanted {
        assert!(Instant::now() < deadline, "{text} runs: never {wanted}");
    }
}
