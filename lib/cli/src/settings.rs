//! The settings vocabulary of a program: one row a key, and the values read against it.
//!
//! A [`Table`] is the only list of keys; configuration files, environment, `SET`, `SHOW CONFIG`, sample files and
//! man pages are made from it or tested against it. [`Values`] holds one value per row at all times (its default
//! until set), so whoever projects it into typed fields never meets a hole.

mod text;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::nearest::nearest;

use text::{
    SizeText, Unit, bool, bytes, int, is_address, mode, size, some_words, thousandths, time, within, word,
    words, write_seconds,
};

pub use text::Thousandths;

/// The longest time a setting may hold: it can be added to any clock reading without overflow.
pub const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key, as written in the file.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as it is shown; `None`: none, which is unset for a text and zero for a number.
    pub default: Option<&'static str>,
    /// Whether a running program takes a change.
    pub reload: Reload,
    /// Whether this version does anything with it.
    pub acted: Acted,
    /// Sections, besides the program's own, in which the key may be given for one object.
    pub also_in: &'static [&'static str],
    /// One line for samples and help.
    pub doc: &'static str,
}

impl Setting {
    /// The default as people write it; a number's is never missing.
    #[must_use]
    pub fn shown_default(&self) -> Option<&'static str> {
        self.default.or(if let Kind::Int { .. } = self.kind { Some("0") } else { None })
    }

    /// A value that is not the default, for the tests of a table.
    #[must_use]
    pub fn another_value(&self) -> String {
        let default = self.default.unwrap_or_default();
        match self.kind {
            Kind::Int { max, .. } | Kind::Bytes { max, .. } | Kind::Size { max, .. }
                if default == max.to_string() =>
            {
                (max - 1).to_string()
            }
            Kind::Int { max, .. } | Kind::Bytes { max, .. } | Kind::Size { max, .. } => max.to_string(),
            Kind::Decimal { max, .. } => (max / 1000).to_string(),
            Kind::Bool => if matches!(default, "1" | "on" | "true" | "yes") { "0" } else { "1" }.to_owned(),
            Kind::Seconds | Kind::Milliseconds | Kind::PositiveMilliseconds => "77".to_owned(),
            Kind::Enum(words) | Kind::Words(words) => {
                words.iter().find(|word| default != **word).copied().unwrap_or_default().to_owned()
            }
            Kind::Text | Kind::List => "something".to_owned(),
            Kind::Addresses => "10.1.2.3".to_owned(),
            Kind::Mode => "0600".to_owned(),
        }
    }

    /// What a manual page says about the key in parentheses behind its name.
    #[must_use]
    pub fn facts(&self) -> String {
        self.facts_with(self.shown_default().unwrap_or_default())
    }

    /// [`Setting::facts`], with a default too long to be shown called something else.
    #[must_use]
    pub fn facts_with(&self, default: &str) -> String {
        let default = match self.shown_default() {
            None => "no default".to_owned(),
            Some("") => "default empty".to_owned(),
            Some(_) => format!("default {default}"),
        };
        let reload = if self.reload == Reload::Yes { "reloadable" } else { "needs a restart" };
        let mut facts = vec![self.kind.name().to_owned(), default, reload.to_owned()];
        if !self.also_in.is_empty() {
            let sections: Vec<_> = self.also_in.iter().map(|section| format!("[{section}]")).collect();
            facts.push(format!("also in {}", sections.join(" and ")));
        }
        if self.acted == Acted::NotYet {
            facts.push("no effect yet".to_owned());
        }
        facts.join("; ")
    }
}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole number: decimal, `0x` hexadecimal or `0` octal.
    Int {
        /// The least allowed.
        min: i64,
        /// The greatest allowed.
        max: i64,
    },
    /// Any whole number, zero being false; or on off true false yes no.
    Bool,
    /// A time; a bare number is seconds. Fractions allowed, at most [`LONGEST`].
    Seconds,
    /// A time; a bare number is whole milliseconds. At most [`LONGEST`].
    Milliseconds,
    /// Like [`Kind::Milliseconds`], and at least one.
    PositiveMilliseconds,
    /// A number of bytes, with kB, MB or GB (powers of 1024) behind it if wanted.
    Bytes {
        /// The least allowed.
        min: i64,
        /// The greatest allowed.
        max: i64,
    },
    /// A number of bytes with a unit behind it: B, kB, MB, GB, TB or K, M, G, T (powers of 1024), in any letter case.
    /// Fractions allowed; a bare number is bytes.
    Size {
        /// The least allowed, in bytes.
        min: i64,
        /// The greatest allowed, in bytes.
        max: i64,
    },
    /// A decimal number, kept to three places.
    Decimal {
        /// The least allowed, in thousandths.
        min: i64,
        /// The greatest allowed, in thousandths.
        max: i64,
    },
    /// One of these words, in any letter case.
    Enum(&'static [&'static str]),
    /// Some of these words, in any letter case, separated by commas or blanks; at least one.
    Words(&'static [&'static str]),
    /// Anything.
    Text,
    /// Words separated by commas or blanks.
    List,
    /// Like [`Kind::List`], of host names, addresses and `*`.
    Addresses,
    /// Permissions of a file: an octal number, with or without a 0 before it.
    Mode,
}

