//! Responses: heads, interim ones, the switch to a tunnel, content.

use std::time::Instant;

use sluice_wire::http::body::Body;
use sluice_wire::http::chunked::Piece;
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::forward::{self, ResponseRules};
use sluice_wire::http::framing::ResponseFraming;
use sluice_wire::http::request::{Expect, Version};
use sluice_wire::http::response::ResponseHead;

use crate::code::Code;
use crate::effect::{ClientId, Closing, Effect, End, Then};
use crate::gate::{Gate, Outcome};
use crate::origins::ConnId;

use super::Gateway;
use super::client::{Phase, Step};
use super::content::relay;
use super::dispatch::Failure;
use super::exchange::{Coding, Replay, Reply, Source, Upload};
use super::origin::{ConnState, OriginConn};

/// What follows a whole response on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing yet: the connection may carry another request.
    Nothing,
    /// Bytes beyond it, or the end: the connection is of no more use.
    More,
}

const MALFORMED: Failure = Failure { outcome: Outcome::Malformed, code: Code::OriginMalformed };

impl<G: Gate> Gateway<G> {
    /// Bytes of the response to the request that `conn` carries for `id`.
    pub(super) fn read_response(
        &mut self,
        id: ClientId,
        conn: ConnId,
        chunk: &[u8],
        at: usize,
        now: Instant,
    ) -> Step {
        let Some(exchange) = self.exchange(id) else { return Step::Stop(chunk.len() - at, Then::Closed) };
        match exchange.reply {
            Reply::Awaited => self.read_response_head(id, conn, &chunk[at..], now),
            Reply::Relayed(..) => self.read_response_content(id, conn, chunk, at, now),
            Reply::Over => Step::Stop(chunk.len() - at, Then::Closed),
        }
    }

