//! The flags of a program: one table a program, from which arguments are parsed and help and completions are made.

use std::ffi::{OsStr, OsString};
use std::fmt;

use lexopt::Arg;

use crate::nearest::nearest;
use crate::settings::{Setting, Table};

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its letter, for `-x`.
    pub short: Option<char>,
    /// Its name, for `--name`.
    pub long: &'static str,
    /// Its value.
    pub value: Takes,
    /// One line for help and completions.
    pub doc: &'static str,
}

/// What a flag takes for a value, and what that is called in help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// There is none.
    Nothing,
    /// A text.
    Text(&'static str),
    /// One of these words.
    Word(&'static str, &'static [&'static str]),
    /// Some of these words, separated by commas.
    Words(&'static str, &'static [&'static str]),
    /// The name of a file.
    File(&'static str),
    /// The name of a file, or this word.
    FileOr(&'static str, &'static str),
    /// The name of a directory.
    Directory(&'static str),
    /// The name of a user of the system.
    User(&'static str),
}

impl Takes {
    /// What the value is called, if there is one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Text(name)
            | Self::Word(name, _)
            | Self::Words(name, _)
            | Self::File(name)
            | Self::FileOr(name, _)
            | Self::Directory(name)
            | Self::User(name) => Some(name),
        }
    }
}

/// The command line of a program.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Its name.
    pub program: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// How it is called, one line a way, without the program's name.
    pub synopses: &'static [&'static str],
    /// The flags, in the order help lists them.
    pub flags: &'static [Flag],
    /// Most operands it takes.
    pub operands: usize,
}

/// A parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    flags: Vec<(&'static str, OsString)>,
    settings: Vec<(&'static str, OsString)>,
    operands: Vec<OsString>,
}

/// What is wrong with a command line. The one who typed it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No such flag; and the nearest one, if any is near.
    UnknownFlag(String, Option<&'static str>),
    /// The flag needs a value.
    NoValue(&'static str),
    /// The flag takes no value.
    ValueTaken(String),
    /// More operands than the program takes; the first too many.
    TooMany(String),
}

impl Usage {
    /// Parses arguments, without the program's name. A flag may be given several times, and after operands; behind
    /// `--` all is operand.
    ///
    /// # Errors
    /// [`UsageError`] for the first argument that does not fit.
    pub fn parse<I>(&self, arguments: I) -> Result<Given, UsageError>
    where
        I: IntoIterator<Item = OsString>,
        I::IntoIter: 'static,
    {
        self.parse_with(arguments, Table(&[]))
    }

    /// [`Usage::parse`], with a flag `--a-b` for every setting `a_b` of the table besides. A flag of the program's own
    /// goes before a setting of that name.
    ///
    /// # Errors
    /// As [`Usage::parse`].
    pub fn parse_with<I>(&self, arguments: I, settings: Table) -> Result<Given, UsageError>
    where
        I: IntoIterator<Item = OsString>,
        I::IntoIter: 'static,
    {
        let mut given = Given::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next().map_err(|error| value_error(&error))? {
            let row = match argument {
                Arg::Value(operand) if given.operands.len() == self.operands => {
                    return Err(UsageError::TooMany(operand.to_string_lossy().into_owned()));
                }
                Arg::Value(operand) => {
                    given.operands.push(operand);
                    continue;
                }
                Arg::Short(letter) => self.short(letter)?,
                Arg::Long(name) => match (self.long(name), setting(settings, name)) {
                    (Err(_), Some(row)) => {
                        let value = parser.value().map_err(|_| UsageError::NoValue(row.name))?;
                        given.settings.push((row.name, value));
                        continue;
                    }
                    (Err(UsageError::UnknownFlag(flag, None)), None) => {
                        let name = flag.trim_start_matches('-').replace('-', "_");
                        return Err(UsageError::UnknownFlag(flag, settings.nearest(&name)));
                    }
                    (row, _) => row?,
                },
            };
            let value = match row.value {
                Takes::Nothing => OsString::new(),
                _ => parser.value().map_err(|_| UsageError::NoValue(row.long))?,
            };
            given.flags.push((row.long, value));
        }
        Ok(given)
    }

    fn short(&self, letter: char) -> Result<&'static Flag, UsageError> {
        let row = self.flags.iter().find(|row| row.short == Some(letter));
        row.ok_or_else(|| UsageError::UnknownFlag(format!("-{letter}"), None))
    }

    fn long(&self, name: &str) -> Result<&'static Flag, UsageError> {
        let row = self.flags.iter().find(|row| row.long == name);
        row.ok_or_else(|| {
            let near = nearest(name, self.flags.iter().map(|row| row.long));
            UsageError::UnknownFlag(format!("--{name}"), near)
        })
    }
}

/// The row that `--name` sets.
fn setting(settings: Table, name: &str) -> Option<&'static Setting> {
    settings.0.iter().find(|row| {
        row.name.len() == name.len()
            && row
                .name
                .bytes()
                .zip(name.bytes())
                .all(|(row, name)| row == name && row != b'_' || (row, name) == (b'_', b'-'))
    })
}

impl Given {
    /// Settings that flags gave, in order.
    #[must_use]
    pub fn settings(&self) -> &[(&'static str, OsString)] {
        &self.settings
    }

    /// How many times the flag was given.
    #[must_use]
    pub fn count(&self, long: &str) -> usize {
        self.flags.iter().filter(|(name, _)| *name == long).count()
    }

    /// Whether the flag was given.
    #[must_use]
    pub fn has(&self, long: &str) -> bool {
        self.count(long) > 0
    }

    /// The flag's value; the last one counts.
    #[must_use]
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// The arguments that are no flags.
    #[must_use]
    pub fn operands(&self) -> &[OsString] {
        &self.operands
    }
}

/// The one thing lexopt itself finds wrong between arguments: `--flag=value` where no value was taken.
fn value_error(error: &lexopt::Error) -> UsageError {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => UsageError::ValueTaken(option.clone()),
        other => UsageError::UnknownFlag(other.to_string(), None),
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFlag(flag, None) => write!(f, "unknown flag {flag}"),
            Self::UnknownFlag(flag, Some(near)) => {
                write!(f, "unknown flag {flag}, the nearest is --{}", near.replace('_', "-"))
            }
            Self::NoValue(long) => write!(f, "--{} needs a value", long.replace('_', "-")),
            Self::ValueTaken(flag) => write!(f, "{flag} takes no value"),
            Self::TooMany(operand) => write!(f, "unexpected argument {operand}"),
        }
    }
}

