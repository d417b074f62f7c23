//! A limit on concurrency that grows by one and shrinks by a share: additive increase, multiplicative decrease.
//!
//! Owned by whoever admits. One more after as many good answers as the limit allows at once; a tenth less after a bad
//! one, at most once a service time, since all that was in flight then fails for the same reason. It grows only while
//! it is used: an idle service proves nothing.
//!
//! Invariant: the limit stays within its bounds.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What is left of the limit after a bad answer.
const DECREASE: f64 = 0.9;

/// The limit, and when it was last lowered.
#[derive(Clone, Debug)]
pub struct Aimd {
    limit: f64,
    bounds: RangeInclusive<f64>,
    lowered_at: Option<Instant>,
}

impl Aimd {
    /// A limit between these bounds, which begins at the upper one.
    #[must_use]
    pub fn new(least: u32, most: u32) -> Self {
        let bounds = f64::from(least.min(most))..=f64::from(most);
        Self { limit: *bounds.end(), bounds, lowered_at: None }
    }

    /// How many may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// An answer was good, with so many in flight before it.
    pub fn good(&mut self, in_flight: u32) {
        if f64::from(in_flight) > self.limit / 2.0 {
            self.limit = (self.limit + 1.0 / self.limit.max(1.0)).min(*self.bounds.end());
        }
    }

    /// An answer was bad; `service_time` is what one usually takes.
    pub fn bad(&mut self, service_time: Duration, now: Instant) {
        if self.lowered_at.is_none_or(|at| at + service_time <= now) {
            self.limit = (self.limit * DECREASE).max(*self.bounds.start());
            self.lowered_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
