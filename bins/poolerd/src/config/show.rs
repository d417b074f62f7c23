//! Settings of a running poolerd: `SHOW CONFIG` and `SET`.

use sluice_cli::settings::{Origin, Reload, SetError};

use super::table::{Global, SETTINGS};
use super::{Snapshot, check};

/// A row of `SHOW CONFIG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// Its value now.
    pub value: String,
    /// Its default; `None` where it is unset by default.
    pub default: Option<&'static str>,
    /// Whether a reload or `SET` changes it.
    pub changeable: bool,
}

impl Snapshot {
    /// Every key of `[pgbouncer]` in byte order.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let rows = self.values.iter().map(|(row, value, _)| Shown {
            key: row.name,
            value: value.to_string(),
            default: row.default,
            changeable: row.reload == Reload::Yes,
        });
        let mut rows: Vec<Shown> = rows.collect();
        rows.sort_by_key(|row| row.key);
        rows
    }

    /// Who gave the value of `key`: whether it was left at its default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.values.origin(key)
    }

    /// The configuration with one key changed, as `SET` asks. A key that needs a restart
    /// ([`Reload::No`] in [`SETTINGS`]) is checked and left as it is, as PgBouncer does.
    ///
    /// # Errors
    /// What is wrong with the key or the value, for the log.
    pub fn with_setting(&self, key: &str, value: &str) -> Result<Self, String> {
        let mut values = self.values.clone();
        values.set(key, value, Origin::Command).map_err(|error| describe(key, value, &error, ""))?;
        if SETTINGS.row(key).is_some_and(|row| row.reload == Reload::No) {
            values.copy(key, &self.values);
        }
        check::global(&values)?;
        Ok(Self { global: Global::from_values(&values), values, ..self.clone() })
    }
}

/// What is wrong with a setting, in PgBouncer's words, then `whose` (where it stands), then ours.
pub(super) fn describe(key: &str, value: &str, error: &SetError, whose: &str) -> String {
    match error {
        SetError::Unknown(None) => format!("unknown parameter: pgbouncer/{key}{whose}"),
        SetError::Unknown(Some(near)) => {
            format!("unknown parameter: pgbouncer/{key}{whose}, the nearest is {near}")
        }
        SetError::Invalid(expected) => {
            format!("invalid value \"{value}\" for parameter {key}{whose}: {expected}")
        }
    }
}
