//! From the head of a request to a connection that carries it: admission, the choice of an origin, failing and trying
//! once more.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use sluice_wire::http::body::Body;
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::forward::{self, RequestRules, Sender};
use sluice_wire::http::forwarded;
use sluice_wire::http::framing::RequestFraming;
use sluice_wire::http::method::Method;
use sluice_wire::http::request::{Expect, RequestHead};

use crate::code::Code;
use crate::effect::{ClientId, Closing, Effect, End};
use crate::gate::{Admission, Asker, Gate, Head, Outcome, Peer, Purpose, Refusal, Ticket};
use crate::origins::{Balance, Change, ConnId, OriginId, Reuse};

use super::Gateway;
use super::answer::Own;
use super::client::Phase;
use super::exchange::{Account, Attempt, Exchange, Replay, Reply, Times, Upload};
use super::origin::{ConnState, OriginConn, Preface};

/// What went wrong between dispatch and the end of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) code: Code,
}

impl<G: Gate> Gateway<G> {
    /// A head is complete: asks the gate.
    pub(super) fn begin(&mut self, id: ClientId, head: RequestHead, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        let incoming = client.incoming;
        let config = std::sync::Arc::clone(&self.config);
        let address = forwarded::client_address(
            head.fields(),
            config.style,
            incoming.address(),
            incoming.trust,
            |address| config.trusts(Some(address)),
        );
        let host = head.authority().unwrap_or(config.default_host());
        let route = config.routes.find(head.method_text(), host, head.path());
        let purpose = if is_preflight(&head) { Purpose::Preflight } else { Purpose::Ordinary };
        let content = match Body::of_request(head.framing(), &self.limits.request_body) {
            Ok(content) => content,
            Err(fault) => return self.refuse_head(id, &head, fault, now),
        };
        if head.authority().is_none() && config.default_host().is_empty() {
            return self.refuse_head(id, &head, sluice_wire::http::Fault::Host, now);
        }
        let upload = if content.is_done() { Upload::Done } else { Upload::Relayed };
        let serial = self.next_serial;
        self.next_serial += 1;
        let exchange = Exchange {
            route,
            address,
            serial,
            ticket: None,
            content,
            upload,
            reply: Reply::Awaited,
            expect: head.expect(),
            conn: None,
            origin: None,
            replay: Replay::No,
            attempt: Attempt::First,
            interims: 0,
            reusable: Persistence::Close,
            persistence: head.persistence(),
            times: Times::new(now),
            account: Account::default(),
            head,
        };
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let exchange = client.exchange.insert(Box::new(exchange));
        if exchange.head.max_forwards() == Some(0) {
            return self.answer(id, Own::Options, now);
        }
        if self.buffered > config.settings.buffer_total_bytes {
            return self.answer(id, Own::code(Code::Overload), now);
        }
        if exchange.head.offers().next().is_some() && self.tunnels >= config.settings.tunnels_max {
            return self.answer(id, Own::code(Code::Overload), now);
        }
        let head = Head { route, purpose, request: &exchange.head };
        let peer = Peer { client: address, trust: incoming.trust };
        match self.gate.admit(&head, &peer, Asker(id.0), now) {
            Admission::Pass(ticket) => {
                exchange.ticket = Some(ticket);
                self.dispatch(id, None, now);
            }
            Admission::Delay { ticket, until: _ } => {
                exchange.ticket = Some(ticket);
                client.phase = Phase::Queued;
            }
            Admission::Refuse(refusal) => self.refuse(id, &refusal, now),
            Admission::Serve(entry) => self.answer(id, Own::Entry(entry), now),
        }
    }

    fn refuse(&mut self, id: ClientId, refusal: &Refusal, now: Instant) {
        let preflight = self.exchange(id).is_some_and(|exchange| is_preflight(&exchange.head));
        let own = if preflight && !self.config.settings.cors_allow_origin.is_empty() {
            Own::Preflight
        } else {
            Own::Refusal(refusal.clone())
        };
        self.answer(id, own, now);
    }

    /// The gate lets a queued request go.
    pub(super) fn release(&mut self, id: ClientId, ticket: Ticket, now: Instant) {
        if self.holds(id, ticket) {
            self.dispatch(id, None, now);
            let open = self.clients.get(id.0).is_some_and(|client| client.phase == Phase::Open);
            if open && self.exchange(id).is_some_and(|exchange| !exchange.is_uploaded()) {
                // Content may have come with the head, and no edge will tell of it. A connection that is yet to be made
                // has it read then.
                self.effects.push_back(Effect::Pump(End::Client(id)));
            }
            self.arm(id, now);
        }
    }

    /// The gate has given a queued request up.
    pub(super) fn expire(&mut self, id: ClientId, ticket: Ticket, refusal: &Refusal, now: Instant) {
        if self.holds(id, ticket) {
            if let Some(exchange) = self.exchange(id) {
                exchange.ticket = None;
            }
            self.refuse(id, refusal, now);
            self.arm(id, now);
        }
    }

