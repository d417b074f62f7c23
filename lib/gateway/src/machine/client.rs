//! The client's side: connections, heads of requests, content while it is nobody's, and leaving.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sluice_wire::http::connection::Persistence;
use sluice_wire::http::forwarded::{Scheme, Trust};
use sluice_wire::http::request::RequestReader;

use crate::effect::{ClientId, Closing, Effect, End, Taken, Then};
use crate::gate::{Gate, Outcome};
use crate::origins::ConnId;
use crate::settings::QueueHalfClose;

use super::Gateway;
use super::answer::Complaint;
use super::exchange::{Exchange, Reply, Upload};

/// A connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Whom we talk to, or whom its PROXY header speaks of; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Where it was connected to, if that matters (`send_proxy`).
    pub local: Option<SocketAddr>,
    /// Whether what it says of others is believed.
    pub trust: Trust,
    /// Whether it came by TLS.
    pub scheme: Scheme,
}

impl Incoming {
    /// The peer's address without its port.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}

/// Why a connection cannot be a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// There are as many as there may be, or the process drains: it is told so ([`Gateway::overload`]).
    Full,
    /// Its address has as many as one may have: it is closed.
    Address,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) incoming: Incoming,
    pub(super) serial: u64,
    pub(super) phase: Phase,
    /// When the phase began; in [`Phase::Head`] when its first byte came, or the connection became idle.
    pub(super) since: Instant,
    /// Requests read so far.
    pub(super) requests: u32,
    reader: RequestReader,
    pub(super) exchange: Option<Box<Exchange>>,
    /// It has shut its direction, and all it sent was read: there will be no further request.
    ended: bool,
    /// Since when it has not taken what it was sent.
    pub(super) blocked_at: Option<Instant>,
    /// The soonest timer pending.
    pub(super) timer_at: Option<Instant>,
}

/// See the picture in [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests, or within a head.
    Head,
    /// The gate holds it.
    Queued,
    /// A connection to an origin is being made.
    Dialing,
    /// Request and response are on their way.
    Open,
    /// Both sides do as they please.
    Tunnel,
    /// It has been answered; content it still sends is dropped before the next request.
    Drop,
}

/// What a step of reading came to.
pub(super) enum Step {
    /// So many bytes are used up; look at the rest.
    Used(usize),
    /// So many bytes are used up, and that is all for now.
    Stop(usize, Then),
}

impl Client {
    /// Whether it is between requests.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Head && !self.reader.has_begun()
    }

    /// Whether a request has begun that is not whole.
    pub(super) fn is_in_head(&self) -> bool {
        self.phase == Phase::Head && self.reader.has_begun()
    }

    /// The connection its bytes go to.
    #[inline]
    pub(super) fn conn(&self) -> Option<ConnId> {
        let exchange = self.exchange.as_ref()?;
        match (self.phase, exchange.upload) {
            (Phase::Open, Upload::Relayed | Upload::Unlikely | Upload::Done) | (Phase::Tunnel, _) => {
                exchange.conn
            }
            _ => None,
        }
    }
}

