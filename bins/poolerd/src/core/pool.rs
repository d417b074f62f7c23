//! Pools: who waits, which server is free. When one more is opened is in `opening`.
//!
//! A pool is one (database, server user). Waiters stand in a queue in which a place is never searched for: a client
//! that leaves merely takes back its ticket. Newcomers never pass waiters.
//!
//! Invariant: while a pool is not paused, a waiter means that no server is idle, and that a server is being opened
//! or checked, a limit is reached, or the last attempt failed a moment ago.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_wire::pg::error::ErrorResponse;
use sluice_wire::pg::scram::Derived;

use super::cancel::QueuedCancel;
use super::client::{CLIENT_STATES, ClientState};
use super::effect::{Effect, Peer};
use super::server::{SERVER_STATES, ServerState, Task};
use super::stats::Stats;
use super::{ClientId, Core, DatabaseId, PoolId, ServerId, Tick, UserId};
use crate::config::PoolMode;

/// A pool without a server before a limit that others exhaust gets one of theirs when its waiter is this old, even if
/// they have waiters too. Derivation: far above what a login costs, so that servers are not opened for one query each,
/// and far below any `query_wait_timeout`.
const STARVED: Duration = Duration::from_secs(1);

/// What a client is greeted with, taken from the pool's latest server login.
#[derive(Debug)]
pub(super) struct Welcome {
    /// ParameterStatus messages of parameters that are not tracked, as on the wire.
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// The tracked ones.
    pub(super) vars: super::vars::Vars,
}

/// The latest failure to get a server.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) at: Instant,
    /// What the server said, or what became of the attempt.
    pub(super) error: ErrorResponse,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) database: DatabaseId,
    /// The user of its servers.
    pub(super) user: UserId,
    pub(super) policy: Policy,
    pub(super) clients: [u32; CLIENT_STATES],
    pub(super) servers: [u32; SERVER_STATES],
    pub(super) idle: VecDeque<ServerId>,
    pub(super) used: VecDeque<ServerId>,
    queue: VecDeque<(ClientId, u64)>,
    last_ticket: u64,
    /// Cancel requests of clients that wait for room.
    pub(super) cancels: VecDeque<QueuedCancel>,
    pub(super) failure: Option<Failure>,
    /// Which of the database's hosts is next.
    pub(super) next_host: usize,
    /// Hosts tried since the last success, so that a round over all of them waits only once.
    pub(super) hosts_failed: usize,
    pub(super) welcome: Option<Rc<Welcome>>,
    pub(super) stats: Stats,
    pub(super) pressure: super::pressure::Gauge,
    /// The state that watchers know of.
    pub(super) published: &'static str,
    /// When the last client or server left.
    pub(super) unused_since: Instant,
    /// Derived from the database's own password at an earlier login.
    pub(super) scram_keys: Option<Derived>,
    pub(super) last_lifetime_close: Option<Instant>,
    /// The log has been told that LISTEN does not work here.
    pub(super) warned_listen: bool,
    /// Most servers it may still have after a reload made it smaller.
    pub(super) largest_size: u32,
    pub(super) timer: Option<Instant>,
}

impl Pool {
    pub(super) fn new(
        database: DatabaseId,
        user: UserId,
        policy: Policy,
        pressure: super::pressure::Gauge,
        now: Instant,
    ) -> Self {
        Pool {
            database,
            user,
            policy,
            clients: [0; CLIENT_STATES],
            servers: [0; SERVER_STATES],
            idle: VecDeque::new(),
            used: VecDeque::new(),
            queue: VecDeque::new(),
            last_ticket: 0,
            cancels: VecDeque::new(),
            failure: None,
            next_host: 0,
            hosts_failed: 0,
            welcome: None,
            stats: Stats::default(),
            pressure,
            published: super::pressure::OK,
            unused_since: now,
            scram_keys: None,
            last_lifetime_close: None,
            warned_listen: false,
            largest_size: 0,
            timer: None,
        }
    }

