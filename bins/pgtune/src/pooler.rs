//! The pooler, the application's pool and the gates in front: sizes that fit into each other and waits that nest.
//!
//! ```text
//! caller waits http ≥ breaker slow_call, throttle patience = http
//!   > breaker abort_failure = 0.8 http > throttle queue_max_wait = 0.6 http
//!   > DB_POOL_TIMEOUT = 0.8 http > query_wait_timeout = 0.6 http        whoever is outside waits longest
//! ```
//! An inner wait that outlasts an outer one leaves work queued for callers that have gone.

use std::time::Duration;

use crate::config::{Asked, PoolWishes, options};
use crate::tune::{Amount, Thousandths};
use crate::warnings::{Code, Warning};

/// Connections only superusers get: PostgreSQL's `superuser_reserved_connections`.
pub(crate) const SUPERUSER: u64 = 3;
/// Connections kept for people and tools that do not come through the pooler.
pub(crate) const ADMIN: u64 = 5;
/// Descriptors a pooler needs besides its connections: log, listeners, resolver, signals.
const SPARE_DESCRIPTORS: u64 = 64;
/// Fewest connections of a server: Patroni refuses fewer.
const FEWEST: u64 = 25;
/// Most connections PostgreSQL takes.
const MOST_CONNECTIONS: u64 = options::MOST_CONNECTIONS.unsigned_abs();
/// Pools as large as this a pooler refuses: PgBouncer's settings are 32-bit.
const MOST: u64 = 1_000_000;

/// One value of the pooler's side, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Key or variable.
    pub name: &'static str,
    /// Its value.
    pub amount: Amount,
    /// The formula, with numbers.
    pub rule: String,
}

pub(crate) fn line(name: &'static str, amount: Amount, rule: impl Into<String>) -> Line {
    Line { name, amount, rule: rule.into() }
}

/// Everything between the callers and the server's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Section `[pgbouncer]`.
    pub pooler: Vec<Line>,
    /// The application's environment.
    pub app: Vec<Line>,
    /// throttle-proxy.ini.
    pub throttle: Vec<Line>,
    /// breaker-proxy.ini.
    pub breaker: Vec<Line>,
    /// Server connections all pools may open together.
    pub need: u64,
    /// Clients the pooler lets in.
    pub max_client_conn: u64,
    /// Application processes these clients allow.
    pub processes_allowed: u64,
    /// Descriptors the pooler may need.
    pub descriptors: u64,
    /// `LimitNOFILE` of its unit.
    pub limit_nofile: u64,
    pub(crate) app_size: AppSize,
    pub(crate) waits: Waits,
}

/// The application's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppSize {
    pub(crate) pool: u64,
    pub(crate) overflow: u64,
    pub(crate) concurrent: u64,
    pub(crate) processes: u64,
}

/// Who waits how long, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) http_ms: u64,
    pub(crate) query_wait_ms: u64,
    pub(crate) pool_timeout_ms: u64,
    pub(crate) queue_ms: u64,
    pub(crate) abort_ms: u64,
}

impl Waits {
    pub(crate) fn of(http: Duration) -> Self {
        let http_ms = u64::try_from(http.as_millis()).unwrap_or(u64::MAX / 10);
        // Whole seconds; those of the pooler stay below the application's where rounding made them equal.
        let pool_timeout_s = (http_ms * 8 / 10_000).max(2);
        let query_wait_s = (http_ms * 6 / 10_000).clamp(1, pool_timeout_s - 1);
        Self {
            http_ms,
            query_wait_ms: query_wait_s * 1000,
            pool_timeout_ms: pool_timeout_s * 1000,
            queue_ms: http_ms * 6 / 10,
            abort_ms: http_ms * 8 / 10,
        }
    }

    /// Whether whoever is outside waits longest.
    pub(crate) fn nest(&self) -> bool {
        self.query_wait_ms < self.pool_timeout_ms
            && self.pool_timeout_ms < self.http_ms
            && self.queue_ms < self.abort_ms
            && self.abort_ms < self.http_ms
    }
}

