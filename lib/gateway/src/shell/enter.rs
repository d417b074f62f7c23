//! Connections that are not clients yet: a PROXY header comes first, or a TLS handshake, or one after the other.
//!
//! ```text
//!   accepted ──proxy_protocol──▶ Header ──▶ Handshake (tls: listeners) ──▶ client
//! ```
//! Whoever sends a header that is broken, or takes too long, is closed without a word.

use std::time::Instant;

use sluice_unix::buf::BufPool;
use sluice_unix::conn::{Conn, Connect, Read};
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::slab::{Key, Slab};
use sluice_unix::timers::Timers;
use sluice_unix::tls::{Acceptor, TlsError};
use sluice_unix::token::Token;
use sluice_wire::http::forwarded::{Scheme, Trust};
use sluice_wire::http::proxy_protocol::{self, Origin, Progress};

use crate::config::Config;
use crate::machine::Incoming;

use super::class;

/// Where a connection is on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Handshake,
}

#[derive(Debug)]
struct Entry {
    conn: Conn,
    incoming: Incoming,
    stage: Stage,
    /// The end of its stage's time.
    until: Instant,
    acceptor: Option<Acceptor>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(super) enum Entered {
    /// More has to come.
    Waiting,
    /// It is a client now, and registered with nobody.
    Client(Conn, Incoming),
    /// It is closed, for this reason.
    Closed(Fault),
}

/// Why a connection did not become a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A stable word for metrics.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) text: String,
}

impl Fault {
    /// Of a PROXY header.
    pub(super) fn header(text: &str) -> Self {
        Self { reason: "proxy_header", text: text.to_owned() }
    }

    /// Of a TLS handshake.
    fn handshake(text: impl Into<String>) -> Self {
        Self { reason: "tls_handshake", text: text.into() }
    }

    /// Of the certificate it shows, or does not show, where one is asked for.
    fn certificate(text: &str) -> Self {
        Self { reason: "client_certificate", text: format!("the client's certificate: {text}") }
    }

