//! poolerd's command line: the table of its flags.

use sluice_cli::daemon::{self, COMPLETIONS, Face, File, HELP, QUIET, TEST_CONFIG, USER, VERBOSE};
use sluice_cli::flags::{Flag, Takes, Usage};
use sluice_cli::settings::Table;

use super::ENVIRONMENT_PREFIX;
use crate::ctl;

/// What `--version` and `SHOW VERSION` say: tools look for the PgBouncer version whose manners these are.
pub const VERSION: &str = concat!("PgBouncer 1.25.2 (sluice poolerd ", env!("CARGO_PKG_VERSION"), ")");

/// The command line.
pub const USAGE: Usage = Usage {
    program: "poolerd",
    about: "PostgreSQL connection pooler, a drop-in for PgBouncer.",
    synopses: &["[flags] FILE", "--test-config [flags] FILE", "ctl COMMAND ..."],
    flags: &[
        Flag {
            short: Some('d'),
            long: DAEMON,
            value: Takes::Nothing,
            doc: "Run in the background; needs pidfile.",
        },
        QUIET,
        VERBOSE,
        USER,
        Flag {
            short: Some('R'),
            long: REBOOT,
            value: Takes::Nothing,
            doc: "Take over from a running poolerd (not yet).",
        },
        TEST_CONFIG,
        COMPLETIONS,
        daemon::VERSION,
        HELP,
    ],
    operands: 1,
};

/// The flag that sends it to the background.
pub const DAEMON: &str = "daemon";

/// The flag that takes over from a running one.
pub const REBOOT: &str = "reboot";

/// The face of the program.
pub const FACE: Face = Face {
    usage: USAGE,
    version: VERSION,
    settings: Table(&[]),
    also_settings: &["user"],
    file: File::Operand,
    variables: &[ENVIRONMENT_PREFIX],
    ctl: ctl::face,
};

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_cli::daemon::{Command, CommandError};

    fn of(arguments: &[&str]) -> Result<Command, CommandError> {
        FACE.command(arguments.iter().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn pgbouncers_flags() {
        let Ok(Command::Run(start)) = of(&["-d", "-q", "-R", "-vv", "-u", "nobody", "/etc/p.ini"]) else {
            panic!("not taken");
        };
        assert!([DAEMON, "quiet", REBOOT].iter().all(|flag| start.given.has(flag)));
        assert_eq!(start.file, Some("/etc/p.ini".into()));
        assert_eq!(start.overrides.flags, [("user", "nobody".into()), ("verbose", "2".into())]);
    }

    #[test]
    fn a_file_has_to_be_named() {
        assert_eq!(of(&[]), Err(CommandError::NoFile));
        assert_eq!(of(&["-t"]), Err(CommandError::NoFile));
        assert_eq!(of(&["a", "b"]).unwrap_err().to_string(), "unexpected argument b");
    }

    #[test]
    fn tools_find_the_version_they_look_for() {
        let Ok(Command::Print(text)) = of(&["-V"]) else { panic!("no version") };
        assert!(text.starts_with("PgBouncer 1.25.2 (sluice poolerd "), "{text}");
    }
}