    pub(super) fn client_count(&self, state: ClientState) -> u32 {
        self.clients[state as usize]
    }

    pub(super) fn server_count(&self, state: ServerState) -> u32 {
        self.servers[state as usize]
    }

    /// Clients that want a server: with a request, or for their greeting.
    pub(super) fn waiting(&self) -> u32 {
        self.client_count(ClientState::Waiting) + self.client_count(ClientState::WaitLogin)
    }

    /// Server connections that count towards `pool_size`.
    pub(super) fn size(&self) -> u32 {
        self.servers.iter().sum::<u32>() - self.server_count(ServerState::ActiveCancel)
    }

    pub(super) fn all_clients(&self) -> u32 {
        self.clients.iter().sum()
    }

    /// Has it neither clients nor servers?
    pub(super) fn is_unused(&self) -> bool {
        self.all_clients() == 0 && self.servers.iter().all(|&count| count == 0)
    }

    /// The queue, oldest first, abandoned places left out.
    pub(super) fn waiters<'a>(&'a self, core: &'a Core) -> impl Iterator<Item = ClientId> + 'a {
        self.queue.iter().filter(|&&(id, ticket)| core.holds_ticket(id, ticket)).map(|&(id, _)| id)
    }
}

/// The settings of one pool, resolved: user before database before global.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) mode: PoolMode,
    /// 0: no limit, as for all counts here.
    pub(super) size: u32,
    pub(super) min_size: u32,
    pub(super) reserve_size: u32,
    pub(super) database_servers: u32,
    pub(super) user_servers: u32,
    pub(super) lifetime: Duration,
    pub(super) query_wait_timeout: Option<Duration>,
    pub(super) query_timeout: Option<Duration>,
    pub(super) idle_transaction_timeout: Option<Duration>,
    pub(super) transaction_timeout: Option<Duration>,
    pub(super) client_idle_timeout: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            mode: PoolMode::Session,
            size: 0,
            min_size: 0,
            reserve_size: 0,
            database_servers: 0,
            user_servers: 0,
            lifetime: Duration::MAX,
            query_wait_timeout: None,
            query_timeout: None,
            idle_transaction_timeout: None,
            transaction_timeout: None,
            client_idle_timeout: None,
        }
    }
}

impl Core {
    #[inline]
    fn holds_ticket(&self, id: ClientId, ticket: u64) -> bool {
        self.clients.get(id.0).is_some_and(|c| c.ticket == ticket)
    }

    /// A request has begun: links the client to a server now, or puts it into the queue.
    pub(super) fn acquire(&mut self, id: ClientId, now: Instant) -> Acquired {
        let Some(pool_id) = self.clients.get(id.0).and_then(|c| c.pool) else { return Acquired::Gone };
        if self.is_runnable(pool_id)
            && self.pools.get(pool_id.0).is_some_and(|p| p.client_count(ClientState::Waiting) == 0)
            && let Some(server) = self.find_idle_server(pool_id, now)
        {
            self.link(id, server, now);
            return Acquired::Linked;
        }
        if self.shutting_down() {
            self.expel(id, "server shutting down", now);
            return Acquired::Gone;
        }
        if let Some(error) = self.recent_failure(pool_id, now) {
            self.expel_with(id, &error, now);
            return Acquired::Gone;
        }
        self.enqueue(id, ClientState::Waiting, now);
        self.open_if_wanted(pool_id, now);
        Acquired::Queued
    }

    /// May this pool hand out servers?
    pub(super) fn is_runnable(&self, pool_id: PoolId) -> bool {
        let Some(pool) = self.pools.get(pool_id.0) else { return false };
        !self.is_paused() && self.databases.get(pool.database.0).is_some_and(|d| !d.paused)
    }

