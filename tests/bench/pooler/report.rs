//! Medians of the rounds, as a table for people and as JSON.

use super::Contender;
use super::idle::Idle;
use super::load::{ROWS, Sample};
use crate::median;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Everything measured so far.
pub(crate) struct Report {
    /// The one compared with, then the one compared.
    contenders: [String; 2],
    samples: BTreeMap<(&'static str, String), Vec<Sample>>,
    idle: BTreeMap<String, Idle>,
}

impl Report {
    pub(crate) fn new(contenders: &[Contender; 2]) -> Report {
        let contenders = [contenders[0].name.clone(), contenders[1].name.clone()];
        Report { contenders, samples: BTreeMap::new(), idle: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, row: &'static str, contender: &str, sample: Sample) {
        self.samples.entry((row, contender.to_owned())).or_default().push(sample);
    }

    pub(crate) fn add_idle(&mut self, contender: &str, idle: Idle) {
        self.idle.insert(contender.to_owned(), idle);
    }

    /// Ratios are poolerd's median over the other's; below 1 is better, but for tps.
    pub(crate) fn table(&self) -> String {
        let [base, own] = &self.contenders;
        let mut out =
            format!("\nmedians; processor time is the pooler's, a transaction; compared with {base}\n\n");
        let _ = writeln!(
            out,
            "{:<13} {:<18} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9}",
            "row", "pooler", "cpu µs", "user", "system", "tps", "p50 µs", "p99 µs"
        );
        for row in &ROWS {
            let (theirs, ours) = (self.median(row.name, base), self.median(row.name, own));
            if ours.is_none() {
                continue;
            }
            for (name, sample) in [(base, theirs), (own, ours)] {
                let _ = match sample {
                    Some(sample) => writeln!(out, "{:<13} {name:<18} {}", row.name, cells(sample)),
                    None => writeln!(
                        out,
                        "{:<13} {name:<18} has no prepared statements in transaction mode",
                        row.name
                    ),
                };
            }
            if let (Some(theirs), Some(ours)) = (theirs, ours) {
                let _ = writeln!(
                    out,
                    "{:<13} {:<18} {:>7.2} {:>7.2} {:>7.2} {:>9.2} {:>9.2} {:>9.2}",
                    "",
                    "ratio",
                    cpu(ours) / cpu(theirs),
                    ours.user_us / theirs.user_us,
                    ours.system_us / theirs.system_us,
                    ours.tps / theirs.tps,
                    ours.p50_us / theirs.p50_us,
                    ours.p99_us / theirs.p99_us
                );
            }
        }
        for (name, idle) in &self.idle {
            let _ = writeln!(
                out,
                "{} idle clients, {name}: {:.0} bytes each, {:.1} wake-ups a second",
                idle.clients, idle.bytes_per_client, idle.wake_ups_per_second
            );
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let [base, own] = &self.contenders;
        let mut rows = Map::new();
        for row in &ROWS {
            let mut line = Map::new();
            for name in [base, own] {
                line.insert(name.clone(), self.median(row.name, name).map_or(Value::Null, facts));
            }
            if let (Some(theirs), Some(ours)) = (self.median(row.name, base), self.median(row.name, own)) {
                let ratio = json!({
                    "cpu": cpu(ours) / cpu(theirs),
                    "tps": ours.tps / theirs.tps,
                    "p50": ours.p50_us / theirs.p50_us,
                    "p99": ours.p99_us / theirs.p99_us,
                });
                line.insert("ratio".to_owned(), ratio);
            }
            rows.insert(row.name.to_owned(), Value::Object(line));
        }
        let idle: Map<String, Value> = self
            .idle
            .iter()
            .map(|(name, idle)| {
                let facts = json!({
                    "clients": idle.clients,
                    "resident_bytes_per_client": idle.bytes_per_client,
                    "wake_ups_per_s": idle.wake_ups_per_second,
                });
                (name.clone(), facts)
            })
            .collect();
        json!({ "compared_with": base, "rows": rows, "idle": idle })
    }

    /// The median of each figure.
    fn median(&self, row: &'static str, contender: &str) -> Option<Sample> {
        let samples = self.samples.get(&(row, contender.to_owned()))?;
        let middle = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        Some(Sample {
            user_us: middle(|sample| sample.user_us),
            system_us: middle(|sample| sample.system_us),
            tps: middle(|sample| sample.tps),
            p50_us: middle(|sample| sample.p50_us),
            p99_us: middle(|sample| sample.p99_us),
        })
    }
}

fn cpu(sample: Sample) -> f64 {
    sample.user_us + sample.system_us
}

fn cells(sample: Sample) -> String {
    format!(
        "{:>7.1} {:>7.1} {:>7.1} {:>9.0} {:>9.0} {:>9.0}",
        cpu(sample),
        sample.user_us,
        sample.system_us,
        sample.tps,
        sample.p50_us,
        sample.p99_us
    )
}

fn facts(sample: Sample) -> Value {
    json!({
        "cpu_us": cpu(sample),
        "user_us": sample.user_us,
        "system_us": sample.system_us,
        "tps": sample.tps,
        "p50_us": sample.p50_us,
        "p99_us": sample.p99_us,
    })
}
