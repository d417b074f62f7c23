//! Logging in to a server, and what follows before the first client may use it.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frame::{self, HEADER_LEN};
use sluice_wire::pg::login::{self, Credentials, Login, LoginError, StartupParams, Step as LoginStep};
use sluice_wire::pg::scram::{Derived, Secret};
use sluice_wire::pg::sqlstate::SqlState;

use super::client::Address;
use super::effect::{Derivation, Effect, Peer};
use super::pool::Welcome;
use super::requests::Step;
use super::route::violation;
use super::server::{ServerState, Task};
use super::vars::Vars;
use super::{Core, ServerId};

/// Parameters a server may tell of, beside the tracked ones. PostgreSQL 15 reports 14 in all; extensions may add some.
pub(super) const PARAMETERS_MAX: usize = 256;

/// Bytes of their names and values. Every client is greeted with them.
pub(super) const GREETING_BYTES: usize = 256 * 1024;

/// A login under way.
#[derive(Debug)]
pub(super) struct ServerLogin {
    machine: Login,
}

impl ServerLogin {
    /// Answers the server with the keys it has made necessary.
    pub(super) fn answer_with(&mut self, derived: Derived, out: &mut Vec<u8>) -> Result<(), LoginError> {
        self.machine.derived(derived, out)
    }
}

impl Core {
    /// The shell has connected.
    pub fn server_connected(&mut self, id: ServerId, peer: Address, local: Address, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        server.peer = Some(peer);
        server.local = Some(local);
        server.connected_at = now;
        if server.state == ServerState::ActiveCancel {
            self.send_cancel(id, now);
        } else {
            self.log_new_server(id);
            if !peer.is_unix() && self.config.global.servers_need_tls() {
                let text = "server_tls_sslmode asks for TLS, which poolerd does not have yet";
                self.login_failed(id, Some(violation(text)), text, now);
            } else {
                self.start_login(id);
            }
        }
        self.check_invariants();
    }

    fn start_login(&mut self, id: ServerId) {
        let Some(pool) = self.servers.get(id.0).and_then(|s| self.pools.get(s.pool.0)) else { return };
        let (Some(database), Some(user)) = (self.databases.get(pool.database.0), self.users.get(pool.user.0))
        else {
            return;
        };
        let config = &database.config;
        let others = config
            .startup_parameters
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        let params = StartupParams { database: config.dbname.as_bytes().to_vec(), others };
        let secret = match &config.password {
            Some(password) => Some(Secret::parse(password.as_bytes())),
            None => self.config.secrets.secret(&*user.name).cloned(),
        };
        // Keys go with the secret they were made from.
        let known = if config.password.is_some() { &pool.scram_keys } else { &user.scram_keys };
        let credentials =
            Credentials { user: user.name.as_bytes().to_vec(), secret, scram_keys: known.clone() };
        let machine = Login::new(params, credentials, self.random.nonce());
        self.outbox.write(Peer::Server(id), |out| machine.start(out));
        if let Some(server) = self.servers.get_mut(id.0) {
            server.login = Some(Box::new(ServerLogin { machine }));
        }
    }

