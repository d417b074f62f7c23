//! The words that options take.

use sluice_cli::words;

words! {
    /// What the server is for.
    pub Profile,
    /// Web application: many short queries, data that mostly fits in memory.
    Web = "web",
    /// Online transaction processing: many writes.
    Oltp = "oltp",
    /// Data warehouse: few large queries.
    Dw = "dw",
    /// A workstation that does other things too.
    Desktop = "desktop",
    /// Some of web and some of dw.
    Mixed = "mixed",
    /// The fixed configuration of the original design document, for 2 GB.
    Seed = "seed",
}

words! {
    /// What the data directory is on.
    pub Disk,
    /// Solid state disk on SATA or a network volume that behaves like one.
    Ssd = "ssd",
    /// Rotating disk.
    Hdd = "hdd",
    /// Storage network with many disks behind it.
    San = "san",
    /// Solid state disk on PCI Express.
    Nvme = "nvme",
}

words! {
    /// The data against memory.
    pub DbSize,
    /// All of it fits.
    Less = "less",
    /// What is used often fits.
    Mid = "mid",
    /// Much more than memory.
    Greater = "greater",
}

impl DbSize {
    /// All ways to write it: the words, and those of the web calculator.
    pub const SPELLINGS: &'static [&'static str] =
        &["less", "mid", "greater", "less_ram", "mid_ram", "greater_ram"];
}

words! {
    /// The system the server runs on.
    pub Os,
    /// Linux.
    Linux = "linux",
    /// macOS.
    Macos = "macos",
    /// Windows.
    Windows = "windows",
}

words! {
    /// What the server was built with.
    pub Feature,
    /// LZ4 compression.
    Lz4 = "lz4",
    /// Zstandard compression.
    Zstd = "zstd",
    /// io_uring, and a kernel that lets the server use it.
    IoUring = "io_uring",
}

words! {
    /// Settings beyond speed.
    pub Extra,
    /// Limits that keep one session from hurting the others.
    Guards = "guards",
    /// What makes a server's work visible.
    Observe = "observe",
}

words! {
    /// What is printed.
    pub Format,
    /// Lines of postgresql.conf.
    Conf = "conf",
    /// ALTER SYSTEM statements.
    AlterSystem = "alter-system",
    /// Environment of the application.
    Env = "env",
    /// Section `[pgbouncer]` of poolerd.ini or pgbouncer.ini.
    Ini = "ini",
    /// Keys of throttle-proxy.ini.
    Throttle = "throttle",
    /// Keys of breaker-proxy.ini.
    Breaker = "breaker",
    /// Kernel parameters.
    Sysctl = "sysctl",
    /// Fragment of a Kubernetes operator's cluster resource.
    K8s = "k8s",
    /// Fragment of Patroni's configuration.
    Patroni = "patroni",
    /// Everything, for programs.
    Json = "json",
}

words! {
    /// When output is coloured.
    pub ColorWhen,
    /// On a terminal.
    Auto = "auto",
    /// Always.
    Always = "always",
    /// Never.
    Never = "never",
}
