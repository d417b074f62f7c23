//! `throttle-proxy ctl`: asks a running throttle-proxy over its control socket, and shows the answer.
//!
//! May block: this is a program of its own that happens to live in the same file.

use std::ffi::OsString;

use sluice_cli::ctl::{Argument, Command, FLAGS, Face, WORDS_MAX};
use sluice_cli::exit::Exit;
use sluice_cli::flags::Usage;
use sluice_gateway::gate::{Gate as _, Verb};
use sluice_gateway::route::DEFAULT;
use sluice_gateway::shell;
use sluice_unix::control::request;

use crate::config::{ENVIRONMENT_PREFIX, SETTINGS, changeable};
use crate::limiter::Limiter;

/// The command line behind `throttle-proxy ctl`.
pub const USAGE: Usage = Usage {
    program: "throttle-proxy ctl",
    about: "Ask a running throttle-proxy over its control socket.",
    synopses: &["[flags] show WHAT", "[flags] watch", "[flags] COMMAND [ARGUMENT ...]"],
    flags: FLAGS,
    operands: WORDS_MAX,
};

/// Shorter ways to say some commands.
pub const SHORT: [(&str, &str); 4] = [
    ("status", "show status"),
    ("queue", "show queue"),
    ("limits", "show limits"),
    // Behind the others: it begins like one of them.
    ("limits set", "set"),
];

/// Columns of the tables people look at most, in order.
const COLUMNS: [&str; 24] = [
    "id",
    "key",
    "route",
    "limit",
    "origin",
    "state",
    "class",
    "value",
    "used",
    "max_requests",
    "window_ms",
    "in_flight",
    "limit_now",
    "queued",
    "expected_wait_ms",
    "next_free_ms",
    "pressure",
    "keys",
    "waited_ms",
    "deadline_ms",
    "path",
    "hosts",
    "methods",
    "line",
];

/// Runs `throttle-proxy ctl` with these arguments, the word `ctl` left out.
pub fn run(arguments: Vec<OsString>) -> Exit {
    sluice_cli::ctl::run(&face(), arguments, |name| std::env::var(name).ok(), request)
}

/// The face of `throttle-proxy ctl`.
pub(crate) fn face() -> Face {
    let columns = |_: &str| COLUMNS.map(str::to_owned).to_vec();
    Face { line, columns, ..Face::new(USAGE, commands(), SETTINGS, ENVIRONMENT_PREFIX) }
}

/// Every command, in the order of the tables.
pub(crate) fn verbs() -> impl Iterator<Item = &'static Verb> {
    shell::VERBS.iter().chain(Limiter::VERBS)
}

/// What can be asked, from the tables of commands.
fn commands() -> Vec<Command> {
    let mut commands: Vec<Command> = verbs()
        .map(|verb| Command {
            name: verb.name.to_owned(),
            arguments: verb.arguments.split_whitespace().map(argument).collect(),
            doc: verb.doc.into(),
        })
        .collect();
    for (short, name) in SHORT {
        let meant = commands.iter().find(|command| command.name == name);
        let arguments = meant.map_or_else(Vec::new, |command| command.arguments.clone());
        commands.push(Command {
            name: short.to_owned(),
            arguments,
            doc: format!("Short for {name}.").into(),
        });
    }
    commands
}

/// What is known of an argument; the routes of a running throttle-proxy are not, but for the one there always is.
fn argument(name: &str) -> Argument {
    let words = match name {
        "ROUTE" => vec![DEFAULT.to_owned()],
        "KEY" => changeable().map(|row| row.name.to_owned()).collect(),
        _ => Vec::new(),
    };
    Argument { name: name.to_owned(), words }
}

/// The command that words stand for.
fn line(words: &[&str]) -> String {
    let given = words.join(" ");
    let short = SHORT.iter().rev().find_map(|(short, command)| {
        let rest = given.strip_prefix(short)?;
        (rest.is_empty() || rest.starts_with(' ')).then(|| format!("{command}{rest}"))
    });
    short.unwrap_or(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_become_commands() {
        for (words, expected) in [
            (&["status"][..], "show status"),
            (&["queue"], "show queue"),
            (&["limits"], "show limits"),
            (&["limits", "set", "default", "class", "1"], "set default class 1"),
            (&["set", "default", "class", "1"], "set default class 1"),
            (&["show", "queue"], "show queue"),
            (&["queues"], "queues"),
        ] {
            assert_eq!(line(words), expected);
        }
    }

    #[test]
    fn every_command_can_be_asked_for_once() {
        let commands = commands();
        for verb in verbs() {
            assert_eq!(
                commands.iter().filter(|command| command.name == verb.name).count(),
                1,
                "{}",
                verb.name
            );
        }
        let set = commands.iter().find(|command| command.name == "limits set").unwrap();
        let words: Vec<&[String]> = set.arguments.iter().map(|argument| &argument.words[..]).collect();
        assert_eq!(words[0], ["default"]);
        assert!(words[1].iter().any(|key| key == "queue_size") && words[2].is_empty());
    }
}
