//! What must hold at the end of every entry. Looked at in debug builds only.

use super::Limiter;
use super::entry::State;

/// With more tickets than this, they are not counted each time: it would take all day.
const COUNTED_MAX: usize = 64;

impl Limiter {
    pub(super) fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let queued: usize = self.routes.iter().map(|route| route.queue.len()).sum();
        debug_assert_eq!(queued, self.queued, "the sum of the queues");
        let in_flight: u32 = self.routes.iter().map(|route| route.in_flight).sum();
        debug_assert_eq!(in_flight, self.in_flight, "the sum of what is in flight");
        debug_assert_eq!(self.tickets.len(), self.queued + self.in_flight as usize, "no ticket is neither");
        debug_assert!(queued == 0 || !self.deadlines.is_empty(), "whoever waits has a timer");
        if self.tickets.len() > COUNTED_MAX {
            return;
        }
        let waiting = self.tickets.iter().filter(|(_, entry)| entry.state == State::Queued).count();
        debug_assert_eq!(waiting, self.queued, "every queued ticket is in a queue");
    }
}