    /// Joins the queue at its end.
    pub(super) fn enqueue(&mut self, id: ClientId, state: ClientState, now: Instant) {
        self.change_client_state(id, state);
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.waiting_since = Some(now);
        client.notified = false;
        if state == ClientState::Waiting
            && let Some(pool) = client.pool.and_then(|p| self.pools.get_mut(p.0))
        {
            pool.last_ticket += 1;
            client.ticket = pool.last_ticket;
            // Abandoned places are dropped when they outnumber the others, so the queue stays as long as the crowd.
            if pool.queue.len() > 2 * pool.client_count(ClientState::Waiting) as usize + 16 {
                let clients = &self.clients;
                pool.queue.retain(|&(id, ticket)| clients.get(id.0).is_some_and(|c| c.ticket == ticket));
            }
            let ticket = pool.last_ticket;
            pool.queue.push_back((id, ticket));
        }
        self.arm_client(id, now);
    }

    /// The top of the idle list, past servers that should no longer be used.
    fn find_idle_server(&mut self, pool_id: PoolId, now: Instant) -> Option<ServerId> {
        loop {
            let pool = self.pools.get(pool_id.0)?;
            let Some(&id) = pool.idle.back() else { break };
            let server = self.servers.get(id.0)?;
            if server.close_needed {
                self.close_server(id, "obsolete connection", now);
                continue;
            }
            if self.check_is_due(id, now) {
                self.change_server_state(id, ServerState::Used, now);
                continue;
            }
            return Some(id);
        }
        None
    }

    fn check_is_due(&self, id: ServerId, now: Instant) -> bool {
        let global = &self.config.global;
        if matches!(global.server_check_query, crate::config::CheckQuery::None) {
            return false;
        }
        let idle = self.servers.get(id.0).map(|s| now.saturating_duration_since(s.since));
        idle.is_some_and(|idle| idle > global.server_check_delay)
    }

    /// Joins a waiting or idle client with an idle server.
    pub(super) fn link(&mut self, client_id: ClientId, server_id: ServerId, now: Instant) {
        self.change_server_state(server_id, ServerState::Active, now);
        self.change_client_state(client_id, ClientState::Active);
        let (Some(client), Some(server)) =
            (self.clients.get_mut(client_id.0), self.servers.get_mut(server_id.0))
        else {
            return;
        };
        client.link = Some(server_id);
        client.ticket = 0;
        server.link = Some(client_id);
        server.epoch += 1;
        server.request_at = now;
        server.last_reply_at = now;
        let waited = client.waiting_since.take().map(|since| now.saturating_duration_since(since));
        if let Some(pool) = self.pools.get_mut(server.pool.0) {
            server.session_used |= pool.policy.mode == PoolMode::Session;
            pool.stats.now.server_assignments += 1;
            pool.pressure.assigned(waited.unwrap_or_default(), now);
            if let Some(waited) = waited {
                pool.stats.now.wait_us += waited.as_micros() as u64;
            }
        }
        if client.vars.differ_from(&server.vars) {
            let mut sql = Vec::new();
            client.vars.write_sets(&server.vars, &self.tracked, &mut sql);
            client.held = true;
            self.log_apply(client_id, &sql);
            self.run_task(server_id, Task::SetVars, &sql, now);
        }
        self.arm_server(server_id, now);
        self.arm_client(client_id, now);
    }

    /// Takes the client off its server: the server owes it nothing any more.
    pub(super) fn unlink(&mut self, client_id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(client_id.0) else { return };
        let Some(server_id) = client.link.take() else { return };
        client.unnamed_batch = u64::MAX;
        client.held = false;
        client.transaction_since = None;
        client.query_since = None;
        client.request_at = now;
        if let Some(server) = self.servers.get_mut(server_id.0) {
            server.link = None;
        }
        if self.clients.get(client_id.0).is_some_and(|c| c.state == ClientState::Active) {
            self.change_client_state(client_id, ClientState::Idle);
        }
        self.arm_client(client_id, now);
    }

