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

pub use load::{ENVIRONMENT_PREFIX, MAX_CONCURRENT, load, parse};
pub use policy::{changeable, changed_route};
pub use sluice_cli::load::{ConfigError, Overrides};
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

/// A setting as `show config` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its key, behind the section where that is not the top of the file.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Who gave it: `default`, `file:line`, `environment` or `flag`.
    pub from: String,
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

    /// Every key of the top with its value and where that comes from, in the order of the table; then what routes and
    /// limits have set for themselves.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let top = self.values.iter().map(|(row, value, origin)| Shown {
            key: row.name.to_owned(),
            value: match row.name {
                "redis" => redis::without_password(&value.to_string()),
                _ => value.to_string(),
            },
            from: match origin {
                Origin::Default => "default".to_owned(),
                Origin::File => self.place(row.name).unwrap_or("file").to_owned(),
                Origin::Environment => "environment".to_owned(),
                Origin::Flag => "flag".to_owned(),
                Origin::Command => "command".to_owned(),
            },
        });
        let own = |section: &str, values: &Values| -> Vec<Shown> {
            let set = values.iter().filter(|(row, value, _)| self.values.value(row.name) != *value);
            set.map(|(row, value, _)| Shown {
                key: format!("{section} {}", row.name),
                value: value.to_string(),
                from: "file".to_owned(),
            })
            .collect()
        };
        let routes = self
            .policy
            .routes
            .iter()
            .flat_map(|route| own(&format!("[route {}]", route.name), &route.values));
        let limits = self.policy.limits.iter().flat_map(|limit| {
            let numbers = [
                ("key", limit.key.to_string()),
                ("max_requests", limit.rate.events.to_string()),
                ("window_ms", limit.rate.window.as_millis().to_string()),
            ];
            numbers.map(|(key, value)| Shown {
                key: format!("[limit {}] {key}", limit.name),
                value,
                from: "file".to_owned(),
            })
        });
        top.chain(routes).chain(limits).collect()
    }
}

#[cfg(test)]
mod tests;
