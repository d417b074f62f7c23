//! How hard a pool is pressed, as one row for whoever watches the control socket.
//!
//! Facts only: nothing here changes what the pooler does.

use std::time::{Duration, Instant};

use super::client::ClientState;
use super::effect::Effect;
use super::server::ServerState;
use super::{Core, PoolId, Tick};

/// Interval of rows while somebody watches and `pressure_interval` is not set.
const WATCHED_INTERVAL: Duration = Duration::from_secs(1);

/// A pool is pressured from this least wait on.
const PRESSURED_WAIT: Duration = Duration::from_millis(50);

/// Bounds of the advice when to come back.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=30_000;

/// What one pool has seen in the current interval.
#[derive(Debug)]
pub(super) struct Gauge {
    since: Instant,
    assigned: u64,
    least_wait: Option<Duration>,
    transactions_before: u64,
    /// Time clients had servers for, of the transactions that ended; what they waited before is no part of it.
    held: Duration,
    state: &'static str,
}

impl Gauge {
    pub(super) fn new(now: Instant) -> Self {
        Gauge {
            since: now,
            assigned: 0,
            least_wait: None,
            transactions_before: 0,
            held: Duration::ZERO,
            state: "ok",
        }
    }

    /// A client was given a server after this wait.
    #[inline]
    pub(super) fn assigned(&mut self, waited: Duration) {
        self.assigned += 1;
        self.least_wait = Some(self.least_wait.map_or(waited, |least| least.min(waited)));
    }

    /// A transaction has ended for which a server was held this long.
    #[inline]
    pub(super) fn ended(&mut self, held: Duration) {
        self.held += held;
    }
}

/// Whether rows are being made.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    seq: u64,
    armed: bool,
}

/// One row. Rates are per second; `pool` is `database/user`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pressure {
    /// Counts rows, so that a reader sees what it missed.
    pub seq: u64,
    /// `database/user`.
    pub pool: String,
    /// `ok`, `pressured` or `shedding`.
    pub state: &'static str,
    /// Clients in the queue.
    pub waiting: u32,
    /// Least wait of the interval, in milliseconds.
    pub min_wait_ms: u64,
    /// What a newcomer has to expect, in milliseconds.
    pub expected_wait_ms: u64,
    /// Servers at work.
    pub sv_active: u32,
    /// Servers free.
    pub sv_idle: u32,
    /// `pool_size`; 0 for no limit.
    pub limit: u32,
    /// The limit in force.
    pub limit_effective: u32,
    /// Requests refused.
    pub rejected_per_s: f64,
    /// Transactions completed.
    pub goodput_per_s: f64,
    /// Share of requests that repeat refused ones.
    pub retry_ratio: f64,
    /// When a refused caller may come back, in milliseconds.
    pub retry_after_ms: u64,
    /// How many requests at once make sense.
    pub suggested_concurrency: u32,
}

impl Core {
    /// Somebody watches the control socket, or no longer does.
    pub fn set_watchers(&mut self, count: usize, now: Instant) {
        self.watchers = count;
        self.arm_pressure(now);
    }

    /// The rows as of now, for a new watcher.
    #[must_use]
    pub fn pressure(&self, now: Instant) -> Vec<Pressure> {
        self.pools.iter().map(|(key, _)| self.pressure_of(PoolId(key), now)).collect()
    }

    fn pressure_period(&self) -> Option<Duration> {
        self.config.global.pressure_interval.or((self.watchers > 0).then_some(WATCHED_INTERVAL))
    }

    pub(super) fn arm_pressure(&mut self, now: Instant) {
        let Some(period) = self.pressure_period().filter(|_| !self.pressure.armed) else { return };
        self.pressure.armed = true;
        for (_, pool) in self.pools.iter_mut() {
            reset(pool, now);
        }
        self.timers.schedule(now + period, Tick::Pressure);
    }

