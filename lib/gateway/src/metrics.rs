//! Metrics: their table's row, and the text exposition format.
//!
//! A program's metrics are the gateway's table and its gate's. Values of labels come from tables or the configuration,
//! never from a request, so their number is bounded.

use std::fmt::{Display, Write};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution; its name ends in `_seconds`.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name behind `sluice_`, such as `throttle_keys`.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One line of help.
    pub doc: &'static str,
}

/// Text in the exposition format, being written.
#[derive(Debug)]
pub struct Exposition<'a> {
    out: &'a mut String,
}

impl<'a> Exposition<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Begins a metric: its help and its type. Its samples follow.
    pub fn family(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let Metric { name, doc, .. } = metric;
        self.push(format_args!("# HELP sluice_{name} {doc}\n# TYPE sluice_{name} {kind}\n"));
    }

    /// A sample of `metric`; `values` are those of its labels, in their order.
    pub fn sample(&mut self, metric: &Metric, values: &[&str], value: impl Display) {
        self.line(metric.name, metric.labels, values, value);
    }

    /// A distribution: upper bounds in seconds with the count of each interval, the count beyond the last, the sum in
    /// seconds.
    pub fn histogram(
        &mut self,
        metric: &Metric,
        values: &[&str],
        bounds: &[(f64, u64)],
        beyond: u64,
        sum: f64,
    ) {
        let labels: Vec<&str> = metric.labels.iter().copied().chain(["le"]).collect();
        let name = metric.name;
        let mut count = 0;
        for (bound, here) in bounds {
            count += here;
            let bound = bound.to_string();
            let values: Vec<&str> = values.iter().copied().chain([bound.as_str()]).collect();
            self.line(&format!("{name}_bucket"), &labels, &values, count);
        }
        count += beyond;
        let values_inf: Vec<&str> = values.iter().copied().chain(["+Inf"]).collect();
        self.line(&format!("{name}_bucket"), &labels, &values_inf, count);
        self.line(&format!("{name}_sum"), metric.labels, values, sum);
        self.line(&format!("{name}_count"), metric.labels, values, count);
    }

    fn line(&mut self, name: &str, labels: &[&str], values: &[&str], value: impl Display) {
        self.push(format_args!("sluice_{name}"));
        for (at, (label, value)) in labels.iter().zip(values).enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.push(format_args!("{label}=\""));
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.push(format_args!(" {value}\n"));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Metric = Metric { name: "keys", kind: MetricKind::Gauge, labels: &[], doc: "Keys." };
    const TIMES: Metric =
        Metric { name: "x_seconds", kind: MetricKind::Histogram, labels: &["route"], doc: "Times." };

    #[test]
    fn samples_follow_their_family() {
        let mut out = String::new();
        let mut text = Exposition::new(&mut out);
        text.family(&KEYS);
        text.sample(&KEYS, &[], 7);
        assert_eq!(out, "# HELP sluice_keys Keys.\n# TYPE sluice_keys gauge\nsluice_keys 7\n");
    }

    #[test]
    fn a_distribution_is_cumulative_and_values_are_escaped() {
        let mut out = String::new();
        Exposition::new(&mut out).histogram(&TIMES, &["a\"\\\n"], &[(0.005, 2), (0.01, 1)], 4, 1.5);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], r#"sluice_x_seconds_bucket{route="a\"\\\n",le="0.005"} 2"#);
        assert_eq!(lines[1], r#"sluice_x_seconds_bucket{route="a\"\\\n",le="0.01"} 3"#);
        assert_eq!(lines[2], r#"sluice_x_seconds_bucket{route="a\"\\\n",le="+Inf"} 7"#);
        assert_eq!(lines[3], r#"sluice_x_seconds_sum{route="a\"\\\n"} 1.5"#);
        assert_eq!(lines[4], r#"sluice_x_seconds_count{route="a\"\\\n"} 7"#);
    }
}
