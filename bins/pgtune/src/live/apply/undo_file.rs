//! Writes an undo file: before the first change, to the disk, and never over another file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Undo files that one second may have in a directory.
const NUMBERS: u32 = 1000;

/// Creates `pgtune-undo-STAMP-n.sql` in `directory`, readable by its owner only, and sees it to the disk.
///
/// # Errors
/// Those of the file system.
pub fn create(directory: &Path, stamp: &str, text: &str) -> io::Result<PathBuf> {
    for n in 1..=NUMBERS {
        let path = directory.join(format!("pgtune-undo-{stamp}-{n}.sql"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
                File::open(directory)?.sync_all()?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_private_and_never_replaces_another() {
        let directory = tempfile::tempdir().unwrap();
        let first = create(directory.path(), "20260102T030405Z", "a").unwrap();
        let second = create(directory.path(), "20260102T030405Z", "b").unwrap();
        assert!(first.ends_with("pgtune-undo-20260102T030405Z-1.sql"));
        assert!(second.ends_with("pgtune-undo-20260102T030405Z-2.sql"));
        assert_eq!(fs::read_to_string(&first).unwrap(), "a");
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(Path::new("/nowhere"), "x", "a").is_err());
    }
}
