//! Certificates whose keys everybody knows, where the account that a program runs under may read them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// Copies of these files of `lib/unix/tests/data/tls`, removed when dropped.
pub fn readable(names: &[&str]) -> TempDir {
    let originals = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib/unix/tests/data/tls");
    let directory = tempfile::tempdir().unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(directory.path(), 0o755);
    for name in names {
        let copy = directory.path().join(name);
        fs::copy(originals.join(name), &copy).unwrap();
        set(&copy, 0o644);
    }
    directory
}
