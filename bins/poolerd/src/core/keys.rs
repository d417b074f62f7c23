//! Keys derived from passwords, off the loop.
//!
//! Deriving takes milliseconds by design, so the core only asks for it ([`Effect::Derive`]) and is answered by
//! [`Core::derived`]. Who asks: a server login with a password; the check of a password against a SCRAM secret; and the
//! SCRAM login of a user whose secret is a plain password. For the last, keys are made ahead, one user after the other
//! from the moment the configuration is in force, and kept.
//!
//! Nobody may learn from the time a login takes which names exist. So while keys are still being made ahead, every
//! SCRAM login waits for one derivation, its user's own or one for nothing, and once all are made none does. Likewise, where
//! some secrets are SCRAM secrets, every check of a password waits for one.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::scram::{Derived, Keys, PasswordCheck, Recipe, Secret};

use super::effect::{Derivation, Effect, Peer};
use super::route::violation;
use super::{ClientId, Core, ServerId, UserId};
use crate::config::AuthType;

/// What clients and the log are told when no thread can be had, or too many derivations wait for one.
const EXHAUSTED: &str = "bouncer resources exhaustion";

/// Derived for nothing, so that time tells nothing.
const IDLE_PASSWORD: &[u8] = b"nobody's password";

/// Keys that are being made.
#[derive(Debug, Default)]
pub(super) struct Making {
    /// Users whose turn has not come.
    todo: VecDeque<UserId>,
    /// Whose keys are made now, ahead of any login.
    ahead: Option<UserId>,
    /// Clients that wait for keys of their user. One that is gone meanwhile is not found any more.
    waiting: HashMap<UserId, Vec<ClientId>>,
}

/// Where a login stands with its derivation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Turn {
    /// None was asked for.
    #[default]
    Open,
    /// It waits for one; its last message has not been used up.
    Waiting,
    /// It has waited; the keys are there where they were derived for this login alone.
    Had(Option<Keys>),
}

impl Core {
    /// Begins to make the keys that SCRAM logins will need. Those of unchanged secrets are there already.
    pub(super) fn plan_keys(&mut self) {
        let config = self.config.clone();
        self.making.todo.clear();
        if config.global.auth_type == AuthType::ScramSha256 {
            for name in config.secrets.users() {
                // Clients' names are text.
                let Ok(name) = std::str::from_utf8(name) else { continue };
                if is_password(config.secrets.secret(name)) {
                    let user = self.user(name);
                    self.making.todo.push_back(user);
                }
            }
        }
        self.make_ahead();
    }

    fn make_ahead(&mut self) {
        while self.making.ahead.is_none()
            && let Some(user) = self.making.todo.pop_front()
        {
            if self.make_keys(user) {
                self.making.ahead = Some(user);
            }
        }
    }

    /// Sees to it that the user's keys are being made; false if they are there, or there are none to make.
    fn make_keys(&mut self, id: UserId) -> bool {
        let config = self.config.clone();
        let Some(user) = self.users.get(id.0).filter(|user| user.scram_secret.is_none()) else {
            return false;
        };
        let Some(Secret::Plain(password)) = config.secrets.secret(&*user.name) else { return false };
        if user.scram_salt.is_none() {
            let recipe = self.fresh_recipe(password);
            if let Some(user) = self.users.get_mut(id.0) {
                user.scram_salt = Some(recipe.salt.clone());
            }
            self.effects.push_back(Effect::Derive { of: Derivation::User(id), recipe });
        }
        true
    }

    fn fresh_recipe(&mut self, password: &[u8]) -> Recipe {
        let iterations = self.config.global.scram_iterations;
        Recipe { password: password.to_vec(), salt: self.random.scram_salt(), iterations }
    }

    /// Must the client's SCRAM exchange wait before it begins?
    pub(super) fn sasl_must_wait(&mut self, id: ClientId, user: &str) -> bool {
        let Some(login) = self.clients.get(id.0).and_then(|c| c.login.as_ref()) else { return false };
        let turn = login.turn;
        if is_password(self.config.secrets.secret(user)) {
            let user = self.user(user);
            if self.make_keys(user) {
                self.making.waiting.entry(user).or_default().push(id);
                self.set_turn(id, Turn::Waiting);
                return true;
            }
        }
        let missing = self.making.ahead.is_some() || !self.making.todo.is_empty();
        if matches!(turn, Turn::Open) && missing {
            self.derive_for_nothing(id);
        }
        self.is_waiting(id)
    }

