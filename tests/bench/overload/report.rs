//! What came of a course of load, as a table for people and as JSON.

use super::api::{Event, Happened};
use super::users::{Attempt, Diary, End};
use super::{CAPACITY, Setup};
use serde_json::{Map, Value, json};
use sluice_tests::origin::most_in_any;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What a rate is counted in.
const WINDOW: Duration = Duration::from_secs(1);

/// Goodput has recovered when it holds for so many seconds.
const HELD_S: usize = 5;

/// The load before and after the peak, and how much of it must be served again.
const REST: f64 = 0.5;
const RECOVERED: f64 = 0.95;

/// What is known beside what users and the API tell.
pub(crate) struct Frame {
    /// Measured from then on.
    pub(crate) from: Duration,
    /// The end of the peak, if there is one.
    pub(crate) last: Option<Duration>,
    /// Requests held when all users had gone.
    pub(crate) left: Option<u64>,
    /// Processor time of what was between.
    pub(crate) cpu: Option<Duration>,
}

/// The figures of one course of load with one set-up.
pub(crate) struct Measured {
    users_per_second: f64,
    /// 2xx in time, of the API's capacity, and of the attempts that ended.
    goodput: f64,
    answered: f64,
    /// API completions whose client had gone, of all.
    wasted: f64,
    /// API arrivals, a user.
    amplification: f64,
    /// Of up-front refusals: how many, and how long they took.
    refused: usize,
    refusal_p99_ms: Option<f64>,
    /// Most requests at the API at a time, and most arrivals in any second.
    at_once: usize,
    in_a_second: usize,
    /// From the end of the peak: `None` never.
    recovery_s: Option<Option<usize>>,
    left: Option<u64>,
    cpu_us_per_attempt: Option<f64>,
    /// How late the load generator was.
    late_p99_ms: f64,
}

impl Measured {
    pub(crate) fn of(diary: &Diary, events: &[Event], frame: Frame) -> Measured {
        let Diary { start, end, users, attempts } = diary;
        let from = *start + frame.from;
        let seconds = (*end - from).as_secs_f64();
        let ended: Vec<(&Attempt, Instant, End)> = attempts
            .iter()
            .filter_map(|attempt| attempt.ended.map(|(at, end)| (attempt, at, end)))
            .filter(|(_, at, _)| *at >= from)
            .collect();
        let good = ended.iter().filter(|(_, _, end)| *end == End::Good).count();
        let took = |attempt: &Attempt, at: Instant| (at - attempt.began).as_secs_f64() * 1000.0;
        let refusals: Vec<f64> = ended
            .iter()
            .filter(|(_, _, end)| *end == End::RefusedUpFront)
            .map(|(attempt, at, _)| took(attempt, *at))
            .collect();
        let late = attempts.iter().map(|attempt| (attempt.began - attempt.due).as_secs_f64() * 1000.0);
        let within: Vec<&Event> = events.iter().filter(|(at, ..)| at < end).collect();
        let of = |happened: Happened| within.iter().filter(move |(_, what, _)| *what == happened);
        let gone = |at: Instant, attempt: u32| {
            attempts[attempt as usize].ended.is_some_and(|(ended, end)| end != End::Good && ended < at)
        };
        let completed = of(Happened::Completed).count();
        let wasted = of(Happened::Completed).filter(|(at, _, attempt)| gone(*at, *attempt)).count();
        let arrivals: Vec<Instant> = of(Happened::Arrived).map(|(at, ..)| *at).collect();
        Measured {
            users_per_second: f64::from(*users) / (*end - *start).as_secs_f64(),
            goodput: good as f64 / seconds / CAPACITY,
            answered: good as f64 / ended.len().max(1) as f64,
            wasted: wasted as f64 / completed.max(1) as f64,
            amplification: arrivals.len() as f64 / f64::from(*users),
            refused: refusals.len(),
            refusal_p99_ms: p99(refusals),
            at_once: at_once(&within),
            in_a_second: most_in_any(&arrivals, WINDOW),
            recovery_s: frame.last.map(|last| recovery(diary, last)),
            left: frame.left,
            cpu_us_per_attempt: frame.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / attempts.len().max(1) as f64),
            late_p99_ms: p99(late.collect()).unwrap_or(0.0),
        }
    }
}

