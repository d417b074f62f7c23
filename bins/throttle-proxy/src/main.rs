//! throttle-proxy: the command. Reads the command line and the configuration, then hands over to the library.

use sluice_cli::daemon::{Asked, Start};
use sluice_cli::exit::{Exit, print, say};
use sluice_gateway::shell::Doors;
use sluice_unix::fault::Failure;
use sluice_unix::log::{Level, Stderr};
use sluice_unix::start::{Background, Setup};
use throttle_proxy::config::command::FACE;
use throttle_proxy::config::{Snapshot, load};
use throttle_proxy::{ctl, daemon, events};

fn main() -> Exit {
    match FACE.asked(std::env::args_os(), std::env::vars_os()) {
        Asked::Done(exit) => exit,
        Asked::Ctl(words) => ctl::run(words),
        Asked::Check(start) => read(&start).map_or_else(|exit| exit, |snapshot| check(&snapshot)),
        Asked::Run(start) => read(&start).map_or_else(|exit| exit, |snapshot| run(start, snapshot)),
    }
}

/// The configuration, or the exit code after saying what is wrong with it.
fn read(start: &Start) -> Result<Snapshot, Exit> {
    load(start.file.as_deref(), &start.overrides).map_err(|error| FACE.refuse(&error))
}

fn check(snapshot: &Snapshot) -> Exit {
    for warning in &snapshot.warnings {
        say(&format_args!("throttle-proxy: warning: {warning}"));
    }
    match daemon::prepare(snapshot) {
        Ok(_) => print(FACE.usage.program, "configuration OK\n"),
        Err(text) => FACE.refuse(&text),
    }
}

fn run(start: Start, snapshot: Snapshot) -> Exit {
    match serve(start, snapshot) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            let exit = FACE.refuse(&failure);
            if failure.may_pass() { Exit::Temporary } else { exit }
        }
    }
}

/// Becomes what the configuration asks for, and serves.
fn serve(start: Start, snapshot: Snapshot) -> Result<(), Failure> {
    let global = &snapshot.global;
    let stderr = if start.is_quiet() { Stderr::No } else { Stderr::Yes };
    let setup = Setup {
        user: global.user.as_deref(),
        pidfile: global.pidfile.as_deref(),
        background: Background::No,
        logging: daemon::logging(stderr, &snapshot),
    };
    // Keys and ports may be root's.
    let prepared = daemon::prepare(&snapshot).map_err(Failure::Configuration)?;
    let doors = Doors::open(&prepared)?;
    let process = setup.start()?;
    let log = &process.log;
    for warning in &snapshot.warnings {
        log.line(Level::Warning, events::CONFIG, format_args!("{warning}"));
    }
    if let Some(text) = process.shortage("client_conns_max", global.client_conns_max) {
        log.line(Level::Warning, events::CONFIG, format_args!("{text}"));
    }
    let (overrides, log) = (start.overrides, log.clone());
    let options = daemon::Options { snapshot, prepared, doors, overrides, log, stderr };
    let outcome = daemon::run(options);
    if let Err(failure) = &outcome {
        process.log.line(Level::Fatal, events::EXIT, format_args!("{failure}"));
    }
    outcome
}
