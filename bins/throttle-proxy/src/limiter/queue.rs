//! Who waits for a route, and who is next: class, then fair share of keys, then age.
//!
//! Owned by a route. Holds tickets and nothing of the requests behind them. The most urgent class goes first, but for
//! every release of a class that left a less urgent one waiting, the less urgent ones earn `min_share` hundredths of
//! a release, and take it when it is whole. Within a class keys take turns; within a key the order is by
//! [`QueueOrder`].
//!
//! Whether the queue stands is told by those who wait for the service alone. Who waits for a slot of the rate, or for
//! the distance of its own key's requests, was let in for a wait that was known, and no queue is long for it.
//!
//! Invariants: `len` is the sum of the classes' lengths; `apart` has queued tickets only; `arrivals` has every other
//! queued ticket in order of arrival, and at most as many stale ones as [`Queue::oldest`] and the compaction leave.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use sluice_gateway::gate::Ticket;
use sluice_policy::codel::Codel;
use sluice_policy::fair_queue::{FairQueue, Order};

use super::entry::WaitsFor;
use super::keys::Key;
use super::policy::{CLASSES, QueueOrder};

/// Stale arrivals that may be kept beyond the number of queued ones.
const STALE_MAX: usize = 64;

/// A whole release, in hundredths.
const WHOLE: u32 = 100;

#[derive(Debug)]
pub(super) struct Queue {
    classes: [FairQueue<Key, Ticket>; CLASSES],
    len: usize,
    order: QueueOrder,
    /// Hundredths of a release that less urgent classes have earned.
    earned: u32,
    /// The class that took the last earned release.
    earner: usize,
    standing: Codel,
    /// Those who wait for a moment that is known.
    apart: HashSet<Ticket>,
    arrivals: VecDeque<(Instant, Ticket)>,
}

impl Queue {
    pub(super) fn new(order: QueueOrder, interval: Duration, target: Duration) -> Self {
        Self {
            classes: Default::default(),
            len: 0,
            order,
            earned: 0,
            earner: 0,
            standing: Codel::new(interval, target),
            apart: HashSet::new(),
            arrivals: VecDeque::new(),
        }
    }

