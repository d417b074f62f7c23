//! Limits of control groups, version 2 and version 1, from the group of this process up to the top of what is mounted.
//!
//! ```text
//! /proc/self/cgroup   0::/a/b         ─┐
//! mountinfo           cgroup2 at /m    ├▶ /m/a/b, /m/a, /m: the least limit counts, because each holds for its children
//!                     top /           ─┘   (/m alone where the path is not there, as in a container's own namespace)
//! ```
//! Missing, empty, `max`, zero and garbage are no limit.

use std::path::{Path, PathBuf};

use super::mounts::{self, Mount};
use super::root::{self, Root};
use crate::config::Known;

/// From here on a limit of version 1 means none: the kernel rounds 2^63 - 1 to whole pages.
const V1_NO_LIMIT: u64 = 1 << 62;

/// The groups this process is in, innermost first.
pub(super) struct Groups {
    v2: Vec<PathBuf>,
    v1_memory: Vec<PathBuf>,
    v1_cpu: Vec<PathBuf>,
}

impl Groups {
    pub(super) fn read(root: &Root) -> Self {
        let own = root.read("/proc/self/cgroup").unwrap_or_default();
        let mounts = mounts::read(root);
        let v1 = |controller: &str| {
            let path = own.lines().find_map(|line| path_of(line, controller));
            let is_mount = |mount: &&Mount| {
                mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller)
            };
            chain(root, mounts.iter().find(is_mount), path)
        };
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::"));
        Self {
            v2: chain(root, mounts.iter().find(|mount| mount.kind == "cgroup2"), v2),
            v1_memory: v1("memory"),
            v1_cpu: v1("cpu"),
        }
    }

    /// The least limit of memory, in kB.
    pub(super) fn memory(&self) -> Option<Known<u64>> {
        let v2 = least(&self.v2, |group| number(group, "memory.max"));
        let v1 = least(&self.v1_memory, |group| {
            number(group, "memory.limit_in_bytes").filter(|limit| *limit < V1_NO_LIMIT)
        });
        lesser(
            v2.and_then(kb).map(|kb| Known::new(kb, "cgroup v2 memory.max")),
            v1.and_then(kb).map(|kb| Known::new(kb, "cgroup v1 memory.limit_in_bytes")),
        )
    }

    /// The least limit from which memory is reclaimed under throttling, in kB.
    pub(super) fn memory_high_kb(&self) -> Option<u64> {
        least(&self.v2, |group| number(group, "memory.high")).and_then(kb)
    }

    /// The least share of CPUs, in thousandths.
    pub(super) fn cpus(&self) -> Option<Known<u64>> {
        let v2 = least(&self.v2, |group| {
            let text = root::read(&group.join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota.parse().ok()?, period.trim().parse().ok()?)
        });
        let v1 = least(&self.v1_cpu, |group| {
            share(number(group, "cpu.cfs_quota_us")?, number(group, "cpu.cfs_period_us")?)
        });
        lesser(
            v2.map(|milli| Known::new(milli, "cgroup v2 cpu.max")),
            v1.map(|milli| Known::new(milli, "cgroup v1 cpu.cfs_quota_us")),
        )
    }
}

/// The path of a line of version 1, `id:controllers:path`, that names the controller.
fn path_of<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let names = fields.next()?.split(',').any(|name| name == controller);
    fields.next().filter(|_| names)
}

/// The directories of a group and its ancestors up to the mount, innermost first.
fn chain(root: &Root, mount: Option<&Mount>, path: Option<&str>) -> Vec<PathBuf> {
    let (Some(mount), Some(path)) = (mount, path) else { return Vec::new() };
    let top = root.path(&mount.at);
    // A bind mount shows only the groups below its top. "/.." stands for a group outside our namespace.
    let below = path.strip_prefix(mount.top.trim_end_matches('/')).unwrap_or(path).trim_start_matches('/');
    let group = top.join(below);
    if below.split('/').any(|part| part == "..") || !group.is_dir() {
        return vec![top];
    }
    group.ancestors().take_while(|ancestor| ancestor.starts_with(&top)).map(PathBuf::from).collect()
}

fn least(groups: &[PathBuf], limit: impl Fn(&PathBuf) -> Option<u64>) -> Option<u64> {
    groups.iter().filter_map(limit).min()
}

fn lesser(one: Option<Known<u64>>, other: Option<Known<u64>>) -> Option<Known<u64>> {
    one.into_iter().chain(other).min_by_key(|known| known.value)
}

/// A number above zero that is all of a file.
fn number(group: &Path, file: &str) -> Option<u64> {
    root::read(&group.join(file))?.trim().parse().ok().filter(|n| *n > 0)
}

fn kb(bytes: u64) -> Option<u64> {
    Some(bytes / 1024).filter(|kb| *kb > 0)
}

fn share(quota_us: u64, period_us: u64) -> Option<u64> {
    quota_us.checked_mul(1000)?.checked_div(period_us).filter(|milli| *milli > 0)
}
