//! What the pooler's pressure does to concurrency.
//!
//! Owned by the limiter, fed by [`crate::pressure`]. The worst pool counts. While one is pressured, concurrency is
//! what that pool suggests; while one sheds, less urgent classes are refused as well. Afterwards concurrency grows
//! back by a tenth of the configured one each second, so that what waited outside does not arrive at once.
//!
//! ```text
//!            pressured / shedding            ok, closed, or silent for `stale`       a tenth a second
//! no effect ─────────────────────▶ capped ─────────────────────────────────▶ growing ────────────▶ no effect
//! ```
//! Invariant: there are at most [`POOLS_MAX`] pools.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::policy::PressurePolicy;

/// Most pools that are kept apart.
pub const POOLS_MAX: usize = 256;

/// Share of the configured concurrency that comes back each second.
const GROWTH_PER_S: f64 = 0.1;

/// How hard a pool is pressed, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolState {
    /// Nobody waits long.
    #[default]
    Ok,
    /// Clients wait.
    Pressured,
    /// Clients are refused.
    Shedding,
}

impl PoolState {
    /// As the feed spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pressured => "pressured",
            Self::Shedding => "shedding",
        }
    }

    /// Reads the feed's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Pressured, Self::Shedding].into_iter().find(|state| state.word() == word)
    }
}

/// What the feed says about one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolPressure {
    /// `database/user`.
    pub pool: String,
    /// How hard it is pressed.
    pub state: PoolState,
    /// What a newcomer there has to expect.
    pub expected_wait: Duration,
    /// When to come back.
    pub retry_after: Duration,
    /// How many requests at once make sense; 0 counts as 1.
    pub suggested_concurrency: u32,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: PoolState,
    pub(super) to: PoolState,
}

#[derive(Debug)]
pub(super) struct Pressure {
    policy: PressurePolicy,
    pools: BTreeMap<String, (PoolPressure, Instant)>,
    /// The cap when the last pool became ok, and when that was.
    growing: Option<(u32, Instant)>,
}

impl Pressure {
    pub(super) fn new(policy: PressurePolicy) -> Self {
        Self { policy, pools: BTreeMap::new(), growing: None }
    }

    pub(super) fn set_policy(&mut self, policy: PressurePolicy) {
        self.policy = policy;
        let pools = &self.policy.pools;
        self.pools.retain(|name, _| pools.is_empty() || pools.contains(name));
    }

    /// A line of the feed. `None`: nothing that matters has changed.
    pub(super) fn report(&mut self, report: PoolPressure, now: Instant) -> Option<Change> {
        if !self.policy.pools.is_empty() && !self.policy.pools.contains(&report.pool) {
            return None;
        }
        let before = self.state();
        let cap = self.suggested();
        if report.state == PoolState::Ok {
            self.pools.remove(&report.pool);
        } else if self.pools.len() < POOLS_MAX || self.pools.contains_key(&report.pool) {
            self.pools.insert(report.pool.clone(), (report, now));
        }
        self.settle(before, cap, now)
    }

    /// The feed has ended.
    pub(super) fn lost(&mut self, now: Instant) -> Option<Change> {
        let (before, cap) = (self.state(), self.suggested());
        self.pools.clear();
        self.settle(before, cap, now)
    }

    /// Forgets pools that are not ok and have not been heard of.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Change> {
        let (before, cap) = (self.state(), self.suggested());
        let stale = self.policy.stale;
        self.pools.retain(|_, (_, heard_at)| *heard_at + stale > now);
        self.settle(before, cap, now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pools.values().map(|(_, heard_at)| *heard_at + self.policy.stale).min()
    }

    fn settle(&mut self, before: PoolState, cap: Option<u32>, now: Instant) -> Option<Change> {
        let after = self.state();
        if after != PoolState::Ok {
            self.growing = None;
        } else if let Some(cap) = cap {
            self.growing = Some((cap, now));
        }
        (before != after).then_some(Change { from: before, to: after })
    }

    /// The worst state.
    pub(super) fn state(&self) -> PoolState {
        self.pools.values().map(|(pool, _)| pool.state).max().unwrap_or_default()
    }

    /// The state of one pool.
    pub(super) fn state_of(&self, pool: &str) -> PoolState {
        self.pools.get(pool).map_or(PoolState::Ok, |(pool, _)| pool.state)
    }

    fn suggested(&self) -> Option<u32> {
        self.pools.values().map(|(pool, _)| pool.suggested_concurrency.max(1)).min()
    }

    /// Most requests in flight by the feed, where `max` (0 for none) is the configured cap.
    pub(super) fn cap(&self, max: u32, now: Instant) -> Option<u32> {
        if let Some(suggested) = self.suggested() {
            return Some(suggested);
        }
        let (from, since) = self.growing?;
        let full = if max == 0 { from.saturating_mul(10) } else { max };
        let grown = f64::from(full) * GROWTH_PER_S * now.saturating_duration_since(since).as_secs_f64();
        let cap = from.saturating_add(grown as u32);
        (cap < full).then_some(cap)
    }

    /// Whether the cap grows by itself as time passes.
    pub(super) fn is_growing(&self, max: u32, now: Instant) -> bool {
        self.growing.is_some() && self.cap(max, now).is_some()
    }

    pub(super) fn sheds(&self, class: u8) -> bool {
        class >= self.policy.shed_class && self.state() == PoolState::Shedding
    }

    /// What a newcomer has to expect in the pool.
    pub(super) fn expected_wait(&self) -> Duration {
        self.pools.values().map(|(pool, _)| pool.expected_wait).max().unwrap_or_default()
    }

    pub(super) fn retry_after(&self) -> Duration {
        self.pools.values().map(|(pool, _)| pool.retry_after).max().unwrap_or_default()
    }

    /// Pools of the configuration, which are those with a label of their own.
    pub(super) fn named_pools(&self) -> &[String] {
        &self.policy.pools
    }
}

#[cfg(test)]
mod tests;
