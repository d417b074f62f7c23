//! SHOW POOLS, DATABASES, USERS, LISTS and OVERLOAD.

use std::collections::BTreeSet;
use std::time::Instant;

use super::shows::columns;
use super::table::{Cell, Column, Row};
use crate::config::{self, LoadBalance, PoolMode};
use crate::core::client::ClientState;
use crate::core::pool::Pool;
use crate::core::route::CONSOLE;
use crate::core::server::ServerState;
use crate::core::{ClientId, Core, PoolId};

/// `pool_size` of the console's pool, for which there are no servers.
const CONSOLE_POOL_SIZE: i64 = 2;

pub(super) const POOLS: &[Column] = columns![
    "database" Text, "user" Text, "cl_active" Int4, "cl_waiting" Int4, "cl_active_cancel_req" Int4,
    "cl_waiting_cancel_req" Int4, "sv_active" Int4, "sv_active_cancel" Int4, "sv_being_canceled" Int4,
    "sv_idle" Int4, "sv_used" Int4, "sv_tested" Int4, "sv_login" Int4, "maxwait" Int4, "maxwait_us" Int4,
    "pool_mode" Text, "load_balance_hosts" Text,
];

pub(super) const DATABASES: &[Column] = columns![
    "name" Text, "host" Text, "port" Int4, "database" Text, "force_user" Text, "pool_size" Int4,
    "min_pool_size" Int4, "reserve_pool_size" Int4, "server_lifetime" Int4, "pool_mode" Text,
    "load_balance_hosts" Text, "max_connections" Int4, "current_connections" Int4, "max_client_connections" Int4,
    "current_client_connections" Int4, "paused" Int4, "disabled" Int4,
];

pub(super) const USERS: &[Column] = columns![
    "name" Text, "pool_size" Text, "reserve_pool_size" Text, "pool_mode" Text, "max_user_connections" Int4,
    "current_connections" Int4, "max_user_client_connections" Int4, "current_client_connections" Int4,
];

pub(super) const LISTS: &[Column] = columns!["list" Text, "items" Int4];

pub(super) const OVERLOAD: &[Column] = columns![
    "database" Text, "user" Text, "state" Text, "limit_effective" Numeric, "waiting" Numeric,
    "min_wait_us" Numeric, "expected_wait_us" Numeric, "shed_entries" Numeric, "rejected" Numeric,
    "waiters_abandoned" Numeric, "deadline_rejected" Numeric, "deadline_cancelled" Numeric,
    "cancels_sent" Numeric, "cancels_suppressed" Numeric, "retries" Numeric, "logins_delayed" Numeric,
    "logins_refused" Numeric, "mux_victims" Numeric, "mux_requeued" Numeric, "mux_requests" Numeric,
];

pub(super) fn pools(core: &Core, now: Instant) -> Vec<Row> {
    let mut rows: Vec<Row> =
        core.pools.iter().map(|(key, pool)| core.pool_row(PoolId(key), pool, now)).collect();
    let sessions = Cell::count(core.console.sessions.len());
    let mut console = vec![CONSOLE.into(), CONSOLE.into(), sessions];
    console.extend((0..12).map(|_| Cell::Int(0)));
    console.extend([PoolMode::Statement.word().into(), Cell::Null]);
    rows.push(in_seconds(console));
    sort_by_names(&mut rows);
    rows
}

/// The console's own pool has its waits in the form of the others.
fn in_seconds(mut row: Row) -> Row {
    row[13] = Cell::Seconds(std::time::Duration::ZERO);
    row[14] = Cell::SecondsRest(std::time::Duration::ZERO);
    row
}

fn sort_by_names(rows: &mut [Row]) {
    let name = |cell: &Cell| match cell {
        Cell::Text(text) => text.to_string(),
        _ => String::new(),
    };
    rows.sort_by_cached_key(|row| (row.first().map(name), row.get(1).map(name)));
}

fn load_balance(config: &config::Database) -> Cell {
    Cell::option((config.host.len() > 1).then(|| LoadBalance::word(config.load_balance_hosts)))
}

impl Core {
    fn pool_row(&self, id: PoolId, pool: &Pool, now: Instant) -> Row {
        let database = self.databases.get(pool.database.0);
        let user = self.users.get(pool.user.0);
        let (active_cancels, waiting_cancels) = self.cancel_requests(id, pool);
        let wait = self.oldest_wait(id, now);
        let mut row = vec![Cell::option(database.map(|d| d.name.to_string()))];
        row.push(Cell::option(user.map(|u| u.name.to_string())));
        row.push(Cell::count(pool.client_count(ClientState::Active) + pool.client_count(ClientState::Idle)));
        row.push(Cell::count(pool.waiting()));
        row.extend([active_cancels, waiting_cancels].map(Cell::count));
        let states = [
            ServerState::Active,
            ServerState::ActiveCancel,
            ServerState::BeingCanceled,
            ServerState::Idle,
            ServerState::Used,
            ServerState::Tested,
            ServerState::Login,
        ];
        row.extend(states.map(|state| Cell::count(pool.server_count(state))));
        row.extend([Cell::Seconds(wait), Cell::SecondsRest(wait), pool.policy.mode.word().into()]);
        row.push(database.map_or(Cell::Null, |d| load_balance(&d.config)));
        row
    }

