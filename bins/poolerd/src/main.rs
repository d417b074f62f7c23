//! poolerd: the command. Reads the command line and the configuration, then hands over to the library.

use std::ffi::OsString;
use std::path::Path;

use poolerd::config::command::{Command, Start, USAGE, command};
use poolerd::config::{ENVIRONMENT_PREFIX, Severity, Snapshot, load};
use poolerd::core::Event;
use poolerd::ctl;
use poolerd::daemon::{self, Failure};
use poolerd::logging;
use sluice_cli::exit::{Exit, print};
use sluice_cli::help::synopsis;
use sluice_unix::log::{Level, Log, Stderr};
use sluice_unix::privs::{self, PidFile};

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
    if privs::is_root() && snapshot.global.user.is_none() {
        eprintln!("poolerd: root should not run this program: set user, or give --user");
        return Exit::Usage;
    }
    if start.reboot {
        eprintln!("poolerd: --reboot has no effect yet");
    }
    if start.daemon && snapshot.global.pidfile.is_none() {
        eprintln!("poolerd: --daemon needs pidfile to be set");
        return Exit::Usage;
    }
    match serve(start, snapshot) {
        Ok(()) => Exit::Done,
        Err(Failure::Configuration(text)) => {
            eprintln!("poolerd: {text}");
            Exit::Usage
        }
        Err(failure) => {
            eprintln!("poolerd: {failure}");
            Exit::Temporary
        }
    }
}

/// Takes on the identity asked for, goes to the background if asked to, and serves.
fn serve(start: Start, snapshot: Snapshot) -> Result<(), Failure> {
    let global = &snapshot.global;
    // The limit may be raised only while still root, and it decides how many clients fit.
    let descriptors =
        privs::raise_descriptor_limit().map_err(|e| Failure::System("raise limits".into(), e))?;
    if let Some(user) = &global.user {
        privs::become_user(user)?;
    }
    let pidfile = global.pidfile.as_deref().map(Path::new);
    if let Some(path) = pidfile {
        PidFile::check(path)?;
    }
    let stderr = if start.quiet || start.daemon { Stderr::No } else { Stderr::Yes };
    let sinks = daemon::open_sinks(stderr, &snapshot)?;
    if start.daemon {
        privs::daemonize()?;
    }
    let _pidfile = pidfile.map(PidFile::create).transpose()?;
    let log = Log::new(sinks, daemon::log_format(&snapshot))
        .map_err(|e| Failure::System("start the log".into(), e))?;
    log.set_verbosity(global.verbose.min(u8::MAX.into()) as u8);
    logging::warnings(&log, &snapshot);
    if u64::from(global.max_client_conn) > descriptors {
        let text = format_args!(
            "max_client_conn is {}, but only {descriptors} file descriptors may be open",
            global.max_client_conn
        );
        log.line(Level::Warning, Event::Config.name(), text);
    }
    let outcome =
        daemon::run(daemon::Options { snapshot, overrides: start.overrides, log: log.clone(), stderr });
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