/// Whether a change reaches a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At reload or by a command.
    Yes,
    /// Only at start.
    No,
}

/// Whether this version does what the key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It does.
    Yes,
    /// The key loads and is shown, and that is all.
    NotYet,
}

/// A value of some [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Int`], [`Kind::Bytes`] and [`Kind::Size`].
    Int(i64),
    /// Of [`Kind::Decimal`].
    Thousandths(i64),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Seconds`].
    Seconds(Duration),
    /// Of [`Kind::Milliseconds`] and [`Kind::PositiveMilliseconds`].
    Milliseconds(Duration),
    /// Of [`Kind::Enum`]: the word as the table spells it.
    Word(&'static str),
    /// Of [`Kind::Words`]: as the table spells them, in the order given.
    Words(Vec<&'static str>),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::List`] and [`Kind::Addresses`]; the text as it was written, blanks included.
    List(String),
    /// Of [`Kind::Mode`].
    Mode(u32),
    /// A text without default that nobody set.
    Unset,
}

/// What a value should have been; reads on from "expected".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Cow<'static, str>);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for Expected {}

impl Kind {
    /// Reads `text`, blanks around it already gone.
    ///
    /// # Errors
    /// [`Expected`], where `text` is not of this kind.
    pub fn parse(self, text: &str) -> Result<Value, Expected> {
        match self {
            Self::Int { min, max } => int(text).and_then(|n| within(n, min, max)).map(Value::Int),
            Self::Bool => bool(text).map(Value::Bool),
            Self::Seconds => time(text, Unit::Second).map(Value::Seconds),
            Self::Milliseconds => time(text, Unit::Millisecond).map(Value::Milliseconds),
            Self::PositiveMilliseconds => {
                let time = time(text, Unit::Millisecond).filter(|time| *time >= Duration::from_millis(1));
                time.map(Value::Milliseconds)
            }
            Self::Bytes { min, max } => bytes(text).and_then(|n| within(n, min, max)).map(Value::Int),
            Self::Size { min, max } => size(text).and_then(|n| within(n, min, max)).map(Value::Int),
            Self::Decimal { min, max } => {
                thousandths(text).and_then(|n| within(n, min, max)).map(Value::Thousandths)
            }
            Self::Enum(words) => word(text, words).map(Value::Word),
            Self::Words(known) => some_words(text, known).map(Value::Words),
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::List => Some(Value::List(text.to_owned())),
            Self::Mode => mode(text).map(Value::Mode),
            Self::Addresses => words(text).all(is_address).then(|| Value::List(text.to_owned())),
        }
        .ok_or_else(|| Expected(self.describe_against(text)))
    }

    /// As [`Kind::describe`], and which of its words is nearest to `text`, if one is near.
    fn describe_against(self, text: &str) -> Cow<'static, str> {
        let near = match self {
            Self::Enum(known) => nearest(text, known.iter().copied()),
            Self::Words(known) => words(text)
                .filter(|given| word(given, known).is_none())
                .find_map(|given| nearest(given, known.iter().copied())),
            _ => None,
        };
        match near {
            Some(near) => format!("{}; the nearest is {near}", self.describe()).into(),
            None => self.describe(),
        }
    }

    /// What the kind is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int { .. } => "integer",
            Self::Bool => "boolean",
            Self::Seconds => "time",
            Self::Milliseconds | Self::PositiveMilliseconds => "milliseconds",
            Self::Bytes { .. } | Self::Size { .. } => "size",
            Self::Decimal { .. } => "number",
            Self::Enum(_) => "word",
            Self::Text => "text",
            Self::Mode => "octal number",
            Self::List | Self::Addresses | Self::Words(_) => "list",
        }
    }

    /// What the kind takes, as a noun phrase.
    #[must_use]
    pub fn describe(self) -> Cow<'static, str> {
        match self {
            Self::Int { min, max: i64::MAX } => format!("a whole number, {min} or more").into(),
            Self::Int { min, max } => format!("a whole number from {min} to {max}").into(),
            Self::Bool => "0 or 1 (or on, off, true, false, yes, no)".into(),
            Self::Seconds => "a time in seconds, 0 or more, or with a unit: us ms s min h d".into(),
            Self::Milliseconds => "a time in milliseconds, 0 or more, or with a unit: us ms s min h d".into(),
            Self::PositiveMilliseconds => {
                "a time in milliseconds, 1 or more, or with a unit: us ms s min h d".into()
            }
            Self::Bytes { min, max } => {
                format!("a size from {min} to {max} bytes, or with kB, MB or GB").into()
            }
            Self::Size { min, max } => {
                let (min, max) = (SizeText(min), SizeText(max));
                format!("a size from {min} to {max}, with a unit: B kB MB GB TB (powers of 1024)").into()
            }
            Self::Decimal { min, max } => {
                format!("a number from {} to {}", Thousandths(min), Thousandths(max)).into()
            }
            Self::Enum(words) => format!("one of {}", words.join(", ")).into(),
            Self::Words(words) => format!("some of {}, separated by commas", words.join(", ")).into(),
            Self::Text => "a text".into(),
            Self::List => "a list separated by commas".into(),
            Self::Mode => "permissions as an octal number, such as 0660".into(),
            Self::Addresses => "a list of host names, IP addresses or *".into(),
        }
    }
}

