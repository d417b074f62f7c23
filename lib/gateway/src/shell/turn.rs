//! One turn of the loop: events, effects, timers.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use sluice_unix::conn::{Conn, Connect};
use sluice_unix::control::Accept;
use sluice_unix::linger::Patience;
use sluice_unix::listener::Accepted;
use sluice_unix::log::Level;
use sluice_unix::poller::Readiness;
use sluice_unix::signals::Signal;
use sluice_unix::slab::Key;
use sluice_unix::stream::{Address, Stream};
use sluice_unix::tls::TlsError;
use sluice_unix::token::Token;
use sluice_wire::http::forwarded::{Scheme, Trust};

use crate::config::Security;
use crate::effect::{ClientId, Closing, Effect, End};
use crate::event;
use crate::gate::Gate;
use crate::machine::{ConnectFailure, Incoming, TurnedAway};
use crate::origins::{ConnId, OriginId};

use super::control::{self, Facts, Wish};
use super::dial::Dialed;
use super::enter::{Entered, Fault, Way};
use super::{CLOCK_INTERVAL, Request, Shell, Tick, class};

/// Connections accepted in one turn before the others get theirs.
pub(super) const ACCEPTS_PER_TURN: usize = 64;

/// Pause of accepting when descriptors have run out.
pub(super) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections that may linger, when one beyond `client_conns_max` is to be told so and waited for.
const TURNED_AWAY_MAX: usize = 256;

/// How often it is told that they have.
const EXHAUSTED_INTERVAL: Duration = Duration::from_secs(1);

impl<G: Gate> Shell<G> {
    /// Takes in an event of one of the shell's own sources.
    pub fn on_event(&mut self, token: Token, readiness: Readiness, now: Instant) {
        let key = token.key();
        match token.class() {
            class::CLIENT => {
                self.conns.on_event(&mut self.gateway, End::Client(ClientId(key)), readiness, now);
            }
            class::ORIGIN => self.on_origin_event(ConnId(key), readiness, now),
            class::DOOR => self.accept(key.index as usize, now),
            class::SIGNAL => self.on_signals(now),
            class::WAKER => self.on_resolved(now),
            class::LINGER => {
                self.lingering.on_event(key, readiness, &mut self.conns.bufs, &mut self.conns.scratch);
            }
            class::CONTROL => self.accept_control(now),
            class::CONTROL_PEER => {
                if let Some(control) = &mut self.control {
                    control.on_event(key, readiness);
                }
                self.serve_control(now);
            }
            class::ADMIN => self.accept_admin(now),
            class::ADMIN_PEER => self.on_admin_event(key, readiness, now),
            class::ENTER => {
                let way = Way {
                    config: &self.prepared.config,
                    poller: &self.poller,
                    bufs: &mut self.conns.bufs,
                    scratch: &mut self.conns.scratch,
                    now,
                };
                let entered = self.entering.on_event(key, readiness, way);
                self.entered(entered, now);
            }
            _ => {}
        }
        self.apply(now);
    }

    fn on_origin_event(&mut self, id: ConnId, readiness: Readiness, now: Instant) {
        let end = End::Origin(id);
        let Some(link) = self.conns.links.get_mut(end) else { return };
        if !link.connecting {
            return self.conns.on_event(&mut self.gateway, end, readiness, now);
        }
        link.conn.on_event(readiness);
        match link.conn.finish_connect() {
            Connect::Pending => {}
            Connect::Failed(error) => self.connect_failed(id, &error, now),
            Connect::Done => {
                link.connecting = false;
                self.gateway.origin_connected(id, now);
            }
        }
        self.conns.send_outbox(&mut self.gateway, &[], now);
    }

    /// Does everything the machine has asked for.
    pub fn apply(&mut self, now: Instant) {
        self.conns.send_outbox(&mut self.gateway, &[], now);
        while let Some(effect) = self.gateway.poll() {
            match effect {
                Effect::Pump(end) => self.conns.unblock(end),
                Effect::Close(end, closing) => self.close(end, closing, now),
                Effect::Connect(conn, origin) => {
                    let config = std::sync::Arc::clone(self.gateway.config());
                    let dialed = self.dialer.dial(conn, origin, &config, now);
                    self.dialed(conn, origin, dialed, now);
                }
                Effect::Shut(end) => self.conns.shut(end),
                Effect::Log(event) => self.log_event(&event),
                Effect::Publish(row) => {
                    if let Some(desk) = &mut self.control {
                        control::publish(desk, row);
                    }
                }
                Effect::StopListening => self.stop_listening(),
            }
            self.conns.send_outbox(&mut self.gateway, &[], now);
        }
        self.write_access();
    }

