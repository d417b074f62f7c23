//! throttle-proxy's command line: the table of its flags, and what they ask for. Every setting is a flag besides.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use sluice_cli::complete::{Shell, complete_with};
use sluice_cli::flags::{Flag, Given, Usage, UsageError};
use sluice_cli::help::help_with;

use super::SETTINGS;
use super::load::Overrides;

/// What `--version` says.
pub const VERSION: &str = concat!("throttle-proxy (sluice) ", env!("CARGO_PKG_VERSION"));

/// The command line.
pub const USAGE: Usage = Usage {
    program: "throttle-proxy",
    about: "HTTP gateway that lets a service have as much as it can do.",
    synopses: &["[flags]", "--test-config [flags]", "ctl COMMAND ..."],
    flags: &[
        Flag { short: Some('c'), long: "config", value: Some("FILE"), doc: "Read this configuration file." },
        Flag {
            short: Some('l'),
            long: "listen",
            value: Some("ADDRESS"),
            doc: "Listen here: host:port or unix:/path; tls: before it takes TLS.",
        },
        Flag {
            short: Some('u'),
            long: "user",
            value: Some("NAME"),
            doc: "Become this user when started as root.",
        },
        Flag { short: Some('q'), long: "quiet", value: None, doc: "Log nothing to standard error." },
        Flag { short: Some('v'), long: "verbose", value: None, doc: "Log more; up to three times." },
        Flag { short: Some('t'), long: "test-config", value: None, doc: "Check the configuration and exit." },
        Flag {
            short: None,
            long: "completions",
            value: Some("SHELL"),
            doc: "Print completions for bash, zsh or fish.",
        },
        Flag { short: Some('V'), long: "version", value: None, doc: "Print the version and exit." },
        Flag { short: Some('h'), long: "help", value: None, doc: "Print this help and exit." },
    ],
    operands: 0,
};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print a text and be done.
    Print(String),
    /// Check a configuration.
    Check(Start),
    /// Run.
    Run(Start),
}

/// How to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The configuration file, if there is one.
    pub path: Option<PathBuf>,
    /// What beats the file; its environment is still to be filled in.
    pub overrides: Overrides,
    /// Log nothing to standard error.
    pub quiet: bool,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An argument does not fit the table.
    Usage(UsageError),
    /// The value of a flag is not UTF-8.
    Text(&'static str),
    /// No such shell.
    Shell(String),
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// [`CommandError`].
pub fn command<I>(arguments: I) -> Result<Command, CommandError>
where
    I: IntoIterator<Item = OsString>,
    I::IntoIter: 'static,
{
    let given = USAGE.parse_with(arguments, SETTINGS).map_err(CommandError::Usage)?;
    if given.has("help") {
        return Ok(Command::Print(help_with(&USAGE, SETTINGS)));
    }
    if given.has("version") {
        return Ok(Command::Print(format!("{VERSION}\n")));
    }
    if let Some(name) = given.value("completions") {
        let name = name.to_string_lossy();
        let shell = Shell::from_name(&name).ok_or_else(|| CommandError::Shell(name.into_owned()))?;
        return Ok(Command::Print(complete_with(&USAGE, SETTINGS, shell)));
    }
    let start = start(&given)?;
    Ok(if given.has("test-config") { Command::Check(start) } else { Command::Run(start) })
}

fn start(given: &Given) -> Result<Start, CommandError> {
    let mut flags = Vec::new();
    for name in ["listen", "user"] {
        if let Some(value) = given.value(name) {
            flags.push((name, value.to_str().ok_or(CommandError::Text(name))?.to_owned()));
        }
    }
    for (name, value) in given.settings() {
        flags.push((name, value.to_str().ok_or(CommandError::Text(name))?.to_owned()));
    }
    match given.count("verbose") {
        0 => {}
        times => flags.push(("verbose", times.min(3).to_string())),
    }
    Ok(Start {
        path: given.value("config").map(PathBuf::from),
        overrides: Overrides { environment: Vec::new(), flags },
        quiet: given.has("quiet"),
    })
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Text(flag) => write!(f, "the value of --{flag} is not valid UTF-8"),
            Self::Shell(name) => write!(f, "no completions for {name}, only for bash, zsh and fish"),
        }
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Command, CommandError> {
        command(arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_settings() {
        let Ok(Command::Run(start)) = of(&["-c", "t.ini", "-l", "[::1]:80", "--max-requests=7", "-qvv"])
        else {
            panic!("not taken");
        };
        assert_eq!((start.path, start.quiet), (Some("t.ini".into()), true));
        let flags = [("listen", "[::1]:80"), ("max_requests", "7"), ("verbose", "2")];
        assert_eq!(start.overrides.flags, flags.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(of(&[]), Ok(Command::Run(Start::default())));
        assert_eq!(of(&["-t"]), Ok(Command::Check(Start::default())));
    }

    #[test]
    fn what_is_printed() {
        let Ok(Command::Print(text)) = of(&["--help"]) else { panic!("no help") };
        assert!(text.contains("--queue-max-wait-ms ") && text.contains("--test-config"), "{text}");
        let Ok(Command::Print(text)) = of(&["-V"]) else { panic!("no version") };
        assert!(text.starts_with("throttle-proxy (sluice) "), "{text}");
        for shell in ["bash", "zsh", "fish"] {
            let Ok(Command::Print(script)) = of(&["--completions", shell]) else { panic!("{shell}") };
            assert!(script.contains("queue-per-key"), "{script}");
            let once = [" --listen ", "'*--listen[", " -l listen "].map(|flag| script.matches(flag).count());
            assert_eq!(once.iter().sum::<usize>(), 1, "{script}");
        }
    }

    #[test]
    fn what_is_refused() {
        let error = |arguments| of(arguments).unwrap_err().to_string();
        assert_eq!(
            error(&["--max-request", "1"]),
            "unknown flag --max-request, the nearest is --max-requests"
        );
        assert_eq!(error(&["file"]), "unexpected argument file");
        assert_eq!(error(&["--completions", "tcsh"]), "no completions for tcsh, only for bash, zsh and fish");
    }
}
