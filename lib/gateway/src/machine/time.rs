//! Time: what is due for each client, and what happens then.
//!
//! A client has at most one timer that matters. There is no cancelling: when one fires, what is really due is worked out
//! anew, and a later moment is armed again. A timeout that never happens costs one insertion in a heap.

use std::time::{Duration, Instant};

use sluice_wire::http::answer::CONTINUE;
use sluice_wire::http::request::Expect;

use crate::code::Code;
use crate::effect::{ClientId, Closing, End};
use crate::gate::{Gate, Outcome};

use super::answer::{SLOW_CONTENT, SLOW_HEAD};
use super::client::{Client, Phase};
use super::dispatch::Failure;
use super::exchange::{Exchange, Reply, Upload};
use super::origin::ConnectFailure;
use super::{Gateway, Stage};

/// A slow upload is judged by its rate only after this long.
const RATE_GRACE: Duration = Duration::from_secs(10);

/// While draining, how long a connection may rest whose last answer did not say yet that it is the last.
const DRAIN_REST: Duration = Duration::from_millis(100);

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Nobody waits for anything.
    Idle,
    Header,
    Connect,
    /// Nobody answered the expectation.
    Continue,
    Upload,
    OriginWrite,
    OriginHead,
    OriginContent,
    ClientWrite,
    HalfClose,
    Tunnel,
    Drop,
    Drain,
}

impl<G: Gate> Gateway<G> {
    /// Sees to it that a timer fires when something is due.
    pub(super) fn arm(&mut self, id: ClientId, now: Instant) {
        let Some((at, _)) = self.due(id) else { return };
        let Some(client) = self.clients.get_mut(id.0) else { return };
        if client.timer_at.is_none_or(|pending| at < pending) {
            client.timer_at = Some(at);
            self.timers.schedule(at.max(now), id);
        }
    }

    /// Bytes for this connection wait: it has not taken all it was sent.
    pub fn blocked(&mut self, end: End, now: Instant) {
        if let Some(blocked_at) = self.blocked_at(end) {
            blocked_at.get_or_insert(now);
        }
        if let Some(exchange) = self.exchange_behind(end) {
            exchange.touch();
        }
        self.arm_for(end, now);
    }

    /// It has taken some of what waits.
    pub fn progressed(&mut self, end: End, now: Instant) {
        self.stalled(end, now);
        if let Some(blocked_at) = self.blocked_at(end) {
            *blocked_at = Some(now);
        }
    }

    /// It has taken everything.
    pub fn flushed(&mut self, end: End, now: Instant) {
        self.stalled(end, now);
        if let Some(blocked_at) = self.blocked_at(end) {
            *blocked_at = None;
        }
        // Whoever was not heard while its bytes could go nowhere is not to blame for that time.
        if let Some(exchange) = self.exchange_behind(end) {
            match end {
                End::Client(_) => exchange.times.answered = now,
                End::Origin(_) => exchange.times.heard = now,
            }
        }
        self.arm_for(end, now);
    }

    /// Counts the time for which an origin took no content.
    fn stalled(&mut self, end: End, now: Instant) {
        let since = self.blocked_at(end).and_then(|blocked_at| *blocked_at);
        if let (End::Origin(_), Some(since), Some(exchange)) = (end, since, self.exchange_behind(end)) {
            exchange.times.stalled += now.saturating_duration_since(since);
        }
    }

    fn exchange_behind(&mut self, end: End) -> Option<&mut Exchange> {
        let client = match end {
            End::Client(id) => Some(id),
            End::Origin(id) => self.conns.get(id.0).and_then(|link| link.client),
        };
        client.and_then(|id| self.exchange(id))
    }

    fn blocked_at(&mut self, end: End) -> Option<&mut Option<Instant>> {
        match end {
            End::Client(id) => self.clients.get_mut(id.0).map(|client| &mut client.blocked_at),
            End::Origin(id) => self.conns.get_mut(id.0).map(|link| &mut link.blocked_at),
        }
    }

    fn arm_for(&mut self, end: End, now: Instant) {
        match end {
            End::Client(id) => self.arm(id, now),
            End::Origin(id) => {
                if let Some(client) = self.conns.get(id.0).and_then(|link| link.client) {
                    self.arm(client, now);
                }
            }
        }
    }

    pub(super) fn on_timer(&mut self, id: ClientId, now: Instant) {
        match self.clients.get_mut(id.0) {
            // An earlier timer has overtaken this one, and armed what is due.
            Some(client) if client.timer_at.is_some_and(|at| at <= now) => client.timer_at = None,
            _ => return,
        }
        match self.due(id) {
            Some((at, due)) if at <= now => {
                self.act(id, due, now);
                self.arm(id, now);
            }
            _ => self.arm(id, now),
        }
    }

