//! The asking side of a control socket: `PROGRAM ctl COMMAND`.
//!
//! Programs get the JSON lines as they come; a person at a terminal gets a table. What differs between programs is in
//! [`Face`]; how the socket is reached is the caller's business too, so nothing here opens one.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use serde_json::Value;
use sluice_wire::control::{Answer, Reply, Request, Row};

use crate::exit::{Exit, say};
use crate::flags::{Flag, Takes, Usage};
use crate::help::{help, synopsis};
use crate::settings::Table;

/// The flags every `ctl` has.
pub const FLAGS: &[Flag] = &[
    Flag {
        short: Some('s'),
        long: "socket",
        value: Takes::File("PATH"),
        doc: "Control socket, if it is not the usual one.",
    },
    Flag { short: Some('j'), long: "json", value: Takes::Nothing, doc: "JSON lines, at a terminal too." },
    crate::daemon::HELP,
];

/// Most words of a command.
pub const WORDS_MAX: usize = 8;

/// What is a program's own.
#[derive(Clone, Debug)]
pub struct Face {
    /// Its command line, with [`FLAGS`] and [`WORDS_MAX`].
    pub usage: Usage,
    /// What can be asked.
    pub commands: Vec<Command>,
    /// The environment variable that names the socket where no flag does.
    pub variable: String,
    /// The socket where neither does.
    pub socket: &'static str,
    /// The command line that words of the shell stand for; the shell has taken their quotes off.
    pub line: fn(&[&str]) -> String,
    /// The order in which a table shows the columns of the answer to a command line.
    pub columns: fn(&str) -> Vec<String>,
}

/// A command, as help and completions show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The words it begins with.
    pub name: String,
    /// What stands behind them.
    pub arguments: Vec<Argument>,
    /// What it does, in one line.
    pub doc: Cow<'static, str>,
}

/// What stands behind the name of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called in help; in brackets, if it may be left out.
    pub name: String,
    /// Words it may be, as far as they are known. One that ends in `=` goes on.
    pub words: Vec<String>,
}

impl Argument {
    /// An argument of which nothing is known.
    #[must_use]
    pub fn free(name: &str) -> Self {
        Self { name: name.to_owned(), words: Vec::new() }
    }
}

impl Face {
    /// The face of a daemon whose settings name the socket, and whose environment variables begin with `prefix`.
    #[must_use]
    pub fn new(usage: Usage, commands: Vec<Command>, settings: Table, prefix: &str) -> Self {
        Self {
            usage,
            commands,
            variable: format!("{prefix}CONTROL_SOCKET"),
            socket: settings.row("control_socket").and_then(|row| row.default).unwrap_or_default(),
            line: |words| words.join(" "),
            columns: |_| Vec::new(),
        }
    }

    /// What can be asked, as help shows it below the flags.
    fn commands(&self) -> String {
        let mut text = String::from("Commands:\n");
        for command in &self.commands {
            let arguments = command.arguments.iter().map(|argument| format!(" {}", argument.name));
            let name = format!("{}{}", command.name, arguments.collect::<String>());
            text.push_str(&format!("  {name:24}  {}\n", command.doc));
        }
        text
    }
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Line by line, as they come.
    Lines,
    /// As a table, when all rows are there.
    Table,
}

/// Runs `ctl` with these arguments, the word `ctl` left out. `variable` reads the environment, `ask` sends a line to a socket
/// and reads the lines of the answer. Blocks.
pub fn run<A>(
    face: &Face,
    arguments: Vec<OsString>,
    variable: impl FnOnce(&str) -> Option<String>,
    ask: impl FnOnce(&str, &[u8]) -> io::Result<A>,
) -> Exit
where
    A: Iterator<Item = io::Result<Vec<u8>>>,
{
    let program = face.usage.program;
    let given = match face.usage.parse(arguments) {
        Ok(given) => given,
        Err(error) => return wrong_usage(face, &error.to_string()),
    };
    if given.has("help") {
        let text = format!("{}\n{}", help(&face.usage), face.commands());
        return written(program, io::stdout().write_all(text.as_bytes())).unwrap_or(Exit::Done);
    }
    let words: Option<Vec<&str>> = given.operands().iter().map(|word| word.to_str()).collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else {
        return wrong_usage(face, "no command given");
    };
    let socket = match given.value("socket") {
        Some(path) => path.to_string_lossy().into_owned(),
        None => variable(&face.variable).unwrap_or_else(|| face.socket.to_owned()),
    };
    let command = (face.line)(&words);
    let mut asked = Vec::new();
    Request::new(command.as_str()).write(&mut asked);
    let answers = match ask(&socket, &asked) {
        Ok(answers) => answers,
        Err(error) => {
            say(&format_args!("{program}: cannot ask {socket}: {error}"));
            if let Some(hint) = hint(face, &error) {
                say(&format_args!("{program}: {hint}"));
            }
            return Exit::Temporary;
        }
    };
    let for_people = io::stdout().is_terminal() && !given.has("json");
    let shape =
        if for_people && !command.eq_ignore_ascii_case("watch") { Shape::Table } else { Shape::Lines };
    let columns = (face.columns)(&command);
    show(program, answers, shape, &columns, &mut BufWriter::new(io::stdout().lock()))
}

