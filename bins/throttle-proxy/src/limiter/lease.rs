//! Slots of a rate that several instances share: leased in the background, spent without asking anybody.
//!
//! Owned by a route, spoken for by [`crate::shared`], which knows Redis. A lease is asked for when what is in hand
//! does not cover the demand of one lease time; its size follows the demand. A slot may be spent until `lease` after
//! the *sending* of the request that brought it; the other side counts it from its own later expiry on, so a window
//! holds no more than N whatever the clocks and the network do. What has not been spent is given back with the next
//! request, by name. While nobody answers, `mode` decides.
//!
//! ```text
//!            demand                 slots                         none spent, lease over
//! idle ───────────────▶ asked ─────────────────▶ in hand ───────────────────────────────▶ idle
//!   ▲                    │ no answer, error         │ demand beyond what is in hand
//!   └── failed ◀─────────┘                          └───────▶ asked
//! ```
//! Invariants: at most one request is under way; no slot is spent after its `until`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_policy::window::Rate;

use super::policy::{SharedMode, SharedPolicy};

/// Weight of a lease time in the demand.
const DEMAND_WEIGHT: f64 = 0.5;

/// Most names that are given back in one request; others leave by themselves, a window later.
pub const RETURNED_MAX: usize = 1000;

/// The name of a slot on the other side: the request that brought it, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotName {
    /// The request of this instance; no two have the same number, whatever their route.
    pub request: u64,
    /// 1 to the number of slots.
    pub number: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    name: SlotName,
    until: Instant,
}

/// A request for slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Its number; slots are named after it.
    pub request: u64,
    /// Slots wanted.
    pub wanted: u32,
    /// Slots given back.
    pub returned: Vec<SlotName>,
    /// N.
    pub events: u32,
    /// W.
    pub window: Duration,
    /// How long the slots may be used.
    pub lease: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Under these numbers: what comes back was counted by them.
    Asked {
        request: u64,
        sent: Instant,
        rate: Rate,
        lease: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Lease {
    rate: Rate,
    policy: SharedPolicy,
    state: State,
    /// Soonest to spend first.
    slots: VecDeque<Slot>,
    returned: Vec<SlotName>,
    /// No request before this moment.
    not_before: Option<Instant>,
    /// The other side has none before this moment.
    none_until: Option<Instant>,
    /// Nobody answers.
    failed: bool,
    /// Slots asked for by clients in the current lease time, and the smoothed number of those before.
    taken: u32,
    demand: f64,
    counted_at: Option<Instant>,
}

/// Whether a request may go, as far as the shared rate is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It may.
    Free,
    /// Not before a slot comes.
    NoSlot,
    /// Nobody answers, and then nothing goes.
    Closed,
}

impl Lease {
    pub(super) fn new(rate: Rate, policy: SharedPolicy) -> Self {
        Self {
            rate,
            policy,
            state: State::Idle,
            slots: VecDeque::new(),
            returned: Vec::new(),
            not_before: None,
            none_until: None,
            failed: false,
            taken: 0,
            demand: 0.0,
            counted_at: None,
        }
    }

    /// Takes on another's numbers. Slots leased under another rate are given back: together with those of the new one
    /// they could be more than it allows.
    pub(super) fn set(&mut self, next: Self) {
        if next.rate != self.rate {
            let names = self.slots.drain(..).map(|slot| slot.name);
            self.returned.extend(names.take(RETURNED_MAX.saturating_sub(self.returned.len())));
        }
        (self.rate, self.policy) = (next.rate, next.policy);
    }

    pub(super) fn hold(&self, now: Instant) -> Hold {
        if self.slots.iter().any(|slot| slot.until > now) {
            return Hold::Free;
        }
        match (self.failed, self.policy.mode) {
            (false, _) => Hold::NoSlot,
            (true, SharedMode::FailClosed) => Hold::Closed,
            (true, _) => Hold::Free,
        }
    }

