//! What sections `[databases]` and `[users]` say about one database or user.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::types::{LoadBalance, PoolMode};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Directory of a Unix socket, or `@name` of an abstract one.
    Unix(String),
    /// An address.
    Ip(IpAddr),
    /// A name to look up.
    Name(String),
}

/// A password; [`fmt::Debug`] does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

/// An entry of `[databases]`. `None` inherits the global setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The name clients use; `*` in the template.
    pub name: String,
    /// The name on the server; empty in a template without `dbname`, where it is the name the client gave.
    pub dbname: String,
    /// Hosts to take turns with; empty: the Unix socket in `unix_socket_dir`.
    pub host: Vec<Host>,
    /// TCP port, also part of the Unix socket's name.
    pub port: u16,
    /// User of all server connections, whoever the client is.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<Password>,
    /// Most servers in a pool of this database; 0 for no limit.
    pub pool_size: Option<u32>,
    /// Servers kept open in a pool in use.
    pub min_pool_size: Option<u32>,
    /// Servers a pool may open beyond its size.
    pub reserve_pool_size: Option<u32>,
    /// Most servers of this database; never 0.
    pub max_db_connections: Option<u32>,
    /// Most clients of this database; never 0.
    pub max_db_client_connections: Option<u32>,
    /// When a server becomes free for others.
    pub pool_mode: Option<PoolMode>,
    /// Age after which a free server is closed; never 0.
    pub server_lifetime: Option<Duration>,
    /// How long a query may wait for a server; zero is for ever.
    pub query_wait_timeout: Option<Duration>,
    /// Query sent on each new server connection.
    pub connect_query: Option<String>,
    /// Startup parameters of server connections under PostgreSQL's names: `client_encoding`, `DateStyle`,
    /// `TimeZone`, `application_name`.
    pub startup_parameters: Vec<(&'static str, String)>,
    /// Which host the next server connection goes to.
    pub load_balance_hosts: LoadBalance,
    /// User that runs `auth_query`.
    pub auth_user: Option<String>,
    /// Database in which `auth_query` runs.
    pub auth_dbname: Option<String>,
    /// Query that finds a user's secret.
    pub auth_query: Option<String>,
}

/// An entry of `[users]`. `None` inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserOptions {
    /// When a server becomes free for others.
    pub pool_mode: Option<PoolMode>,
    /// Most servers in a pool of this user; never 0.
    pub pool_size: Option<u32>,
    /// Servers a pool may open beyond its size; never 0.
    pub reserve_pool_size: Option<u32>,
    /// Most servers of this user; never 0.
    pub max_user_connections: Option<u32>,
    /// Most clients of this user; never 0.
    pub max_user_client_connections: Option<u32>,
    /// How long a query may run; never 0.
    pub query_timeout: Option<Duration>,
    /// How long a query may wait for a server; zero is for ever.
    pub query_wait_timeout: Option<Duration>,
    /// How long a client may be idle in a transaction; never 0.
    pub idle_transaction_timeout: Option<Duration>,
    /// How long a transaction may last; never 0.
    pub transaction_timeout: Option<Duration>,
    /// How long a client may do nothing; never 0.
    pub client_idle_timeout: Option<Duration>,
}

impl Password {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The password itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => f.write_str(path),
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Database {
    /// The port where none is given.
    pub const PORT: u16 = 5432;

    /// A database of that name on the local server, all else inherited: what an empty entry gives.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dbname: name.to_owned(),
            host: Vec::new(),
            port: Self::PORT,
            user: None,
            password: None,
            pool_size: None,
            min_pool_size: None,
            reserve_pool_size: None,
            max_db_connections: None,
            max_db_client_connections: None,
            pool_mode: None,
            server_lifetime: None,
            query_wait_timeout: None,
            connect_query: None,
            startup_parameters: Vec::new(),
            load_balance_hosts: LoadBalance::RoundRobin,
            auth_user: None,
            auth_dbname: None,
            auth_query: None,
        }
    }

    /// The database a template gives for `name`.
    #[must_use]
    pub fn instantiate(&self, name: &str) -> Self {
        let mut database = self.clone();
        name.clone_into(&mut database.name);
        if database.dbname.is_empty() {
            name.clone_into(&mut database.dbname);
        }
        database
    }

    /// Whether servers opened for `other` are of no use here: they go elsewhere, log in otherwise or were set up
    /// otherwise. Such servers are tagged to be closed after a reload.
    #[must_use]
    pub fn needs_new_servers(&self, other: &Self) -> bool {
        self.dbname != other.dbname
            || self.host != other.host
            || self.port != other.port
            || self.user != other.user
            || self.password != other.password
            || self.connect_query != other.connect_query
            || self.startup_parameters != other.startup_parameters
            || self.load_balance_hosts != other.load_balance_hosts
            || self.auth_dbname != other.auth_dbname
            || self.auth_query != other.auth_query
    }
}