/// What may help where nobody can be asked.
fn hint(face: &Face, error: &io::Error) -> Option<String> {
    let program = face.usage.program;
    let daemon = program.split(' ').next().unwrap_or(program);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Some(format!("is {daemon} running? --socket or {} names another socket", face.variable))
        }
        io::ErrorKind::PermissionDenied => {
            Some(format!("it is for the user and the group that {daemon} runs as: be one of them"))
        }
        _ => None,
    }
}

fn wrong_usage(face: &Face, why: &str) -> Exit {
    say(&format_args!("{}: {why}", face.usage.program));
    eprint!("{}", synopsis(&face.usage));
    Exit::Usage
}

/// Shows an answer to its end.
fn show(
    program: &str,
    answers: impl Iterator<Item = io::Result<Vec<u8>>>,
    shape: Shape,
    columns: &[String],
    out: &mut impl Write,
) -> Exit {
    let mut rows: Vec<Row> = Vec::new();
    for line in answers {
        let line = match line {
            Ok(line) => line,
            Err(error) => return lost(program, &error.to_string()),
        };
        match (Answer::parse(&line), shape) {
            (None, _) => return lost(program, "it does not speak this language"),
            (Some(Answer::Row(row)), Shape::Table) => rows.push(row),
            (Some(Answer::Row(_)), Shape::Lines) => {
                let sent =
                    out.write_all(&line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
                if let Some(exit) = written(program, sent) {
                    return exit;
                }
            }
            (Some(Answer::Reply(Reply::Ok)), _) => {
                let sent = write_table(&rows, columns, out).and_then(|()| out.flush());
                return written(program, sent).unwrap_or(Exit::Done);
            }
            (Some(Answer::Reply(Reply::Error(error))), _) => {
                say(&format_args!("{program}: {error}"));
                let misspelt = ["invalid command", "unknown command", "bad arguments"];
                let misspelt = misspelt.iter().any(|text| error.starts_with(text));
                return if misspelt { Exit::Usage } else { Exit::No };
            }
        }
    }
    lost(program, "the connection ended before the answer did")
}

fn lost(program: &str, why: &str) -> Exit {
    say(&format_args!("{program}: no answer: {why}"));
    Exit::Temporary
}

/// Whoever closes the pipe early has read enough.
fn written(program: &str, result: io::Result<()>) -> Option<Exit> {
    match result {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Some(Exit::Done),
        Err(error) => {
            say(&format_args!("{program}: could not write to standard output: {error}"));
            Some(Exit::Temporary)
        }
    }
}

/// Rows as a table: known columns in their order, then others; numbers to the right.
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

    fn shown(answer: &[&str], shape: Shape) -> (String, Exit) {
        let answers = answer.iter().map(|line| Ok(line.as_bytes().to_vec()));
        let mut out = Vec::new();
        let columns = ["state", "wait_ms"].map(str::to_owned);
        let exit = show("x ctl", answers, shape, &columns, &mut out);
        (String::from_utf8(out).unwrap(), exit)
    }

    #[test]
    fn a_table_has_its_columns_in_order_and_numbers_to_the_right() {
        let rows = [
            r#"{"link":null,"state":"idle","wait_ms":0}"#,
            r#"{"link":null,"state":"waiting","wait_ms":1500}"#,
            r#"{"ok":true}"#,
        ];
        let expected = "state    wait_ms  link\nidle           0\nwaiting     1500\n";
        assert_eq!(shown(&rows, Shape::Table), (expected.to_owned(), Exit::Done));
        assert_eq!(shown(&rows, Shape::Lines).0, format!("{}\n{}\n", rows[0], rows[1]));
    }

    #[test]
    fn the_exit_code_tells_how_it_went() {
        let exit = |answer: &[&str]| shown(answer, Shape::Table).1;
        assert_eq!(exit(&[r#"{"ok":false,"error":"no such route: x"}"#]), Exit::No);
        assert_eq!(exit(&[r#"{"ok":false,"error":"unknown command \"x\""}"#]), Exit::Usage);
        assert_eq!(exit(&[r#"{"ok":false,"error":"invalid command"}"#]), Exit::Usage);
        assert_eq!(exit(&["hello"]), Exit::Temporary);
        assert_eq!(exit(&[r#"{"a":1}"#]), Exit::Temporary);
    }
}
