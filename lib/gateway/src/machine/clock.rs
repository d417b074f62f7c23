//! Moments of the monotonic clock as dates, by one moment known on both.

use std::time::{Instant, SystemTime};

use sluice_wire::http::date::Date;

/// See the module. The text of a date is made once a second.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    epoch: (Instant, SystemTime),
    date: Date,
}

impl Clock {
    pub(super) fn new(epoch: (Instant, SystemTime)) -> Self {
        Self { epoch, date: Date::of(epoch.1) }
    }

    pub(super) fn set_epoch(&mut self, epoch: (Instant, SystemTime)) {
        self.epoch = epoch;
    }

    /// The value of Date for `now`.
    pub(super) fn date(&mut self, now: Instant) -> &Date {
        let wall = self.epoch.1 + now.saturating_duration_since(self.epoch.0);
        if !self.date.holds(wall) {
            self.date = Date::of(wall);
        }
        &self.date
    }
}
