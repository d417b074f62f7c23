//! How many CPUs this process may use: its affinity mask, or what the control groups leave of it.

use super::cgroup::Groups;
use super::root::Root;
use crate::config::{Known, options};

/// Most CPUs there can be, in thousandths.
const MOST_MILLI: u64 = options::MOST_CPUS.unsigned_abs() * 1000;

/// The least of both, in thousandths.
pub(super) fn detect(root: &Root, groups: &Groups) -> Known<u64> {
    let mask = affinity(root).map(|cpus| Known::new(cpus * 1000, "affinity mask")).unwrap_or_else(|| {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Known::new(cpus as u64 * 1000, "this system")
    });
    let least = groups.cpus().filter(|quota| quota.value < mask.value).unwrap_or(mask);
    Known { value: least.value.min(MOST_MILLI), from: least.from }
}

/// The bits of `Cpus_allowed` in /proc/self/status: hexadecimal words separated by commas.
fn affinity(root: &Root) -> Option<u64> {
    let text = root.read("/proc/self/status")?;
    let mask = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"))?.trim();
    let words: Option<Vec<u32>> = mask.split(',').map(|word| u32::from_str_radix(word, 16).ok()).collect();
    let bits = words?.iter().map(|word| u64::from(word.count_ones())).sum();
    Some(bits).filter(|bits| *bits > 0)
}
