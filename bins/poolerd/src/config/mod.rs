//! poolerd's configuration: one table of settings, and the [`Snapshot`] made from files, environment and flags.
//!
//! A snapshot is built whole or refused, is never changed afterwards and is shared as `Arc<Snapshot>`: a reload or
//! `SET` makes another one. The core reads it and knows nothing of files. Invariants: every value is within the
//! bounds of its row; [`Snapshot::secrets`] and passwords appear in no `Debug`, error or warning.

mod check;
pub mod command;
mod database;
#[cfg(test)]
mod documents;
mod entries;
mod load;
mod pairs;
mod show;
mod table;
mod types;
mod userlist;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

pub use database::{Database, Host, Password, UserOptions};
pub use load::{ConfigError, ENVIRONMENT_PREFIX, load, parse};
pub use show::Shown;
pub use sluice_cli::load::Overrides;
pub use sluice_wire::pg::scram::{ScramSecret, Secret};
pub use table::{Global, SETTINGS};
pub use types::{AuthType, CheckQuery, LoadBalance, LogFormat, OnClientLoss, PoolMode};

use sluice_cli::settings::Values;

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Section `[pgbouncer]`.
    pub global: Global,
    /// Section `[databases]` without the template.
    pub databases: BTreeMap<String, Database>,
    /// The template `*` of `[databases]`.
    pub wildcard: Option<Database>,
    /// Section `[users]`.
    pub users: BTreeMap<String, UserOptions>,
    /// The users of `auth_file`.
    pub secrets: Secrets,
    /// What to say about it in the log, in this order.
    pub warnings: Vec<Warning>,
    values: Values,
}

/// Something about a configuration that works but may not be what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// How loudly to log it.
    pub severity: Severity,
    /// The file and the line in it, counted from 1, where the cause stands in a file.
    pub place: Option<(String, u32)>,
    /// What is the matter, without the place.
    pub message: String,
}

/// The level a [`Warning`] is logged at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works, though perhaps not as meant.
    Warning,
    /// A part of it does not work.
    Error,
}

impl std::fmt::Display for Warning {
    /// The message, and the place in parentheses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.place.as_ref().map_or(Ok(()), |(file, line)| write!(f, " ({file}:{line})"))
    }
}

/// The secrets of `auth_file` by user name.
#[derive(Clone, Default)]
pub struct Secrets {
    by_user: BTreeMap<Vec<u8>, Secret>,
}

impl Secrets {
    /// The secret of `user`; an empty one is [`Secret::Plain`] without bytes and lets nobody in by password.
    #[must_use]
    pub fn secret(&self, user: impl AsRef<[u8]>) -> Option<&Secret> {
        self.by_user.get(user.as_ref())
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    /// Whether there is no user.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    /// User names in byte order.
    pub fn users(&self) -> impl Iterator<Item = &[u8]> {
        self.by_user.keys().map(Vec::as_slice)
    }

    /// Adds a user or replaces its secret.
    pub fn insert(&mut self, user: impl Into<Vec<u8>>, secret: Secret) {
        self.by_user.insert(user.into(), secret);
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} users)", self.by_user.len())
    }
}

impl Default for Snapshot {
    /// Every setting at its default, no database, no user.
    fn default() -> Self {
        let values = Values::new(SETTINGS);
        Self {
            global: Global::from_values(&values),
            databases: BTreeMap::new(),
            wildcard: None,
            users: BTreeMap::new(),
            secrets: Secrets::default(),
            warnings: Vec::new(),
            values,
        }
    }
}

/// What holds for one database and user: user beats database beats global.
impl Global {
    /// Must clients over TCP use TLS?
    #[must_use]
    pub fn clients_need_tls(&self) -> bool {
        needs_tls(&self.client_tls_sslmode)
    }

    /// Must connections to servers over TCP use TLS?
    #[must_use]
    pub fn servers_need_tls(&self) -> bool {
        needs_tls(&self.server_tls_sslmode)
    }
}

fn needs_tls(mode: &str) -> bool {
    matches!(mode, "require" | "verify-ca" | "verify-full")
}

impl Snapshot {
    /// A part of it that does not work, if there is one: an `auth_file` that cannot be read whole.
    #[must_use]
    pub fn broken_part(&self) -> Option<&Warning> {
        self.warnings.iter().find(|warning| warning.severity == Severity::Error)
    }