impl<G: Gate> Gateway<G> {
    /// A connection was accepted.
    ///
    /// # Errors
    /// [`TurnedAway`]: there is no room for it.
    pub fn client_connected(&mut self, incoming: Incoming, now: Instant) -> Result<ClientId, TurnedAway> {
        let settings = &self.config.settings;
        if self.clients.len() >= settings.client_conns_max as usize || self.is_draining() {
            return Err(TurnedAway::Full);
        }
        let most = settings.client_conns_per_address;
        if let Some(address) = incoming.address() {
            let count = self.addresses.entry(address).or_default();
            if most > 0 && *count >= most {
                return Err(TurnedAway::Address);
            }
            *count += 1;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let id = ClientId(self.clients.insert(Client {
            incoming,
            serial,
            phase: Phase::Head,
            since: now,
            requests: 0,
            reader: RequestReader::default(),
            exchange: None,
            ended: false,
            blocked_at: None,
            timer_at: None,
        }));
        self.arm(id, now);
        Ok(id)
    }

    /// A connection was closed before it was a client, for a reason that is counted among the bad requests.
    pub fn not_entered(&mut self, reason: &'static str) {
        self.stats.bad_request(reason);
    }

    /// Bytes from a client: what is left of earlier ones first.
    pub fn client_input(&mut self, id: ClientId, chunk: &[u8], now: Instant) -> Taken {
        let taken = self.read_client(id, chunk, now);
        self.arm(id, now);
        self.finish_entry(now);
        taken
    }

    /// The client will send no more; all it sent was read.
    pub fn client_ended(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.ended = true;
        match client.phase {
            Phase::Head | Phase::Drop => self.close_client(id, Closing::Flush, now),
            Phase::Open => self.cut_short(id, now),
            Phase::Tunnel => self.tunnel_ended(End::Client(id), now),
            Phase::Queued | Phase::Dialing => self.half_closed(id, now),
        }
        self.finish_entry(now);
    }

    /// The client sends no more within an exchange. Content that it announced will not come: where an answer is under
    /// way the origin is told so, by the end of our direction, and it is the one that decides what becomes of it.
    fn cut_short(&mut self, id: ClientId, now: Instant) {
        let Some(exchange) = self.exchange(id) else { return };
        match (exchange.upload, &exchange.reply) {
            (Upload::Relayed, Reply::Awaited) => return self.lose_client(id, now),
            (Upload::Relayed | Upload::Unlikely, _) => {
                exchange.upload = Upload::Dropped(0);
                let to = exchange.conn.map(End::Origin);
                self.effects.extend(to.map(Effect::Shut));
            }
            (Upload::Dropped(_) | Upload::Done, _) => {}
        }
        if let Some(exchange) = self.exchange(id).filter(|exchange| !exchange.is_uploaded()) {
            exchange.persistence = Persistence::Close;
        }
        self.half_closed(id, now);
    }

    /// The client has shut its direction, seen while its bytes are not read: what it sent before may still be there.
    pub fn client_hung_up(&mut self, id: ClientId, now: Instant) {
        self.half_closed(id, now);
        self.finish_entry(now);
    }

    /// The connection is broken.
    pub fn client_gone(&mut self, id: ClientId, now: Instant) {
        self.lose_client(id, now);
        self.finish_entry(now);
    }

    fn half_closed(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        match client.phase {
            Phase::Queued if self.config.settings.queue_half_close == QueueHalfClose::Leave => {
                self.lose_client(id, now);
            }
            Phase::Queued | Phase::Dialing | Phase::Open => {
                if let Some(exchange) = &mut client.exchange {
                    exchange.times.half_closed.get_or_insert(now);
                }
                self.arm(id, now);
            }
            Phase::Head | Phase::Drop | Phase::Tunnel => {}
        }
    }

    /// The client is gone, whatever it was waiting for.
    pub(super) fn lose_client(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        if client.phase == Phase::Tunnel {
            return self.close_tunnel(id, Closing::Abort, now);
        }
        if let Some(mut exchange) = client.exchange.take() {
            self.client_left(id, &mut exchange, now);
        }
        self.close_client(id, Closing::Abort, now);
    }

    /// Ends an exchange whose client has left: its ticket, its connection, its line in the log.
    fn client_left(&mut self, id: ClientId, exchange: &mut Exchange, now: Instant) {
        if let Some(ticket) = exchange.ticket.take() {
            match (exchange.times.sent, exchange.times.dispatched) {
                (Some(_), Some(dispatched)) => {
                    let after = now.saturating_duration_since(dispatched);
                    let head = match exchange.times.replied {
                        Some(_) => crate::gate::HeadSeen::Yes,
                        None => crate::gate::HeadSeen::No,
                    };
                    self.gate.settle(ticket, Outcome::ClientGone { after, head }, now);
                }
                _ => self.gate.abandon(ticket, now),
            }
        }
        self.detach(exchange, Closing::Abort);
        self.account(id, exchange, now);
    }

    /// Forgets a client and has its connection closed. Its exchange, if any, is over already.
    pub(super) fn close_client(&mut self, id: ClientId, closing: Closing, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let incoming = client.incoming;
        if let Some(mut exchange) = client.exchange.take() {
            self.client_left(id, &mut exchange, now);
        }
        self.clients.remove(id.0);
        if let Some(address) = incoming.address()
            && let Some(count) = self.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&address);
            }
        }
        self.effects.push_back(Effect::Close(End::Client(id), closing));
    }

    fn read_client(&mut self, id: ClientId, chunk: &[u8], now: Instant) -> Taken {
        let mut at = 0;
        loop {
            let Some(client) = self.clients.get(id.0) else {
                return Taken { consumed: chunk.len(), then: Then::Closed };
            };
            let rest = &chunk[at..];
            let step = match client.phase {
                Phase::Head => self.read_head(id, rest, now),
                Phase::Queued | Phase::Dialing => Step::Stop(0, Then::Blocked),
                Phase::Open => self.read_content(id, chunk, at, now),
                Phase::Tunnel => self.read_tunnel(End::Client(id), chunk, at, now),
                Phase::Drop => self.read_dropped(id, rest, now),
            };
            match step {
                Step::Used(count) => at += count,
                Step::Stop(count, then) => return Taken { consumed: at + count, then },
            }
        }
    }

    fn read_head(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Step {
        let limits = self.limits.request;
        let Some(client) = self.clients.get_mut(id.0) else { return Step::Stop(bytes.len(), Then::Closed) };
        if bytes.is_empty() {
            return Step::Stop(0, Then::More);
        }
        let was_idle = client.is_idle();
        match client.reader.read(bytes, &limits) {
            Ok(None) => {
                if was_idle {
                    client.since = now;
                }
                Step::Stop(0, Then::More)
            }
            Ok(Some((used, head))) => {
                client.requests += 1;
                self.begin(id, head, now);
                Step::Used(used)
            }
            Err(fault) => {
                self.bad_request(id, fault.into(), now);
                Step::Stop(bytes.len(), Then::Closed)
            }
        }
    }

    /// A head that is none: the answer, and the end of the connection. Bytes behind it are forgotten, since nobody
    /// knows where the next request begins.
    pub(super) fn bad_request(&mut self, id: ClientId, fault: Complaint, now: Instant) {
        self.stats.bad_request(fault.reason);
        self.answer_fault(id, fault, now);
        self.close_client(id, Closing::Linger, now);
    }

    /// Content nobody waits for any more.
    fn read_dropped(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Step {
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_mut()) else {
            return Step::Stop(bytes.len(), Then::Closed);
        };
        let Ok(used) = super::content::skip(&mut exchange.content, bytes) else {
            self.close_client(id, Closing::Linger, now);
            return Step::Stop(bytes.len(), Then::Closed);
        };
        exchange.times.heard = now;
        if exchange.content.is_done() {
            exchange.upload = Upload::Done;
            self.next_request(id, now);
            return Step::Used(used);
        }
        Step::Stop(used, Then::More)
    }

    /// The exchange is over and the connection goes on.
    pub(super) fn next_request(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        if let Some(mut exchange) = client.exchange.take() {
            self.account(id, &mut exchange, now);
        }
        if self.clients.get(id.0).is_some_and(|client| client.ended) {
            return self.close_client(id, Closing::Flush, now);
        }
        if let Some(client) = self.clients.get_mut(id.0) {
            client.phase = Phase::Head;
            client.since = now;
            self.effects.push_back(Effect::Pump(End::Client(id)));
        }
    }
}
