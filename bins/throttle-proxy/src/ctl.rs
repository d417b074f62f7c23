//! `throttle-proxy ctl`: asks a running throttle-proxy over its control socket, and shows the answer.
//!
//! May block: this is a program of its own that happens to live in the same file.

use std::ffi::OsString;

use sluice_cli::ctl::{FLAGS, Face, WORDS_MAX};
use sluice_cli::exit::Exit;
use sluice_cli::flags::Usage;
use sluice_gateway::gate::{Gate as _, Verb};
use sluice_gateway::shell;
use sluice_unix::control::request;

use crate::config::{ENVIRONMENT_PREFIX, SETTINGS};
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

/// Runs `throttle-proxy ctl` with these arguments, the word `ctl` left out. The environment variable
/// `THROTTLE_PROXY_CONTROL_SOCKET` names the socket where no flag does.
pub fn run<I>(arguments: I) -> Exit
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let columns = |_: &str| COLUMNS.map(str::to_owned).to_vec();
    let face = Face { usage: USAGE, commands: commands(), socket: usual_socket(), line, columns };
    sluice_cli::ctl::run(&face, arguments, request)
}

fn usual_socket() -> String {
    let name = format!("{ENVIRONMENT_PREFIX}CONTROL_SOCKET");
    let default = SETTINGS.row("control_socket").and_then(|row| row.default).unwrap_or_default();
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Every command, in the order of the tables.
pub(crate) fn verbs() -> impl Iterator<Item = &'static Verb> {
    shell::VERBS.iter().chain(Limiter::VERBS)
}

fn commands() -> String {
    let mut text = String::from("Commands:\n");
    for verb in verbs() {
        let name = format!("{} {}", verb.name, verb.arguments);
        text.push_str(&format!("  {:24}  {}\n", name.trim_end(), verb.doc));
    }
    for (short, command) in SHORT {
        text.push_str(&format!("  {short:24}  Short for {command}.\n"));
    }
    text
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
    fn help_names_every_command_once() {
        let text = commands();
        for verb in verbs() {
            assert_eq!(text.matches(&format!("\n  {} ", verb.name)).count(), 1, "{}: {text}", verb.name);
        }
    }
}
