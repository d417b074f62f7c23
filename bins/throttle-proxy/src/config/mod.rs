//! throttle-proxy's configuration: one table of settings, and the [`Snapshot`] made from files, environment and flags.
//!
//! ```text
//! key = value            the top of the file: defaults of every route
//! [route NAME]           what is different there, and what it takes (match_path, match_host, match_methods)
//! [limit NAME]           a rate for each key: key, routes, max_requests, window_ms, burst, algorithm
//! ```
//! A snapshot is built whole or refused, and never changed afterwards: a reload makes another one. Invariants: every
//! value is within the bounds of its row; the first route is `default`; the password in `redis` appears in no `Debug`,
//! error or warning.

mod check;
pub mod command;
mod load;
mod policy;
pub mod redis;
mod table;
mod types;

use std::collections::BTreeMap;

use sluice_cli::settings::{Origin, Values};
use sluice_gateway::route::Route;

pub use load::{ConfigError, ENVIRONMENT_PREFIX, MAX_CONCURRENT, load, parse};
pub use policy::{changeable, changed_route};
pub use sluice_cli::load::Overrides;
pub use table::{ALIASES, Global, LIMIT_KEYS, ROUTE_KEYS, SETTINGS};
pub use types::SharedFail;

use crate::limiter::policy::Policy;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// All settings as the top of the file has them.
    pub global: Global,
    /// What the routes take, without `default`, which takes the rest.
    pub routes: Vec<Route>,
    /// What the limiter enforces, `default` first and then by the order of `routes`.
    pub policy: Policy,
    /// What to say about it in the log, in this order.
    pub warnings: Vec<String>,
    values: Values,
    /// Where the top of the file sets a key, as `file:line`.
    places: BTreeMap<&'static str, String>,
    path: std::path::PathBuf,
}

impl Snapshot {
    /// Who gave the value of `key`: whether it was left at its default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.values.origin(key)
    }

    /// Where the top of the file sets `key`, as `file:line`.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(String::as_str)
    }

    /// Every key of the top with its value, in the order of the table.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.values.iter().map(|(row, value, _)| match row.name {
            "redis" => (row.name, redis::without_password(&value.to_string())),
            _ => (row.name, value.to_string()),
        })
    }
}

#[cfg(test)]
mod tests;
