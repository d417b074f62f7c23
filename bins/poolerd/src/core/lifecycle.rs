//! How connections end, and what a server does between clients.

use std::time::{Duration, Instant};

use sluice_wire::pg::backend::TransactionStatus;
use sluice_wire::pg::error::ErrorResponse;
use sluice_wire::pg::frontend;
use sluice_wire::pg::sqlstate::SqlState;

use super::client::{Address, Client, ClientState, Departure};
use super::effect::{Effect, Peer, Unreachable};
use super::outstanding::{Kind, Request};
use super::pool::Failure;
use super::prepared::Unnamed;
use super::route::violation;
use super::server::{Left, Server, ServerState, Task, remove_from};
use super::{ClientId, Core, PoolId, ServerId};
use crate::config::{LoadBalance, OnClientLoss};

/// Executing a portal nobody made fails a batch whatever it holds; PostgreSQL's log then says why.
const MISSING_PORTAL: &[u8] = b"client disconnected before Sync";

impl Core {
    /// The shell has accepted a connection.
    pub fn client_connected(&mut self, peer: Address, local: Address, now: Instant) -> ClientId {
        let client = Client::new(self, peer, local, now);
        let id = ClientId(self.clients.insert(client));
        self.login_clients += 1;
        self.arm_client(id, now);
        id
    }

    /// The shell lost the client: end of file or an error.
    pub fn client_gone(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        let reason = match client.state {
            ClientState::WaitCancel | ClientState::ActiveCancel => "client close request",
            _ => "client unexpected eof",
        };
        self.close_client(id, reason, Departure::Vanished, now);
        self.check_invariants();
    }

    /// Tells the client why, and closes it.
    pub(super) fn expel(&mut self, id: ClientId, text: &'static str, now: Instant) {
        self.expel_with(id, &violation(text), now);
    }

    /// Tells the client `error`, which is also the reason in the log, and closes it. In the middle of a reply nothing
    /// can be said: an error fits only between two messages.
    pub(super) fn expel_with(&mut self, id: ClientId, error: &ErrorResponse, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        let server = client.link.and_then(|server| self.servers.get(server.0));
        if !server.is_some_and(|s| s.is_mid_message_to(id)) {
            self.outbox.write(Peer::Client(id), |out| error.write(out));
        }
        self.log_pooler_error(id, &error.message);
        self.close_client(id, &error.message, Departure::Expelled, now);
    }

    /// Ends a client: its place in the queue, its server, its counts, its connection.
    pub(super) fn close_client(&mut self, id: ClientId, reason: &str, departure: Departure, now: Instant) {
        self.log_client_closing(id, reason, now);
        let Some(client) = self.clients.remove(id.0) else { return };
        if matches!(client.state, ClientState::Login | ClientState::WaitLogin) {
            self.login_clients -= 1;
        }
        self.keys.remove(&client.cancel_key);
        self.forget_console(id, now);
        if let Some(pool) = client.pool.and_then(|p| self.pools.get_mut(p.0)) {
            pool.clients[client.state as usize] -= 1;
        }
        if client.counted {
            if let Some(database) = client.database.and_then(|d| self.databases.get_mut(d.0)) {
                database.clients -= 1;
                if database.clients == 0 {
                    database.empty_since = Some(now);
                }
            }
            if let Some(database) = client.database {
                self.forget_unregistered(database);
            }
            if let Some(user) = client.user.and_then(|u| self.users.get_mut(u.0)) {
                user.clients -= 1;
            }
        }
        if let Some(user) = client.user {
            self.forget_stranger(user);
        }
        self.effects.push_back(Effect::Close(Peer::Client(id)));
        if let Some(server) = client.link {
            let mid_message = client.mid_message();
            self.abandon_server(server, departure, mid_message, now);
        }
        if let Some(pool) = client.pool {
            self.arm_pool_idle(pool, now);
        }
        drop(client);
        self.definitions.trim();
        self.end_shutdown();
    }

    /// Cleans up after a client that left while it had a server.
    fn abandon_server(&mut self, id: ServerId, departure: Departure, mid_message: bool, now: Instant) {
        let policy = self.config.global.on_client_loss;
        let cancel = match policy {
            OnClientLoss::Drain | OnClientLoss::Close => false,
            OnClientLoss::Cancel => true,
            OnClientLoss::Auto => departure != Departure::Terminated,
        };
        let Some(server) = self.servers.get_mut(id.0) else { return };
        server.link = None;
        server.left = Some(Left { at: now, cancelled: cancel });
        if mid_message {
            server.cut_short = true;
            let reason = "client disconnect before everything was sent to the server";
            return self.close_server(id, reason, now);
        }
        // It may have been stopped because the client did not read, and its input be so full that no event will come.
        self.effects.push_back(Effect::Pump(Peer::Server(id)));
        if server.is_clean() && server.task == Task::None {
            return self.finish_server(id, now);
        }
        if policy == OnClientLoss::Close {
            let reason = if server.outstanding.is_empty() {
                "client disconnect while server was not ready"
            } else {
                "client disconnected with query in progress"
            };
            return self.close_server(id, reason, now);
        }
        self.end_copy_of_nobody(id);
        self.end_batch_of_nobody(id);
        let Some(server) = self.servers.get(id.0) else { return };
        if server.outstanding.is_empty() {
            return self.finish_abandoned(id, now);
        }
        if cancel && server.task == Task::None && self.may_cancel(server.pool) {
            self.cancel_server(id, None, now);
        }
        self.arm_server(id, now);
    }