    /// The database clients call `name`: its own entry, or the template's copy for that name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<Cow<'_, Database>> {
        let template = || self.wildcard.as_ref().map(|any| Cow::Owned(any.instantiate(name)));
        self.databases.get(name).map(Cow::Borrowed).or_else(template)
    }

    /// Most servers in the pool; 0 for no limit.
    #[must_use]
    pub fn pool_size(&self, database: &Database, user: &str) -> u32 {
        self.of_user(user, |user| user.pool_size)
            .or(database.pool_size)
            .unwrap_or(self.global.default_pool_size)
    }

    /// Servers to keep open in the pool: never more than its size.
    #[must_use]
    pub fn min_pool_size(&self, database: &Database, user: &str) -> u32 {
        let least = database.min_pool_size.unwrap_or(self.global.min_pool_size);
        match self.pool_size(database, user) {
            0 => least,
            most => least.min(most),
        }
    }

    /// Servers the pool may open beyond its size; 0 for none.
    #[must_use]
    pub fn reserve_pool_size(&self, database: &Database, user: &str) -> u32 {
        self.of_user(user, |user| user.reserve_pool_size)
            .or(database.reserve_pool_size)
            .unwrap_or(self.global.reserve_pool_size)
    }

    /// When a server of the pool becomes free for others.
    #[must_use]
    pub fn pool_mode(&self, database: &Database, user: &str) -> PoolMode {
        self.of_user(user, |user| user.pool_mode).or(database.pool_mode).unwrap_or(self.global.pool_mode)
    }

    /// How long a query may wait for a server; `None` is for ever.
    #[must_use]
    pub fn query_wait_timeout(&self, database: &Database, user: &str) -> Option<Duration> {
        match self.of_user(user, |user| user.query_wait_timeout).or(database.query_wait_timeout) {
            Some(time) => Some(time).filter(|time| !time.is_zero()),
            None => self.global.query_wait_timeout,
        }
    }

    /// Age after which a free server is closed; zero: each is used once.
    #[must_use]
    pub fn server_lifetime(&self, database: &Database) -> Duration {
        database.server_lifetime.unwrap_or(self.global.server_lifetime)
    }

    /// Most servers of the database; 0 for no limit.
    #[must_use]
    pub fn max_db_connections(&self, database: &Database) -> u32 {
        database.max_db_connections.unwrap_or(self.global.max_db_connections)
    }

    /// Most clients of the database; 0 for no limit.
    #[must_use]
    pub fn max_db_client_connections(&self, database: &Database) -> u32 {
        database.max_db_client_connections.unwrap_or(self.global.max_db_client_connections)
    }

    /// Most servers of the user; 0 for no limit.
    #[must_use]
    pub fn max_user_connections(&self, user: &str) -> u32 {
        self.of_user(user, |user| user.max_user_connections).unwrap_or(self.global.max_user_connections)
    }

    /// Most clients of the user; 0 for no limit.
    #[must_use]
    pub fn max_user_client_connections(&self, user: &str) -> u32 {
        self.of_user(user, |user| user.max_user_client_connections)
            .unwrap_or(self.global.max_user_client_connections)
    }

    /// How long a query of the user may run; `None` is for ever.
    #[must_use]
    pub fn query_timeout(&self, user: &str) -> Option<Duration> {
        self.of_user(user, |user| user.query_timeout).or(self.global.query_timeout)
    }

    /// How long a client of the user may be idle in a transaction; `None` is for ever.
    #[must_use]
    pub fn idle_transaction_timeout(&self, user: &str) -> Option<Duration> {
        self.of_user(user, |user| user.idle_transaction_timeout).or(self.global.idle_transaction_timeout)
    }

    /// How long a transaction of the user may last; `None` is for ever.
    #[must_use]
    pub fn transaction_timeout(&self, user: &str) -> Option<Duration> {
        self.of_user(user, |user| user.transaction_timeout).or(self.global.transaction_timeout)
    }

    /// How long a client of the user may do nothing; `None` is for ever.
    #[must_use]
    pub fn client_idle_timeout(&self, user: &str) -> Option<Duration> {
        self.of_user(user, |user| user.client_idle_timeout).or(self.global.client_idle_timeout)
    }

    fn of_user<T>(&self, user: &str, option: impl Fn(&UserOptions) -> Option<T>) -> Option<T> {
        self.users.get(user).and_then(option)
    }
}

#[cfg(test)]
mod tests;
