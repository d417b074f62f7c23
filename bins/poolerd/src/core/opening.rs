//! When a pool opens one more server, and whose place that one takes.
//!
//! Servers are opened on demand, one login at a time per pool, and only while somebody waits (or `min_pool_size` asks for
//! it). Limits are looked at in this order: the pool's size and its reserve, then those of the database and of the user.
//! Before one of the last two the free server that was of no use for longest elsewhere is evicted; if there is none, the
//! pool is *starved* until a server is released or closed anywhere.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_wire::pg::error::ErrorResponse;

use super::client::ClientState;
use super::effect::{Effect, Endpoint};
use super::log::{Event, Level};
use super::pool::Pool;
use super::server::{Server, ServerState};
use super::{Core, PoolId, ServerId};
use crate::config::Host;

/// Why a server is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Somebody waits.
    Waiter,
    /// `min_pool_size`.
    Minimum,
}

impl Core {
    /// Opens a server, or checks one, if somebody waits and nothing stands in the way.
    pub(super) fn open_if_wanted(&mut self, pool_id: PoolId, now: Instant) {
        let Some(pool) = self.pools.get(pool_id.0) else { return };
        if pool.waiting() == 0 || !self.is_runnable(pool_id) || self.shutting_down() {
            return;
        }
        if pool.client_count(ClientState::Waiting) == 0 && pool.welcome.is_some() {
            return;
        }
        if pool.server_count(ServerState::Login) > 0
            || pool.server_count(ServerState::Tested) > 0
            || !pool.idle.is_empty()
        {
            return;
        }
        if let Some(&id) = pool.used.back() {
            return self.check_server(id, now);
        }
        self.open_server(pool_id, Demand::Waiter, now);
    }

    /// Opens one server connection if the limits allow it.
    pub(super) fn open_server(&mut self, pool_id: PoolId, demand: Demand, now: Instant) {
        let retry = self.config.global.server_login_retry;
        let Some(pool) = self.pools.get(pool_id.0) else { return };
        let (size, reserve) = (pool.policy.size, pool.policy.reserve_size);
        if pool.server_count(ServerState::Login) > 0 {
            return;
        }
        if let Some(failure) = &pool.failure
            && pool.hosts_failed == 0
            && now.saturating_duration_since(failure.at) < retry
        {
            let at = failure.at + retry;
            return self.arm_pool(pool_id, at);
        }
        if size > 0 && pool.size() >= size {
            if demand != Demand::Waiter || pool.size() >= size + reserve {
                return;
            }
            // The reserve opens when the first in the queue has waited long enough; 0 keeps it shut.
            let Some(patience) = self.config.global.reserve_pool_timeout else { return };
            let Some(since) =
                self.first_waiter(pool_id).and_then(|c| self.clients.get(c.0)).and_then(|c| c.waiting_since)
            else {
                return;
            };
            if now.saturating_duration_since(since) < patience {
                return self.arm_pool(pool_id, since + patience);
            }
            self.log_pool(Level::Log, Event::ReservePool, pool_id, "taking connection from reserve_pool");
        }
        let Some(pool) = self.pools.get(pool_id.0) else { return };
        let (database, user) = (pool.database, pool.user);
        let (database_limit, user_limit) = (pool.policy.database_servers, pool.policy.user_servers);
        let full = |limit: u32, count: u32| limit > 0 && count >= limit;
        let database_full = full(database_limit, self.databases.get(database.0).map_or(0, |d| d.servers));
        let user_full = full(user_limit, self.users.get(user.0).map_or(0, |u| u.servers));
        if database_full || user_full {
            // Nobody loses a server for the sake of a minimum, or for one limit while the other stays shut.
            let of_database = self.longest_idle(|pool| pool.database == database);
            let of_user = self.longest_idle(|pool| pool.user == user);
            if demand != Demand::Waiter
                || database_full && of_database.is_none()
                || user_full && of_user.is_none()
            {
                if demand == Demand::Waiter && !self.starved.contains(&pool_id) {
                    self.starved.push(pool_id);
                }
                return;
            }
            let victims = [of_database.filter(|_| database_full), of_user.filter(|_| user_full)];
            self.evict(&victims, now);
        }
        self.connect_server(pool_id, now);
    }

