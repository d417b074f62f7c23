//! Real drivers through the pooler in transaction mode, two server connections for all. `scripts/drivers` installs the
//! pinned ones into `.drivers/`; where they are missing the test fails and says so.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use sluice_tests::{Config, Pooler, Postgres, postgres};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// SCRAM on both sides, as a careful person would run it.
fn scene() -> (Postgres, Pooler) {
    let postgres = Postgres::with(&postgres::Options::default().method("scram-sha-256"));
    let pooler = Config::new(&postgres)
        .set("auth_type", "scram-sha-256")
        .set("default_pool_size", "2")
        .set("ignore_startup_parameters", "extra_float_digits")
        .start();
    (postgres, pooler)
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A command that is ended after two minutes: a driver that hangs must not hang the tests.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    command
}

/// Runs the command with libpq's variables set; its standard output.
fn run(pooler: &Pooler, mut command: Command) -> String {
    let output = command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", pooler.port().to_string())
        .env("PGUSER", "alice")
        .env("PGPASSWORD", "secret of alice")
        .env("PGDATABASE", "postgres")
        .env("PGCONNECT_TIMEOUT", "30")
        .output()
        .unwrap_or_else(|error| {
            panic!("{command:?}: {error}; scripts/deps test and scripts/drivers install it")
        });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a script of tests/drivers with an interpreter of .drivers.
fn script(interpreter: &Path, name: &str) {
    let (_postgres, pooler) = scene();
    let mut command = command(interpreter);
    command.arg(top().join("tests/drivers").join(name));
    command.env("NODE_PATH", top().join(".drivers/node/node_modules"));
    let out = run(&pooler, command);
    assert_eq!(out.trim_end().lines().last(), Some("all assertions held"), "{out}");
}

#[test]
fn psql() {
    let (_postgres, pooler) = scene();
    let mut command = command(postgres::bin().join("psql"));
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f"]);
    command.arg(top().join("tests/drivers/psql.sql"));
    assert_eq!(run(&pooler, command), "1\nin a transaction\n1000\ncopied out\nby cursor\n");
}

#[test]
fn pgbench_simple() {
    pgbench("simple");
}

#[test]
fn pgbench_extended() {
    pgbench("extended");
}

#[test]
fn pgbench_prepared() {
    pgbench("prepared");
}

fn pgbench(protocol: &str) {
    let (_postgres, pooler) = scene();
    let program = postgres::bin().join("pgbench");
    let mut init = command(&program);
    init.args(["-i", "-q", "-s", "1"]);
    run(&pooler, init);
    let mut load = command(&program);
    // A thread a client: pgbench prepares with a blocking call, and a thread that waits so for a server connection
    // cannot end the transactions of its other clients that hold them.
    load.args(["-n", "-M", protocol, "-c", "16", "-j", "16", "-t", "50", "--max-tries=1"]);
    let out = run(&pooler, load);
    assert!(out.contains("number of transactions actually processed: 800/800"), "{out}");
    // Debian's pgbench counts failures from version 15 on; before that a failure is a non-zero exit.
    assert!(!out.contains("failed transactions") || out.contains("failed transactions: 0"), "{out}");
    let mut reconnect = command(&program);
    reconnect.args(["-n", "-C", "-S", "-M", protocol, "-c", "4", "-t", "10"]);
    assert!(run(&pooler, reconnect).contains("actually processed: 40/40"));
}

#[test]
fn psycopg() {
    script(&top().join(".drivers/python/bin/python"), "psycopg_script.py");
}

#[test]
fn asyncpg() {
    script(&top().join(".drivers/python/bin/python"), "asyncpg_script.py");
}

#[test]
fn node_postgres() {
    script(Path::new("node"), "node_script.js");
}
