//! From a plan to text. One function a format; each ends with a newline and depends on nothing but the plan.

mod conf;
mod fragments;
mod json;
mod sysctl;
#[cfg(test)]
mod tests;

use crate::config::{Format, Output};
use crate::explain;
use crate::tune::{Plan, Setting};

pub use sysctl::{Host, host};

/// Whether reasons are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reasons {
    /// As comments above each value.
    Given,
    /// Not.
    Left,
}

/// The text of a plan in the format asked for.
#[must_use]
pub fn render(plan: &Plan, output: &Output) -> String {
    let reasons = if output.explain { Reasons::Given } else { Reasons::Left };
    match output.format {
        Format::Conf => conf::conf(plan, reasons),
        Format::AlterSystem => conf::alter_system(plan, reasons),
        Format::Env => fragments::env(plan, reasons),
        Format::Ini => fragments::section("pgbouncer", &plan.pooling.pooler, reasons),
        Format::Throttle => fragments::keys(&plan.pooling.throttle, reasons),
        Format::Breaker => fragments::keys(&plan.pooling.breaker, reasons),
        Format::Sysctl => sysctl::sysctl(plan, reasons),
        Format::K8s => conf::yaml(plan, &["spec:", "  postgresql:", "    parameters:"], reasons),
        Format::Patroni => conf::yaml(plan, &["postgresql:", "  parameters:"], reasons),
        Format::Json => json::json(plan, reasons),
    }
}

/// Dims the lines that are comments, for a terminal.
#[must_use]
pub fn dim_comments(text: &str) -> String {
    let mut dimmed = String::with_capacity(text.len());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || trimmed.starts_with("--") {
            dimmed.push_str(&format!("\x1b[2m{line}\x1b[0m\n"));
        } else {
            dimmed.push_str(line);
            dimmed.push('\n');
        }
    }
    dimmed
}

/// The comment lines above a setting.
fn reasons_of(setting: &Setting, plan: &Plan) -> Vec<String> {
    let mut lines = explain::lines(setting.name, &format!("{}: {}", setting.name, setting.rule));
    lines.push(explain::facts(setting, plan));
    lines
}
