//! The generic cell rate algorithm (ITU-T I.371): a rate limit that remembers one moment instead of N.
//!
//! Owned by whoever spends the events. With an emission interval T and a tolerance of (B - 1) T, at most B events may
//! come at once and one each T after that. To keep the promise of [`crate::window`], never more than N in any window
//! W, T is W / (N - B + 1): the sustained rate is lower than N / W, which is the price of the small memory. B = 1 costs
//! nothing and is pure spacing.
//!
//! Invariant: `tat`, the theoretical arrival time, never lies more than B * T ahead of the last event.

use std::time::{Duration, Instant};

use crate::window::Rate;

/// The moment at which the next event would be exactly on schedule.
#[derive(Clone, Debug)]
pub struct Gcra {
    rate: Rate,
    tat: Option<Instant>,
    /// The last event, and `tat` before it.
    last: Option<(Instant, Option<Instant>)>,
}

impl Gcra {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, tat: None, last: None }
    }

    /// What is enforced.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Enforces another rate from now on.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Most events at once.
    fn burst(&self) -> u32 {
        match self.rate.burst {
            0 => self.rate.events,
            burst => burst.min(self.rate.events),
        }
    }

    /// T, rounded up: rounding down would let one event too many into a window.
    fn interval(&self) -> Duration {
        let divisor = u128::from(self.rate.events - self.burst() + 1);
        let ns = self.rate.window.as_nanos().div_ceil(divisor);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// The soonest moment, `now` or later, at which one more event may happen.
    #[must_use]
    pub fn next_free(&self, now: Instant) -> Instant {
        if self.rate.is_unlimited() {
            return now;
        }
        let tolerance = self.interval() * (self.burst() - 1);
        self.tat.and_then(|tat| tat.checked_sub(tolerance)).map_or(now, |free| free.max(now))
    }

    /// How long the event at `position` (1 is the next) has to wait, if all before it happen as soon as they may.
    #[must_use]
    pub fn wait(&self, position: usize, now: Instant) -> Duration {
        if self.rate.is_unlimited() || position == 0 {
            return Duration::ZERO;
        }
        let ahead = u32::try_from(position - 1).unwrap_or(u32::MAX);
        let interval = self.interval();
        let tolerance = interval * (self.burst() - 1);
        let behind = self.tat.map_or(Duration::ZERO, |tat| tat.saturating_duration_since(now));
        interval
            .checked_mul(ahead)
            .and_then(|wait| wait.checked_add(behind))
            .map_or(Duration::MAX, |wait| wait.saturating_sub(tolerance))
    }

    /// Notes an event.
    pub fn take(&mut self, now: Instant) {
        if !self.rate.is_unlimited() {
            self.last = Some((now, self.tat));
            let tat = self.tat.map_or(now, |tat| tat.max(now));
            self.tat = Some(tat + self.interval());
        }
    }

    /// Takes back the event that was noted at `at`, because it did not happen after all. Only the last one can be: what
    /// others left of the schedule is not remembered. Returns whether it was.
    pub fn withdraw(&mut self, at: Instant) -> bool {
        match self.last {
            Some((last, before)) if last == at => {
                (self.tat, self.last) = (before, None);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
