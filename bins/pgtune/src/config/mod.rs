//! What is asked for: flags, environment and file, read against one table and checked together.
//!
//! A flag beats its environment variable, which beats the key in section `[pgtune]` of the file, which beats what is
//! detected, which beats the default. [`Request`] is all of it, typed; what nobody gave stays `None` for [`facts`](crate::facts)
//! to find out.

mod check;
pub mod command;
pub mod options;
mod project;
mod words;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

pub use check::enough;
pub use options::{ENVIRONMENT_PREFIX, OPTIONS, USAGE};
pub use sluice_cli::load::ConfigError;
pub use words::{ColorWhen, DbSize, Disk, Extra, Feature, Format, Os, Profile};

/// A value and who told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// Who told it, as shown to people: `--memory`, `PGTUNE_MEMORY`, `cgroup v2 memory.max`.
    pub from: Cow<'static, str>,
}

impl<T> Known<T> {
    /// A value from a source.
    pub fn new(value: T, from: impl Into<Cow<'static, str>>) -> Self {
        Self { value, from: from.into() }
    }
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// Facts that were given rather than to be detected.
    pub given: Given,
    /// How to tune.
    pub wishes: Wishes,
    /// What comes out, and where.
    pub output: Output,
    /// The running server.
    pub live: Live,
    /// Prefix of /proc, /sys and /dev/shm.
    pub sysroot: PathBuf,
    /// Remarks about the request itself, to be shown as warnings.
    pub remarks: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print a configuration.
    Tune,
    /// Compare it with this file, or with `live`.
    Diff(String),
    /// Advice from a running server.
    Advise,
    /// Change a server.
    Apply(How),
    /// Run an undo file.
    Undo(PathBuf),
}

sluice_cli::words! {
    /// How a server is changed.
    pub How,
    /// By ALTER SYSTEM statements.
    AlterSystem = "alter-system",
    /// By a file in an included directory.
    ConfD = "conf.d",
}

/// Facts given by flag, environment or file.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Memory, in kB.
    pub memory_kb: Option<Known<u64>>,
    /// CPUs, in thousandths.
    pub cpus_milli: Option<Known<u64>>,
    /// Disk of the data.
    pub disk: Option<Known<Disk>>,
    /// System of the server.
    pub os: Option<Known<Os>>,
    /// Major version.
    pub major: Option<Known<u32>>,
    /// Size of the WAL's volume, or what is free on it where it is shared; in kB.
    pub wal_disk_kb: Option<Known<u64>>,
    /// The volume is shared.
    pub wal_shared: bool,
    /// Data directory.
    pub data_dir: Option<PathBuf>,
    /// Size of /dev/shm, in kB.
    pub shm_kb: Option<Known<u64>>,
}

/// How to tune.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The workload.
    pub profile: Profile,
    /// Memory left to others, in kB.
    pub reserve_kb: u64,
    /// The data against memory.
    pub db_size: DbSize,
    /// `max_connections`, where given.
    pub connections: Option<u64>,
    /// What the server was built with.
    pub features: Vec<Feature>,
    /// work_mem a connection is taken to use at worst, in thousandths.
    pub worst_case_milli: u64,
    /// Whether the budget lowers values.
    pub budget: Budgeting,
    /// Further settings.
    pub extras: Vec<Extra>,
    /// The formulas of the web calculator.
    pub compat: bool,
    /// The pooler and the application.
    pub pool: PoolWishes,
}

/// Whether the worst case is made to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeting {
    /// Values are lowered until it fits.
    Lower,
    /// It is only computed.
    Show,
}

/// The pooler and the application.
#[derive(Clone, Debug)]
pub struct PoolWishes {
    /// Whether anything about a pool was asked for, so that what is wrong with it matters.
    pub asked: Asked,
    /// All clients come through the pooler.
    pub pooled: bool,
    /// Pairs of database and user.
    pub pools: u64,
    /// `default_pool_size`, where given.
    pub size: Option<u64>,
    /// Disks that seek on their own.
    pub spindles: u64,
    /// `max_client_conn`, where given.
    pub max_clients: Option<u64>,
    /// Worker processes of the application.
    pub processes: Option<u64>,
    /// Queries a second in thousandths, and how long each keeps a server connection.
    pub load: Option<(u64, Duration)>,
    /// Threads, and connections a request holds at once.
    pub threads: Option<(u64, u64)>,
    /// How long the caller in front waits.
    pub http_timeout: Duration,
    /// What DATABASE_URL is made of.
    pub url: Option<Url>,
}

/// Whether a part of the output was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was.
    Yes,
    /// It is there, but nobody looks.
    No,
}

/// The parts of DATABASE_URL. There is no password in it, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port of the pooler.
    pub host: String,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
}

/// What comes out.
#[derive(Clone, Debug)]
pub struct Output {
    /// The format.
    pub format: Format,
    /// The file to write; `None`: standard output.
    pub file: Option<PathBuf>,
    /// Replace the file; override refusals.
    pub force: bool,
    /// Give reasons.
    pub explain: bool,
    /// When to colour.
    pub color: ColorWhen,
    /// No warnings on standard error.
    pub quiet: bool,
    /// Exit 1 where there is a risk.
    pub strict: bool,
}

/// The running server and what is done with it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Connection string or URL; `None`: libpq's environment alone.
    pub dsn: Option<String>,
    /// Ask it for facts.
    pub ask: bool,
    /// Time between the samples of advice.
    pub window: Duration,
    /// Show rows that need nothing.
    pub all: bool,
    /// Really change something.
    pub yes: bool,
    /// Directory of conf.d.
    pub conf_dir: Option<PathBuf>,
    /// File in it.
    pub conf_name: String,
    /// Where undo files go.
    pub undo_dir: PathBuf,
    /// Reload afterwards.
    pub reload: bool,
}
