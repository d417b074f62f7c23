//! Ends waits that are over, and releases who may go.

use std::time::{Duration, Instant};

use sluice_gateway::code::Code;
use sluice_gateway::gate::{Effect, Outcome, Ticket};

use super::adaptive::Sample;
use super::entry::{Entry, Spends, Staged, State};
use super::keys::Key;
use super::meter::Keyed;
use super::policy::CLASSES;
use super::route::Route;
use super::{Hold, Limiter, lease};

/// How often to look whether concurrency has grown back, while somebody waits for it.
const GROWTH_LOOK: Duration = Duration::from_millis(100);

impl Limiter {
    /// The end of every entry: whoever has waited too long is told, whoever may go goes.
    pub(super) fn turn(&mut self, now: Instant) {
        self.expire_due(now);
        self.shed_overdue(now);
        self.release_all(now);
        self.tell(now);
        self.check_invariants();
    }

    fn expire_due(&mut self, now: Instant) {
        while let Some(ticket) = self.deadlines.expired(now) {
            let Some(entry) = self.entry(ticket).filter(|entry| entry.state == State::Queued) else {
                continue;
            };
            let (at, entry) = (usize::from(entry.route.0), entry.clone());
            let own = self.entry_hold(&entry, now) != Hold::Free && self.route_hold(at, now) == Hold::Free;
            self.routes[at].counts.expired += 1;
            self.expire_one(ticket, if own { Code::RateLimited } else { Code::QueueTimeout }, now);
        }
    }

    /// A queue that stands keeps nobody longer than the target, except the last one.
    fn shed_overdue(&mut self, now: Instant) {
        for at in 0..self.routes.len() {
            while let Some((_, ticket)) = self.overdue(at, now).filter(|(due, _)| *due <= now) {
                self.routes[at].counts.expired += 1;
                self.expire_one(ticket, Code::Shed, now);
            }
        }
    }

    /// Who is shed next in a route, and when. Nobody while it is a rate or their own keys that hold them.
    fn overdue(&mut self, at: usize, now: Instant) -> Option<(Instant, Ticket)> {
        if !self.service_is_busy(at, now) {
            return None;
        }
        let (queue, tickets) = (&mut self.routes[at].queue, &self.tickets);
        if queue.len_for_service() < 2 {
            return None;
        }
        let is_queued =
            |ticket: Ticket| tickets.get(ticket.0).is_some_and(|entry: &Entry| entry.state == State::Queued);
        let (arrived, ticket) = queue.oldest(is_queued)?;
        queue.overdue_at(arrived).map(|due| (due, ticket))
    }

    /// Takes a queued request out and tells it.
    pub(super) fn expire_one(&mut self, ticket: Ticket, code: Code, now: Instant) {
        let Some(entry) = self.tickets.remove(ticket.0) else { return };
        let at = usize::from(entry.route.0);
        self.unqueue(ticket, &entry, now);
        let position = self.routes[at].queue.len() + 1;
        let expected = self.shared_wait(at, position, now);
        let permitted = self.routes[at].permitted_wait(entry.patience);
        let refusal = self.refusal(&entry, code, expected, permitted, now);
        self.effects.push_back(Effect::Expire(ticket, entry.asker, refusal));
    }

    fn unqueue(&mut self, ticket: Ticket, entry: &Entry, now: Instant) {
        self.routes[usize::from(entry.route.0)].queue.remove(ticket, entry.class, entry.key, now);
        self.note_left(entry);
    }

    /// Counts a request that joins the queue, for its keys too.
    pub(super) fn note_joined(&mut self, entry: &Entry) {
        self.queued += 1;
        self.each_key(entry, Keyed::joined);
    }

    /// Counts one that has left the queue.
    fn note_left(&mut self, entry: &Entry) {
        self.queued -= 1;
        self.each_key(entry, Keyed::left);
    }

    /// What a request waits in line for, besides what all share.
    pub(super) fn each_key(&mut self, entry: &Entry, mut note: impl FnMut(&mut Keyed, Key)) {
        if let (Staged::Yes, Some(stage)) = (entry.staged, &mut self.routes[usize::from(entry.route.0)].stage)
        {
            note(stage, entry.key);
        }
        for (limit, key) in &entry.limits {
            note(&mut self.limits[usize::from(*limit)], *key);
        }
    }

    /// Takes everybody out of a queue and tells them.
    pub(super) fn expire_queue(&mut self, at: usize, code: Code, now: Instant) {
        let waiting: Vec<Ticket> = self.routes[at].queue.iter().collect();
        for ticket in waiting {
            self.expire_one(ticket, code, now);
        }
    }