    /// Clients' cancel requests for this pool: on their way, and yet to leave.
    fn cancel_requests(&self, id: PoolId, pool: &Pool) -> (u32, u32) {
        if pool.server_count(ServerState::ActiveCancel) == 0 {
            return (0, 0);
        }
        let here = |asker: ClientId| self.clients.get(asker.0).is_some();
        let queued = pool.cancels.iter().filter(|queued| here(queued.asker)).count() as u32;
        let runs = self.servers.iter().filter(|(_, server)| server.pool == id);
        let runs = runs.filter_map(|(_, server)| server.cancel.as_ref()).filter(|run| run.has_asker());
        let (mut active, mut waiting) = (0, queued);
        for run in runs {
            if run.is_sent() { active += 1 } else { waiting += 1 }
        }
        (active, waiting)
    }

    /// Every user name that is configured or was seen.
    fn user_list(&self) -> BTreeSet<String> {
        let secrets = self.config.secrets.users().map(|name| String::from_utf8_lossy(name).into_owned());
        let seen = self.users.iter().map(|(_, user)| user.name.to_string());
        let options = self.config.users.keys().cloned();
        std::iter::once(CONSOLE.to_owned()).chain(secrets).chain(options).chain(seen).collect()
    }
}

pub(super) fn databases(core: &Core, _: Instant) -> Vec<Row> {
    let config = &core.config;
    let global = &config.global;
    let mut rows: Vec<Row> = Vec::new();
    for (_, database) in core.databases.iter() {
        let own = &database.config;
        let hosts: Vec<String> = own.host.iter().map(ToString::to_string).collect();
        rows.push(vec![
            (&database.name).into(),
            Cell::option((!hosts.is_empty()).then(|| hosts.join(","))),
            Cell::Int(own.port.into()),
            own.dbname.clone().into(),
            Cell::option(own.user.clone()),
            Cell::count(own.pool_size.unwrap_or(global.default_pool_size)),
            Cell::count(own.min_pool_size.unwrap_or(global.min_pool_size)),
            Cell::count(own.reserve_pool_size.unwrap_or(global.reserve_pool_size)),
            Cell::Seconds(config.server_lifetime(own)),
            Cell::option(own.pool_mode.map(PoolMode::word)),
            load_balance(own),
            Cell::count(config.max_db_connections(own)),
            Cell::count(database.servers),
            Cell::count(config.max_db_client_connections(own)),
            Cell::count(database.clients),
            Cell::Int(database.paused.into()),
            Cell::Int(database.disabled.into()),
        ]);
    }
    rows.push(vec![
        CONSOLE.into(),
        Cell::Null,
        Cell::Int(global.listen_port.into()),
        CONSOLE.into(),
        CONSOLE.into(),
        Cell::Int(CONSOLE_POOL_SIZE),
        Cell::Int(0),
        Cell::Int(0),
        Cell::Seconds(global.server_lifetime),
        PoolMode::Statement.word().into(),
        Cell::Null,
        Cell::Int(0),
        Cell::Int(0),
        Cell::count(global.max_db_client_connections),
        Cell::count(core.console.sessions.len()),
        Cell::Int(0),
        Cell::Int(0),
    ]);
    sort_by_names(&mut rows);
    rows
}

pub(super) fn users(core: &Core, _: Instant) -> Vec<Row> {
    // PgBouncer's width; tools parse the text.
    let nine_wide = |size: Option<u32>| size.map_or_else(String::new, |size| format!("{size:9}"));
    let rows = core.user_list().into_iter().map(|name| {
        let options = core.config.users.get(&name);
        let seen = core.user_names.get(name.as_str()).and_then(|id| core.users.get(id.0));
        vec![
            Cell::from(name.clone()),
            nine_wide(options.and_then(|o| o.pool_size)).into(),
            nine_wide(options.and_then(|o| o.reserve_pool_size)).into(),
            Cell::option(options.and_then(|o| o.pool_mode).map(PoolMode::word)),
            Cell::count(core.config.max_user_connections(&name)),
            Cell::count(seen.map_or(0, |user| user.servers)),
            Cell::count(core.config.max_user_client_connections(&name)),
            Cell::count(seen.map_or(0, |user| user.clients)),
        ]
    });
    rows.collect()
}

pub(super) fn lists(core: &Core, _: Instant) -> Vec<Row> {
    // The console's database and pool count as they are shown.
    let items: [(&'static str, usize); 14] = [
        ("databases", core.databases.len() + 1),
        ("users", core.user_list().len()),
        ("peers", 0),
        ("pools", core.pools.len() + 1),
        ("peer_pools", 0),
        ("free_clients", core.clients.capacity() - core.clients.len()),
        ("used_clients", core.clients.len()),
        ("login_clients", core.login_clients),
        ("free_servers", core.servers.capacity() - core.servers.len()),
        ("used_servers", core.servers.len()),
        ("dns_names", core.names.known().len()),
        ("dns_zones", 0),
        ("dns_queries", core.names.lookups()),
        ("dns_pending", 0),
    ];
    items.into_iter().map(|(list, count)| vec![list.into(), Cell::count(count)]).collect()
}

/// The counters of what is not there yet are 0.
pub(super) fn overload(core: &Core, now: Instant) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (key, pool) in core.pools.iter() {
        let pressure = core.pressure_of(PoolId(key), now);
        let name = |name: Option<String>| Cell::option(name);
        let mut row = vec![
            name(core.databases.get(pool.database.0).map(|d| d.name.to_string())),
            name(core.users.get(pool.user.0).map(|u| u.name.to_string())),
            pressure.state.into(),
            Cell::count(pressure.limit_effective),
            Cell::count(pressure.waiting),
            Cell::Micros(pressure.min_wait_ms * 1000),
            Cell::Micros(pressure.expected_wait_ms * 1000),
        ];
        row.resize(OVERLOAD.len(), Cell::Int(0));
        rows.push(row);
    }
    sort_by_names(&mut rows);
    rows
}