    fn read_response_head(&mut self, id: ClientId, conn: ConnId, bytes: &[u8], now: Instant) -> Step {
        let limits = self.limits.response;
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_deref_mut())
        else {
            return Step::Stop(bytes.len(), Then::Closed);
        };
        let Some(link) = self.conns.get_mut(conn.0) else { return Step::Stop(bytes.len(), Then::Closed) };
        if bytes.is_empty() {
            return Step::Stop(0, Then::More);
        }
        // A first byte: the connection was alive, and the request may have been acted on.
        exchange.replay = Replay::No;
        match link.reader.read(bytes, exchange.head.method(), &limits) {
            Ok(None) => Step::Stop(0, Then::More),
            Ok(Some((used, head))) => {
                let good = if head.is_interim() {
                    self.interim(id, &head)
                } else if head.status() == 101 {
                    self.switch(id, conn, &head, now)
                } else {
                    self.begin_response(id, &head, now)
                };
                if good {
                    let behind = if used < bytes.len() { Behind::More } else { Behind::Nothing };
                    return self.after_head(id, conn, behind, used, now);
                }
                self.fail(id, MALFORMED, now);
                Step::Stop(bytes.len(), Then::Closed)
            }
            Err(_) => {
                self.fail(id, MALFORMED, now);
                Step::Stop(bytes.len(), Then::Closed)
            }
        }
    }

    /// A response without content is over with its head.
    fn after_head(&mut self, id: ClientId, conn: ConnId, behind: Behind, used: usize, now: Instant) -> Step {
        let Some(exchange) = self.exchange(id) else { return Step::Used(used) };
        let over = matches!(&exchange.reply, Reply::Relayed(content, _) if content.is_done());
        if over {
            self.response_complete(id, conn, behind, now);
        }
        Step::Used(used)
    }

    /// 100, 102, 103: sent on to clients of HTTP/1.1. False: there are too many.
    fn interim(&mut self, id: ClientId, head: &ResponseHead) -> bool {
        let interim_max = self.config.settings.interim_max;
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_deref_mut())
        else {
            return true;
        };
        exchange.interims += 1;
        if exchange.interims > interim_max {
            return false;
        }
        let is_continue = head.status() == 100;
        // The client was told already, or did not ask.
        let unwanted = is_continue && exchange.expect == Expect::Nothing;
        if is_continue {
            exchange.expect = Expect::Nothing;
        }
        if exchange.head.version() == Version::Http11 && !unwanted {
            let pseudonym = self.config.pseudonym();
            self.outbox.write(End::Client(id), |out| forward::interim(out, head, pseudonym));
        }
        true
    }

    /// 101: what follows is a tunnel. False: nobody asked for it.
    fn switch(&mut self, id: ClientId, conn: ConnId, head: &ResponseHead, now: Instant) -> bool {
        let full = self.tunnels >= self.config.settings.tunnels_max;
        let Some(client) = self.clients.get_mut(id.0) else { return true };
        let Some(exchange) = client.exchange.as_deref_mut() else { return true };
        let Some(protocol) = head.switches_to(exchange.head.offers()) else { return false };
        if full {
            // Others have become tunnels since this one was let through.
            self.answer_instead(id, Code::Overload, Some(Outcome::Upgraded), now);
            return true;
        }
        let pseudonym = self.config.pseudonym();
        self.outbox.write(End::Client(id), |out| forward::switching(out, head, protocol, pseudonym));
        exchange.account.status = 101;
        exchange.account.source = Source::Origin;
        exchange.times.replied = Some(now);
        exchange.times.heard = now;
        exchange.times.half_closed = None;
        client.phase = Phase::Tunnel;
        self.tunnels += 1;
        if let Some(link) = self.conns.get_mut(conn.0) {
            link.state = ConnState::Tunnel;
            self.origins.succeeded(link.origin);
        }
        // What the client sent behind its request belongs to the tunnel now.
        self.effects.push_back(Effect::Pump(End::Client(id)));
        true
    }

    /// A final head: from here on the client is given this response or a broken connection. False: it cannot be.
    fn begin_response(&mut self, id: ClientId, head: &ResponseHead, now: Instant) -> bool {
        let Ok(content) = Body::of_response(head.framing(), &self.limits.response_body) else { return false };
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return true;
        };
        let version = exchange.head.version();
        let framing = head.framing().towards(version);
        // Content that was to wait for this answer will hardly come.
        let unlikely = exchange.waits_for_continue();
        exchange.persistence = match framing {
            ResponseFraming::UntilClose => Persistence::Close,
            // It stops the client (RFC 9112 §9.5), so more than can be dropped is not to be expected.
            _ if unlikely || head.status() >= 400 => self.persistence_after(id, &exchange),
            _ => self.persistence_of(id, &exchange),
        };
        exchange.expect = Expect::Nothing;
        if unlikely {
            exchange.upload = Upload::Unlikely;
        }
        let deaf = exchange.conn.and_then(|conn| self.conns.get(conn.0)).is_none_or(|link| link.deaf);
        let mut extra = Vec::new();
        if let Some(ticket) = exchange.ticket {
            self.gate.response_fields(ticket, now, &mut extra);
        }
        let rules = ResponseRules {
            pseudonym: self.config.pseudonym(),
            version,
            framing,
            persistence: exchange.persistence,
            date: self.clock.date(now),
            extra: &extra,
        };
        self.outbox.write(End::Client(id), |out| forward::response(out, head, &rules));
        let coding = if framing == ResponseFraming::Chunked { Coding::Chunks } else { Coding::Plain };
        exchange.reply = Reply::Relayed(content, coding);
        exchange.account.status = head.status();
        exchange.account.source = Source::Origin;
        exchange.times.replied = Some(now);
        exchange.times.answered = now;
        exchange.reusable = head.persistence();
        if let Some(origin) = exchange.origin {
            self.origins.succeeded(origin);
        }
        if let Some(client) = self.clients.get_mut(id.0) {
            client.exchange = Some(exchange);
        }
        if deaf {
            self.stop_upload(id);
        }
        true
    }

    fn read_response_content(
        &mut self,
        id: ClientId,
        conn: ConnId,
        chunk: &[u8],
        at: usize,
        now: Instant,
    ) -> Step {
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_deref_mut())
        else {
            return Step::Stop(chunk.len() - at, Then::Closed);
        };
        let Reply::Relayed(content, coding) = &mut exchange.reply else {
            return Step::Stop(chunk.len() - at, Then::Closed);
        };
        let (to, coding) = (End::Client(id), *coding);
        let mut used = at;
        exchange.times.answered = now;
        loop {
            match content.next(&chunk[used..]) {
                Ok(Piece::Data { skip, len }) => {
                    relay(&mut self.outbox, to, coding, used + skip, len);
                    used += skip + len;
                    exchange.account.bytes_out += len as u64;
                }
                Ok(Piece::Need { skip }) => return Step::Stop(used + skip - at, Then::More),
                Ok(Piece::End { skip }) => {
                    used += skip;
                    let behind = if used < chunk.len() { Behind::More } else { Behind::Nothing };
                    self.response_complete(id, conn, behind, now);
                    return Step::Used(used - at);
                }
                Err(_) => {
                    self.fail(id, MALFORMED, now);
                    return Step::Stop(chunk.len() - at, Then::Closed);
                }
            }
        }
    }

    /// The response is whole.
    pub(super) fn response_complete(&mut self, id: ClientId, conn: ConnId, behind: Behind, now: Instant) {
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        let Reply::Relayed(content, coding) = std::mem::replace(&mut exchange.reply, Reply::Over) else {
            return;
        };
        if coding == Coding::Chunks {
            let trailers = content.trailers();
            self.outbox.write(End::Client(id), |out| forward::trailers(out, trailers));
        }
        if let (Some(ticket), Some(dispatched)) = (exchange.ticket.take(), exchange.times.dispatched) {
            let replied = exchange.times.replied.unwrap_or(now);
            let head_after = replied.saturating_duration_since(dispatched);
            self.gate.settle(ticket, Outcome::Response { status: exchange.account.status, head_after }, now);
        }
        let link = self.conns.get(conn.0);
        let whole = exchange.times.asked.is_some() && link.is_some_and(OriginConn::has_taken_all);
        // A connection to an origin of an earlier configuration must not carry requests for another.
        let current = link.is_some_and(|link| !link.retired);
        let reusable = whole
            && current
            && behind == Behind::Nothing
            && exchange.reusable == Persistence::KeepAlive
            // Its PROXY header spoke of this client.
            && self.config.send_proxy.is_none()
            && !self.is_draining();
        if reusable {
            self.rest(&mut exchange, conn, now);
        } else {
            // Whatever it has not read of the request is of no more use to it.
            self.detach(&mut exchange, if whole { Closing::Flush } else { Closing::Abort });
        }
        self.answered(id, exchange, now);
    }

    /// The connection waits for another request.
    fn rest(&mut self, exchange: &mut super::exchange::Exchange, conn: ConnId, now: Instant) {
        exchange.conn = None;
        let Some(link) = self.conns.get_mut(conn.0) else { return };
        link.state = ConnState::Idle;
        link.client = None;
        let origin = link.origin;
        self.origins.end(origin);
        self.origins.put_idle(origin, conn, now);
    }
}
