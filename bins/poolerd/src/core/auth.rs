//! The proof of who a client is: trust, any, plain, md5 and SCRAM-SHA-256.
//!
//! An unknown user goes through the same exchange as a known one and fails at the same point with the same words, so
//! that nobody learns which names exist. Code here can reach no server and no session state.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::error::ErrorResponse;
use sluice_wire::pg::frontend::{self, SaslInitial};
use sluice_wire::pg::scram::{self, Derived, Secret, ServerExchange, ServerStep};
use sluice_wire::pg::sqlstate::SqlState;
use sluice_wire::pg::startup::{self, First, Progress};
use sluice_wire::pg::{backend, frame};

use super::effect::Peer;
use super::keys::Turn;
use super::requests::Step;
use super::route::{Asked, fatal, violation};
use super::{ClientId, Core, UserId};
use crate::config::AuthType;

/// Longest message of a client that has not proven who it is: a password of 65,530 bytes and its frame.
const PASSWORD_BYTES: usize = 65_536;

/// Random bytes for keys and nonces, stretched from the seed the shell gave.
#[derive(Debug)]
pub(super) struct Random {
    key: ring::hmac::Key,
    process_key: [u8; 32],
    counter: u64,
}

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &seed);
        let mut random = Random { key, process_key: [0; 32], counter: 0 };
        random.process_key = random.block();
        random
    }

    fn block(&mut self) -> [u8; 32] {
        self.counter += 1;
        let tag = ring::hmac::sign(&self.key, &self.counter.to_be_bytes());
        let mut block = [0; 32];
        block.copy_from_slice(tag.as_ref());
        block
    }

    pub(super) fn nonce(&mut self) -> [u8; scram::NONCE_LEN] {
        let mut nonce = [0; scram::NONCE_LEN];
        nonce.copy_from_slice(&self.block()[..scram::NONCE_LEN]);
        nonce
    }

    /// For a secret made on the fly.
    pub(super) fn scram_salt(&mut self) -> Vec<u8> {
        self.block()[..scram::SALT_LEN].to_vec()
    }

    fn salt(&mut self) -> [u8; 4] {
        let block = self.block();
        [block[0], block[1], block[2], block[3]]
    }

    /// A new cancel key and the bytes that follow it for clients that take long ones.
    pub(super) fn cancel_key(&mut self) -> ([u8; 8], [u8; 24]) {
        let block = self.block();
        let mut key = [0; 8];
        key.copy_from_slice(&block[..8]);
        // Some drivers keep the process id as a signed number.
        key[0] &= 0x7F;
        (key, self.cancel_key_rest(&key))
    }

    /// The rest of a long cancel key follows from its beginning, so nothing more has to be kept.
    pub(super) fn cancel_key_rest(&self, key: &[u8; 8]) -> [u8; 24] {
        let tag = ring::hmac::sign(&self.key, &[b"cancel", &key[..]].concat());
        let mut rest = [0; 24];
        rest.copy_from_slice(&tag.as_ref()[..24]);
        rest
    }
}

/// A login under way.
#[derive(Debug, Default)]
pub(super) struct Login {
    stage: Stage,
    refused_tls: bool,
    refused_gss: bool,
    pub(super) turn: Turn,
    /// Database and user of the StartupMessage.
    pub(super) asked: Option<(Rc<str>, Rc<str>)>,
    /// Whose servers the client will use.
    pub(super) server_user: Option<UserId>,
    /// The client takes cancel keys of more than 8 bytes (protocol 3.2).
    pub(super) long_key: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// SSLRequest, GSSENCRequest, CancelRequest or StartupMessage is next.
    #[default]
    Startup,
    /// A cleartext password is next.
    Plain { secret: Option<Secret> },
    /// An md5 answer is next.
    Md5 { secret: Option<Secret>, salt: [u8; 4] },
    /// SASLInitialResponse is next.
    SaslInitial,
    /// SASLResponse is next.
    Sasl(Box<ServerExchange>),
    /// Proven.
    Done,
}

