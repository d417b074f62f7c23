//! The tables of options, formats, profiles, warnings, states and rules against the man page.

use sluice_cli::documents;

use crate::config::{Format, OPTIONS, Profile, USAGE};
use crate::live::advise::rules::{Grade, RULES};
use crate::live::apply::Outcome;
use crate::live::diff::State;
use crate::warnings::{Code, Level};

const PAGE: &str = include_str!("../../../man/pgtune.1");

const SAMPLE: &str = include_str!("../etc/pgtune.ini");

/// What the sample file begins with.
const SAMPLE_HEAD: &str = "\
# Options of pgtune, for -c FILE. Keys that begin with ; show their default, or nothing where it is detected or computed.
# A flag or a variable of the environment beats a key; pgtune(1) explains them all. Check with: pgtune -t -c FILE

[pgtune]
";

/// The lines under a heading, up to the next one.
fn under(heading: &str) -> Vec<&'static str> {
    documents::under(PAGE, heading)
}

/// The items of a section's list that begin so.
fn items(heading: &str, lead: &str) -> Vec<&'static str> {
    documents::items(&under(heading), lead)
}

#[test]
fn every_flag_is_described_and_no_other() {
    let lines = under(".Sh DESCRIPTION");
    let described: Vec<_> = lines.into_iter().filter(|line| line.starts_with(".It ")).collect();
    assert_eq!(described, documents::flags(&USAGE));
}

#[test]
fn every_format_and_profile_is_described_and_no_other() {
    assert_eq!(items(".Ss Formats", ".It Cm "), Format::WORDS);
    assert_eq!(items(".Ss Profiles", ".It Cm "), Profile::WORDS);
}

#[test]
fn every_warning_is_described_and_risks_are_named() {
    let words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(items(".Ss Warnings", ".It Cm "), words);
    let lines = under(".Ss Warnings");
    for code in Code::ALL {
        let item = format!(".It Cm {}", code.word());
        let text = lines.iter().skip_while(|line| **line != item).skip(1);
        let is_risk = text.take_while(|line| !line.starts_with(".It ")).any(|line| *line == "A risk.");
        assert_eq!(is_risk, code.level() == Level::Risk, "{}", code.word());
    }
}

#[test]
fn every_state_and_rule_is_described_and_no_other() {
    assert_eq!(items(".Ss Comparing", ".It Cm "), State::WORDS);
    assert_eq!(items(".Ss Changing a server", ".It Cm "), Outcome::WORDS);
    let rules = items(".Ss Advice", ".It Cm ");
    assert_eq!(rules[..Grade::WORDS.len()], *Grade::WORDS);
    assert_eq!(rules[Grade::WORDS.len()..], RULES.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
}

/// The sample file: each key with its line of help and its default, in the order of the table.
#[test]
fn the_sample_file_shows_every_key() {
    let mut expected = String::from(SAMPLE_HEAD);
    for row in OPTIONS.0 {
        let default = row.default.map_or_else(String::new, |default| format!(" {default}"));
        expected.push_str(&format!("\n# {}\n;{} ={default}\n", row.doc, row.name));
    }
    assert!(SAMPLE == expected, "etc/pgtune.ini should be:\n{expected}");
}
