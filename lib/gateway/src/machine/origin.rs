//! The origin's side: connections, and how they end.

use std::time::Instant;

use sluice_wire::http::proxy_protocol;
use sluice_wire::http::response::ResponseReader;

use crate::code::Code;
use crate::config::{Config, Security};
use crate::effect::{ClientId, Closing, End, Taken, Then};
use crate::gate::{Gate, Outcome};
use crate::origins::{ConnId, OriginId};

use super::Gateway;
use super::client::{Phase, Step};
use super::dispatch::Failure;
use super::exchange::Reply;
use super::response::Behind;

/// One connection to an origin.
#[derive(Debug)]
pub(super) struct OriginConn {
    pub(super) origin: OriginId,
    pub(super) state: ConnState,
    /// Whose request it carries.
    pub(super) client: Option<ClientId>,
    pub(super) reader: ResponseReader,
    pub(super) preface: Preface,
    /// Requests sent on it.
    pub(super) requests: u32,
    /// Since when it has not taken what it was sent.
    pub(super) blocked_at: Option<Instant>,
    /// It takes no more bytes: a write has failed.
    pub(super) deaf: bool,
    /// Why it could not be made, for the log.
    pub(super) trouble: Option<String>,
    /// The configuration has other origins now: it finishes what it carries and counts for none of them.
    pub(super) retired: bool,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnState {
    Connecting,
    /// Nobody's: any byte on it is one too many.
    Idle,
    Busy,
    /// A tunnel's.
    Tunnel,
    /// A check's.
    Check,
}

/// Where the PROXY header of a connection goes, if it begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// There is none.
    None,
    /// Before the first request, with it.
    WithRequest(proxy_protocol::Version),
    /// Before the TLS handshake, in plain: the shell asks for it.
    BeforeHandshake(proxy_protocol::Version),
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The other side shut its direction.
    Orderly,
    /// Reset, or worse.
    Broken,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Its name has no address.
    Unresolved,
    /// Refused, unreachable.
    Refused,
    /// Nobody answered.
    TimedOut,
    /// No TLS session.
    Tls,
    /// The certificate does not hold.
    Certificate,
}

/// The connection ended before a response began.
const RESET: Failure = Failure { outcome: Outcome::ResetBeforeHead, code: Code::OriginReset };

impl OriginConn {
    /// One that is being made for a client's request.
    pub(super) fn connecting(origin: OriginId, client: ClientId, preface: Preface) -> Self {
        Self::new(origin, ConnState::Connecting, Some(client), preface)
    }

    /// One that is being made for a check.
    pub(super) fn checking(origin: OriginId, preface: Preface) -> Self {
        Self::new(origin, ConnState::Check, None, preface)
    }

    fn new(origin: OriginId, state: ConnState, client: Option<ClientId>, preface: Preface) -> Self {
        let reader = ResponseReader::default();
        Self {
            origin,
            state,
            client,
            reader,
            preface,
            requests: 0,
            blocked_at: None,
            deaf: false,
            trouble: None,
            retired: false,
        }
    }

    /// Whether nothing it was sent waits in vain.
    pub(super) fn has_taken_all(&self) -> bool {
        !self.deaf && self.blocked_at.is_none()
    }
}

impl Preface {
    /// What a connection to this origin begins with.
    pub(super) fn of(config: &Config, origin: OriginId) -> Self {
        let security = config.origins.get(usize::from(origin.0)).map(|origin| origin.security);
        match (config.send_proxy, security) {
            (None, _) => Self::None,
            (Some(version), Some(Security::Tls)) => Self::BeforeHandshake(version),
            (Some(version), _) => Self::WithRequest(version),
        }
    }
}

impl ConnectFailure {
    pub(super) fn failure(self) -> Failure {
        let (outcome, code) = match self {
            Self::Unresolved => (Outcome::ConnectRefused, Code::Dns),
            Self::Refused => (Outcome::ConnectRefused, Code::ConnectRefused),
            Self::TimedOut => (Outcome::ConnectTimeout, Code::ConnectTimeout),
            Self::Tls => (Outcome::TlsFailed, Code::Tls),
            Self::Certificate => (Outcome::TlsFailed, Code::TlsCertificate),
        };
        Failure { outcome, code }
    }
}

