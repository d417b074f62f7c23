//! The first look at a request: pass it, queue it, or refuse it at once.

use std::time::{Duration, Instant};

use sluice_gateway::code::Code;
use sluice_gateway::gate::{Admission, Asker, Head, Peer, Purpose, RouteId, Ticket, Trust};
use sluice_wire::http::hints;
use sluice_wire::http::method::Method;
use sluice_wire::http::names::Name;

use super::entry::{Entry, Spends, Staged, State, WaitsFor};
use super::{Hold, Limiter, lease};

/// The longest wait a client may announce, in seconds.
const WAIT_S_MAX: u64 = 3600;

impl Limiter {
    pub(super) fn decide(&mut self, head: &Head<'_>, peer: &Peer, asker: Asker, now: Instant) -> Admission {
        self.turn(now);
        let entry = self.entry_of(head, peer, asker, now);
        let at = usize::from(entry.route.0);
        if self.draining.is_some() {
            return self.refuse_now(&entry, Code::Draining, now);
        }
        if self.pressure.sheds(entry.class) {
            return self.refuse_now(&entry, Code::Shed, now);
        }
        if let Some(lease) = &mut self.routes[at].lease {
            lease.wanted(now);
            if lease.hold(now) == lease::Hold::Closed {
                return self.refuse_now(&entry, Code::Shed, now);
            }
        }
        let admission = if self.hold_of_newcomer(&entry, now) == Hold::Free {
            let ticket = Ticket(self.tickets.insert(entry));
            self.dispatch(ticket, now);
            Admission::Pass(ticket)
        } else if head.purpose == Purpose::Preflight {
            self.refuse_now(&entry, Code::QueueWait, now)
        } else {
            self.queue_or_refuse(entry, now)
        };
        self.tell(now);
        admission
    }

    fn entry_of(&self, head: &Head<'_>, peer: &Peer, asker: Asker, now: Instant) -> Entry {
        let at = if usize::from(head.route.0) < self.routes.len() { head.route } else { RouteId(0) };
        let route = &self.routes[usize::from(at.0)];
        let limits = self.policy.limits.iter().enumerate();
        let limits = limits
            .filter(|(_, limit)| limit.routes.is_empty() || limit.routes.contains(&at))
            .map(|(place, limit)| (place as u16, limit.key.of(head, peer, &self.secret)))
            .collect();
        let is_staged = route.stage.is_some() && head.request.method() == Method::Get;
        let wait_s = hints::wait_s(head.request.fields());
        let patience =
            wait_s.map_or(route.policy.patience, |wait_s| Duration::from_secs(wait_s.min(WAIT_S_MAX)));
        let preflight = head.purpose == Purpose::Preflight;
        Entry {
            asker,
            route: at,
            key: route.policy.fair_key.of(head, peer, &self.secret),
            class: class_of(head, peer, route.policy.class),
            staged: if is_staged { Staged::Yes } else { Staged::No },
            spends: if preflight { Spends::Nothing } else { Spends::Slot },
            arrived: now,
            patience,
            deadline: now + route.permitted_wait(patience),
            spent_at: now,
            limits: if preflight { Vec::new() } else { limits },
            state: State::Queued,
        }
    }

    /// A newcomer takes the place of nobody: those who wait and could go have gone already, and who waits for the pace
    /// has the next place.
    fn hold_of_newcomer(&mut self, entry: &Entry, now: Instant) -> Hold {
        let at = usize::from(entry.route.0);
        let route = &self.routes[at];
        if entry.spends == Spends::Nothing {
            let waits = !route.queue.is_empty();
            return if waits { Hold::Event } else { self.concurrency_hold(at, now) };
        }
        let paced = route.paced_until.filter(|until| *until > now && !route.queue.is_empty());
        if let Some(until) = paced {
            return Hold::Until(until);
        }
        match self.route_hold(at, now) {
            Hold::Free => self.entry_hold(entry, now),
            held => held,
        }
    }

