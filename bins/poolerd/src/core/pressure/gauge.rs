//! What a pool has seen in the last interval, at any moment and without a timer of its own.
//!
//! Owned by its pool. Time is cut into windows as long as the interval; what happens counts in the current one, and the
//! one before is kept, so a reading always covers at least one whole interval and is never older than two.
//!
//! ```text
//!      last_since        since          now
//!  ────────┼───────────────┼─────────────┼──▶
//!          └──── last ─────┴── current ──┘       a reading is both
//! ```

use std::time::{Duration, Instant};

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) struct Window {
    /// The least that a client waited that was given a server.
    pub(in crate::core) least_wait: Option<Duration>,
    /// Transactions that ended.
    pub(in crate::core) transactions: u64,
    /// Time their clients had servers for; what they waited before is no part of it.
    pub(in crate::core) held: Duration,
    /// A server was there that nobody waited for.
    pub(in crate::core) free: bool,
}

impl Window {
    fn and(self, later: Self) -> Self {
        Window {
            least_wait: self.least_wait.into_iter().chain(later.least_wait).min(),
            transactions: self.transactions + later.transactions,
            held: self.held + later.held,
            free: self.free || later.free,
        }
    }
}

/// The windows of one pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Gauge {
    last_since: Instant,
    last: Window,
    since: Instant,
    current: Window,
    period: Duration,
}

impl Gauge {
    pub(in crate::core) fn new(period: Duration, now: Instant) -> Self {
        let (last, current) = (Window::default(), Window::default());
        Gauge { last_since: now, last, since: now, current, period }
    }

    /// A client was given a server after this wait.
    #[inline]
    pub(in crate::core) fn assigned(&mut self, waited: Duration, now: Instant) {
        self.roll(now);
        self.current.least_wait = Some(self.current.least_wait.map_or(waited, |least| least.min(waited)));
        self.current.free |= waited.is_zero();
    }

    /// A transaction has ended for which a server was held this long.
    #[inline]
    pub(in crate::core) fn ended(&mut self, held: Duration, now: Instant) {
        self.roll(now);
        self.current.transactions += 1;
        self.current.held += held;
    }

    /// A server has become free and nobody waits for it.
    #[inline]
    pub(in crate::core) fn freed(&mut self, now: Instant) {
        self.roll(now);
        self.current.free = true;
    }

    /// Begins a window now, and makes windows this long from now on; nothing that was seen is lost.
    pub(in crate::core) fn align(&mut self, period: Duration, now: Instant) {
        self.roll(now);
        self.last = self.last.and(self.current);
        self.current = Window::default();
        self.since = now;
        self.period = period;
    }

    /// How long windows are.
    pub(in crate::core) fn period(&self) -> Duration {
        self.period
    }

    /// What was seen of late, and in how long a time.
    pub(in crate::core) fn reading(&self, now: Instant) -> (Window, Duration) {
        let mut gauge = *self;
        gauge.roll(now);
        (gauge.last.and(gauge.current), now.saturating_duration_since(gauge.last_since))
    }

    #[inline]
    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < self.period {
            return;
        }
        let windows = elapsed.as_nanos() / self.period.as_nanos().max(1);
        let into = elapsed.as_nanos() % self.period.as_nanos().max(1);
        let since = now.checked_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(0))).unwrap_or(now);
        // After a longer silence, the window before this one is an empty one.
        (self.last, self.last_since) = match windows {
            1 => (self.current, self.since),
            _ => (Window::default(), since.checked_sub(self.period).unwrap_or(self.since)),
        };
        self.current = Window::default();
        self.since = since;
    }
}

#[cfg(test)]
mod tests;
