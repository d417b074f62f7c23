//! The settings table against what is written about it: the man page, the sample file, the units.

use std::path::Path;

use sluice_cli::documents;
use sluice_cli::settings::{Kind, Setting};

use super::{ConfigError, Overrides, SETTINGS, Snapshot, entries, parse};

const PAGE: &str = include_str!("../../../../man/poolerd.ini.5");
const SAMPLE: &str = include_str!("../../etc/poolerd.ini");
const USERS: &str = include_str!("../../etc/userlist.txt");
const SERVICE: &str = include_str!("../../etc/poolerd.service");

/// The lines of a section of the man page.
fn section(name: &str) -> Vec<&'static str> {
    documents::section(PAGE, name)
}

/// What stands in parentheses behind a key in the man page.
fn facts(row: &Setting) -> String {
    match row.name {
        "auth_query" => row.facts_with("a query of pg_authid"),
        _ => row.facts(),
    }
}

#[test]
fn the_page_describes_the_table() {
    assert_eq!(documents::faults_of_list(&section("PGBOUNCER"), SETTINGS, facts), Vec::<String>::new());
}

#[test]
fn the_page_lists_the_words_of_every_enum() {
    let lines = section("PGBOUNCER");
    for row in SETTINGS.0 {
        let Kind::Enum(words) = row.kind else { continue };
        let item = format!(".It Ic {}", row.name);
        let text: Vec<_> = lines.iter().skip_while(|line| **line != item).skip(1).copied().collect();
        let end = text.iter().position(|line| line.starts_with(".It") || line.starts_with(".El"));
        let text = text[..end.unwrap()].join(" ");
        let listed = |word: &str| text.split([' ', '"']).any(|part| part.trim_end_matches(';') == word);
        // Named by the ends of the range, or not at all because it says what any of them would.
        let ranged = |word: &str| word.starts_with("local") || word == "disable";
        let alike = |word: &str| row.name == "server_tls_sslmode" && word == "allow";
        for word in words.iter().filter(|word| !ranged(word) && !alike(word)) {
            assert!(listed(word), "{}: {word} in {text}", row.name);
        }
    }
}

#[test]
fn the_page_describes_the_other_sections() {
    for (name, keys) in [("DATABASES", entries::DATABASE_KEYS), ("USERS", entries::USER_KEYS)] {
        let text = section(name).join("\n").replace("\\\n", "");
        let items = text.lines().filter_map(|line| line.strip_prefix(".It Cm "));
        let mut described: Vec<_> = items.flat_map(|item| item.split(" , ")).map(str::trim).collect();
        let mut keys = keys.to_vec();
        described.sort_unstable();
        keys.sort_unstable();
        assert_eq!(described, keys, "{name}");
    }
}

fn read(text: &str) -> Result<Snapshot, ConfigError> {
    parse(Path::new("poolerd.ini"), text, &Overrides::default())
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let lines: Vec<_> = SAMPLE.lines().skip_while(|line| *line != "[pgbouncer]").collect();
    assert_eq!(documents::faults_of_sample(&lines, SETTINGS), Vec::<String>::new());
}

#[test]
fn the_sample_loads() {
    let sample = read(SAMPLE).unwrap();
    assert_eq!(sample.global.log_format.word(), "json");
    assert!(sample.wildcard.is_some());
    let auth_file = |warning: &&super::Warning| !warning.message.contains("auth_file");
    assert_eq!(
        sample.warnings.iter().find(auth_file),
        None,
        "but for the user list, which is not installed here"
    );
}

/// Every default, given as a value, means the same as no value; every example is a valid line.
#[test]
fn the_sample_loads_with_everything_uncommented() {
    let active = |line: &str| line.strip_prefix(';').unwrap_or(line).to_owned();
    let all: Vec<_> = SAMPLE.lines().map(active).collect();
    let (all, sample) = (read(&all.join("\n")).unwrap(), read(SAMPLE).unwrap());
    let conffile = sample.global.conffile.clone();
    assert_eq!(super::Global { conffile, ..all.global }, sample.global);
    assert!(all.databases.contains_key("app") && all.users.contains_key("batch"));
}

#[test]
fn the_sample_user_list_is_one() {
    let (secrets, broken) = super::userlist::parse(USERS.as_bytes());
    assert!(secrets.is_empty() && broken.is_none());
    let active: Vec<_> = USERS
        .lines()
        .map(|line| line.strip_prefix(";\"").map_or(line.into(), |rest| format!("\"{rest}")))
        .collect();
    let (secrets, broken) = super::userlist::parse(active.join("\n").as_bytes());
    assert_eq!((secrets.len(), broken), (2, None));
}

#[test]
fn the_unit_logs_json_under_a_key_there_is() {
    let set = SERVICE.lines().filter_map(|line| line.strip_prefix("Environment=POOLERD_"));
    let set: Vec<_> = set.filter_map(|pair| pair.split_once('=')).collect();
    assert_eq!(set, [("LOG_FORMAT", "json")]);
    assert!(SETTINGS.row("log_format").unwrap().kind.parse("json").is_ok());
}

#[test]
fn the_unit_reloads_and_starts_again_by_every_version_of_systemd() {
    let settings: Vec<&str> = SERVICE.lines().collect();
    let place = |line: &str| settings.iter().position(|&l| l == line).unwrap_or_else(|| panic!("{line}"));
    // systemd 252 does not know the second and keeps the first.
    assert!(place("Type=notify") < place("Type=notify-reload"));
    place("ExecReload=/bin/kill -HUP $MAINPID");
    // One exit code says that another start is in vain; any number of others may be needed.
    place(&format!("RestartPreventExitStatus={}", sluice_cli::exit::Exit::Usage.code()));
    assert!(place("StartLimitIntervalSec=0") < place("[Service]"));
}
