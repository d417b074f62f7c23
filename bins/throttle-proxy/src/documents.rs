//! The tables against what is written about them: man pages, the sample file, the units.

use std::path::Path;

use sluice_cli::complete::Shell;
use sluice_cli::daemon::Command;
use sluice_cli::documents::{self, items, section, under};
use sluice_cli::settings::{Kind, Setting};
use sluice_gateway::code::Code;
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

#[test]
fn every_flag_is_described_and_no_other() {
    let described = |heading| -> Vec<&'static str> {
        let lines = under(PROGRAM, heading).into_iter();
        lines.filter(|line| line.starts_with(".It Fl")).collect()
    };
    assert_eq!(described(".Sh DESCRIPTION"), documents::flags(&command::USAGE));
    assert_eq!(described(".Ss Asking a running throttle-proxy"), documents::flags(&ctl::USAGE));
}

#[test]
fn every_setting_is_described_and_no_other() {
    for (heading, table) in [("SETTINGS", SETTINGS), ("ROUTES", ROUTE_KEYS), ("LIMITS", LIMIT_KEYS)] {
        let faults = documents::faults_of_list(&section(FILE, heading), table, Setting::facts);
        assert_eq!(faults, Vec::<String>::new(), "{heading}");
    }
}

#[test]
fn the_words_of_every_enum_are_described() {
    let lines = section(FILE, "SETTINGS");
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
    let described: Vec<_> = under(CONTROL, ".Sh COMMANDS OF THROTTLE-PROXY");
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
    let described = under(LOG, ".Sh EVENTS OF THROTTLE-PROXY");
    let names: Vec<&str> = events::all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(items(&described, ".It Cm "), names);
    let described = under(PROGRAM, ".Sh METRICS");
    let names: Vec<&str> =
        machine::METRICS.iter().chain(Limiter::METRICS).map(|metric| metric.name).collect();
    assert_eq!(items(&described, ".It Cm "), names);
}

#[test]
fn every_page_for_monitors_is_described_and_no_other() {
    assert_eq!(items(&under(PROGRAM, ".Sh MONITORS"), ".It Pa "), machine::PAGES);
}

#[test]
fn every_code_is_described_and_no_other() {
    let ours = Code::ALL.iter().filter(|code| code.proxy_status() != "destination_unavailable");
    let names: Vec<&str> = ours.map(|code| code.name()).collect();
    assert_eq!(items(&under(PROGRAM, ".Sh ANSWERS"), ".It Cm "), names);
}

#[test]
fn shells_are_told_of_every_flag_setting_and_command() {
    for shell in Shell::WORDS {
        let Ok(Command::Print(script)) = command::FACE.command(["--completions".into(), shell.into()]) else {
            panic!("no script for {shell}")
        };
        let flags = command::USAGE.flags.iter().chain(ctl::USAGE.flags).map(|flag| flag.long.to_owned());
        let settings = SETTINGS.0.iter().map(|row| row.name.replace('_', "-"));
        let verbs = ctl::verbs().flat_map(|verb| verb.name.split(' ')).map(str::to_owned);
        for word in flags.chain(settings).chain(verbs) {
            assert!(script.contains(&word), "{shell}: {word}");
        }
    }
}

fn read(text: &str) -> Snapshot {
    parse(Path::new("throttle-proxy.ini"), text, &Overrides::default()).unwrap()
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let top = SAMPLE.lines().take_while(|line| !line.starts_with('['));
    assert_eq!(documents::faults_of_sample(&top.collect::<Vec<_>>(), SETTINGS), Vec::<String>::new());
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
    // A list that is set already would go on.
    let uncommented = |line: &'static str| match line.strip_prefix(';') {
        Some(setting) => Some(setting).filter(|_| !SAMPLE.lines().any(|other| other == setting)),
        None => Some(line),
    };
    let all: Vec<&str> = SAMPLE.lines().filter_map(uncommented).collect();
    let all = read(&all.join("\n"));
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
