//! throttle-proxy's command line: the table of its flags. Every setting is a flag besides.

use sluice_cli::daemon::{self, COMPLETIONS, Face, File, HELP, QUIET, TEST_CONFIG, USER, VERBOSE};
use sluice_cli::flags::{Flag, Takes, Usage};

use super::{ENVIRONMENT_PREFIX, MAX_CONCURRENT, SETTINGS};
use crate::ctl;

/// What `--version` says.
pub const VERSION: &str = concat!("throttle-proxy (sluice) ", env!("CARGO_PKG_VERSION"));

/// The command line.
pub const USAGE: Usage = Usage {
    program: "throttle-proxy",
    about: "HTTP gateway that lets a service have as much as it can do.",
    synopses: &["[flags]", "--test-config [flags]", "ctl COMMAND ..."],
    flags: &[
        Flag {
            short: Some('c'),
            long: CONFIG,
            value: Takes::File("FILE"),
            doc: "Read this configuration file.",
        },
        Flag {
            short: Some('l'),
            long: "listen",
            value: Takes::Text("ADDRESS"),
            doc: "Listen here: host:port or unix:/path; tls: before it takes TLS.",
        },
        USER,
        QUIET,
        VERBOSE,
        TEST_CONFIG,
        COMPLETIONS,
        daemon::VERSION,
        HELP,
    ],
    operands: 0,
};

/// The flag that names the file.
const CONFIG: &str = "config";

/// The face of the program.
pub const FACE: Face = Face {
    usage: USAGE,
    version: VERSION,
    settings: SETTINGS,
    also_settings: &["listen", "user"],
    file: File::Flag(CONFIG),
    variables: &[ENVIRONMENT_PREFIX, MAX_CONCURRENT],
    ctl: ctl::face,
};

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_cli::daemon::{Command, CommandError, Start};

    fn of(arguments: &[&str]) -> Result<Command, CommandError> {
        FACE.command(arguments.iter().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_settings() {
        let Ok(Command::Run(start)) = of(&["-c", "t.ini", "-l", "[::1]:80", "--max-requests=7", "-qvv"])
        else {
            panic!("not taken");
        };
        assert_eq!((start.file, start.given.has("quiet")), (Some("t.ini".into()), true));
        let flags = [("listen", "[::1]:80"), ("max_requests", "7"), ("verbose", "2")];
        assert_eq!(start.overrides.flags, flags.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(of(&[]), Ok(Command::Run(Start::default())));
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
            let once = [" --listen ", "'*--listen=[", " -l listen "].map(|flag| script.matches(flag).count());
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
    }
}
