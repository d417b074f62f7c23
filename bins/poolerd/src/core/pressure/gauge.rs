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
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_reading_covers_one_to_two_intervals() {
        let start = Instant::now();
        let mut gauge = Gauge::new(SECOND, start);
        gauge.ended(millis(10), start + millis(100));
        gauge.ended(millis(30), start + millis(999));
        gauge.ended(millis(50), start + millis(1000));
        let at = |at| {
            let (window, span) = gauge.reading(start + millis(at));
            (window.transactions, window.held, span)
        };
        assert_eq!(at(1000), (3, millis(90), SECOND));
        assert_eq!(at(1999), (3, millis(90), millis(1999)));
        assert_eq!(at(2000), (1, millis(50), SECOND));
        assert_eq!(at(2999), (1, millis(50), millis(1999)));
        assert_eq!(at(3000), (0, Duration::ZERO, SECOND));
        assert_eq!(at(3_600_500), (0, Duration::ZERO, millis(1500)), "nothing is remembered for ever");
    }

    #[test]
    fn the_least_wait_and_a_free_server_are_of_either_window() {
        let start = Instant::now();
        let mut gauge = Gauge::new(SECOND, start);
        gauge.assigned(millis(70), start);
        gauge.assigned(millis(60), start + millis(1500));
        let (window, _) = gauge.reading(start + millis(1500));
        assert_eq!((window.least_wait, window.free), (Some(millis(60)), false));
        gauge.assigned(Duration::ZERO, start + millis(1600));
        assert!(gauge.reading(start + millis(2999)).0.free);
        assert!(!gauge.reading(start + millis(3000)).0.free);
        gauge.freed(start + millis(3000));
        assert!(gauge.reading(start + millis(3000)).0.free);
    }

    #[test]
    fn a_new_period_loses_nothing() {
        let start = Instant::now();
        let mut gauge = Gauge::new(SECOND, start);
        gauge.ended(millis(10), start + millis(100));
        gauge.align(millis(100), start + millis(1200));
        assert_eq!(gauge.period(), millis(100));
        let (window, span) = gauge.reading(start + millis(1200));
        assert_eq!((window.transactions, span), (1, millis(1200)));
        let (window, span) = gauge.reading(start + millis(1300));
        assert_eq!((window.transactions, span), (0, millis(100)));
    }
}
