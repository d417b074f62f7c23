//! What the data directory and the file systems tell: volume of the WAL, free space, version, shared memory.

use std::path::Path;

use sluice_unix::machine;

use super::root::{self, Root};
use crate::config::{Given, Known};

/// The volume the WAL is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalVolume {
    /// Its size where it holds nothing else; what is free on it where it is shared. In kB.
    pub kb: u64,
    /// Who else writes to it.
    pub share: Share,
}

/// Who else writes to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Nobody.
    Dedicated,
    /// The data, at least.
    Shared,
}

/// The volume as it was given.
pub(super) fn given(given: &Given) -> Option<Known<WalVolume>> {
    let share = if given.wal_shared { Share::Shared } else { Share::Dedicated };
    let size = given.wal_disk_kb.as_ref()?;
    Some(Known { value: WalVolume { kb: size.value, share }, from: size.from.clone() })
}

/// The volume of pg_wal; its own where its device is not that of the data directory.
pub(super) fn wal(data_dir: &Path) -> Option<Known<WalVolume>> {
    let directory = data_dir.join("pg_wal");
    let space = machine::space(&directory).ok()?;
    let (own, data) = (machine::device(&directory).ok()?, machine::device(data_dir).ok()?);
    let volume = if own == data {
        WalVolume { kb: space.available_bytes / 1024, share: Share::Shared }
    } else {
        WalVolume { kb: space.total_bytes / 1024, share: Share::Dedicated }
    };
    Some(Known::new(volume, "file system of pg_wal"))
}

/// Free space where the data is, in kB.
pub(super) fn free_kb(data_dir: &Path) -> Option<u64> {
    machine::space(data_dir).ok().map(|space| space.available_bytes / 1024)
}

/// The major version that made the data directory.
pub(super) fn major(data_dir: &Path) -> Option<Known<u32>> {
    let major = root::read(&data_dir.join("PG_VERSION"))?.trim().parse().ok()?;
    Some(Known::new(major, "PG_VERSION"))
}

/// Size of /dev/shm, in kB.
pub(super) fn shm(root: &Root) -> Option<Known<u64>> {
    let space = machine::space(&root.path("/dev/shm")).ok()?;
    Some(Known::new(space.total_bytes / 1024, "/dev/shm")).filter(|shm| shm.value > 0)
}