    /// How long the other side has said that there will be none.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let until = self.none_until.filter(|_| !self.failed && self.slots.is_empty());
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Somebody wants a slot, whether or not there is one.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.count(now);
        self.taken = self.taken.saturating_add(1);
    }

    /// Spends a slot, if there is one.
    pub(super) fn spend(&mut self, now: Instant) {
        self.drop_old(now);
        self.slots.pop_front();
    }

    fn drop_old(&mut self, now: Instant) {
        while let Some(slot) = self.slots.front().filter(|slot| slot.until <= now) {
            if self.returned.len() < RETURNED_MAX {
                self.returned.push(slot.name);
            }
            self.slots.pop_front();
        }
    }

    fn count(&mut self, now: Instant) {
        let since = *self.counted_at.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= self.policy.lease {
            // An empty stretch between counts for as much as it lasted.
            let idle = age.as_secs_f64() / self.policy.lease.as_secs_f64() - 1.0;
            self.demand += DEMAND_WEIGHT * (f64::from(self.taken) - self.demand);
            self.demand *= (1.0 - DEMAND_WEIGHT).powf(idle.min(64.0));
            (self.taken, self.counted_at) = (0, Some(now));
        }
    }

    /// The request to send now, if one is due, under the number `number`; `queued` wait already.
    pub(super) fn request(&mut self, number: u64, queued: usize, now: Instant) -> Option<LeaseRequest> {
        self.drop_old(now);
        self.count(now);
        let due = self.state == State::Idle && self.not_before.is_none_or(|at| at <= now);
        let expected = self.demand.max(f64::from(self.taken)).round() as usize;
        let wanted = expected.max(queued);
        let wanted = if self.slots.len() * 2 > wanted { 0 } else { wanted - self.slots.len() };
        if !due || wanted == 0 && self.returned.is_empty() {
            return None;
        }
        let most = (self.rate.events / 4).max(1);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(most);
        let (rate, lease) = (self.rate, self.policy.lease);
        self.state = State::Asked { request: number, sent: now, rate, lease };
        self.not_before = None;
        Some(LeaseRequest {
            request: number,
            wanted,
            returned: std::mem::take(&mut self.returned),
            events: rate.events,
            window: rate.window,
            lease,
        })
    }

    /// The answer to a request: so many slots, or none and how long until one becomes free. Returns whether the other
    /// side was thought lost. A late answer brings nothing, nor does one to a question under another rate: its slots are
    /// old, and their names are given back.
    pub(super) fn granted(&mut self, request: u64, slots: u32, next_free: Duration, now: Instant) -> bool {
        let names = (1..=slots).map(|number| SlotName { request, number });
        let asked = match self.state {
            State::Asked { request: asked, sent, rate, lease } if asked == request => {
                Some((sent, rate, lease))
            }
            _ => None,
        };
        match asked {
            Some((sent, rate, lease)) if rate == self.rate => {
                let until = sent + lease;
                self.slots.extend(names.take(rate.events as usize).map(|name| Slot { name, until }));
            }
            _ => self.returned.extend(names.take(RETURNED_MAX.saturating_sub(self.returned.len()))),
        }
        if asked.is_none() {
            return false;
        }
        self.state = State::Idle;
        self.none_until = (slots == 0).then(|| now + next_free.min(self.rate.window));
        if slots == 0 {
            self.not_before = Some(now + next_free.clamp(Duration::from_millis(1), self.policy.lease));
        }
        std::mem::take(&mut self.failed)
    }

    /// The request was not answered, or badly. Returns whether that is news.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.state = State::Idle;
        self.not_before = Some(now + self.policy.lease);
        !std::mem::replace(&mut self.failed, true)
    }

    /// Whether a request is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether the request has been under way for too long.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        matches!(self.state, State::Asked { sent, .. } if sent + self.policy.timeout <= now)
    }

    /// When to look again: a request that becomes late, the moment another may be sent while somebody waits, slots
    /// that are to be given back.
    pub(super) fn poll_timeout(&self, queued: usize) -> Option<Instant> {
        match self.state {
            State::Asked { sent, .. } => Some(sent + self.policy.timeout),
            State::Idle => {
                let next = self.not_before.filter(|_| queued > 0);
                let unspent = self
                    .slots
                    .front()
                    .map(|slot| self.not_before.map_or(slot.until, |at| at.max(slot.until)));
                next.into_iter().chain(unspent).min()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn lease(mode: SharedMode) -> Lease {
        Lease::new(Rate::new(40, ms(1000)), SharedPolicy { mode, lease: ms(500), timeout: ms(200) })
    }

    #[test]
    fn demand_asks_and_slots_are_spent_within_the_lease_of_sending() {
        let start = crate::limiter::tests::start();
        let mut lease = lease(SharedMode::FailOpen);
        assert_eq!(lease.request(1, 0, start), None, "nobody wants any");
        assert_eq!(lease.hold(start), Hold::NoSlot);
        lease.wanted(start);
        let request = lease.request(1, 1, start).unwrap();
        assert_eq!((request.request, request.wanted, request.events), (1, 1, 40));
        assert_eq!(lease.request(2, 1, start), None, "one at a time");
        assert!(!lease.granted(1, 2, ms(0), start + ms(150)));
        assert_eq!(lease.hold(start + ms(150)), Hold::Free);
        lease.spend(start + ms(150));
        assert_eq!(lease.hold(start + ms(499)), Hold::Free);
        assert_eq!(lease.hold(start + ms(500)), Hold::NoSlot, "counted from sending, not from the answer");
        lease.wanted(start + ms(500));
        let request = lease.request(2, 1, start + ms(500)).unwrap();
        assert_eq!(request.returned, [SlotName { request: 1, number: 2 }]);
    }

    #[test]
    fn what_nobody_spends_is_given_back_though_nobody_comes() {
        let start = crate::limiter::tests::start();
        let mut lease = lease(SharedMode::FailOpen);
        lease.wanted(start);
        lease.request(1, 1, start).unwrap();
        lease.granted(1, 1, ms(0), start);
        assert_eq!(lease.poll_timeout(0), Some(start + ms(500)));
        let later = start + ms(5000);
        let request = lease.request(2, 0, later).unwrap();
        assert_eq!((request.wanted, request.returned.len()), (0, 1));
        lease.granted(2, 0, ms(0), later);
        assert_eq!((lease.poll_timeout(0), lease.request(3, 0, later + ms(5000))), (None, None));
    }

    #[test]
    fn no_lease_is_larger_than_a_quarter_of_the_rate() {
        let start = crate::limiter::tests::start();
        let mut lease = lease(SharedMode::FailOpen);
        (0..100).for_each(|_| lease.wanted(start));
        assert_eq!(lease.request(1, 90, start).unwrap().wanted, 10);
    }

    #[test]
    fn a_reload_gives_back_what_was_leased_under_another_rate_and_lengthens_no_lease() {
        let start = crate::limiter::tests::start();
        let policy = |lease| SharedPolicy { mode: SharedMode::FailOpen, lease: ms(lease), timeout: ms(200) };
        let mut lease = lease(SharedMode::FailOpen);
        (0..4).for_each(|_| lease.wanted(start));
        lease.request(1, 2, start).unwrap();
        lease.set(Lease::new(Rate::new(40, ms(1000)), policy(900)));
        lease.granted(1, 2, ms(0), start + ms(1));
        assert_eq!(lease.hold(start + ms(499)), Hold::Free);
        assert_eq!(
            lease.hold(start + ms(500)),
            Hold::NoSlot,
            "the other side counts by the lease it was asked for"
        );
        (0..4).for_each(|_| lease.wanted(start + ms(1)));
        lease.request(2, 8, start + ms(1)).unwrap();
        lease.set(Lease::new(Rate::new(1, ms(1000)), policy(500)));
        assert_eq!(lease.hold(start + ms(1)), Hold::NoSlot, "two in hand are more than the new rate");
        assert!(!lease.granted(2, 6, ms(0), start + ms(2)));
        assert_eq!(lease.hold(start + ms(2)), Hold::NoSlot, "and so are those under way");
        let request = lease.request(3, 1, start + ms(2)).unwrap();
        assert_eq!((request.wanted, request.events, request.returned.len()), (1, 1, 8));
    }

    #[test]
    fn none_free_waits_until_one_is() {
        let start = crate::limiter::tests::start();
        let mut lease = lease(SharedMode::FailOpen);
        lease.wanted(start);
        lease.request(1, 1, start).unwrap();
        lease.granted(1, 0, ms(120), start + ms(1));
        assert_eq!(lease.poll_timeout(1), Some(start + ms(121)));
        assert_eq!(lease.wait(start + ms(21)), ms(100));
        assert_eq!((lease.poll_timeout(0), lease.request(2, 1, start + ms(120))), (None, None));
        assert!(lease.request(2, 1, start + ms(121)).is_some());
    }

    #[test]
    fn without_an_answer_the_setting_decides_and_an_answer_ends_it() {
        let start = crate::limiter::tests::start();
        for (mode, hold) in [(SharedMode::FailOpen, Hold::Free), (SharedMode::FailClosed, Hold::Closed)] {
            let mut lease = lease(mode);
            lease.wanted(start);
            lease.request(1, 1, start).unwrap();
            assert_eq!(lease.poll_timeout(1), Some(start + ms(200)));
            assert!(!lease.is_late(start + ms(199)) && lease.is_late(start + ms(200)));
            assert!(lease.failed(start + ms(200)), "that is news");
            assert_eq!(lease.hold(start + ms(200)), hold);
            assert!(lease.request(2, 1, start + ms(700)).is_some());
            assert!(!lease.failed(start + ms(900)), "that is not");
            // The late answer to the first request brings nothing.
            assert!(!lease.granted(1, 5, ms(0), start + ms(950)));
            assert_eq!(lease.hold(start + ms(950)), hold);
            let request = lease.request(3, 1, start + ms(1400)).unwrap();
            assert_eq!(request.returned.len(), 5);
            assert!(lease.granted(request.request, 1, ms(0), start + ms(1401)), "it is back");
            assert_eq!(lease.hold(start + ms(1401)), Hold::Free);
        }
    }
}
