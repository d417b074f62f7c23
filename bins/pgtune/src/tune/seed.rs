//! Profile `seed`: the fixed configuration of the original design for 2 GB, value for value. Facts only feed warnings.

use std::time::Duration;

use super::amount::{GB, Kb, MB};
use super::{Amount, Group, Inputs, Plan, Setting, Thousandths, native};
use crate::budget::{Bounds, Budget, Terms};
use crate::config::Wishes;
use crate::facts::Facts;
use crate::pooler::{self, AppSize, Line, Pooling, Waits, line};
use crate::warnings::{Code, Warning};

/// `max_connections` of a server that nobody tells otherwise.
pub(super) const DEFAULT_CONNECTIONS: u64 = 100;
/// WAL a volume must hold besides `max_wal_size` = 8GB: as much again.
const WAL_DISK: u64 = 16 * GB;

const ROWS: [(Group, &str, Amount); 17] = [
    (Group::Memory, "shared_buffers", Amount::Size(Kb(512 * MB))),
    (Group::Memory, "effective_cache_size", Amount::Size(Kb(1536 * MB))),
    (Group::Memory, "work_mem", Amount::Size(Kb(16 * MB))),
    (Group::Memory, "maintenance_work_mem", Amount::Size(Kb(256 * MB))),
    (Group::Wal, "wal_buffers", Amount::Size(Kb(32 * MB))),
    (Group::Wal, "min_wal_size", Amount::Size(Kb(2 * GB))),
    (Group::Wal, "max_wal_size", Amount::Size(Kb(8 * GB))),
    (Group::Wal, "checkpoint_completion_target", Amount::Decimal(Thousandths(900))),
    (Group::Wal, "wal_compression", Amount::Word("on")),
    (Group::Planner, "random_page_cost", Amount::Decimal(Thousandths(1100))),
    (Group::Planner, "effective_io_concurrency", Amount::Count(200)),
    (Group::Planner, "default_statistics_target", Amount::Count(100)),
    (Group::Autovacuum, "autovacuum", Amount::Word("on")),
    (Group::Autovacuum, "autovacuum_max_workers", Amount::Count(4)),
    (Group::Autovacuum, "autovacuum_naptime", Amount::Seconds(30)),
    (Group::Autovacuum, "autovacuum_vacuum_threshold", Amount::Count(25)),
    (Group::Autovacuum, "autovacuum_analyze_threshold", Amount::Count(25)),
];

const APP: [(&str, Amount); 7] = [
    ("DB_POOL_SIZE", Amount::Count(25)),
    ("DB_MAX_OVERFLOW", Amount::Count(10)),
    ("DB_POOL_TIMEOUT", Amount::Count(30)),
    ("MAX_CONCURRENT_DB_REQUESTS", Amount::Count(50)),
    ("DB_USE_PGBOUNCER", Amount::Word("true")),
    ("CLEANUP_UTIL_THRESHOLD", Amount::Count(70)),
    ("CLEANUP_MIN_INTERVAL_SEC", Amount::Count(10)),
];

const POOLER: [(&str, Amount); 18] = [
    ("pool_mode", Amount::Word("transaction")),
    ("max_client_conn", Amount::Count(1000)),
    ("default_pool_size", Amount::Count(50)),
    ("min_pool_size", Amount::Count(10)),
    ("reserve_pool_size", Amount::Count(10)),
    ("reserve_pool_timeout", Amount::Count(5)),
    ("server_connect_timeout", Amount::Count(15)),
    ("server_login_retry", Amount::Count(15)),
    ("query_timeout", Amount::Count(0)),
    ("query_wait_timeout", Amount::Count(120)),
    ("client_idle_timeout", Amount::Count(0)),
    ("client_login_timeout", Amount::Count(60)),
    ("autodb_idle_timeout", Amount::Count(3600)),
    ("max_packet_size", Amount::Count(2_147_483_647)),
    ("tcp_keepalive", Amount::Count(1)),
    ("tcp_keepcnt", Amount::Count(3)),
    ("tcp_keepidle", Amount::Count(600)),
    ("tcp_keepintvl", Amount::Count(30)),
];

