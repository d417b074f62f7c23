//! The formulas: each gives a value and the rule that led to it, with this machine's numbers in it.
//!
//! Sizes are whole kB, rounded down at each step. R is the memory for the server, c its CPUs. These are the facts of
//! the PGTune web calculator; what [`native`](super::native) does otherwise it says there.

use super::amount::{GB, Kb, MB, Rough};
use super::{Inputs, Thousandths};
use crate::config::{DbSize, Disk, Os, Profile};

/// A value and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Derived<T> {
    /// The value.
    pub(crate) value: T,
    /// The formula with numbers.
    pub(crate) rule: String,
}

pub(crate) fn derived<T>(value: T, rule: impl Into<String>) -> Derived<T> {
    Derived { value, rule: rule.into() }
}

/// Windows counts memory for sorting in 32 bits before 18.
const WINDOWS_LIMIT: u64 = 2 * GB - MB;
/// From this major on Windows has no such limit.
const WINDOWS_FREED: u32 = 18;
/// Most maintenance_work_mem: more speeds up nothing.
const MAINTENANCE_LIMIT: u64 = 8 * GB;
/// Workers counted into work_mem where the CPUs are few: PostgreSQL's own max_worker_processes.
const USUAL_PROCESSES: u64 = 8;
/// Sorts and hashes a session is taken to run at once.
const NODES: u64 = 3;
/// Least work_mem of the formula.
const LEAST_WORK_MEM: u64 = 4 * MB;
/// autovacuum workers PostgreSQL starts by itself.
pub(crate) const USUAL_WORKERS: u64 = 3;
/// CPUs from which parallel workers are set at all.
pub(crate) const PARALLEL_FROM: u64 = 4;

pub(crate) fn max_connections(inputs: &Inputs) -> Derived<u64> {
    if let Some(given) = inputs.connections {
        return derived(given, format!("given: {given}"));
    }
    let usual = match inputs.profile {
        Profile::Web => 200,
        Profile::Oltp => 300,
        Profile::Dw => 40,
        Profile::Desktop => 20,
        Profile::Mixed | Profile::Seed => 100,
    };
    derived(usual, format!("{usual} for profile {}", inputs.profile.word()))
}

pub(crate) fn shared_buffers(inputs: &Inputs) -> Derived<u64> {
    fraction(inputs.memory_kb, 1, if inputs.profile == Profile::Desktop { 16 } else { 4 })
}

pub(crate) fn effective_cache_size(inputs: &Inputs) -> Derived<u64> {
    let (part, of) = if inputs.profile == Profile::Desktop { (1, 4) } else { (3, 4) };
    fraction(inputs.memory_kb, part, of)
}

pub(crate) fn maintenance_work_mem(inputs: &Inputs) -> Derived<u64> {
    let Derived { value, rule } =
        fraction(inputs.memory_kb, 1, if inputs.profile == Profile::Dw { 8 } else { 16 });
    if is_narrow(inputs) && value.min(MAINTENANCE_LIMIT) >= 2 * GB {
        derived(WINDOWS_LIMIT, format!("{rule}, but Windows before {WINDOWS_FREED} takes less than 2GB"))
    } else if value > MAINTENANCE_LIMIT {
        derived(MAINTENANCE_LIMIT, format!("{rule}, at most {}", Kb(MAINTENANCE_LIMIT)))
    } else {
        derived(value, rule)
    }
}

/// 3 % of shared_buffers, up to one segment.
pub(crate) fn wal_buffers(shared_buffers_kb: u64) -> u64 {
    match 3 * shared_buffers_kb / 100 {
        n if n > 14 * MB => 16 * MB,
        n => n.max(32),
    }
}

pub(crate) fn work_mem(inputs: &Inputs, shared_buffers_kb: u64, connections: u64) -> Derived<u64> {
    let workers = inputs.cpus.filter(|cpus| *cpus >= PARALLEL_FROM).unwrap_or(USUAL_PROCESSES);
    let share = match inputs.profile {
        Profile::Web | Profile::Oltp | Profile::Seed => 1,
        Profile::Dw | Profile::Mixed => 2,
        Profile::Desktop => 6,
    };
    let left = inputs.memory_kb.saturating_sub(shared_buffers_kb);
    let even = left / ((connections + workers) * NODES * share);
    let (factor, sized) = match inputs.db_size {
        DbSize::Less => (" * 1.3", even * 13 / 10),
        DbSize::Mid => ("", even),
        DbSize::Greater => (" * 0.9", even * 9 / 10),
    };
    let share = if share == 1 { String::new() } else { format!(" * {share}") };
    let rule = format!(
        "(R - shared_buffers) / ((max_connections + {workers}) * {NODES}{share}){factor} = {} / {}{share}{factor} = {}",
        Rough(left),
        (connections + workers) * NODES,
        Rough(sized),
    );
    if is_narrow(inputs) && sized >= 2 * GB {
        return derived(
            WINDOWS_LIMIT,
            format!("{rule}, but Windows before {WINDOWS_FREED} takes less than 2GB"),
        );
    }
    if sized < LEAST_WORK_MEM {
        return derived(LEAST_WORK_MEM, format!("{rule}, at least {}", Kb(LEAST_WORK_MEM)));
    }
    derived(sized, rule)
}

