//! poolerd beside PgBouncer: in turn, in one run, before one PostgreSQL, over TCP on the loopback, with SCRAM.

mod idle;
mod load;
mod report;

use crate::{Choice, number};
use load::Row;
use report::Report;
use serde_json::Value;
use sluice_tests::{Config, Pooler, Postgres, postgres};
use std::process::Command;

/// A pooler to measure.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) pooler: Pooler,
    config: Config,
    /// Whether prepared statements work in transaction mode.
    prepares: bool,
}

/// Measures all chosen rows and prints the table.
pub(crate) fn run(poolerd: &str, pgbouncer: &str, choice: &Choice) -> Value {
    let idle_clients = choice.connections(10_000, 1);
    let options = postgres::Options::default().method("scram-sha-256").set("max_connections", "120");
    let postgres = Postgres::with(&options.set("shared_buffers", "256MB"));
    let contenders = [contender(&postgres, pgbouncer), contender(&postgres, poolerd)];
    initialise(&contenders[1]);
    let mut report = Report::new(&contenders);
    let rows: Vec<&Row> = load::ROWS.iter().filter(|row| choice.has(row.name)).collect();
    for round in 1..=number("ROUNDS", 3) {
        for row in &rows {
            for contender in &contenders {
                if row.prepares() && !contender.prepares {
                    continue;
                }
                eprintln!("round {round}: {} with {}", row.name, contender.name);
                report.add(row.name, &contender.name, load::measure(row, contender, number("SECONDS", 5)));
            }
        }
    }
    if choice.has("idle") {
        for contender in &contenders {
            eprintln!("{idle_clients} idle clients with {}", contender.name);
            // A fresh one: what earlier rows left allocated would be used again.
            report.add_idle(&contender.name, idle::measure(&contender.config.start(), idle_clients));
        }
    }
    print!("{}", report.table());
    report.json()
}

/// 50 clients on 20 servers, and room for the rows with more clients.
fn contender(postgres: &Postgres, program: &str) -> Contender {
    let version =
        Command::new(program).arg("--version").output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    let is_poolerd = program.ends_with("poolerd");
    let prepares = is_poolerd || pgbouncer_prepares(&version);
    let secret = &postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")[0][0];
    let mut config = Config::new(postgres)
        .program(program)
        .set("auth_type", "scram-sha-256")
        // The verifier, as PostgreSQL keeps it: neither side derives keys from a password at every login.
        .user("alice", secret)
        .set("default_pool_size", "20")
        .set("max_client_conn", "12000")
        .set("listen_backlog", "2048")
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .set("ignore_startup_parameters", "extra_float_digits");
    if prepares {
        config = config.set("max_prepared_statements", "200");
    }
    let name = if is_poolerd { "poolerd".to_owned() } else { version };
    Contender { name, pooler: config.start(), config, prepares }
}

/// Prepared statements in transaction mode came with PgBouncer 1.21.
fn pgbouncer_prepares(version: &str) -> bool {
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 21)
}

fn initialise(contender: &Contender) {
    let mut pgbench = load::pgbench(&contender.pooler);
    let status = pgbench.args(["-i", "-q", "-s", "5", "--unlogged-tables"]).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}
