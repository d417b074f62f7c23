//! The limiter driven by hand and by seeded simulation, on a virtual clock.

mod leases;
mod limits;
mod order;
mod overload;
mod queue;
mod sim;

use std::collections::hash_map::RandomState;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use sluice_gateway::code::Code;
use sluice_gateway::gate::{
    Admission, Asker, Effect, Gate, Head, Outcome, Peer, Purpose, Refusal, RouteId, Ticket, Trust,
};
use sluice_unix::slab::Key;
use sluice_wire::http::limits::HeadLimits;
use sluice_wire::http::request::{RequestHead, RequestReader};

use super::Limiter;
use super::policy::{Policy, QueueOrder, RoutePolicy};

/// The first moment of a virtual clock.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// The head of a request.
pub(crate) fn request(method: &str, target: &[u8], fields: &[(&str, &[u8])]) -> RequestHead {
    let mut text = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: h\r\n"].concat();
    for (name, value) in fields {
        text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    let read = RequestReader::default().read(&text, &HeadLimits::REQUEST);
    read.unwrap().unwrap().1
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A request to make.
#[derive(Clone, Copy)]
struct Ask<'a> {
    client: u32,
    route: u16,
    method: &'a str,
    purpose: Purpose,
    trust: Trust,
    fields: &'a [(&'a str, &'a [u8])],
}

fn from(client: u32) -> Ask<'static> {
    let purpose = Purpose::Ordinary;
    Ask { client, route: 0, method: "GET", purpose, trust: Trust::No, fields: &[] }
}

/// A limiter with a clock.
struct Bench {
    limiter: Limiter,
    start: Instant,
    now: Instant,
    asked: u32,
}

/// What became of waiting requests.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Released(u32),
    Expired(u32, Code),
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let now = start();
        let limiter = Limiter::new(policy, RandomState::new(), now);
        Self { limiter, start: now, now, asked: 0 }
    }

    /// One route with these changes to the built-in values.
    fn with(change: impl FnOnce(&mut RoutePolicy)) -> Self {
        Self::new(policy_with(change))
    }

    fn at(&mut self, at_ms: u64) -> &mut Self {
        let to = self.start + ms(at_ms);
        assert!(to >= self.now, "the clock goes forward");
        self.now = to;
        self
    }

    /// Asks; the number of the request is that of its asker.
    fn ask(&mut self, ask: Ask<'_>) -> Admission {
        self.asked += 1;
        let asker = Asker(Key { index: self.asked, generation: 1 });
        let request = request(ask.method, b"/", ask.fields);
        let head = Head { route: RouteId(ask.route), purpose: ask.purpose, request: &request };
        let client = Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + ask.client)));
        self.limiter.admit(&head, &Peer { client, trust: ask.trust }, asker, self.now)
    }

    fn pass(&mut self, ask: Ask<'_>) -> Ticket {
        match self.ask(ask) {
            Admission::Pass(ticket) => ticket,
            other => panic!("not passed: {other:?}"),
        }
    }

    fn delay(&mut self, ask: Ask<'_>) -> (Ticket, Duration) {
        match self.ask(ask) {
            Admission::Delay { ticket, until } => (ticket, until - self.now),
            other => panic!("not delayed: {other:?}"),
        }
    }

    fn refuse(&mut self, ask: Ask<'_>) -> Refusal {
        match self.ask(ask) {
            Admission::Refuse(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A good answer.
    fn settle(&mut self, ticket: Ticket) {
        self.settle_as(ticket, Outcome::Response { status: 200, head_after: ms(1) });
    }

    fn settle_as(&mut self, ticket: Ticket, outcome: Outcome) {
        self.limiter.settle(ticket, outcome, self.now);
    }

    /// All that has been decided about waiting requests.
    fn news(&mut self) -> Vec<News> {
        let effects = std::iter::from_fn(|| self.limiter.poll());
        effects
            .filter_map(|effect| match effect {
                Effect::Release(_, asker) => Some(News::Released(asker.0.index)),
                Effect::Expire(_, asker, refusal) => Some(News::Expired(asker.0.index, refusal.code)),
                _ => None,
            })
            .collect()
    }

    /// Runs timers up to the moment, and tells what happened when.
    fn run_to(&mut self, to_ms: u64) -> Vec<(u64, News)> {
        let to = self.start + ms(to_ms);
        let mut news = Vec::new();
        while let Some(due) = self.limiter.poll_timeout().filter(|due| *due <= to) {
            self.now = self.now.max(due);
            self.limiter.handle_timeout(self.now);
            let at = (self.now - self.start).as_millis() as u64;
            news.extend(self.news().into_iter().map(|one| (at, one)));
        }
        self.now = to;
        news
    }
}

fn policy_with(change: impl FnOnce(&mut RoutePolicy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy.routes[0]);
    let route = &policy.routes[0];
    (policy.queue_size, policy.max_in_flight) = (route.queue_size, route.max_in_flight);
    policy
}
