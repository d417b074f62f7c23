//! The table of SHOW commands, and the smaller ones.

use std::time::Instant;

use sluice_unix::slab::Slab;

use super::commands::Privilege;
use super::table::{Cell, Column, Row};
use super::{show_pools, show_sockets, show_stats};
use crate::config::command::VERSION;
use crate::core::{Core, Survey};

/// One SHOW command.
#[derive(Debug)]
pub struct Show {
    /// The word behind SHOW.
    pub name: &'static str,
    /// Who may see it.
    pub privilege: Privilege,
    /// What it shows, in one line.
    pub doc: &'static str,
    pub(super) kind: ShowKind,
}

/// How a SHOW command answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShowKind {
    /// With rows.
    Rows(&'static [Column], fn(&Core, Instant) -> Vec<Row>),
    /// With rows that tell of the shell's buffers.
    Surveyed(&'static [Column], fn(&Core, &Survey, Instant) -> Vec<Row>),
    /// With the usage, as a notice.
    Help,
    /// Not yet.
    Unsupported,
}

impl Show {
    /// The columns it answers with, if it answers with rows.
    #[must_use]
    pub fn columns(&self) -> Option<&'static [Column]> {
        match self.kind {
            Rows(columns, _) | Surveyed(columns, _) => Some(columns),
            Help | Unsupported => None,
        }
    }
}

/// `columns!["name" Text, ...]`.
macro_rules! columns {
    ($($name:literal $kind:ident),* $(,)?) => {
        &[$($crate::core::console::table::Column {
            name: $name,
            kind: $crate::core::console::table::Type::$kind,
        }),*]
    };
}
pub(super) use columns;

macro_rules! shows {
    ($($name:literal, $privilege:ident, $kind:expr, $doc:literal;)*) => {
        /// Everything that can be shown, in alphabetical order.
        pub const SHOWS: &[Show] = &[$(Show {
            name: $name,
            privilege: Privilege::$privilege,
            doc: $doc,
            kind: $kind,
        }),*];
    };
}

use ShowKind::{Help, Rows, Surveyed, Unsupported};

shows! {
    "ACTIVE_SOCKETS", Stats, Surveyed(show_sockets::SOCKETS, show_sockets::active_sockets),
        "Connections with something under way.";
    "CLIENTS", Stats, Rows(show_sockets::CLIENTS, show_sockets::clients), "Client connections.";
    "CONFIG", Stats, Rows(CONFIG, config), "Settings in force.";
    "DATABASES", Stats, Rows(show_pools::DATABASES, show_pools::databases), "Databases, their limits and counts.";
    "DNS_HOSTS", Stats, Rows(DNS_HOSTS, names), "Host names of servers, their addresses and how many seconds these are believed.";
    "DNS_ZONES", Stats, Rows(DNS_ZONES, nothing), "DNS zones; always empty.";
    "FDS", Admin, Unsupported, "Descriptors, to hand over to another process; not supported yet.";
    "HELP", Stats, Help, "This usage.";
    "LISTS", Stats, Rows(show_pools::LISTS, show_pools::lists), "How many there are of everything.";
    "MEM", Stats, Rows(MEM, memory), "Memory of the main tables.";
    "OVERLOAD", Stats, Rows(show_pools::OVERLOAD, show_pools::overload), "How hard each pool is pressed.";
    "PEERS", Stats, Rows(PEERS, nothing), "Peers; always empty.";
    "PEER_POOLS", Stats, Rows(PEER_POOLS, nothing), "Pools of connections to peers; always empty.";
    "POOLS", Stats, Rows(show_pools::POOLS, show_pools::pools), "Pools: clients and servers by state.";
    "SERVERS", Stats, Rows(show_sockets::CLIENTS, show_sockets::servers), "Server connections.";
    "SOCKETS", Stats, Surveyed(show_sockets::SOCKETS, show_sockets::sockets), "All connections.";
    "STATE", Stats, Rows(STATE, state), "Whether the pooler is active, paused or suspended.";
    "STATS", Stats, Rows(show_stats::STATS, show_stats::stats), "Totals and averages by database.";
    "STATS_AVERAGES", Stats, Rows(show_stats::AVERAGES, show_stats::averages), "Averages by database.";
    "STATS_TOTALS", Stats, Rows(show_stats::TOTALS, show_stats::totals), "Totals by database.";
    "TOTALS", Stats, Rows(show_stats::SUMS, show_stats::sums), "Totals and averages of everything.";
    "USERS", Stats, Rows(show_pools::USERS, show_pools::users), "Users, their limits and counts.";
    "VERSION", Stats, Rows(VERSIONS, version), "The version.";
}

const CONFIG: &[Column] = columns!["key" Text, "value" Text, "default" Text, "changeable" Text];
const DNS_HOSTS: &[Column] = columns!["hostname" Text, "ttl" Int8, "addrs" Text];
const DNS_ZONES: &[Column] = columns!["zonename" Text, "serial" Int8, "count" Int4];
const MEM: &[Column] = columns!["name" Text, "size" Int4, "used" Int4, "free" Int4, "memtotal" Int4];
const PEERS: &[Column] = columns!["peer_id" Int4, "host" Text, "port" Int4, "pool_size" Int4];
const PEER_POOLS: &[Column] = columns![
    "peer_id" Int4, "cl_active_cancel_req" Int4, "cl_waiting_cancel_req" Int4, "sv_active_cancel" Int4,
    "sv_login" Int4,
];
const STATE: &[Column] = columns!["key" Text, "value" Text];
const VERSIONS: &[Column] = columns!["version" Text];

fn nothing(_: &Core, _: Instant) -> Vec<Row> {
    Vec::new()
}

fn names(core: &Core, now: Instant) -> Vec<Row> {
    let rows = core.names.known().map(|(name, known)| {
        let ttl_s = known.until.saturating_duration_since(now).as_secs();
        let addresses: Vec<String> = known.addresses.iter().map(ToString::to_string).collect();
        vec![name.to_owned().into(), Cell::count(ttl_s), addresses.join(",").into()]
    });
    rows.collect()
}

fn config(core: &Core, _: Instant) -> Vec<Row> {
    let rows = core.config.shown().into_iter().map(|row| {
        vec![
            row.key.into(),
            row.value.into(),
            Cell::option(row.default),
            if row.changeable { "yes" } else { "no" }.into(),
        ]
    });
    rows.collect()
}

fn memory(core: &Core, _: Instant) -> Vec<Row> {
    fn row<T>(name: &'static str, slab: &Slab<T>) -> Row {
        let free = slab.capacity() - slab.len();
        let total = slab.capacity() * size_of::<T>();
        let counts = [size_of::<T>(), slab.len(), free, total].map(Cell::count);
        std::iter::once(name.into()).chain(counts).collect()
    }
    vec![
        row("user_cache", &core.users),
        row("db_cache", &core.databases),
        row("pool_cache", &core.pools),
        row("server_cache", &core.servers),
        row("client_cache", &core.clients),
    ]
}

fn state(core: &Core, _: Instant) -> Vec<Row> {
    let row = |key: &'static str, value| vec![key.into(), if value { "yes" } else { "no" }.into()];
    vec![
        row("active", !core.is_paused() && !core.suspended),
        row("paused", core.is_paused()),
        row("suspended", core.suspended),
    ]
}

fn version(_: &Core, _: Instant) -> Vec<Row> {
    vec![vec![VERSION.into()]]
}