    /// Lets pools that stand before a limit they share with others try again, the one with the oldest waiter first;
    /// only those with a waiter of at least that age.
    pub(super) fn serve_starved(&mut self, age: Duration, now: Instant) {
        if self.starved.is_empty() {
            return;
        }
        let pools = std::mem::take(&mut self.starved);
        let mut starved: Vec<(Duration, PoolId)> =
            pools.into_iter().map(|pool| (self.oldest_wait(pool, now), pool)).collect();
        starved.sort_by_key(|&(wait, _)| std::cmp::Reverse(wait));
        for (wait, pool) in starved {
            if wait >= age {
                self.open_if_wanted(pool, now);
            } else {
                self.starved.push(pool);
            }
        }
    }

    /// The free server that has been of no use for longest in the pools that share a limit.
    fn longest_idle(&self, shares: impl Fn(&Pool) -> bool) -> Option<ServerId> {
        let candidates = self.pools.iter().filter(|(_, pool)| shares(pool));
        candidates
            .flat_map(|(_, pool)| pool.idle.iter().chain(&pool.used))
            .filter_map(|&id| self.servers.get(id.0).map(|s| (s.since, id)))
            .min_by_key(|&(since, _)| since)
            .map(|(_, id)| id)
    }

    fn evict(&mut self, victims: &[Option<ServerId>], now: Instant) {
        for &victim in victims.iter().flatten() {
            let pool = self.remove_server(victim, "evicted", now);
            if let Some(pool) = pool.filter(|p| self.pools.get(p.0).is_some_and(|p| p.waiting() > 0)) {
                self.starved.push(pool);
            }
        }
    }

    fn connect_server(&mut self, pool_id: PoolId, now: Instant) {
        let Some(endpoint) = self.next_endpoint(pool_id) else { return };
        let server = Server::new(self, pool_id, Rc::clone(&endpoint), now);
        let id = ServerId(self.servers.insert(server));
        if let Some(pool) = self.pools.get_mut(pool_id.0) {
            pool.servers[ServerState::Login as usize] += 1;
            let (database, user) = (pool.database, pool.user);
            if let Some(database) = self.databases.get_mut(database.0) {
                database.servers += 1;
            }
            if let Some(user) = self.users.get_mut(user.0) {
                user.servers += 1;
            }
        }
        self.arm_server(id, now);
        self.effects.push_back(Effect::Connect { server: id, to: endpoint });
    }

    fn next_endpoint(&mut self, pool_id: PoolId) -> Option<Rc<Endpoint>> {
        let pool = self.pools.get_mut(pool_id.0)?;
        let config = &self.databases.get(pool.database.0)?.config;
        let count = config.host.len();
        let host = if count == 0 {
            Host::Unix(self.config.global.unix_socket_dir.clone())
        } else {
            config.host[pool.next_host % count].clone()
        };
        if count > 1 && config.load_balance_hosts == crate::config::LoadBalance::RoundRobin {
            pool.next_host = (pool.next_host + 1) % count;
        }
        Some(Rc::new(Endpoint { host, port: config.port }))
    }

    /// Has the pool a server that a client may get some day? One that is marked will be closed instead.
    pub(super) fn has_usable_server(&self, pool_id: PoolId) -> bool {
        let connected = |s: &Server| s.state != ServerState::Login && s.cancel.is_none();
        self.servers.iter().any(|(_, s)| s.pool == pool_id && connected(s) && !s.close_needed)
    }

    /// The error to answer at once, while the pool has no server and the last attempt to get one failed a moment ago,
    /// on every host.
    pub(super) fn recent_failure(&self, pool_id: PoolId, now: Instant) -> Option<ErrorResponse> {
        let pool = self.pools.get(pool_id.0)?;
        let failure = pool.failure.as_ref()?;
        let recent = now.saturating_duration_since(failure.at) < self.config.global.server_login_retry;
        if !recent || pool.hosts_failed > 0 || self.has_usable_server(pool_id) {
            return None;
        }
        let cached = &failure.error.message;
        let text = format!("server login has been failing, cached error: {cached} (server_login_retry)");
        Some(ErrorResponse { message: text.into(), ..failure.error.clone() })
    }
}
