//! The shell of a gateway: sockets, clocks, signals, the log. It decides nothing.
//!
//! A program owns the loop and calls the parts: [`Shell::wait`], [`Shell::on_event`] for each event that is not its own,
//! [`Shell::apply`], [`Shell::expire`], [`Shell::run_queued`]. Event sources of the program have classes from
//! [`class::PROGRAM`] on.

mod admin;
mod conns;
mod control;
mod dial;
mod doors;
mod enter;
mod logs;
mod prepared;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_unix::control::{Desk, Place};
use sluice_unix::fault::Failure;
use sluice_unix::linger::Lingering;
use sluice_unix::log::{Level, Log};
use sluice_unix::notify::Notify;
use sluice_unix::poller::{Poller, Readiness, Waker};
use sluice_unix::random;
use sluice_unix::signals::Signals;
use sluice_unix::slab::Key;
use sluice_unix::start::LoopParts;
use sluice_unix::timers::Timers;
use sluice_unix::token::Token;
use sluice_wire::control::Reply;

use crate::event;
use crate::gate::Gate;
use crate::machine::{ConnectFailure, Gateway, Seeds};

use admin::Admin;
use conns::Conns;
use dial::Dialer;
use doors::Door;
use enter::Entering;

pub use control::VERBS;
pub use doors::Doors;
pub use prepared::Prepared;

/// Kinds of event sources: the class of a token.
pub mod class {
    pub(super) const DOOR: u8 = 1;
    pub(super) const CLIENT: u8 = 2;
    pub(super) const ORIGIN: u8 = 3;
    pub(super) const SIGNAL: u8 = 4;
    pub(super) const WAKER: u8 = 5;
    pub(super) const LINGER: u8 = 6;
    pub(super) const CONTROL: u8 = 7;
    pub(super) const CONTROL_PEER: u8 = 8;
    pub(super) const ENTER: u8 = 9;
    pub(super) const ADMIN: u8 = 10;
    pub(super) const ADMIN_PEER: u8 = 11;
    /// The first class that is the program's.
    pub const PROGRAM: u8 = 32;
}

/// What the shell's own timers are about.
#[derive(Clone, Copy, Debug)]
enum Tick {
    Accept,
    Watchdog,
    Control,
    Admin,
    Heartbeat,
    /// The wall clock is looked at: it may have been set.
    Clock,
}

/// What a program has to do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read the configuration anew, and tell [`Shell::reloaded`].
    Reload,
    /// Open the log's files anew.
    ReopenLog,
}

/// Times descriptors were short, since the log was told so.
#[derive(Debug, Default)]
struct Exhausted {
    count: u64,
    told_at: Option<Instant>,
}

/// A gateway and everything it needs of the system. Two can live in one process.
#[derive(Debug)]
pub struct Shell<G> {
    /// The machine.
    pub gateway: Gateway<G>,
    poller: Poller,
    conns: Conns,
    doors: Vec<Door>,
    control: Option<Desk>,
    admin: Option<Admin>,
    dialer: Dialer,
    waker: Waker,
    lingering: Lingering,
    timers: Timers<Tick>,
    signals: Signals,
    notify: Notify,
    log: Log,
    prepared: Prepared,
    entering: Entering,
    requests: Vec<Request>,
    /// Who waits for the outcome of a reload.
    reloading: Vec<Key>,
    exhausted: Exhausted,
    /// A second signal ends the process at once.
    quit: bool,
}

