//! The console: the database `pgbouncer`, and the same facts for the control socket.
//!
//! One table of commands ([`COMMANDS`]) and one of what can be shown ([`SHOWS`]) serve both. A session is a client in
//! state Console; while its command waits for something it is in ConsoleWait and nothing is read from it.

mod commands;
mod parse;
mod session;
mod show_pools;
mod show_sockets;
mod show_stats;
mod shows;
mod table;
mod wait;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use sluice_wire::pg::backend::{self, TransactionStatus};
use sluice_wire::pg::error::ErrorResponse;

use super::client::{Address, ClientState};
use super::effect::{Peer, Survey};
use super::route::{CONSOLE, check_database_clients, violation};
use super::stats::Stats;
use super::{ClientId, Core, DatabaseId, UserId};
use crate::config::AuthType;

pub use commands::{Argument, COMMANDS, Command, Done, Outcome, Privilege};
pub use session::wants_survey;
pub use shows::{SHOWS, Show};
pub use table::{Cell, Column, Row, Table, Type};

pub(super) use table::LocalText;
pub(super) use wait::Wait;

use session::Session;
use wait::Asker;

/// What PgBouncer's console says it is; PgBouncer's version, whose manners these are.
const GREETING: &[(&str, &str)] = &[
    ("server_version", "1.25.2/bouncer"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

/// Console sessions and what they wait for.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sessions: HashMap<ClientId, Session>,
    /// Logins and commands; nothing else is counted here.
    pub(super) stats: Stats,
    /// Commands that are not answered yet, oldest first.
    waiting: Vec<(Asker, Wait)>,
    /// What the shell's buffers hold, for the command that shows it.
    survey: Option<Survey>,
    /// Whose SUSPEND it is; it ends with its console.
    pub(super) suspender: Option<Asker>,
    /// Databases that are paused because of KILL: plain RESUME lets them go on as well.
    pub(super) killed: HashSet<DatabaseId>,
}

impl Core {
    /// Lets a client that has proven to be `user` in, if it is on a list.
    pub(super) fn open_console(
        &mut self,
        id: ClientId,
        user: &str,
        _now: Instant,
    ) -> Result<(), ErrorResponse> {
        let global = &self.config.global;
        let listed = |list: &[String]| list.iter().any(|name| name == user);
        let admin = self.is_local_owner(id, user) || listed(&global.admin_users);
        if !admin && !listed(&global.stats_users) && global.auth_type != AuthType::Any {
            return Err(violation("not allowed"));
        }
        let known = self.user_names.get(user).copied();
        if !admin {
            self.check_console_limits(known)?;
        }
        let user = known.unwrap_or_else(|| self.user(user));
        if let Some(user) = self.users.get_mut(user.0) {
            user.clients += 1;
        }
        self.console.stats.now.client_logins += 1;
        let key = self.new_cancel_key(id);
        let Some(client) = self.clients.get_mut(id.0) else { return Ok(()) };
        let login = client.login.take();
        client.user = Some(user);
        client.counted = true;
        client.admin = admin;
        self.outbox.write(Peer::Client(id), |out| {
            backend::authentication_ok(out);
            for (name, value) in GREETING {
                backend::parameter_status(out, name.as_bytes(), value.as_bytes());
            }
            let (key, rest) = key;
            let mut secret = key[4..].to_vec();
            if login.is_some_and(|login| login.long_key) {
                secret.extend_from_slice(&rest);
            }
            backend::backend_key_data(out, [key[0], key[1], key[2], key[3]], &secret);
            backend::ready_for_query(out, TransactionStatus::Idle);
        });
        self.console.sessions.insert(id, Session::default());
        self.change_client_state(id, ClientState::Console);
        Ok(())
    }

    /// Limits of clients hold for `stats_users`; who may have to end a crowd is let in whatever they are.
    fn check_console_limits(&self, user: Option<UserId>) -> Result<(), ErrorResponse> {
        let limit = self.config.global.max_db_client_connections;
        check_database_clients(self.console.sessions.len() as u32, limit)?;
        self.check_user_clients(user)
    }

    /// Is this whoever runs the pooler, at its Unix socket? The kernel vouches for that.
    pub(super) fn is_local_owner(&self, id: ClientId, user: &str) -> bool {
        let peer = self.clients.get(id.0).map(|client| client.peer);
        user == CONSOLE && matches!(peer, Some(Address::Unix { uid, .. }) if uid == self.uid)
    }
}
