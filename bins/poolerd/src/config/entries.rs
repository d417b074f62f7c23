//! Entries of `[databases]`, `[users]` and `[peers]`: pairs to [`Database`] and [`UserOptions`].

use std::fmt;
use std::time::Duration;

use sluice_cli::nearest::nearest;
use sluice_cli::settings::{Expected, Kind, Value};

use super::database::{Database, Host, Password, UserOptions};
use super::pairs::pairs;
use super::types::{Field, LoadBalance, PoolMode};

/// The name of the console's database.
const RESERVED: &str = "pgbouncer";
/// The name of the template.
pub(super) const WILDCARD: &str = "*";

const DATABASE_NAME_BYTES: usize = 63;
const USER_NAME_BYTES: usize = 127;
const PASSWORD_BYTES: usize = 65_530;

/// Keys of an entry of `[databases]`.
pub(super) const DATABASE_KEYS: &[&str] = &[
    "dbname",
    "host",
    "port",
    "user",
    "password",
    "auth_user",
    "auth_query",
    "auth_dbname",
    "pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "reserve_pool",
    "max_db_connections",
    "max_db_client_connections",
    "pool_mode",
    "server_lifetime",
    "query_wait_timeout",
    "load_balance_hosts",
    "connect_query",
    "client_encoding",
    "datestyle",
    "timezone",
    "application_name",
];

/// Keys of an entry of `[users]`.
pub(super) const USER_KEYS: &[&str] = &[
    "pool_mode",
    "pool_size",
    "reserve_pool_size",
    "max_user_connections",
    "max_user_client_connections",
    "query_timeout",
    "query_wait_timeout",
    "idle_transaction_timeout",
    "transaction_timeout",
    "client_idle_timeout",
];

/// Keys of an entry of `[peers]`.
const PEER_KEYS: &[&str] = &["host", "port", "pool_size"];