impl<G: Gate> Shell<G> {
    /// Opens the sockets that are not open yet, so that a failure is one before anything has begun.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn new(
        gate: G,
        prepared: Prepared,
        doors: Doors,
        control: &Place,
        log: Log,
    ) -> Result<Self, Failure> {
        let system = Failure::system;
        let LoopParts { mut poller, signals, waker, notify } = LoopParts::new(class::SIGNAL, class::WAKER)?;
        let (doors, admin) = doors.complete(&prepared.config)?;
        for (at, door) in doors.iter().enumerate() {
            let token = Token::at(class::DOOR, at as u32);
            poller.register_readable(&door.listener, token).map_err(system("watch a listener"))?;
        }
        let control = Desk::open(control, &poller, (class::CONTROL, class::CONTROL_PEER), |text| {
            log.line(Level::Warning, event::CONTROL, text);
        })?;
        let admin = admin.map(|door| Admin::new(door, &mut poller)).transpose();
        let admin = admin.map_err(system("watch admin_listen"))?;
        let random: [u8; 8] = random::bytes().map_err(system("get random bytes"))?;
        let seeds = Seeds { epoch: (Instant::now(), SystemTime::now()), random: u64::from_ne_bytes(random) };
        Ok(Self {
            gateway: Gateway::new(gate, Arc::clone(&prepared.config), seeds),
            poller,
            conns: Conns::new(),
            doors,
            control,
            admin,
            dialer: Dialer::new(waker.clone()),
            waker,
            lingering: Lingering::new(class::LINGER),
            timers: Timers::new(),
            signals,
            notify,
            log,
            prepared,
            entering: Entering::new(),
            requests: Vec::new(),
            reloading: Vec::new(),
            exhausted: Exhausted::default(),
            quit: false,
        })
    }

    /// Says that it serves, to the log and to the service manager. `version` names the program.
    pub fn announce(&mut self, version: &str) {
        for door in &self.doors {
            self.log.line(Level::Log, event::LISTENING, format_args!("listening on {}", door.shown()));
        }
        if let Some(admin) = &self.admin {
            let text = format_args!("listening for monitors on {}", admin.name());
            self.log.line(Level::Log, event::LISTENING, text);
        }
        self.log.line(Level::Log, event::UP, format_args!("process up: {version}"));
        let now = Instant::now();
        self.timers.schedule(now + CLOCK_INTERVAL, Tick::Clock);
        self.notify.ready();
        self.feed_watchdog(now);
        // What is to be done from the start: the first checks.
        self.gateway.handle_timeout(now);
        self.apply(now);
    }

    /// Sleeps until something is to be done, by `deadline` at the latest, and tells the time.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Instant, Failure> {
        let busy =
            self.conns.links.runnable_len() > 0 || self.lingering.is_busy() || !self.requests.is_empty();
        let soonest = if busy {
            Some(Instant::now())
        } else {
            let own = [
                self.gateway.poll_timeout(),
                self.timers.next(),
                self.lingering.next(),
                self.entering.next(),
                self.admin.as_ref().and_then(Admin::next),
                deadline,
            ];
            own.into_iter().flatten().min()
        };
        self.poller.wait(soonest).map_err(Failure::system("wait for events"))
    }

    /// Event number `index` of the last wait.
    #[inline]
    #[must_use]
    pub fn event(&self, index: usize) -> Option<(Token, Readiness)> {
        self.poller.event(index)
    }

    /// The poller, for event sources of the program.
    #[must_use]
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Ends a wait from another thread, for helpers of the program.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The next thing the program has to do by itself.
    pub fn request(&mut self) -> Option<Request> {
        self.requests.pop()
    }

    /// A new configuration was read, or could not be: text for the operator.
    pub fn reloaded(&mut self, outcome: Result<Prepared, String>, now: Instant) {
        match &outcome {
            Ok(prepared) => {
                if self.prepared.config.origins != prepared.config.origins {
                    for conn in self.dialer.forget() {
                        let text = "other origins are configured".to_owned();
                        self.gateway.origin_failed(conn, ConnectFailure::Unresolved, text, now);
                    }
                }
                self.gateway.reconfigure(Arc::clone(&prepared.config));
                self.prepared = prepared.clone();
                self.log.line(Level::Log, event::RELOAD, format_args!("configuration read anew"));
            }
            Err(text) => self.log.line(Level::Error, event::RELOAD, format_args!("{text}")),
        }
        if let Some(control) = &mut self.control {
            for key in self.reloading.drain(..) {
                let reply = outcome.as_ref().map_or_else(Reply::error, |_| Reply::Ok);
                control.end(key, &reply);
            }
        }
        self.notify.ready();
        self.gateway.handle_timeout(now);
        self.apply(now);
    }

    /// Whether the process is to end: everybody has gone, or nobody is waited for any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.quit || self.gateway.is_drained() && self.lingering.is_empty()
    }

    /// Says that it ends.
    pub fn finish(&mut self) {
        self.notify.stopping();
        self.log.line(Level::Log, event::DRAIN_END, format_args!("nobody is left"));
        self.log.line(Level::Log, event::EXIT, format_args!("process down"));
    }
}

/// How often the wall clock is compared with the monotonic one.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);
