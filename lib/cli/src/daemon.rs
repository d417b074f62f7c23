//! The command line of a daemon: the flags all of them have, `ctl` beside them, and what is asked for.
//!
//! [`Face::command`] reads arguments and does nothing else; [`Face::asked`] is the beginning of every `main`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::complete::{NoShell, Shell, complete};
use crate::ctl;
use crate::exit::{Exit, print, say};
use crate::flags::{Flag, Given, Takes, Usage, UsageError};
use crate::help::{help_with, synopsis};
use crate::load::Overrides;
use crate::settings::Table;

/// `--user`.
pub const USER: Flag = Flag {
    short: Some('u'),
    long: "user",
    value: Takes::User("NAME"),
    doc: "Become this user when started as root.",
};
/// `--quiet`.
pub const QUIET: Flag = switch(Some('q'), "quiet", "Log nothing to standard error.");
/// `--verbose`.
pub const VERBOSE: Flag = switch(Some('v'), "verbose", "Log more; up to three times.");
/// `--test-config`.
pub const TEST_CONFIG: Flag = switch(Some('t'), "test-config", "Check the configuration and exit.");
/// `--completions`.
pub const COMPLETIONS: Flag = Flag {
    short: None,
    long: "completions",
    value: Takes::Word("SHELL", Shell::WORDS),
    doc: "Print completions for bash, zsh or fish.",
};
/// `--version`.
pub const VERSION: Flag = switch(Some('V'), "version", "Print the version and exit.");
/// `--help`.
pub const HELP: Flag = switch(Some('h'), "help", "Print this help and exit.");

const fn switch(short: Option<char>, long: &'static str, doc: &'static str) -> Flag {
    Flag { short, long, value: Takes::Nothing, doc }
}

/// What is a daemon's own.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// Its flags, with those of this module.
    pub usage: Usage,
    /// What `--version` says.
    pub version: &'static str,
    /// The settings that are flags too.
    pub settings: Table,
    /// Flags of the usage that set the setting of their name.
    pub also_settings: &'static [&'static str],
    /// How the configuration file is named.
    pub file: File,
    /// What the environment variables that it reads begin with.
    pub variables: &'static [&'static str],
    /// Its `ctl`.
    pub ctl: fn() -> ctl::Face,
}

/// How the configuration file is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// By the operand, which has to be there.
    Operand,
    /// By this flag, or not at all.
    Flag(&'static str),
}

/// What arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print a text and be done.
    Print(String),
    /// Check a configuration.
    Check(Start),
    /// Run.
    Run(Start),
}

/// How to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// What beats the file.
    pub overrides: Overrides,
    /// The flags, for those that are the daemon's own.
    pub given: Given,
}

impl Start {
    /// Whether nothing is to be logged to standard error.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.given.has(QUIET.long)
    }
}

/// What there is to do for a daemon's `main`.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing more: end like this.
    Done(Exit),
    /// Ask a running one with these words.
    Ctl(Vec<OsString>),
    /// Check a configuration.
    Check(Start),
    /// Run.
    Run(Start),
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An argument does not fit the table.
    Usage(UsageError),
    /// No configuration file.
    NoFile,
    /// The value of a flag is not UTF-8.
    Text(&'static str),
    /// No such shell.
    Shell(NoShell),
}

impl Face {
    /// Does what needs no configuration, and says what else is asked for. `arguments` begin with the program's name.
    pub fn asked(
        &self,
        arguments: impl Iterator<Item = OsString>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Asked {
        let mut arguments: Vec<OsString> = arguments.skip(1).collect();
        if arguments.first().is_some_and(|first| first == "ctl") {
            return Asked::Ctl(arguments.split_off(1));
        }
        let ours = |name: &str| self.variables.iter().any(|prefix| name.starts_with(prefix));
        let text =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let environment = text.filter(|(name, _)| ours(name)).collect();
        let beaten = |mut start: Start| {
            start.overrides.environment = environment;
            start
        };
        match self.command(arguments) {
            Ok(Command::Print(text)) => Asked::Done(print(self.usage.program, &text)),
            Ok(Command::Check(start)) => Asked::Check(beaten(start)),
            Ok(Command::Run(start)) => Asked::Run(beaten(start)),
            Err(error) => {
                let exit = self.refuse(&error);
                say(&synopsis(&self.usage).trim_end());
                Asked::Done(exit)
            }
        }
    }

    /// Says what is wrong with what was asked for.
    pub fn refuse(&self, error: &dyn fmt::Display) -> Exit {
        say(&format_args!("{}: {error}", self.usage.program));
        Exit::Usage
    }

    /// Reads arguments, without the program's name.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn command<I>(&self, arguments: I) -> Result<Command, CommandError>
    where
        I: IntoIterator<Item = OsString>,
        I::IntoIter: 'static,
    {
        let given = self.usage.parse_with(arguments, self.settings).map_err(CommandError::Usage)?;
        if given.has(HELP.long) {
            return Ok(Command::Print(help_with(&self.usage, self.settings)));
        }
        if given.has(VERSION.long) {
            return Ok(Command::Print(format!("{}\n", self.version)));
        }
        if let Some(name) = given.value(COMPLETIONS.long) {
            let shell = Shell::of(name).map_err(CommandError::Shell)?;
            return Ok(Command::Print(complete(&self.usage, self.settings, Some(&(self.ctl)()), shell)));
        }
        let only_check = given.has(TEST_CONFIG.long);
        let start = self.start(given)?;
        Ok(if only_check { Command::Check(start) } else { Command::Run(start) })
    }

    fn start(&self, given: Given) -> Result<Start, CommandError> {
        let file = match self.file {
            File::Operand => Some(given.operands().first().ok_or(CommandError::NoFile)?.into()),
            File::Flag(name) => given.value(name).map(PathBuf::from),
        };
        let named = self.also_settings.iter().filter_map(|&name| Some((name, given.value(name)?)));
        let settings = given.settings().iter().map(|(name, value)| (*name, value.as_os_str()));
        let mut flags = Vec::new();
        for (name, value) in named.chain(settings) {
            flags.push((name, value.to_str().ok_or(CommandError::Text(name))?.to_owned()));
        }
        match given.count(VERBOSE.long) {
            0 => {}
            times => flags.push(("verbose", times.min(3).to_string())),
        }
        let overrides = Overrides { environment: Vec::new(), flags };
        Ok(Start { file, overrides, given })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::NoFile => f.write_str("no configuration file given"),
            Self::Text(flag) => write!(f, "the value of --{} is not valid UTF-8", flag.replace('_', "-")),
            Self::Shell(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests;
