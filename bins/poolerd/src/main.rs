//! poolerd: the command. Reads the command line and the configuration, then hands over to the library.

use std::ffi::OsString;
use std::io::{self, Write as _};

use poolerd::config::command::{Command, Start, USAGE, command};
use poolerd::config::{ENVIRONMENT_PREFIX, Severity, Snapshot, load};
use sluice_cli::exit::Exit;
use sluice_cli::help::synopsis;
use sluice_unix::privs;

fn main() -> Exit {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match command(arguments) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Check(start)) => check(start),
        Ok(Command::Run(start)) => run(start),
        Err(error) => {
            eprintln!("poolerd: {error}");
            eprint!("{}", synopsis(&USAGE));
            Exit::Usage
        }
    }
}

/// Whoever closes the pipe early (`poolerd -h | head -1`) has read enough.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("poolerd: could not write to standard output: {error}");
            Exit::Temporary
        }
        _ => Exit::Done,
    }
}

fn check(start: Start) -> Exit {
    match read(start) {
        Ok((_, snapshot)) => {
            for warning in &snapshot.warnings {
                let level = if warning.severity == Severity::Error { "ERROR" } else { "WARNING" };
                eprintln!("{level} {warning}");
            }
            print("configuration OK\n")
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
    eprintln!("poolerd: this build has no daemon yet");
    Exit::Temporary
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
