//! Log lines as data: the shell decides how they look and where they go.

use std::rc::Rc;
use std::time::{Duration, Instant};

pub use sluice_unix::log::Level;

use super::client::{Address, Client};
use super::effect::Effect;
use super::server::Server;
use super::{ClientId, Core, PoolId, ServerId};

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What happened. The names are stable: programs match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// All events, for documentation and its test.
            pub const ALL: &'static [Event] = &[$(Event::$variant),*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Event::$variant => $name,)* }
            }
        }
    };
}

events! {
    /// The process is about to serve.
    Up = "up",
    /// A listening socket is open.
    Listening = "listening",
    /// Connections could not be accepted.
    Accept = "accept",
    /// A setting was changed, ignored or is not acted on.
    Config = "config",
    /// The configuration was read anew.
    Reload = "reload",
    /// A signal came in.
    Signal = "signal",
    /// A StartupMessage was understood.
    LoginAttempt = "login_attempt",
    /// A client could not prove who it is.
    LoginFailed = "login_failed",
    /// A connection ends, with the reason.
    Closing = "closing",
    /// An error was sent to a client.
    PoolerError = "pooler_error",
    /// A server connection is made.
    NewServer = "new_server",
    /// A server said something worth keeping.
    Server = "server",
    /// A server is opened beyond `pool_size`.
    ReservePool = "reserve_pool",
    /// A database was made from the `*` entry.
    AutoDatabase = "auto_database",
    /// A database is forgotten.
    DropDatabase = "drop_database",
    /// A pool that nobody uses is forgotten.
    DropPool = "drop_pool",
    /// Averages of the period.
    Stats = "stats",
    /// A console command was given.
    Command = "command",
    /// Parameters of a session were changed on a server.
    Parameters = "parameters",
    /// Something a client asked for is unsafe in this mode.
    Unsafe = "unsafe",
    /// The control socket.
    Control = "control",
    /// The process ends.
    Exit = "exit",
}

/// Which kind of connection a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// An accepted connection.
    Client,
    /// A connection to PostgreSQL.
    Server,
}

/// A line about a connection, or about the process.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// How bad it is.
    pub level: Level,
    /// What happened.
    pub event: Event,
    /// The connection, if there is one.
    pub connection: Option<ConnectionName>,
    /// The text, as PgBouncer writes it.
    pub text: String,
    /// Age of the connection in seconds, where that is told.
    pub age_s: Option<u64>,
    /// The reason by itself, where the text holds one.
    pub reason: Option<String>,
}

/// What a line says about its connection.
#[derive(Clone, Debug)]
pub struct ConnectionName {
    /// Client or server.
    pub side: Side,
    /// The number the console shows.
    pub serial: u64,
    /// Database.
    pub database: Rc<str>,
    /// User.
    pub user: Rc<str>,
    /// Address of the other side.
    pub address: Option<Address>,
}

impl Core {
    fn name_client(&self, client: &Client) -> ConnectionName {
        let (database, user) = self.client_names(client);
        let address = Some(client.peer);
        ConnectionName { side: Side::Client, serial: client.serial, database, user, address }
    }

    fn name_server(&self, server: &Server) -> ConnectionName {
        let pool = self.pools.get(server.pool.0);
        let database = pool.and_then(|p| self.databases.get(p.database.0)).map(|d| Rc::clone(&d.name));
        let user = pool.and_then(|p| self.users.get(p.user.0)).map(|u| Rc::clone(&u.name));
        ConnectionName {
            side: Side::Server,
            serial: server.serial,
            database: database.unwrap_or_else(|| "(nodb)".into()),
            user: user.unwrap_or_else(|| "(nouser)".into()),
            address: server.peer.or_else(|| server.endpoint.address()),
        }
    }

    fn push_line(&mut self, level: Level, event: Event, connection: Option<ConnectionName>, text: String) {
        let line = LogLine { level, event, connection, text, age_s: None, reason: None };
        self.effects.push_back(Effect::Log(Box::new(line)));
    }

    pub(super) fn log_plain(&mut self, level: Level, event: Event, text: &str) {
        self.push_line(level, event, None, text.to_owned());
    }

    pub(super) fn log_client(&mut self, level: Level, event: Event, id: ClientId, text: String) {
        let Some(name) = self.clients.get(id.0).map(|c| self.name_client(c)) else { return };
        self.push_line(level, event, Some(name), text);
    }

    pub(super) fn log_server(&mut self, level: Level, event: Event, id: ServerId, text: String) {
        let Some(name) = self.servers.get(id.0).map(|s| self.name_server(s)) else { return };
        self.push_line(level, event, Some(name), text);
    }

