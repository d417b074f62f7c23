//! pgtune with a real server: what it compares, advises, changes and takes back, and what it does with servers that are
//! none.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

mod advise;
mod alter_system;
mod conf_d;
mod diff;
mod grammar;
mod relay;
mod strangers;

use sluice_tests::{Postgres, build};
use std::process::{Command, Output};

/// Facts that do not depend on the machine of the test.
const FACTS: [&str; 8] = ["--memory", "1GB", "--cpus", "2", "--disk", "ssd", "--wal-disk", "10GB"];

/// How a run of pgtune ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(output: Output) -> Run {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The cells of the last row that begins with a name.
    fn row(&self, name: &str) -> Vec<&str> {
        let line = self.out.lines().rfind(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no row {name} in {self:?}")).split_whitespace().collect()
    }

    /// The last cell of a row.
    fn state(&self, name: &str) -> &str {
        self.row(name).last().copied().unwrap()
    }

    /// The path behind a label on standard error.
    fn path(&self, label: &str) -> &str {
        let line = self.err.lines().find_map(|line| line.split_once(label));
        line.unwrap_or_else(|| panic!("no {label:?} in {self:?}")).1.trim()
    }
}

/// pgtune with these arguments, no environment of libpq's, and nobody's home.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(build::program("pgtune"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").args(arguments);
    command
}

/// Runs pgtune to its end.
fn run(arguments: &[&str]) -> Run {
    Run::of(command(arguments).output().unwrap())
}

/// A connection string to the server's Unix socket.
fn dsn(postgres: &Postgres, user: &str) -> String {
    format!(
        "host={} port={} user={user} dbname=postgres",
        postgres.socket_directory().display(),
        postgres.port()
    )
}

/// Runs pgtune against a server as its superuser, with the usual facts.
fn tune(postgres: &Postgres, arguments: &[&str]) -> Run {
    tune_as(&dsn(postgres, "postgres"), arguments)
}

fn tune_as(dsn: &str, arguments: &[&str]) -> Run {
    run(&[&FACTS[..], &["--dsn", dsn], arguments].concat())
}

/// What postgresql.auto.conf says, line by line, comments left out.
fn auto_conf(postgres: &Postgres) -> Vec<String> {
    let text = std::fs::read_to_string(postgres.data_directory().join("postgresql.auto.conf")).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn restart(postgres: &mut Postgres) {
    postgres.stop();
    postgres.start_again();
}