    /// A message of a server that has not said ReadyForQuery yet.
    pub(super) fn login_reply(&mut self, id: ServerId, chunk: &[u8], at: usize, now: Instant) -> Step {
        let header = match frame::header(&chunk[at..]) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Need(HEADER_LEN),
            Err(_) => return self.login_broken(id, "bad packet header from server", now),
        };
        // Judged by what it claims, before a byte of it is kept.
        if header.body_len() > login::body_len_max(header.tag) {
            return self.login_broken(id, "message too long in server login", now);
        }
        if chunk.len() - at < header.total() {
            return Step::Need(header.total());
        }
        let body = &chunk[at + HEADER_LEN..at + header.total()];
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        let Some(login) = &mut server.login else { return Step::Closed };
        let mut answer = Vec::new();
        match login.machine.handle(header.tag, body, &mut answer) {
            Ok(LoginStep::Continue | LoginStep::Notice(_)) => {
                self.outbox.write(Peer::Server(id), |out| out.extend_from_slice(&answer));
            }
            Ok(LoginStep::Derive(recipe)) => {
                self.effects.push_back(Effect::Derive { of: Derivation::Server(id), recipe });
            }
            Ok(LoginStep::Parameter(name, value)) => {
                if let Some(at) = self.tracked.position(name) {
                    server.vars.set(at, self.values.intern(value));
                } else if set_parameter(&mut server.greeting, name, value).is_err() {
                    return self.login_broken(id, "too many parameters in server login", now);
                }
            }
            Ok(LoginStep::Key(pid, secret)) => {
                server.backend_pid = pid;
                server.backend_secret = secret.into();
            }
            Ok(LoginStep::Ready) => self.login_done(id, now),
            Err(error) => return self.login_refused(id, &error, now),
        }
        if self.servers.get(id.0).is_none() { Step::Closed } else { Step::Used(header.total()) }
    }

    fn login_broken(&mut self, id: ServerId, reason: &str, now: Instant) -> Step {
        self.login_failed(id, None, reason, now);
        Step::Closed
    }

    pub(super) fn login_refused(&mut self, id: ServerId, error: &LoginError, now: Instant) -> Step {
        let (text, refusal) = match error {
            LoginError::Server(said) => {
                let code = said.sqlstate.unwrap_or(SqlState::PROTOCOL_VIOLATION);
                let refusal = ErrorResponse::new(Severity::Fatal, code, said.message.clone());
                (Some(error.to_string()), refusal)
            }
            other => (other.log_text().map(str::to_owned), violation(other.to_string())),
        };
        if let Some(text) = text {
            self.log_server_text(id, &text);
        }
        // A key learnt from a client may be the one that does not fit. Other refusals (the server is starting up, or is
        // full) say nothing about it, and only a client's next login could bring it back.
        if doubts_the_key(error)
            && let Some(pool) = self.servers.get(id.0).and_then(|s| self.pools.get_mut(s.pool.0))
        {
            pool.scram_keys = None;
            if let Some(user) = self.users.get_mut(pool.user.0) {
                user.scram_keys = None;
            }
        }
        let reason = refusal.message.clone();
        self.login_failed(id, Some(refusal), &reason, now);
        Step::Closed
    }

    fn login_done(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let Some(login) = server.login.take() else { return };
        let Some(pool) = self.pools.get_mut(server.pool.0) else { return };
        let own_password = self.databases.get(pool.database.0).is_some_and(|d| d.config.password.is_some());
        match (login.machine.into_scram_keys(), self.users.get_mut(pool.user.0)) {
            (Some(keys), _) if own_password => pool.scram_keys = Some(keys),
            (Some(keys), Some(user)) => user.scram_keys = Some(keys),
            _ => {}
        }
        let query =
            self.databases.get(pool.database.0).and_then(|database| database.config.connect_query.clone());
        match query {
            Some(sql) => self.run_task(id, Task::ConnectQuery, sql.as_bytes(), now),
            None => self.server_ready(id, now),
        }
    }

    /// The server may be used.
    pub(super) fn server_ready(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let welcome = Welcome { parameters: std::mem::take(&mut server.greeting), vars: server.vars.clone() };
        let pool = server.pool;
        if let Some(pool) = self.pools.get_mut(pool.0) {
            pool.welcome = Some(Rc::new(welcome));
            pool.failure = None;
            pool.hosts_failed = 0;
        }
        self.greet_waiting(pool, now);
        self.release_server(id, now);
        self.keep_minimum(pool, now);
    }

    /// A parameter that is not tracked has changed while nobody used the server: by `connect_query`, whose doing the
    /// welcome is to show, or as the server's own news.
    pub(super) fn refresh_welcome(&mut self, id: ServerId, name: &[u8], value: &[u8]) -> Result<(), TooMany> {
        let Some(server) = self.servers.get_mut(id.0) else { return Ok(()) };
        if server.state == ServerState::Login {
            return set_parameter(&mut server.greeting, name, value);
        }
        let Some(pool) = self.pools.get_mut(server.pool.0) else { return Ok(()) };
        let Some(old) = &pool.welcome else { return Ok(()) };
        let mut parameters = old.parameters.clone();
        set_parameter(&mut parameters, name, value)?;
        let vars: Vars = old.vars.clone();
        pool.welcome = Some(Rc::new(Welcome { parameters, vars }));
        Ok(())
    }
}

/// A server tells of more parameters than [`PARAMETERS_MAX`] or [`GREETING_BYTES`] allow.
#[derive(Debug)]
pub(super) struct TooMany;

fn set_parameter(parameters: &mut Vec<(Vec<u8>, Vec<u8>)>, name: &[u8], value: &[u8]) -> Result<(), TooMany> {
    let others = parameters.iter().filter(|(known, _)| known != name);
    let (count, bytes) = others.fold((1, name.len() + value.len()), |(count, bytes), (name, value)| {
        (count + 1, bytes + name.len() + value.len())
    });
    if count > PARAMETERS_MAX || bytes > GREETING_BYTES {
        return Err(TooMany);
    }
    match parameters.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value.to_vec(),
        None => parameters.push((name.to_vec(), value.to_vec())),
    }
    Ok(())
}

/// Has the proof itself failed? Class 28: invalid authorization (PostgreSQL manual, "PostgreSQL Error Codes").
fn doubts_the_key(error: &LoginError) -> bool {
    match error {
        LoginError::Server(refusal) => refusal.sqlstate.is_some_and(|code| code.class() == *b"28"),
        LoginError::BadSignature | LoginError::Scram(_) => true,
        _ => false,
    }
}