    /// Sends away the queued requests of classes that are shed.
    pub(super) fn shed_classes(&mut self, now: Instant) {
        for at in 0..self.routes.len() {
            let waiting = self.routes[at].queue.iter();
            let shed: Vec<Ticket> = waiting
                .filter(|ticket| self.entry(*ticket).is_some_and(|entry| self.pressure.sheds(entry.class)))
                .collect();
            for ticket in shed {
                self.expire_one(ticket, Code::Shed, now);
            }
        }
    }

    fn release_all(&mut self, now: Instant) {
        self.look_at = None;
        while self.queued > 0 && self.release_one(now) {}
        for at in 0..self.routes.len() {
            if let Some((due, _)) = self.overdue(at, now) {
                self.look_again(due);
            }
        }
    }

    /// Releases one request of the route with the most urgent class, routes taking turns. Returns whether there was
    /// one; else `look_at` says when there may be.
    fn release_one(&mut self, now: Instant) -> bool {
        let routes = self.routes.len();
        for class in 0..CLASSES as u8 {
            for step in 1..=routes {
                let at = (self.cursor + step) % routes;
                if self.routes[at].queue.most_urgent() != Some(class) {
                    continue;
                }
                if self.release_of(at, now) {
                    self.cursor = at;
                    return true;
                }
            }
        }
        false
    }

    fn release_of(&mut self, at: usize, now: Instant) -> bool {
        let hold = self.route_hold(at, now);
        let paced = self.routes[at].paced_until.filter(|until| *until > now);
        match (hold, paced) {
            (Hold::Free, None) => {}
            (Hold::Free, Some(until)) => {
                // Some who wait did not wait for the rate; to tell them apart here would let them overtake.
                self.look_again(until);
                return false;
            }
            (Hold::Until(until), _) => {
                self.look_again(until);
                return false;
            }
            (Hold::Event, _) => {
                let max = self.policy.max_in_flight;
                if self.pressure.is_growing(max, now) {
                    self.look_again(now + GROWTH_LOOK);
                }
                return false;
            }
        }
        let Some(ticket) = self.take_ready(at, now) else { return false };
        let Some(entry) = self.entry(ticket).cloned() else { return false };
        let asker = entry.asker;
        let waited_for_rate = self.routes[at].rate_held_at.is_some_and(|held| entry.arrived <= held);
        if waited_for_rate {
            self.routes[at].paced_until = Some(now + self.routes[at].pace());
        }
        self.note_left(&entry);
        self.dispatch(ticket, now);
        self.effects.push_back(Effect::Release(ticket, asker));
        true
    }

    /// The next queued request of a route that its own keys let go.
    fn take_ready(&mut self, at: usize, now: Instant) -> Option<Ticket> {
        let mut soonest: Option<Instant> = None;
        let Self { routes, tickets, limits, .. } = self;
        let Route { queue, stage, policy, .. } = &mut routes[at];
        let found = queue.next(policy.priority_min_share, now, |ticket| {
            let hold = tickets.get(ticket.0).map(|entry| own_hold(entry, limits, stage.as_mut(), now));
            if let Some(Hold::Until(until)) = hold {
                soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
            }
            hold == Some(Hold::Free)
        });
        if let (None, Some(until)) = (found, soonest) {
            self.look_again(until);
        }
        found
    }

    fn look_again(&mut self, at: Instant) {
        self.look_at = Some(self.look_at.map_or(at, |look| look.min(at)));
    }

    /// What holds back all requests of a route.
    pub(super) fn route_hold(&mut self, at: usize, now: Instant) -> Hold {
        let concurrency = self.concurrency_hold(at, now);
        let route = &mut self.routes[at];
        let free = route.meter.next_free(now);
        if free > now {
            route.rate_held_at = Some(now);
            return Hold::Until(free);
        }
        match route.lease.as_ref().map(|lease| lease.hold(now)) {
            None | Some(lease::Hold::Free) => concurrency,
            Some(lease::Hold::NoSlot | lease::Hold::Closed) => Hold::Event,
        }
    }

    pub(super) fn concurrency_hold(&self, at: usize, now: Instant) -> Hold {
        let limit = self.limit_of(sluice_gateway::gate::RouteId(at as u16), now);
        let full = self.routes[at].in_flight >= limit || self.in_flight >= self.limit_of_all(now);
        if full { Hold::Event } else { Hold::Free }
    }

    /// What holds back one request by its own keys.
    pub(super) fn entry_hold(&mut self, entry: &Entry, now: Instant) -> Hold {
        let stage = self.routes[usize::from(entry.route.0)].stage.as_mut();
        own_hold(entry, &mut self.limits, stage, now)
    }