    pub(super) fn pressure_tick(&mut self, now: Instant) {
        self.pressure.armed = false;
        let ids: Vec<PoolId> = self.pools.iter().map(|(key, _)| PoolId(key)).collect();
        for id in ids {
            let mut row = self.pressure_of(id, now);
            let Some(pool) = self.pools.get_mut(id.0) else { continue };
            let changed = std::mem::replace(&mut pool.pressure.state, row.state) != row.state;
            if changed || row.state != "ok" {
                self.pressure.seq += 1;
                row.seq = self.pressure.seq;
                self.effects.push_back(Effect::Publish(Box::new(row)));
            }
            reset(pool, now);
        }
        self.arm_pressure(now);
    }

    pub(super) fn pressure_of(&self, id: PoolId, now: Instant) -> Pressure {
        let Some(pool) = self.pools.get(id.0) else { return Pressure::none() };
        let gauge = &pool.pressure;
        let period = now.saturating_duration_since(gauge.since).max(Duration::from_millis(1));
        let waiting = pool.waiting();
        let oldest = self.oldest_wait(id, now);
        let least = match gauge.least_wait {
            Some(least) => least,
            None if waiting > 0 => oldest,
            None => Duration::ZERO,
        };
        let transactions = pool.stats.now.transactions.saturating_sub(gauge.transactions_before);
        let hold_us = (gauge.held.as_micros() as u64).checked_div(transactions).unwrap_or(0);
        let servers = pool.size().max(1);
        let expected_ms = u64::from(waiting) * hold_us / u64::from(servers) / 1000;
        let free = pool.server_count(ServerState::Idle) + pool.server_count(ServerState::Used);
        let starved = waiting > 0 && free == 0 && oldest >= period;
        let limit = pool.policy.size;
        let names = (self.databases.get(pool.database.0), self.users.get(pool.user.0));
        Pressure {
            seq: self.pressure.seq,
            pool: match names {
                (Some(database), Some(user)) => format!("{}/{}", database.name, user.name),
                _ => String::new(),
            },
            state: if least >= PRESSURED_WAIT || starved { "pressured" } else { "ok" },
            waiting,
            min_wait_ms: least.as_millis() as u64,
            expected_wait_ms: expected_ms,
            sv_active: pool.server_count(ServerState::Active),
            sv_idle: free,
            limit,
            limit_effective: limit,
            rejected_per_s: 0.0,
            goodput_per_s: transactions as f64 / period.as_secs_f64(),
            retry_ratio: 0.0,
            retry_after_ms: expected_ms.clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end()),
            suggested_concurrency: if limit > 0 { limit } else { pool.size().max(1) },
        }
    }

    /// How long the first in the queue has waited.
    pub(super) fn oldest_wait(&self, id: PoolId, now: Instant) -> Duration {
        let Some(pool) = self.pools.get(id.0) else { return Duration::ZERO };
        let queued =
            pool.waiters(self).next().and_then(|c| self.clients.get(c.0)).and_then(|c| c.waiting_since);
        let login = if pool.client_count(ClientState::WaitLogin) > 0 {
            self.clients
                .iter()
                .filter(|(_, c)| c.pool == Some(id) && c.state == ClientState::WaitLogin)
                .filter_map(|(_, c)| c.waiting_since)
                .min()
        } else {
            None
        };
        let since = queued.into_iter().chain(login).min();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

fn reset(pool: &mut super::pool::Pool, now: Instant) {
    pool.pressure = Gauge {
        transactions_before: pool.stats.now.transactions,
        state: pool.pressure.state,
        ..Gauge::new(now)
    };
}

impl Pressure {
    fn none() -> Self {
        Pressure {
            seq: 0,
            pool: String::new(),
            state: "ok",
            waiting: 0,
            min_wait_ms: 0,
            expected_wait_ms: 0,
            sv_active: 0,
            sv_idle: 0,
            limit: 0,
            limit_effective: 0,
            rejected_per_s: 0.0,
            goodput_per_s: 0.0,
            retry_ratio: 0.0,
            retry_after_ms: 0,
            suggested_concurrency: 0,
        }
    }
}
