//! What PostgreSQL 12 to 18 know about their settings: name, type, unit, range, words, context, default, by major.
//!
//! `guc/table.tsv` is the data, one line for each name and run of majors in which nothing changes, sorted by name:
//! `name, first-last, type, context, unit, min, max, default, words`. It comes from `pg_settings` of each major and is
//! kept as text: looking a name up scans the lines, so starting costs nothing. A word with `?` behind it exists only in
//! builds with that feature. `default` is the compiled-in value in base units (initdb may write another one).
//! The test beside the fixture `tests/data/pg_gucs_12_18.json` makes the table from it and compares.

use crate::tune::Kb;

/// The majors the table knows.
pub const MAJORS: std::ops::RangeInclusive<u32> = 12..=18;

const TABLE: &str = include_str!("guc/table.tsv");

/// A setting as one major of PostgreSQL knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guc {
    /// Its name, in PostgreSQL's letter case.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The unit of a bare number: `kB`, `8kB`, `MB`, `B`, `ms`, `s`, `min`, or empty.
    pub unit: &'static str,
    /// When a change takes effect.
    pub context: Context,
    /// The compiled-in value, in base units.
    pub default: &'static str,
}

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// on or off.
    Bool,
    /// A whole number of the unit.
    Integer {
        /// The least allowed.
        min: i64,
        /// The greatest allowed.
        max: i64,
    },
    /// A number.
    Real {
        /// The least allowed.
        min: f64,
        /// The greatest allowed.
        max: f64,
    },
    /// A word of a list.
    Enum(Words),
    /// Any text.
    Text,
}

/// The words of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words(&'static str);

/// Who may change a setting, and when: PostgreSQL's `context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Nobody: it tells about the build or the cluster.
    Internal,
    /// Only at start.
    Postmaster,
    /// By a reload.
    Sighup,
    /// When a session begins, or by a superuser for one.
    Backend,
    /// In a session.
    Session,
}

impl Guc {
    /// The greatest size it takes, in kB and whole MB; `None` where it is no size.
    #[must_use]
    pub fn most_kb(&self) -> Option<u64> {
        let (Kind::Integer { max, .. }, Some(unit)) = (self.kind, self.unit_kb()) else { return None };
        u64::try_from(max).ok().map(|max| max.saturating_mul(unit) / 1024 * 1024)
    }

    /// The default as people write it: with its unit, sizes in the greatest that divides.
    #[must_use]
    pub fn default_text(&self) -> String {
        let number = self.default.parse::<u64>().ok();
        match (number, self.unit_kb()) {
            (Some(number), Some(unit)) => Kb(number.saturating_mul(unit)).to_string(),
            (Some(number), None) if number > 0 => format!("{}{}", self.default, self.unit),
            _ if self.default.is_empty() => "''".to_owned(),
            _ => self.default.to_owned(),
        }
    }

    /// Its unit in kB, where that is a whole number of them.
    #[must_use]
    pub fn unit_kb(&self) -> Option<u64> {
        match self.unit {
            "kB" => Some(1),
            "8kB" => Some(8),
            "MB" => Some(1024),
            _ => None,
        }
    }
}

/// What has to happen before a changed value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// The server has to be restarted.
    Restart,
    /// A reload is enough.
    Reload,
    /// A reload reaches all sessions; one session can set it for itself.
    Session,
}

impl Apply {
    /// The word of tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Session => "session",
        }
    }
}

impl Context {
    /// What a change needs.
    #[must_use]
    pub fn apply(self) -> Apply {
        match self {
            Self::Internal | Self::Postmaster => Apply::Restart,
            Self::Sighup => Apply::Reload,
            Self::Backend | Self::Session => Apply::Session,
        }
    }

    /// Of the word in `pg_settings.context`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "internal" => Self::Internal,
            "postmaster" => Self::Postmaster,
            "sighup" => Self::Sighup,
            "backend" | "superuser-backend" => Self::Backend,
            "user" | "superuser" => Self::Session,
            _ => return None,
        })
    }
}

impl Words {
    /// The words every build knows.
    pub fn always(self) -> impl Iterator<Item = &'static str> {
        self.0.split(',').filter(|word| !word.is_empty() && !word.ends_with('?'))
    }

    /// All words, those of optional features too.
    pub fn all(self) -> impl Iterator<Item = &'static str> {
        self.0.split(',').filter(|word| !word.is_empty()).map(|word| word.trim_end_matches('?'))
    }
}

/// The setting `name`, in any letter case, of one major; `None` where that major has no such setting.
#[must_use]
pub fn row(name: &str, major: u32) -> Option<Guc> {
    let is_named = |line: &&str| {
        let (line, name) = (line.as_bytes(), name.as_bytes());
        line.get(name.len()) == Some(&b'\t') && line[..name.len()].eq_ignore_ascii_case(name)
    };
    TABLE.lines().filter(is_named).find_map(|line| read(line, major))
}

/// All settings of one major, sorted by name.
pub fn rows(major: u32) -> impl Iterator<Item = Guc> {
    TABLE.lines().filter_map(move |line| read(line, major))
}

/// The first major that knows `name`; 12 may stand for an earlier one.
#[must_use]
pub fn since(name: &str) -> Option<u32> {
    MAJORS.into_iter().find(|major| row(name, *major).is_some())
}

fn read(line: &'static str, major: u32) -> Option<Guc> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().unwrap_or_default();
    let (name, majors) = (field(), field());
    let (first, last) = majors.split_once('-')?;
    if !(first.parse().ok()?..=last.parse().ok()?).contains(&major) {
        return None;
    }
    let (kind, context, unit, min, max, default, words) =
        (field(), field(), field(), field(), field(), field(), field());
    let kind = match kind {
        "bool" => Kind::Bool,
        "integer" => Kind::Integer { min: min.parse().ok()?, max: max.parse().ok()? },
        "real" => Kind::Real { min: min.parse().ok()?, max: max.parse().ok()? },
        "enum" => Kind::Enum(Words(words)),
        _ => Kind::Text,
    };
    Some(Guc { name, kind, unit, context: Context::from_word(context)?, default })
}

#[cfg(test)]
mod tests;