impl std::error::Error for UsageError {}

/// A command line for tests here and in [`crate::help`] and [`crate::complete`].
#[cfg(test)]
pub(crate) const SAMPLE: Usage = Usage {
    program: "gate",
    about: "A gate.",
    synopses: &["[flags] FILE", "ctl COMMAND"],
    flags: &[
        Flag { short: Some('q'), long: "quiet", value: Takes::Nothing, doc: "Say less." },
        Flag { short: Some('u'), long: "user", value: Takes::User("NAME"), doc: "Take a user's place." },
        Flag { short: None, long: "test-config", value: Takes::Nothing, doc: "Check the file." },
    ],
    operands: 1,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Given, UsageError> {
        SAMPLE.parse(arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn message(arguments: &[&str]) -> String {
        parse(arguments).unwrap_err().to_string()
    }

    #[test]
    fn flags_and_operands_in_any_order() {
        for arguments in [
            &["-q", "-u", "nobody", "f"][..],
            &["f", "-qunobody"],
            &["--user=nobody", "f", "--quiet"],
            &["--user", "root", "--user", "nobody", "--quiet", "--", "f"],
        ] {
            let given = parse(arguments).unwrap();
            assert!(given.has("quiet"), "{arguments:?}");
            assert_eq!(given.value("user"), Some(OsStr::new("nobody")));
            assert_eq!(given.operands(), ["f"]);
            assert!(!given.has("test-config"));
        }
    }

    #[test]
    fn repeated_flags_count() {
        assert_eq!(parse(&["-qq", "--quiet"]).unwrap().count("quiet"), 3);
        assert_eq!(parse(&[]).unwrap(), Given::default());
    }

    #[test]
    fn behind_two_dashes_all_is_operand() {
        assert_eq!(parse(&["--", "-q"]).unwrap().operands(), ["-q"]);
    }

    #[test]
    fn settings_are_flags_too() {
        const ROW: Setting = Setting {
            name: "queue_size",
            kind: crate::settings::Kind::Text,
            default: None,
            reload: crate::settings::Reload::Yes,
            acted: crate::settings::Acted::Yes,
            also_in: &[],
            doc: "How many may wait.",
        };
        let parse = |arguments: &[&str]| {
            SAMPLE.parse_with(arguments.iter().map(OsString::from).collect::<Vec<_>>(), Table(&[ROW]))
        };
        let given = parse(&["--queue-size", "5", "-q", "f", "--queue-size=6"]).unwrap();
        assert_eq!(given.settings(), [("queue_size", "5".into()), ("queue_size", "6".into())]);
        assert!(given.has("quiet") && given.operands() == ["f"]);
        let error = |arguments| parse(arguments).unwrap_err().to_string();
        assert_eq!(error(&["--queue_size=5"]), "unknown flag --queue_size, the nearest is --queue-size");
        assert_eq!(error(&["--queue-siz=5"]), "unknown flag --queue-siz, the nearest is --queue-size");
        assert_eq!(error(&["--queue-size"]), "--queue-size needs a value");
        assert_eq!(error(&["--quie"]), "unknown flag --quie, the nearest is --quiet");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(message(&["-x"]), "unknown flag -x");
        assert_eq!(message(&["--colour"]), "unknown flag --colour");
        assert_eq!(message(&["--test_config"]), "unknown flag --test_config, the nearest is --test-config");
        assert_eq!(message(&["--queit"]), "unknown flag --queit, the nearest is --quiet");
        assert_eq!(message(&["--user"]), "--user needs a value");
        assert_eq!(message(&["--quiet=1", "f"]), "--quiet takes no value");
        assert_eq!(message(&["f", "g"]), "unexpected argument g");
    }
}