impl<G: Gate> Gateway<G> {
    /// What a connection that is about to be made has to send before its TLS handshake.
    pub fn preface(&self, conn: ConnId, out: &mut Vec<u8>) {
        let Some(link) = self.conns.get(conn.0) else { return };
        if let Preface::BeforeHandshake(version) = link.preface {
            self.proxy_header(link, version, out);
        }
    }

    /// What a connection has to send before its first request, with it.
    pub(super) fn preface_request(&mut self, conn: ConnId) {
        let Some(link) = self.conns.get(conn.0).filter(|link| link.requests == 0) else { return };
        if let Preface::WithRequest(version) = link.preface {
            let mut header = Vec::new();
            self.proxy_header(link, version, &mut header);
            self.outbox.write(End::Origin(conn), |out| out.extend_from_slice(&header));
        }
    }

    /// Speaks of the client whose request the connection is made for; a check's is our own.
    fn proxy_header(&self, link: &OriginConn, version: proxy_protocol::Version, out: &mut Vec<u8>) {
        let incoming = link.client.and_then(|id| self.clients.get(id.0)).map(|client| client.incoming);
        let (peer, local) = incoming.map_or((None, None), |incoming| (incoming.peer, incoming.local));
        proxy_protocol::write(out, version, peer, local);
    }

    /// No connection could be made. `text` is for the log.
    pub fn origin_failed(&mut self, conn: ConnId, why: ConnectFailure, text: String, now: Instant) {
        let Some(link) = self.conns.get_mut(conn.0) else { return };
        match link.client {
            Some(id) => {
                link.trouble = Some(text);
                self.fail(id, why.failure(), now);
                self.arm(id, now);
            }
            None => self.checked(conn, Err(text), now),
        }
        self.finish_entry(now);
    }

    /// Bytes from an origin: what is left of earlier ones first.
    pub fn origin_input(&mut self, conn: ConnId, chunk: &[u8], now: Instant) -> Taken {
        if self.conns.get(conn.0).is_some_and(OriginConn::is_check) {
            return self.read_check(conn, chunk, now);
        }
        let client = self.conns.get(conn.0).and_then(|link| link.client);
        let taken = self.read_origin(conn, chunk, now);
        if let Some(id) = client {
            self.arm(id, now);
        }
        self.finish_entry(now);
        taken
    }

    /// The origin will send no more; all it sent was read.
    pub fn origin_ended(&mut self, conn: ConnId, now: Instant) {
        self.end_origin(conn, Ending::Orderly, now);
    }

    /// The connection is broken.
    pub fn origin_gone(&mut self, conn: ConnId, now: Instant) {
        self.end_origin(conn, Ending::Broken, now);
    }

    /// The connection takes no more bytes: a write has failed. What the origin sent before that can still be read, and a
    /// response that is whole counts, so only the upload stops here. A request of which no byte was taken goes to another
    /// connection.
    pub fn origin_deaf(&mut self, conn: ConnId, now: Instant) {
        let Some(link) = self.conns.get_mut(conn.0) else { return };
        link.deaf = true;
        let (ConnState::Busy, Some(id)) = (link.state, link.client) else { return };
        let Some(exchange) = self.exchange(id) else { return };
        if exchange.take_back() {
            self.fail(id, RESET, now);
        } else if matches!(exchange.reply, Reply::Awaited) {
            // From now on it is the origin's turn.
            exchange.times.asked.get_or_insert(now);
        } else {
            self.stop_upload(id);
        }
        self.arm(id, now);
        self.finish_entry(now);
    }

    fn end_origin(&mut self, conn: ConnId, ending: Ending, now: Instant) {
        let Some(link) = self.conns.get(conn.0) else { return };
        match (link.state, link.client) {
            (ConnState::Check, _) => self.checked(conn, Err("the connection ended".to_owned()), now),
            (ConnState::Tunnel, _) if ending == Ending::Orderly => self.tunnel_ended(End::Origin(conn), now),
            (ConnState::Tunnel, Some(id)) => self.close_tunnel(id, Closing::Abort, now),
            (ConnState::Busy, Some(id)) => self.response_ended(id, conn, ending, now),
            (ConnState::Connecting, Some(id)) => self.fail(id, ConnectFailure::Refused.failure(), now),
            (_, None) | (ConnState::Idle, Some(_)) => {
                let origin = link.origin;
                self.origins.forget_idle(origin, conn);
                self.drop_conn(conn, Closing::Flush);
            }
        }
        if let Some(id) = self.conns.get(conn.0).and_then(|link| link.client) {
            self.arm(id, now);
        }
        self.finish_entry(now);
    }

