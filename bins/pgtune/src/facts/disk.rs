//! What a directory is on, by what the kernel says of its block device.
//!
//! ```text
//! directory ─stat─▶ 259:2 ─/sys/dev/block─▶ nvme0n1p2 ─partition─▶ nvme0n1 ─▶ nvme
//!                                           dm-0, md0 ─slaves─▶ each of them; the slowest counts
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sluice_unix::machine;

use super::root::{self, Root};
use super::{ASSUMED, Certainty, mounts};
use crate::config::{Disk, Known};

/// Devices below one that are looked at in all: arrays of arrays have fewer.
const DEVICES_MAX: usize = 1000;

/// The disk of a directory; an assumption where the kernel tells nothing.
pub(super) fn detect(root: &Root, directory: Option<&Path>) -> (Known<Disk>, Certainty) {
    match directory
        .and_then(|directory| device_of(root, directory))
        .map(|device| classify(&device, &mut BTreeSet::new()))
    {
        Some((disk, Certainty::Known, name)) => {
            (Known::new(disk, format!("device {name}")), Certainty::Known)
        }
        Some((disk, Certainty::Assumed, name)) => {
            (Known::new(disk, format!("assumed, device {name} does not tell")), Certainty::Assumed)
        }
        None => or_assumed(None),
    }
}

/// The disk given, or an assumption.
pub(super) fn or_assumed(given: Option<Known<Disk>>) -> (Known<Disk>, Certainty) {
    match given {
        Some(disk) => (disk, Certainty::Known),
        None => (Known::new(Disk::Ssd, ASSUMED), Certainty::Assumed),
    }
}

/// The directory in /sys of the block device below a directory.
fn device_of(root: &Root, directory: &Path) -> Option<PathBuf> {
    let device = machine::device(directory).ok()?;
    let id = format!("{}:{}", device.major, device.minor);
    let direct = root.path("/sys/dev/block").join(&id).canonicalize().ok();
    direct.or_else(|| {
        // Some file systems (btrfs) have device numbers of their own; the mount names what is below.
        let mounts = mounts::read(root);
        let source = &mounts.iter().find(|mount| mount.device == id)?.source;
        let name = source.strip_prefix("/dev/").filter(|name| !name.contains('/'))?;
        root.path("/sys/class/block").join(name).canonicalize().ok()
    })
}

/// What a device of /sys is, how sure that is, and its name. `seen` are the devices looked at before: each is looked at
/// once, so that devices that stand on each other in circles come to an end.
fn classify(device: &Path, seen: &mut BTreeSet<PathBuf>) -> (Disk, Certainty, String) {
    let whole = if device.join("partition").exists() { device.parent().unwrap_or(device) } else { device };
    seen.insert(whole.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let slaves = whole.join("slaves");
    let mut slowest: Option<(Disk, Certainty, String)> = None;
    for slave in root::names(&slaves).into_iter().filter_map(|slave| slaves.join(slave).canonicalize().ok()) {
        if seen.len() >= DEVICES_MAX || !seen.insert(slave.clone()) {
            continue;
        }
        let below = classify(&slave, seen);
        if slowest.as_ref().is_none_or(|slowest| speed(&below) < speed(slowest)) {
            slowest = Some(below);
        }
    }
    if let Some((disk, certainty, slave)) = slowest {
        return (disk, certainty, format!("{name} on {slave}"));
    }
    let rotational = root::read(&whole.join("queue/rotational"));
    let (disk, certainty) = match rotational.as_deref().map(str::trim) {
        _ if name.starts_with("nvme") => (Disk::Nvme, Certainty::Known),
        Some("0") => (Disk::Ssd, Certainty::Known),
        // Virtual disks say 1 whatever is behind them; only a disk of the SCSI layer knows.
        Some("1") if name.starts_with("sd") => (Disk::Hdd, Certainty::Known),
        _ => (Disk::Ssd, Certainty::Assumed),
    };
    (disk, certainty, name)
}

fn speed((disk, certainty, _): &(Disk, Certainty, String)) -> u8 {
    match (disk, certainty) {
        (Disk::Hdd, _) => 0,
        (_, Certainty::Assumed) => 1,
        (Disk::Ssd | Disk::San, _) => 2,
        (Disk::Nvme, _) => 3,
    }
}
