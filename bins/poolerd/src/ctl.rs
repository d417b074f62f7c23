//! `poolerd ctl`: asks a running poolerd over its control socket, and shows the answer.
//!
//! May block: this is a program of its own that happens to live in the same file.

use std::ffi::OsString;

use sluice_cli::ctl::{Command, FLAGS, Face, WORDS_MAX};
use sluice_cli::exit::Exit;
use sluice_cli::flags::Usage;
use sluice_cli::settings::{Acted, Kind, Reload};
use sluice_unix::control::request;

use crate::config::{ENVIRONMENT_PREFIX, SETTINGS};
use crate::control::EXTRAS;
use crate::core::{Argument, COMMANDS, SHOWS, Show};

/// The command line behind `poolerd ctl`.
pub const USAGE: Usage = Usage {
    program: "poolerd ctl",
    about: "Ask a running poolerd over its control socket.",
    synopses: &["[flags] show WHAT", "[flags] watch", "[flags] COMMAND [ARGUMENT]"],
    flags: FLAGS,
    operands: WORDS_MAX,
};

/// Runs `poolerd ctl` with these arguments, the word `ctl` left out.
pub fn run(arguments: Vec<OsString>) -> Exit {
    sluice_cli::ctl::run(&face(), arguments, |name| std::env::var(name).ok(), request)
}

/// The face of `poolerd ctl`.
pub(crate) fn face() -> Face {
    Face { line, columns, ..Face::new(USAGE, commands(), SETTINGS, ENVIRONMENT_PREFIX) }
}

/// What can be asked, from the tables of commands.
fn commands() -> Vec<Command> {
    let mut commands = Vec::new();
    for command in COMMANDS {
        let name = command.name.to_lowercase();
        let arguments = match command.argument {
            Argument::None => Vec::new(),
            Argument::Database => vec![argument("DATABASE", Vec::new())],
            Argument::OptionalDatabase => vec![argument("[DATABASE]", Vec::new())],
            Argument::Client => vec![argument("ID", Vec::new())],
            Argument::Word(words) => {
                vec![argument("[MODE]", words.iter().map(|word| word.to_lowercase()).collect())]
            }
            Argument::Setting => vec![argument("KEY=VALUE", settings())],
            Argument::Show => {
                commands.extend(SHOWS.iter().map(|show| Command {
                    name: format!("{name} {}", show.name.to_lowercase()),
                    arguments: Vec::new(),
                    doc: show.doc.into(),
                }));
                continue;
            }
        };
        commands.push(Command { name, arguments, doc: command.doc.into() });
    }
    commands.extend(EXTRAS.iter().map(|extra| Command {
        name: extra.name.to_owned(),
        arguments: Vec::new(),
        doc: extra.doc.into(),
    }));
    commands
}

fn argument(name: &str, words: Vec<String>) -> sluice_cli::ctl::Argument {
    sluice_cli::ctl::Argument { name: name.to_owned(), words }
}

/// `KEY=` of every setting that a running poolerd changes, and `KEY=WORD` where it takes words.
fn settings() -> Vec<String> {
    let changeable = SETTINGS.0.iter().filter(|row| row.reload == Reload::Yes && row.acted == Acted::Yes);
    changeable
        .flat_map(|row| match row.kind {
            Kind::Enum(words) => words.iter().map(|word| format!("{}={word}", row.name)).collect(),
            _ => vec![format!("{}=", row.name)],
        })
        .collect()
}

/// The command line of the console that these words stand for; the shell has taken their quotes off.
fn line(words: &[&str]) -> String {
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.$".contains(&b));
    let Some((first, rest)) = words.split_first() else { return String::new() };
    if first.eq_ignore_ascii_case("set")
        && let Some((key, value)) = rest.join(" ").split_once('=')
    {
        return format!("{first} {} = '{}'", key.trim(), value.trim().replace('\'', "''"));
    }
    let mut line = (*first).to_owned();
    for word in rest {
        line.push(' ');
        if plain(word) && !word.is_empty() {
            line.push_str(word);
        } else {
            line.push_str(&format!("\"{}\"", word.replace('"', "\"\"")));
        }
    }
    line
}

/// The order in which a table shows its columns: that of the console.
fn columns(command: &str) -> Vec<String> {
    let mut words = command.split_whitespace();
    let name = match (words.next(), words.next()) {
        (Some(show), Some(name)) if show.eq_ignore_ascii_case("show") => name,
        _ => return Vec::new(),
    };
    let show = SHOWS.iter().find(|show| show.name.eq_ignore_ascii_case(name));
    let columns = show.and_then(Show::columns).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let stem = column.name.strip_suffix("_us").unwrap_or(column.name);
        for name in [column.name.to_owned(), format!("{stem}_ms")] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_become_a_command_line() {
        for (words, expected) in [
            (&["show", "pools"][..], "show pools"),
            (&["show pools"], "show pools"),
            (&["pause", "my db"], "pause \"my db\""),
            (&["pause", "a\"b"], "pause \"a\"\"b\""),
            (&["kill", ""], "kill \"\""),
            (&["set", "query_timeout=5"], "set query_timeout = '5'"),
            (&["set", "server_check_query", "=", "select 'x'"], "set server_check_query = 'select ''x'''"),
            (&["SET", "verbose", "TO", "1"], "SET verbose TO 1"),
            (&["shutdown", "wait_for_clients"], "shutdown wait_for_clients"),
        ] {
            assert_eq!(line(words), expected, "{words:?}");
        }
    }

    #[test]
    fn a_table_has_the_columns_of_the_console() {
        let order = columns("show Clients");
        let place = |name: &str| order.iter().position(|column| column == name).unwrap();
        assert!(place("user") < place("state") && place("state") < place("wait_ms"), "{order:?}");
        assert_eq!(columns("pause"), Vec::<String>::new());
    }

    #[test]
    fn every_command_and_everything_to_show_can_be_asked_for() {
        let names: Vec<String> = commands().into_iter().map(|command| command.name).collect();
        let shows = SHOWS.iter().map(|show| format!("show {}", show.name.to_lowercase()));
        let others = COMMANDS.iter().filter(|command| command.argument != Argument::Show);
        for name in others.map(|command| command.name.to_lowercase()).chain(shows) {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn settings_that_can_be_set_are_known() {
        let words = settings();
        for (word, known) in [
            ("query_timeout=", true),
            ("pool_mode=session", true),
            ("pool_mode=", false),
            ("listen_port=", false),
        ] {
            assert_eq!(words.iter().any(|one| one == word), known, "{word}");
        }
    }
}
