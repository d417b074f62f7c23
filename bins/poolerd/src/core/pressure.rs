//! How hard a pool is pressed, as one row for whoever watches the control socket.
//!
//! Facts only: nothing here changes what the pooler does. A row is worked out when it is asked for; a timer runs only while
//! somebody is to be told of changes.

mod gauge;

use std::time::{Duration, Instant};

pub(super) use gauge::Gauge;

use super::client::ClientState;
use super::effect::Effect;
use super::server::ServerState;
use super::{Core, PoolId, Tick};

/// The interval where `pressure_interval` does not set one.
const INTERVAL: Duration = Duration::from_secs(1);

/// A pool is pressured from this least wait on.
const PRESSURED_WAIT: Duration = Duration::from_millis(50);

/// The states there are yet.
pub(super) const OK: &str = "ok";
const PRESSURED: &str = "pressured";

/// Rates are not worked out from less than this.
const SPAN_MIN: Duration = Duration::from_millis(1);

/// Bounds of the advice when to come back.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=30_000;

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

    /// How long an interval is.
    pub(super) fn pressure_period(&self) -> Duration {
        self.config.global.pressure_interval.unwrap_or(INTERVAL)
    }

    pub(super) fn arm_pressure(&mut self, now: Instant) {
        let wanted = self.watchers > 0 || self.config.global.pressure_interval.is_some();
        if wanted && !self.pressure.armed {
            self.pressure.armed = true;
            self.align_gauges(|_, _| true, now);
            self.timers.schedule(now + self.pressure_period(), Tick::Pressure);
        } else {
            self.align_gauges(|gauge, period| gauge.period() != period, now);
        }
    }

    fn align_gauges(&mut self, wanted: impl Fn(&Gauge, Duration) -> bool, now: Instant) {
        let period = self.pressure_period();
        let gauges = self.pools.iter_mut().map(|(_, pool)| &mut pool.pressure);
        gauges.filter(|gauge| wanted(gauge, period)).for_each(|gauge| gauge.align(period, now));
    }

    pub(super) fn pressure_tick(&mut self, now: Instant) {
        self.pressure.armed = false;
        if self.watchers == 0 && self.config.global.pressure_interval.is_none() {
            return;
        }
        let ids: Vec<PoolId> = self.pools.iter().map(|(key, _)| PoolId(key)).collect();
        for id in ids {
            let mut row = self.pressure_of(id, now);
            let Some(pool) = self.pools.get_mut(id.0) else { continue };
            let changed = std::mem::replace(&mut pool.published, row.state) != row.state;
            if changed || row.state != OK {
                self.pressure.seq += 1;
                row.seq = self.pressure.seq;
                self.effects.push_back(Effect::Publish(Box::new(row)));
            }
        }
        self.pressure.armed = true;
        self.timers.schedule(now + self.pressure_period(), Tick::Pressure);
    }

    pub(super) fn pressure_of(&self, id: PoolId, now: Instant) -> Pressure {
        let Some(pool) = self.pools.get(id.0) else { return Pressure::none() };
        let (seen, span) = pool.pressure.reading(now);
        let waiting = pool.waiting();
        let least = match seen.least_wait {
            Some(least) => least,
            None if waiting > 0 => self.oldest_wait(id, now),
            None => Duration::ZERO,
        };
        let hold_us = (seen.held.as_micros() as u64).checked_div(seen.transactions).unwrap_or(0);
        let servers = pool.size().max(1);
        let expected_ms = u64::from(waiting) * hold_us / u64::from(servers) / 1000;
        let free = pool.server_count(ServerState::Idle) + pool.server_count(ServerState::Used);
        let limit = pool.policy.size;
        // Not while the next one to come would have a server opened for it.
        let full = waiting > 0 || limit > 0 && pool.size() >= limit;
        let starved = full && free == 0 && !seen.free && span >= pool.pressure.period();
        let names = (self.databases.get(pool.database.0), self.users.get(pool.user.0));
        Pressure {
            seq: self.pressure.seq,
            pool: match names {
                (Some(database), Some(user)) => format!("{}/{}", database.name, user.name),
                _ => String::new(),
            },
            state: if least >= PRESSURED_WAIT || starved { PRESSURED } else { OK },
            waiting,
            min_wait_ms: least.as_millis() as u64,
            expected_wait_ms: expected_ms,
            sv_active: pool.server_count(ServerState::Active),
            sv_idle: free,
            limit,
            limit_effective: limit,
            rejected_per_s: 0.0,
            goodput_per_s: seen.transactions as f64 / span.max(SPAN_MIN).as_secs_f64(),
            retry_ratio: 0.0,
            retry_after_ms: expected_ms.clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end()),
            suggested_concurrency: if limit > 0 { limit } else { servers },
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

impl Pressure {
    fn none() -> Self {
        Pressure {
            seq: 0,
            pool: String::new(),
            state: OK,
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
