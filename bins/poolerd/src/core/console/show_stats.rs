//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS. Times are in microseconds.

use std::collections::BTreeMap;
use std::time::Instant;

use super::shows::columns;
use super::table::{Cell, Column, Row};
use crate::core::Core;
use crate::core::route::CONSOLE;
use crate::core::stats::Counters;

/// How many counters there are.
const COUNTERS: usize = 12;

pub(super) const STATS: &[Column] = columns![
    "database" Text,
    "total_server_assignment_count" Numeric, "total_xact_count" Numeric, "total_query_count" Numeric,
    "total_received" Numeric, "total_sent" Numeric, "total_xact_time" Numeric, "total_query_time" Numeric,
    "total_wait_time" Numeric, "total_client_parse_count" Numeric, "total_server_parse_count" Numeric,
    "total_bind_count" Numeric, "total_client_login_count" Numeric,
    "avg_server_assignment_count" Numeric, "avg_xact_count" Numeric, "avg_query_count" Numeric,
    "avg_recv" Numeric, "avg_sent" Numeric, "avg_xact_time" Numeric, "avg_query_time" Numeric,
    "avg_wait_time" Numeric, "avg_client_parse_count" Numeric, "avg_server_parse_count" Numeric,
    "avg_bind_count" Numeric, "avg_client_login_count" Numeric,
];

pub(super) const TOTALS: &[Column] = columns![
    "database" Text, "server_assignment_count" Numeric, "xact_count" Numeric, "query_count" Numeric,
    "bytes_received" Numeric, "bytes_sent" Numeric, "xact_time" Numeric, "query_time" Numeric,
    "wait_time" Numeric, "client_parse_count" Numeric, "server_parse_count" Numeric, "bind_count" Numeric,
    "client_login_count" Numeric,
];

/// `avg_` stands before the last four only, as in PgBouncer.
pub(super) const AVERAGES: &[Column] = columns![
    "database" Text, "server_assignment_count" Numeric, "xact_count" Numeric, "query_count" Numeric,
    "bytes_received" Numeric, "bytes_sent" Numeric, "xact_time" Numeric, "query_time" Numeric,
    "wait_time" Numeric, "avg_client_parse_count" Numeric, "avg_server_parse_count" Numeric,
    "avg_bind_count" Numeric, "avg_client_login_count" Numeric,
];

pub(super) const SUMS: &[Column] = columns!["name" Text, "value" Numeric];

/// Names of the rows of SHOW TOTALS.
const SUM_NAMES: [&str; 2 * COUNTERS] = [
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_client_bytes",
    "total_server_bytes",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_ps_client_parse_count",
    "total_ps_server_parse_count",
    "total_ps_bind_count",
    "total_client_login_count",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_client_bytes",
    "avg_server_bytes",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_ps_client_parse_count",
    "avg_ps_server_parse_count",
    "avg_ps_bind_count",
    "avg_client_login_count",
];

pub(super) fn stats(core: &Core, now: Instant) -> Vec<Row> {
    core.by_database(now, |total, average| cells(total).into_iter().chain(cells(average)).collect())
}

pub(super) fn totals(core: &Core, now: Instant) -> Vec<Row> {
    core.by_database(now, |total, _| cells(total).into())
}

pub(super) fn averages(core: &Core, now: Instant) -> Vec<Row> {
    core.by_database(now, |_, average| cells(average).into())
}

pub(super) fn sums(core: &Core, now: Instant) -> Vec<Row> {
    let values = cells(&core.total()).into_iter().chain(cells(&core.average(now)));
    SUM_NAMES.iter().zip(values).map(|(&name, value)| vec![name.into(), value]).collect()
}

impl Core {
    /// A row of each database that has a pool, the console included, by name; of its totals and its averages.
    fn by_database(&self, now: Instant, shown: impl Fn(&Counters, &Counters) -> Row) -> Vec<Row> {
        let mut counters: BTreeMap<&str, (Counters, Counters)> = BTreeMap::new();
        counters.insert(CONSOLE, (self.console.stats.now, self.console.stats.recent()));
        for (_, pool) in self.pools.iter() {
            let Some(database) = self.databases.get(pool.database.0) else { continue };
            let (total, recent) = counters.entry(&database.name).or_default();
            total.add(&pool.stats.now);
            recent.add(&pool.stats.recent());
        }
        let period_us = now.saturating_duration_since(self.stats.before_last).as_micros() as u64;
        let row = |(name, (total, recent)): (&str, (Counters, Counters))| {
            let counts = shown(&total, &recent.averages(period_us));
            std::iter::once(name.to_owned().into()).chain(counts).collect()
        };
        counters.into_iter().map(row).collect()
    }
}

fn cells(counters: &Counters) -> [Cell; COUNTERS] {
    [
        Cell::count(counters.server_assignments),
        Cell::count(counters.transactions),
        Cell::count(counters.queries),
        Cell::count(counters.received_bytes),
        Cell::count(counters.sent_bytes),
        Cell::Micros(counters.transaction_us),
        Cell::Micros(counters.query_us),
        Cell::Micros(counters.wait_us),
        Cell::count(counters.client_parses),
        Cell::count(counters.server_parses),
        Cell::count(counters.binds),
        Cell::count(counters.client_logins),
    ]
}