    /// The connection of an open exchange has ended.
    fn response_ended(&mut self, id: ClientId, conn: ConnId, ending: Ending, now: Instant) {
        let Some(exchange) = self.exchange(id) else { return };
        match &exchange.reply {
            Reply::Relayed(content, _) if ending == Ending::Orderly && content.end().is_ok() => {
                self.response_complete(id, conn, Behind::More, now);
            }
            Reply::Relayed(..) => {
                let failure = Failure { outcome: Outcome::BodyTruncated, code: Code::OriginReset };
                self.fail(id, failure, now);
            }
            Reply::Awaited | Reply::Over => self.fail(id, RESET, now),
        }
    }

    fn read_origin(&mut self, conn: ConnId, chunk: &[u8], now: Instant) -> Taken {
        let mut at = 0;
        loop {
            let Some(link) = self.conns.get(conn.0) else {
                return Taken { consumed: chunk.len(), then: Then::Closed };
            };
            let step = match (link.state, link.client) {
                (ConnState::Busy, Some(id)) => self.read_response(id, conn, chunk, at, now),
                (ConnState::Tunnel, Some(_)) => self.read_tunnel(End::Origin(conn), chunk, at, now),
                // Bytes nobody asked for (RFC 9112 §9.2): they must never be taken for the next response.
                _ if at < chunk.len() => {
                    let origin = link.origin;
                    self.origins.forget_idle(origin, conn);
                    self.drop_conn(conn, Closing::Abort);
                    Step::Stop(chunk.len() - at, Then::Closed)
                }
                _ => Step::Stop(0, Then::More),
            };
            match step {
                Step::Used(count) => at += count,
                Step::Stop(count, then) => return Taken { consumed: at + count, then },
            }
        }
    }

    /// Bytes of a tunnel, either way.
    pub(super) fn read_tunnel(&mut self, from: End, chunk: &[u8], at: usize, now: Instant) -> Step {
        let Some(to) = self.destination(from) else { return Step::Stop(chunk.len() - at, Then::Closed) };
        let len = chunk.len() - at;
        let client = match (from, to) {
            (End::Client(id), _) | (_, End::Client(id)) => id,
            (End::Origin(_), End::Origin(_)) => return Step::Stop(len, Then::Closed),
        };
        if let Some(exchange) = self.exchange(client) {
            exchange.times.heard = now;
            match from {
                End::Client(_) => exchange.account.bytes_in += len as u64,
                End::Origin(_) => exchange.account.bytes_out += len as u64,
            }
        }
        self.outbox.relay(to, at, chunk.len());
        Step::Stop(len, Then::More)
    }

    /// One side of a tunnel has shut its direction: so does ours towards the other, and when both have, it is over.
    pub(super) fn tunnel_ended(&mut self, from: End, now: Instant) {
        let Some(to) = self.destination(from) else { return };
        let client = match (from, to) {
            (End::Client(id), _) | (_, End::Client(id)) => id,
            (End::Origin(_), End::Origin(_)) => return,
        };
        let Some(exchange) = self.exchange(client) else { return };
        if exchange.times.half_closed.is_some() {
            return self.close_tunnel(client, Closing::Flush, now);
        }
        exchange.times.half_closed = Some(now);
        self.effects.push_back(crate::effect::Effect::Shut(to));
    }

    /// The tunnel is over.
    pub(super) fn close_tunnel(&mut self, id: ClientId, closing: Closing, now: Instant) {
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        self.tunnels = self.tunnels.saturating_sub(1);
        self.detach(&mut exchange, closing);
        if let Some(ticket) = exchange.ticket.take() {
            self.gate.settle(ticket, Outcome::Upgraded, now);
        }
        self.account(id, &mut exchange, now);
        if let Some(client) = self.clients.get_mut(id.0) {
            client.phase = Phase::Head;
        }
        self.close_client(id, closing, now);
    }
}
