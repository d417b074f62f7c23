//! New connections, of clients and on the control socket: accepting them, refusing them when there is no descriptor
//! left, and no longer accepting any.

use std::time::{Duration, Instant};

use sluice_unix::conn::Conn;
use sluice_unix::control::Accept;
use sluice_unix::listener::Accepted;
use sluice_unix::log;
use sluice_unix::stream::{self, Stream};
use sluice_unix::token::Token;
use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::sqlstate::SqlState;

use crate::control;
use crate::core::{Address, Event, ListenerScope, Peer};
use crate::daemon::{Tick, Worker, address, class};

/// Connections accepted in one turn before the others get theirs.
const ACCEPTS_PER_TURN: usize = 64;

/// Pause of accepting when descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl Worker {
    pub(crate) fn accept(&mut self, at: usize, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(door) = self.doors.get_mut(at) else { return };
            match door.listener.accept() {
                Accepted::Stream(stream, remote) => self.admit(at, stream, remote, now),
                Accepted::WouldBlock => return,
                Accepted::Exhausted(stream, error) => {
                    self.log.line(
                        log::Level::Warning,
                        Event::Accept.name(),
                        format_args!("cannot accept on {}: {error}", door.name),
                    );
                    if let Some(stream) = stream {
                        refuse(&stream);
                    }
                    door.paused = true;
                    return self.timers.schedule(now + ACCEPT_RETRY, Tick::Accept);
                }
                Accepted::Failed(error) => {
                    let name = &door.name;
                    self.log.line(
                        log::Level::Error,
                        Event::Accept.name(),
                        format_args!("cannot accept on {name}: {error}"),
                    );
                    return;
                }
            }
            self.apply(now);
        }
        // No edge will come for those that already wait.
        if let Some(door) = self.doors.get_mut(at) {
            door.paused = true;
            self.timers.schedule(now, Tick::Accept);
        }
    }

    fn admit(&mut self, at: usize, stream: Stream, remote: stream::Address, now: Instant) {
        let Some(door) = self.doors.get(at) else { return };
        let port = door.local.port();
        let local = match door.local {
            Address::Tcp(at) if at.ip().is_unspecified() => address(stream.local_address(), port),
            local => local,
        };
        let remote = match remote {
            stream::Address::Tcp(address) => Address::Tcp(address),
            stream::Address::Unix => match stream.peer_credentials() {
                Ok(Some(peer)) => Address::Unix { pid: peer.pid, uid: peer.uid, port },
                _ => Address::Unix { pid: 0, uid: u32::MAX, port },
            },
        };
        let mut conn = Conn::new(stream);
        let id = self.core.client_connected(remote, local, now);
        let peer = Peer::Client(id);
        if conn.register(&self.poller, Token::new(class::CLIENT, id.0)).is_err() {
            return self.core.client_gone(id, now);
        }
        self.sessions.insert(peer, conn, false);
        self.sessions.pump(&mut self.core, peer, now);
    }

    pub(crate) fn accept_control(&mut self, now: Instant) {
        if let Some(control) = &mut self.control
            && let Accept::Retry(error) = control.accept(&self.poller)
        {
            let text = format_args!("cannot accept on the control socket: {error}");
            self.log.line(log::Level::Warning, Event::Accept.name(), text);
            self.timers.schedule(now + ACCEPT_RETRY, Tick::Control);
        }
        self.serve_control(now);
    }

    /// Carries out what the control socket asks for; the effects are applied by the caller.
    pub(crate) fn serve_control(&mut self, now: Instant) {
        let Some(desk) = &mut self.control else { return };
        control::serve(desk, &mut self.core, &self.sessions, now);
        if let Some(at) = desk.schedule_beat(now) {
            self.timers.schedule(at, Tick::Heartbeat);
        }
    }

    pub(crate) fn stop_listening(&mut self, scope: ListenerScope) {
        // Doors keep their places: tokens name them by position.
        let tcp_only = scope == ListenerScope::Tcp;
        self.doors.retain(|door| tcp_only && !door.is_tcp());
        for (at, door) in self.doors.iter().enumerate() {
            let _ = self.poller.deregister(&door.listener);
            let token = Token::at(class::DOOR, at as u32);
            if let Err(error) = self.poller.register_readable(&door.listener, token) {
                let name = &door.name;
                self.log.line(
                    log::Level::Error,
                    Event::Listening.name(),
                    format_args!("lost {name}: {error}"),
                );
            }
        }
        self.notify.stopping();
    }
}

/// Tells a client for which there is no descriptor why; it is closed right after.
fn refuse(stream: &Stream) {
    let mut text = Vec::new();
    let error = ErrorResponse::new(
        Severity::Fatal,
        SqlState::TOO_MANY_CONNECTIONS,
        "no more connections allowed: out of file descriptors",
    );
    error.write(&mut text);
    let _ = stream.write(&text);
}