impl Login {
    pub(super) fn asked_for(&self) -> Option<(Rc<str>, Rc<str>)> {
        self.asked.clone()
    }

    /// Has the client sent anything that was understood?
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::Startup) || self.refused_tls || self.refused_gss
    }
}

impl Core {
    /// Bytes of a client that has not proven who it is.
    pub(super) fn login_input(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Step {
        let Some(login) = self.clients.get(id.0).and_then(|c| c.login.as_ref()) else { return Step::Closed };
        match login.stage {
            Stage::Startup => self.startup_input(id, bytes, now),
            Stage::Done => Step::Blocked,
            _ => self.proof_input(id, bytes, now),
        }
    }

    fn startup_input(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Step {
        let (consumed, first) = match startup::read(bytes) {
            Ok(Progress::Need(count)) => return Step::Need(count),
            Ok(Progress::Done { consumed, first }) => (consumed, first),
            Err(error) => {
                let mut answer = fatal(error.sqlstate(), error.to_string());
                if let Some(hint) = error.hint() {
                    answer = answer.with_hint(hint);
                }
                self.expel_with(id, &answer, now);
                return Step::Closed;
            }
        };
        let more = bytes.len() > consumed;
        let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) else {
            return Step::Closed;
        };
        let refused = match first {
            First::Ssl if more => Err(startup::StartupError::DataAfterSsl.to_string()),
            First::Gss if more => Err(startup::StartupError::DataAfterGss.to_string()),
            First::Ssl if std::mem::replace(&mut login.refused_tls, true) => {
                Err("SSL request was answered before".to_owned())
            }
            First::Gss if std::mem::replace(&mut login.refused_gss, true) => {
                Err("GSSAPI encryption request was answered before".to_owned())
            }
            First::Ssl | First::Gss => Ok(()),
            First::Cancel { pid, secret } => {
                self.cancel_requested(id, pid, secret, now);
                return if self.clients.get(id.0).is_some() { Step::Used(consumed) } else { Step::Closed };
            }
            First::Startup(message) => {
                return match self.route(id, &message, now) {
                    Ok(()) => self.after_route(id, consumed),
                    Err(error) => {
                        self.expel_with(id, &error, now);
                        Step::Closed
                    }
                };
            }
        };
        match refused {
            Ok(()) => {
                self.outbox.write(Peer::Client(id), |out| out.push(b'N'));
                Step::Used(consumed)
            }
            Err(text) => {
                self.expel_with(id, &violation(text), now);
                Step::Closed
            }
        }
    }

    fn after_route(&self, id: ClientId, consumed: usize) -> Step {
        if self.clients.get(id.0).is_some() { Step::Used(consumed) } else { Step::Closed }
    }

    /// Chooses the exchange. The client's database, if it exists, is chosen already.
    pub(super) fn begin_authentication(
        &mut self,
        id: ClientId,
        asked: &Asked,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let config = self.config.clone();
        let secret = config.secrets.secret(&asked.user).cloned();
        let console = asked.database == super::route::CONSOLE;
        if console && self.is_local_owner(id, &asked.user) {
            self.open_console(id, &asked.user, now)?;
            return Ok(());
        }
        let stage = match (config.global.auth_type, secret) {
            (AuthType::Any, _) => {
                let forced = self.forces_user(id);
                if !console && !forced {
                    return Err(violation("bouncer config error"));
                }
                None
            }
            (AuthType::Trust, Some(_)) => None,
            (AuthType::Trust, None) => {
                let code = SqlState::INVALID_AUTHORIZATION_SPECIFICATION;
                return Err(fatal(code, "\"trust\" authentication failed"));
            }
            (AuthType::Plain, secret) => {
                self.outbox.write(Peer::Client(id), backend::authentication_cleartext);
                Some(Stage::Plain { secret })
            }
            (_, secret) if self.wants_scram(secret.as_ref()) => {
                self.outbox.write(Peer::Client(id), |out| {
                    backend::authentication_sasl(out, &[scram::MECHANISM]);
                });
                Some(Stage::SaslInitial)
            }
            (_, secret) => {
                let salt = self.random.salt();
                self.outbox.write(Peer::Client(id), |out| backend::authentication_md5(out, salt));
                Some(Stage::Md5 { secret, salt })
            }
        };
        let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) else { return Ok(()) };
        match stage {
            Some(stage) => login.stage = stage,
            None => {
                self.proven(id, now);
            }
        }
        Ok(())
    }