    /// A copy-in nobody feeds any more fails.
    pub(super) fn end_copy_of_nobody(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        if server.link.is_none() && server.copy_in {
            server.copy_in = false;
            self.outbox.write(Peer::Server(id), |out| frontend::copy_fail(out, b"client disconnected"));
            self.end_batch_of_nobody(id);
        }
    }

    /// A batch nobody will end is ended by a Sync of ours, or its ReadyForQuery never comes. But a Sync commits what
    /// the batch has done so far, which a client that leaves before its own Sync has not asked for: so the batch is
    /// made to fail first.
    pub(super) fn end_batch_of_nobody(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        if !server.outstanding.batch_is_open() && !server.skipping {
            return;
        }
        server.skipping = false;
        server.outstanding.push(Request::own(Kind::Execute));
        server.outstanding.push(Request::own(Kind::Sync));
        self.outbox.write(Peer::Server(id), |out| {
            frontend::execute(out, MISSING_PORTAL, 0);
            frontend::sync(out);
        });
    }

    /// A server without client or task has answered everything.
    pub(super) fn finish_abandoned(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        match server.status {
            TransactionStatus::Idle if server.state == ServerState::Active => self.finish_server(id, now),
            TransactionStatus::Idle => {}
            _ => self.run_task(id, Task::Rollback, b"ROLLBACK", now),
        }
    }

    /// Runs a query of our own; its replies are swallowed.
    pub(super) fn run_task(&mut self, id: ServerId, task: Task, sql: &[u8], now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        debug_assert!(server.task == Task::None, "one task at a time");
        server.task = task;
        server.task_failed = false;
        server.since = now;
        server.outstanding.push(Request::own(Kind::Query));
        self.outbox.write(Peer::Server(id), |out| frontend::query(out, sql));
        self.arm_server(id, now);
    }

    /// A query of our own has ended.
    pub(super) fn task_done(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let task = std::mem::replace(&mut server.task, Task::None);
        let failed = server.task_failed || server.status != TransactionStatus::Idle;
        match task {
            Task::None => {}
            Task::SetVars => self.vars_set(id, failed, now),
            Task::Settle => self.doubt_settled(id, now),
            Task::Check if failed => self.close_server(id, "test query failed", now),
            Task::Check | Task::Rollback if !failed => {
                if task == Task::Check {
                    self.release_server(id, now);
                } else {
                    self.finish_server(id, now);
                }
            }
            Task::Reset if failed => self.close_server(id, "reset query failed", now),
            Task::Reset => {
                server.session_used = false;
                server.statements.clear();
                server.unnamed = Unnamed::None;
                self.release_server(id, now);
            }
            Task::ConnectQuery if failed => self.login_failed(id, None, "connect query failed", now),
            Task::ConnectQuery => self.server_ready(id, now),
            Task::Check | Task::Rollback => self.close_server(id, "rollback failed", now),
        }
    }

    /// The server has the client's parameters, or refused one.
    fn vars_set(&mut self, id: ServerId, failed: bool, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        let Some(client_id) = server.link else { return self.finish_abandoned(id, now) };
        if failed {
            return self.close_server(id, "invalid server parameter", now);
        }
        let Some(client) = self.clients.get_mut(client_id.0) else { return };
        let changed = client.vars.adopt_spelling(&server.vars);
        client.held = false;
        for (at, old, new) in changed {
            self.log_canonical(client_id, at, &old, &new);
        }
        self.effects.push_back(Effect::Pump(Peer::Client(client_id)));
    }

    /// The shell lost the server: end of file or an error.
    pub fn server_gone(&mut self, id: ServerId, now: Instant) {
        self.lose_server(id, now);
        self.check_invariants();
    }

    pub(super) fn lose_server(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        match server.state {
            ServerState::Login => self.login_failed(id, None, "server conn crashed?", now),
            ServerState::ActiveCancel => self.cancel_over(id, now),
            _ => self.close_server(id, "server conn crashed?", now),
        }
    }

    /// The shell could not connect.
    pub fn server_failed(&mut self, id: ServerId, why: &Unreachable, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        let state = server.state;
        self.log_server_text(id, &why.to_string());
        if state == ServerState::ActiveCancel {
            self.close_server(id, "failed cancel request", now);
        } else {
            self.login_failed(id, None, why.reason(), now);
        }
        self.check_invariants();
    }

