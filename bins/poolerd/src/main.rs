//! poolerd: the command. Reads the command line and the configuration, then hands over to the library.

use std::ffi::OsString;

use poolerd::config::command::{Command, Start, USAGE, command};
use poolerd::config::{ENVIRONMENT_PREFIX, Severity, Snapshot, load};
use poolerd::core::Event;
use poolerd::ctl;
use poolerd::daemon;
use poolerd::logging;
use sluice_cli::exit::{Exit, print};
use sluice_cli::help::synopsis;
use sluice_unix::fault::Failure;
use sluice_unix::log::{Level, Stderr};
use sluice_unix::privs;
use sluice_unix::start::{Background, Setup};

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
            eprintln!("poolerd: {error}");
            eprint!("{}", synopsis(&USAGE));
            Exit::Usage
        }
    }
}

fn check(start: Start) -> Exit {
    match read(start) {
        Ok((_, snapshot)) => {
            for warning in &snapshot.warnings {
                let level = if warning.severity == Severity::Error { "ERROR" } else { "WARNING" };
                eprintln!("{level} {warning}");
            }
            let user = snapshot.global.user.as_deref().map_or(Ok(()), privs::check_user);
            if let Err(error) = &user {
                eprintln!("ERROR user: {error}");
            }
            if user.is_err() || snapshot.broken_part().is_some() {
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
    if start.reboot {
        eprintln!("poolerd: --reboot has no effect yet");
    }
    match serve(start, snapshot) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            eprintln!("poolerd: {failure}");
            if failure.may_pass() { Exit::Temporary } else { Exit::Usage }
        }
    }
}

/// Becomes what the configuration asks for, and serves.
fn serve(start: Start, snapshot: Snapshot) -> Result<(), Failure> {
    let global = &snapshot.global;
    let stderr = if start.quiet || start.daemon { Stderr::No } else { Stderr::Yes };
    let setup = Setup {
        user: global.user.as_deref(),
        pidfile: global.pidfile.as_deref(),
        background: if start.daemon { Background::Yes } else { Background::No },
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

/// The configuration, or the exit code after saying what is wrong with it.
fn read(mut start: Start) -> Result<(Start, Snapshot), Exit> {
    start.overrides.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .collect();
    match load(&start.path, &start.overrides) {
        Ok(snapshot) => Ok((start, snapshot)),
        Err(error) => {
            eprintln!("poolerd: {error}");
            Err(Exit::Usage)
        }
    }
}