    /// Of the system.
    fn system(error: &std::io::Error) -> Self {
        Self { reason: "system", text: error.to_string() }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Entering {
    entries: Slab<Entry>,
    timers: Timers<Key>,
}

impl Entering {
    pub(super) fn new() -> Self {
        Self { entries: Slab::new(), timers: Timers::new() }
    }

    /// Connections on their way in.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in a connection that has to say something first.
    pub(super) fn insert(
        &mut self,
        conn: Conn,
        incoming: Incoming,
        acceptor: Option<Acceptor>,
        how: Way<'_>,
    ) -> Entered {
        let header = how.config.settings.proxy_protocol;
        let settings = &how.config.settings;
        let until = how.now + if header { settings.header_ms } else { settings.tls_handshake_ms };
        let key = self.entries.insert(Entry { conn, incoming, stage: Stage::Header, until, acceptor });
        let Some(entry) = self.entries.get_mut(key) else { return Entered::Waiting };
        if let Err(error) = entry.conn.register(how.poller, Token::new(class::ENTER, key)) {
            self.entries.remove(key);
            return Entered::Closed(Fault::system(&error));
        }
        self.timers.schedule(until, key);
        if !header && let Err(error) = entry.begin_handshake(how.bufs) {
            self.entries.remove(key);
            return Entered::Closed(Fault::system(&error));
        }
        self.go_on(key, how)
    }

    /// Takes in an event.
    pub(super) fn on_event(&mut self, key: Key, readiness: Readiness, how: Way<'_>) -> Entered {
        let Some(entry) = self.entries.get_mut(key) else { return Entered::Waiting };
        entry.conn.on_event(readiness);
        self.go_on(key, how)
    }

    /// When to call [`Entering::expire`].
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Closes one whose time is over. Call until `None`.
    pub(super) fn expire(&mut self, now: Instant, bufs: &mut BufPool) -> Option<Fault> {
        while let Some(key) = self.timers.expired(now) {
            // Its header has come since, and it has time for a handshake.
            if self.entries.get(key).is_some_and(|entry| entry.until > now) {
                continue;
            }
            if let Some(entry) = self.entries.remove(key) {
                entry.conn.close(bufs);
                return Some(match entry.stage {
                    Stage::Header => Fault::header("the PROXY header did not arrive in time"),
                    Stage::Handshake => Fault::handshake("the TLS handshake did not end in time"),
                });
            }
        }
        None
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.entries = Slab::new();
        self.timers = Timers::new();
    }

    fn go_on(&mut self, key: Key, how: Way<'_>) -> Entered {
        let Some(entry) = self.entries.get_mut(key) else { return Entered::Waiting };
        let before = entry.stage;
        let outcome = entry.step(how.config, how.bufs, how.scratch);
        if outcome == Ok(false) {
            if entry.stage != before {
                entry.until = how.now + how.config.settings.tls_handshake_ms;
                self.timers.schedule(entry.until, key);
            }
            return Entered::Waiting;
        }
        let Some(Entry { conn, incoming, .. }) = self.entries.remove(key) else { return Entered::Waiting };
        match outcome {
            // It is about to have another token.
            Ok(_) => match how.poller.deregister(conn.stream()) {
                Ok(()) => Entered::Client(conn, incoming),
                Err(error) => Entered::Closed(Fault::system(&error)),
            },
            Err(fault) => {
                conn.close(how.bufs);
                Entered::Closed(fault)
            }
        }
    }
}

/// What taking a step needs of its owner.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) config: &'a Config,
    pub(super) poller: &'a Poller,
    pub(super) bufs: &'a mut BufPool,
    pub(super) scratch: &'a mut [u8],
    pub(super) now: Instant,
}

impl Entry {
    /// Goes as far as the bytes that are there allow. True: it is a client.
    fn step(&mut self, config: &Config, bufs: &mut BufPool, scratch: &mut [u8]) -> Result<bool, Fault> {
        if matches!(self.stage, Stage::Header) {
            if !self.read_header(config, bufs, scratch)? {
                return Ok(false);
            }
            self.begin_handshake(bufs).map_err(|error| Fault::system(&error))?;
        }
        match self.conn.handshake() {
            Connect::Done => Ok(true),
            Connect::Pending => Ok(false),
            Connect::Failed(error) => Err(match TlsError::of(&error) {
                Some(TlsError::Certificate(text)) => Fault::certificate(text),
                Some(error) => Fault::handshake(error.to_string()),
                None => Fault::handshake(format!("TLS handshake: {error}")),
            }),
        }
    }

    /// True: the header is there, and what follows it is put aside.
    fn read_header(
        &mut self,
        config: &Config,
        bufs: &mut BufPool,
        scratch: &mut [u8],
    ) -> Result<bool, Fault> {
        loop {
            let kept = self.conn.take_input(bufs, scratch);
            let (count, ended) = match self.conn.read(&mut scratch[kept..]) {
                Read::Data(count, _) => (count, false),
                Read::WouldBlock => (0, false),
                Read::Eof | Read::Failed(_) => (0, true),
            };
            let bytes = &scratch[..kept + count];
            match proxy_protocol::read(bytes) {
                Ok(Progress::Done { consumed, origin }) => {
                    self.conn.keep_input(bufs, &bytes[consumed..]);
                    if let Origin::Proxied { source, destination } = origin {
                        self.incoming.peer = Some(source);
                        self.incoming.local = Some(destination);
                        let trusted = config.trusts(Some(source.ip()));
                        self.incoming.trust = if trusted { Trust::Yes } else { Trust::No };
                    }
                    return Ok(true);
                }
                Ok(Progress::Need) if !ended && bytes.len() < scratch.len() => {
                    self.conn.keep_input(bufs, bytes);
                    if count == 0 {
                        return Ok(false);
                    }
                }
                _ => return Err(Fault::header("the PROXY header is absent or broken")),
            }
        }
    }

    fn begin_handshake(&mut self, bufs: &mut BufPool) -> std::io::Result<()> {
        self.stage = Stage::Handshake;
        if let Some(acceptor) = self.acceptor.take() {
            self.incoming.scheme = Scheme::Https;
            self.conn.secure(bufs, acceptor.session()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