/// Works out all sizes for a machine of `cpus` whole CPUs.
#[must_use]
pub fn plan(wishes: &PoolWishes, cpus: u64) -> Pooling {
    let (size, size_rule) = pool_size(wishes, cpus);
    let fifth = size.div_ceil(5);
    let need = wishes.pools.saturating_mul(size + fifth);
    let processes = wishes.processes.unwrap_or(1);
    let wanted = size.div_ceil(2).max(5);
    let (max_client_conn, clients_rule) = max_client_conn(wishes, size, wanted);
    let app = app_size(wanted, processes, max_client_conn);
    let waits = Waits::of(wishes.http_timeout);
    let pooler = vec![
        line("pool_mode", Amount::Word("transaction"), "transaction: a server is busy only while it works"),
        line("max_client_conn", Amount::Count(max_client_conn), clients_rule),
        line("default_pool_size", Amount::Count(size), size_rule),
        line("min_pool_size", Amount::Count(fifth), format!("default_pool_size/5 = {size}/5, rounded up")),
        line(
            "reserve_pool_size",
            Amount::Count(fifth),
            format!("default_pool_size/5 = {size}/5, rounded up"),
        ),
        line("reserve_pool_timeout", Amount::Count(5), "5: seconds a client waits before the reserve opens"),
        line(
            "max_db_connections",
            Amount::Count(need),
            format!(
                "pools * (default_pool_size + reserve_pool_size) = {} * ({size} + {fifth})",
                wishes.pools
            ),
        ),
        line(
            "query_wait_timeout",
            Amount::Count(waits.query_wait_ms / 1000),
            format!("0.6 of the {} ms that callers wait, whole seconds", waits.http_ms),
        ),
    ];
    Pooling {
        pooler,
        app: app_lines(&app, &waits, size, max_client_conn),
        throttle: throttle(&app, &waits),
        breaker: breaker(&waits),
        need,
        max_client_conn,
        processes_allowed: max_client_conn / (app.pool + app.overflow),
        descriptors: descriptors(max_client_conn, need),
        limit_nofile: descriptors(max_client_conn, need).next_power_of_two(),
        app_size: app,
        waits,
    }
}

/// Descriptors of a pooler with so many clients and server connections.
pub(crate) fn descriptors(clients: u64, servers: u64) -> u64 {
    clients.saturating_add(servers).saturating_add(SPARE_DESCRIPTORS)
}

/// Server connections a pool of the machine is worth: cores and disks, Little's law, or what keeps threads that hold
/// several connections each from waiting for each other.
fn pool_size(wishes: &PoolWishes, cpus: u64) -> (u64, String) {
    if let Some(size) = wishes.size {
        return (size, format!("given: {size}"));
    }
    let cores = 2 * cpus + wishes.spindles;
    let mut wanted = (cores, format!("2 * {cpus} CPUs + {} disks = {cores}", wishes.spindles));
    if let Some((rate, time)) = wishes.load {
        let busy = (u128::from(rate) * time.as_micros()).div_ceil(1_000_000_000);
        let busy = u64::try_from(busy).unwrap_or(u64::MAX).min(MOST);
        if busy > wanted.0 {
            let rate = Thousandths(i64::try_from(rate).unwrap_or(i64::MAX));
            wanted = (busy, format!("Little's law: {rate} a second * {} s = {busy}", time.as_secs_f64()));
        }
    }
    if let Some((threads, each)) = wishes.threads {
        let floor = threads.saturating_mul(each - 1).saturating_add(1).min(MOST);
        if floor > wanted.0 {
            let rule =
                format!("{threads} threads * ({each} - 1) + 1 = {floor}, below which they can deadlock");
            wanted = (floor, rule);
        }
    }
    let size = wanted.0.div_ceil(wishes.pools).max(2);
    let rule = match wishes.pools {
        1 => wanted.1,
        pools => format!("{}, over {pools} pools", wanted.1),
    };
    (size, rule)
}

