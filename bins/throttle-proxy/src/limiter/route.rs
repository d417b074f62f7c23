//! The state of one route: its rate, its queue, what is in flight, how fast the service is.
//!
//! Owned by the limiter, which knows what holds for all routes together.

use std::time::{Duration, Instant};

use sluice_policy::histogram::Histogram;
use sluice_policy::window::Rate;

use super::adaptive::Adaptive;
use super::lease::Lease;
use super::meter::{Keyed, Meter};
use super::policy::{CLASSES, Policy, RoutePolicy, SharedMode};
use super::queue::Queue;
use super::saturation::Saturation;

/// Weight of a new sample in the mean service time.
const MEAN_WEIGHT: f64 = 1.0 / 16.0;

#[derive(Debug)]
pub(super) struct Route {
    pub(super) policy: RoutePolicy,
    pub(super) meter: Meter,
    pub(super) queue: Queue,
    /// GETs of one key, on a staged route.
    pub(super) stage: Option<Keyed>,
    pub(super) in_flight: u32,
    pub(super) adaptive: Adaptive,
    /// What is shared with other instances.
    pub(super) lease: Option<Lease>,
    pub(super) service: Service,
    /// When the rate last held somebody back: whoever came before that has waited for the rate.
    pub(super) rate_held_at: Option<Instant>,
    /// The next release that has waited for the rate comes no sooner.
    pub(super) paced_until: Option<Instant>,
    pub(super) saturation: Saturation,
    /// The limit on concurrency that was told last, and when.
    pub(super) told_limit: Option<(u32, Instant)>,
    pub(super) counts: Counts,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) abandoned: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    pub(super) lease_errors: u64,
}

/// How long the service takes, from dispatch to the end of the content.
#[derive(Debug, Default)]
pub(super) struct Service {
    times: Histogram,
    mean_s: Option<f64>,
}

impl Service {
    pub(super) fn record(&mut self, time: Duration) {
        self.times.record(time);
        let time_s = time.as_secs_f64();
        self.mean_s = Some(self.mean_s.map_or(time_s, |mean| mean + MEAN_WEIGHT * (time_s - mean)));
    }

    /// Zero while nothing is known.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.mean_s.unwrap_or(0.0))
    }

    /// Zero while nothing is known.
    pub(super) fn median(&self) -> Duration {
        self.times.median().unwrap_or_default()
    }
}

impl Route {
    pub(super) fn new(policy: RoutePolicy, whole: &Policy, now: Instant) -> Self {
        let stage = policy.stage_delay.map(|delay| staged(&policy, delay, whole.keys_max));
        Self {
            meter: Meter::new(policy.rate, policy.algorithm),
            queue: Queue::new(policy.queue_order, policy.codel_interval, policy.codel_target),
            stage,
            in_flight: 0,
            adaptive: Adaptive::new(&policy, now),
            lease: lease(&policy, whole),
            service: Service::default(),
            rate_held_at: None,
            paced_until: None,
            saturation: Saturation::default(),
            told_limit: None,
            counts: Counts::default(),
            policy,
        }
    }

    /// Takes on other numbers; what has happened is not forgotten.
    pub(super) fn set_policy(&mut self, policy: RoutePolicy, whole: &Policy, now: Instant) {
        self.meter.set_rate(policy.rate);
        self.queue.set(policy.queue_order, policy.codel_interval, policy.codel_target);
        match (&mut self.stage, policy.stage_delay) {
            (Some(stage), Some(delay)) => stage.set(Rate::new(1, delay), whole.keys_max),
            (stage, delay) => *stage = delay.map(|delay| staged(&policy, delay, whole.keys_max)),
        }
        let concurrency = |policy: &RoutePolicy| (policy.adaptive, policy.adaptive_min, policy.max_in_flight);
        if concurrency(&policy) != concurrency(&self.policy) {
            self.adaptive = Adaptive::new(&policy, now);
        }
        match (&mut self.lease, lease(&policy, whole)) {
            (Some(running), Some(next)) => running.set(next),
            (running, next) => *running = next,
        }
        self.policy = policy;
    }

    /// Most requests in flight, as far as this route decides: `max_in_flight` and what it has adapted to.
    pub(super) fn own_limit(&self) -> u32 {
        let fixed = if self.policy.max_in_flight == 0 { u32::MAX } else { self.policy.max_in_flight };
        self.adaptive.limit().map_or(fixed, |adapted| adapted.min(fixed))
    }

    /// The least spacing of releases that waited for the rate.
    pub(super) fn pace(&self) -> Duration {
        self.policy.retry_delay.min(self.policy.rate.spacing())
    }

    /// Longest wait that still leaves the client time for its answer.
    pub(super) fn permitted_wait(&self, patience: Duration) -> Duration {
        self.policy.queue_max_wait.min(patience.saturating_sub(self.service.median()))
    }

    /// Lengths of the queue by class.
    pub(super) fn queued_by_class(&self) -> [usize; CLASSES] {
        std::array::from_fn(|class| self.queue.len_of_class(class as u8))
    }
}

fn staged(policy: &RoutePolicy, delay: Duration, keys_max: usize) -> Keyed {
    Keyed::new(Rate::new(1, delay), policy.algorithm, keys_max)
}

fn lease(policy: &RoutePolicy, whole: &Policy) -> Option<Lease> {
    let shared = whole.shared.mode != SharedMode::Off && !policy.rate.is_unlimited();
    shared.then(|| Lease::new(policy.rate, whole.shared))
}