pub(crate) fn checkpoint_completion_target() -> Derived<Thousandths> {
    derived(Thousandths(900), "0.9: spread a checkpoint over nine tenths of the time to the next")
}

pub(crate) fn default_statistics_target(inputs: &Inputs) -> Derived<u64> {
    match inputs.profile {
        Profile::Dw => derived(500, "500 for profile dw: large tables, few and long queries"),
        _ => derived(100, "100: PostgreSQL's own"),
    }
}

pub(crate) fn random_page_cost(inputs: &Inputs) -> Derived<Thousandths> {
    match (inputs.db_size, inputs.disk, inputs.profile) {
        (DbSize::Less, ..) => derived(Thousandths(1100), "1.1: the data fits in memory"),
        (_, Disk::Hdd, _) => derived(Thousandths(4000), "4: a rotating disk has to seek"),
        (_, _, Profile::Dw) => {
            derived(Thousandths(4000), "4 for profile dw: large scans are to stay sequential")
        }
        (_, disk, _) => {
            derived(Thousandths(1100), format!("1.1 for {}: it hardly matters where a page is", disk.word()))
        }
    }
}

pub(crate) fn effective_io_concurrency(inputs: &Inputs) -> Derived<u64> {
    let (requests, what) = match inputs.disk {
        Disk::Hdd => (2, "one arm serves one request at a time"),
        Disk::Ssd => (200, "many flash chips serve at once"),
        Disk::San => (300, "many disks serve at once"),
        Disk::Nvme => (1000, "deep queues"),
    };
    derived(requests, format!("{requests} for {}: {what}", inputs.disk.word()))
}

/// Off for profiles of short queries; `None` leaves PostgreSQL's default.
pub(crate) fn jit(inputs: &Inputs) -> Option<Derived<&'static str>> {
    matches!(inputs.profile, Profile::Web | Profile::Oltp | Profile::Mixed).then(|| {
        derived(
            "off",
            format!(
                "off for profile {}: compiling costs short queries more than it gains",
                inputs.profile.word()
            ),
        )
    })
}

pub(crate) fn autovacuum_max_workers(inputs: &Inputs) -> Option<Derived<u64>> {
    match inputs.cpus {
        Some(cpus) if cpus >= 32 => Some(derived(5, format!("5 from 32 CPUs on; there are {cpus}"))),
        Some(cpus) if cpus >= 16 => Some(derived(4, format!("4 from 16 CPUs on; there are {cpus}"))),
        _ => None,
    }
}

/// Least and most WAL kept, in kB.
pub(crate) fn wal_sizes(inputs: &Inputs) -> (Derived<u64>, Derived<u64>) {
    let (min, max) = match inputs.profile {
        Profile::Web | Profile::Mixed => (GB, 4 * GB),
        Profile::Oltp | Profile::Seed => (2 * GB, 8 * GB),
        Profile::Dw => (4 * GB, 16 * GB),
        Profile::Desktop => (100 * MB, 2 * GB),
    };
    let rule = |kb| format!("{} for profile {}", Kb(kb), inputs.profile.word());
    (derived(min, rule(min)), derived(max, rule(max)))
}

/// Parallel workers of one query.
pub(crate) fn per_gather(inputs: &Inputs, most: u64) -> Derived<u64> {
    let half = inputs.cpus().div_ceil(2);
    derived(half.min(most), format!("half of {} CPUs, at most {most}", inputs.cpus()))
}

/// Parallel workers of building one index.
pub(crate) fn maintenance_workers(inputs: &Inputs) -> Derived<u64> {
    per_gather(inputs, 4)
}

/// Workers that read for everybody; printed where above PostgreSQL's own 3.
pub(crate) fn io_workers(quarter: u64, cpus: u64) -> Option<Derived<u64>> {
    let workers = quarter.clamp(3, 32);
    (workers > 3).then(|| derived(workers, format!("a quarter of {cpus} CPUs, 3 to 32")))
}

/// Whether sizes of 2GB and more are refused.
fn is_narrow(inputs: &Inputs) -> bool {
    inputs.os == Os::Windows && inputs.major < WINDOWS_FREED
}

/// `part/of` of R.
pub(crate) fn fraction(memory_kb: u64, part: u64, of: u64) -> Derived<u64> {
    let value = memory_kb * part / of;
    let part = if part == 1 { String::new() } else { format!(" * {part}") };
    let rule = format!("R{part}/{of} = {}{part}/{of} = {}", Rough(memory_kb), Rough(value));
    derived(value, rule)
}
