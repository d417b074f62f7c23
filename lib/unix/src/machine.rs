//! What the kernel tells of the machine a program runs on: file systems, devices, limits.
//!
//! For programs that may block; nothing here waits for more than a disk.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Of the file system as a whole, in bytes.
    pub total_bytes: u64,
    /// Free for ordinary users, in bytes.
    pub available_bytes: u64,
}

/// The device a file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its driver.
    pub major: u64,
    /// Which of the driver's.
    pub minor: u64,
}

/// Room on the file system of `path`, symbolic links followed.
///
/// # Errors
/// Those of statvfs(3).
pub fn space(path: &Path) -> io::Result<Space> {
    let found = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok(Space { total_bytes: bytes(found.blocks()), available_bytes: bytes(found.blocks_available()) })
}

/// The device `path` is on, symbolic links followed.
///
/// # Errors
/// Those of stat(2).
pub fn device(path: &Path) -> io::Result<Device> {
    let id = std::fs::metadata(path)?.dev();
    Ok(Device { major: major(id), minor: minor(id) })
}

/// How many files this process may have open, as it stands: the soft limit.
///
/// # Errors
/// Those of getrlimit(2).
pub fn descriptor_limit() -> io::Result<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_room_and_a_device() {
        let directory = tempfile::tempdir().unwrap();
        let space = space(directory.path()).unwrap();
        assert!(space.total_bytes >= space.available_bytes && space.total_bytes > 0, "{space:?}");
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(device(&file).unwrap(), device(directory.path()).unwrap());
        assert!(descriptor_limit().unwrap() > 0);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let missing = Path::new("/no/such/file");
        assert!(space(missing).is_err() && device(missing).is_err());
    }
}
