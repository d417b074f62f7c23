//! A sliding log: never more than N events in any window of length W, whatever its phase.
//!
//! Owned by whoever spends the events. The log keeps the moments of the last N events; one more may happen at `t` if
//! fewer than N of them lie in `(t - W, t]`. A counter that is reset at fixed moments lets 2 N through around such a
//! moment; a log does not. `burst` adds a second, shorter window: fewer than B in `(t - W * B / N, t]`, which spreads
//! the N over the window.
//!
//! Invariants: moments are in order; there are never more than N of them. Older ones need not be remembered: when the
//! N-th newer event happened, they had left the window for good.
//!
//! ```text
//!     log:   x    x  x         x        N = 4, W = |---------|
//!  ----------+----+--+---------+------------------------------> t
//!            |---------|  the next may happen here: log[len - N] + W
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many events, in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Most events in any window; 0 for no limit.
    pub events: u32,
    /// Length of the window.
    pub window: Duration,
    /// Most events in any `window * burst / events`; 0, or as many as `events`, for no further limit.
    pub burst: u32,
}

impl Rate {
    /// `events` in `window`, all at once if they come so.
    #[must_use]
    pub const fn new(events: u32, window: Duration) -> Self {
        Self { events, window, burst: 0 }
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.events == 0
    }

    /// The average distance of events at full rate; zero without a limit.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        self.window.checked_div(self.events).unwrap_or_default()
    }

    /// The events and the length of the shorter window, if there is one.
    fn short(&self) -> Option<(usize, Duration)> {
        let shorter = self.burst > 0 && self.burst < self.events;
        shorter.then(|| (self.burst as usize, scaled(self.window, self.burst, self.events)))
    }
}

/// `window * part / whole`, rounded up: rounding down would let one event too many into a window.
fn scaled(window: Duration, part: u32, whole: u32) -> Duration {
    let ns = (window.as_nanos() * u128::from(part)).div_ceil(u128::from(whole.max(1)));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// The moments of past events, and when the next may happen.
#[derive(Clone, Debug)]
pub struct Window {
    rate: Rate,
    log: VecDeque<Instant>,
}

impl Window {
    /// An empty log.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, log: VecDeque::new() }
    }

    /// What is enforced.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Enforces another rate from now on, over the events that are still remembered.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
        self.trim();
    }

    /// The soonest moment, `now` or later, at which one more event may happen.
    #[must_use]
    pub fn next_free(&self, now: Instant) -> Instant {
        if self.rate.is_unlimited() {
            return now;
        }
        let long = self.leaves(self.rate.events as usize, self.rate.window);
        let short = self.rate.short().and_then(|(events, window)| self.leaves(events, window));
        [long, short].into_iter().flatten().fold(now, Instant::max)
    }

    /// When the event that blocks the next one leaves its window.
    fn leaves(&self, events: usize, window: Duration) -> Option<Instant> {
        let at = self.log.len().checked_sub(events)?;
        self.log.get(at).map(|event| *event + window)
    }

    /// How long the event at `position` (1 is the next) has to wait, if all before it happen as soon as they may.
    ///
    /// With n events in the window, the first N - n may happen now, the k-th after those when the k-th event of the
    /// window leaves it, and each further N cost one more window. The shorter window of a burst is not looked at: it
    /// spreads events within the window and hardly moves the last of many.
    #[must_use]
    pub fn wait(&self, position: usize, now: Instant) -> Duration {
        let events = self.rate.events as usize;
        if events == 0 || position == 0 {
            return Duration::ZERO;
        }
        let live = self.live(now);
        let free = events - live.min(events);
        if position <= free {
            return self.next_free(now).saturating_duration_since(now);
        }
        // What leaves the window makes room for the same number again, one window later.
        let beyond = position - free - 1;
        let (rounds, place) = (beyond / events, beyond % events);
        let first = match self.log.get(self.log.len() - live + place) {
            Some(event) => (*event + self.rate.window).saturating_duration_since(now),
            // Its slot is one of those that were free now, and comes back a window from now.
            None => self.rate.window,
        };
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        self.rate.window.checked_mul(rounds).and_then(|more| first.checked_add(more)).unwrap_or(Duration::MAX)
    }

    /// Notes an event. Whoever asked [`Window::next_free`] first keeps the promise of this type.
    pub fn take(&mut self, now: Instant) {
        if self.rate.is_unlimited() {
            return;
        }
        self.log.push_back(now);
        self.trim();
    }

    /// Takes back the event that was noted at `at`, because it did not happen after all. Returns whether it was there.
    pub fn withdraw(&mut self, at: Instant) -> bool {
        let found = self.log.iter().rposition(|event| *event == at);
        if let Some(found) = found {
            self.log.remove(found);
        }
        found.is_some()
    }

    /// Events in `(now - W, now]`.
    #[must_use]
    pub fn live(&self, now: Instant) -> usize {
        self.log.len() - self.log.partition_point(|event| *event + self.rate.window <= now)
    }

    fn trim(&mut self) {
        let excess = self.log.len().saturating_sub(self.rate.events as usize);
        self.log.drain(..excess);
    }
}

#[cfg(test)]
mod tests;
