//! From a StartupMessage to a pool: databases, users, limits.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::error::ErrorResponse;
use sluice_wire::pg::scram::{Derived, ScramSecret};
use sluice_wire::pg::sqlstate::SqlState;
use sluice_wire::pg::startup::{self, Startup};
use sluice_wire::pg::{backend, error::Severity};

use super::client::ClientState;
use super::effect::{Effect, Peer};
use super::log::{Event, Level};
use super::pool::{Policy, Pool};
use super::requests::Step;
use super::{ClientId, Core, DatabaseId, PoolId, Shutdown, UserId};
use crate::config;

/// The console's database.
pub(super) const CONSOLE: &str = "pgbouncer";

/// Longest names, in bytes, as PgBouncer has them.
const DATABASE_LEN_MAX: usize = 63;
const USER_LEN_MAX: usize = 127;

/// Protocol 3.2 as one number: major in the upper half.
const VERSION_3_2: u32 = 3 << 16 | 2;

/// A database as clients name it.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) name: Rc<str>,
    pub(super) config: config::Database,
    /// Made from the `*` entry on demand.
    pub(super) auto: bool,
    /// Known from the configuration, or named by somebody who has proven who they are: it stays when its clients leave.
    pub(super) registered: bool,
    pub(super) paused: bool,
    pub(super) disabled: bool,
    /// Clients that have named it and were accepted.
    pub(super) clients: u32,
    pub(super) servers: u32,
    /// Since when it has had no client.
    pub(super) empty_since: Option<Instant>,
}

/// A user name, on either side.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Rc<str>,
    pub(super) clients: u32,
    pub(super) servers: u32,
    /// Derived once from a plain secret: what SCRAM clients are checked against.
    pub(super) scram_secret: Option<Rc<ScramSecret>>,
    /// Salt of the one that is being made.
    pub(super) scram_salt: Option<Vec<u8>>,
    /// Keys that log in to servers: learnt from a client's proof, or derived at an earlier login.
    pub(super) scram_keys: Option<Derived>,
}

/// What a StartupMessage asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) database: String,
}

pub(super) fn fatal(code: SqlState, text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    ErrorResponse::new(Severity::Fatal, code, text)
}

pub(super) fn violation(text: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    fatal(SqlState::PROTOCOL_VIOLATION, text)
}

/// May one more client than `count` use a database? A limit of 0 is none.
pub(super) fn check_database_clients(count: u32, limit: u32) -> Result<(), ErrorResponse> {
    if limit > 0 && count >= limit {
        return Err(violation("client connections exceeded (max_db_client_connections)"));
    }
    Ok(())
}

