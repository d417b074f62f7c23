//! The limiter: throttle-proxy's gate. Says at once, for each request, whether it may go, waits, or comes back later.
//!
//! A machine: it holds tickets and numbers, and is told what time it is. Every entry ends in [`Limiter::turn`], which
//! ends waits that are over and releases who may go; what follows comes out of `poll`.
//!
//! ```text
//!            Pass                        settle, abandon
//! admit ─────────────▶ dispatched ─────────────────────────▶ over
//!   │  Delay             ▲ Release
//!   ├────────▶ queued ───┤
//!   │                    └ Expire: evicted, shed, too late, draining ──▶ over
//!   └ Refuse: over               (abandon: the client left) ──▶ over
//! ```
//! Invariants, for each route and in all: requests in flight never exceed the limit of the moment they were dispatched
//! at; no window holds more dispatches than the rate; a queue never exceeds its size; a ticket is queued exactly if the
//! queue of its route holds it. `check_invariants` says so in debug builds at the end of every entry.

mod adaptive;
mod admit;
mod commands;
mod entry;
mod estimate;
mod gate;
mod invariants;
pub mod keys;
pub mod lease;
mod meter;
pub mod policy;
pub mod pressure;
mod queue;
mod release;
mod report;
mod route;
mod saturation;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::time::{Duration, Instant};

use sluice_gateway::code::Code;
use sluice_gateway::gate::{Effect, QueueDrain, RouteId, Ticket};
use sluice_unix::slab::Slab;
use sluice_unix::timers::Timers;

use entry::{Entry, State};
use lease::LeaseRequest;
use meter::Keyed;
use policy::Policy;
use pressure::{PoolPressure, Pressure};
use report::Shared;
use route::Route;

/// Why and for how long a request is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It may go.
    Free,
    /// It may go at this moment, if nothing else happens.
    Until(Instant),
    /// Something has to happen first: a request ends, a slot comes.
    Event,
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    policy: Policy,
    /// For [`keys`].
    secret: RandomState,
    routes: Vec<Route>,
    /// By the place of the limit in the policy.
    limits: Vec<Keyed>,
    tickets: Slab<Entry>,
    /// Last moments of queued requests; stale ones find nothing.
    deadlines: Timers<Ticket>,
    queued: usize,
    in_flight: u32,
    pressure: Pressure,
    draining: Option<QueueDrain>,
    /// Requests for slots so far.
    lease_requests: u64,
    /// The route that was served last: others come first.
    cursor: usize,
    /// When somebody who waits may go, as far as is known.
    look_at: Option<Instant>,
    effects: VecDeque<Effect>,
}

impl Limiter {
    /// A limiter that has seen nothing. `secret` is random where it matters.
    #[must_use]
    pub fn new(policy: Policy, secret: RandomState, now: Instant) -> Self {
        let routes = policy.routes.iter().map(|route| Route::new(route.clone(), &policy, now)).collect();
        Self {
            secret,
            routes,
            limits: keyed(&policy),
            tickets: Slab::new(),
            deadlines: Timers::new(),
            queued: 0,
            in_flight: 0,
            pressure: Pressure::new(policy.pressure.clone()),
            draining: None,
            lease_requests: 0,
            cursor: 0,
            look_at: None,
            effects: VecDeque::new(),
            policy,
        }
    }

    /// What is enforced.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes on another policy. Routes and limits that keep their name keep what they remember; requests of routes that
    /// are gone go on under `[route default]`, which is the first. Returns for each old route its new place, for whoever
    /// else keeps [`RouteId`]s.
    pub fn set_policy(&mut self, policy: Policy, now: Instant) -> Vec<RouteId> {
        let moved: Vec<RouteId> = self
            .policy
            .routes
            .iter()
            .map(|old| {
                let place = policy.routes.iter().position(|new| new.name == old.name).unwrap_or_default();
                RouteId(place as u16)
            })
            .collect();
        self.leave_routes(&moved, &policy, now);
        let mut running: Vec<Option<Route>> =
            std::mem::take(&mut self.routes).into_iter().map(Some).collect();
        for new in &policy.routes {
            let old = self.policy.routes.iter().position(|old| old.name == new.name);
            let route = match old.and_then(|old| running[old].take()) {
                Some(mut route) => {
                    route.set_policy(new.clone(), &policy, now);
                    route
                }
                None => Route::new(new.clone(), &policy, now),
            };
            self.routes.push(route);
        }
        for (_, entry) in self.tickets.iter_mut() {
            entry.route = moved.get(usize::from(entry.route.0)).copied().unwrap_or_default();
        }
        for gone in running.into_iter().flatten() {
            self.routes[0].in_flight += gone.in_flight;
        }
        self.adopt_limits(&policy);
        self.count_waiting();
        self.pressure.set_policy(policy.pressure.clone());
        self.policy = policy;
        self.turn(now);
        moved
    }

    /// Empties the queues of routes that end.
    fn leave_routes(&mut self, moved: &[RouteId], policy: &Policy, now: Instant) {
        for (old, new) in moved.iter().enumerate() {
            let stays = policy.routes.get(usize::from(new.0)).map(|route| &route.name)
                == self.policy.routes.get(old).map(|route| &route.name);
            if !stays {
                self.expire_queue(old, Code::Shed, now);
            }
        }
    }