    /// Which exchange a secret needs. Somebody unknown gets the one that everybody else gets.
    fn wants_scram(&self, secret: Option<&Secret>) -> bool {
        match (self.config.global.auth_type, secret) {
            (AuthType::ScramSha256, _) | (AuthType::Md5, Some(Secret::Scram(_))) => true,
            (AuthType::Md5, None) => self.all_scram,
            _ => false,
        }
    }

    fn forces_user(&self, id: ClientId) -> bool {
        let database = self.clients.get(id.0).and_then(|c| c.database);
        database.and_then(|d| self.databases.get(d.0)).is_some_and(|d| d.config.user.is_some())
    }

    /// An exchange with the user's keys, or one that fails at its end.
    fn scram_exchange(&mut self, user: &str) -> ServerExchange {
        let nonce = self.random.nonce();
        let config = self.config.clone();
        let secret = match config.secrets.secret(user) {
            Some(Secret::Scram(secret)) => Some(secret.clone()),
            Some(Secret::Plain(_)) => self
                .user_names
                .get(user)
                .and_then(|id| self.users.get(id.0))
                .and_then(|user| user.scram_secret.as_deref().cloned()),
            Some(Secret::Md5(_)) | None => None,
        };
        let iterations = config.global.scram_iterations;
        match secret {
            Some(secret) => ServerExchange::new(secret, &nonce),
            None => ServerExchange::mock(&self.random.process_key, user.as_bytes(), iterations, &nonce),
        }
    }

    fn proof_input(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Step {
        let header = match frame::header(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Need(frame::HEADER_LEN),
            Err(_) => return self.refuse_message(id, "bad packet", "impossible length".into(), now),
        };
        match header.tag {
            frontend::PASSWORD if header.total() > PASSWORD_BYTES => {
                self.expel(id, "password too long", now);
                return Step::Closed;
            }
            frontend::PASSWORD => {}
            frontend::TERMINATE => {
                let left = super::client::Departure::Terminated;
                self.close_client(id, "client close request", left, now);
                return Step::Closed;
            }
            tag => {
                let detail = format!("message type 0x{tag:02X} where a password is due");
                return self.refuse_message(id, "bad packet", detail, now);
            }
        }
        if bytes.len() < header.total() {
            return Step::Need(header.total());
        }
        let body = &bytes[frame::HEADER_LEN..header.total()];
        let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) else {
            return Step::Closed;
        };
        let user = login.asked.as_ref().map_or_else(|| "".into(), |(_, user)| Rc::clone(user));
        let step = match std::mem::take(&mut login.stage) {
            Stage::Plain { secret } => self.check_plain(id, &user, secret, body, now),
            Stage::Md5 { secret, salt } => self.check_password(id, body, now, |_, answer| {
                Some(secret.is_some_and(|s| s.accepts_md5(user.as_bytes(), salt, answer)))
            }),
            Stage::SaslInitial if self.sasl_must_wait(id, &user) => self.wait_with(id, Stage::SaslInitial),
            Stage::SaslInitial => self.sasl_initial(id, &user, body, now),
            Stage::Sasl(exchange) => self.sasl_step(id, exchange, body, now),
            Stage::Startup | Stage::Done => Step::Closed,
        };
        match step {
            Step::Closed | Step::Blocked => step,
            _ if self.clients.get(id.0).is_none() => Step::Closed,
            _ => Step::Used(header.total()),
        }
    }

