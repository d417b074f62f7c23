//! The safety budget: the most memory a configuration can take, and what is lowered until it fits.
//!
//! ```text
//! worst = 1.03 * shared_buffers + wal_buffers + W * autovacuum_work_mem + max_connections * work_mem * M
//! limit = 90 % of memory, on a desktop 50 %
//! ```
//! All in whole numbers of a thousandth of a percent of a kB, so that no rounding hides an excess.

use crate::config::{Profile, Wishes};
use crate::tune::amount::{Kb, MB, Rough};
use crate::tune::{Inputs, Thousandths};

/// Parts of a kB that worst cases are counted in: 1.03 times and a thousandth of M are whole numbers of it.
const PARTS: u128 = 100_000;
/// Least work_mem the budget leaves.
const LEAST_WORK_MEM: u64 = MB;
/// Least autovacuum_work_mem the budget leaves.
const LEAST_AUTOVACUUM: u64 = 8 * MB;
/// Least shared_buffers PostgreSQL takes.
pub(crate) const LEAST_SHARED_BUFFERS: u64 = 128;

/// What the worst case is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `shared_buffers`, in kB; 3 % more is for what belongs to the buffers.
    pub shared_buffers_kb: u64,
    /// `wal_buffers`, in kB.
    pub wal_buffers_kb: u64,
    /// `autovacuum_max_workers`.
    pub workers: u64,
    /// What each of them may use, in kB.
    pub autovacuum_kb: u64,
    /// Sessions that work at once.
    pub connections: u64,
    /// `work_mem`, in kB.
    pub work_mem_kb: u64,
    /// How many `work_mem` a session is taken to use, in thousandths.
    pub multiplier_milli: u64,
}

/// A value the budget lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The setting.
    pub name: &'static str,
    /// What its formula said.
    pub from: String,
    /// What it is now.
    pub to: String,
    /// How that came about.
    pub rule: String,
}

/// The worst case before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Worst case against memory by the formulas, in thousandths of a percent, rounded down.
    pub before: Share,
    /// Worst case of what is printed.
    pub after: Share,
    /// What it may be.
    pub limit: Share,
    /// M, in thousandths.
    pub multiplier_milli: u64,
    /// What was lowered, in order.
    pub steps: Vec<Step>,
}

/// A share of memory, in thousandths of a percent; shown to a tenth of a percent, rounded down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u64);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Thousandths(i64::try_from(self.0 / 100 * 100).unwrap_or(i64::MAX)).fmt(f)
    }
}

/// What there is to spend, and how far values may be lowered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Memory for the server, in kB.
    pub(crate) memory_kb: u64,
    /// Percent of it that may be used.
    pub(crate) limit_percent: u64,
    /// Fewest connections; `None` where they were given and stay.
    pub(crate) fewest_connections: Option<u64>,
}

impl Bounds {
    pub(crate) fn of(inputs: &Inputs, wishes: &Wishes, fewest: u64) -> Self {
        Self {
            memory_kb: inputs.memory_kb,
            limit_percent: if inputs.profile == Profile::Desktop { 50 } else { 90 },
            fewest_connections: wishes.connections.is_none().then_some(fewest),
        }
    }

    fn limit(&self) -> u128 {
        u128::from(self.memory_kb) * PARTS / 100 * u128::from(self.limit_percent)
    }

    pub(crate) fn limit_share(&self) -> Share {
        Share(self.limit_percent * 1000)
    }

    pub(crate) fn share(&self, terms: &Terms) -> Share {
        let share = terms.worst() * 100_000 / (u128::from(self.memory_kb.max(1)) * PARTS);
        Share(u64::try_from(share).unwrap_or(u64::MAX))
    }

    pub(crate) fn fits(&self, terms: &Terms) -> bool {
        terms.worst() <= self.limit()
    }
}

impl Terms {
    /// The worst case, in [`PARTS`] of a kB.
    fn worst(&self) -> u128 {
        self.shared() + self.wal() + self.autovacuum() + self.sessions()
    }

    /// The worst case, in kB, rounded up.
    #[must_use]
    pub fn worst_kb(&self) -> u64 {
        u64::try_from(self.worst().div_ceil(PARTS)).unwrap_or(u64::MAX)
    }