    fn dialed(&mut self, id: ConnId, origin: OriginId, dialed: Dialed, now: Instant) {
        let Some(origin) = self.prepared.config.origins.get(usize::from(origin.0)) else { return };
        match dialed {
            Dialed::Waiting => {}
            Dialed::Unresolved => {
                let text = "its name has no address".to_owned();
                self.gateway.origin_failed(id, ConnectFailure::Unresolved, text, now);
            }
            Dialed::Failed(error) => self.connect_failed(id, &error, now),
            Dialed::Stream(stream) => {
                let mut conn = Conn::connecting(stream);
                match self.prepared.session(origin) {
                    Ok(Some(session)) => {
                        let mut preface = Vec::new();
                        self.gateway.preface(id, &mut preface);
                        conn.queue(&mut self.conns.bufs, &preface);
                        conn.secure(&mut self.conns.bufs, session);
                    }
                    Ok(None) => {}
                    Err(text) => return self.gateway.origin_failed(id, ConnectFailure::Tls, text, now),
                }
                if let Err(error) = conn.register(&self.poller, Token::new(class::ORIGIN, id.0)) {
                    return self.connect_failed(id, &error, now);
                }
                self.conns.insert(End::Origin(id), conn, true);
            }
        }
    }

    fn connect_failed(&mut self, id: ConnId, error: &std::io::Error, now: Instant) {
        let why = match TlsError::of(error) {
            Some(TlsError::Certificate(_)) => ConnectFailure::Certificate,
            Some(TlsError::Protocol(_)) => ConnectFailure::Tls,
            None => ConnectFailure::Refused,
        };
        self.gateway.origin_failed(id, why, format!("cannot connect: {error}"), now);
    }

    fn on_resolved(&mut self, now: Instant) {
        let config = std::sync::Arc::clone(self.gateway.config());
        while let Some(resolved) = self.dialer.answer(&config, now) {
            if let Some(error) = resolved.error {
                let name =
                    config.origins.get(usize::from(resolved.origin.0)).map(|origin| origin.name.as_str());
                let text = format_args!("cannot look up {}: {error}", name.unwrap_or_default());
                self.log.line(Level::Warning, event::RESOLVE, text);
            }
            for (conn, dialed) in resolved.dialed {
                self.dialed(conn, resolved.origin, dialed, now);
            }
        }
    }

    fn close(&mut self, end: End, closing: Closing, now: Instant) {
        let Some(link) = self.conns.remove(end) else {
            if let End::Origin(conn) = end {
                self.dialer.cancel(conn);
            }
            return;
        };
        let conn = link.conn;
        let settings = &self.gateway.config().settings;
        match closing {
            Closing::Abort => conn.abort(&mut self.conns.bufs),
            Closing::Flush if link.connecting || !conn.has_pending() => conn.close(&mut self.conns.bufs),
            Closing::Linger | Closing::Flush => {
                let bytes = if closing == Closing::Linger { usize::MAX } else { 0 };
                let patience = Patience { until: now + settings.linger_ms, bytes };
                let (bufs, scratch) = (&mut self.conns.bufs, &mut self.conns.scratch);
                self.lingering.insert(conn, patience, &self.poller, bufs, scratch);
            }
        }
    }

    fn accept(&mut self, at: usize, now: Instant) {
        // A paused door is tried again by its timer: each try while descriptors are short costs somebody a refusal.
        if self.doors.get(at).is_some_and(|door| door.paused) {
            return;
        }
        let mut pause = Duration::ZERO;
        for _ in 0..ACCEPTS_PER_TURN {
            // Each may be a request to be dispatched, and is to be noted when it is.
            let now = Instant::now();
            let busy = self.entering.len() >= self.prepared.config.settings.tls_handshakes_max as usize;
            let Some(door) = self.doors.get_mut(at) else { return };
            if busy && door.security == Security::Tls {
                door.paused = true;
                return self.timers.schedule(now + ACCEPT_RETRY, Tick::Accept);
            }
            match door.listener.accept() {
                Accepted::Stream(stream, remote) => {
                    let security = door.security;
                    self.admit(stream, remote, security, now);
                }
                Accepted::WouldBlock => return,
                Accepted::Exhausted(stream, error) => {
                    let name = door.name.clone();
                    self.log_exhausted(&name, &error, now);
                    pause = ACCEPT_RETRY;
                    match stream {
                        Some(stream) => self.turn_away(&stream, now),
                        None => break,
                    }
                }
                Accepted::Failed(error) => {
                    let text = format_args!("cannot accept on {}: {error}", door.name);
                    return self.log.line(Level::Error, event::REFUSED, text);
                }
            }
            self.apply(now);
        }
        // No edge will come for those that already wait.
        if let Some(door) = self.doors.get_mut(at) {
            door.paused = true;
            self.timers.schedule(now + pause, Tick::Accept);
        }
    }