    /// A clean server without a client: closes, cleans, checks or reuses it.
    pub(super) fn release_server(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        debug_assert!(server.is_clean() && server.link.is_none(), "only a clean server is released");
        server.task = Task::None;
        let (pool_id, cancels, close_needed) = (server.pool, server.cancels, server.close_needed);
        if self.lifetime_is_over(id, now) {
            self.note_lifetime_close(pool_id, now);
            return self.close_server(id, "server lifetime over", now);
        }
        if close_needed {
            return self.close_server(id, "obsolete connection", now);
        }
        if self.has_database_paused(pool_id) {
            return self.close_server(id, "pause mode", now);
        }
        if cancels > 0 {
            return self.change_server_state(id, ServerState::BeingCanceled, now);
        }
        if self.servers_over_size(pool_id) {
            return self.close_server(id, "too many servers in the pool", now);
        }
        self.change_server_state(id, ServerState::Idle, now);
        self.arm_server(id, now);
        if !self.starved.is_empty() {
            let own = self.oldest_wait(pool_id, now);
            self.serve_starved(STARVED.max(own + Duration::from_nanos(1)), now);
        }
        self.serve_waiters(pool_id, now);
        self.serve_starved(Duration::ZERO, now);
        self.reply_to_waiting_consoles(now);
    }

    /// Gives idle servers to the clients that have waited longest.
    pub(super) fn serve_waiters(&mut self, pool_id: PoolId, now: Instant) {
        while self.is_runnable(pool_id) {
            let Some(client) = self.first_waiter(pool_id) else { break };
            let Some(server) = self.find_idle_server(pool_id, now) else { break };
            if let Some(pool) = self.pools.get_mut(pool_id.0) {
                pool.queue.pop_front();
            }
            self.link(client, server, now);
            self.effects.push_back(Effect::Pump(Peer::Client(client)));
        }
        if let Some(pool) = self.pools.get_mut(pool_id.0).filter(|pool| !pool.idle.is_empty()) {
            pool.pressure.freed(now);
        }
        self.open_if_wanted(pool_id, now);
    }

    /// The first client still in the queue; abandoned places before it are dropped.
    pub(super) fn first_waiter(&mut self, pool_id: PoolId) -> Option<ClientId> {
        let pool = self.pools.get_mut(pool_id.0)?;
        while let Some(&(id, ticket)) = pool.queue.front() {
            if self.clients.get(id.0).is_some_and(|c| c.ticket == ticket) {
                return Some(id);
            }
            pool.queue.pop_front();
        }
        None
    }

    fn servers_over_size(&self, pool_id: PoolId) -> bool {
        let Some(pool) = self.pools.get(pool_id.0) else { return false };
        pool.policy.size > 0 && pool.size() > pool.policy.size + pool.policy.reserve_size
    }

    /// Schedules a look at the pool.
    pub(super) fn arm_pool(&mut self, id: PoolId, at: Instant) {
        let Some(pool) = self.pools.get_mut(id.0) else { return };
        if pool.timer.is_none_or(|armed| at < armed) {
            pool.timer = Some(at);
            self.timers.schedule(at, Tick::Pool(id));
        }
    }

    fn has_database_paused(&self, pool_id: PoolId) -> bool {
        self.pools.get(pool_id.0).is_some_and(|_| !self.is_runnable(pool_id))
    }

    fn lifetime_is_over(&self, id: ServerId, now: Instant) -> bool {
        let Some(server) = self.servers.get(id.0) else { return false };
        let lifetime = self.pools.get(server.pool.0).map_or(Duration::MAX, |p| p.policy.lifetime);
        if lifetime == Duration::ZERO {
            // Each is used once; one that was never used has that ahead of it.
            return server.epoch > 0;
        }
        now.saturating_duration_since(server.connected_at) >= lifetime
            && self.lifetime_close_is_due(server.pool, now)
    }
}

/// What became of a request for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquired {
    /// Go on (unless the client is held for its SETs).
    Linked,
    /// In the queue.
    Queued,
    /// Refused and closed.
    Gone,
}
