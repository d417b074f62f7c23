//! The worker: one loop that owns every connection, and does what the core says.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_unix::conn::{Conn, Connect, Flush};
use sluice_unix::control::Desk;
use sluice_unix::fault::Failure;
use sluice_unix::linger::{Lingering, Patience};
use sluice_unix::log::Log;
use sluice_unix::notify::Notify;
use sluice_unix::offload::{self, Offload};
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::signals::{Signal, Signals};
use sluice_unix::start::LoopParts;
use sluice_unix::stream;
use sluice_unix::timers::Timers;
use sluice_unix::token::Token;
use sluice_unix::{log, privs, random};
use sluice_wire::pg::scram::Derived;

use crate::config::{Overrides, Snapshot};
use crate::connect::{Dialed, Dialer, Lifetimes};
use crate::core::{Address, ClientId, Core, Derivation, Effect, Peer, Seeds, ServerId, Unreachable};
use crate::listen::{self, Door};
use crate::session::Sessions;
use crate::{config, control, core, logging};

/// Bytes of one read. Large results pass with one read and one write per chunk; more gains little (measured).
const SCRATCH_BYTES: usize = 64 * 1024;

/// Size of the buffers of connections that wait, and how many free ones are kept.
const BUF_BYTES: usize = 8 * 1024;
const FREE_BUFS: usize = 256;

/// How long a connection we close may take to read our last words.
const LINGER: Duration = Duration::from_secs(5);

/// Most we read of what a peer still sends while we close, so that our last words are not lost to a reset.
const LINGER_READS: usize = 16;
const LINGER_BYTES: usize = LINGER_READS * SCRATCH_BYTES;

/// How often SUSPEND looks whether everything is sent.
const FLUSH_LOOK: Duration = Duration::from_millis(50);

/// Keys derived at a time: less than the machine has to offer, since the loop is to run too. As many may wait as there can be
/// connections.
const DERIVATIONS: offload::Limits = offload::Limits { running: 2, waiting: 65_536 };

/// Kinds of event sources: the class of a token.
pub(crate) mod class {
    pub(crate) const DOOR: u8 = 1;
    pub(crate) const CLIENT: u8 = 2;
    pub(crate) const SERVER: u8 = 3;
    pub(crate) const SIGNAL: u8 = 4;
    pub(crate) const WAKER: u8 = 5;
    pub(crate) const LINGER: u8 = 6;
    pub(crate) const CONTROL: u8 = 7;
    pub(crate) const CONTROL_PEER: u8 = 8;
}

/// What the daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// The configuration to begin with.
    pub snapshot: Snapshot,
    /// What beats the file.
    pub overrides: Overrides,
    /// Where log lines go.
    pub log: Log,
    /// Whether standard error is one of those places.
    pub stderr: log::Stderr,
}

/// What the worker's own timers are about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tick {
    Accept,
    Watchdog,
    Control,
    Heartbeat,
    /// SUSPEND waits until everything is sent, or until then.
    Flush {
        until: Option<Instant>,
    },
}

/// A daemon's loop and everything on it. Two can live in one process.
#[derive(Debug)]
pub struct Worker {
    pub(crate) poller: Poller,
    pub(crate) core: Core,
    pub(crate) sessions: Sessions,
    pub(crate) doors: Vec<Door>,
    pub(crate) control: Option<Desk>,
    pub(crate) dialer: Dialer,
    derivations: Offload<Derivation, Derived>,
    pub(crate) timers: Timers<Tick>,
    pub(crate) signals: Signals,
    pub(crate) notify: Notify,
    pub(crate) lingering: Lingering,
    pub(crate) log: Log,
    pub(crate) options: Options,
}

/// Serves until a signal or a command ends it.
///
/// # Errors
/// See [`Failure`]; nothing is left behind.
pub fn run(options: Options) -> Result<(), Failure> {
    let mut worker = Worker::new(options)?;
    worker.announce();
    worker.serve()
}

