//! Compares the programs with what people use instead, side by side in one run, on this machine.
//!
//! `scripts/bench` builds and calls it: `bench PROGRAMS PGBOUNCER RESULTS.json GROUP…`, where PROGRAMS is the directory of our
//! programs. Each group prints a table and leaves its figures in the results file under its name. SLUICE_SECONDS (5) is
//! the length of one measurement, SLUICE_ROUNDS (3) how often each is repeated, SLUICE_ROWS a comma-separated choice of rows.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot measure reports by panicking"
)]

mod http;
mod overload;
mod pooler;
mod tuning;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Map, Value};

/// What is to be measured.
pub(crate) struct Choice {
    rows: Option<Vec<String>>,
    descriptors: u64,
}

impl Choice {
    /// Whether the row is wanted: all are, unless some are named.
    pub(crate) fn has(&self, row: &str) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.iter().any(|name| name == row))
    }

    /// As many connections as wanted, or as the limit on descriptors allows where each may take so many.
    pub(crate) fn connections(&self, wanted: usize, descriptors_each: u64) -> usize {
        usize::try_from(self.descriptors.saturating_sub(1000) / descriptors_each).unwrap().min(wanted)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [overload::api::COMMAND] {
        raise_descriptors();
        return overload::api::serve();
    }
    let [programs, pgbouncer, results, groups @ ..] = arguments.as_slice() else {
        eprintln!("usage: bench PROGRAMS PGBOUNCER RESULTS.json GROUP...");
        std::process::exit(2);
    };
    let descriptors = raise_descriptors();
    let rows = std::env::var("SLUICE_ROWS").ok();
    let rows = rows.map(|rows| rows.split(',').map(str::to_owned).collect());
    let choice = Choice { rows, descriptors };
    for group in groups {
        let figures = match group.as_str() {
            "pooler" => pooler::run(&format!("{programs}/poolerd"), pgbouncer, &choice),
            "http" => http::run(&format!("{programs}/throttle-proxy"), &choice),
            "overload" => overload::run(&format!("{programs}/throttle-proxy"), &choice),
            "tuning" => tuning::run(&format!("{programs}/pgtune"), &choice),
            other => panic!("no group of benchmarks is called {other}"),
        };
        keep(results, group, figures);
    }
    println!("as JSON: {results}");
}

/// As many descriptors as the system lets this process have.
fn raise_descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}

/// Puts a group's figures into the results file, beside those of other groups.
fn keep(results: &str, group: &str, figures: Value) {
    let earlier = std::fs::read(results).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut all: Map<String, Value> = earlier.unwrap_or_default();
    all.insert(group.to_owned(), figures);
    std::fs::write(results, format!("{:#}\n", Value::Object(all))).unwrap();
}

/// A number from the environment variable SLUICE_`name`.
pub(crate) fn number(name: &str, usual: u32) -> u32 {
    std::env::var(format!("SLUICE_{name}")).map_or(usual, |value| value.parse().unwrap())
}

/// The middle one of some figures.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
