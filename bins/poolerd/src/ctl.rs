//! `poolerd ctl`: asks a running poolerd over its control socket, and shows the answer.
//!
//! Programs get the JSON lines as they come; a person at a terminal gets a table. May block: this is a program of its
//! own that happens to live in the same file.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use serde_json::Value;
use sluice_cli::exit::Exit;
use sluice_cli::flags::{Flag, Usage};
use sluice_cli::help::{help, synopsis};
use sluice_unix::control::{Answers, request};
use sluice_wire::control::{Answer, Reply, Request, Row};

use crate::config::{ENVIRONMENT_PREFIX, SETTINGS};
use crate::control::EXTRAS;
use crate::core::{Argument, COMMANDS, SHOWS, Show};

/// The command line behind `poolerd ctl`.
pub const USAGE: Usage = Usage {
    program: "poolerd ctl",
    about: "Ask a running poolerd over its control socket.",
    synopses: &["[flags] show WHAT", "[flags] watch", "[flags] COMMAND [ARGUMENT]"],
    flags: &[
        Flag {
            short: Some('s'),
            long: "socket",
            value: Some("PATH"),
            doc: "Control socket, if it is not the usual one.",
        },
        Flag { short: Some('j'), long: "json", value: None, doc: "JSON lines, at a terminal too." },
        Flag { short: Some('h'), long: "help", value: None, doc: "Print this help and exit." },
    ],
    operands: 8,
};

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Line by line, as they come.
    Lines,
    /// As a table, when all rows are there.
    Table,
}

/// Runs `poolerd ctl` with these arguments, the word `ctl` left out. The environment variable
/// `POOLERD_CONTROL_SOCKET` names the socket where no flag does.
pub fn run<I>(arguments: I) -> Exit
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let given = match USAGE.parse(arguments) {
        Ok(given) => given,
        Err(error) => return wrong_usage(&error.to_string()),
    };
    if given.has("help") {
        let text = format!("{}\n{}", help(&USAGE), commands());
        return written(io::stdout().write_all(text.as_bytes())).unwrap_or(Exit::Done);
    }
    let words: Option<Vec<&str>> = given.operands().iter().map(|word| word.to_str()).collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else {
        return wrong_usage("no command given");
    };
    let socket = match given.value("socket") {
        Some(path) => path.to_string_lossy().into_owned(),
        None => usual_socket(),
    };
    let command = line(&words);
    let mut asked = Vec::new();
    Request::new(command.as_str()).write(&mut asked);
    let answers = match request(&socket, &asked) {
        Ok(answers) => answers,
        Err(error) => {
            eprintln!("poolerd ctl: cannot ask {socket}: {error}");
            return Exit::Temporary;
        }
    };
    let shape = if io::stdout().is_terminal() && !given.has("json") && !is_watch(&command) {
        Shape::Table
    } else {
        Shape::Lines
    };
    show(answers, shape, &columns(&words), &mut BufWriter::new(io::stdout().lock()))
}

fn wrong_usage(why: &str) -> Exit {
    eprintln!("poolerd ctl: {why}");
    eprint!("{}", synopsis(&USAGE));
    Exit::Usage
}

fn usual_socket() -> String {
    let name = format!("{ENVIRONMENT_PREFIX}CONTROL_SOCKET");
    let default = SETTINGS.row("control_socket").and_then(|row| row.default).unwrap_or_default();
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn is_watch(command: &str) -> bool {
    command.eq_ignore_ascii_case("watch")
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
fn columns(words: &[&str]) -> Vec<String> {
    let wanted = words.join(" ");
    let mut words = wanted.split_whitespace();
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

/// Shows an answer to its end.
fn show(answers: Answers, shape: Shape, columns: &[String], out: &mut impl Write) -> Exit {
    let mut rows: Vec<Row> = Vec::new();
    for line in answers {
        let line = match line {
            Ok(line) => line,
            Err(error) => return lost(&error.to_string()),
        };
        match (Answer::parse(&line), shape) {
            (None, _) => return lost("it does not speak this language"),
            (Some(Answer::Row(row)), Shape::Table) => rows.push(row),
            (Some(Answer::Row(_)), Shape::Lines) => {
                let sent =
                    out.write_all(&line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
                if let Some(exit) = written(sent) {
                    return exit;
                }
            }
            (Some(Answer::Reply(Reply::Ok)), _) => {
                let sent = write_table(&rows, columns, out).and_then(|()| out.flush());
                return written(sent).unwrap_or(Exit::Done);
            }
            (Some(Answer::Reply(Reply::Error(error))), _) => {
                eprintln!("poolerd ctl: {error}");
                let misspelt = error.starts_with("invalid command") || error == "bad arguments";
                return if misspelt { Exit::Usage } else { Exit::No };
            }
        }
    }
    lost("the connection ended before the answer did")
}

fn lost(why: &str) -> Exit {
    eprintln!("poolerd ctl: no answer: {why}");
    Exit::Temporary
}

/// Whoever closes the pipe early has read enough.
fn written(result: io::Result<()>) -> Option<Exit> {
    match result {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Some(Exit::Done),
        Err(error) => {
            eprintln!("poolerd ctl: could not write to standard output: {error}");
            Some(Exit::Temporary)
        }
    }
}

fn write_table(rows: &[Row], columns: &[String], out: &mut impl Write) -> io::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let known = columns.iter().filter(|name| first.contains_key(*name));
    let others = first.keys().filter(|name| !columns.contains(name));
    let names: Vec<&String> = known.chain(others).collect();
    let text = |row: &Row, name: &String| match row.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let is_number = |name: &String| rows.iter().all(|row| row.get(name).is_some_and(Value::is_number));
    let widths: Vec<usize> = names
        .iter()
        .map(|name| {
            let cells = rows.iter().map(|row| text(row, name).chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        })
        .collect();
    let mut line = String::new();
    let mut write = |cells: Vec<String>| {
        line.clear();
        for ((cell, name), width) in cells.iter().zip(&names).zip(&widths) {
            let cell = if is_number(name) { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())
    };
    write(names.iter().map(|name| (*name).clone()).collect())?;
    for row in rows {
        write(names.iter().map(|name| text(row, name)).collect())?;
    }
    Ok(())
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
        let row = |state: &str, wait: u64| {
            let cells =
                [("wait_ms", Value::from(wait)), ("state", Value::from(state)), ("link", Value::Null)];
            Row::from_iter(cells.map(|(name, value)| (name.to_owned(), value)))
        };
        let mut out = Vec::new();
        let order = columns(&["show", "Clients"]);
        write_table(&[row("idle", 0), row("waiting", 1500)], &order, &mut out).unwrap();
        let expected = "state    wait_ms  link\nidle           0\nwaiting     1500\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn help_names_every_command() {
        let text = commands();
        for name in COMMANDS.iter().map(|c| c.name).chain(SHOWS.iter().map(|s| s.name)) {
            assert!(text.contains(&format!("\n  {}", name.to_lowercase())), "{name}");
        }
    }
}
