//! How long a newcomer would wait, and when a refused one should come back.
//!
//! The position in line is worth a time by each of four reasons, and the greatest counts: the rate, concurrency, the
//! pace of releases, and what the pooler expects. It is an estimate; a deadline is the truth.

use std::time::{Duration, Instant};

use sluice_gateway::code::Code;
use sluice_gateway::gate::Refusal;

use super::Limiter;
use super::entry::Entry;

/// The longest advice when to come back.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// What a newcomer has to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// By what all share.
    pub(super) shared: Duration,
    /// By limits of its own keys.
    pub(super) own: Duration,
}

impl Expected {
    pub(super) fn longest(self) -> Duration {
        self.shared.max(self.own)
    }
}

impl Limiter {
    /// What `entry` would have to wait if it came now.
    pub(super) fn expected(&mut self, entry: &Entry, now: Instant) -> Expected {
        let at = usize::from(entry.route.0);
        let route = &self.routes[at];
        let position = 1 + route.queue.ahead_of(entry.class, entry.key, now);
        let shared = self.shared_wait(at, position, now);
        let mut own = Duration::ZERO;
        self.each_key(entry, |limit, key| own = own.max(limit.newcomer_wait(key, now)));
        Expected { shared, own }
    }

    /// What the request at `position` (1 is the next) of a route has to wait by what all share.
    pub(super) fn shared_wait(&self, at: usize, position: usize, now: Instant) -> Duration {
        let route = &self.routes[at];
        let rate = route.meter.wait(position, now);
        let pace = if rate.is_zero() { Duration::ZERO } else { times(route.pace(), position) };
        let lease = route.lease.as_ref().map_or(Duration::ZERO, |lease| lease.wait(now));
        let alone = rate.max(pace).max(lease);
        alone.max(self.concurrency_wait(at, position, now)).max(self.pressure.expected_wait())
    }

    /// When L is full, L places become free in each service time.
    fn concurrency_wait(&self, at: usize, position: usize, now: Instant) -> Duration {
        let route = &self.routes[at];
        let mean = route.service.mean();
        let wait = |in_flight: u32, limit: u32, position: usize| {
            if in_flight < limit { Duration::ZERO } else { times(mean, position) / limit.max(1) }
        };
        let elsewhere = self.queued - route.queue.len();
        let limit = self.limit_of(sluice_gateway::gate::RouteId(at as u16), now);
        wait(route.in_flight, limit, position).max(wait(
            self.in_flight,
            self.limit_of_all(now),
            position + elsewhere,
        ))
    }

    /// A refusal of a request, to be counted and told.
    pub(super) fn refusal(
        &mut self,
        entry: &Entry,
        code: Code,
        expected: Duration,
        permitted: Duration,
        now: Instant,
    ) -> Refusal {
        let at = usize::from(entry.route.0);
        self.routes[at].saturation.refused(code, now);
        let policy = &self.routes[at].policy;
        let least = policy.retry_after_min.max(policy.retry_delay).max(self.pressure.retry_after());
        let retry_after = expected.saturating_sub(permitted).max(least).min(RETRY_AFTER_MAX);
        let mut fields = Vec::new();
        self.ratelimit_fields(entry, now, &mut fields);
        Refusal { code, retry_after: Some(retry_after), fields }
    }
}

/// `count` times `duration`, as long as there is a number for it.
fn times(duration: Duration, count: usize) -> Duration {
    duration.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
