//! From values of the table to typed fields.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use sluice_cli::settings::{Origin, Value, Values};

use super::{
    Action, Asked, Budgeting, ColorWhen, ConfigError, DbSize, Disk, ENVIRONMENT_PREFIX, Extra, Feature,
    Format, Given, Known, Live, Os, Output, PoolWishes, Profile, Request, Url, Wishes,
};

/// The request the values make; `environment` lends PGDATA.
///
/// # Errors
/// [`ConfigError`] where options that belong together are not all there.
pub(super) fn request(
    values: &Values,
    action: Action,
    environment: &[(String, String)],
) -> Result<Request, ConfigError> {
    let read = Read(values);
    let pgdata = environment.iter().find(|(name, value)| name == "PGDATA" && !value.is_empty());
    Ok(Request {
        action,
        given: given(read, pgdata.map(|(_, value)| value.as_str())),
        wishes: wishes(read)?,
        output: output(read),
        live: live(read),
        sysroot: read.path("sysroot").unwrap_or_else(|| "/".into()),
        remarks: Vec::new(),
    })
}

fn given(read: Read, pgdata: Option<&str>) -> Given {
    Given {
        memory_kb: read.known("memory", read.kb("memory")),
        cpus_milli: read.known("cpus", read.milli("cpus")),
        disk: read.known("disk", read.word("disk").and_then(Disk::from_word)),
        os: read.known("os", read.word("os").and_then(Os::from_word)),
        major: read.known("pg_version", read.number("pg_version").and_then(|n| u32::try_from(n).ok())),
        wal_disk_kb: read.known("wal_disk", read.kb("wal_disk")),
        wal_shared: read.switch("wal_shared"),
        data_dir: read.path("data_dir").or_else(|| pgdata.map(PathBuf::from)),
        shm_kb: read.known("shm", read.kb("shm")),
    }
}

fn wishes(read: Read) -> Result<Wishes, ConfigError> {
    Ok(Wishes {
        profile: read.word("profile").and_then(Profile::from_word).unwrap_or(Profile::Web),
        reserve_kb: read.kb("reserve").unwrap_or(0),
        db_size: read
            .word("db_size")
            .and_then(|word| DbSize::from_word(word.trim_end_matches("_ram")))
            .unwrap_or(DbSize::Mid),
        connections: read.number("connections"),
        features: read.words("with").iter().filter_map(|word| Feature::from_word(word)).collect(),
        worst_case_milli: read.milli("worst_case").unwrap_or(1500),
        budget: if read.switch("no_budget") { Budgeting::Show } else { Budgeting::Lower },
        extras: read.words("extras").iter().filter_map(|word| Extra::from_word(word)).collect(),
        compat: read.word("compat").is_some(),
        pool: pool(read)?,
    })
}

fn pool(read: Read) -> Result<PoolWishes, ConfigError> {
    let together =
        |one: &str, other: &str| ConfigError(format!("--{one} and --{other} only mean something together"));
    let load = match (read.milli("rate"), read.duration("db_time")) {
        (Some(rate), Some(time)) => Some((rate, time)),
        (None, None) => None,
        _ => return Err(together("rate", "db-time")),
    };
    let threads = match (read.number("threads"), read.number("conns_per_request")) {
        (Some(threads), Some(connections)) => Some((threads, connections)),
        (None, None) => None,
        _ => return Err(together("threads", "conns-per-request")),
    };
    let url = url(read)?;
    Ok(PoolWishes {
        asked: if read.asks_for_pool() { Asked::Yes } else { Asked::No },
        pooled: read.switch("pooled"),
        pools: read.number("pools").unwrap_or(1),
        size: read.number("pool_size"),
        spindles: read.number("spindles").unwrap_or(0),
        max_clients: read.number("max_clients"),
        processes: read.number("app_processes"),
        load,
        threads,
        http_timeout: read.duration("http_timeout").unwrap_or_default(),
        url,
    })
}

