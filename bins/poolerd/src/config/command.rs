//! poolerd's command line: the table of its flags, and what they ask for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use sluice_cli::complete::{Shell, complete};
use sluice_cli::flags::{Flag, Given, Usage, UsageError};
use sluice_cli::help::help;

use super::load::Overrides;

/// What `--version` and `SHOW VERSION` say: tools look for the PgBouncer version whose manners these are.
pub const VERSION: &str = concat!("PgBouncer 1.25.2 (sluice poolerd ", env!("CARGO_PKG_VERSION"), ")");

/// The command line.
pub const USAGE: Usage = Usage {
    program: "poolerd",
    about: "PostgreSQL connection pooler, a drop-in for PgBouncer.",
    synopses: &["[flags] FILE", "--test-config [flags] FILE", "ctl COMMAND ..."],
    flags: &[
        Flag { short: Some('d'), long: "daemon", value: None, doc: "Run in the background; needs pidfile." },
        Flag { short: Some('q'), long: "quiet", value: None, doc: "Log nothing to standard error." },
        Flag { short: Some('v'), long: "verbose", value: None, doc: "Log more; up to three times." },
        Flag {
            short: Some('u'),
            long: "user",
            value: Some("NAME"),
            doc: "Become this user when started as root.",
        },
        Flag {
            short: Some('R'),
            long: "reboot",
            value: None,
            doc: "Take over from a running poolerd (not yet).",
        },
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
    operands: 1,
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
    /// The configuration file.
    pub path: PathBuf,
    /// What beats the file; its environment is still to be filled in.
    pub overrides: Overrides,
    /// Run in the background.
    pub daemon: bool,
    /// Log nothing to standard error.
    pub quiet: bool,
    /// Take over from a running poolerd.
    pub reboot: bool,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An argument does not fit the table.
    Usage(UsageError),
    /// No configuration file.
    NoFile,
    /// The value of `--user` is not UTF-8.
    User,
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
    let given = USAGE.parse(arguments).map_err(CommandError::Usage)?;
    if given.has("help") {
        return Ok(Command::Print(help(&USAGE)));
    }
    if given.has("version") {
        return Ok(Command::Print(format!("{VERSION}\n")));
    }
    if let Some(shell) = given.value("completions") {
        return Ok(Command::Print(complete(&USAGE, shell_of(shell)?)));
    }
    let start = start(&given)?;
    Ok(if given.has("test-config") { Command::Check(start) } else { Command::Run(start) })
}

fn start(given: &Given) -> Result<Start, CommandError> {
    let path = given.operands().first().ok_or(CommandError::NoFile)?.into();
    let mut flags = Vec::new();
    match given.count("verbose") {
        0 => {}
        times => flags.push(("verbose", times.min(3).to_string())),
    }
    if let Some(user) = given.value("user") {
        flags.push(("user", user.to_str().ok_or(CommandError::User)?.to_owned()));
    }
    Ok(Start {
        path,
        overrides: Overrides { environment: Vec::new(), flags },
        daemon: given.has("daemon"),
        quiet: given.has("quiet"),
        reboot: given.has("reboot"),
    })
}

fn shell_of(name: &OsStr) -> Result<Shell, CommandError> {
    match name.to_str() {
        Some("bash") => Ok(Shell::Bash),
        Some("zsh") => Ok(Shell::Zsh),
        Some("fish") => Ok(Shell::Fish),
        _ => Err(CommandError::Shell(name.to_string_lossy().into_owned())),
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::NoFile => f.write_str("no configuration file given"),
            Self::User => f.write_str("the user's name is not valid UTF-8"),
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
    fn pgbouncers_flags() {
        let Ok(Command::Run(start)) = of(&["-d", "-q", "-R", "-vv", "-u", "nobody", "/etc/p.ini"]) else {
            panic!("not taken");
        };
        assert!(start.daemon && start.quiet && start.reboot);
        assert_eq!(start.path, PathBuf::from("/etc/p.ini"));
        assert_eq!(start.overrides.flags, [("verbose", "2".into()), ("user", "nobody".into())]);

        let least = Start { path: "p".into(), ..Start::default() };
        assert_eq!(of(&["p"]), Ok(Command::Run(least.clone())));
        assert_eq!(of(&["-t", "p"]), Ok(Command::Check(least)));
    }

    #[test]
    fn verbose_ends_at_three() {
        for (flag, value) in [("-vvv", "3"), ("-vvvv", "3")] {
            let Ok(Command::Run(start)) = of(&[flag, "p"]) else { panic!("{flag}") };
            assert_eq!(start.overrides.flags, [("verbose", value.into())]);
        }
    }

    #[test]
    fn what_is_printed() {
        let Ok(Command::Print(text)) = of(&["--help"]) else {
            panic!("no help");
        };
        for flag in USAGE.flags {
            assert!(text.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
        let Ok(Command::Print(text)) = of(&["-V"]) else { panic!("no version") };
        assert!(text.starts_with("PgBouncer 1.25.2 (sluice poolerd "), "{text}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(matches!(of(&["--completions", shell]), Ok(Command::Print(_))));
        }
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(of(&[]), Err(CommandError::NoFile));
        assert_eq!(of(&["-t"]), Err(CommandError::NoFile));
        assert_eq!(of(&["--completions", "tcsh"]), Err(CommandError::Shell("tcsh".into())));
        assert!(matches!(of(&["a", "b"]), Err(CommandError::Usage(UsageError::TooMany(_)))));
        assert!(matches!(of(&["--user"]), Err(CommandError::Usage(UsageError::NoValue("user")))));
        assert_eq!(
            of(&["--test-conf", "p"]).unwrap_err().to_string(),
            "unknown flag --test-conf, the nearest is --test-config"
        );
    }
}
