//! From facts and wishes to a plan. Pure: no clock, file or environment, so the same input gives the same plan.
//!
//! [`base`] holds the formulas of the web calculator, which are all of `--compat pgtune`; [`native`] changes them where
//! they hurt; [`seed`] is the fixed profile. The budget and the pooler have modules of their own beside this one.

pub mod amount;
mod base;
mod compat;
mod native;
mod seed;

use crate::budget::Budget;
use crate::config::{DbSize, Disk, Feature, Os, Profile, Wishes};
use crate::facts::Facts;
use crate::guc::{self, Apply, Guc};
use crate::pooler::Pooling;
use crate::warnings::Warning;

pub use amount::{Amount, Kb, Thousandths};

/// A value of a setting of PostgreSQL, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name of the setting.
    pub name: &'static str,
    /// Its value.
    pub amount: Amount,
    /// The group it is printed in.
    pub group: Group,
    /// The formula, with this machine's numbers in it.
    pub rule: String,
    /// What changed it after its formula: `budget`, `connections`, `wal-disk`, `pooled`, `shm`, `with`.
    pub changed_by: Option<&'static str>,
}

impl Setting {
    /// What the table says of it for a major; `None` only for what the web calculator prints for majors before 12.
    #[must_use]
    pub fn guc(&self, major: u32) -> Option<Guc> {
        guc::row(self.name, major.max(*guc::MAJORS.start()))
    }

    /// What a change of it needs.
    #[must_use]
    pub fn apply(&self, major: u32) -> Apply {
        self.guc(major).map_or(Apply::Restart, |guc| guc.context.apply())
    }
}

/// What belongs together; the order is that of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// How many sessions.
    Connections,
    /// What memory is for.
    Memory,
    /// The write-ahead log and checkpoints.
    Wal,
    /// What plans cost.
    Planner,
    /// Reading ahead.
    Io,
    /// Parallel workers.
    Parallel,
    /// Vacuum without being asked.
    Autovacuum,
    /// `--extras guards`.
    Guards,
    /// `--extras observe`.
    Observe,
}

impl Group {
    /// The word of comments and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Memory => "memory",
            Self::Wal => "wal",
            Self::Planner => "planner",
            Self::Io => "io",
            Self::Parallel => "parallel",
            Self::Autovacuum => "autovacuum",
            Self::Guards => "guards",
            Self::Observe => "observe",
        }
    }
}

/// Everything that was worked out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was worked out for.
    pub wishes: Wishes,
    /// From what.
    pub facts: Facts,
    /// The settings, in the order of the output.
    pub settings: Vec<Setting>,
    /// The pooler, the application and the gates.
    pub pooling: Pooling,
    /// The worst case, before and after.
    pub budget: Budget,
    /// What the reader should know.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// The major it is for.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.facts.major.value
    }

    /// The setting of this name, if the plan has one.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// `max_connections` as the server will have it: planned, or PostgreSQL's own 100.
    #[must_use]
    pub fn connections(&self) -> u64 {
        match self.setting("max_connections").map(|setting| &setting.amount) {
            Some(Amount::Count(n)) => *n,
            _ => seed::DEFAULT_CONNECTIONS,
        }
    }

    /// Whether anything in it is a risk.
    #[must_use]
    pub fn is_risky(&self) -> bool {
        self.warnings.iter().any(|warning| warning.code.level() == crate::warnings::Level::Risk)
    }
}

/// What the formulas are about: a machine, a server on it, its work.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// Memory for the server, in kB: R of the formulas.
    pub(crate) memory_kb: u64,
    /// Whole CPUs, at least one; `None` only for the web calculator's formulas.
    pub(crate) cpus: Option<u64>,
    /// Major version.
    pub(crate) major: u32,
    /// The workload.
    pub(crate) profile: Profile,
    /// The disk.
    pub(crate) disk: Disk,
    /// The system.
    pub(crate) os: Os,
    /// The data against memory.
    pub(crate) db_size: DbSize,
    /// `max_connections` where given.
    pub(crate) connections: Option<u64>,
    /// What the build is known to have.
    pub(crate) features: Vec<Feature>,
}

impl Inputs {
    pub(crate) fn of(wishes: &Wishes, facts: &Facts) -> Self {
        let mut features = wishes.features.clone();
        features.extend(facts.features.iter().filter(|found| !wishes.features.contains(found)));
        Self {
            memory_kb: facts.memory_kb.value.saturating_sub(wishes.reserve_kb),
            cpus: facts.cpus_milli.as_ref().map(|cpus| (cpus.value / 1000).max(1)),
            major: facts.major.value,
            profile: wishes.profile,
            disk: facts.disk.value,
            os: facts.os.value,
            db_size: wishes.db_size,
            connections: wishes.connections,
            features,
        }
    }

    /// CPUs as the formulas use them.
    pub(crate) fn cpus(&self) -> u64 {
        self.cpus.unwrap_or(1)
    }
}

/// Works out everything.
#[must_use]
pub fn plan(wishes: &Wishes, facts: &Facts) -> Plan {
    let inputs = Inputs::of(wishes, facts);
    if wishes.compat {
        compat::plan(wishes, facts, &inputs)
    } else if wishes.profile == Profile::Seed {
        seed::plan(wishes, facts, &inputs)
    } else {
        native::plan(wishes, facts, &inputs)
    }
}
