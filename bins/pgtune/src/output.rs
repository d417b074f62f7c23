//! A file of output, which is there whole or not at all.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Mode of a file that was not there.
const MODE: u32 = 0o644;
/// Names that are tried for the hidden file.
const NUMBERS: u32 = 1000;

/// Whether a file that is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and that is an error.
    Keep,
    /// It is replaced; the new one has its owner and mode.
    Replace,
}

/// Why nothing was written. The file, if it was there, is as it was.
#[derive(Debug)]
pub enum OutputError {
    /// It is there, and nobody said to replace it.
    Exists(PathBuf),
    /// It is no file.
    NoFile(PathBuf),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "{} exists: --force replaces it", path.display()),
            Self::NoFile(path) => write!(f, "{} is no regular file", path.display()),
            Self::Io(path, error) => write!(f, "could not write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OutputError {}

/// Writes a file whole: into a hidden one beside it, to the disk, then renamed. A symbolic link keeps pointing where it
/// does.
///
/// # Errors
/// [`OutputError`].
pub fn write_file(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), OutputError> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |error| OutputError::Io(path.clone(), error);
    let old = match fs::metadata(path) {
        Ok(old) if !old.is_file() => return Err(OutputError::NoFile(path.clone())),
        Ok(_) if existing == Existing::Keep => return Err(OutputError::Exists(path.clone())),
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let Some(name) = path.file_name() else { return Err(OutputError::NoFile(path.clone())) };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary =
        Temporary::write(directory, &name.to_string_lossy(), bytes, old.as_ref()).map_err(failed)?;
    match existing {
        Existing::Replace => fs::rename(&temporary.0, path).map_err(failed)?,
        // Fails where a file came there meanwhile; the temporary name goes when it is dropped.
        Existing::Keep => fs::hard_link(&temporary.0, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(path.clone()),
            _ => failed(error),
        })?,
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// A file that is removed unless it got another name.
struct Temporary(PathBuf);

impl Temporary {
    /// Writes a hidden file and sees it to the disk. A run that was killed may have left one of the same name: in a
    /// container, process ids begin anew.
    fn write(directory: &Path, name: &str, bytes: &[u8], old: Option<&fs::Metadata>) -> io::Result<Self> {
        let mode = old.map_or(MODE, |old| old.permissions().mode());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode & 0o777);
        for n in 1..=NUMBERS {
            let path = directory.join(format!(".{name}.{}-{n}.new", std::process::id()));
            let mut file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            let temporary = Self(path);
            if let Some(old) = old {
                // Whoever owns the file goes on owning it; without the right to give it away it is ours.
                let _ = chown(&temporary.0, Some(old.uid()), Some(old.gid()));
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            file.write_all(bytes)?;
            file.sync_all()?;
            return Ok(temporary);
        }
        Err(io::Error::other("too many hidden files of killed runs are beside it"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_new_file_is_there_whole_and_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        write_file(&path, b"x = 1\n", Existing::Keep).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x = 1\n");
        assert_eq!(names(directory.path()), ["a.conf"]);
    }

    #[test]
    fn an_existing_file_stays_unless_it_may_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = write_file(&path, b"new", Existing::Keep).unwrap_err();
        assert!(matches!(error, OutputError::Exists(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_file(&path, b"new", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(directory.path()), ["a.conf"]);
    }

    #[test]
    fn a_link_goes_on_pointing() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a.conf"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink("a.conf", &link).unwrap();
        write_file(&link, b"new", Existing::Replace).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("a.conf"));
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_a_killed_run_left_is_not_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        let left = |n: u32| directory.path().join(format!(".a.conf.{}-{n}.new", std::process::id()));
        (1..NUMBERS).for_each(|n| fs::write(left(n), "half").unwrap());
        write_file(&path, b"x", Existing::Keep).unwrap();
        write_file(&path, b"y", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"y");
        fs::write(left(NUMBERS), "half").unwrap();
        let error = write_file(&path, b"z", Existing::Replace).unwrap_err();
        assert!(error.to_string().contains("too many hidden files"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let error = write_file(directory.path(), b"x", Existing::Replace).unwrap_err();
        assert!(matches!(error, OutputError::NoFile(_)), "{error}");
        let error = write_file(&directory.path().join("no/such"), b"x", Existing::Keep).unwrap_err();
        assert!(matches!(error, OutputError::Io(..)), "{error}");
        assert_eq!(names(directory.path()), Vec::<String>::new());
    }
}
