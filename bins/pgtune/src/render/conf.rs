//! Settings of PostgreSQL: lines of postgresql.conf, ALTER SYSTEM statements, block YAML.

use std::fmt::Write as _;

use super::{Reasons, reasons_of};
use crate::config::{Known, Os};
use crate::facts::{Facts, Share};
use crate::guc::Apply;
use crate::tune::amount::Rough;
use crate::tune::{Group, Plan, Setting, Thousandths};

/// postgresql.conf, with facts, worst case and warnings above.
pub(super) fn conf(plan: &Plan, reasons: Reasons) -> String {
    let mut text = head(plan);
    let mut group: Option<Group> = None;
    for setting in &plan.settings {
        // The web calculator's order knows no groups.
        if !plan.wishes.compat && group != Some(setting.group) {
            let _ = writeln!(text, "\n# {}", setting.group.word());
            group = Some(setting.group);
        } else if reasons == Reasons::Given {
            text.push('\n');
        }
        if reasons == Reasons::Given {
            comment(&mut text, "#   ", &reasons_of(setting, plan));
        }
        let _ = writeln!(text, "{} = {}", setting.name, quoted(&setting.amount.to_string()));
    }
    text
}

/// Statements, one a line, and what needs a restart.
pub(super) fn alter_system(plan: &Plan, reasons: Reasons) -> String {
    let mut text = String::new();
    for setting in &plan.settings {
        if reasons == Reasons::Given {
            comment(&mut text, "-- ", &reasons_of(setting, plan));
        }
        let value = setting.amount.to_string().replace('\'', "''");
        let _ = writeln!(text, "ALTER SYSTEM SET {} = '{value}';", setting.name);
    }
    let needs_restart = |setting: &&Setting| setting.apply(plan.major()) == Apply::Restart;
    let restart: Vec<&str> = plan.settings.iter().filter(needs_restart).map(|setting| setting.name).collect();
    let _ = writeln!(
        text,
        "-- SELECT pg_reload_conf() applies the rest; these need a restart: {}",
        restart.join(", ")
    );
    text
}

/// Block YAML below the keys of `above`; every value in double quotes, so that `on` and `1.1` stay text.
pub(super) fn yaml(plan: &Plan, above: &[&str], reasons: Reasons) -> String {
    let mut text = String::new();
    for line in above {
        let _ = writeln!(text, "{line}");
    }
    let indent = "  ".repeat(above.len());
    for setting in &plan.settings {
        if reasons == Reasons::Given {
            comment(&mut text, &format!("{indent}# "), &reasons_of(setting, plan));
        }
        let _ = writeln!(text, "{indent}{}: \"{}\"", setting.name, setting.amount);
    }
    text
}

fn head(plan: &Plan) -> String {
    let mut text = format!("# detected: {}\n", facts(plan));
    let wishes = &plan.wishes;
    let compat = if wishes.compat { ", formulas of the PGTune web calculator" } else { "" };
    let _ = writeln!(text, "# profile {}, data {} memory{compat}", wishes.profile.word(), size_words(plan));
    let budget = &plan.budget;
    let multiplier = Thousandths(i64::try_from(budget.multiplier_milli).unwrap_or(i64::MAX));
    let _ = writeln!(
        text,
        "# worst case: {} % of memory by the formulas, {} % as printed, limit {} %, with {multiplier} work_mem a connection",
        budget.before, budget.after, budget.limit
    );
    for warning in &plan.warnings {
        let _ = writeln!(text, "# warning: {warning}");
    }
    text
}

fn size_words(plan: &Plan) -> &'static str {
    match plan.wishes.db_size {
        crate::config::DbSize::Less => "less than",
        crate::config::DbSize::Mid => "about as large as",
        crate::config::DbSize::Greater => "much larger than",
    }
}

/// Every fact with its origin.
fn facts(plan: &Plan) -> String {
    let facts = &plan.facts;
    let mut words = vec![with_origin("memory", &Rough(facts.memory_kb.value), &facts.memory_kb)];
    if plan.wishes.reserve_kb > 0 {
        words.push(format!("{} of it reserved", Rough(plan.wishes.reserve_kb)));
    }
    if let Some(cpus) = &facts.cpus_milli {
        let exact = Thousandths(i64::try_from(cpus.value).unwrap_or(i64::MAX));
        words.push(with_origin("cpus", &exact, cpus));
    }
    words.push(with_origin("disk", &facts.disk.value.word(), &facts.disk));
    words.push(with_origin("os", &name(facts.os.value), &facts.os));
    words.push(with_origin("PostgreSQL", &facts.major.value, &facts.major));
    words.extend(volumes(facts));
    words.join(", ")
}

fn volumes(facts: &Facts) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(wal) = &facts.wal {
        let what = match wal.value.share {
            Share::Dedicated => "volume of its own",
            Share::Shared => "free on a shared volume",
        };
        words.push(format!("WAL {} {what} ({})", Rough(wal.value.kb), wal.from));
    }
    if let Some(shm) = &facts.shm_kb {
        let from = if shm.from == "/dev/shm" { String::new() } else { format!(" ({})", shm.from) };
        words.push(format!("/dev/shm {}{from}", Rough(shm.value)));
    }
    words
}

fn with_origin<T>(what: &str, value: &dyn std::fmt::Display, known: &Known<T>) -> String {
    format!("{what} {value} ({})", known.from)
}

fn name(os: Os) -> &'static str {
    match os {
        Os::Linux => "Linux",
        Os::Macos => "macOS",
        Os::Windows => "Windows",
    }
}

fn comment(text: &mut String, lead: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "{}", format_args!("{lead}{line}"));
    }
}

/// A value as postgresql.conf takes it: bare where its grammar has a bare form for it, else in single quotes.
pub(crate) fn quoted(value: &str) -> String {
    let mut bytes = value.bytes();
    let is_word = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let is_decimal = value.split_once('.').is_some_and(|(whole, places)| {
        [whole, places].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    });
    if is_word || is_number || is_decimal {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}