impl fmt::Display for Value {
    /// As it is shown, and as [`Kind::parse`] reads it back; [`Value::Unset`] shows as nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::Bool(on) => u8::from(*on).fmt(f),
            Self::Seconds(time) => write_seconds(f, *time),
            Self::Milliseconds(time) => time.as_millis().fmt(f),
            Self::Thousandths(n) => Thousandths(*n).fmt(f),
            Self::Word(word) => f.write_str(word),
            Self::Words(words) => f.write_str(&words.join(",")),
            Self::Text(text) | Self::List(text) => f.write_str(text),
            Self::Mode(mode) => write!(f, "{mode:04o}"),
            Self::Unset => Ok(()),
        }
    }
}

impl Value {
    /// The words of a list; none for any other value.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        words(if let Self::List(text) = self { text } else { "" })
    }
}

/// The rows of one program, in the order they are documented.
#[derive(Clone, Copy, Debug)]
pub struct Table(pub &'static [Setting]);

impl Table {
    /// The row named `name`, letter case counting.
    #[must_use]
    pub fn row(self, name: &str) -> Option<&'static Setting> {
        self.0.iter().find(|row| row.name == name)
    }

    /// The row whose name is closest to `name`, if any is close.
    #[must_use]
    pub fn nearest(self, name: &str) -> Option<&'static str> {
        nearest(name, self.0.iter().map(|row| row.name))
    }
}

/// Who gave a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody: it is the default.
    Default,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// A flag.
    Flag,
    /// A command to the running program.
    Command,
}

/// One value for every row of a table.
#[derive(Clone, Debug)]
pub struct Values {
    table: Table,
    slots: Vec<(Value, Origin)>,
}

/// Why a value was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// The table has no such key; the nearest one, if any is near.
    Unknown(Option<&'static str>),
    /// The value is not of the key's kind.
    Invalid(Expected),
}

impl Values {
    /// All defaults. A default that is not of its row's kind, which a test of every table rules out, reads as unset.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let slots = table.0.iter().map(|row| (default_of(row), Origin::Default)).collect();
        Self { table, slots }
    }

    /// The table these values belong to.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// Sets one key from its text.
    ///
    /// # Errors
    /// [`SetError`]; nothing is changed then.
    pub fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), SetError> {
        let Some(at) = self.position(name) else {
            return Err(SetError::Unknown(self.table.nearest(name)));
        };
        let value = self.table.0[at].kind.parse(text).map_err(SetError::Invalid)?;
        self.slots[at] = (value, origin);
        Ok(())
    }

    /// Back to the default, for every row that has one.
    pub fn reset(&mut self) {
        for (row, slot) in self.table.0.iter().zip(&mut self.slots) {
            if row.default.is_some() {
                *slot = (default_of(row), Origin::Default);
            }
        }
    }

    /// Takes over the value of `name` from other values of the same table.
    pub fn copy(&mut self, name: &str, from: &Self) {
        if let (Some(to), Some(at)) = (self.position(name), from.position(name)) {
            self.slots[to].clone_from(&from.slots[at]);
        }
    }

    /// The value of `name`; [`Value::Unset`] too where the table has no such key.
    #[must_use]
    pub fn value(&self, name: &str) -> &Value {
        self.position(name).map_or(&Value::Unset, |at| &self.slots[at].0)
    }

    /// Who gave the value of `name`.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.position(name).map_or(Origin::Default, |at| self.slots[at].1)
    }

    /// Every row with its value and origin, in table order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value, Origin)> {
        self.table.0.iter().zip(&self.slots).map(|(row, (value, origin))| (row, value, *origin))
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.table.0.iter().position(|row| row.name == name)
    }
}

fn default_of(row: &Setting) -> Value {
    let none = if let Kind::Int { .. } = row.kind { Value::Int(0) } else { Value::Unset };
    row.default.and_then(|text| row.kind.parse(text).ok()).unwrap_or(none)
}

#[cfg(test)]
mod tests;
