//! Everything pgtune warns of: one table of codes.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Worth a look.
    Warn,
    /// May hurt; `--strict` exits 1.
    Risk,
}

impl Level {
    /// The word of JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Risk => "risk",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident, $word:literal, $level:ident;)+) => {
        /// What is warned of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $code,)+ }

        impl Code {
            /// All codes, in the order of the man page.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// As printed.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$code => $word),+ }
            }

            /// How bad it is.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$code => Level::$level),+ }
            }
        }
    };
}

codes! {
    /// The budget lowered a value.
    Budget, "budget", Warn;
    /// The worst case does not fit, whatever the budget lowers.
    BudgetExceeded, "budget-exceeded", Risk;
    /// The pool may open more connections than the server lets in.
    PoolExceedsConnections, "pool-exceeds-connections", Risk;
    /// An inner wait is longer than an outer one.
    TimeoutInverted, "timeout-inverted", Risk;
    /// The application asks for more than its pool and overflow.
    AppConcurrency, "app-concurrency", Warn;
    /// The processes of the application exceed the pooler's clients.
    AppExceedsPooler, "app-exceeds-pooler", Warn;
    /// The limit of descriptors is too low for the pooler.
    Nofile, "nofile", Warn;
    /// More processes in all than a server starts with.
    TooManyBackends, "too-many-backends", Risk;
    /// Fewer than 20 connections.
    FewConnections, "few-connections", Warn;
    /// The data directory could not be looked into.
    DataDir, "data-dir", Warn;
    /// The CPUs of a server elsewhere are a guess.
    CpusAssumed, "cpus-assumed", Info;
    /// The kind of disk is a guess.
    DiskAssumed, "disk-assumed", Info;
    /// Nothing is known about the volume of the WAL.
    WalDiskUnknown, "wal-disk-unknown", Info;
    /// The volume of the WAL is small for max_wal_size.
    WalDiskSmall, "wal-disk-small", Warn;
    /// /dev/shm is too small for parallel builds.
    ShmSmall, "shm-small", Warn;
    /// memory.high throttles before memory.max ends.
    MemoryHigh, "memory-high", Warn;
    /// wal_buffers above what PostgreSQL would take by itself.
    WalBuffersAboveAuto, "wal-buffers-above-auto", Info;
    /// Thresholds that do nothing beside their scale factors.
    AutovacuumThresholdNoop, "autovacuum-threshold-noop", Info;
    /// A feature asked for that this major or system has not.
    FeatureUnknown, "feature-unknown", Warn;
    /// Something about flags, environment or file.
    Options, "options", Warn;
    /// Web calculator: less than 256MB.
    LowMemory, "low_memory", Warn;
    /// Web calculator: more than 100GB.
    HighMemory, "high_memory", Warn;
    /// Web calculator: LZ4 has to be built in.
    Lz4, "lz4", Info;
    /// Web calculator: io_uring has to be built in.
    IoUring, "io_uring", Info;
    /// Web calculator: sequential reads of a warehouse on flash.
    DwFlash, "dw_flash", Info;
}

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What about.
    pub code: Code,
    /// In words, with numbers.
    pub text: String,
}

impl Warning {
    /// A warning in words.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.text)
    }
}