    fn holds(&mut self, id: ClientId, ticket: Ticket) -> bool {
        let queued = self.clients.get(id.0).is_some_and(|client| client.phase == Phase::Queued);
        queued && self.exchange(id).is_some_and(|exchange| exchange.ticket == Some(ticket))
    }

    pub(super) fn exchange(&mut self, id: ClientId) -> Option<&mut Exchange> {
        self.clients.get_mut(id.0)?.exchange.as_deref_mut()
    }

    /// Finds a connection for an admitted request: an idle one, or a new one to an origin that is not `avoid`.
    fn dispatch(&mut self, id: ClientId, avoid: Option<OriginId>, now: Instant) {
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_deref_mut())
        else {
            return;
        };
        exchange.times.dispatched.get_or_insert(now);
        let hash = hash_of(self.origins.balance(), exchange);
        let Some(origin) = self.origins.choose(hash, avoid, now) else {
            return self.give_up(id, Code::Overload, now);
        };
        let (may_repeat, attempt) = (may_repeat(exchange, self.config.settings.replay_max), exchange.attempt);
        let reuse = if may_repeat { Reuse::Any } else { Reuse::Recent };
        exchange.origin = Some(origin);
        if attempt == Attempt::First
            && let Some(conn) = self.origins.take_idle(origin, reuse, now)
        {
            exchange.replay = if may_repeat { Replay::Kept(Vec::new()) } else { Replay::Unsent(Vec::new()) };
            exchange.account.reused = true;
            return self.attach(id, conn, now);
        }
        exchange.replay = match std::mem::replace(&mut exchange.replay, Replay::No) {
            kept if attempt == Attempt::Second => kept,
            _ => Replay::No,
        };
        exchange.account.reused = false;
        exchange.times.dialed = Some(now);
        if !self.open(origin) {
            if let Some(exchange) = self.exchange(id) {
                exchange.origin = None;
            }
            return self.give_up(id, Code::Overload, now);
        }
        self.origins.begin(origin);
        let conn =
            ConnId(self.conns.insert(OriginConn::connecting(origin, id, Preface::of(&self.config, origin))));
        if let Some(client) = self.clients.get_mut(id.0) {
            client.phase = Phase::Dialing;
            if let Some(exchange) = &mut client.exchange {
                exchange.conn = Some(conn);
            }
        }
        self.effects.push_back(Effect::Connect(conn, origin));
    }

    /// Counts a connection about to be made. Where there are as many as there may be, one that rests, and could not carry
    /// this request, makes room.
    fn open(&mut self, origin: OriginId) -> bool {
        if self.origins.open(origin) {
            return true;
        }
        let Some(oldest) = self.origins.take_oldest(origin) else { return false };
        self.drop_conn(oldest, Closing::Flush);
        self.origins.open(origin)
    }

    /// Takes an idle connection into use.
    fn attach(&mut self, id: ClientId, conn: ConnId, now: Instant) {
        let Some(link) = self.conns.get_mut(conn.0) else { return self.give_up(id, Code::Overload, now) };
        link.state = ConnState::Busy;
        link.client = Some(id);
        self.origins.begin(link.origin);
        if let Some(exchange) = self.exchange(id) {
            exchange.conn = Some(conn);
        }
        self.send_head(id, conn, now);
    }

    /// A connection is up. Bytes of the request follow at once.
    pub fn origin_connected(&mut self, conn: ConnId, now: Instant) {
        let Some(link) = self.conns.get_mut(conn.0) else { return };
        if link.is_check() {
            let origin = link.origin;
            return self.ask_check(conn, origin);
        }
        link.state = ConnState::Busy;
        if let Some(id) = link.client {
            self.send_head(id, conn, now);
            self.effects.push_back(Effect::Pump(End::Client(id)));
            self.arm(id, now);
        }
        self.finish_entry(now);
    }

    /// Writes the head, and what a first attempt had sent of the content.
    fn send_head(&mut self, id: ClientId, conn: ConnId, now: Instant) {
        self.preface_request(conn);
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.phase = Phase::Open;
        let incoming = client.incoming;
        let Some(exchange) = client.exchange.as_deref_mut() else { return };
        let mut extra = Vec::new();
        if let Some(ticket) = exchange.ticket {
            self.gate.request_fields(ticket, &mut extra);
        }
        let rules = RequestRules {
            pseudonym: self.config.pseudonym(),
            style: self.config.style,
            default_host: self.config.default_host(),
        };
        let sender = Sender {
            address: incoming.address(),
            trust: incoming.trust,
            scheme: incoming.scheme,
            expect: exchange.expect,
            extra: &extra,
        };
        let written = self
            .outbox
            .write(End::Origin(conn), |out| forward::request(out, &exchange.head, &rules, &sender));
        if written.is_err() {
            return self.give_up(id, Code::Loop, now);
        }
        exchange.times.sent = Some(now);
        if let Some(ticket) = exchange.ticket.filter(|_| exchange.times.dispatched != Some(now)) {
            self.gate.sent(ticket, now);
        }
        if let Replay::Kept(kept) = &exchange.replay {
            self.outbox.write(End::Origin(conn), |out| out.extend_from_slice(kept));
        }
        exchange.times.asked = exchange.is_uploaded().then_some(now);
        if exchange.attempt == Attempt::Second {
            exchange.replay = Replay::No;
        }
        if let Some(link) = self.conns.get_mut(conn.0) {
            link.requests += 1;
        }
    }

    /// No byte has reached an origin, and none will.
    fn give_up(&mut self, id: ClientId, code: Code, now: Instant) {
        self.answer_instead(id, code, None, now);
    }

    /// Answers for an origin that is not waited for any more, and may have heard of the request if there is an outcome.
    pub(super) fn answer_instead(
        &mut self,
        id: ClientId,
        code: Code,
        outcome: Option<Outcome>,
        now: Instant,
    ) {
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        self.detach(&mut exchange, Closing::Abort);
        if let Some(ticket) = exchange.ticket.take() {
            match outcome {
                Some(outcome) => self.gate.settle(ticket, outcome, now),
                None => self.gate.abandon(ticket, now),
            }
        }
        if let Some(client) = self.clients.get_mut(id.0) {
            client.exchange = Some(exchange);
        }
        self.answer(id, Own::code(code), now);
    }

    /// An exchange has failed on its way to the origin or back. A request that can be repeated gets one more chance
    /// where the failure says nothing about it.
    pub(super) fn fail(&mut self, id: ClientId, failure: Failure, now: Instant) {
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        let origin = exchange.origin;
        let stale = failure.outcome == Outcome::ResetBeforeHead && exchange.account.reused;
        let unreached =
            matches!(failure.outcome, Outcome::ConnectRefused | Outcome::ConnectTimeout | Outcome::TlsFailed);
        let closing = if unreached { Closing::Flush } else { Closing::Abort };
        let link = exchange.conn.and_then(|conn| self.conns.get_mut(conn.0));
        let trouble = link.and_then(|link| link.trouble.take());
        self.detach(&mut exchange, closing);
        if !stale && let Some(origin) = origin {
            self.origin_trouble(origin, failure.code, trouble, now);
        }
        let replay = stale && exchange.may_replay();
        let elsewhere = unreached && exchange.attempt == Attempt::First && self.origins.len() > 1;
        if replay || elsewhere {
            if replay {
                exchange.account.retries += 1;
                self.stats.stale_retry(origin);
            }
            exchange.attempt = Attempt::Second;
            if let Some(client) = self.clients.get_mut(id.0) {
                client.exchange = Some(exchange);
            }
            return self.dispatch(id, origin.filter(|_| elsewhere), now);
        }
        if let Some(ticket) = exchange.ticket.take() {
            self.gate.settle(ticket, failure.outcome, now);
        }
        let begun = !matches!(exchange.reply, Reply::Awaited);
        exchange.account.code = Some(failure.code);
        if let Some(client) = self.clients.get_mut(id.0) {
            client.exchange = Some(exchange);
        }
        if begun {
            // Its head went out: only a broken connection tells that the rest will not come (RFC 9112 §8).
            self.close_client(id, Closing::Abort, now);
        } else {
            self.answer(id, Own::code(failure.code), now);
        }
    }
}

