//! The worker: one loop that owns every connection, and does what the gateway and its limiter say.

use std::time::Instant;

use sluice_cli::settings::Origin;
use sluice_gateway::config::Config;
use sluice_gateway::event;
use sluice_gateway::route::Routes;
use sluice_gateway::shell::{Doors, Prepared, Request, Shell, class};
use sluice_unix::control::Place;
use sluice_unix::fault::Failure;
use sluice_unix::log::{Format, Level, Log, Stderr};
use sluice_unix::start::Logging;
use sluice_wire::control::{Row, row};

use crate::config::command::VERSION;
use crate::config::{Overrides, Shown, Snapshot};
use crate::feeds::Feeds;
use crate::limiter::Limiter;

/// The program's name, in Via, Proxy-Status and the log.
const PROGRAM: &str = "throttle-proxy";

/// What the daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// The configuration to begin with.
    pub snapshot: Snapshot,
    /// The gateway's view of it ([`prepare`]).
    pub prepared: Prepared,
    /// Where it listens.
    pub doors: Doors,
    /// What beats the file.
    pub overrides: Overrides,
    /// Where log lines go.
    pub log: Log,
    /// Whether standard error is one of those places.
    pub stderr: Stderr,
}

/// A daemon's loop and everything on it. Two can live in one process.
#[derive(Debug)]
struct Worker {
    shell: Shell<Limiter>,
    feeds: Feeds,
    snapshot: Snapshot,
    overrides: Overrides,
    stderr: Stderr,
}

/// Serves until a signal or a command ends it.
///
/// # Errors
/// See [`Failure`]; nothing is left behind.
pub fn run(options: Options) -> Result<(), Failure> {
    let mut worker = Worker::new(options)?;
    worker.shell.announce(VERSION);
    worker.serve()
}

impl Worker {
    fn new(options: Options) -> Result<Self, Failure> {
        let Options { snapshot, prepared, doors, overrides, log, stderr } = options;
        let limiter = Limiter::new(snapshot.policy.clone(), std::hash::RandomState::new(), Instant::now());
        let shell = Shell::new(limiter, prepared, doors, &control_place(&snapshot), log)?;
        let feeds =
            Feeds::new(&snapshot, &shell, Instant::now()).map_err(Failure::system("get random bytes"))?;
        Ok(Self { shell, feeds, snapshot, overrides, stderr })
    }

    /// The loop. Whatever has its turn is told the time as it is: what the limiter notes must not be older than the
    /// request is by all that came before it in this turn.
    fn serve(&mut self) -> Result<(), Failure> {
        while !self.shell.is_finished() {
            self.shell.wait(self.feeds.poll_timeout())?;
            let mut at = 0;
            while let Some((token, readiness)) = self.shell.event(at) {
                at += 1;
                if token.class() >= class::PROGRAM {
                    self.feeds.on_event(token, readiness);
                } else {
                    self.shell.on_event(token, readiness, Instant::now());
                }
            }
            let now = Instant::now();
            self.shell.expire(now);
            self.feeds.turn(&mut self.shell, now);
            self.shell.run_queued();
            while let Some(request) = self.shell.request() {
                match request {
                    Request::Reload => self.reload(Instant::now()),
                    Request::ReopenLog => self.reopen_log(),
                }
            }
        }
        self.shell.finish();
        Ok(())
    }

    /// All or nothing.
    fn reload(&mut self, now: Instant) {
        let loaded = self.snapshot.reload(&self.overrides).map_err(|error| error.to_string());
        let loaded = loaded.and_then(|snapshot| prepare(&snapshot).map(|prepared| (snapshot, prepared)));
        let loaded = loaded.and_then(|(snapshot, prepared)| {
            logging(self.stderr, &snapshot).check().map_err(|failure| failure.to_string())?;
            Ok((snapshot, prepared))
        });
        let (snapshot, prepared) = match loaded {
            Ok(loaded) => loaded,
            Err(text) => return self.shell.reloaded(Err(text), now),
        };
        for warning in &snapshot.warnings {
            self.shell.log().line(Level::Warning, event::RELOAD, format_args!("{warning}"));
        }
        let moved =
            self.shell.gateway.with_gate(|limiter| limiter.set_policy(snapshot.policy.clone(), now), now);
        self.shell.gateway.move_routes(&moved);
        self.feeds.reconfigure(&snapshot, now);
        self.shell.reloaded(Ok(prepared), now);
        self.snapshot = snapshot;
        self.reopen_log();
    }

    fn reopen_log(&self) {
        let log = self.shell.log();
        if let Err(failure) = logging(self.stderr, &self.snapshot).apply(log) {
            log.line(Level::Error, event::RELOAD, format_args!("{failure}"));
        }
    }
}

/// The log that a configuration asks for.
#[must_use]
pub fn logging(stderr: Stderr, snapshot: &Snapshot) -> Logging<'_> {
    let global = &snapshot.global;
    Logging { stderr, file: global.logfile.as_deref(), format: Format::Json, verbosity: global.verbose }
}

/// The gateway's view of a configuration, with the files it names.
///
/// # Errors
/// Text for the operator.
pub fn prepare(snapshot: &Snapshot) -> Result<Prepared, String> {
    let routes = Routes::new(snapshot.routes.clone());
    let config = Config::new(PROGRAM, snapshot.global.gateway(), routes);
    let config = config.map_err(|wrong| format!("{} {}", wrong.key, wrong.text));
    config.and_then(|config| Prepared::new(config, rows(snapshot))).map_err(|text| placed(snapshot, text))
}

/// The text, which begins with a key, with the place where the file sets that key.
fn placed(snapshot: &Snapshot, text: String) -> String {
    let key = text.split([' ', ':']).next().unwrap_or_default();
    match snapshot.place(key) {
        Some(place) => format!("{text} ({place})"),
        None => text,
    }
}

fn control_place(snapshot: &Snapshot) -> Place {
    match snapshot.global.control_socket.clone() {
        None => Place::None,
        Some(path) if snapshot.origin("control_socket") == Origin::Default => Place::Usual(path),
        Some(path) => Place::Asked(path),
    }
}

/// Rows of `show config`.
fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let rows = snapshot.shown().into_iter();
    rows.map(|Shown { key, value, from }| {
        row([("key", key.into()), ("value", value.into()), ("from", from.into())])
    })
    .collect()
}