    /// Puts the stage back: its message is looked at again once what it waits for is there.
    fn wait_with(&mut self, id: ClientId, stage: Stage) -> Step {
        if let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) {
            login.stage = stage;
        }
        Step::Blocked
    }

    fn check_plain(
        &mut self,
        id: ClientId,
        user: &str,
        secret: Option<Secret>,
        body: &[u8],
        now: Instant,
    ) -> Step {
        let step = self.check_password(id, body, now, |core, password| {
            core.password_is_right(id, user, secret.as_ref(), password)
        });
        match step {
            Step::Blocked => self.wait_with(id, Stage::Plain { secret }),
            step => step,
        }
    }

    /// Lets the client in or refuses it; blocked while `accepts` cannot tell.
    fn check_password(
        &mut self,
        id: ClientId,
        body: &[u8],
        now: Instant,
        accepts: impl FnOnce(&mut Self, &[u8]) -> Option<bool>,
    ) -> Step {
        let Ok(password) = frontend::read_password(body) else {
            return self.refuse_message(id, "bad packet", "password is not terminated".into(), now);
        };
        if password.is_empty() {
            return self.refuse_login(id, "empty password returned by client", now);
        }
        match accepts(self, password) {
            Some(true) => self.proven(id, now),
            Some(false) => self.refuse_login(id, "password authentication failed", now),
            None => Step::Blocked,
        }
    }

    fn refuse_login(&mut self, id: ClientId, text: &'static str, now: Instant) -> Step {
        self.log_login_failed(id);
        self.expel_with(id, &fatal(SqlState::INVALID_PASSWORD, text), now);
        Step::Closed
    }

    fn sasl_initial(&mut self, id: ClientId, user: &str, body: &[u8], now: Instant) -> Step {
        let Ok(initial) = SaslInitial::read(body) else {
            return self.refuse_message(id, "bad packet", "malformed SASLInitialResponse".into(), now);
        };
        if initial.mechanism != scram::MECHANISM {
            self.expel(id, "client selected an invalid SASL authentication mechanism", now);
            return Step::Closed;
        }
        let exchange = Box::new(self.scram_exchange(user));
        self.sasl_step(id, exchange, initial.data.unwrap_or_default(), now)
    }

    fn sasl_step(
        &mut self,
        id: ClientId,
        mut exchange: Box<ServerExchange>,
        data: &[u8],
        now: Instant,
    ) -> Step {
        match exchange.step(data) {
            Ok(ServerStep::Continue(answer)) => {
                self.outbox.write(Peer::Client(id), |out| backend::sasl_continue(out, &answer));
                if let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) {
                    login.stage = Stage::Sasl(exchange);
                }
                Step::Used(0)
            }
            Ok(ServerStep::Done { server_final, client_key }) => {
                self.outbox.write(Peer::Client(id), |out| backend::sasl_final(out, &server_final));
                self.learn_client_key(id, client_key);
                self.proven(id, now)
            }
            Err(_) => self.refuse_login(id, "SASL authentication failed", now),
        }
    }

    /// A client's proof contains the key that logs in to a server which stores the same SCRAM secret.
    fn learn_client_key(&mut self, id: ClientId, client_key: [u8; 32]) {
        let Some(login) = self.clients.get(id.0).and_then(|c| c.login.as_ref()) else { return };
        let Some((_, user)) = login.asked_for() else { return };
        let config = self.config.clone();
        if let Some(Secret::Scram(secret)) = config.secrets.secret(&*user) {
            let keys = Derived::from_client(secret, client_key);
            let user = self.user(&user);
            if let Some(user) = self.users.get_mut(user.0) {
                user.scram_keys = Some(keys);
            }
        }
    }

    fn proven(&mut self, id: ClientId, now: Instant) -> Step {
        let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) else {
            return Step::Closed;
        };
        login.stage = Stage::Done;
        let asked = login.asked_for();
        if let Some((database, user)) = asked
            && &*database == super::route::CONSOLE
        {
            if let Err(error) = self.open_console(id, &user, now) {
                self.expel_with(id, &error, now);
                return Step::Closed;
            }
            return Step::Used(0);
        }
        self.authenticated(id, now)
    }
}
