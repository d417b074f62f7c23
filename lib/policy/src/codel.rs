//! When a queue stands: CoDel's observation (Nichols and Jacobson, 2012) for requests instead of packets.
//!
//! Owned by the queue. A good queue absorbs a burst and empties; one that has not been empty for an interval holds
//! work nobody is going to see done in time. Then the owner serves the newest first and refuses whoever has waited
//! longer than the target, but never the last one: a server must not idle while somebody waits.
//!
//! ```text
//!         first item                 interval later
//! empty ───────────▶ burst ────────────────────────▶ standing
//!   ▲                  │                                 │
//!   └──────────────────┴──────────── last item left ─────┘
//! ```

use std::time::{Duration, Instant};

/// Watches one queue.
#[derive(Clone, Debug)]
pub struct Codel {
    interval: Duration,
    target: Duration,
    busy_since: Option<Instant>,
}

impl Codel {
    /// An empty queue: it stands when it has not been empty for `interval`, and then nobody is to wait longer than
    /// `target`.
    #[must_use]
    pub fn new(interval: Duration, target: Duration) -> Self {
        Self { interval, target, busy_since: None }
    }

    /// Other times from now on.
    pub fn set(&mut self, interval: Duration, target: Duration) {
        (self.interval, self.target) = (interval, target);
    }

    /// Something was added or taken: the queue has `len` items now.
    pub fn changed(&mut self, len: usize, now: Instant) {
        if len == 0 {
            self.busy_since = None;
        } else {
            self.busy_since.get_or_insert(now);
        }
    }

    /// When the queue stands, if it does not empty before.
    #[must_use]
    pub fn stands_at(&self) -> Option<Instant> {
        self.busy_since.map(|since| since + self.interval)
    }

    /// Whether the queue stands.
    #[must_use]
    pub fn is_standing(&self, now: Instant) -> bool {
        self.stands_at().is_some_and(|at| at <= now)
    }

    /// When somebody who came at `arrived` has waited too long, if the queue stands then. It has at `arrived + target`
    /// or, if the queue does not stand yet, as soon as it does.
    #[must_use]
    pub fn overdue_at(&self, arrived: Instant) -> Option<Instant> {
        self.stands_at().map(|stands| stands.max(arrived + self.target))
    }
}

#[cfg(test)]
mod tests;
