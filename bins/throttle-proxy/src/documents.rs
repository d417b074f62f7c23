//! The tables against what is written about them: man pages, the sample file, the units.

use std::path::Path;

use sluice_cli::flags::Usage;
use sluice_cli::settings::{Kind, Setting, Table};
use sluice_gateway::gate::{Gate as _, Privilege};
use sluice_gateway::machine;

use crate::config::{LIMIT_KEYS, Overrides, ROUTE_KEYS, SETTINGS, Snapshot, command, parse};
use crate::limiter::Limiter;
use crate::{ctl, daemon, events};

const PROGRAM: &str = include_str!("../../../man/throttle-proxy.8");
const FILE: &str = include_str!("../../../man/throttle-proxy.ini.5");
const CONTROL: &str = include_str!("../../../man/sluice-control.7");
const LOG: &str = include_str!("../../../man/sluice-log.7");
const SAMPLE: &str = include_str!("../etc/throttle-proxy.ini");
const SERVICE: &str = include_str!("../etc/throttle-proxy.service");

/// The lines from a heading to the next that begins with `end`.
fn under(page: &'static str, heading: &str, end: &str) -> Vec<&'static str> {
    let lines: Vec<_> = page.lines().skip_while(|line| *line != heading).skip(1).collect();
    assert!(!lines.is_empty(), "{heading} is on the page");
    lines.into_iter().take_while(|line| !line.starts_with(end)).collect()
}

fn items(lines: &[&'static str], lead: &str) -> Vec<&'static str> {
    lines.iter().filter_map(|line| line.strip_prefix(lead)).collect()
}

fn flags(usage: &Usage) -> Vec<String> {
    let rows = usage.flags.iter().map(|flag| {
        let value =
            flag.value.name().map_or_else(String::new, |value| format!(" Ar {}", value.to_lowercase()));
        match flag.short {
            Some(letter) => format!(".It Fl {letter} , Fl -{}{value}", flag.long),
            None => format!(".It Fl -{}{value}", flag.long),
        }
    });
    rows.collect()
}

#[test]
fn every_flag_is_described_and_no_other() {
    let described = |heading, end| -> Vec<&'static str> {
        let lines = under(PROGRAM, heading, end).into_iter();
        lines.filter(|line| line.starts_with(".It Fl")).collect()
    };
    assert_eq!(described(".Sh DESCRIPTION", ".Ss"), flags(&command::USAGE));
    assert_eq!(described(".Ss Asking a running throttle-proxy", ".S"), flags(&ctl::USAGE));
}

fn described_keys(lines: &[&'static str], table: Table) {
    let mut described = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix(".It Ic ") else { continue };
        let row = table.row(name).unwrap_or_else(|| panic!("{name} is on the page alone"));
        assert_eq!(lines[at + 1], format!(".Pq \"{}\"", row.facts()), "{name}");
        assert!(!lines[at + 2].starts_with(".It") && !lines[at + 2].starts_with(".El"), "{name} has no text");
        described.push(name);
    }
    let names: Vec<_> = table.0.iter().map(|row| row.name).collect();
    assert_eq!(described, names, "same keys in the same order");
}

#[test]
fn every_setting_is_described_and_no_other() {
    described_keys(&under(FILE, ".Sh SETTINGS", ".Sh "), SETTINGS);
    described_keys(&under(FILE, ".Sh ROUTES", ".Sh "), ROUTE_KEYS);
    described_keys(&under(FILE, ".Sh LIMITS", ".Sh "), LIMIT_KEYS);
}

#[test]
fn the_words_of_every_enum_are_described() {
    let lines = under(FILE, ".Sh SETTINGS", ".Sh ");
    for row in SETTINGS.0 {
        let Kind::Enum(words) = row.kind else { continue };
        let item = format!(".It Ic {}", row.name);
        let text = lines.iter().skip_while(|line| **line != item).skip(2);
        let text: Vec<_> =
            text.take_while(|line| !line.starts_with(".It") && **line != ".El").copied().collect();
        let text = text.join(" ");
        for word in words {
            assert!(text.contains(&format!(".Cm {word} ")), "{}: {word} in {text}", row.name);
        }
    }
}

#[test]
fn every_command_is_described_and_no_other() {
    let described: Vec<_> = under(CONTROL, ".Sh COMMANDS OF THROTTLE-PROXY", ".S");
    let verbs: Vec<_> = ctl::verbs().collect();
    let names: Vec<String> = verbs
        .iter()
        .map(|verb| {
            let arguments = verb.arguments.split_whitespace();
            arguments.fold(verb.name.to_owned(), |line, word| format!("{line} Ar {}", word.to_lowercase()))
        })
        .collect();
    assert_eq!(items(&described, ".It Ic "), names);
    let guarded = described.iter().filter(|line| line.starts_with("For root and the daemon's user"));
    assert_eq!(guarded.count(), verbs.iter().filter(|verb| verb.privilege == Privilege::Owner).count());
}

#[test]
fn every_event_and_every_metric_is_described_and_no_other() {
    let described = under(LOG, ".Sh EVENTS OF THROTTLE-PROXY", ".S");
    let names: Vec<&str> = events::all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(items(&described, ".It Cm "), names);
    let described = under(PROGRAM, ".Sh METRICS", ".S");
    let names: Vec<&str> =
        machine::METRICS.iter().chain(Limiter::METRICS).map(|metric| metric.name).collect();
    assert_eq!(items(&described, ".It Cm "), names);
}

fn read(text: &str) -> Snapshot {
    parse(Path::new("throttle-proxy.ini"), text, &Overrides::default()).unwrap()
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let top = SAMPLE.lines().take_while(|line| !line.starts_with('['));
    let lines: Vec<_> = top.collect();
    let mut shown = Vec::new();
    for pair in lines.windows(2) {
        let Some((name, value)) = pair[1].strip_prefix(';').and_then(|line| line.split_once(" =")) else {
            continue;
        };
        let row: &Setting = SETTINGS.row(name).unwrap_or_else(|| panic!("{name} is in the sample alone"));
        assert_eq!(pair[0], format!("# {}", row.doc), "{name}");
        assert_eq!(value.trim_start(), row.shown_default().unwrap_or(""), "{name}");
        shown.push(name);
    }
    let names: Vec<_> = SETTINGS.0.iter().map(|row| row.name).collect();
    assert_eq!(shown, names);
}

#[test]
fn the_sample_loads_as_it_is_and_with_everything_uncommented() {
    let sample = read(SAMPLE);
    assert_eq!(sample.warnings, Vec::<String>::new());
    daemon::prepare(&sample).unwrap();
    let second = &sample.policy.routes[1];
    let numbers = (second.rate.events, second.rate.window.as_millis(), second.queue_size);
    assert_eq!((numbers, second.retry_delay.as_millis()), ((30, 30_000, 150), 300));
    assert!(second.stage_delay.is_some());
    let active: Vec<_> =
        SAMPLE.lines().map(|line| line.strip_prefix(';').unwrap_or(line).to_owned()).collect();
    let all = read(&active.join("\n"));
    assert_eq!(all.global, sample.global);
    assert_eq!(all.policy.limits.len(), 1);
}

#[test]
fn the_unit_gives_a_drain_its_time() {
    let stop = SERVICE.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let drain = sluice_gateway::config::drain_max(&read("").global.gateway());
    assert!(stop.parse::<u64>().unwrap() > drain.as_secs());
    assert!(SERVICE.contains("ExecStart=/usr/local/bin/throttle-proxy -c "));
}