    /// Whether `password` is right; `None` while that has to wait.
    pub(super) fn password_is_right(
        &mut self,
        id: ClientId,
        user: &str,
        secret: Option<&Secret>,
        password: &[u8],
    ) -> Option<bool> {
        let turn = self.clients.get(id.0).and_then(|c| c.login.as_ref()).map(|login| login.turn)?;
        let check =
            secret.map_or(PasswordCheck::Done(false), |s| s.check_password(user.as_bytes(), password));
        match (turn, check, secret) {
            (Turn::Waiting, ..) => None,
            (Turn::Had(Some(keys)), PasswordCheck::Derive(_), Some(Secret::Scram(secret))) => {
                Some(secret.accepts(&keys))
            }
            (Turn::Had(_), PasswordCheck::Done(right), _) => Some(right),
            (Turn::Open, PasswordCheck::Done(right), _) if !self.some_scram => Some(right),
            (Turn::Open, PasswordCheck::Done(_), _) => {
                self.derive_for_nothing(id);
                None
            }
            (_, PasswordCheck::Derive(recipe), _) => {
                self.derive_for(id, recipe);
                None
            }
        }
    }

    fn derive_for_nothing(&mut self, id: ClientId) {
        let recipe = self.fresh_recipe(IDLE_PASSWORD);
        self.derive_for(id, recipe);
    }

    fn derive_for(&mut self, id: ClientId, recipe: Recipe) {
        self.set_turn(id, Turn::Waiting);
        self.effects.push_back(Effect::Derive { of: Derivation::Client(id), recipe });
    }

    fn set_turn(&mut self, id: ClientId, turn: Turn) {
        if let Some(login) = self.clients.get_mut(id.0).and_then(|c| c.login.as_mut()) {
            login.turn = turn;
        }
    }

    fn is_waiting(&self, id: ClientId) -> bool {
        let login = self.clients.get(id.0).and_then(|c| c.login.as_ref());
        login.is_some_and(|login| matches!(login.turn, Turn::Waiting))
    }

    /// The shell has derived keys, or could not.
    pub fn derived(&mut self, of: Derivation, derived: Option<Derived>, now: Instant) {
        match of {
            Derivation::User(id) => self.user_derived(id, derived, now),
            Derivation::Client(id) => match derived {
                Some(derived) => self.turn_is_over(id, Some(derived.keys)),
                None => self.expel(id, EXHAUSTED, now),
            },
            Derivation::Server(id) => self.server_derived(id, derived, now),
        }
        self.check_invariants();
    }

    fn user_derived(&mut self, id: UserId, derived: Option<Derived>, now: Instant) {
        let failed = derived.is_none();
        if let Some(user) = self.users.get_mut(id.0) {
            match derived {
                // Another secret may be in force by now: the salt tells which one these are for.
                Some(derived) if user.scram_salt.as_ref() == Some(&derived.salt) => {
                    user.scram_secret = Some(Rc::new(derived.to_secret()));
                    user.scram_salt = None;
                }
                Some(_) => {}
                None => user.scram_salt = None,
            }
        }
        for client in self.making.waiting.remove(&id).unwrap_or_default() {
            match failed {
                true => self.expel(client, EXHAUSTED, now),
                false => self.turn_is_over(client, None),
            }
        }
        if self.making.ahead == Some(id) {
            self.making.ahead = None;
            self.make_ahead();
        }
    }

    /// The client's last message is looked at again.
    fn turn_is_over(&mut self, id: ClientId, keys: Option<Keys>) {
        if self.is_waiting(id) {
            self.set_turn(id, Turn::Had(keys));
            self.effects.push_back(Effect::Pump(Peer::Client(id)));
        }
    }

    fn server_derived(&mut self, id: ServerId, derived: Option<Derived>, now: Instant) {
        let Some(login) = self.servers.get_mut(id.0).and_then(|s| s.login.as_mut()) else { return };
        let Some(derived) = derived else {
            return self.login_failed(id, Some(violation(EXHAUSTED)), EXHAUSTED, now);
        };
        let mut answer = Vec::new();
        match login.answer_with(derived, &mut answer) {
            Ok(()) => self.outbox.write(Peer::Server(id), |out| out.extend_from_slice(&answer)),
            Err(error) => {
                self.login_refused(id, &error, now);
            }
        }
    }
}

/// A password that keys can be made from. An empty one lets nobody in.
fn is_password(secret: Option<&Secret>) -> bool {
    matches!(secret, Some(Secret::Plain(password)) if !password.is_empty())
}

#[cfg(test)]
mod tests;
