//! Advice from a running server: two samples of its statistics, the rules, a line for each piece of advice.

pub mod rules;
pub mod sample;

use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use sluice_cli::exit::Exit;
use sluice_unix::log::rfc3339;

use super::server::{Row, Server, printable};
use super::{connect, facts_of, failed, first, lost, note, print, settings};
use crate::config::Request;
use crate::facts::{Facts, Share};
use rules::{Advice, Case, Machine, Period, Reset, advise};
use sample::{ACTIVITY, Sample};

/// What is being done when a sample is taken.
const LOOKING: &str = "reading the server's statistics";
/// How often clients are counted in a window, and how long it is from one count to the next at least.
const LOOKS: u32 = 20;
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);

/// Watches a server for the window and prints advice; the exit code says whether there is any.
///
/// # Errors
/// The exit code, after saying why.
pub fn run(request: &Request) -> Result<Exit, Exit> {
    let mut connected = connect(request)?;
    let facts = facts_of(request, Some(&connected.facts))?;
    let server = &mut connected.server;
    let member = server
        .ask("SELECT pg_catalog.pg_has_role(current_user, 'pg_monitor', 'USAGE')")
        .map_err(|fault| lost("asking for membership of pg_monitor", &fault))?;
    let sees_all = first(&member) == Some("t");
    if !sees_all {
        let blind = "what other users do cannot be seen, and A6, A7, A13 and A14 say less";
        note(request, &format_args!("warning: not a member of pg_monitor: {blind}"));
    }
    let major = connected.facts.major;
    let window = request.live.window;
    let start = if window.is_zero() { None } else { Some(take(server, major)?) };
    let mut seen = Seen { peak: start.as_ref().map_or(0.0, |sample| sample.clients), looks: 0 };
    if start.is_some() {
        note(request, &format_args!("watching for {} s", window.as_secs()));
        seen = watch(server, window, seen)?;
    }
    let last = take(server, major)?;
    let case = Case {
        period: Period {
            first: start.as_ref(),
            last: &last,
            peak_clients: sees_all.then_some(seen.peak.max(last.clients)),
            looks: seen.looks + 1 + u32::from(start.is_some()),
        },
        settings: &settings(server)?,
        machine: machine(request, &facts),
    };
    let advice = advise(&case);
    let window =
        if start.is_some() { format!("{} s", window.as_secs()) } else { "since stats_reset".to_owned() };
    print(&advice.iter().map(|advice| line(advice, &window)).collect::<String>())?;
    note(request, &format_args!("lines of advice: {}", advice.len()));
    Ok(if advice.is_empty() { Exit::Done } else { Exit::No })
}

fn machine(request: &Request, facts: &Facts) -> Machine {
    let wal_cap_kb = facts.wal.as_ref().map(|wal| match wal.value.share {
        Share::Dedicated => wal.value.kb as f64 * 0.6,
        Share::Shared => wal.value.kb as f64 / 8.0,
    });
    Machine {
        memory_kb: facts.memory_kb.value.saturating_sub(request.wishes.reserve_kb) as f64,
        multiplier: request.wishes.worst_case_milli as f64 / 1000.0,
        wal_cap_kb,
    }
}

fn take(server: &mut Server, major: u32) -> Result<Sample, Exit> {
    let mut answers: Vec<Vec<Row>> = Vec::new();
    for query in sample::queries(major) {
        answers.push(server.ask(&query).map_err(|fault| lost(LOOKING, &fault))?);
    }
    sample::read(&answers).ok_or_else(not_understood)
}

fn not_understood() -> Exit {
    failed(&"the server's statistics are not understood", Exit::Temporary)
}

#[derive(Clone, Copy)]
struct Seen {
    peak: f64,
    looks: u32,
}

/// Counts clients until the window is over.
fn watch(server: &mut Server, window: Duration, mut seen: Seen) -> Result<Seen, Exit> {
    let end = Instant::now() + window;
    let every = (window / LOOKS).max(LOOK_EVERY_MIN);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left <= every {
            thread::sleep(left);
            return Ok(seen);
        }
        thread::sleep(every);
        let answer = server.ask(ACTIVITY).map_err(|fault| lost(LOOKING, &fault))?;
        let mut look = Sample::default();
        sample::look(&mut look, &answer).ok_or_else(not_understood)?;
        seen = Seen { peak: seen.peak.max(look.clients), looks: seen.looks + 1 };
    }
}

fn line(advice: &Advice, window: &str) -> String {
    let Advice { rule, grade, setting, current, proposed, evidence, .. } = advice;
    let reset = match advice.reset {
        Reset::Uncounted => String::new(),
        Reset::Never => "; stats_reset never".to_owned(),
        Reset::At(since_s) => {
            let since = Duration::try_from_secs_f64(since_s).ok();
            let moment = since.and_then(|since| UNIX_EPOCH.checked_add(since)).unwrap_or(UNIX_EPOCH);
            format!("; stats_reset {}", rfc3339(moment))
        }
    };
    let text = format!("{setting}: {current} -> {proposed}: {evidence} (window {window}{reset})");
    format!("{rule} {} {}\n", grade.word(), printable(&text))
}
