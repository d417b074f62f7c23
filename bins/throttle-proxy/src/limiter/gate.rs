//! The limiter as the gateway knows it.

use std::time::Instant;

use sluice_gateway::code::Code;
use sluice_gateway::gate::{
    Admission, Asker, CommandResult, Effect, Gate, Head, Outcome, Peer, QueueDrain, Ticket, Verb,
};
use sluice_gateway::metrics::{Exposition, Metric};
use sluice_wire::control::Row;

use super::Limiter;
use super::{commands, report};

impl Gate for Limiter {
    const EVENTS: &'static [(&'static str, &'static str)] = report::EVENTS;
    const METRICS: &'static [Metric] = report::METRICS;
    const VERBS: &'static [Verb] = commands::VERBS;

    fn admit(&mut self, head: &Head<'_>, peer: &Peer, asker: Asker, now: Instant) -> Admission {
        self.decide(head, peer, asker, now)
    }

    fn sent(&mut self, ticket: Ticket, now: Instant) {
        self.note_sent(ticket, now);
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) {
        self.end(ticket, Some(outcome), now);
    }

    fn abandon(&mut self, ticket: Ticket, now: Instant) {
        self.end(ticket, None, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let change = self.pressure.handle_timeout(now);
        self.pressure_changed(None, change, now);
        for at in 0..self.routes.len() {
            if self.routes[at].lease.as_ref().is_some_and(|lease| lease.is_late(now)) {
                self.lease_failed(at, now);
            }
        }
        self.turn(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let routes = self.routes.iter().flat_map(|route| {
            let lease = route.lease.as_ref().and_then(|lease| lease.poll_timeout(route.queue.len()));
            [route.saturation.poll_timeout(), lease]
        });
        let own = [self.look_at, self.deadlines.next(), self.pressure.poll_timeout()];
        own.into_iter().chain(routes).flatten().min()
    }

    fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn drain(&mut self, queue: QueueDrain, now: Instant) {
        self.draining = Some(queue);
        if queue == QueueDrain::Refuse {
            for at in 0..self.routes.len() {
                self.expire_queue(at, Code::Draining, now);
            }
        }
        self.turn(now);
    }

    fn response_fields(&self, ticket: Ticket, now: Instant, out: &mut Vec<u8>) {
        if let Some(entry) = self.entry(ticket) {
            self.ratelimit_fields(entry, now, out);
        }
    }

    fn expose(&self, out: &mut Exposition<'_>, now: Instant) {
        self.expose_all(out, now);
    }

    fn command(&mut self, verb: &Verb, arguments: &[&str], now: Instant) -> CommandResult {
        self.carry_out(verb.name, arguments, now)
    }

    fn snapshot(&self, now: Instant) -> Vec<Row> {
        report::as_events(self.show_limits(now))
    }
}
