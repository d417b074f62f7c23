//! The exit codes every program of sluice shares, and how it speaks to people.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::{ExitCode, Termination};

/// How a program ended, as its parent process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or the answer is yes.
    Done,
    /// 1: the answer is no.
    No,
    /// 2: wrong usage or bad configuration. Starting again without a change cannot help.
    Usage,
    /// 75 (`EX_TEMPFAIL`): failed for a reason that may pass, so that starting again may help.
    Temporary,
}

impl Exit {
    /// The number handed to the parent.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Temporary => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// Prints what was asked for. Whoever closes the pipe early (`PROGRAM -h | head -1`) has read enough.
pub fn print(program: &str, text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format_args!("{program}: could not write to standard output: {error}"));
            Exit::Temporary
        }
        _ => Exit::Done,
    }
}

/// Says something on standard error, on a line of its own. Where nobody listens (a full disk, a pipe that is closed)
/// the program goes on: what it is doing may have to be brought to its end, and `eprintln!` would end it.
pub fn say(text: &dyn Display) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let codes = [Exit::Done, Exit::No, Exit::Usage, Exit::Temporary].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 75]);
    }
}