/// The parts of DATABASE_URL: all three or none.
fn url(read: Read) -> Result<Option<Url>, ConfigError> {
    match (read.text("pool_host"), read.text("database"), read.text("user")) {
        (Some(host), Some(database), Some(user)) if is_host_port(&host) => {
            Ok(Some(Url { host, database, user }))
        }
        (Some(host), Some(_), Some(_)) => Err(ConfigError(format!(
            "--pool-host {host}: expected host:port, such as pool.internal:6432 or [::1]:6432"
        ))),
        (None, None, None) => Ok(None),
        _ => Err(ConfigError("--pool-host, --database and --user only make DATABASE_URL together".into())),
    }
}

/// Whether a text is a name or an address, a colon and a port; an IPv6 address has brackets around it.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', '@', '[', ']']),
    };
    is_host
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn output(read: Read) -> Output {
    Output {
        format: read.word("format").and_then(Format::from_word).unwrap_or(Format::Conf),
        file: read.path("output").filter(|path| path.as_os_str() != "-"),
        force: read.switch("force"),
        explain: read.switch("explain"),
        color: read.word("color").and_then(ColorWhen::from_word).unwrap_or(ColorWhen::Auto),
        quiet: read.switch("quiet"),
        strict: read.switch("strict"),
    }
}

fn live(read: Read) -> Live {
    Live {
        dsn: read.text("dsn"),
        ask: read.switch("live"),
        window: read.duration("window").unwrap_or_default(),
        all: read.switch("all"),
        yes: false,
        conf_dir: read.path("conf_dir"),
        conf_name: read.text("conf_name").unwrap_or_default(),
        undo_dir: read.path("undo_dir").unwrap_or_else(|| ".".into()),
        reload: read.switch("reload"),
    }
}

/// Readers of one type each. What is unset, or (as the table rules out) of another type, is `None`.
#[derive(Clone, Copy)]
struct Read<'a>(&'a Values);

impl<'a> Read<'a> {
    /// A number; one without default reads as unset until somebody sets it.
    fn number(self, key: &str) -> Option<u64> {
        let unset = self.0.origin(key) == Origin::Default
            && self.0.table().row(key).is_some_and(|row| row.default.is_none());
        match self.0.value(key) {
            Value::Int(n) if !unset => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    fn kb(self, key: &str) -> Option<u64> {
        self.number(key).map(|bytes| bytes / 1024)
    }

    fn milli(self, key: &str) -> Option<u64> {
        if let Value::Thousandths(n) = self.0.value(key) { u64::try_from(*n).ok() } else { None }
    }

    fn switch(self, key: &str) -> bool {
        matches!(self.0.value(key), Value::Bool(true))
    }

    fn word(self, key: &str) -> Option<&'static str> {
        if let Value::Word(word) = self.0.value(key) { Some(word) } else { None }
    }

    fn words(self, key: &str) -> &'a [&'static str] {
        if let Value::Words(words) = self.0.value(key) { words } else { &[] }
    }

    fn duration(self, key: &str) -> Option<Duration> {
        if let Value::Seconds(time) = self.0.value(key) { Some(*time) } else { None }
    }

    fn text(self, key: &str) -> Option<String> {
        match self.0.value(key) {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }

    fn path(self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// Whether an option of the pool was given, or a format chosen that is about it.
    fn asks_for_pool(self) -> bool {
        const KEYS: [&str; 6] = ["pooled", "pools", "pool_size", "max_clients", "app_processes", "pool_host"];
        let of_pool = matches!(self.word("format"), Some("ini" | "env" | "throttle" | "breaker" | "json"));
        let load = self.milli("rate").is_some() || self.number("threads").is_some();
        of_pool || load || KEYS.iter().any(|key| self.0.origin(key) != Origin::Default)
    }

    fn known<T>(self, key: &str, value: Option<T>) -> Option<Known<T>> {
        let from: Cow<'static, str> = match self.0.origin(key) {
            Origin::Environment => format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase()).into(),
            Origin::File => "configuration file".into(),
            _ => format!("--{}", key.replace('_', "-")).into(),
        };
        value.map(|value| Known { value, from })
    }
}