    pub(super) fn log_pool(&mut self, level: Level, event: Event, id: PoolId, text: &str) {
        let Some(pool) = self.pools.get(id.0) else { return };
        let (Some(database), Some(user)) = (self.databases.get(pool.database.0), self.users.get(pool.user.0))
        else {
            return;
        };
        let text = format!("{}/{}: {text}", database.name, user.name);
        self.push_line(level, event, None, text);
    }

    pub(super) fn log_idle_pool(&mut self, id: PoolId, age: Duration) {
        let Some(pool) = self.pools.get(id.0) else { return };
        let (Some(database), Some(user)) = (self.databases.get(pool.database.0), self.users.get(pool.user.0))
        else {
            return;
        };
        let (database, user, age_s) = (&database.name, &user.name, age.as_secs());
        let text = format!(
            "cleaning up idle pool for user {user} on db {database} because: pool idle timeout (age= {age_s}s)"
        );
        self.log_plain(Level::Log, Event::DropPool, &text);
    }

    pub(super) fn log_login_attempt(&mut self, id: ClientId) {
        if !self.config.global.log_connections {
            return;
        }
        let Some(client) = self.clients.get(id.0) else { return };
        let (database, user) = self.client_names(client);
        let text = format!("login attempt: db={database} user={user} tls=no replication=no");
        self.log_client(Level::Log, Event::LoginAttempt, id, text);
    }

    pub(super) fn log_login_failed(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id.0) else { return };
        let (database, user) = self.client_names(client);
        self.log_client(
            Level::Log,
            Event::LoginFailed,
            id,
            format!("login failed: db={database} user={user}"),
        );
    }

    pub(super) fn log_pooler_error(&mut self, id: ClientId, text: &str) {
        if self.config.global.log_pooler_errors {
            self.log_client(Level::Warning, Event::PoolerError, id, format!("pooler error: {text}"));
        }
    }

    pub(super) fn log_client_closing(&mut self, id: ClientId, reason: &str, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        // Port scans and load balancers' checks say nothing and are worth no line.
        let silent =
            client.login.as_ref().is_some_and(|l| !l.has_begun()) && reason == "client unexpected eof";
        if !self.config.global.log_disconnections || silent {
            return;
        }
        let name = self.name_client(client);
        let since = client.connected_at;
        self.log_closing(name, reason, since, now);
    }

    pub(super) fn log_server_closing(&mut self, id: ServerId, reason: &str, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        if !self.config.global.log_disconnections {
            return;
        }
        let name = self.name_server(server);
        let since = server.connected_at;
        self.log_closing(name, reason, since, now);
    }

    fn log_closing(&mut self, name: ConnectionName, reason: &str, since: Instant, now: Instant) {
        let age_s = now.saturating_duration_since(since).as_secs();
        self.effects.push_back(Effect::Log(Box::new(LogLine {
            level: Level::Log,
            event: Event::Closing,
            connection: Some(name),
            text: format!("closing because: {reason} (age={age_s}s)"),
            age_s: Some(age_s),
            reason: Some(reason.to_owned()),
        })));
    }

    pub(super) fn log_new_server(&mut self, id: ServerId) {
        if !self.config.global.log_connections {
            return;
        }
        let Some(server) = self.servers.get(id.0) else { return };
        let text = match server.local {
            Some(local @ Address::Tcp(_)) => format!("new connection to server (from {local})"),
            _ => "new connection to server".to_owned(),
        };
        self.log_server(Level::Log, Event::NewServer, id, text);
    }

    pub(super) fn log_server_text(&mut self, id: ServerId, text: &str) {
        self.log_server(Level::Warning, Event::Server, id, text.to_owned());
    }

    pub(super) fn log_apply(&mut self, id: ClientId, sql: &[u8]) {
        if self.config.global.verbose > 0 {
            let text = format!("varcache_apply: {}", String::from_utf8_lossy(sql));
            self.log_client(Level::Debug, Event::Parameters, id, text);
        }
    }

    pub(super) fn log_canonical(&mut self, id: ClientId, at: usize, old: &[u8], new: &[u8]) {
        if self.config.global.verbose == 0 {
            return;
        }
        let text = format!(
            "varcache_set_canonical: setting {} to its canonical version {} -> {}",
            self.tracked.name(at),
            String::from_utf8_lossy(old),
            String::from_utf8_lossy(new)
        );
        self.log_client(Level::Debug, Event::Parameters, id, text);
    }
}