    /// Says once a second at most that connections cannot be accepted: there may be thousands.
    fn log_exhausted(&mut self, name: &str, error: &std::io::Error, now: Instant) {
        self.exhausted.count += 1;
        if self.exhausted.told_at.is_some_and(|at| now < at + EXHAUSTED_INTERVAL) {
            return;
        }
        let count = std::mem::take(&mut self.exhausted.count);
        self.exhausted.told_at = Some(now);
        let text = format_args!("cannot accept on {name}: {error} ({count} times since it was last told)");
        self.log.line(Level::Warning, event::REFUSED, text);
    }

    fn admit(&mut self, stream: Stream, remote: Address, security: Security, now: Instant) {
        let config = &self.prepared.config;
        let peer = tcp(remote);
        // Asked for only where it is told to somebody: it is a system call.
        let local = config.send_proxy.and_then(|_| stream.local_address().ok()).and_then(tcp);
        let trust = if config.trusts(peer.map(|peer| peer.ip())) { Trust::Yes } else { Trust::No };
        let incoming = Incoming { peer, local, trust, scheme: Scheme::Http };
        let conn = Conn::new(stream);
        if config.settings.proxy_protocol && trust == Trust::No {
            return self.not_entered(&Fault::header("a PROXY header from a peer that is not trusted"));
        }
        let acceptor = self.prepared.acceptor.as_ref().filter(|_| security == Security::Tls).cloned();
        if !config.settings.proxy_protocol && acceptor.is_none() {
            return self.entered(Entered::Client(conn, incoming), now);
        }
        let way = Way {
            config: &self.prepared.config,
            poller: &self.poller,
            bufs: &mut self.conns.bufs,
            scratch: &mut self.conns.scratch,
            now,
        };
        let entered = self.entering.insert(conn, incoming, acceptor, way);
        self.entered(entered, now);
    }

    /// A connection has come in, or not.
    fn entered(&mut self, entered: Entered, now: Instant) {
        let (mut conn, incoming) = match entered {
            Entered::Waiting => return,
            Entered::Client(conn, incoming) => (conn, incoming),
            Entered::Closed(fault) => return self.not_entered(&fault),
        };
        let id = match self.gateway.client_connected(incoming, now) {
            Ok(id) => id,
            Err(TurnedAway::Address) => return conn.close(&mut self.conns.bufs),
            Err(TurnedAway::Full) => return self.turn_away_and_wait(conn, now),
        };
        if conn.register(&self.poller, Token::new(class::CLIENT, id.0)).is_err() {
            return self.gateway.client_gone(id, now);
        }
        self.conns.insert(End::Client(id), conn, false);
        self.conns.pump(&mut self.gateway, End::Client(id), now);
    }

    fn not_entered(&mut self, fault: &Fault) {
        self.gateway.not_entered(fault.reason);
        self.log.line(Level::Debug, event::REFUSED, format_args!("{}", fault.text));
    }

    /// Tells a connection for which there is no room why. Its request may be there or on the way: were it left unread, a
    /// reset would destroy what it is told. Many at a time are closed right after, lest they take the descriptors of others.
    fn turn_away_and_wait(&mut self, mut conn: Conn, now: Instant) {
        let mut text = Vec::new();
        self.gateway.overload(&mut text, now);
        let told = conn.send_bytes(&mut self.conns.bufs, &text).is_ok();
        let room = self.lingering.len() < TURNED_AWAY_MAX;
        if !told || !room || conn.register(&self.poller, Token::new(class::LINGER, Key::default())).is_err() {
            return conn.close(&mut self.conns.bufs);
        }
        let settings = &self.gateway.config().settings;
        let patience = Patience { until: now + settings.linger_ms, bytes: settings.linger_bytes };
        let (bufs, scratch) = (&mut self.conns.bufs, &mut self.conns.scratch);
        self.lingering.insert(conn, patience, &self.poller, bufs, scratch);
    }

