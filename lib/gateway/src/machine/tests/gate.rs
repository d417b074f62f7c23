//! A gate that does as it is told and keeps a ledger of its tickets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_unix::slab::Slab;
use sluice_wire::control::Row;

use crate::code::Code;
use crate::gate::{
    Admission, Asker, CommandResult, Effect, Entry, Gate, Head, Outcome, Peer, QueueDrain, Refusal, Ticket,
    Verb,
};
use crate::metrics::{Exposition, Metric};

/// What it says to the next requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mood {
    Pass,
    Delay,
    Refuse(Code),
    Serve(Entry),
}

/// How a ticket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Settled(Outcome),
    Abandoned,
    Expired,
}

#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) mood: Mood,
    tickets: Slab<Asker>,
    pub(super) queue: VecDeque<(Ticket, Asker)>,
    effects: VecDeque<Effect>,
    pub(super) endings: Vec<Ending>,
    pub(super) admitted: usize,
    /// When heads were said to leave later than they were dispatched.
    pub(super) sent: Vec<Instant>,
}

impl Scripted {
    pub(super) fn new(mood: Mood) -> Self {
        Self {
            mood,
            tickets: Slab::new(),
            queue: VecDeque::new(),
            effects: VecDeque::new(),
            endings: Vec::new(),
            admitted: 0,
            sent: Vec::new(),
        }
    }

    /// Tickets that are not over.
    pub(super) fn open(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn release(&mut self) {
        if let Some((ticket, asker)) = self.queue.pop_front() {
            self.effects.push_back(Effect::Release(ticket, asker));
        }
    }

    pub(super) fn expire(&mut self, code: Code) {
        if let Some((ticket, asker)) = self.queue.pop_front() {
            self.end(ticket, Ending::Expired);
            self.effects.push_back(Effect::Expire(ticket, asker, refusal(code)));
        }
    }

    fn end(&mut self, ticket: Ticket, ending: Ending) {
        assert!(self.tickets.remove(ticket.0).is_some(), "{ticket:?} ends twice: {ending:?}");
        self.queue.retain(|(queued, _)| *queued != ticket);
        self.endings.push(ending);
    }
}

fn refusal(code: Code) -> Refusal {
    Refusal { code, retry_after: Some(Duration::from_secs(5)), fields: Vec::new() }
}

impl Gate for Scripted {
    const EVENTS: &'static [(&'static str, &'static str)] = &[];
    const METRICS: &'static [Metric] = &[];
    const VERBS: &'static [Verb] = &[];

    fn admit(&mut self, _: &Head<'_>, _: &Peer, asker: Asker, now: Instant) -> Admission {
        match &self.mood {
            Mood::Refuse(code) => return Admission::Refuse(refusal(*code)),
            Mood::Serve(entry) => return Admission::Serve(entry.clone()),
            Mood::Pass | Mood::Delay => {}
        }
        self.admitted += 1;
        let ticket = Ticket(self.tickets.insert(asker));
        if self.mood == Mood::Pass {
            return Admission::Pass(ticket);
        }
        self.queue.push_back((ticket, asker));
        Admission::Delay { ticket, until: now + Duration::from_secs(3) }
    }

    fn sent(&mut self, ticket: Ticket, now: Instant) {
        assert!(self.tickets.contains(ticket.0), "{ticket:?} is over");
        self.sent.push(now);
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome, _: Instant) {
        self.end(ticket, Ending::Settled(outcome));
    }

    fn abandon(&mut self, ticket: Ticket, _: Instant) {
        self.end(ticket, Ending::Abandoned);
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn drain(&mut self, queue: QueueDrain, _: Instant) {
        while queue == QueueDrain::Refuse && !self.queue.is_empty() {
            self.expire(Code::Draining);
        }
    }

    fn request_fields(&self, _: Ticket, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Gate: in\r\n");
    }

    fn response_fields(&self, _: Ticket, _: Instant, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Gate: out\r\n");
    }

    fn expose(&self, _: &mut Exposition<'_>, _: Instant) {}

    fn command(&mut self, _: &Verb, _: &[&str], _: Instant) -> CommandResult {
        Ok(Vec::new())
    }

    fn snapshot(&self, _: Instant) -> Vec<Row> {
        Vec::new()
    }
}