fn max_client_conn(wishes: &PoolWishes, size: u64, app_pool: u64) -> (u64, String) {
    if let Some(given) = wishes.max_clients {
        return (given, format!("given: {given}"));
    }
    let (clients, rule) = match wishes.processes {
        Some(processes) => {
            let each = app_pool + overflow(app_pool);
            let clients = processes.saturating_mul(each).saturating_mul(11).div_ceil(10);
            (clients, format!("1.1 * {processes} processes * {each} connections"))
        }
        None => {
            let all = size.saturating_mul(wishes.pools);
            (
                all.saturating_mul(20).max(100),
                format!("20 for each of {all} server connections, at least 100"),
            )
        }
    };
    (clients.div_ceil(10).saturating_mul(10).min(i32::MAX as u64), rule)
}

/// The pool of one process: as wanted, or as small as all processes need to fit.
fn app_size(wanted: u64, processes: u64, max_client_conn: u64) -> AppSize {
    let fits = |pool: &u64| processes.saturating_mul(pool + overflow(*pool)) <= max_client_conn;
    // The greatest pool that fits: 7 of 5 clients a connection is never exceeded by more than one.
    let near = (max_client_conn / processes.max(1) * 5 / 7 + 1).clamp(1, wanted);
    let pool = (1..=near).rev().find(fits).unwrap_or(1);
    AppSize { pool, overflow: overflow(pool), concurrent: pool + overflow(pool), processes }
}

/// 0.4 of the pool, rounded up.
fn overflow(pool: u64) -> u64 {
    (pool * 2).div_ceil(5)
}

fn app_lines(app: &AppSize, waits: &Waits, size: u64, max_client_conn: u64) -> Vec<Line> {
    let pool_rule = format!(
        "default_pool_size/2 = {size}/2, at least 5, and {} processes * (pool + overflow) <= max_client_conn = {max_client_conn}",
        app.processes
    );
    let timeout = waits.pool_timeout_ms / 1000;
    vec![
        line("DB_POOL_SIZE", Amount::Count(app.pool), pool_rule),
        line(
            "DB_MAX_OVERFLOW",
            Amount::Count(app.overflow),
            format!("0.4 * DB_POOL_SIZE = 0.4 * {}, rounded up", app.pool),
        ),
        line(
            "DB_POOL_TIMEOUT",
            Amount::Count(timeout),
            format!("0.8 of the {} ms that callers wait, whole seconds", waits.http_ms),
        ),
        line(
            "MAX_CONCURRENT_DB_REQUESTS",
            Amount::Count(app.concurrent),
            format!("DB_POOL_SIZE + DB_MAX_OVERFLOW = {} + {}", app.pool, app.overflow),
        ),
        line("DB_USE_PGBOUNCER", Amount::Word("true"), "true: there is a pooler in front of the server"),
        line(
            "CLEANUP_UTIL_THRESHOLD",
            Amount::Count(70),
            "70: percent of the pool in use before idle ones are closed",
        ),
        line("CLEANUP_MIN_INTERVAL_SEC", Amount::Count(10), "10: seconds between two such rounds"),
    ]
}

pub(crate) fn throttle(app: &AppSize, waits: &Waits) -> Vec<Line> {
    let all = app.concurrent.saturating_mul(app.processes);
    vec![
        line(
            "max_in_flight",
            Amount::Count(all),
            format!("MAX_CONCURRENT_DB_REQUESTS * processes = {} * {}", app.concurrent, app.processes),
        ),
        line(
            "queue_max_wait_ms",
            Amount::Milliseconds(waits.queue_ms),
            format!("0.6 of the {} ms that callers wait", waits.http_ms),
        ),
        line(
            "patience_ms",
            Amount::Milliseconds(waits.http_ms),
            format!("the {} ms that callers wait", waits.http_ms),
        ),
    ]
}

