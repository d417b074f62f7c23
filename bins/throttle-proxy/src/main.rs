//! throttle-proxy: the command. Reads the command line and the configuration, then hands over to the library.

use std::ffi::OsString;

use sluice_cli::exit::{Exit, print};
use sluice_cli::help::synopsis;
use sluice_unix::fault::Failure;
use sluice_unix::log::{Level, Stderr};
use sluice_unix::start::{Background, Setup};
use throttle_proxy::config::command::{Command, Start, USAGE, VERSION, command};
use throttle_proxy::config::{ENVIRONMENT_PREFIX, MAX_CONCURRENT, Snapshot, load};
use throttle_proxy::ctl;
use throttle_proxy::daemon;
use throttle_proxy::events;

fn main() -> Exit {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "ctl") {
        return ctl::run(arguments.split_off(1));
    }
    match command(arguments) {
        Ok(Command::Print(text)) => print(USAGE.program, &text),
        Ok(Command::Check(start)) => check(start),
        Ok(Command::Run(start)) => run(start),
        Err(error) => {
            eprintln!("throttle-proxy: {error}");
            eprint!("{}", synopsis(&USAGE));
            Exit::Usage
        }
    }
}

fn check(start: Start) -> Exit {
    match read(start) {
        Ok((_, snapshot)) => {
            for warning in &snapshot.warnings {
                eprintln!("throttle-proxy: warning: {warning}");
            }
            if let Err(text) = daemon::prepare(&snapshot) {
                eprintln!("throttle-proxy: {text}");
                return Exit::Usage;
            }
            print(USAGE.program, "configuration OK\n")
        }
        Err(exit) => exit,
    }
}

fn run(start: Start) -> Exit {
    let (start, snapshot) = match read(start) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    match serve(start, snapshot) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            eprintln!("throttle-proxy: {failure}");
            if failure.may_pass() { Exit::Temporary } else { Exit::Usage }
        }
    }
}

/// Becomes what the configuration asks for, and serves.
fn serve(start: Start, snapshot: Snapshot) -> Result<(), Failure> {
    let global = &snapshot.global;
    let stderr = if start.quiet { Stderr::No } else { Stderr::Yes };
    let setup = Setup {
        user: global.user.as_deref(),
        pidfile: global.pidfile.as_deref(),
        background: Background::No,
        logging: daemon::logging(stderr, &snapshot),
    };
    let process = setup.start()?;
    let log = &process.log;
    for warning in &snapshot.warnings {
        log.line(Level::Warning, events::CONFIG, format_args!("{warning}"));
    }
    if let Some(text) = process.shortage("client_conns_max", global.client_conns_max) {
        log.line(Level::Warning, events::CONFIG, format_args!("{text}"));
    }
    let options = daemon::Options { snapshot, overrides: start.overrides, log: log.clone(), stderr };
    let outcome = daemon::run(options, VERSION);
    if let Err(failure) = &outcome {
        log.line(Level::Fatal, events::EXIT, format_args!("{failure}"));
    }
    outcome
}

/// The configuration, or the exit code after saying what is wrong with it.
fn read(mut start: Start) -> Result<(Start, Snapshot), Exit> {
    start.overrides.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX) || name == MAX_CONCURRENT)
        .collect();
    match load(start.path.as_deref(), &start.overrides) {
        Ok(snapshot) => Ok((start, snapshot)),
        Err(error) => {
            eprintln!("throttle-proxy: {error}");
            Err(Exit::Usage)
        }
    }
}
