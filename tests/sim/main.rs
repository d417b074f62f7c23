//! Seeded simulation of the pooler's core: fake clients, fake PostgreSQL servers, a virtual clock, faults.
//!
//! Each client has a private server beside it, fed with the same bytes; what comes through the pooler must be what
//! that server says, message by message. `SIM_SEED=n` replays one run and prints what happened; `SIM_SEEDS=n` runs
//! more of them. Seeds that once failed are in `seeds` and run first.

#![expect(clippy::expect_used, clippy::panic, reason = "a test reports by panicking")]

mod client;
mod effects;
mod faults;
mod generate;
mod plan;
mod port;
mod reference;
mod run;
mod server;
mod session;
mod short;
mod sql;
mod trace;
mod work;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use trace::Trace;
use world::World;

/// Runs in `cargo test`, unless asked for more.
const SEEDS: u64 = 256;

/// Failed runs after which no more are tried.
const FAILURES: usize = 8;

/// Lines of a failed run that are shown.
const SHOWN: usize = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs a seed; answers its trace if it failed.
fn fails(seed: u64) -> Option<Vec<String>> {
    let run = |trace| {
        let mut world = World::new(seed, trace);
        let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
        outcome.err().map(|why| {
            let text = why.downcast_ref::<String>().cloned();
            let text = text.or_else(|| why.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            let mut lines = world.trace.take();
            lines.push(text.unwrap_or_default());
            lines
        })
    };
    run(Trace::default()).and_then(|_| run(Trace::kept()))
}

#[test]
fn every_client_hears_what_its_own_server_would_have_said() {
    let kept = include_str!("seeds").lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    let seeds: Vec<u64> = match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => kept.chain(0..number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        let Some(lines) = fails(seed) else { continue };
        if failed.is_empty() {
            let from = if number("SIM_SEED").is_some() { 0 } else { lines.len().saturating_sub(SHOWN) };
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
        failed.push(seed);
        if failed.len() >= FAILURES {
            break;
        }
    }
    assert!(
        failed.is_empty(),
        "seeds {failed:?} fail (what happened in the first is above); replay with SIM_SEED"
    );
}