impl Core {
    /// Takes a StartupMessage in; on success the proof of identity is next.
    pub(super) fn route(
        &mut self,
        id: ClientId,
        message: &Startup<'_>,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let user = message.param(b"user").filter(|u| !u.is_empty());
        let user = user.ok_or_else(|| violation("no username supplied"))?;
        let database = message.param(b"database").filter(|d| !d.is_empty()).unwrap_or(user);
        if user.len() > USER_LEN_MAX {
            return Err(violation("username too long"));
        }
        let asked = Asked {
            user: String::from_utf8_lossy(user).into_owned(),
            database: String::from_utf8_lossy(database).into_owned(),
        };
        if database.len() > DATABASE_LEN_MAX {
            return Err(fatal(
                SqlState::INVALID_CATALOG_NAME,
                format!("no such database: {}", asked.database),
            ));
        }
        let over_tcp = self.clients.get(id.0).is_some_and(|c| !c.peer.is_unix());
        if over_tcp && self.config.global.clients_need_tls() {
            return Err(violation("SSL required"));
        }
        let console = asked.database == CONSOLE;
        if let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) {
            login.asked = Some((asked.database.as_str().into(), asked.user.as_str().into()));
        }
        let limit = self.config.global.max_client_conn as usize;
        if !console && limit > 0 && self.clients.len() - self.console.sessions.len() > limit {
            return Err(violation("no more connections allowed (max_client_conn)"));
        }
        self.negotiate(id, message);
        self.take_parameters(id, message, console)?;
        if self.config.global.application_name_add_host {
            self.add_host_to_name(id);
        }
        self.log_login_attempt(id);
        if !console {
            self.choose_database(id, &asked, now)?;
        }
        self.begin_authentication(id, &asked, now)
    }

    /// Protocol 3.0 and 3.2 are spoken; anything newer, and every option we do not know, is negotiated down.
    fn negotiate(&mut self, id: ClientId, message: &Startup<'_>) {
        let unknown: Vec<&[u8]> =
            message.params().map(|(name, _)| name).filter(|name| name.starts_with(b"_pq_.")).collect();
        let version = match message.minor {
            0 | 1 => startup::VERSION_3_0,
            _ => VERSION_3_2,
        };
        if let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) {
            login.long_key = version == VERSION_3_2;
        }
        if !unknown.is_empty() || !matches!(message.minor, 0 | 2) {
            self.outbox
                .write(Peer::Client(id), |out| backend::negotiate_protocol_version(out, version, &unknown));
        }
    }

    fn take_parameters(
        &mut self,
        id: ClientId,
        message: &Startup<'_>,
        console: bool,
    ) -> Result<(), ErrorResponse> {
        for (name, value) in message.params() {
            match name {
                b"user" | b"database" => {}
                b"replication" => {
                    if !matches!(value, b"false" | b"off" | b"no" | b"0" | b"") {
                        return Err(fatal(
                            SqlState::FEATURE_NOT_SUPPORTED,
                            "replication connections are not supported",
                        ));
                    }
                }
                b"options" if self.ignores("options") && message.param(b"options").is_none() => {}
                b"options" => self.take_options(id, value, console)?,
                _ if name.starts_with(b"_pq_.") => {}
                _ => {
                    if !self.take_parameter(id, name, value, console) {
                        let text =
                            format!("unsupported startup parameter: {}", String::from_utf8_lossy(name));
                        let line = format!("{text}={}", String::from_utf8_lossy(value));
                        self.log_client(Level::Warning, Event::PoolerError, id, line);
                        return Err(violation(text));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_options(&mut self, id: ClientId, text: &[u8], console: bool) -> Result<(), ErrorResponse> {
        let ignored = self.ignores("options");
        let settings = match startup::options(text) {
            Ok(settings) => settings,
            Err(_) if ignored => return Ok(()),
            Err(error) => return Err(violation(error.to_string())),
        };
        for (name, value) in settings {
            if !self.take_parameter(id, &name, &value, console) && !ignored {
                let name = String::from_utf8_lossy(&name);
                return Err(violation(format!("unsupported startup parameter in options: {name}")));
            }
        }
        Ok(())
    }

    fn ignores(&self, name: &str) -> bool {
        self.config.global.ignore_startup_parameters.iter().any(|i| i.eq_ignore_ascii_case(name))
    }

    /// Keeps a tracked parameter; answers whether it may be there at all.
    fn take_parameter(&mut self, id: ClientId, name: &[u8], value: &[u8], console: bool) -> bool {
        let Some(at) = self.tracked.position(name) else {
            return console || self.ignores(&String::from_utf8_lossy(name));
        };
        if let Some(client) = self.clients.get_mut(id.0) {
            client.vars.set(at, self.values.intern(value));
        }
        true
    }

    fn add_host_to_name(&mut self, id: ClientId) {
        let Some(at) = self.tracked.position(b"application_name") else { return };
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let given = client.vars.at(at).filter(|name| !name.is_empty());
        let name = given.map_or_else(|| "app".into(), |name| String::from_utf8_lossy(name));
        let name = format!("{name} - {}", client.peer);
        client.vars.set(at, self.values.intern(name.as_bytes()));
    }

    fn choose_database(&mut self, id: ClientId, asked: &Asked, now: Instant) -> Result<(), ErrorResponse> {
        let Some(database_id) = self.find_database(&asked.database, now) else {
            // An unknown database is told only to somebody who has proven who they are.
            return Ok(());
        };
        let forced = self.databases.get(database_id.0).and_then(|d| d.config.user.clone());
        // Somebody who cannot be let in leaves no trace: names are free to make up.
        let login_user = self.may_exist(&asked.user).then(|| self.user(&asked.user));
        let user_id = forced.map(|name| self.user(&name)).or(login_user);
        if let Err(error) = self.check_client_limits(database_id, login_user) {
            self.forget_unregistered(database_id);
            return Err(error);
        }
        let Some(client) = self.clients.get_mut(id.0) else { return Ok(()) };
        client.database = Some(database_id);
        client.user = login_user;
        client.counted = true;
        if let Some(login) = &mut client.login {
            login.server_user = user_id;
        }
        if let Some(database) = self.databases.get_mut(database_id.0) {
            database.clients += 1;
            database.empty_since = None;
        }
        if let Some(user) = login_user.and_then(|user| self.users.get_mut(user.0)) {
            user.clients += 1;
        }
        Ok(())
    }

    /// Can a client of that name be let in at all?
    fn may_exist(&self, user: &str) -> bool {
        self.config.global.auth_type == config::AuthType::Any || self.config.secrets.secret(user).is_some()
    }

    fn check_client_limits(&self, database: DatabaseId, user: Option<UserId>) -> Result<(), ErrorResponse> {
        if let Some(database) = self.databases.get(database.0) {
            check_database_clients(
                database.clients,
                self.config.max_db_client_connections(&database.config),
            )?;
        }
        self.check_user_clients(user)
    }

    pub(super) fn check_user_clients(&self, user: Option<UserId>) -> Result<(), ErrorResponse> {
        let Some(user) = user.and_then(|user| self.users.get(user.0)) else { return Ok(()) };
        let limit = self.config.max_user_client_connections(&user.name);
        if limit > 0 && user.clients >= limit {
            return Err(violation("client connections exceeded (max_user_client_connections)"));
        }
        Ok(())
    }

    /// The database of that name: configured, known already, or made from the `*` entry. One just made is to be registered,
    /// or forgotten with its last client.
    pub(super) fn find_database(&mut self, name: &str, now: Instant) -> Option<DatabaseId> {
        if let Some(&id) = self.database_names.get(name) {
            return Some(id);
        }
        let config = self.config.database(name)?.into_owned();
        let id = self.add_database(name, config, now);
        if let Some(database) = self.databases.get_mut(id.0) {
            (database.auto, database.registered) = (true, false);
        }
        Some(id)
    }

    /// Keeps a database made from the `*` entry: who asked for it may have it.
    pub(super) fn register_database(&mut self, id: DatabaseId, now: Instant) {
        let Some(database) = self.databases.get_mut(id.0).filter(|d| !d.registered) else { return };
        database.registered = true;
        let text = format!("registered new auto-database: {}", database.name);
        self.log_plain(Level::Log, Event::AutoDatabase, &text);
        self.arm_database_idle(id, now);
    }

    /// Drops a database only strangers have named, once they are gone: names are free to make up.
    pub(super) fn forget_unregistered(&mut self, id: DatabaseId) {
        let strangers = self.databases.get(id.0).is_some_and(|d| !d.registered && d.clients == 0);
        if strangers && let Some(database) = self.databases.remove(id.0) {
            self.database_names.remove(&database.name);
        }
    }

    pub(super) fn add_database(&mut self, name: &str, config: config::Database, now: Instant) -> DatabaseId {
        let name: Rc<str> = name.into();
        let id = DatabaseId(self.databases.insert(Database {
            name: Rc::clone(&name),
            config,
            auto: false,
            registered: true,
            paused: false,
            disabled: false,
            clients: 0,
            servers: 0,
            empty_since: Some(now),
        }));
        self.database_names.insert(name, id);
        id
    }

    pub(super) fn user(&mut self, name: &str) -> UserId {
        if let Some(&id) = self.user_names.get(name) {
            return id;
        }
        let name: Rc<str> = name.into();
        let user = User {
            name: Rc::clone(&name),
            clients: 0,
            servers: 0,
            scram_secret: None,
            scram_salt: None,
            scram_keys: None,
        };
        let id = UserId(self.users.insert(user));
        self.user_names.insert(name, id);
        id
    }

    /// Drops a name nobody uses and no file knows, or anybody could fill the memory with logins that fail.
    pub(super) fn forget_stranger(&mut self, id: UserId) {
        let Some(user) = self.users.get(id.0).filter(|u| u.clients == 0 && u.servers == 0) else { return };
        let name = &*user.name;
        let known = self.config.users.contains_key(name)
            || self.config.secrets.secret(name).is_some()
            || self.databases.iter().any(|(_, d)| d.config.user.as_deref() == Some(name))
            || self.pools.iter().any(|(_, pool)| pool.user == id);
        if !known && let Some(user) = self.users.remove(id.0) {
            self.user_names.remove(&user.name);
        }
    }

    pub(super) fn pool(&mut self, database: DatabaseId, user: UserId, now: Instant) -> PoolId {
        if let Some(&id) = self.pool_names.get(&(database, user)) {
            return id;
        }
        let policy = self.policy(database, user);
        let gauge = super::pressure::Gauge::new(self.pressure_period(), now);
        let id = PoolId(self.pools.insert(Pool::new(database, user, policy, gauge, now)));
        self.pool_names.insert((database, user), id);
        id
    }

    /// The settings of one pool, user before database before global.
    pub(super) fn policy(&self, database: DatabaseId, user: UserId) -> Policy {
        let (Some(database), Some(user)) = (self.databases.get(database.0), self.users.get(user.0)) else {
            return Policy::default();
        };
        let config = &self.config;
        Policy {
            mode: config.pool_mode(&database.config, &user.name),
            size: config.pool_size(&database.config, &user.name),
            min_size: config.min_pool_size(&database.config, &user.name),
            reserve_size: config.reserve_pool_size(&database.config, &user.name),
            database_servers: config.max_db_connections(&database.config),
            user_servers: config.max_user_connections(&user.name),
            lifetime: config.server_lifetime(&database.config),
            query_wait_timeout: config.query_wait_timeout(&database.config, &user.name),
            query_timeout: config.query_timeout(&user.name),
            idle_transaction_timeout: config.idle_transaction_timeout(&user.name),
            transaction_timeout: config.transaction_timeout(&user.name),
            client_idle_timeout: config.client_idle_timeout(&user.name),
        }
    }

    /// The client has proven who it is.
    pub(super) fn authenticated(&mut self, id: ClientId, now: Instant) -> Step {
        let Some(client) = self.clients.get(id.0) else { return Step::Closed };
        let Some(login) = &client.login else { return Step::Closed };
        let server_user = login.server_user;
        let asked = login.asked.clone();
        let (Some(database), Some(user)) = (client.database, server_user) else {
            let name = asked.map_or_else(|| "".into(), |(database, _)| database);
            let error = fatal(SqlState::INVALID_CATALOG_NAME, format!("no such database: {name}"));
            self.expel_with(id, &error, now);
            return Step::Closed;
        };
        if let Some(disabled) = self.databases.get(database.0).filter(|d| d.disabled) {
            let error = violation(format!("database \"{}\" is disabled", disabled.name));
            self.expel_with(id, &error, now);
            return Step::Closed;
        }
        if self.shutdown != Shutdown::No {
            self.expel(id, "pooler is shutting down", now);
            return Step::Closed;
        }
        self.register_database(database, now);
        let pool = self.pool(database, user, now);
        self.change_client_state(id, ClientState::WaitLogin);
        self.enter_pool(id, pool);
        self.arm_min_pool(pool, now);
        if self.pools.get(pool.0).is_some_and(|p| p.welcome.is_some()) {
            self.greet(id, now);
            return Step::Used(0);
        }
        if let Some(error) = self.recent_failure(pool, now) {
            self.expel_with(id, &error, now);
            return Step::Closed;
        }
        if let Some(client) = self.clients.get_mut(id.0) {
            client.waiting_since = Some(now);
        }
        self.arm_client(id, now);
        self.open_if_wanted(pool, now);
        Step::Used(0)
    }

    /// Completes a login: all that PostgreSQL says between AuthenticationOk and the first ReadyForQuery.
    pub(super) fn greet(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let Some(welcome) = client.pool.and_then(|p| self.pools.get(p.0)).and_then(|p| p.welcome.clone())
        else {
            return;
        };
        let long_key = client.login.as_ref().is_some_and(|l| l.long_key);
        client.login = None;
        client.waiting_since = None;
        client.request_at = now;
        client.vars.fill_from(&welcome.vars);
        let (key, rest) = self.new_cancel_key(id);
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let tracked = &self.tracked;
        let notice = &self.config.global.login_notify_message;
        self.outbox.write(Peer::Client(id), |out| {
            backend::authentication_ok(out);
            for (name, value) in &welcome.parameters {
                backend::parameter_status(out, name, value);
            }
            for (at, value) in client.vars.iter() {
                backend::parameter_status(out, tracked.name(at).as_bytes(), value);
            }
            let mut secret = key[4..].to_vec();
            if long_key {
                secret.extend_from_slice(&rest);
            }
            backend::backend_key_data(out, [key[0], key[1], key[2], key[3]], &secret);
            if let Some(notice) = notice {
                ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, notice.clone())
                    .write_notice(out);
            }
            backend::ready_for_query(out, backend::TransactionStatus::Idle);
        });
        if let Some(pool) = client.pool.and_then(|p| self.pools.get_mut(p.0)) {
            pool.stats.now.client_logins += 1;
        }
        self.change_client_state(id, ClientState::Idle);
        self.arm_client(id, now);
        self.effects.push_back(Effect::Pump(Peer::Client(id)));
    }

    /// Gives the client a cancel key, and the bytes that follow it where long keys are taken.
    pub(super) fn new_cancel_key(&mut self, id: ClientId) -> ([u8; 8], [u8; 24]) {
        let (key, rest) = loop {
            let (key, rest) = self.random.cancel_key();
            if !self.keys.contains_key(&key) {
                break (key, rest);
            }
        };
        if let Some(client) = self.clients.get_mut(id.0) {
            client.cancel_key = key;
            self.keys.insert(key, id);
        }
        (key, rest)
    }

    /// A server has told how it greets: everybody who waits for that is let in.
    pub(super) fn greet_waiting(&mut self, pool: PoolId, now: Instant) {
        if self.pools.get(pool.0).is_some_and(|p| p.client_count(ClientState::WaitLogin) > 0) {
            for id in self.clients_of(pool, |state| state == ClientState::WaitLogin) {
                self.greet(id, now);
            }
        }
    }
}