    /// Tells a connection for which there is no descriptor why; it is closed right after.
    fn turn_away(&mut self, stream: &Stream, now: Instant) {
        let mut text = Vec::new();
        self.gateway.overload(&mut text, now);
        let _ = stream.write(&text);
    }

    fn stop_listening(&mut self) {
        self.doors.clear();
        self.entering.clear();
        self.notify.stopping();
        self.log.line(
            Level::Log,
            event::DRAIN_BEGIN,
            format_args!("no new connections; finishing what is there"),
        );
    }

    fn on_signals(&mut self, now: Instant) {
        let signals: Vec<Signal> = self.signals.drain().collect();
        for signal in signals {
            match signal {
                Signal::Term | Signal::Int if self.gateway.is_draining() => self.quit = true,
                Signal::Term | Signal::Int => self.gateway.drain(now),
                Signal::Quit => self.quit = true,
                Signal::Hup => {
                    self.notify.reloading();
                    self.requests.push(Request::Reload);
                }
                Signal::Usr1 => self.requests.push(Request::ReopenLog),
                Signal::Usr2 => {}
            }
        }
    }

    fn accept_control(&mut self, now: Instant) {
        if let Some(control) = &mut self.control
            && let Accept::Retry(error) = control.accept(&self.poller)
        {
            let text = format_args!("cannot accept on the control socket: {error}");
            self.log.line(Level::Warning, event::CONTROL, text);
            self.timers.schedule(now + ACCEPT_RETRY, Tick::Control);
        }
        self.serve_control(now);
    }

    /// Carries out what the control socket asks for; the effects are applied by the caller.
    fn serve_control(&mut self, now: Instant) {
        let Some(desk) = &mut self.control else { return };
        let facts = Facts { config: &self.prepared.rows, log_dropped: self.log.dropped() };
        while let Some((wish, done)) = control::serve(desk, &mut self.gateway, facts, now) {
            if let Some(text) = done {
                self.log.line(Level::Log, event::CONTROL, format_args!("{text}"));
            }
            match wish {
                None => {}
                Some(Wish::Drain) => self.gateway.drain(now),
                Some(Wish::Reload(key)) => {
                    self.reloading.push(key);
                    self.requests.push(Request::Reload);
                }
            }
        }
        if let Some(at) = desk.schedule_beat(now) {
            self.timers.schedule(at, Tick::Heartbeat);
        }
    }

    /// Does what time asks for.
    pub fn expire(&mut self, now: Instant) {
        if self.gateway.poll_timeout().is_some_and(|at| at <= now) {
            self.gateway.handle_timeout(now);
            self.apply(now);
        }
        self.lingering.expire(now, &mut self.conns.bufs, &mut self.conns.scratch);
        while let Some(fault) = self.entering.expire(now, &mut self.conns.bufs) {
            self.not_entered(&fault);
        }
        self.expire_admin(now);
        while let Some(tick) = self.timers.expired(now) {
            match tick {
                Tick::Accept => {
                    for at in 0..self.doors.len() {
                        if std::mem::take(&mut self.doors[at].paused) {
                            self.accept(at, now);
                        }
                    }
                }
                Tick::Watchdog => self.feed_watchdog(now),
                Tick::Control => self.accept_control(now),
                Tick::Admin => self.accept_admin(now),
                Tick::Heartbeat => {
                    if let Some(control) = &mut self.control {
                        control.beat();
                    }
                    self.serve_control(now);
                }
                Tick::Clock => {
                    self.gateway.set_epoch((now, SystemTime::now()));
                    self.timers.schedule(now + CLOCK_INTERVAL, Tick::Clock);
                }
            }
            self.apply(now);
        }
    }

    pub(super) fn feed_watchdog(&mut self, now: Instant) {
        if let Some(interval) = self.notify.watchdog() {
            self.timers.schedule(now + interval, Tick::Watchdog);
        }
    }

    /// Gives everybody who has something to do one turn.
    pub fn run_queued(&mut self) {
        self.gateway.set_buffered(self.conns.pending());
        for _ in 0..self.conns.links.runnable_len() {
            let Some(end) = self.conns.links.next_runnable() else { break };
            let now = Instant::now();
            self.conns.pump(&mut self.gateway, end, now);
            self.apply(now);
        }
    }
}

fn tcp(address: Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(address),
        Address::Unix => None,
    }
}