    fn adopt_limits(&mut self, policy: &Policy) {
        let mut running: Vec<Option<Keyed>> =
            std::mem::take(&mut self.limits).into_iter().map(Some).collect();
        let old_place = |name: &str| self.policy.limits.iter().position(|old| old.name == name);
        let moved: Vec<Option<u16>> = self
            .policy
            .limits
            .iter()
            .map(|old| policy.limits.iter().position(|new| new.name == old.name).map(|place| place as u16))
            .collect();
        self.limits = keyed(policy);
        for (place, new) in policy.limits.iter().enumerate() {
            let old = old_place(&new.name).filter(|old| self.policy.limits[*old].key == new.key);
            if let Some(mut limit) = old.and_then(|old| running[old].take()) {
                limit.set(new.rate, policy.keys_max);
                self.limits[place] = limit;
            }
        }
        for (_, entry) in self.tickets.iter_mut() {
            entry.limits.retain_mut(|(limit, _)| match moved.get(usize::from(*limit)).copied().flatten() {
                Some(place) => {
                    *limit = place;
                    true
                }
                None => false,
            });
        }
    }

    /// Counts the queued requests of all keys anew.
    fn count_waiting(&mut self) {
        self.limits.iter_mut().for_each(Keyed::none_waiting);
        self.routes.iter_mut().filter_map(|route| route.stage.as_mut()).for_each(Keyed::none_waiting);
        let entries = self.tickets.iter().map(|(_, entry)| entry);
        let queued: Vec<Entry> = entries.filter(|entry| entry.state == State::Queued).cloned().collect();
        for entry in &queued {
            self.each_key(entry, Keyed::joined);
        }
    }

    /// A line of the pressure feed.
    pub fn pressure(&mut self, report: PoolPressure, now: Instant) {
        let pool = report.pool.clone();
        let change = self.pressure.report(report, now);
        self.pressure_changed(Some(&pool), change, now);
        self.turn(now);
    }

    /// The pressure feed has ended: what it said is forgotten.
    pub fn pressure_lost(&mut self, now: Instant) {
        let change = self.pressure.lost(now);
        self.pressure_changed(None, change, now);
        self.turn(now);
    }

    /// The next request for slots of a shared rate, with the name of its route. Call until `None` after each entry.
    pub fn lease_request(&mut self, now: Instant) -> Option<(String, LeaseRequest)> {
        // Routes come and go with reloads, and the slots of an earlier one are still counted: numbers are never used again.
        let number = self.lease_requests + 1;
        let (name, request) = self.routes.iter_mut().find_map(|route| {
            let queued = route.queue.len();
            let request = route.lease.as_mut()?.request(number, queued, now)?;
            Some((route.policy.name.clone(), request))
        })?;
        self.lease_requests = number;
        Some((name, request))
    }

    /// The answer to a request for slots: see [`LeaseRequest`].
    pub fn leased(&mut self, route: &str, request: u64, slots: u32, next_free: Duration, now: Instant) {
        if let Some(at) = self.routes.iter().position(|running| running.policy.name == route) {
            let lease = self.routes[at].lease.as_mut();
            if lease.is_some_and(|lease| lease.granted(request, slots, next_free, now)) {
                self.tell_shared(at, Shared::Back);
            }
        }
        self.turn(now);
    }

    /// Nobody answers requests for slots: all that are under way have failed.
    pub fn leases_failed(&mut self, now: Instant) {
        for at in 0..self.routes.len() {
            self.lease_failed(at, now);
        }
        self.turn(now);
    }

    fn lease_failed(&mut self, at: usize, now: Instant) {
        let Route { lease, counts, .. } = &mut self.routes[at];
        let Some(lease) = lease else { return };
        counts.lease_errors += u64::from(lease.is_asked());
        let is_news = lease.failed(now);
        if lease.hold(now) == lease::Hold::Closed {
            self.expire_queue(at, Code::Shed, now);
        }
        if is_news {
            self.tell_shared(at, Shared::Lost);
        }
    }

    /// Requests that wait, in all routes.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Requests that were dispatched and have not ended, in all routes.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Most requests in flight on a route at this moment.
    #[must_use]
    pub fn limit_of(&self, route: RouteId, now: Instant) -> u32 {
        self.routes.get(usize::from(route.0)).map_or(0, |route| {
            let max = route.policy.max_in_flight;
            self.pressure.cap(max, now).map_or(route.own_limit(), |cap| cap.min(route.own_limit()))
        })
    }

    /// Most requests in flight in all routes at this moment.
    #[must_use]
    pub fn limit_of_all(&self, now: Instant) -> u32 {
        let max = self.policy.max_in_flight;
        let fixed = if max == 0 { u32::MAX } else { max };
        self.pressure.cap(max, now).map_or(fixed, |cap| cap.min(fixed))
    }

    fn entry(&self, ticket: Ticket) -> Option<&Entry> {
        self.tickets.get(ticket.0)
    }
}

fn keyed(policy: &Policy) -> Vec<Keyed> {
    let limits = policy.limits.iter();
    limits.map(|limit| Keyed::new(limit.rate, limit.algorithm, policy.keys_max)).collect()
}