impl<G: Gate> Gateway<G> {
    /// Counts a failure of an origin, and tells of it where that is due.
    fn origin_trouble(&mut self, origin: OriginId, code: Code, trouble: Option<String>, now: Instant) {
        self.stats.origin_error(origin, code);
        let why = trouble.unwrap_or_else(|| code.detail().to_owned());
        if self.origins.failed(origin, now) == Some(Change::Down) {
            self.log_origin(origin, Change::Down, &why);
        }
        if let (Some(failures), Some(endpoint)) =
            (self.origins.to_tell(origin, now), self.config.origins.get(usize::from(origin.0)))
        {
            let event = crate::event::origin_failing(&endpoint.name, code.name(), &why, failures);
            self.effects.push_back(Effect::Log(event));
        }
    }
}

/// OPTIONS with what the Fetch standard's preflight has.
fn is_preflight(head: &RequestHead) -> bool {
    let fields = head.fields();
    let asks = |name: &'static [u8]| fields.named(name).next().is_some();
    head.method() == Method::Options && asks(b"Origin") && asks(b"Access-Control-Request-Method")
}

/// Whether the request may be sent twice: the method says so, and its content fits what is kept.
fn may_repeat(exchange: &Exchange, replay_max: usize) -> bool {
    let fits = match exchange.head.framing() {
        RequestFraming::None => true,
        RequestFraming::Length(len) => len <= replay_max as u64,
        RequestFraming::Chunked => true,
    };
    fits && exchange.head.method().is_idempotent() && exchange.expect == Expect::Nothing
}

/// What the balance tells requests apart by.
fn hash_of(balance: &Balance, exchange: &Exchange) -> u64 {
    let mut hasher = DefaultHasher::new();
    match balance {
        Balance::LeastInflight | Balance::RoundRobin => return 0,
        Balance::HashAddress => exchange.address.hash(&mut hasher),
        Balance::HashPath => exchange.head.path().hash(&mut hasher),
        Balance::HashHeader(name) => {
            exchange.head.fields().named(name.as_bytes()).for_each(|value| value.hash(&mut hasher));
        }
    }
    hasher.finish()
}
