//! Kernel parameters, and the limits of units and containers that go with the settings.

use std::fmt::Write as _;

use super::Reasons;
use super::fragments::reason;
use crate::facts::Confinement;
use crate::tune::amount::{Kb, MB};
use crate::tune::{Amount, Plan};

/// Size of a huge page where the kernel did not say, in kB: that of x86-64 and most of arm64.
const HUGE_PAGE_KB: u64 = 2048;
/// Percent of memory that may be promised where the kernel promises no more than it has.
const OVERCOMMIT_RATIO: u64 = 90;

/// What the kernel and the units need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// `vm.nr_hugepages`.
    pub huge_pages: u64,
    /// Size of one, in kB.
    pub huge_page_kb: u64,
    /// Shared memory of the server at most, in kB; also its LimitMEMLOCK.
    pub shared_kb: u64,
    /// `LimitNOFILE` of the pooler.
    pub limit_nofile: u64,
    /// /dev/shm that parallel queries and builds need at most, in kB.
    pub shm_kb: u64,
    /// Whether a control group limits memory, so that the kernel's promises are not the limit.
    pub confinement: Confinement,
}

/// What the plan needs of its host.
#[must_use]
pub fn host(plan: &Plan) -> Host {
    let size = |name: &str, default: u64| match plan.setting(name).map(|setting| &setting.amount) {
        Some(Amount::Size(Kb(kb))) => *kb,
        _ => default,
    };
    let count = |name: &str, default: u64| match plan.setting(name).map(|setting| &setting.amount) {
        Some(Amount::Count(n)) => *n,
        _ => default,
    };
    // In hundredths of a kB: 3 % for what belongs to the buffers, 32MB for the rest, 0.08MB a connection.
    let shared = 103 * u128::from(size("shared_buffers", 128 * MB))
        + 100 * 32 * u128::from(MB)
        + 8 * u128::from(MB) * u128::from(plan.connections());
    let huge_page_kb = plan.facts.huge_page_kb.unwrap_or(HUGE_PAGE_KB);
    let pages = u64::try_from(shared.div_ceil(100 * u128::from(huge_page_kb))).unwrap_or(u64::MAX);
    let queries = count("max_parallel_workers", 8).saturating_mul(size("work_mem", 4 * MB));
    let shm = size("maintenance_work_mem", 64 * MB).saturating_add(queries);
    Host {
        huge_pages: pages,
        huge_page_kb,
        shared_kb: pages.saturating_mul(huge_page_kb),
        limit_nofile: plan.pooling.limit_nofile,
        shm_kb: shm.div_ceil(MB) * MB,
        confinement: plan.facts.confinement,
    }
}

/// A file for /etc/sysctl.d.
pub(super) fn sysctl(plan: &Plan, reasons: Reasons) -> String {
    let host = host(plan);
    let mut text = String::new();
    let rule = format!(
        "(1.03 * shared_buffers + 32MB + 0.08MB * {} connections) / {}",
        plan.connections(),
        Kb(host.huge_page_kb)
    );
    reason(&mut text, "vm.nr_hugepages", &rule, reasons);
    let _ = writeln!(text, "vm.nr_hugepages = {}", host.huge_pages);
    if host.confinement == Confinement::None {
        reason(&mut text, "vm.overcommit_memory", "2: no control group limits memory here", reasons);
        let _ = writeln!(text, "vm.overcommit_memory = 2");
        let rule = format!("{OVERCOMMIT_RATIO}: the limit of the worst case");
        reason(&mut text, "vm.overcommit_ratio", &rule, reasons);
        let _ = writeln!(text, "vm.overcommit_ratio = {OVERCOMMIT_RATIO}");
    } else {
        text.push_str("# vm.overcommit_memory stays: a control group limits memory, and the kernel counts the whole machine\n");
    }
    let _ = writeln!(text, "# unit of the pooler: LimitNOFILE={}", host.limit_nofile);
    let _ = writeln!(text, "# unit of the server: LimitMEMLOCK={}K or infinity", host.shared_kb);
    let _ = writeln!(text, "# /dev/shm: {} or more (docker run --shm-size)", Kb(host.shm_kb));
    text
}
