//! Whose fault it is that a program cannot start, or go on: its configuration's, or the moment's.

use std::fmt;
use std::io;

use crate::listener::ListenError;
use crate::privs::PrivsError;

/// Why a daemon could not start, or go on.
#[derive(Debug)]
pub enum Failure {
    /// The configuration cannot be acted on: text for the operator.
    Configuration(String),
    /// Something is held by another process or is not there yet, so that trying again may help: text for the operator.
    Temporary(String),
    /// The system refuses something that may work later; what we wanted of it, reading on from "cannot".
    System(&'static str, io::Error),
}

impl Failure {
    /// What `error` means for a start, told by `text`.
    #[must_use]
    pub fn of(error: &io::Error, text: String) -> Self {
        if may_pass(error) { Self::Temporary(text) } else { Self::Configuration(text) }
    }

    /// What a listening socket that cannot be had means, told by `text`.
    #[must_use]
    pub fn listening(error: &ListenError, text: String) -> Self {
        if error.may_pass() { Self::Temporary(text) } else { Self::Configuration(text) }
    }

    /// For `map_err`: the system refuses to do `what`, which reads on from "cannot".
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System(what, error)
    }

    /// Whether starting again may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Configuration(_))
    }
}

impl From<PrivsError> for Failure {
    fn from(error: PrivsError) -> Self {
        let text = error.to_string();
        match &error {
            PrivsError::Running(..) => Self::Temporary(text),
            PrivsError::PidFile(_, cause) | PrivsError::Call(_, cause) => Self::of(cause, text),
            PrivsError::NoSuchUser(_) | PrivsError::Root => Self::Configuration(text),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(text) | Self::Temporary(text) => f.write_str(text),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Whether starting again may help. A path that does not exist, may not be used or is something else has to be mended by
/// somebody; an address in use, or one that the machine does not have yet, may pass.
#[must_use]
pub fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    !matches!(
        error.kind(),
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidFilename
            | Kind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_whole_and_the_cause_decides() {
        let error = || io::Error::from(io::ErrorKind::AddrInUse);
        let failure = Failure::system("catch signals")(error());
        assert_eq!(failure.to_string(), format!("cannot catch signals: {}", error()));
        assert!(failure.may_pass());
        let failure = Failure::from(PrivsError::NoSuchUser("x".to_owned()));
        assert_eq!(
            (failure.to_string().as_str(), failure.may_pass()),
            ("no such user on this system: x", false)
        );
        assert!(Failure::from(PrivsError::Running("pid".into(), 1)).may_pass());
        assert!(!Failure::listening(&ListenError::NotASocket, String::new()).may_pass());
    }

    #[test]
    fn addresses_may_pass_and_paths_do_not() {
        use io::ErrorKind as Kind;
        for kind in [Kind::AddrInUse, Kind::AddrNotAvailable, Kind::Other] {
            assert!(may_pass(&kind.into()), "{kind}");
        }
        for kind in [Kind::NotFound, Kind::PermissionDenied, Kind::NotADirectory] {
            assert!(!may_pass(&kind.into()), "{kind}");
        }
    }
}