impl Worker {
    /// Opens all sockets, so that a failure is one before anything has begun.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn new(options: Options) -> Result<Self, Failure> {
        let system = Failure::system;
        let LoopParts { poller, signals, waker, notify } = LoopParts::new(class::SIGNAL, class::WAKER)?;
        let global = &options.snapshot.global;
        let doors = listen::open(global, &options.log)?;
        for (at, door) in doors.iter().enumerate() {
            let token = Token::at(class::DOOR, at as u32);
            poller.register_readable(&door.listener, token).map_err(system("watch a listener"))?;
        }
        let place = control::place(&options.snapshot);
        let control = Desk::open(&place, &poller, (class::CONTROL, class::CONTROL_PEER), |text| {
            options.log.line(log::Level::Warning, core::Event::Control.name(), text);
        })?;
        let seeds = Seeds {
            epoch: (Instant::now(), SystemTime::now()),
            random: random::bytes().map_err(system("get random bytes"))?,
            uid: privs::user_id(),
            local_text: log::local_text,
        };
        let budget = budget(global);
        Ok(Worker {
            dialer: Dialer::new(waker.clone()),
            derivations: Offload::new("derive", waker, DERIVATIONS),
            core: Core::new(Arc::new(options.snapshot.clone()), seeds),
            sessions: Sessions::new(SCRATCH_BYTES, BUF_BYTES, FREE_BUFS, budget),
            doors,
            control,
            timers: Timers::new(),
            signals,
            notify,
            lingering: Lingering::new(class::LINGER),
            log: options.log.clone(),
            poller,
            options,
        })
    }

    fn announce(&mut self) {
        for door in &self.doors {
            self.log.line(
                log::Level::Log,
                core::Event::Listening.name(),
                format_args!("listening on {}", door.name),
            );
        }
        self.log.line(
            log::Level::Log,
            core::Event::Up.name(),
            format_args!("process up: {}", config::command::VERSION),
        );
        self.notify.ready();
        self.feed_watchdog(Instant::now());
    }

    /// The loop.
    fn serve(&mut self) -> Result<(), Failure> {
        self.apply(Instant::now());
        loop {
            let deadline = self.deadline();
            let now = self.poller.wait(deadline).map_err(Failure::system("wait for events"))?;
            let mut at = 0;
            while let Some((token, readiness)) = self.poller.event(at) {
                at += 1;
                self.on_event(token, readiness, now);
                self.apply(now);
            }
            self.expire(now);
            self.run_queued(now);
            if self.core.finished() {
                self.finish();
                return Ok(());
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.sessions.links.runnable_len() > 0 || self.lingering.is_busy() {
            return self.core.poll_timeout().map_or(Some(Instant::now()), |t| Some(t.min(Instant::now())));
        }
        let moments = [self.core.poll_timeout(), self.timers.next(), self.lingering.next()];
        moments.into_iter().flatten().min()
    }

    fn on_event(&mut self, token: Token, readiness: Readiness, now: Instant) {
        match token.class() {
            class::CLIENT => {
                let peer = Peer::Client(ClientId(token.key()));
                self.sessions.on_event(&mut self.core, peer, readiness, now);
            }
            class::SERVER => self.on_server_event(ServerId(token.key()), readiness, now),
            class::DOOR => self.accept(token.key().index as usize, now),
            class::SIGNAL => self.on_signals(now),
            class::WAKER => {
                self.on_resolved(now);
                self.on_derived(now);
            }
            class::LINGER => {
                let (bufs, scratch) = (&mut self.sessions.bufs, &mut self.sessions.scratch);
                self.lingering.on_event(token.key(), readiness, bufs, scratch);
            }
            class::CONTROL => self.accept_control(now),
            class::CONTROL_PEER => {
                if let Some(control) = &mut self.control {
                    control.on_event(token.key(), readiness);
                }
                self.serve_control(now);
            }
            _ => {}
        }
    }

    fn on_server_event(&mut self, id: ServerId, readiness: Readiness, now: Instant) {
        let peer = Peer::Server(id);
        let Some(link) = self.sessions.links.get_mut(peer) else { return };
        if !link.connecting {
            return self.sessions.on_event(&mut self.core, peer, readiness, now);
        }
        link.conn.on_event(readiness);
        match link.conn.finish_connect() {
            Connect::Pending => {}
            Connect::Failed(error) => {
                self.core.server_failed(id, &Unreachable::Connect(error.to_string()), now);
            }
            Connect::Done => {
                link.connecting = false;
                let remote = address(link.conn.stream().peer_address(), 0);
                let local = address(link.conn.stream().local_address(), 0);
                self.core.server_connected(id, remote, local, now);
                self.sessions.send_outbox(&mut self.core, &[]);
                self.sessions.flush(&mut self.core, peer, now);
            }
        }
    }

    fn on_signals(&mut self, now: Instant) {
        let signals: Vec<Signal> = self.signals.drain().collect();
        for signal in signals {
            match signal {
                Signal::Hup => {
                    self.log.line(
                        log::Level::Log,
                        core::Event::Signal.name(),
                        format_args!("got SIGHUP, re-reading config"),
                    );
                    self.reload(now);
                }
                Signal::Term => self.core.signal(core::Signal::Term, now),
                Signal::Int => self.core.signal(core::Signal::Int, now),
                Signal::Quit => self.core.signal(core::Signal::Quit, now),
                Signal::Usr1 => self.core.signal(core::Signal::Usr1, now),
                Signal::Usr2 => self.core.signal(core::Signal::Usr2, now),
            }
            self.sessions.send_outbox(&mut self.core, &[]);
        }
    }

    fn on_resolved(&mut self, now: Instant) {
        let global = &self.core.config().global;
        let lifetimes = Lifetimes { found: global.dns_max_ttl, missing: global.dns_nxdomain_ttl };
        let options = listen::tcp_options(global);
        while let Some(answer) = self.dialer.answer(lifetimes, &options, now) {
            self.core.lookup_ended(&answer.name, &answer.addresses, answer.until);
            for (id, dialed) in answer.dialed {
                self.dialed(id, dialed, now);
            }
        }
    }

    fn on_derived(&mut self, now: Instant) {
        while let Some((of, derived)) = self.derivations.done() {
            self.core.derived(of, derived.ok(), now);
            self.apply(now);
        }
    }

    fn dialed(&mut self, id: ServerId, dialed: Dialed, now: Instant) {
        match dialed {
            Dialed::Begun => self.core.lookup_begun(),
            Dialed::Waiting => {}
            Dialed::Failed(why) => {
                self.core.server_failed(id, &why, now);
                self.sessions.send_outbox(&mut self.core, &[]);
            }
            // Given up while its name was looked up: the slot may be somebody else's by now.
            Dialed::Stream(_) if !self.core.has_server(id) => {}
            Dialed::Stream(stream) => {
                let mut conn = Conn::connecting(stream);
                if let Err(error) = conn.register(&self.poller, Token::new(class::SERVER, id.0)) {
                    return self.core.server_failed(id, &Unreachable::Connect(error.to_string()), now);
                }
                self.sessions.insert(Peer::Server(id), conn, true);
            }
        }
    }

    /// Does everything the core has asked for.
    pub(crate) fn apply(&mut self, now: Instant) {
        self.sessions.send_outbox(&mut self.core, &[]);
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Pump(peer) => self.sessions.unblock(peer),
                Effect::Close(peer) => self.close(peer, now),
                Effect::Log(line) => {
                    if line.event == core::Event::Stats {
                        self.notify.status(&line.text);
                    }
                    logging::write(&self.log, &line);
                }
                Effect::Connect { server, to } => {
                    let options = listen::tcp_options(&self.core.config().global);
                    let dialed = self.dialer.dial(server, &to, &options, now);
                    self.dialed(server, dialed, now);
                }
                Effect::Derive { of, recipe } => {
                    if self.derivations.start(of, move || recipe.derive()).is_err() {
                        self.core.derived(of, None, now);
                    }
                }
                Effect::Reload => self.reload(now),
                Effect::Configured => {
                    let snapshot = Arc::clone(self.core.config());
                    self.adopt(&snapshot);
                }
                Effect::Survey(client) => {
                    self.core.surveyed(self.sessions.survey());
                    self.sessions.unblock(Peer::Client(client));
                }
                Effect::Suspend => {
                    let patience = self.core.config().global.suspend_timeout;
                    self.await_flush(patience.map(|patience| now + patience), now);
                }
                Effect::Answer { control: asker, outcome } => {
                    if let Some(desk) = &mut self.control {
                        control::answer(desk, asker, outcome);
                    }
                    self.serve_control(now);
                }
                Effect::StopListening(scope) => self.stop_listening(scope),
                Effect::Publish(pressure) => {
                    if let Some(desk) = &mut self.control {
                        desk.publish(&control::pressure_row(&pressure, SystemTime::now()));
                    }
                    self.serve_control(now);
                }
            }
            self.sessions.send_outbox(&mut self.core, &[]);
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
            self.apply(now);
        }
        self.lingering.expire(now, &mut self.sessions.bufs, &mut self.sessions.scratch);
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
                Tick::Flush { until } => {
                    self.await_flush(until, now);
                    self.apply(now);
                }
                Tick::Control => {
                    self.accept_control(now);
                    self.apply(now);
                }
                Tick::Heartbeat => {
                    if let Some(control) = &mut self.control {
                        control.beat();
                    }
                    self.serve_control(now);
                    self.apply(now);
                }
            }
        }
    }

    fn feed_watchdog(&mut self, now: Instant) {
        if let Some(interval) = self.notify.watchdog() {
            self.timers.schedule(now + interval, Tick::Watchdog);
        }
    }

    /// Gives everybody who has something to do one turn.
    fn run_queued(&mut self, now: Instant) {
        for _ in 0..self.sessions.links.runnable_len() {
            let Some(peer) = self.sessions.links.next_runnable() else { break };
            self.sessions.pump(&mut self.core, peer, now);
            self.apply(now);
        }
    }

    /// Closes a connection the core has let go of; what it was still told is delivered first.
    fn close(&mut self, peer: Peer, now: Instant) {
        let Some(link) = self.sessions.links.remove(peer) else { return };
        let mut conn = link.conn;
        let pending = !link.connecting && conn.has_pending();
        if pending && !matches!(conn.flush(&mut self.sessions.bufs), Ok(Flush::Done) | Err(_)) {
            let patience = Patience { until: now + LINGER, bytes: LINGER_BYTES };
            let (bufs, scratch) = (&mut self.sessions.bufs, &mut self.sessions.scratch);
            return self.lingering.insert(conn, patience, &self.poller, bufs, scratch);
        }
        // Closing with unread input makes TCP reset the connection, and our last words are lost with it.
        self.sessions.drain(&mut conn, LINGER_READS);
        conn.close(&mut self.sessions.bufs);
    }

    fn reload(&mut self, now: Instant) {
        self.notify.reloading();
        let loaded = self.core.config().reload(&self.options.overrides);
        let outcome = match loaded {
            Ok(snapshot) => {
                logging::warnings(&self.log, &snapshot);
                self.adopt(&snapshot);
                Ok(Arc::new(snapshot))
            }
            Err(error) => {
                self.log.line(log::Level::Error, core::Event::Reload.name(), format_args!("{error}"));
                self.log.line(
                    log::Level::Warning,
                    core::Event::Reload.name(),
                    format_args!("config file loading failed"),
                );
                Err(error.to_string())
            }
        };
        self.core.reload_finished(outcome, now);
        self.notify.ready();
    }

    /// What the worker itself does by the configuration.
    fn adopt(&mut self, snapshot: &Snapshot) {
        self.reopen_log(snapshot);
        self.sessions.budget = budget(&snapshot.global);
        for door in &self.doors {
            let _ = door.listener.set_options(&listen::tcp_options(&snapshot.global));
        }
    }

    /// Tells the core when nothing waits to be sent any more; what is not sent by `until` is given up.
    fn await_flush(&mut self, until: Option<Instant>, now: Instant) {
        let unsent = self.sessions.unsent();
        if !unsent.is_empty() && until.is_none_or(|until| now < until) {
            return self.timers.schedule(now + FLUSH_LOOK, Tick::Flush { until });
        }
        for peer in unsent {
            self.core.flush_expired(peer, now);
        }
        self.core.flushed();
    }

    fn reopen_log(&self, snapshot: &Snapshot) {
        if let Err(failure) = logging::wanted(self.options.stderr, snapshot).apply(&self.log) {
            self.log.line(log::Level::Error, core::Event::Reload.name(), format_args!("{failure}"));
        }
    }

    fn finish(&mut self) {
        self.notify.stopping();
        self.log.line(log::Level::Log, core::Event::Exit.name(), format_args!("process down"));
    }
}

fn budget(global: &config::Global) -> usize {
    global.pkt_buf as usize * global.sbuf_loopcnt as usize
}

pub(crate) fn address(found: io::Result<stream::Address>, port: u16) -> Address {
    match found {
        Ok(stream::Address::Tcp(address)) => Address::Tcp(address),
        _ => Address::Unix { pid: 0, uid: 0, port },
    }
}
