//! Concurrency that follows what the service shows, by one of two policies or not at all.

use std::time::{Duration, Instant};

use sluice_policy::aimd::Aimd;
use sluice_policy::gradient::Gradient;

use super::policy::{AdaptiveKind, RoutePolicy};

/// Taken for `max_in_flight = 0`: no cap, but an adaptive limit needs one.
const UNCAPPED_MAX: u32 = 10_000;

#[derive(Debug)]
pub(super) enum Adaptive {
    Off,
    Aimd(Aimd),
    Gradient(Gradient),
}

/// What an answer says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// It did what was asked.
    Good,
    /// It failed, or was slower than `adaptive_latency`.
    Bad,
}

impl Adaptive {
    pub(super) fn new(policy: &RoutePolicy, now: Instant) -> Self {
        let most = if policy.max_in_flight == 0 { UNCAPPED_MAX } else { policy.max_in_flight };
        match policy.adaptive {
            AdaptiveKind::Off => Self::Off,
            AdaptiveKind::Aimd => Self::Aimd(Aimd::new(policy.adaptive_min, most)),
            AdaptiveKind::Gradient => Self::Gradient(Gradient::new(policy.adaptive_min, most, now)),
        }
    }

    pub(super) fn limit(&self) -> Option<u32> {
        match self {
            Self::Off => None,
            Self::Aimd(aimd) => Some(aimd.limit()),
            Self::Gradient(gradient) => Some(gradient.limit()),
        }
    }

    /// An answer with this time to its head has come; `service_time` is what one usually takes.
    pub(super) fn sample(
        &mut self,
        sample: Sample,
        head_after: Option<Duration>,
        service_time: Duration,
        in_flight: u32,
        now: Instant,
    ) {
        match (self, sample) {
            (Self::Off, _) => {}
            (Self::Aimd(aimd), Sample::Good) => aimd.good(in_flight),
            (Self::Aimd(aimd), Sample::Bad) => aimd.bad(service_time, now),
            (Self::Gradient(gradient), _) => {
                if let Some(latency) = head_after {
                    gradient.sample(latency, in_flight, now);
                }
            }
        }
    }
}