/// What is wrong with an entry. Whoever wrote the file is at fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryError {
    /// The pairs cannot be told apart.
    Syntax(Section, &'static str),
    /// No such key, and the nearest one.
    Unknown(Section, String, Option<&'static str>),
    /// The value is not one the key takes.
    Invalid { key: String, value: String, expected: Expected },
    /// The host list has an empty place.
    NoHost,
    /// Longer than names or passwords may be; says which.
    TooLong(&'static str, usize),
    /// The console's name.
    Reserved,
    /// A peer without host.
    PeerWithoutHost,
    /// The name of a peer is its number.
    PeerId(String),
}

/// A section whose values are pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Databases,
    Users,
    Peers,
}

/// An entry of `[databases]`.
pub(super) fn database(name: &str, text: &str) -> Result<Database, EntryError> {
    if name == RESERVED {
        return Err(EntryError::Reserved);
    }
    fits("a database name", name, DATABASE_NAME_BYTES)?;
    let mut database = Database::new(name);
    if name == WILDCARD {
        database.dbname.clear();
    }
    each(Section::Databases, text, |key, value| set_database(&mut database, key, value))?;
    Ok(database)
}

/// An entry of `[users]`.
pub(super) fn user(name: &str, text: &str) -> Result<UserOptions, EntryError> {
    fits("a user name", name, USER_NAME_BYTES)?;
    let mut user = UserOptions::default();
    each(Section::Users, text, |key, value| set_user(&mut user, key, value))?;
    Ok(user)
}

/// An entry of `[peers]`, of which nothing is kept yet.
pub(super) fn peer(name: &str, text: &str) -> Result<(), EntryError> {
    let id = Kind::Int { min: 1, max: 65_535 };
    if id.parse(name).is_err() {
        return Err(EntryError::PeerId(name.to_owned()));
    }
    let mut has_host = false;
    each(Section::Peers, text, |key, value| {
        match key {
            "host" => has_host = !hosts(value)?.is_empty(),
            "port" => {
                port(key, value)?;
            }
            "pool_size" => {
                number(key, value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if has_host { Ok(()) } else { Err(EntryError::PeerWithoutHost) }
}

/// Gives every pair to `set`, which says whether it knows the key.
fn each(
    section: Section,
    text: &str,
    mut set: impl FnMut(&str, &str) -> Result<bool, EntryError>,
) -> Result<(), EntryError> {
    for pair in pairs(text) {
        let (key, value) = pair.map_err(|what| EntryError::Syntax(section, what))?;
        if !set(key, &value)? {
            let near = nearest(key, section.keys().iter().copied());
            return Err(EntryError::Unknown(section, key.to_owned(), near));
        }
    }
    Ok(())
}

fn set_database(database: &mut Database, key: &str, value: &str) -> Result<bool, EntryError> {
    match key {
        "dbname" => database.dbname = fits("dbname", value, DATABASE_NAME_BYTES)?,
        "host" => database.host = hosts(value)?,
        "port" => database.port = port(key, value)?,
        "user" => database.user = Some(fits("user", value, USER_NAME_BYTES)?),
        "password" => database.password = Some(Password::new(fits("password", value, PASSWORD_BYTES)?)),
        "auth_user" => database.auth_user = Some(fits("auth_user", value, USER_NAME_BYTES)?),
        "auth_query" => database.auth_query = Some(value.to_owned()),
        "auth_dbname" => database.auth_dbname = Some(fits("auth_dbname", value, DATABASE_NAME_BYTES)?),
        "pool_size" => database.pool_size = number(key, value)?,
        "min_pool_size" => database.min_pool_size = number(key, value)?,
        "reserve_pool_size" | "reserve_pool" => database.reserve_pool_size = number(key, value)?,
        "max_db_connections" => database.max_db_connections = limit(key, value)?,
        "max_db_client_connections" => database.max_db_client_connections = limit(key, value)?,
        "pool_mode" => database.pool_mode = Some(pool_mode(key, value)?),
        "server_lifetime" => database.server_lifetime = nonzero_time(key, value)?,
        "query_wait_timeout" => database.query_wait_timeout = time(key, value)?,
        "load_balance_hosts" => database.load_balance_hosts = load_balance(key, value)?,
        "connect_query" => database.connect_query = Some(value.to_owned()),
        "client_encoding" => set_parameter(database, "client_encoding", value),
        "datestyle" => set_parameter(database, "DateStyle", value),
        "timezone" => set_parameter(database, "TimeZone", value),
        "application_name" => set_parameter(database, "application_name", value),
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_user(user: &mut UserOptions, key: &str, value: &str) -> Result<bool, EntryError> {
    match key {
        "pool_mode" => user.pool_mode = Some(pool_mode(key, value)?),
        "pool_size" => user.pool_size = limit(key, value)?,
        "reserve_pool_size" => user.reserve_pool_size = limit(key, value)?,
        "max_user_connections" => user.max_user_connections = limit(key, value)?,
        "max_user_client_connections" => user.max_user_client_connections = limit(key, value)?,
        "query_timeout" => user.query_timeout = nonzero_time(key, value)?,
        "query_wait_timeout" => user.query_wait_timeout = time(key, value)?,
        "idle_transaction_timeout" => user.idle_transaction_timeout = nonzero_time(key, value)?,
        "transaction_timeout" => user.transaction_timeout = nonzero_time(key, value)?,
        "client_idle_timeout" => user.client_idle_timeout = nonzero_time(key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_parameter(database: &mut Database, name: &'static str, value: &str) {
    database.startup_parameters.retain(|(other, _)| *other != name);
    database.startup_parameters.push((name, value.to_owned()));
}

fn fits(what: &'static str, text: &str, most: usize) -> Result<String, EntryError> {
    if text.len() <= most { Ok(text.to_owned()) } else { Err(EntryError::TooLong(what, most)) }
}

fn hosts(list: &str) -> Result<Vec<Host>, EntryError> {
    list.split(',').map(str::trim).map(host).collect()
}

fn host(text: &str) -> Result<Host, EntryError> {
    match text.as_bytes().first() {
        None => Err(EntryError::NoHost),
        Some(b'/' | b'@') => Ok(Host::Unix(text.to_owned())),
        Some(_) => Ok(text.parse().map_or_else(|_| Host::Name(text.to_owned()), Host::Ip)),
    }
}

fn parse(kind: Kind, key: &str, value: &str) -> Result<Value, EntryError> {
    kind.parse(value).map_err(|expected| EntryError::Invalid {
        key: key.to_owned(),
        value: value.to_owned(),
        expected,
    })
}

fn port(key: &str, value: &str) -> Result<u16, EntryError> {
    let value = parse(Kind::Int { min: 1, max: 65_535 }, key, value)?;
    Ok(Field::from_value(&value))
}

/// A count; a negative one inherits.
fn number(key: &str, value: &str) -> Result<Option<u32>, EntryError> {
    match parse(Kind::Int { min: i32::MIN.into(), max: i32::MAX.into() }, key, value)? {
        Value::Int(n) => Ok(u32::try_from(n).ok()),
        _ => Ok(None),
    }
}

/// A count where 0 inherits too.
fn limit(key: &str, value: &str) -> Result<Option<u32>, EntryError> {
    Ok(number(key, value)?.filter(|n| *n > 0))
}

/// A time; -1 inherits.
fn time(key: &str, value: &str) -> Result<Option<Duration>, EntryError> {
    if value == "-1" {
        return Ok(None);
    }
    match parse(Kind::Seconds, key, value)? {
        Value::Seconds(time) => Ok(Some(time)),
        _ => Ok(None),
    }
}

/// A time where 0 inherits too.
fn nonzero_time(key: &str, value: &str) -> Result<Option<Duration>, EntryError> {
    Ok(time(key, value)?.filter(|time| !time.is_zero()))
}

fn pool_mode(key: &str, value: &str) -> Result<PoolMode, EntryError> {
    parse(Kind::Enum(PoolMode::WORDS), key, value).map(|value| Field::from_value(&value))
}

fn load_balance(key: &str, value: &str) -> Result<LoadBalance, EntryError> {
    parse(Kind::Enum(LoadBalance::WORDS), key, value).map(|value| Field::from_value(&value))
}

impl Section {
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Databases => DATABASE_KEYS,
            Self::Users => USER_KEYS,
            Self::Peers => PEER_KEYS,
        }
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(Section::Users, what) => write!(f, "syntax error in user settings: {what}"),
            Self::Syntax(_, what) => write!(f, "syntax error in connection string: {what}"),
            Self::Unknown(section, key, near) => {
                let kind = if *section == Section::Users { "user" } else { "connection" };
                write!(f, "unrecognized {kind} parameter: {key}")?;
                near.map_or(Ok(()), |near| write!(f, ", the nearest is {near}"))
            }
            Self::Invalid { key, value, expected } => {
                write!(f, "invalid value \"{value}\" for parameter {key}: {expected}")
            }
            Self::NoHost => f.write_str("an empty place in the list of hosts"),
            Self::TooLong(what, most) => write!(f, "{what} is longer than {most} bytes"),
            Self::Reserved => write!(f, "database name \"{RESERVED}\" is reserved"),
            Self::PeerWithoutHost => f.write_str("a peer needs a host"),
            Self::PeerId(name) => write!(f, "a peer is named by a number from 1 to 65535, not \"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests;
