//! What reading a configuration has in common in all programs: values from file, environment and flags against a table.
//!
//! In which order a program reads them, which sections its file has and how it words an error is its own business.

use std::fmt;

use crate::ini::without_comment;
use crate::settings::{Acted, Kind, Origin, Reload, SetError, Values};

/// Longest value an error quotes, in characters.
const QUOTED: usize = 100;

/// A configuration that cannot be used: all that is to be said about it, place included. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Settings that beat those of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Environment variables; those of others are passed over.
    pub environment: Vec<(String, String)>,
    /// Keys that flags set, with their values. They beat the environment.
    pub flags: Vec<(&'static str, String)>,
}

/// A variable of the environment that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// The key it sets.
    pub key: String,
    /// The value.
    pub value: &'a str,
}

impl Overrides {
    /// The variables whose names begin with `prefix` and go on with a key in capitals.
    pub fn variables<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Variable<'a>> {
        self.environment.iter().filter_map(move |(name, value)| {
            let key = name.strip_prefix(prefix)?.to_ascii_lowercase();
            Some(Variable { name, key, value })
        })
    }
}

/// How a value of the file was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As it stands.
    Whole,
    /// Up to a comment, because it would have been invalid otherwise: see [`comment_warning`].
    BeforeComment,
}

/// A variable or a flag whose value its key does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The variable, or the flag without its dashes.
    pub source: String,
    /// The key.
    pub key: String,
    /// The value, [`shorten`]ed.
    pub value: String,
    /// What is wrong with it.
    pub error: SetError,
}

impl Values {
    /// Sets a key of the file.
    ///
    /// # Errors
    /// [`SetError`], of the value as it stands.
    pub fn set_from_file(&mut self, key: &str, value: &str) -> Result<Written, SetError> {
        let Err(error) = self.set(key, value, Origin::File) else { return Ok(Written::Whole) };
        let taken = without_comment(value).any(|value| self.set(key, value, Origin::File).is_ok());
        if taken { Ok(Written::BeforeComment) } else { Err(error) }
    }

    /// Sets what variables ask for. Returns what to warn of: variables that name no setting are none of our faults,
    /// because orchestrators put variables of such names (`POOLERD_PORT`) there unasked.
    ///
    /// # Errors
    /// [`Misfit`], for the first one whose value is invalid.
    pub fn set_from_environment<'a>(
        &mut self,
        variables: impl Iterator<Item = Variable<'a>>,
    ) -> Result<Vec<String>, Misfit> {
        let mut warnings = Vec::new();
        for Variable { name, key, value } in variables {
            match self.set(&key, value, Origin::Environment) {
                Ok(()) => {}
                Err(SetError::Unknown(near)) => {
                    let near = near.map(|near| format!(", the nearest is {near}")).unwrap_or_default();
                    warnings.push(format!("environment variable {name} names no setting{near}"));
                }
                Err(error) => {
                    return Err(Misfit { source: name.to_owned(), key, value: shorten(value), error });
                }
            }
        }
        Ok(warnings)
    }

    /// Sets what flags ask for. A list goes on with each flag.
    ///
    /// # Errors
    /// [`Misfit`], for the first one.
    pub fn set_from_flags(&mut self, flags: &[(&'static str, String)]) -> Result<(), Misfit> {
        for (key, value) in flags {
            let is_list = self.table().row(key).is_some_and(|row| row.kind == Kind::List);
            let goes_on = is_list && self.origin(key) == Origin::Flag;
            let value = if goes_on { &format!("{}, {value}", self.value(key)) } else { value };
            self.set(key, value, Origin::Flag).map_err(|error| Misfit {
                source: key.replace('_', "-"),
                key: (*key).to_owned(),
                value: shorten(value),
                error,
            })?;
        }
        Ok(())
    }

    /// Keeps the running values of keys that need a restart. Returns what to warn of.
    pub fn keep_fixed(&mut self, running: &Self) -> Vec<String> {
        let mut warnings = Vec::new();
        for row in self.table().0.iter().filter(|row| row.reload == Reload::No) {
            if self.value(row.name) != running.value(row.name) {
                warnings.push(format!("{} has changed, which has no effect before a restart", row.name));
            }
            self.copy(row.name, running);
        }
        warnings
    }

    /// Keys that were set and that this version does not act on.
    pub fn idle(&self) -> impl Iterator<Item = &'static str> {
        let set =
            self.iter().filter(|(row, _, origin)| row.acted == Acted::NotYet && *origin != Origin::Default);
        set.map(|(row, ..)| row.name)
    }
}

