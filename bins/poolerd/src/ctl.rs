//! `poolerd ctl`: asks a running poolerd over its control socket, and shows the answer.
//!
//! May block: this is a program of its own that happens to live in the same file.

use std::ffi::OsString;

use sluice_cli::ctl::{FLAGS, Face, WORDS_MAX};
use sluice_cli::exit::Exit;
use sluice_cli::flags::Usage;
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

/// Runs `poolerd ctl` with these arguments, the word `ctl` left out. The environment variable
/// `POOLERD_CONTROL_SOCKET` names the socket where no flag does.
pub fn run<I>(arguments: I) -> Exit
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let face = Face { usage: USAGE, commands: commands(), socket: usual_socket(), line, columns };
    sluice_cli::ctl::run(&face, arguments, request)
}

fn usual_socket() -> String {
    let name = format!("{ENVIRONMENT_PREFIX}CONTROL_SOCKET");
    let default = SETTINGS.row("control_socket").and_then(|row| row.default).unwrap_or_default();
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// What can be asked, from the tables of commands.
fn commands() -> String {
    let mut text = String::from("Commands:\n");
    let mut add = |name: String, doc: &str| text.push_str(&format!("  {name:24}  {doc}\n"));
    for command in COMMANDS {
        let argument = match command.argument {
            Argument::None => "",
            Argument::Database => " DATABASE",
            Argument::OptionalDatabase => " [DATABASE]",
            Argument::Client => " ID",
            Argument::Word(_) => " [MODE]",
            Argument::Show => " WHAT",
            Argument::Setting => " KEY=VALUE",
        };
        add(format!("{}{argument}", command.name.to_lowercase()), command.doc);
    }
    for extra in EXTRAS {
        add(extra.name.to_owned(), extra.doc);
    }
    text.push_str("\nWhat can be shown:\n");
    for show in SHOWS {
        text.push_str(&format!("  {:24}  {}\n", show.name.to_lowercase(), show.doc));
    }
    text
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
    fn help_names_every_command() {
        let text = commands();
        for name in COMMANDS.iter().map(|c| c.name).chain(SHOWS.iter().map(|s| s.name)) {
            assert!(text.contains(&format!("\n  {}", name.to_lowercase())), "{name}");
        }
    }
}
