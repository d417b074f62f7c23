//! The table of options: one row is a flag, an environment variable `PGTUNE_…` and a key of section `[pgtune]`.
//!
//! [`COMMANDS`] are the few flags that are only flags: they choose what is done, not how.

use sluice_cli::daemon::{COMPLETIONS, HELP, VERSION};
use sluice_cli::flags::{Flag, Takes, Usage};
use sluice_cli::settings::{Acted, Kind, Reload, Setting, Table};

use super::How;
use super::words::{ColorWhen, DbSize, Disk, Extra, Feature, Format, Os, Profile};

/// What environment variables that set an option begin with.
pub const ENVIRONMENT_PREFIX: &str = "PGTUNE_";

/// Most memory, in bytes: 64TB.
pub const MOST_MEMORY: i64 = 64 << 40;
/// Most CPUs.
pub const MOST_CPUS: i64 = 4096;
/// Most connections PostgreSQL can be set to.
pub const MOST_CONNECTIONS: i64 = 262_143;
/// Most clients, pools, processes and threads: beyond what one host can hold open.
pub const MOST_CLIENTS: i64 = 1_000_000;

/// One option.
struct Row {
    short: Option<char>,
    long: &'static str,
    key: &'static str,
    value: Option<&'static str>,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
}

const fn row(
    (long, key): (&'static str, &'static str),
    value: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Row {
    Row { short: None, long, key, value: Some(value), kind, default, doc }
}

const fn switch((long, key): (&'static str, &'static str), doc: &'static str) -> Row {
    Row { short: None, long, key, value: None, kind: Kind::Bool, default: Some("0"), doc }
}

const fn short(letter: char, row: Row) -> Row {
    Row { short: Some(letter), ..row }
}

/// A name whose key is spelled the same.
const fn same(name: &'static str) -> (&'static str, &'static str) {
    (name, name)
}

const MEMORY: Kind = Kind::Size { min: 1 << 10, max: MOST_MEMORY };
const DISK_SPACE: Kind = Kind::Size { min: 1 << 20, max: 1 << 60 };
const COUNT: Kind = Kind::Int { min: 1, max: MOST_CLIENTS };

const ROWS: &[Row] = &[
    // Wishes.
    row(
        same("profile"),
        "P",
        Kind::Enum(Profile::WORDS),
        Some("web"),
        "Workload: web, oltp, dw, desktop, mixed, seed.",
    ),
    // Facts.
    row(same("memory"), "SIZE", MEMORY, None, "Memory of the machine, such as 16GB."),
    row(
        same("reserve"),
        "SIZE",
        Kind::Size { min: 0, max: MOST_MEMORY },
        Some("0"),
        "Memory for others on the machine.",
    ),
    row(same("cpus"), "N", Kind::Decimal { min: 1, max: MOST_CPUS * 1000 }, None, "CPUs; may be a fraction."),
    row(same("disk"), "D", Kind::Enum(Disk::WORDS), None, "Disk of the data: ssd, hdd, san, nvme."),
    row(
        ("db-size", "db_size"),
        "S",
        Kind::Enum(DbSize::SPELLINGS),
        Some("mid"),
        "Size of the data against memory: less, mid, greater.",
    ),
    row(same("os"), "O", Kind::Enum(Os::WORDS), None, "System of the server: linux, macos, windows."),
    row(
        ("pg-version", "pg_version"),
        "N",
        Kind::Int { min: 0, max: 999 },
        None,
        "Major version of PostgreSQL, 12 to 18.",
    ),
    row(
        same("connections"),
        "N",
        Kind::Int { min: 1, max: MOST_CONNECTIONS },
        None,
        "max_connections; never lowered by the budget.",
    ),
    row(("wal-disk", "wal_disk"), "SIZE", DISK_SPACE, None, "Size of the volume of the WAL."),
    switch(("wal-shared", "wal_shared"), "The volume is shared: --wal-disk is what is free on it."),
    row(("data-dir", "data_dir"), "DIR", Kind::Text, None, "Data directory to look at; default PGDATA."),
    row(same("shm"), "SIZE", Kind::Size { min: 0, max: MOST_MEMORY }, None, "Size of /dev/shm."),
    row(
        same("with"),
        "LIST",
        Kind::Words(Feature::WORDS),
        None,
        "Features of the build: lz4, zstd, io_uring.",
    ),
    // The budget.
    row(
        ("worst-case", "worst_case"),
        "M",
        Kind::Decimal { min: 100, max: 1_000_000 },
        Some("1.5"),
        "work_mem a connection is taken to use at worst.",
    ),
    switch(("no-budget", "no_budget"), "Lower nothing to make the worst case fit."),
    switch(same("strict"), "Exit 1 where there is a risk."),
    row(same("extras"), "LIST", Kind::Words(Extra::WORDS), None, "More settings: guards, observe."),
    row(
        same("compat"),
        "NAME",
        Kind::Enum(&["pgtune"]),
        None,
        "The formulas of the PGTune web calculator, and nothing else.",
    ),
    // The pooler and the application.
    switch(same("pooled"), "All clients come through a pooler: size max_connections for it."),
    row(same("pools"), "N", COUNT, Some("1"), "Pools: pairs of database and user."),
    row(("pool-size", "pool_size"), "N", COUNT, None, "Server connections of a pool."),
    row(same("spindles"), "N", Kind::Int { min: 0, max: 10_000 }, Some("1"), "Disks that seek on their own."),
    row(("max-clients", "max_clients"), "N", COUNT, None, "Clients the pooler lets in."),
    row(("app-processes", "app_processes"), "N", COUNT, None, "Worker processes of the application."),
    row(
        same("rate"),
        "R",
        Kind::Decimal { min: 1, max: 1_000_000_000 },
        None,
        "Queries a second, with --db-time.",
    ),
    row(("db-time", "db_time"), "DUR", Kind::Seconds, None, "Time one query keeps a server connection."),
    row(same("threads"), "T", COUNT, None, "Threads of the application, with --conns-per-request."),
    row(
        ("conns-per-request", "conns_per_request"),
        "C",
        Kind::Int { min: 1, max: 1000 },
        None,
        "Connections a request holds at once.",
    ),
    row(
        ("http-timeout", "http_timeout"),
        "DUR",
        Kind::Seconds,
        Some("5"),
        "How long callers in front wait; 3s or more.",
    ),
    row(("pool-host", "pool_host"), "H:P", Kind::Text, None, "Where the pooler listens; adds DATABASE_URL."),
    row(same("database"), "D", Kind::Text, None, "Database of DATABASE_URL."),
    row(same("user"), "U", Kind::Text, None, "User of DATABASE_URL."),
    // Output.
    row(same("format"), "F", Kind::Enum(Format::WORDS), Some("conf"), "Output format; see pgtune(1)."),
    short('o', row(same("output"), "FILE", Kind::Text, None, "Write there, all or nothing.")),
    switch(same("force"), "Replace an existing file; override what --apply refuses."),
    switch(same("explain"), "Say of each value why, what it costs, when to change it."),
    row(same("color"), "W", Kind::Enum(ColorWhen::WORDS), Some("auto"), "Dim comments: auto, always, never."),
    short('q', switch(same("quiet"), "No warnings on standard error.")),
    // A running server.
    row(same("dsn"), "CONNINFO", Kind::Text, None, "How to reach the server; default libpq's environment."),
    switch(same("live"), "Ask the server for version, build and settings."),
    row(same("window"), "DUR", Kind::Seconds, Some("60"), "Time between the two samples of --advise."),
    switch(same("all"), "Show rows that need nothing too."),
    row(("conf-dir", "conf_dir"), "D", Kind::Text, None, "Directory --apply conf.d writes to."),
    row(("conf-name", "conf_name"), "N", Kind::Text, Some("90_pgtune.conf"), "File it writes there."),
    row(("undo-dir", "undo_dir"), "D", Kind::Text, Some("."), "Where undo files go."),
    switch(same("reload"), "Reload the server afterwards."),
    row(
        same("sysroot"),
        "DIR",
        Kind::Text,
        Some("/"),
        "Look for /proc, /sys and /dev/shm below this directory.",
    ),
];

/// Flags that choose what is done.
const COMMANDS: &[Flag] = &[
    flag(None, "diff", Takes::FileOr("FILE", "live"), "Compare with a file, or with live: a running server."),
    flag(None, "advise", Takes::Nothing, "Advice from a running server."),
    flag(None, "apply", Takes::Word("HOW", How::WORDS), "Change a server: alter-system or conf.d."),
    flag(None, "undo", Takes::File("FILE"), "Run an undo file."),
    flag(None, "yes", Takes::Nothing, "Do it; without, --apply and --undo only show what they would do."),
    flag(Some('c'), "config", Takes::File("FILE"), "Read section [pgtune] of a file."),
    flag(Some('t'), "test-config", Takes::Nothing, "Check flags, environment and file, and exit."),
    COMPLETIONS,
    VERSION,
    HELP,
];

const fn flag(short: Option<char>, long: &'static str, value: Takes, doc: &'static str) -> Flag {
    Flag { short, long, value, doc }
}

/// What a row's flag takes: the kind knows words, and what a text is called tells whether it names a file or a directory.
const fn takes(row: &Row) -> Takes {
    let Some(name) = row.value else { return Takes::Nothing };
    match (row.kind, name.as_bytes(), row.long.as_bytes()) {
        (Kind::Enum(words), ..) => Takes::Word(name, words),
        (Kind::Words(words), ..) => Takes::Words(name, words),
        (Kind::Text, b"FILE", _) => Takes::File(name),
        (Kind::Text, b"DIR", _) | (Kind::Text, _, [.., b'd', b'i', b'r']) => Takes::Directory(name),
        _ => Takes::Text(name),
    }
}

const FLAGS: [Flag; ROWS.len() + COMMANDS.len()] = {
    let mut flags = [COMMANDS[0]; ROWS.len() + COMMANDS.len()];
    let mut n = 0;
    while n < flags.len() {
        flags[n] = if n < ROWS.len() {
            let row = &ROWS[n];
            flag(row.short, row.long, takes(row), row.doc)
        } else {
            COMMANDS[n - ROWS.len()]
        };
        n += 1;
    }
    flags
};

const KEYS: [Setting; ROWS.len()] = {
    let mut keys = [key(&ROWS[0]); ROWS.len()];
    let mut n = 0;
    while n < keys.len() {
        keys[n] = key(&ROWS[n]);
        n += 1;
    }
    keys
};

const fn key(row: &Row) -> Setting {
    let (name, kind, default, doc) = (row.key, row.kind, row.default, row.doc);
    Setting { name, kind, default, reload: Reload::No, acted: Acted::Yes, also_in: &[], doc }
}

/// The options as keys of environment and file.
pub const OPTIONS: Table = Table(&KEYS);

/// Every option as (flag, key, whether it takes a value).
pub(super) fn flags() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    ROWS.iter().map(|row| (row.long, row.key, row.value.is_some()))
}

/// The command line.
pub const USAGE: Usage = Usage {
    program: "pgtune",
    about: "Settings for PostgreSQL, its pooler and its application, worked out for a machine.",
    synopses: &[
        "[flags]",
        "--diff FILE|live [flags]",
        "--advise [--window DUR] [flags]",
        "--apply alter-system|conf.d [--yes] [flags]",
        "--undo FILE [--yes]",
    ],
    flags: &FLAGS,
    operands: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_flags_with_underscores_and_defaults_parse() {
        for row in ROWS {
            assert_eq!(row.key, row.long.replace('-', "_"));
            assert!(row.doc.ends_with('.') && row.doc.len() <= 80, "{}: {:?}", row.long, row.doc);
            if let Some(default) = row.default {
                assert!(row.kind.parse(default).is_ok(), "{}", row.long);
            }
        }
    }

    #[test]
    fn no_flag_twice() {
        for (n, flag) in FLAGS.iter().enumerate() {
            let again = FLAGS[..n]
                .iter()
                .any(|other| other.long == flag.long || (flag.short.is_some() && other.short == flag.short));
            assert!(!again, "{}", flag.long);
        }
    }
}