    /// No login: remembers the failure, tells the waiters if the server itself refused, tries the next host.
    pub(super) fn login_failed(
        &mut self,
        id: ServerId,
        refusal: Option<ErrorResponse>,
        reason: &str,
        now: Instant,
    ) {
        let Some(server) = self.servers.get(id.0) else { return };
        let pool_id = server.pool;
        let retry = self.config.global.server_login_retry;
        let Some(pool) = self.pools.get_mut(pool_id.0) else { return };
        let hosts = self.databases.get(pool.database.0).map_or(1, |d| d.config.host.len().max(1));
        pool.hosts_failed += 1;
        if pool.hosts_failed >= hosts {
            pool.hosts_failed = 0;
        }
        if self
            .databases
            .get(pool.database.0)
            .is_some_and(|d| d.config.load_balance_hosts == LoadBalance::Disable)
        {
            pool.next_host += 1;
        }
        // A server that is starting up or shutting down (57P03) will be back: waiters keep waiting.
        let tell = refusal.as_ref().is_some_and(|r| r.sqlstate != SqlState::CANNOT_CONNECT_NOW);
        let round_over = pool.hosts_failed == 0;
        let error = refusal.clone().unwrap_or_else(|| violation(reason.to_owned()));
        pool.failure = Some(Failure { at: now, error });
        self.close_server(id, reason, now);
        if let Some(refusal) = refusal
            && tell
            && round_over
            && !self.has_usable_server(pool_id)
        {
            self.expel_waiters(pool_id, &refusal, now);
        }
        self.arm_pool(pool_id, now + retry);
        self.open_if_wanted(pool_id, now);
    }

    /// Ends a server connection, and the session of the client that depends on it; its place is for whoever waits.
    pub(super) fn close_server(&mut self, id: ServerId, reason: &str, now: Instant) {
        let Some(pool) = self.remove_server(id, reason, now) else { return };
        self.open_if_wanted(pool, now);
        self.serve_starved(Duration::ZERO, now);
        self.reply_to_waiting_consoles(now);
    }

    /// Ends a server connection whose place is taken already.
    pub(super) fn remove_server(&mut self, id: ServerId, reason: &str, now: Instant) -> Option<PoolId> {
        self.log_server_closing(id, reason, now);
        let mut server = self.servers.remove(id.0)?;
        server.cut_short |= server.link.and_then(|c| self.clients.get(c.0)).is_some_and(Client::mid_message);
        let pool_id = server.pool;
        if let Some(pool) = self.pools.get_mut(pool_id.0) {
            pool.servers[server.state as usize] -= 1;
            match server.state {
                ServerState::Idle => remove_from(&mut pool.idle, id),
                ServerState::Used => remove_from(&mut pool.used, id),
                _ => {}
            }
            let (database, user) = (pool.database, pool.user);
            if server.state != ServerState::ActiveCancel {
                if let Some(database) = self.databases.get_mut(database.0) {
                    database.servers -= 1;
                }
                if let Some(user) = self.users.get_mut(user.0) {
                    user.servers -= 1;
                }
            }
        }
        self.arm_pool_idle(pool_id, now);
        if may_say_goodbye(&server) {
            self.outbox.write(Peer::Server(id), frontend::terminate);
        }
        self.effects.push_back(Effect::Close(Peer::Server(id)));
        if let Some(run) = &server.cancel {
            self.cancel_ended(run, now);
            self.serve_cancels(pool_id, now);
        }
        if let Some(client) = server.link {
            self.end_session(client, &server, reason, now);
        }
        Some(pool_id)
    }

    /// The client's server is gone, and its session with it.
    fn end_session(&mut self, id: ClientId, server: &Server, reason: &str, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.link = None;
        // It has read the server's own FATAL, and a second one would only hide it; or it is in the middle of a message,
        // where nothing else can be said.
        if server.last_words || server.is_mid_message_to(id) {
            return self.close_client(id, reason, Departure::Expelled, now);
        }
        let error = violation(reason.to_owned());
        self.expel_with(id, &error, now);
    }

    /// All clients that wait in the pool get the error.
    pub(super) fn expel_waiters(&mut self, pool: PoolId, error: &ErrorResponse, now: Instant) {
        for id in self.clients_of(pool, |s| matches!(s, ClientState::Waiting | ClientState::WaitLogin)) {
            self.expel_with(id, error, now);
        }
    }

    /// Ids of a pool's clients in the states asked for.
    pub(super) fn clients_of(&self, pool: PoolId, wanted: impl Fn(ClientState) -> bool) -> Vec<ClientId> {
        let of_pool = self.clients.iter().filter(|(_, c)| c.pool == Some(pool) && wanted(c.state));
        of_pool.map(|(key, _)| ClientId(key)).collect()
    }
}

/// Terminate is said only where the server will read it as a message of its own.
fn may_say_goodbye(server: &Server) -> bool {
    server.login.is_none()
        && server.cancel.is_none()
        && server.state != ServerState::Login
        && !server.last_words
        && !server.cut_short
}