    fn shared(&self) -> u128 {
        u128::from(self.shared_buffers_kb) * (PARTS + PARTS * 3 / 100)
    }

    fn wal(&self) -> u128 {
        u128::from(self.wal_buffers_kb) * PARTS
    }

    fn autovacuum(&self) -> u128 {
        u128::from(self.workers) * u128::from(self.autovacuum_kb) * PARTS
    }

    fn sessions(&self) -> u128 {
        u128::from(self.connections) * self.session()
    }

    fn session(&self) -> u128 {
        u128::from(self.work_mem_kb) * u128::from(self.multiplier_milli) * (PARTS / 1000)
    }
}

/// Lowers terms until the worst case fits, in the order of least harm: connections, `work_mem`, memory of autovacuum,
/// `shared_buffers`. `rnd` rounds sizes down as they are printed.
pub(crate) fn fit(terms: &mut Terms, bounds: &Bounds, rnd: impl Fn(u64) -> u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let multiplier = Thousandths(i64::try_from(terms.multiplier_milli).unwrap_or(i64::MAX));
    let left = |others: u128| bounds.limit().saturating_sub(others);
    let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);

    if let Some(fewest) = bounds.fewest_connections.filter(|_| !bounds.fits(terms)) {
        let left = left(terms.worst() - terms.sessions());
        let fitting = whole(left / terms.session().max(1));
        let rule = format!(
            "(limit - others) / (work_mem * {multiplier}) = {} / ({} * {multiplier}) = {fitting}, at least {fewest}",
            rough(left),
            Kb(terms.work_mem_kb),
        );
        let old = terms.connections;
        terms.connections = fitting.max(fewest).min(old);
        step(&mut steps, "max_connections", (old, terms.connections), |n| n.to_string(), rule);
    }
    if !bounds.fits(terms) {
        let left = left(terms.worst() - terms.sessions());
        let each = u128::from(terms.connections.max(1)) * u128::from(terms.multiplier_milli) * (PARTS / 1000);
        let rule = format!(
            "(limit - others) / (max_connections * {multiplier}) = {} / ({} * {multiplier}), at least {}",
            rough(left),
            terms.connections,
            Kb(LEAST_WORK_MEM),
        );
        let old = terms.work_mem_kb;
        terms.work_mem_kb = rnd(whole(left / each.max(1))).max(LEAST_WORK_MEM).min(old);
        step(&mut steps, "work_mem", (old, terms.work_mem_kb), |kb| Kb(kb).to_string(), rule);
    }
    if !bounds.fits(terms) {
        let left = left(terms.worst() - terms.autovacuum());
        let rule = format!(
            "(limit - others) / {} workers = {} / {}, at least {}",
            terms.workers,
            rough(left),
            terms.workers,
            Kb(LEAST_AUTOVACUUM),
        );
        let old = terms.autovacuum_kb;
        terms.autovacuum_kb = rnd(whole(left / PARTS) / terms.workers.max(1)).max(LEAST_AUTOVACUUM).min(old);
        step(&mut steps, "autovacuum_work_mem", (old, terms.autovacuum_kb), |kb| Kb(kb).to_string(), rule);
    }
    if !bounds.fits(terms) {
        let left = left(terms.worst() - terms.shared());
        let least = rnd(bounds.memory_kb / 10).max(LEAST_SHARED_BUFFERS);
        let rule = format!("(limit - others) / 1.03 = {} / 1.03, at least R/10 = {}", rough(left), Kb(least));
        let old = terms.shared_buffers_kb;
        terms.shared_buffers_kb = rnd(whole(left / (PARTS + PARTS * 3 / 100))).max(least).min(old);
        step(&mut steps, "shared_buffers", (old, terms.shared_buffers_kb), |kb| Kb(kb).to_string(), rule);
    }
    steps
}

fn step(
    steps: &mut Vec<Step>,
    name: &'static str,
    (old, new): (u64, u64),
    show: impl Fn(u64) -> String,
    rule: String,
) {
    if new < old {
        steps.push(Step { name, from: show(old), to: show(new), rule });
    }
}

fn rough(parts: u128) -> Rough {
    Rough(u64::try_from(parts / PARTS).unwrap_or(u64::MAX))
}
