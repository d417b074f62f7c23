//! poolerd: the command. Reads the command line and the configuration, then hands over to the library.

use poolerd::config::command::{DAEMON, FACE, REBOOT};
use poolerd::config::{Severity, Snapshot, load};
use poolerd::core::Event;
use poolerd::{ctl, daemon, logging};
use sluice_cli::daemon::{Asked, Start};
use sluice_cli::exit::{Exit, print, say};
use sluice_unix::fault::Failure;
use sluice_unix::log::{Level, Stderr};
use sluice_unix::privs;
use sluice_unix::start::{Background, Setup};

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
    let path = start.file.clone().unwrap_or_default();
    load(&path, &start.overrides).map_err(|error| FACE.refuse(&error))
}

fn check(snapshot: &Snapshot) -> Exit {
    for warning in &snapshot.warnings {
        let level = if warning.severity == Severity::Error { "ERROR" } else { "WARNING" };
        say(&format_args!("{level} {warning}"));
    }
    let user = snapshot.global.user.as_deref().map_or(Ok(()), privs::check_user);
    if let Err(error) = &user {
        say(&format_args!("ERROR user: {error}"));
    }
    if user.is_err() || snapshot.broken_part().is_some() {
        return Exit::Usage;
    }
    print(FACE.usage.program, "configuration OK\n")
}

fn run(start: Start, snapshot: Snapshot) -> Exit {
    if start.given.has(REBOOT) {
        say(&format_args!("poolerd: --reboot has no effect yet"));
    }
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
    let background = if start.given.has(DAEMON) { Background::Yes } else { Background::No };
    let quiet = start.is_quiet() || background == Background::Yes;
    let stderr = if quiet { Stderr::No } else { Stderr::Yes };
    let setup = Setup {
        user: global.user.as_deref(),
        pidfile: global.pidfile.as_deref(),
        background,
        logging: logging::wanted(stderr, &snapshot),
    };
    let process = setup.start()?;
    let log = &process.log;
    logging::warnings(log, &snapshot);
    if let Some(text) = process.shortage("max_client_conn", global.max_client_conn) {
        log.line(Level::Warning, Event::Config.name(), format_args!("{text}"));
    }
    let options = daemon::Options { snapshot, overrides: start.overrides, log: log.clone(), stderr };
    let outcome = daemon::run(options);
    if let Err(failure) = &outcome {
        log.line(Level::Fatal, Event::Exit.name(), format_args!("{failure}"));
    }
    outcome
}