    /// Spends what a request spends. All limits have agreed.
    pub(super) fn dispatch(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.tickets.get_mut(ticket.0) else { return };
        (entry.state, entry.spent_at) = (State::Dispatched(now), now);
        let route = &mut self.routes[usize::from(entry.route.0)];
        route.in_flight += 1;
        self.in_flight += 1;
        if entry.spends == Spends::Nothing {
            return;
        }
        route.meter.take(now);
        if let Some(lease) = &mut route.lease {
            lease.spend(now);
        }
        if let (Staged::Yes, Some(stage)) = (entry.staged, &mut route.stage) {
            stage.take(entry.key, now);
        }
        for (limit, key) in &entry.limits {
            self.limits[usize::from(*limit)].take(*key, now);
        }
    }

    /// A request has ended. `outcome` is `None` if it reached no origin.
    pub(super) fn end(&mut self, ticket: Ticket, outcome: Option<Outcome>, now: Instant) {
        let Some(entry) = self.tickets.remove(ticket.0) else { return };
        let at = usize::from(entry.route.0);
        match entry.state {
            State::Queued => {
                self.unqueue(ticket, &entry, now);
                self.routes[at].counts.abandoned += 1;
            }
            State::Dispatched(dispatched) => {
                let in_flight = self.routes[at].in_flight;
                self.routes[at].in_flight -= 1;
                self.in_flight -= 1;
                if outcome.is_none_or(reached_nobody) {
                    self.withdraw(&entry);
                }
                if let Some(outcome) = outcome {
                    self.learn(at, outcome, dispatched, in_flight, now);
                }
            }
        }
        self.turn(now);
    }

    /// The head of a dispatched request has left only now: its rates remember it by this moment, for that is when it
    /// arrives.
    pub(super) fn note_sent(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.tickets.get_mut(ticket.0) else { return };
        if entry.state == State::Queued || entry.spends == Spends::Nothing {
            return;
        }
        let spent_at = std::mem::replace(&mut entry.spent_at, now);
        let route = &mut self.routes[usize::from(entry.route.0)];
        route.meter.postpone(spent_at, now);
        if let (Staged::Yes, Some(stage)) = (entry.staged, &mut route.stage) {
            stage.postpone(entry.key, spent_at, now);
        }
        for (limit, key) in &entry.limits {
            self.limits[usize::from(*limit)].postpone(*key, spent_at, now);
        }
    }

    fn withdraw(&mut self, entry: &Entry) {
        if entry.spends == Spends::Nothing {
            return;
        }
        let spent_at = entry.spent_at;
        let route = &mut self.routes[usize::from(entry.route.0)];
        route.meter.withdraw(spent_at);
        if let (Staged::Yes, Some(stage)) = (entry.staged, &mut route.stage) {
            stage.withdraw(entry.key, spent_at);
        }
        for (limit, key) in &entry.limits {
            self.limits[usize::from(*limit)].withdraw(*key, spent_at);
        }
    }

    /// What the end of a request says about the service.
    fn learn(&mut self, at: usize, outcome: Outcome, dispatched: Instant, in_flight: u32, now: Instant) {
        let route = &mut self.routes[at];
        let sample = match outcome {
            Outcome::Response { status: 502..=504, .. } => Sample::Bad,
            Outcome::Response { head_after, .. } => {
                let slow = route.policy.adaptive_latency.is_some_and(|latency| head_after >= latency);
                if slow { Sample::Bad } else { Sample::Good }
            }
            Outcome::Upgraded | Outcome::ClientGone { .. } | Outcome::Own4xx => return,
            _ => Sample::Bad,
        };
        let head_after = match outcome {
            Outcome::Response { head_after, .. } => Some(head_after),
            _ => None,
        };
        if head_after.is_some() {
            route.service.record(now.saturating_duration_since(dispatched));
        }
        route.adaptive.sample(sample, head_after, route.service.median(), in_flight, now);
    }
}

fn own_hold(entry: &Entry, limits: &mut [Keyed], stage: Option<&mut Keyed>, now: Instant) -> Hold {
    let mut until = now;
    for (limit, key) in &entry.limits {
        until = until.max(limits[usize::from(*limit)].next_free(*key, now));
    }
    if let (Staged::Yes, Some(stage)) = (entry.staged, stage) {
        until = until.max(stage.next_free(entry.key, now));
    }
    if until > now { Hold::Until(until) } else { Hold::Free }
}

/// Whether no byte of the request has reached the origin.
fn reached_nobody(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::ConnectRefused | Outcome::ConnectTimeout | Outcome::TlsFailed)
}