pub(crate) fn breaker(waits: &Waits) -> Vec<Line> {
    let http = waits.http_ms;
    vec![
        line(
            "abort_failure_ms",
            Amount::Milliseconds(waits.abort_ms),
            format!("0.8 of the {http} ms that callers wait, more than the limiter's queue"),
        ),
        line("slow_call_ms", Amount::Milliseconds(http), format!("the {http} ms that callers wait")),
        line(
            "permit_deadline_ms",
            Amount::Milliseconds(http * 2),
            format!("twice the {http} ms that callers wait"),
        ),
    ]
}

/// `max_connections` of a server whose clients all come through this pooler.
pub(crate) fn pooled_connections(need: u64, reserved: u64) -> (u64, String) {
    let all = need + SUPERUSER + reserved + ADMIN;
    let connections = (all * 5).div_ceil(4).div_ceil(5) * 5;
    let rule = format!(
        "(pools need {need} + {SUPERUSER} superuser + {reserved} reserved + {ADMIN} admin) * 5/4, up to a multiple of 5, at least {FEWEST}"
    );
    (connections.clamp(FEWEST, MOST_CONNECTIONS), rule)
}

/// The fewest connections a budget may leave: the pools must find theirs.
pub(crate) fn fewest_connections(need: u64, reserved: u64) -> u64 {
    (need + SUPERUSER + reserved + ADMIN).clamp(FEWEST, MOST_CONNECTIONS)
}

/// What is wrong between pools, server and host. Only for those who asked for a pool.
pub(crate) fn warnings(
    pooling: &Pooling,
    asked: Asked,
    (connections, reserved): (u64, u64),
    descriptor_limit: Option<u64>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if asked == Asked::No {
        return warnings;
    }
    let room = connections.saturating_sub(SUPERUSER + reserved + ADMIN);
    if pooling.need > room {
        let text = format!(
            "the pools may open {} connections, but of max_connections = {connections} only {room} are left to them",
            pooling.need
        );
        warnings.push(Warning::new(Code::PoolExceedsConnections, text));
    }
    let app = &pooling.app_size;
    let clients = app.processes.saturating_mul(app.pool + app.overflow);
    if clients > pooling.max_client_conn {
        let text = format!(
            "{} processes open at least {clients} connections, but max_client_conn is {}",
            app.processes, pooling.max_client_conn
        );
        warnings.push(Warning::new(Code::AppExceedsPooler, text));
    }
    if app.concurrent > app.pool + app.overflow {
        let text = format!(
            "MAX_CONCURRENT_DB_REQUESTS = {} is more than {} + {} connections: {} requests always wait",
            app.concurrent,
            app.pool,
            app.overflow,
            app.concurrent - app.pool - app.overflow
        );
        warnings.push(Warning::new(Code::AppConcurrency, text));
    }
    warnings.extend(inverted(&pooling.waits));
    if let Some(limit) = descriptor_limit.filter(|limit| *limit < pooling.descriptors) {
        let text = format!(
            "the pooler may need {} descriptors, but the limit here is {limit}: LimitNOFILE={}",
            pooling.descriptors, pooling.limit_nofile
        );
        warnings.push(Warning::new(Code::Nofile, text));
    }
    warnings
}

fn inverted(waits: &Waits) -> Option<Warning> {
    (!waits.nest()).then(|| {
        let seconds = |ms: u64| Thousandths(i64::try_from(ms).unwrap_or(i64::MAX));
        let text = format!(
            "callers wait {} s, DB_POOL_TIMEOUT is {} s and query_wait_timeout {} s: callers leave, their work stays queued",
            seconds(waits.http_ms),
            seconds(waits.pool_timeout_ms),
            seconds(waits.query_wait_ms)
        );
        Warning::new(Code::TimeoutInverted, text)
    })
}
