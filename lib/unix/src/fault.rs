//! Whose fault a refusal of the system is, for a program that starts: its configuration's, or the moment's.

use std::io;

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