const MAX_CLIENT_CONN: u64 = 1000;
/// `default_pool_size` and `reserve_pool_size`.
const NEED: u64 = 50 + 10;

/// The fixed plan, and what it means on this machine.
pub(super) fn plan(wishes: &Wishes, facts: &Facts, inputs: &Inputs) -> Plan {
    let settings = ROWS.map(|(group, name, amount)| Setting {
        name,
        amount,
        group,
        rule: "as the profile has it, whatever the machine".to_owned(),
        changed_by: None,
    });
    let pooling = pooling(wishes.pool.http_timeout);
    let bounds = Bounds::of(inputs, wishes, 0);
    let terms = |connections| Terms {
        shared_buffers_kb: 512 * MB,
        wal_buffers_kb: 32 * MB,
        workers: 4,
        autovacuum_kb: 256 * MB,
        connections,
        work_mem_kb: 16 * MB,
        multiplier_milli: wishes.worst_case_milli,
    };
    let (pooled, unpooled) = (terms(NEED), terms(DEFAULT_CONNECTIONS));
    let share = bounds.share(&pooled);
    let budget = Budget {
        before: share,
        after: share,
        limit: bounds.limit_share(),
        multiplier_milli: wishes.worst_case_milli,
        steps: Vec::new(),
    };
    let mut warnings = Vec::new();
    if !bounds.fits(&pooled) {
        let text = format!(
            "the worst case takes {share} % of memory with the pool's {NEED} server connections, {} % with the {DEFAULT_CONNECTIONS} a server takes by default",
            bounds.share(&unpooled)
        );
        warnings.push(Warning::new(Code::BudgetExceeded, text));
    }
    warnings.extend(of_values(facts));
    let server = (DEFAULT_CONNECTIONS, 0);
    warnings.extend(pooler::warnings(&pooling, crate::config::Asked::Yes, server, facts.descriptors));
    Plan {
        wishes: wishes.clone(),
        facts: facts.clone(),
        settings: settings.to_vec(),
        pooling,
        budget,
        warnings,
    }
}

fn pooling(http_timeout: Duration) -> Pooling {
    let lines = |rows: &[(&'static str, Amount)]| -> Vec<Line> {
        rows.iter().map(|(name, amount)| line(name, *amount, "as the profile has it")).collect()
    };
    let app_size = AppSize { pool: 25, overflow: 10, concurrent: 50, processes: 1 };
    let waits = Waits { query_wait_ms: 120_000, pool_timeout_ms: 30_000, ..Waits::of(http_timeout) };
    let descriptors = pooler::descriptors(MAX_CLIENT_CONN, NEED);
    Pooling {
        pooler: lines(&POOLER),
        app: lines(&APP),
        throttle: pooler::throttle(&app_size, &waits),
        breaker: pooler::breaker(&waits),
        need: NEED,
        max_client_conn: MAX_CLIENT_CONN,
        processes_allowed: MAX_CLIENT_CONN / (app_size.pool + app_size.overflow),
        descriptors,
        limit_nofile: descriptors.next_power_of_two(),
        app_size,
        waits,
    }
}

/// What the values themselves are worth a remark for.
fn of_values(facts: &Facts) -> Vec<Warning> {
    let automatic = Kb(native::automatic_wal_buffers(512 * MB));
    let mut warnings = vec![
        Warning::new(
            Code::WalBuffersAboveAuto,
            format!("wal_buffers = 32MB, where PostgreSQL would take {automatic} by itself"),
        ),
        Warning::new(
            Code::AutovacuumThresholdNoop,
            "thresholds of 25 do little while the scale factors stay 0.2 and 0.1: a million rows still need 200,025 dead ones",
        ),
    ];
    if let Some(volume) = facts.wal.as_ref().filter(|volume| volume.value.kb < WAL_DISK) {
        let text = format!(
            "max_wal_size = 8GB wants a volume of {}, this one has {}",
            Kb(WAL_DISK),
            Kb(volume.value.kb)
        );
        warnings.push(Warning::new(Code::WalDiskSmall, text));
    }
    warnings
}
