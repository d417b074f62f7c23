//! How much memory there is: the machine's, or what the control groups leave of it.

use super::cgroup::Groups;
use super::root::Root;
use crate::config::Known;

/// The least of MemTotal and all limits, in kB.
pub(super) fn detect(root: &Root, groups: &Groups) -> Option<Known<u64>> {
    let total = meminfo(root, "MemTotal:").map(|kb| Known::new(kb, "/proc/meminfo MemTotal"));
    // Of equals the last: a limit that is just the machine's memory says nothing new.
    groups
        .memory()
        .into_iter()
        .chain(total)
        .reduce(|limit, total| if limit.value < total.value { limit } else { total })
}

/// Size of a huge page, in kB.
pub(super) fn huge_page_kb(root: &Root) -> Option<u64> {
    meminfo(root, "Hugepagesize:")
}

fn meminfo(root: &Root, field: &str) -> Option<u64> {
    let text = root.read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().filter(|kb| *kb > 0)
}