    fn act(&mut self, id: ClientId, due: Due, now: Instant) {
        let fail = |outcome, code| Failure { outcome, code };
        match due {
            // What comes meanwhile must not turn the last answer into a reset.
            Due::Idle if self.is_draining() => self.close_client(id, Closing::Linger, now),
            Due::Idle => self.close_client(id, Closing::Flush, now),
            Due::Header => self.bad_request(id, SLOW_HEAD, now),
            Due::Drop => self.close_client(id, Closing::Linger, now),
            Due::Connect => self.fail(id, ConnectFailure::TimedOut.failure(), now),
            Due::Continue => self.continue_ourselves(id, now),
            Due::Upload => self.bad_content(id, SLOW_CONTENT, now),
            Due::OriginWrite | Due::OriginHead => {
                self.fail(id, fail(Outcome::HeadTimeout, Code::OriginTimeout), now);
            }
            Due::OriginContent => self.fail(id, fail(Outcome::BodyIdle, Code::OriginTimeout), now),
            Due::ClientWrite | Due::HalfClose | Due::Drain => self.lose_client(id, now),
            Due::Tunnel => self.close_tunnel(id, Closing::Flush, now),
        }
    }

    /// The origin does not say whether it wants the content: it is sent (RFC 9110 §10.1.1).
    fn continue_ourselves(&mut self, id: ClientId, now: Instant) {
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_deref_mut())
        else {
            return;
        };
        exchange.expect = Expect::Nothing;
        exchange.times.heard = now;
        self.outbox.write(End::Client(id), |out| out.extend_from_slice(CONTINUE));
    }

    /// What is due next for a client.
    fn due(&self, id: ClientId) -> Option<(Instant, Due)> {
        let client = self.clients.get(id.0)?;
        let settings = &self.config.settings;
        let own = match (client.phase, &client.exchange) {
            (Phase::Head, _) if client.is_in_head() => Some((client.since + settings.header_ms, Due::Header)),
            (Phase::Head, _) if self.is_draining() => Some((client.since + DRAIN_REST, Due::Idle)),
            (Phase::Head, _) if client.requests == 0 => Some((client.since + settings.header_ms, Due::Idle)),
            (Phase::Head, _) => Some((client.since + settings.keepalive_ms, Due::Idle)),
            (Phase::Drop, _) => Some((client.since + settings.linger_ms, Due::Drop)),
            (Phase::Dialing, Some(exchange)) => {
                let dialed = exchange.times.dialed.unwrap_or(client.since);
                Some((dialed + settings.origin_connect_ms, Due::Connect))
            }
            (Phase::Open, Some(exchange)) => self.due_in_exchange(client, exchange),
            (Phase::Tunnel, Some(exchange)) => {
                Some((exchange.times.heard + settings.tunnel_idle_ms, Due::Tunnel))
            }
            _ => None,
        };
        let half_closed = client.exchange.as_ref().and_then(|exchange| exchange.times.half_closed);
        let half_close = half_closed
            .filter(|_| client.phase != Phase::Tunnel)
            .map(|at| (at + settings.half_close_ms, Due::HalfClose));
        let write = client.blocked_at.map(|at| (at + settings.client_write_ms, Due::ClientWrite));
        let drain = match self.stage {
            Stage::Draining(until) => Some((until, Due::Drain)),
            Stage::Serving => None,
        };
        [own, half_close, write, drain].into_iter().flatten().min()
    }

    fn due_in_exchange(&self, client: &Client, exchange: &Exchange) -> Option<(Instant, Due)> {
        let settings = &self.config.settings;
        let times = &exchange.times;
        let link = exchange.conn.and_then(|conn| self.conns.get(conn.0));
        let origin_blocked = link.and_then(|link| link.blocked_at);
        let reply = match (&exchange.reply, times.asked) {
            (Reply::Awaited, Some(asked)) => Some((asked + settings.origin_head_ms, Due::OriginHead)),
            // While the client is slow the origin is not read, and not to blame.
            (Reply::Relayed(..), _) if client.blocked_at.is_none() => {
                Some((times.answered + settings.origin_body_idle_ms, Due::OriginContent))
            }
            _ => None,
        };
        let upload = match (exchange.upload, &exchange.reply, origin_blocked) {
            (Upload::Dropped(_) | Upload::Unlikely | Upload::Done, ..) => None,
            _ if link.is_some_and(|link| link.deaf) => None,
            (Upload::Relayed, Reply::Awaited, Some(blocked)) => {
                Some((blocked + settings.origin_write_ms, Due::OriginWrite))
            }
            // It answers: that it does not read meanwhile is its affair, and the response has its own time.
            (Upload::Relayed, _, Some(_)) => None,
            // A client that is told of an error may stop where it is.
            (Upload::Relayed, ..) if exchange.account.status >= 400 => None,
            (Upload::Relayed, _, None) => Some(self.due_upload(exchange)),
        };
        [reply, upload].into_iter().flatten().min()
    }

    fn due_upload(&self, exchange: &Exchange) -> (Instant, Due) {
        let settings = &self.config.settings;
        let times = &exchange.times;
        let sent = times.sent.unwrap_or(times.began);
        if exchange.expect == Expect::Continue {
            return (sent + settings.continue_ms, Due::Continue);
        }
        let idle = times.heard.max(sent) + settings.body_idle_ms;
        if settings.body_min_rate == 0 {
            return (idle, Due::Upload);
        }
        let paid = Duration::from_secs(exchange.account.bytes_in / settings.body_min_rate);
        (idle.min(sent + times.stalled + paid.max(RATE_GRACE)), Due::Upload)
    }
}
