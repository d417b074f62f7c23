//! What happens because time has passed.
//!
//! Each connection and pool knows the soonest timer it has pending. A timer is a hint: when it fires the owner's
//! real deadline is worked out anew, so that a deadline that moved on costs nothing until then. One that was overtaken
//! by a sooner one ends when it fires, so that timers do not gather.

use std::time::{Duration, Instant};

use sluice_wire::pg::backend::TransactionStatus;
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::sqlstate::SqlState;

use super::client::{ClientState, Departure};
use super::effect::Peer;
use super::log::{Event, Level};
use super::opening::Demand;
use super::pool::{Policy, Pool};
use super::server::{ServerState, Task};
use super::{ClientId, Core, DatabaseId, PoolId, ServerId, Tick};
use crate::config::CheckQuery;

/// A deadline and what it means for a client.
struct ClientDeadline {
    at: Instant,
    text: &'static str,
}

impl Core {
    /// Time has passed: acts on every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(tick) = self.timers.expired(now) {
            match tick {
                Tick::Client(id) => self.client_tick(id, now),
                Tick::Server(id) => self.server_tick(id, now),
                Tick::Pool(id) => self.pool_tick(id, now),
                Tick::Database(id) => self.database_tick(id, now),
                Tick::Stats => self.stats_tick(now),
                Tick::Pressure => self.pressure_tick(now),
            }
        }
        self.check_invariants();
    }

    /// Makes sure that a timer fires by the client's next deadline.
    pub(super) fn arm_client(&mut self, id: ClientId, now: Instant) {
        let Some(deadline) = self.client_deadline(id) else { return };
        let notify = self.notify_at(id);
        let at = notify.map_or(deadline.at, |n| n.min(deadline.at)).max(now);
        let Some(client) = self.clients.get_mut(id.0) else { return };
        if client.timer.is_none_or(|armed| at < armed) {
            client.timer = Some(at);
            self.timers.schedule(at, Tick::Client(id));
        }
    }

    /// When a client that still waits is told so.
    fn notify_at(&self, id: ClientId) -> Option<Instant> {
        let client = self.clients.get(id.0)?;
        let after = self.config.global.query_wait_notify?;
        if client.state != ClientState::Waiting || client.notified {
            return None;
        }
        client.waiting_since.map(|since| since + after)
    }

    fn client_deadline(&self, id: ClientId) -> Option<ClientDeadline> {
        let client = self.clients.get(id.0)?;
        let policy = client.pool.and_then(|p| self.pools.get(p.0)).map(|p| &p.policy);
        let global = &self.config.global;
        let after = |since: Option<Instant>, wait: Option<Duration>, text| {
            Some(ClientDeadline { at: since?.checked_add(wait?)?, text })
        };
        let query = || after(client.query_since, policy?.query_timeout, "query_timeout");
        let candidates = match client.state {
            ClientState::Login => [
                after(Some(client.connected_at), global.client_login_timeout, "client_login_timeout"),
                None,
                None,
            ],
            ClientState::WaitLogin => {
                let text = "client_login_timeout (server down)";
                [
                    after(Some(client.connected_at), global.client_login_timeout, text),
                    after(
                        client.waiting_since,
                        policy.and_then(|p| p.query_wait_timeout),
                        "query_wait_timeout",
                    ),
                    after(client.waiting_since, policy.and_then(|p| p.query_timeout), "query_timeout"),
                ]
            }
            ClientState::Waiting => [
                after(client.waiting_since, policy.and_then(|p| p.query_wait_timeout), "query_wait_timeout"),
                query(),
                None,
            ],
            ClientState::Idle => [
                after(
                    Some(client.request_at),
                    policy.and_then(|p| p.client_idle_timeout),
                    "client_idle_timeout",
                ),
                None,
                None,
            ],
            ClientState::Active => [query(), None, None],
            ClientState::WaitCancel | ClientState::ActiveCancel => [
                after(Some(client.connected_at), global.cancel_wait_timeout, "cancel_wait_timeout"),
                None,
                None,
            ],
            ClientState::Console | ClientState::ConsoleWait => [None, None, None],
        };
        candidates.into_iter().flatten().min_by_key(|d| d.at)
    }

    fn client_tick(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).filter(|c| c.timer.is_some_and(|at| at <= now)) else {
            return;
        };
        client.timer = None;
        if self.notify_at(id).is_some_and(|at| at <= now) {
            self.notify_queued(id);
        }
        match self.client_deadline(id) {
            Some(deadline) if deadline.at <= now => self.client_expired(id, deadline.text, now),
            Some(_) => self.arm_client(id, now),
            None => {}
        }
    }

    fn notify_queued(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.notified = true;
        let text = "No server connection available in postgres backend, client being queued";
        let notice = ErrorResponse::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, text);
        self.outbox.write(Peer::Client(id), |out| notice.write_notice(out));
    }

    fn client_expired(&mut self, id: ClientId, text: &'static str, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        match (client.state, client.link) {
            (ClientState::WaitCancel | ClientState::ActiveCancel, _) => {
                self.close_client(id, text, Departure::Expelled, now);
            }
            // As in PgBouncer, the running query's server goes with it, by another text; ours is cancelled and kept.
            (ClientState::Active, Some(_)) => {
                let text = if text == "query_timeout" { "query timeout" } else { text };
                self.expel(id, text, now);
            }
            _ => self.expel(id, text, now),
        }
    }

    /// Makes sure that a timer fires by the server's next deadline.
    pub(super) fn arm_server(&mut self, id: ServerId, now: Instant) {
        let Some((at, _)) = self.server_deadline(id) else { return };
        let at = at.max(now);
        let Some(server) = self.servers.get_mut(id.0) else { return };
        if server.timer.is_none_or(|armed| at < armed) {
            server.timer = Some(at);
            self.timers.schedule(at, Tick::Server(id));
        }
    }

    fn server_deadline(&self, id: ServerId) -> Option<(Instant, &'static str)> {
        let server = self.servers.get(id.0)?;
        let policy = self.pools.get(server.pool.0).map(|p| &p.policy)?;
        let global = &self.config.global;
        let after = |since: Instant, wait: Option<Duration>, text| Some((since.checked_add(wait?)?, text));
        let candidates = match server.state {
            ServerState::Login => {
                [after(server.connected_at, global.server_connect_timeout, "connect timeout"), None]
            }
            // Ours to end: a server that cannot even answer these is worth nothing.
            ServerState::Tested => {
                [after(server.since, global.server_connect_timeout, "connect timeout"), None]
            }
            ServerState::Idle | ServerState::Used => {
                let lifetime = Some(policy.lifetime).filter(|l| *l != Duration::ZERO);
                let lifetime = after(server.connected_at, lifetime, "server lifetime over")
                    .map(|(at, text)| (at.max(self.next_lifetime_close(server.pool).unwrap_or(at)), text));
                // As in PgBouncer those of min_pool_size stay, clients or not.
                let spare = self.pools.get(server.pool.0).is_some_and(|p| p.size() > p.policy.min_size);
                let idle = global.server_idle_timeout.filter(|_| spare);
                [after(server.since, idle, "server idle timeout"), lifetime]
            }
            ServerState::ActiveCancel => {
                [after(server.connected_at, global.cancel_wait_timeout, "cancel_wait_timeout"), None]
            }
            ServerState::Active if server.task != Task::None => {
                [after(server.since, global.server_connect_timeout, "connect timeout"), None]
            }
            // Nobody waits for it any more, so nobody else would ever notice that it is stuck.
            ServerState::Active if server.link.is_none() => {
                let left = server.left?;
                let wait = if left.cancelled { global.cancel_wait_timeout } else { policy.query_timeout };
                [after(left.at, wait, "client disconnected with query in progress"), None]
            }
            ServerState::Active => {
                let client = server.link.and_then(|c| self.clients.get(c.0));
                let idle = server.outstanding.is_empty() && server.status != TransactionStatus::Idle;
                let idle_limit = policy.idle_transaction_timeout.filter(|_| idle);
                let transaction = client.and_then(|c| c.transaction_since);
                [
                    after(server.last_reply_at, idle_limit, "idle transaction timeout"),
                    transaction.and_then(|t| after(t, policy.transaction_timeout, "transaction timeout")),
                ]
            }
            ServerState::BeingCanceled => [None, None],
        };
        candidates.into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    fn server_tick(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0).filter(|s| s.timer.is_some_and(|at| at <= now)) else {
            return;
        };
        server.timer = None;
        let (state, link, pool) = (server.state, server.link, server.pool);
        match self.server_deadline(id) {
            Some((at, text)) if at <= now => match (state, link) {
                (ServerState::Login, _) => self.login_failed(id, None, text, now),
                (ServerState::Active, Some(client))
                    if self.servers.get(id.0).is_some_and(|s| s.task == Task::None) =>
                {
                    self.expel(client, text, now);
                }
                _ => {
                    if text == "server lifetime over" {
                        self.note_lifetime_close(pool, now);
                    }
                    self.close_server(id, text, now);
                    self.keep_minimum(pool, now);
                }
            },
            Some(_) => self.arm_server(id, now),
            None => {}
        }
    }

    /// Closes for age are spread over the lifetime, or a pool that was opened at once would close at once.
    pub(super) fn lifetime_close_is_due(&self, pool: PoolId, now: Instant) -> bool {
        self.next_lifetime_close(pool).is_none_or(|at| at <= now)
    }

    fn next_lifetime_close(&self, pool: PoolId) -> Option<Instant> {
        let pool = self.pools.get(pool.0)?;
        let spacing = pool.policy.lifetime.checked_div(pool.policy.size.max(1))?;
        pool.last_lifetime_close?.checked_add(spacing)
    }

    pub(super) fn note_lifetime_close(&mut self, pool: PoolId, now: Instant) {
        if let Some(pool) = self.pools.get_mut(pool.0) {
            pool.last_lifetime_close = Some(now);
        }
    }

    /// Runs `server_check_query` on a server that has been idle for long.
    pub(super) fn check_server(&mut self, id: ServerId, now: Instant) {
        let sql = match &self.config.global.server_check_query {
            CheckQuery::None => return self.change_server_state(id, ServerState::Idle, now),
            CheckQuery::Empty => String::new(),
            CheckQuery::Sql(sql) => sql.clone(),
        };
        self.change_server_state(id, ServerState::Tested, now);
        self.run_task(id, Task::Check, sql.as_bytes(), now);
    }

    fn pool_tick(&mut self, id: PoolId, now: Instant) {
        let Some(pool) = self.pools.get_mut(id.0).filter(|p| p.timer.is_some_and(|at| at <= now)) else {
            return;
        };
        pool.timer = None;
        self.open_if_wanted(id, now);
        self.keep_minimum(id, now);
        let Some(limit) = self.config.global.pool_idle_timeout else { return };
        // One with a minimum to keep is not done with, even while no server can be had.
        let forgettable = |pool: &&Pool| pool.is_unused() && self.minimum(pool) == 0;
        let Some(pool) = self.pools.get(id.0).filter(forgettable) else { return };
        let age = now.saturating_duration_since(pool.unused_since);
        if age >= limit {
            self.log_idle_pool(id, age);
            self.drop_pool(id, "pool idle timeout", now);
        } else {
            let at = pool.unused_since + limit;
            self.arm_pool(id, at);
        }
    }

    /// A client or a server has left the pool: `pool_idle_timeout` may begin.
    pub(super) fn arm_pool_idle(&mut self, id: PoolId, now: Instant) {
        let Some(pool) = self.pools.get_mut(id.0).filter(|pool| pool.is_unused()) else { return };
        pool.unused_since = now;
        if let Some(limit) = self.config.global.pool_idle_timeout {
            self.arm_pool(id, now + limit);
        }
    }

    /// Has the pool looked at soon, if it has a minimum to keep.
    pub(super) fn arm_min_pool(&mut self, id: PoolId, now: Instant) {
        if self.pools.get(id.0).is_some_and(|p| p.policy.min_size > 0) {
            self.arm_pool(id, now);
        }
    }

    /// Opens one server of those `min_pool_size` asks for; the next follows when that one is ready.
    pub(super) fn keep_minimum(&mut self, id: PoolId, now: Instant) {
        let Some(pool) = self.pools.get(id.0) else { return };
        if pool.size() < self.minimum(pool) && self.is_runnable(id) && !self.shutting_down() {
            self.open_server(id, Demand::Minimum, now);
        }
    }

    /// Servers a pool opens ahead of demand: `min_pool_size`, while it has clients or a user of its own.
    fn minimum(&self, pool: &Pool) -> u32 {
        let Policy { size, min_size, .. } = pool.policy;
        let forced = || self.databases.get(pool.database.0).is_some_and(|d| d.config.user.is_some());
        match min_size {
            0 => 0,
            _ if pool.all_clients() == 0 && !forced() => 0,
            _ if size > 0 => min_size.min(size),
            _ => min_size,
        }
    }

    pub(super) fn arm_database_idle(&mut self, id: DatabaseId, now: Instant) {
        let Some(limit) = self.config.global.autodb_idle_timeout else { return };
        if self.databases.get(id.0).is_some_and(|d| d.auto) {
            self.timers.schedule(now + limit, Tick::Database(id));
        }
    }

    fn database_tick(&mut self, id: DatabaseId, now: Instant) {
        let Some(limit) = self.config.global.autodb_idle_timeout else { return };
        let Some(database) = self.databases.get(id.0) else { return };
        let since = database.empty_since.unwrap_or(now);
        if database.clients == 0 && now.saturating_duration_since(since) >= limit {
            let text = format!(
                "dropping database '{}' as it does not exist anymore or inactive auto-database",
                database.name
            );
            self.log_plain(Level::Log, Event::DropDatabase, &text);
            self.drop_database(id, now);
        } else {
            self.timers.schedule(since.max(now - limit) + limit, Tick::Database(id));
        }
    }

    /// Forgets a pool and its statistics.
    pub(super) fn drop_pool(&mut self, id: PoolId, reason: &str, now: Instant) {
        let queued =
            self.pools.get_mut(id.0).map(|pool| std::mem::take(&mut pool.cancels)).unwrap_or_default();
        for cancel in queued {
            self.close_client(cancel.asker, "failed cancel request", Departure::Expelled, now);
        }
        for server in self.servers_of(id) {
            self.close_server(server, reason, now);
        }
        if let Some(pool) = self.pools.remove(id.0) {
            self.pool_names.remove(&(pool.database, pool.user));
        }
    }

    /// Ends everything of a database and forgets it.
    pub(super) fn drop_database(&mut self, id: DatabaseId, now: Instant) {
        let reason = "database configuration changed";
        let clients: Vec<ClientId> = self
            .clients
            .iter()
            .filter(|(_, c)| c.database == Some(id))
            .map(|(key, _)| ClientId(key))
            .collect();
        for client in clients {
            self.expel(client, reason, now);
        }
        let pools: Vec<PoolId> =
            self.pools.iter().filter(|(_, p)| p.database == id).map(|(key, _)| PoolId(key)).collect();
        for pool in pools {
            self.drop_pool(pool, reason, now);
        }
        if let Some(database) = self.databases.remove(id.0) {
            self.database_names.remove(&database.name);
        }
    }

    pub(super) fn servers_of(&self, pool: PoolId) -> Vec<ServerId> {
        let of_pool = self.servers.iter().filter(|(_, s)| s.pool == pool);
        of_pool.map(|(key, _)| ServerId(key)).collect()
    }
}

#[cfg(test)]
mod tests;
