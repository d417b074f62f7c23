//! Completion scripts for shells, made from the tables of flags, settings and commands.
//!
//! All three shells get the same: flags and what they take, the word `ctl`, and behind it the commands word by word. A script
//! is fixed text: what only a running daemon knows (the names of databases, say) is not completed.

mod bash;
mod fish;
mod zsh;

use std::ffi::OsStr;
use std::fmt;

use crate::ctl::{self, Command};
use crate::flags::{Takes, Usage};
use crate::settings::{Kind, Table};

crate::words! {
    /// A shell.
    pub Shell,
    /// bash, with or without its completion package.
    Bash = "bash",
    /// zsh; the script is to be found as `_PROGRAM` on its fpath.
    Zsh = "zsh",
    /// fish.
    Fish = "fish",
}

/// No such shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoShell(String);

impl fmt::Display for NoShell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no completions for {}, only for bash, zsh and fish", self.0)
    }
}

impl std::error::Error for NoShell {}

impl Shell {
    /// The shell that the value of `--completions` names.
    ///
    /// # Errors
    /// [`NoShell`].
    pub fn of(name: &OsStr) -> Result<Self, NoShell> {
        let name = name.to_string_lossy();
        Self::from_word(&name).ok_or_else(|| NoShell(name.into_owned()))
    }
}

/// The script for a program: its flags, the settings that are flags too, and its `ctl`.
#[must_use]
pub fn complete(usage: &Usage, settings: Table, ctl: Option<&ctl::Face>, shell: Shell) -> String {
    let flags = flags(usage, settings);
    let ctl =
        ctl.map(|face| Ctl { flags: self::flags(&face.usage, Table(&[])), steps: steps(&face.commands) });
    let operand = if usage.operands > 0 { Values::Files } else { Values::Unknown };
    let program = Program { name: usage.program, flags, operand, ctl };
    match shell {
        Shell::Bash => bash::script(&program),
        Shell::Zsh => zsh::script(&program),
        Shell::Fish => fish::script(&program),
    }
}

/// A program as shells see it.
struct Program {
    name: &'static str,
    flags: Vec<Completed>,
    operand: Values,
    ctl: Option<Ctl>,
}

/// What stands behind the word `ctl`.
struct Ctl {
    flags: Vec<Completed>,
    steps: Vec<Step>,
}

/// A flag.
struct Completed {
    short: Option<char>,
    long: String,
    /// What its value is called, if it has one.
    value: Option<&'static str>,
    values: Values,
    doc: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy)]
enum Values {
    /// Anything: nothing is offered.
    Unknown,
    Words(&'static [&'static str]),
    /// Several, with commas between them.
    List(&'static [&'static str]),
    Files,
    FilesOr(&'static str),
    Directories,
    Users,
}

/// What may stand behind some words of a command.
struct Step {
    /// The words; `None`: any word.
    typed: Vec<Option<String>>,
    words: Vec<Offered>,
}

/// A word that may follow. One that ends in `=` goes on without a blank.
struct Offered {
    word: String,
    /// What it does, where that is known.
    doc: String,
}

impl Completed {
    /// As it is typed.
    fn spellings(&self) -> impl Iterator<Item = String> + '_ {
        let short = self.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain([format!("--{}", self.long)])
    }
}

impl Program {
    /// The name as part of the names of functions.
    fn function(&self) -> String {
        format!("_{}", self.name.replace('-', "_"))
    }
}

impl Step {
    /// The number of words and the words, as a pattern of the shell: all of them know `*`, but quote differently.
    fn pattern(&self, quote: impl Fn(&str) -> String) -> String {
        let mut pattern = format!("{}:", self.typed.len());
        for (n, word) in self.typed.iter().enumerate() {
            if n > 0 {
                pattern.push_str(&quote(" "));
            }
            match word {
                Some(word) => pattern.push_str(&quote(word)),
                None => pattern.push('*'),
            }
        }
        pattern
    }
}

fn flags(usage: &Usage, settings: Table) -> Vec<Completed> {
    let own = usage.flags.iter().map(|flag| Completed {
        short: flag.short,
        long: flag.long.to_owned(),
        value: flag.value.name(),
        values: match flag.value {
            Takes::Nothing | Takes::Text(_) => Values::Unknown,
            Takes::Word(_, words) => Values::Words(words),
            Takes::Words(_, words) => Values::List(words),
            Takes::File(_) => Values::Files,
            Takes::FileOr(_, word) => Values::FilesOr(word),
            Takes::Directory(_) => Values::Directories,
            Takes::User(_) => Values::Users,
        },
        doc: flag.doc,
    });
    let settings = settings.0.iter().filter(|row| usage.flags.iter().all(|flag| flag.long != row.name));
    let settings = settings.map(|row| Completed {
        short: None,
        long: row.name.replace('_', "-"),
        value: Some("VALUE"),
        values: match row.kind {
            Kind::Enum(words) => Values::Words(words),
            Kind::Words(words) => Values::List(words),
            Kind::Bool => Values::Words(&["on", "off"]),
            // It may name a file.
            Kind::Text | Kind::List => Values::Files,
            _ => Values::Unknown,
        },
        doc: row.doc,
    });
    own.chain(settings).collect()
}

/// The commands as steps, in the order of the commands.
fn steps(commands: &[Command]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut offer = |typed: &[Option<String>], word: &str, doc: &str| {
        let at = steps.iter().position(|step| step.typed == typed);
        let at = at.unwrap_or_else(|| {
            steps.push(Step { typed: typed.to_vec(), words: Vec::new() });
            steps.len() - 1
        });
        let words = &mut steps[at].words;
        match words.iter_mut().find(|offered| offered.word == word) {
            Some(offered) if offered.doc.is_empty() => doc.clone_into(&mut offered.doc),
            Some(_) => {}
            None => words.push(Offered { word: word.to_owned(), doc: doc.to_owned() }),
        }
    };
    for command in commands {
        let mut typed: Vec<Option<String>> = Vec::new();
        let mut names = command.name.split(' ').peekable();
        while let Some(name) = names.next() {
            offer(&typed, name, if names.peek().is_none() { &command.doc } else { "" });
            typed.push(Some(name.to_owned()));
        }
        for argument in &command.arguments {
            argument.words.iter().for_each(|word| offer(&typed, word, ""));
            typed.push(None);
        }
    }
    steps
}

#[cfg(test)]
mod tests;