    fn queue_or_refuse(&mut self, entry: Entry, now: Instant) -> Admission {
        let at = usize::from(entry.route.0);
        let expected = self.expected(&entry, now);
        let permitted = self.routes[at].permitted_wait(entry.patience);
        let code = if expected.longest() > permitted || permitted.is_zero() {
            let own = expected.own > permitted && expected.shared <= permitted;
            Some(if own { Code::RateLimited } else { Code::QueueWait })
        } else if self.routes[at].queue.len_of_key(entry.key) >= self.routes[at].policy.queue_per_key {
            Some(Code::RateLimited)
        } else {
            (!self.make_room(&entry, now)).then_some(Code::QueueFull)
        };
        if let Some(code) = code {
            return Admission::Refuse(self.refusal(&entry, code, expected.longest(), permitted, now));
        }
        let (class, key, until) = (entry.class, entry.key, entry.deadline);
        let waits_for = if self.service_is_busy(at, now) { WaitsFor::Service } else { WaitsFor::Clock };
        self.note_joined(&entry);
        let ticket = Ticket(self.tickets.insert(entry));
        self.routes[at].queue.push(ticket, class, key, waits_for, now);
        self.deadlines.schedule(until, ticket);
        // Whether and when it may go is found out as for all others.
        self.turn(now);
        Admission::Delay { ticket, until }
    }

    /// Whether a newcomer would have to wait even if no rate held it.
    pub(super) fn service_is_busy(&self, at: usize, now: Instant) -> bool {
        let leased = self.routes[at].lease.as_ref().is_none_or(|lease| lease.hold(now) == lease::Hold::Free);
        !leased || self.concurrency_hold(at, now) != Hold::Free || !self.pressure.expected_wait().is_zero()
    }

    /// Whether the queue has a place, after the newest of a less urgent class has been sent away if need be.
    fn make_room(&mut self, entry: &Entry, now: Instant) -> bool {
        let at = usize::from(entry.route.0);
        if self.routes[at].queue.len() >= self.routes[at].policy.queue_size {
            let victim = self.routes[at].queue.victim(entry.class);
            let Some((_, ticket)) = victim else { return false };
            self.evict(ticket, now);
        }
        if self.queued >= self.policy.queue_size {
            let victims = self.routes.iter().filter_map(|route| route.queue.victim(entry.class));
            let Some((_, ticket)) = victims.max_by_key(|(class, _)| *class) else { return false };
            self.evict(ticket, now);
        }
        // A queue of no size has no place after an eviction either.
        self.routes[at].queue.len() < self.routes[at].policy.queue_size
            && self.queued < self.policy.queue_size
    }

    fn evict(&mut self, ticket: Ticket, now: Instant) {
        if let Some(at) = self.entry(ticket).map(|entry| usize::from(entry.route.0)) {
            self.routes[at].counts.evicted += 1;
            self.expire_one(ticket, Code::QueueFull, now);
        }
    }

    fn refuse_now(&mut self, entry: &Entry, code: Code, now: Instant) -> Admission {
        let at = usize::from(entry.route.0);
        let expected = self.expected(entry, now).longest();
        let permitted = self.routes[at].permitted_wait(entry.patience);
        let refusal = self.refusal(entry, code, expected, permitted, now);
        self.tell(now);
        Admission::Refuse(refusal)
    }
}

/// The route's class, lowered by what the request says, raised only by who may be believed.
fn class_of(head: &Head<'_>, peer: &Peer, class: u8) -> u8 {
    let trusted = peer.trust == Trust::Yes;
    let fields = head.request.fields();
    if trusted && fields.all(Name::SluiceProbe).any(|value| value == b"1") {
        return 0;
    }
    match hints::urgency(fields) {
        Some(urgency) if urgency > class || trusted => urgency,
        _ => class,
    }
}
