//! Medians of the rounds, as a table for people and as JSON.

use super::ROWS;
use super::idle::Idle;
use super::wrk::Load;
use crate::median;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The origin without a gateway.
pub(crate) const DIRECT: &str = "direct";

/// The one ours is compared with.
const BASE: &str = "haproxy";

/// One measurement. Times in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Processor time of the gateway, a request: in user space and in the kernel.
    cpu_us: Option<(f64, f64)>,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Sample {
    /// A load, and the processor time the gateway spent on it.
    pub(crate) fn of(load: Load, cpu: Option<(Duration, Duration)>) -> Sample {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / load.requests.max(1) as f64;
        Sample {
            cpu_us: cpu.map(|(user, system)| (each(user), each(system))),
            per_second: load.per_second,
            p50_us: load.p50_us,
            p99_us: load.p99_us,
        }
    }

    fn cpu(&self) -> f64 {
        self.cpu_us.map_or(0.0, |(user, system)| user + system)
    }
}

/// Everything measured so far.
pub(crate) struct Report {
    /// The gateways, ours last.
    names: Vec<String>,
    samples: BTreeMap<(&'static str, String), Vec<Sample>>,
    growth: BTreeMap<String, (u64, i64)>,
    idle: BTreeMap<String, Idle>,
    flat: Vec<(&'static str, i64)>,
}

impl Report {
    pub(crate) fn new(names: Vec<String>) -> Report {
        Report {
            names,
            samples: BTreeMap::new(),
            growth: BTreeMap::new(),
            idle: BTreeMap::new(),
            flat: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: &'static str, name: &str, sample: Sample) {
        self.samples.entry((row, name.to_owned())).or_default().push(sample);
    }

    pub(crate) fn add_growth(&mut self, name: &str, growth: (u64, i64)) {
        self.growth.insert(name.to_owned(), growth);
    }

    pub(crate) fn add_idle(&mut self, name: &str, idle: Idle) {
        self.idle.insert(name.to_owned(), idle);
    }

    pub(crate) fn add_flat(&mut self, flat: Vec<(&'static str, i64)>) {
        self.flat = flat;
    }

    /// Ratios are ours over HAProxy's; below 1 is better, but for requests a second. Added times are counted from the
    /// direct ones of the same row.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "\nmedians; processor time is the gateway's, a request; added is latency beyond that without a gateway\n\n",
        );
        let _ = writeln!(
            out,
            "{:<16} {:<16} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9} {:>10} {:>10}",
            "row",
            "gateway",
            "cpu µs",
            "user",
            "system",
            "per s",
            "p50 µs",
            "p99 µs",
            "p50 added",
            "p99 added"
        );
        for row in &ROWS {
            let Some(direct) = self.median(row.name, DIRECT) else { continue };
            let _ = writeln!(
                out,
                "{:<16} {DIRECT:<16} {:>7} {:>7} {:>7} {:>9.0} {:>9.0} {:>9.0}",
                row.name, "", "", "", direct.per_second, direct.p50_us, direct.p99_us
            );
            for name in &self.names {
                let Some(sample) = self.median(row.name, name) else { continue };
                let (user, system) = sample.cpu_us.unwrap_or_default();
                let _ = writeln!(
                    out,
                    "{:<16} {name:<16} {:>7.1} {user:>7.1} {system:>7.1} {:>9.0} {:>9.0} {:>9.0} {:>10.0} {:>10.0}",
                    row.name,
                    sample.cpu(),
                    sample.per_second,
                    sample.p50_us,
                    sample.p99_us,
                    sample.p50_us - direct.p50_us,
                    sample.p99_us - direct.p99_us
                );
            }
            if let Some((cpu, per_second)) = self.ratios(row.name) {
                let _ = writeln!(
                    out,
                    "{:<16} {:<16} {cpu:>7.2} {:>7} {:>7} {per_second:>9.2}",
                    "", "ratio to HAProxy", "", ""
                );
            }
        }
        for (name, (requests, bytes)) in &self.growth {
            let _ = writeln!(out, "{requests} more requests grew {name} by {bytes} bytes");
        }
        for (load, bytes) in &self.flat {
            let _ = writeln!(out, "{load} grew throttle-proxy by {bytes} bytes at most");
        }
        for (name, idle) in &self.idle {
            let _ = writeln!(
                out,
                "{} idle connections, {name}: {:.0} bytes each",
                idle.connections, idle.bytes_per_connection
            );
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let mut rows = Map::new();
        for row in &ROWS {
            let mut line = Map::new();
            for name in self.names.iter().map(String::as_str).chain([DIRECT]) {
                line.insert(name.to_owned(), self.median(row.name, name).map_or(Value::Null, facts));
            }
            if let Some((cpu, per_second)) = self.ratios(row.name) {
                line.insert("ratio".to_owned(), json!({ "cpu": cpu, "per_second": per_second }));
            }
            rows.insert(row.name.to_owned(), Value::Object(line));
        }
        let growth: Map<String, Value> = self
            .growth
            .iter()
            .map(|(name, (requests, bytes))| (name.clone(), json!({ "requests": requests, "bytes": bytes })))
            .collect();
        let idle: Map<String, Value> = self
            .idle
            .iter()
            .map(|(name, idle)| {
                let facts = json!({
                    "connections": idle.connections,
                    "resident_bytes_per_connection": idle.bytes_per_connection,
                });
                (name.clone(), facts)
            })
            .collect();
        let flat: Map<String, Value> =
            self.flat.iter().map(|(load, bytes)| ((*load).to_owned(), json!(bytes))).collect();
        json!({ "rows": rows, "growth": growth, "idle": idle, "flat": flat })
    }

    /// Ours over HAProxy's: processor time a request, requests a second.
    fn ratios(&self, row: &'static str) -> Option<(f64, f64)> {
        let base = self.names.iter().find(|name| name.starts_with(BASE))?;
        let (theirs, ours) = (self.median(row, base)?, self.median(row, self.names.last()?)?);
        Some((ours.cpu() / theirs.cpu(), ours.per_second / theirs.per_second))
    }

    /// The median of each figure.
    fn median(&self, row: &'static str, name: &str) -> Option<Sample> {
        let samples = self.samples.get(&(row, name.to_owned()))?;
        let middle = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let user = middle(|sample| sample.cpu_us.unwrap_or_default().0);
        let system = middle(|sample| sample.cpu_us.unwrap_or_default().1);
        Some(Sample {
            cpu_us: samples.first()?.cpu_us.map(|_| (user, system)),
            per_second: middle(|sample| sample.per_second),
            p50_us: middle(|sample| sample.p50_us),
            p99_us: middle(|sample| sample.p99_us),
        })
    }
}

fn facts(sample: Sample) -> Value {
    let (user, system) = sample.cpu_us.unwrap_or_default();
    json!({
        "cpu_us": sample.cpu_us.map(|_| sample.cpu()),
        "user_us": sample.cpu_us.map(|_| user),
        "system_us": sample.cpu_us.map(|_| system),
        "per_second": sample.per_second,
        "p50_us": sample.p50_us,
        "p99_us": sample.p99_us,
    })
}