/// What to say of a value that was taken [`Written::BeforeComment`].
#[must_use]
pub fn comment_warning(key: &str) -> String {
    format!("the value of {key} ends before a comment: comments need a line of their own")
}

/// A text that is not longer than an error should quote.
#[must_use]
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Kind, Setting, Table};

    const fn row(name: &'static str, reload: Reload, acted: Acted) -> Setting {
        let kind = Kind::Int { min: 0, max: 9 };
        Setting { name, kind, default: Some("1"), reload, acted, also_in: &[], doc: "A number." }
    }

    const TABLE: Table = Table(&[
        row("most", Reload::Yes, Acted::Yes),
        row("fixed_size", Reload::No, Acted::Yes),
        row("later", Reload::Yes, Acted::NotYet),
    ]);

    #[test]
    fn a_comment_behind_a_value_is_taken_off_only_where_it_must_be() {
        let mut values = Values::new(TABLE);
        assert_eq!(values.set_from_file("most", "2"), Ok(Written::Whole));
        assert_eq!(values.set_from_file("most", "3 # three"), Ok(Written::BeforeComment));
        assert_eq!(values.value("most").to_string(), "3");
        assert!(matches!(values.set_from_file("most", "x # y"), Err(SetError::Invalid(_))));
        assert!(matches!(values.set_from_file("mots", "1"), Err(SetError::Unknown(Some("most")))));
    }

    #[test]
    fn variables_of_others_are_passed_over_and_unknown_ones_warned_of() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![pair("HOME", "/"), pair("GATE_MOST", "4"), pair("GATE_MOTS", "5")];
        let overrides = Overrides { environment, flags: vec![("fixed_size", "x".repeat(QUOTED + 1))] };
        let mut values = Values::new(TABLE);
        let warnings = values.set_from_environment(overrides.variables("GATE_")).unwrap();
        assert_eq!(warnings, ["environment variable GATE_MOTS names no setting, the nearest is most"]);
        assert_eq!(values.origin("most"), Origin::Environment);

        let misfit = values.set_from_flags(&overrides.flags).unwrap_err();
        assert_eq!((misfit.source.as_str(), misfit.key.as_str()), ("fixed-size", "fixed_size"));
        assert_eq!(misfit.value, format!("{}...", "x".repeat(QUOTED)));
        let wrong = Variable { name: "GATE_MOST", key: "most".to_owned(), value: "10" };
        let misfit = values.set_from_environment([wrong].into_iter()).unwrap_err();
        assert_eq!((misfit.source.as_str(), misfit.value.as_str()), ("GATE_MOST", "10"));
    }

    #[test]
    fn what_needs_a_restart_stays_and_what_has_no_effect_is_known() {
        let (running, mut next) = (Values::new(TABLE), Values::new(TABLE));
        for key in ["most", "fixed_size", "later"] {
            next.set(key, "5", Origin::File).unwrap();
        }
        assert_eq!(
            next.keep_fixed(&running),
            ["fixed_size has changed, which has no effect before a restart"]
        );
        assert_eq!(
            (next.value("most").to_string(), next.value("fixed_size").to_string()),
            ("5".into(), "1".into())
        );
        assert_eq!(next.idle().collect::<Vec<_>>(), ["later"]);
        assert_eq!(running.idle().next(), None);
    }

    #[test]
    fn a_long_value_is_quoted_in_part() {
        assert_eq!(shorten(&"é".repeat(QUOTED)), "é".repeat(QUOTED));
        assert_eq!(shorten(&"é".repeat(QUOTED + 1)), format!("{}...", "é".repeat(QUOTED)));
    }
}
