//! The address of monitors: connections that ask once, are answered from memory, and end.
//!
//! ```text
//!   accepted ──▶ reading ──head, or what is none──▶ answered, lingering      reading: end, `header_ms` ──▶ closed
//! ```
//! There are `admin_conns_max` at a time; those beyond it are closed, so a monitor that hangs costs nobody else anything.

use std::io;
use std::time::Instant;

use sluice_unix::conn::{Conn, Read};
use sluice_unix::linger::Patience;
use sluice_unix::listener::Accepted;
use sluice_unix::log::Level;
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::slab::{Key, Slab};
use sluice_unix::timers::Timers;
use sluice_unix::token::Token;
use sluice_wire::http::fault::Fault;
use sluice_wire::http::limits::HeadLimits;
use sluice_wire::http::request::{RequestHead, RequestReader};

use crate::event;
use crate::gate::Gate;

use super::conns::Conns;
use super::doors::Door;
use super::turn::{ACCEPT_RETRY, ACCEPTS_PER_TURN};
use super::{Shell, Tick, class};

/// The listening socket of monitors, and those of them that have not asked yet.
#[derive(Debug)]
pub(super) struct Admin {
    door: Door,
    visits: Slab<Visit>,
    timers: Timers<Key>,
}

#[derive(Debug)]
struct Visit {
    conn: Conn,
    reader: RequestReader,
}

/// A visit that has said what it wants.
#[derive(Debug)]
struct Asked {
    conn: Conn,
    head: Result<RequestHead, Fault>,
}

/// What came of accepting.
#[derive(Debug)]
enum Came {
    /// Somebody, who may have asked already.
    Visit(Key),
    /// Nobody any more; an event will tell.
    Nobody,
    /// Somebody for whom there is no room.
    TooMany,
    /// Accepting is to be tried again later.
    Later(io::Error),
}

impl Admin {
    /// Nobody yet.
    ///
    /// # Errors
    /// When the poller takes no more.
    pub(super) fn new(door: Door, poller: &mut Poller) -> io::Result<Self> {
        poller.register_readable(&door.listener, Token::single(class::ADMIN))?;
        Ok(Self { door, visits: Slab::new(), timers: Timers::new() })
    }

    /// Where it listens.
    pub(super) fn name(&self) -> &str {
        &self.door.name
    }

    /// When somebody's time is over.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn accept(&mut self, poller: &Poller, most: usize, until: Instant) -> Came {
        let stream = match self.door.listener.accept() {
            Accepted::Stream(stream, _) => stream,
            Accepted::WouldBlock => return Came::Nobody,
            Accepted::Exhausted(_, error) | Accepted::Failed(error) => return Came::Later(error),
        };
        if self.visits.len() >= most {
            return Came::TooMany;
        }
        let key = self.visits.insert(Visit { conn: Conn::new(stream), reader: RequestReader::default() });
        let token = Token::new(class::ADMIN_PEER, key);
        let registered = self.visits.get_mut(key).map(|visit| visit.conn.register(poller, token));
        if let Some(Err(error)) = registered {
            self.visits.remove(key);
            return Came::Later(error);
        }
        self.timers.schedule(until, key);
        Came::Visit(key)
    }

    fn on_event(&mut self, key: Key, readiness: Readiness) {
        if let Some(visit) = self.visits.get_mut(key) {
            visit.conn.on_event(readiness);
        }
    }

    /// Reads what is there. `None`: it has not asked yet, or never will.
    fn read(&mut self, key: Key, limits: &HeadLimits, conns: &mut Conns) -> Option<Asked> {
        let head = loop {
            let visit = self.visits.get_mut(key)?;
            let kept = visit.conn.take_input(&mut conns.bufs, &mut conns.scratch);
            let count = match visit.conn.read(&mut conns.scratch[kept..]) {
                Read::Data(count, _) => count,
                Read::WouldBlock => {
                    visit.conn.keep_input(&mut conns.bufs, &conns.scratch[..kept]);
                    return None;
                }
                Read::Eof | Read::Failed(_) => {
                    self.close(key, conns);
                    return None;
                }
            };
            let bytes = &conns.scratch[..kept + count];
            match visit.reader.read(bytes, limits) {
                Ok(None) => visit.conn.keep_input(&mut conns.bufs, bytes),
                Ok(Some((_, head))) => break Ok(head),
                Err(fault) => break Err(fault),
            }
        };
        self.visits.remove(key).map(|visit| Asked { conn: visit.conn, head })
    }

    fn expire(&mut self, now: Instant, conns: &mut Conns) {
        while let Some(key) = self.timers.expired(now) {
            self.close(key, conns);
        }
    }

    fn close(&mut self, key: Key, conns: &mut Conns) {
        if let Some(visit) = self.visits.remove(key) {
            visit.conn.close(&mut conns.bufs);
        }
    }
}

impl<G: Gate> Shell<G> {
    /// Lets monitors in.
    pub(super) fn accept_admin(&mut self, now: Instant) {
        let settings = &self.gateway.config().settings;
        let (most, until) = (settings.admin_conns_max as usize, now + settings.header_ms);
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(admin) = &mut self.admin else { return };
            match admin.accept(&self.poller, most, until) {
                Came::Visit(key) => self.read_admin(key, now),
                Came::Nobody => return,
                Came::TooMany => {}
                Came::Later(error) => {
                    let text = format_args!("cannot accept on admin_listen {}: {error}", admin.name());
                    self.log.line(Level::Warning, event::REFUSED, text);
                    return self.timers.schedule(now + ACCEPT_RETRY, Tick::Admin);
                }
            }
        }
        // No edge will come for those that already wait.
        self.timers.schedule(now, Tick::Admin);
    }

    /// Takes in an event of a monitor.
    pub(super) fn on_admin_event(&mut self, key: Key, readiness: Readiness, now: Instant) {
        if let Some(admin) = &mut self.admin {
            admin.on_event(key, readiness);
        }
        self.read_admin(key, now);
    }

    /// Closes monitors whose time is over.
    pub(super) fn expire_admin(&mut self, now: Instant) {
        if let Some(admin) = &mut self.admin {
            admin.expire(now, &mut self.conns);
        }
    }

    fn read_admin(&mut self, key: Key, now: Instant) {
        let limits = self.gateway.admin_limits(self.conns.scratch.len() - 1);
        let Some(admin) = &mut self.admin else { return };
        let Some(Asked { mut conn, head }) = admin.read(key, &limits, &mut self.conns) else { return };
        let mut text = Vec::new();
        self.gateway.administer(head.as_ref().map_err(|fault| *fault), self.log.dropped(), &mut text, now);
        let (bufs, scratch) = (&mut self.conns.bufs, &mut self.conns.scratch);
        if conn.send_bytes(bufs, &text).is_err() {
            return conn.close(bufs);
        }
        let patience = Patience { until: now + self.gateway.config().settings.linger_ms, bytes: usize::MAX };
        self.lingering.insert(conn, patience, &self.poller, bufs, scratch);
    }
}
