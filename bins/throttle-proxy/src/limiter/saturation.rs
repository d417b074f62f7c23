//! Refusals, told in sums: an overload must not write a line a request.
//!
//! Owned by a route. The first refusal is told at once, further ones at most once a second as a sum; when there has
//! been none for [`CLEAR_AFTER`], that is told too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sluice_gateway::code::Code;

/// Least time between two lines of a route.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(1);

/// Without a refusal for so long, a route is clear.
pub(super) const CLEAR_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Saturation {
    /// Refusals that have not been told, by their code.
    untold: BTreeMap<Code, u64>,
    told_at: Option<Instant>,
    refused_at: Option<Instant>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Refusals since the last line.
    Saturated(BTreeMap<Code, u64>),
    /// None for a while.
    Clear,
}

impl Saturation {
    pub(super) fn refused(&mut self, code: Code, now: Instant) {
        *self.untold.entry(code).or_default() += 1;
        self.refused_at = Some(now);
    }

    /// What is due to be told; to be asked after refusals and at [`Saturation::poll_timeout`].
    pub(super) fn tell(&mut self, now: Instant) -> Option<Telling> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        self.told_at = Some(now);
        if self.untold.is_empty() {
            *self = Self::default();
            return Some(Telling::Clear);
        }
        Some(Telling::Saturated(std::mem::take(&mut self.untold)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let refused_at = self.refused_at?;
        Some(match self.told_at {
            _ if self.untold.is_empty() => refused_at + CLEAR_AFTER,
            Some(told_at) => told_at + LINE_EVERY,
            None => refused_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_then_sums_then_the_end() {
        let start = crate::limiter::tests::start();
        let at = |ms| start + Duration::from_millis(ms);
        let mut saturation = Saturation::default();
        assert_eq!((saturation.tell(start), saturation.poll_timeout()), (None, None));
        saturation.refused(Code::QueueWait, start);
        assert_eq!(saturation.tell(start), Some(Telling::Saturated([(Code::QueueWait, 1)].into())));
        saturation.refused(Code::QueueWait, at(1));
        saturation.refused(Code::QueueFull, at(2));
        saturation.refused(Code::QueueWait, at(500));
        assert_eq!((saturation.tell(at(999)), saturation.poll_timeout()), (None, Some(at(1000))));
        let sum = [(Code::QueueFull, 1), (Code::QueueWait, 2)].into();
        assert_eq!(saturation.tell(at(1000)), Some(Telling::Saturated(sum)));
        assert_eq!((saturation.tell(at(5499)), saturation.poll_timeout()), (None, Some(at(5500))));
        assert_eq!(saturation.tell(at(5500)), Some(Telling::Clear));
        assert_eq!(saturation.poll_timeout(), None);
    }
}