    pub(super) fn set(&mut self, order: QueueOrder, interval: Duration, target: Duration) {
        self.order = order;
        self.standing.set(interval, target);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Those who wait for the service.
    pub(super) fn len_for_service(&self) -> usize {
        self.len - self.apart.len()
    }

    pub(super) fn len_of_class(&self, class: u8) -> usize {
        self.classes.get(usize::from(class)).map_or(0, FairQueue::len)
    }

    /// Queued requests of a key, whatever their class.
    pub(super) fn len_of_key(&self, key: Key) -> usize {
        self.classes.iter().map(|class| class.len_of(key)).sum()
    }

    /// The most urgent class that waits.
    pub(super) fn most_urgent(&self) -> Option<u8> {
        self.classes.iter().position(|class| !class.is_empty()).map(|class| class as u8)
    }

    /// How a key's own requests are ordered now.
    fn order(&self, now: Instant) -> Order {
        match self.order {
            QueueOrder::Fifo => Order::Fifo,
            QueueOrder::Lifo => Order::Lifo,
            QueueOrder::Adaptive if self.standing.is_standing(now) => Order::Lifo,
            QueueOrder::Adaptive => Order::Fifo,
        }
    }

    /// Requests that would be released before a newcomer.
    pub(super) fn ahead_of(&self, class: u8, key: Key, now: Instant) -> usize {
        let (more_urgent, rest) = self.classes.split_at(usize::from(class).min(CLASSES - 1));
        let peers = rest.first().map_or(0, |peers| peers.ahead_of(key, self.order(now)));
        more_urgent.iter().map(FairQueue::len).sum::<usize>() + peers
    }

    pub(super) fn push(&mut self, ticket: Ticket, class: u8, key: Key, waits_for: WaitsFor, now: Instant) {
        self.classes[usize::from(class).min(CLASSES - 1)].push(key, ticket);
        self.len += 1;
        match waits_for {
            WaitsFor::Service => self.arrivals.push_back((now, ticket)),
            WaitsFor::Clock => {
                self.apart.insert(ticket);
            }
        }
        self.standing.changed(self.len_for_service(), now);
    }

    /// Takes the next request that is `ready`. `min_share` is what less urgent classes keep, in percent.
    pub(super) fn next(
        &mut self,
        min_share: u32,
        now: Instant,
        mut ready: impl FnMut(Ticket) -> bool,
    ) -> Option<Ticket> {
        let order = self.order(now);
        let urgent = usize::from(self.most_urgent()?);
        let found = self
            .earned_next(urgent, order, &mut ready)
            .or_else(|| (urgent..CLASSES).find_map(|class| self.take(class, order, &mut ready)));
        let (class, ticket) = found?;
        if self.classes[class + 1..].iter().any(|class| !class.is_empty()) {
            self.earned = (self.earned + min_share).min(2 * WHOLE);
        } else if self.len == 0 {
            self.earned = 0;
        }
        self.apart.remove(&ticket);
        self.standing.changed(self.len_for_service(), now);
        Some(ticket)
    }

    /// A release that less urgent classes have earned goes to them in turn.
    fn earned_next(
        &mut self,
        urgent: usize,
        order: Order,
        ready: &mut impl FnMut(Ticket) -> bool,
    ) -> Option<(usize, Ticket)> {
        if self.earned < WHOLE {
            return None;
        }
        let earner = self.earner;
        let mut turns = (1..=CLASSES).map(|step| (earner + step) % CLASSES).filter(|class| *class > urgent);
        let found = turns.find_map(|class| self.take(class, order, ready));
        if let Some((class, _)) = found {
            self.earned -= WHOLE;
            self.earner = class;
        }
        found
    }

    fn take(
        &mut self,
        class: usize,
        order: Order,
        ready: &mut impl FnMut(Ticket) -> bool,
    ) -> Option<(usize, Ticket)> {
        let ticket = self.classes[class].next(order, |ticket| ready(*ticket))?;
        self.len -= 1;
        Some((class, ticket))
    }

    pub(super) fn remove(&mut self, ticket: Ticket, class: u8, key: Key, now: Instant) -> bool {
        let found = self.classes[usize::from(class).min(CLASSES - 1)].remove(key, ticket);
        self.len -= usize::from(found);
        self.apart.remove(&ticket);
        self.standing.changed(self.len_for_service(), now);
        found
    }

    /// The newest of the least urgent class, if that is less urgent than `class`.
    pub(super) fn victim(&self, class: u8) -> Option<(u8, Ticket)> {
        let least = self.classes.iter().rposition(|class| !class.is_empty())?;
        let (_, ticket) = self.classes[least].newest().filter(|_| least > usize::from(class))?;
        Some((least as u8, ticket))
    }

    /// The request that has waited longest for the service. `is_queued` tells stale arrivals, which are dropped.
    pub(super) fn oldest(&mut self, mut is_queued: impl FnMut(Ticket) -> bool) -> Option<(Instant, Ticket)> {
        if self.arrivals.len() > 2 * self.len + STALE_MAX {
            self.arrivals.retain(|(_, ticket)| is_queued(*ticket));
        }
        while let Some((arrived, ticket)) = self.arrivals.front().copied() {
            if is_queued(ticket) {
                return Some((arrived, ticket));
            }
            self.arrivals.pop_front();
        }
        None
    }

    /// When somebody who came at `arrived` has waited too long for a queue that stands. Never for the last one.
    pub(super) fn overdue_at(&self, arrived: Instant) -> Option<Instant> {
        let sheds = self.order == QueueOrder::Adaptive && self.len_for_service() > 1;
        self.standing.overdue_at(arrived).filter(|_| sheds)
    }

    /// All that wait, most urgent class first, in the order of turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.classes.iter().flat_map(|class| class.iter().map(|(_, ticket)| ticket))
    }
}
