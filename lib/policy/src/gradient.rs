//! A limit on concurrency that follows latency: lower it when answers take longer than they would without a queue.
//!
//! Owned by whoever admits. Samples are gathered in rounds of at least [`ROUND`] with [`SAMPLES`] of them, or
//! [`ROUND_MAX`]. After each round the gradient g = 1.5 * least / mean, within 0.5 to 1, says how far latency is from
//! its least; the new limit is g * L + sqrt(L), of which a fifth is taken over. The square root is the queue that is
//! wanted: without it nobody would notice that more is possible. The least is measured anew every [`PROBE_EVERY`], with
//! the limit at its lower bound, from requests dispatched after that began: the service may have become slower for good.
//!
//! ```text
//!            PROBE_EVERY                       one round of samples from requests
//! following ────────────▶ probing (limit low) ─────────────────────────────────────▶ following
//! ```
//!
//! Invariant: the limit stays within its bounds.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// A round is no shorter than this,
pub const ROUND: Duration = Duration::from_millis(100);
/// and has as many samples,
pub const SAMPLES: u32 = 50;
/// or lasts this long.
pub const ROUND_MAX: Duration = Duration::from_secs(1);
/// How often the least latency is measured anew.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);

/// How much slower than the least an answer may be before it counts as queueing.
const TOLERANCE: f64 = 1.5;
/// Share of each new limit that is taken over.
const SMOOTHING: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// The least latency is being measured, from requests dispatched since.
    Probing { since: Instant },
    /// The limit follows latency until it is measured anew.
    Following { least: Duration, until: Instant },
}

#[derive(Clone, Debug)]
struct Round {
    since: Instant,
    samples: u32,
    sum: Duration,
    least: Duration,
    /// Most requests in flight in the round.
    in_flight: u32,
}

impl Round {
    fn new(now: Instant) -> Self {
        Self { since: now, samples: 0, sum: Duration::ZERO, least: Duration::MAX, in_flight: 0 }
    }

    fn is_over(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        self.samples > 0 && (age >= ROUND_MAX || age >= ROUND && self.samples >= SAMPLES)
    }
}

/// The limit, and what it follows.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
    bounds: RangeInclusive<f64>,
    state: State,
    round: Round,
}

impl Gradient {
    /// A limit between these bounds, which begins at the lower one, to see how fast the service is.
    #[must_use]
    pub fn new(least: u32, most: u32, now: Instant) -> Self {
        let bounds = f64::from(least.min(most))..=f64::from(most);
        Self { limit: *bounds.end(), bounds, state: State::Probing { since: now }, round: Round::new(now) }
    }

    /// How many may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match self.state {
            State::Probing { .. } => *self.bounds.start() as u32,
            State::Following { .. } => self.limit as u32,
        }
    }

    /// An answer that took `latency` has come, with so many in flight before it.
    pub fn sample(&mut self, latency: Duration, in_flight: u32, now: Instant) {
        if let State::Probing { since } = self.state
            && now.checked_sub(latency).is_none_or(|dispatched| dispatched < since)
        {
            return;
        }
        let round = &mut self.round;
        round.samples += 1;
        round.sum += latency;
        round.least = round.least.min(latency);
        round.in_flight = round.in_flight.max(in_flight);
        if !self.round.is_over(now) {
            return;
        }
        let round = std::mem::replace(&mut self.round, Round::new(now));
        match self.state {
            State::Probing { .. } => {
                self.state = State::Following { least: round.least, until: now + PROBE_EVERY };
            }
            State::Following { until, .. } if until <= now => self.state = State::Probing { since: now },
            State::Following { least, .. } => self.follow(least, &round),
        }
    }

    fn follow(&mut self, least: Duration, round: &Round) {
        let mean = round.sum.as_secs_f64() / f64::from(round.samples);
        let gradient = (TOLERANCE * least.as_secs_f64() / mean.max(f64::MIN_POSITIVE)).clamp(0.5, 1.0);
        let wanted = gradient * self.limit + self.limit.sqrt();
        let next = self.limit + SMOOTHING * (wanted - self.limit);
        let used = f64::from(round.in_flight) > self.limit / 2.0;
        if next < self.limit || used {
            self.limit = next.clamp(*self.bounds.start(), *self.bounds.end());
        }
    }
}

#[cfg(test)]
mod tests;