/// Most requests that the API had at a time.
fn at_once(events: &[&Event]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for (_, happened, _) in events {
        match happened {
            Happened::Arrived => now += 1,
            Happened::Completed | Happened::GivenUp => now -= 1,
        }
        most = most.max(now);
    }
    most
}

/// Seconds from the end of the peak to goodput that holds.
fn recovery(diary: &Diary, peak_end: Duration) -> Option<usize> {
    let whole = (diary.end - diary.start).as_secs() as usize;
    let mut good = vec![0.0; whole + 1];
    for (at, end) in diary.attempts.iter().filter_map(|attempt| attempt.ended) {
        if end == End::Good {
            good[(at - diary.start).as_secs() as usize] += 1.0 / CAPACITY;
        }
    }
    let first = peak_end.as_secs() as usize;
    let holds =
        |from: &usize| good[*from..from + HELD_S].iter().sum::<f64>() / HELD_S as f64 >= RECOVERED * REST;
    (first..=whole.saturating_sub(HELD_S)).find(holds).map(|second| second - first)
}

fn p99(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * 99 / 100).min(values.len().saturating_sub(1))).copied()
}

/// All that was measured, in order.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<(&'static str, Setup, Measured)>,
}

impl Report {
    pub(crate) fn add(&mut self, row: &'static str, setup: Setup, measured: Measured) {
        self.lines.push((row, setup, measured));
    }

    pub(crate) fn table(&self) -> String {
        let mut out = format!(
            "\nan API that can do {CAPACITY} requests a second; goodput is 2xx within 5 s, in percent of that; answered is their share\n\
             of all attempts; wasted is work of the API whose client had gone; amplification is requests at the API for each user;\n\
             recovery is counted from the end of the peak; late is the load generator's own delay\n\n"
        );
        let _ = writeln!(
            out,
            "{:<5} {:<15} {:>8} {:>8} {:>9} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>9} {:>5} {:>7} {:>8}",
            "load",
            "before the API",
            "users/s",
            "goodput",
            "answered",
            "wasted",
            "amplif.",
            "refused",
            "p99 ms",
            "at once",
            "in 1 s",
            "recovery",
            "left",
            "cpu µs",
            "late ms"
        );
        for (row, setup, measured) in &self.lines {
            let _ = writeln!(out, "{row:<5} {:<15} {}", setup.name(), measured.cells());
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let mut rows: Map<String, Value> = Map::new();
        for (row, setup, measured) in &self.lines {
            let line = rows.entry(*row).or_insert_with(|| json!({}));
            line[setup.name()] = measured.facts();
        }
        json!({ "capacity_per_second": CAPACITY, "rows": rows })
    }
}

impl Measured {
    fn cells(&self) -> String {
        let some = |value: Option<String>| value.unwrap_or_default();
        let recovery = match self.recovery_s {
            None => String::new(),
            Some(None) => "never".to_owned(),
            Some(Some(seconds)) => format!("{seconds} s"),
        };
        format!(
            "{:>8.0} {:>7.0}% {:>8.1}% {:>6.1}% {:>7.2} {:>8} {:>8} {:>8} {:>8} {recovery:>9} {:>5} {:>7} {:>8.1}",
            self.users_per_second,
            self.goodput * 100.0,
            self.answered * 100.0,
            self.wasted * 100.0,
            self.amplification,
            self.refused,
            some(self.refusal_p99_ms.map(|ms| format!("{ms:.1}"))),
            self.at_once,
            self.in_a_second,
            some(self.left.map(|left| left.to_string())),
            some(self.cpu_us_per_attempt.map(|us| format!("{us:.0}"))),
            self.late_p99_ms,
        )
    }

    fn facts(&self) -> Value {
        json!({
            "users_per_second": self.users_per_second,
            "goodput": self.goodput,
            "answered": self.answered,
            "wasted": self.wasted,
            "amplification": self.amplification,
            "refused_up_front": self.refused,
            "refusal_p99_ms": self.refusal_p99_ms,
            "most_at_once": self.at_once,
            "most_in_a_second": self.in_a_second,
            "recovery_s": self.recovery_s.flatten(),
            "left": self.left,
            "cpu_us_per_attempt": self.cpu_us_per_attempt,
            "late_p99_ms": self.late_p99_ms,
        })
    }
}
