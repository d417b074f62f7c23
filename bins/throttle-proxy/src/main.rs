//! throttle-proxy: the command. Reads the command line and the configuration, then hands over to the library.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use sluice_cli::exit::{Exit, print};
use sluice_cli::help::synopsis;
use sluice_unix::log::{Format, Level, Log, Sinks, Stderr};
use sluice_unix::privs::{self, PidFile};
use throttle_proxy::config::command::{Command, Start, USAGE, VERSION, command};
use throttle_proxy::config::{ENVIRONMENT_PREFIX, MAX_CONCURRENT, Snapshot, load};
use throttle_proxy::ctl;
use throttle_proxy::daemon::{self, Failure};
use throttle_proxy::events;

/// How long the last log lines may take to get out.
const LAST_LINES: Duration = Duration::from_secs(2);

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
    if privs::is_root() && snapshot.global.user.is_none() {
        eprintln!("throttle-proxy: root should not run this program: set user, or give --user");
        return Exit::Usage;
    }
    match serve(start, snapshot) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            eprintln!("throttle-proxy: {failure}");
            match failure {
                Failure::Configuration(_) => Exit::Usage,
                Failure::Temporary(_) | Failure::System(..) => Exit::Temporary,
            }
        }
    }
}

/// Takes on the identity asked for, and serves.
fn serve(start: Start, snapshot: Snapshot) -> Result<(), Failure> {
    let global = &snapshot.global;
    let configuration = |error: privs::PrivsError| Failure::Configuration(error.to_string());
    // The limit may be raised only while still root, and it decides how many clients fit.
    let descriptors =
        privs::raise_descriptor_limit().map_err(|error| Failure::System("raise limits".into(), error))?;
    if let Some(user) = &global.user {
        privs::become_user(user).map_err(configuration)?;
    }
    let pidfile = global.pidfile.as_deref().map(Path::new);
    // Held while the process lives.
    let _pidfile = pidfile.map(PidFile::create).transpose().map_err(configuration)?;
    let stderr = if start.quiet { Stderr::No } else { Stderr::Yes };
    let sinks = Sinks::open(stderr, global.logfile.as_deref().map(Path::new));
    let sinks = sinks.map_err(|error| Failure::System("open the log file".into(), error))?;
    let log = Log::new(sinks, Format::Json);
    let log = log.map_err(|error| Failure::System("start the log".into(), error))?;
    log.set_verbosity(global.verbose.min(u8::MAX.into()) as u8);
    for warning in &snapshot.warnings {
        log.line(Level::Warning, events::CONFIG, format_args!("{warning}"));
    }
    if u64::from(global.client_conns_max) > descriptors {
        let most = global.client_conns_max;
        let text =
            format_args!("client_conns_max is {most}, but only {descriptors} file descriptors may be open");
        log.line(Level::Warning, events::CONFIG, text);
    }
    let options = daemon::Options { snapshot, overrides: start.overrides, log: log.clone(), stderr };
    let outcome = daemon::run(options, VERSION);
    if let Err(failure) = &outcome {
        log.line(Level::Fatal, events::EXIT, format_args!("{failure}"));
    }
    log.flush(LAST_LINES);
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
