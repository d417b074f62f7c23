//! Active checks: each origin is asked for `check_path` every so often, beside the requests and outside the gate.
//!
//! ```text
//!   resting ──check_interval_ms──▶ connecting ──▶ asked ──head of a 2xx or 3xx──▶ good, resting
//!                                     └─────────────┴── anything else, or check_timeout_ms ──▶ bad, resting
//! ```

use std::time::Instant;

use sluice_wire::http::method::Method;

use crate::config::Endpoint;
use crate::effect::{Closing, Effect, End, Taken, Then};
use crate::gate::Gate;
use crate::origins::{Change, ConnId, OriginId};

use super::Gateway;
use super::origin::{ConnState, OriginConn, Preface};

/// The checks of one origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// When the next one begins, or the current one is over.
    at: Instant,
    /// When the current one began, or the last one.
    began: Instant,
    /// The connection of the current one.
    conn: Option<ConnId>,
}

impl<G: Gate> Gateway<G> {
    /// Begins and ends checks whose time it is.
    pub(super) fn check_origins(&mut self, now: Instant) {
        if self.config.settings.check_path.is_none() {
            return self.checks.clear();
        }
        while self.checks.len() < self.config.origins.len() {
            self.checks.push(Check { at: now, began: now, conn: None });
        }
        for at in 0..self.checks.len() {
            let check = self.checks[at];
            match check.conn {
                _ if check.at > now => {}
                Some(conn) => self.checked(conn, Err("no answer in time".to_owned()), now),
                None => self.begin_check(at, now),
            }
        }
    }

    /// When [`Gateway::check_origins`] has something to do.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.checks.iter().map(|check| check.at).min()
    }

    fn begin_check(&mut self, at: usize, now: Instant) {
        let origin = OriginId(at as u16);
        let preface = Preface::of(&self.config, origin);
        let conn = ConnId(self.conns.insert(OriginConn::checking(origin, preface)));
        let until = now + self.config.settings.check_timeout_ms;
        self.checks[at] = Check { at: until, began: now, conn: Some(conn) };
        self.effects.push_back(Effect::Connect(conn, origin));
    }

    /// The connection of a check is up.
    pub(super) fn ask_check(&mut self, conn: ConnId, origin: OriginId) {
        let path = self.config.settings.check_path.clone().unwrap_or_default();
        let host =
            self.config.origins.get(usize::from(origin.0)).map(Endpoint::authority).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.preface_request(conn);
        self.outbox.write(End::Origin(conn), |out| out.extend_from_slice(head.as_bytes()));
    }

    /// Bytes of the answer to a check. Its head is all that counts.
    pub(super) fn read_check(&mut self, conn: ConnId, chunk: &[u8], now: Instant) -> Taken {
        let limits = self.limits.response;
        let Some(link) = self.conns.get_mut(conn.0) else {
            return Taken { consumed: chunk.len(), then: Then::Closed };
        };
        let result = match link.reader.read(chunk, Method::Get, &limits) {
            Ok(None) => return Taken { consumed: 0, then: Then::More },
            Ok(Some((used, head))) if head.is_interim() => return Taken { consumed: used, then: Then::More },
            Ok(Some((_, head))) if (200..400).contains(&head.status()) => Ok(()),
            Ok(Some((_, head))) => Err(format!("status {}", head.status())),
            Err(_) => Err("the answer cannot be understood".to_owned()),
        };
        self.checked(conn, result, now);
        Taken { consumed: chunk.len(), then: Then::Closed }
    }

    /// A check is over.
    pub(super) fn checked(&mut self, conn: ConnId, result: Result<(), String>, now: Instant) {
        let Some(origin) = self.conns.get(conn.0).map(|link| link.origin) else { return };
        self.drop_conn(conn, Closing::Flush);
        if let Some(check) =
            self.checks.get_mut(usize::from(origin.0)).filter(|check| check.conn == Some(conn))
        {
            let next = check.began + self.config.settings.check_interval_ms;
            *check = Check { at: next.max(now), began: check.began, conn: None };
        }
        let (result, why) = match result {
            Ok(()) => (Ok(()), String::new()),
            Err(why) => (Err(()), why),
        };
        match self.origins.checked(origin, result, now) {
            Some(change @ Change::Down) => self.log_origin(origin, change, &format!("checks fail: {why}")),
            Some(change @ Change::Up) => self.log_origin(origin, change, "checks succeed"),
            None => {}
        }
    }

    /// Ends all checks: the process drains, or the origins are others.
    pub(super) fn stop_checks(&mut self) {
        for check in std::mem::take(&mut self.checks) {
            if let Some(conn) = check.conn {
                self.drop_conn(conn, Closing::Flush);
            }
        }
    }
}

impl OriginConn {
    /// Whether it carries a check.
    pub(super) fn is_check(&self) -> bool {
        self.state == ConnState::Check
    }
}
