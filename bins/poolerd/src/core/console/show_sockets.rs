//! SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: one row a connection, oldest first.

use std::time::{Duration, Instant, SystemTime};

use super::shows::columns;
use super::table::{Cell, Column, Row};
use crate::core::client::{Address, Client, ClientState};
use crate::core::route::CONSOLE;
use crate::core::server::{Server, ServerState};
use crate::core::{ClientId, Core, Held, Peer, ServerId, Survey};

pub(super) const CLIENTS: &[Column] = columns![
    "type" Text, "user" Text, "database" Text, "replication" Text, "state" Text, "addr" Text, "port" Int4,
    "local_addr" Text, "local_port" Int4, "connect_time" Text, "request_time" Text, "wait" Int4, "wait_us" Int4,
    "close_needed" Int4, "ptr" Text, "link" Text, "remote_pid" Int4, "tls" Text, "application_name" Text,
    "prepared_statements" Int4, "id" Int4,
];

pub(super) const SOCKETS: &[Column] = columns![
    "type" Text, "user" Text, "database" Text, "replication" Text, "state" Text, "addr" Text, "port" Int4,
    "local_addr" Text, "local_port" Int4, "connect_time" Text, "request_time" Text, "wait" Int4, "wait_us" Int4,
    "close_needed" Int4, "ptr" Text, "link" Text, "remote_pid" Int4, "tls" Text, "application_name" Text,
    "prepared_statements" Int4, "id" Int4, "recv_pos" Int4, "pkt_pos" Int4, "pkt_remain" Int4, "send_pos" Int4,
    "send_remain" Int4, "pkt_avail" Int4, "send_avail" Int4,
];

/// What both kinds of connection have.
struct Socket<'a> {
    kind: &'static str,
    user: String,
    database: String,
    state: &'static str,
    peer: Option<&'a Address>,
    /// Where it is to lead, while there is no connection yet.
    target: Option<(String, u16)>,
    local: Option<&'a Address>,
    connected_at: Instant,
    request_at: Instant,
    wait: Duration,
    close_needed: bool,
    serial: u64,
    link: Option<u64>,
    remote_pid: i64,
    application_name: String,
    prepared_statements: usize,
    rest_left: usize,
}

pub(super) fn clients(core: &Core, now: Instant) -> Vec<Row> {
    let all = core.sorted_clients().into_iter().map(|(_, client)| client);
    all.filter(|client| client.state != ClientState::Login)
        .map(|client| core.client_row(client, client_state(client.state), now).0)
        .collect()
}

pub(super) fn servers(core: &Core, _: Instant) -> Vec<Row> {
    core.sorted_servers()
        .into_iter()
        .map(|(_, server)| core.server_row(server, server_state(server.state)).0)
        .collect()
}

pub(super) fn sockets(core: &Core, survey: &Survey, now: Instant) -> Vec<Row> {
    core.socket_rows(survey, now, |_, _| true, |_, _| true)
}

/// Those that have something under way, or in a buffer.
pub(super) fn active_sockets(core: &Core, survey: &Survey, now: Instant) -> Vec<Row> {
    core.socket_rows(
        survey,
        now,
        |client, held| {
            let active = matches!(client.state, ClientState::Active | ClientState::Waiting);
            active || client.rest_left > 0 || held != Held::default()
        },
        |server, held| !server.outstanding.is_empty() || server.rest_left > 0 || held != Held::default(),
    )
}

fn client_state(state: ClientState) -> &'static str {
    match state {
        ClientState::Idle | ClientState::Console => "idle",
        ClientState::Active => "active",
        ClientState::Login | ClientState::WaitLogin | ClientState::Waiting | ClientState::ConsoleWait => {
            "waiting"
        }
        ClientState::WaitCancel => "waiting_cancel_req",
        ClientState::ActiveCancel => "active_cancel_req",
    }
}

fn server_state(state: ServerState) -> &'static str {
    match state {
        ServerState::Login => "new",
        ServerState::Idle => "idle",
        ServerState::Active => "active",
        ServerState::Used => "used",
        ServerState::Tested => "tested",
        ServerState::ActiveCancel => "active_cancel",
        ServerState::BeingCanceled => "being_canceled",
    }
}

/// As SHOW SOCKETS calls it; `None`: not shown.
fn client_list(state: ClientState) -> Option<&'static str> {
    match state {
        ClientState::Login => Some("cl_login"),
        ClientState::Idle | ClientState::Active | ClientState::Console => Some("cl_active"),
        ClientState::WaitLogin | ClientState::Waiting | ClientState::ConsoleWait => Some("cl_waiting"),
        ClientState::WaitCancel | ClientState::ActiveCancel => None,
    }
}

fn server_list(state: ServerState) -> Option<&'static str> {
    match state {
        ServerState::Login => Some("sv_login"),
        ServerState::Idle => Some("sv_idle"),
        ServerState::Active => Some("sv_active"),
        ServerState::Used => Some("sv_used"),
        ServerState::Tested => Some("sv_tested"),
        ServerState::ActiveCancel | ServerState::BeingCanceled => None,
    }
}

impl Core {
    /// An instant as a date.
    pub(super) fn date(&self, at: Instant) -> SystemTime {
        let (instant, date) = self.epoch;
        match at.checked_duration_since(instant) {
            Some(since) => date + since,
            None => date - instant.saturating_duration_since(at),
        }
    }

    fn sorted_clients(&self) -> Vec<(ClientId, &Client)> {
        let mut all: Vec<_> = self.clients.iter().map(|(key, client)| (ClientId(key), client)).collect();
        all.sort_by_key(|(_, client)| client.serial);
        all
    }

    fn sorted_servers(&self) -> Vec<(ServerId, &Server)> {
        let mut all: Vec<_> = self.servers.iter().map(|(key, server)| (ServerId(key), server)).collect();
        all.sort_by_key(|(_, server)| server.serial);
        all
    }

    fn socket_rows(
        &self,
        survey: &Survey,
        now: Instant,
        wanted_client: impl Fn(&Client, Held) -> bool,
        wanted_server: impl Fn(&Server, Held) -> bool,
    ) -> Vec<Row> {
        let held = |peer| survey.get(&peer).copied().unwrap_or_default();
        // Nothing is parsed ahead of what is sent, so the positions of PgBouncer's buffer are where it begins or ends.
        let extended = |(mut row, rest_left): (Row, usize), held: Held| {
            row.extend([held.input, 0, rest_left, 0, 0, held.input, held.output].map(Cell::count));
            row
        };
        let clients = self.sorted_clients().into_iter().filter_map(|(id, client)| {
            let held = held(Peer::Client(id));
            let state = client_list(client.state).filter(|_| wanted_client(client, held))?;
            Some(extended(self.client_row(client, state, now), held))
        });
        let servers = self.sorted_servers().into_iter().filter_map(|(id, server)| {
            let held = held(Peer::Server(id));
            let state = server_list(server.state).filter(|_| wanted_server(server, held))?;
            Some(extended(self.server_row(server, state), held))
        });
        clients.chain(servers).collect()
    }

    fn client_row(&self, client: &Client, state: &'static str, now: Instant) -> (Row, usize) {
        let (database, user) = self.client_names(client);
        let since = client.waiting_since.or(client.query_since);
        let names = client.statements.as_ref().map_or(0, |statements| statements.len());
        self.row(Socket {
            kind: "C",
            user: user.to_string(),
            database: database.to_string(),
            state,
            peer: Some(&client.peer),
            target: None,
            local: Some(&client.local),
            connected_at: client.connected_at,
            request_at: client.request_at,
            wait: since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            close_needed: false,
            serial: client.serial,
            link: client.link.and_then(|ServerId(key)| self.servers.get(key)).map(|server| server.serial),
            remote_pid: pid_of(Some(&client.peer)).unwrap_or(0),
            application_name: self.application_name(&client.vars),
            prepared_statements: names,
            rest_left: client.rest_left,
        })
    }

    fn server_row(&self, server: &Server, state: &'static str) -> (Row, usize) {
        let pool = self.pools.get(server.pool.0);
        let database = pool.and_then(|pool| self.databases.get(pool.database.0));
        let user = pool.and_then(|pool| self.users.get(pool.user.0));
        let backend_pid = i64::from(i32::from_be_bytes(server.backend_pid));
        self.row(Socket {
            kind: "S",
            user: user.map_or_else(|| "(nouser)".to_owned(), |user| user.name.to_string()),
            database: database.map_or_else(|| "(nodb)".to_owned(), |database| database.name.to_string()),
            state,
            peer: server.peer.as_ref(),
            target: Some((server.endpoint.host.to_string(), server.endpoint.port)),
            local: server.local.as_ref(),
            connected_at: server.connected_at,
            request_at: server.request_at,
            wait: Duration::ZERO,
            close_needed: server.close_needed,
            serial: server.serial,
            link: server.link.and_then(|ClientId(key)| self.clients.get(key)).map(|client| client.serial),
            remote_pid: pid_of(server.peer.as_ref()).unwrap_or(backend_pid),
            application_name: self.application_name(&server.vars),
            prepared_statements: server.statements.len(),
            rest_left: server.rest_left,
        })
    }

    fn application_name(&self, vars: &crate::core::vars::Vars) -> String {
        let value = self.tracked.position(b"application_name").and_then(|at| vars.at(at));
        value.map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned())
    }

    fn row(&self, socket: Socket<'_>) -> (Row, usize) {
        let pointer = |serial: u64| format!("{serial:#x}");
        let (addr, port) = match (socket.peer, socket.target) {
            (Some(peer), _) => (peer.host(), peer.port()),
            (None, Some(target)) => target,
            (None, None) => (String::new(), 0),
        };
        let row = vec![
            socket.kind.into(),
            socket.user.into(),
            socket.database.into(),
            "none".into(),
            socket.state.into(),
            addr.into(),
            Cell::Int(port.into()),
            socket.local.map_or_else(String::new, Address::host).into(),
            Cell::Int(socket.local.map_or(0, Address::port).into()),
            Cell::Time(self.date(socket.connected_at)),
            Cell::Time(self.date(socket.request_at)),
            Cell::Seconds(socket.wait),
            Cell::SecondsRest(socket.wait),
            Cell::Int(socket.close_needed.into()),
            pointer(socket.serial).into(),
            socket.link.map_or_else(String::new, pointer).into(),
            Cell::Int(socket.remote_pid),
            "".into(),
            socket.application_name.into(),
            Cell::count(socket.prepared_statements),
            Cell::count(socket.serial),
        ];
        (row, socket.rest_left)
    }

    /// The database's name where a client is at the console.
    pub(in crate::core) fn console_name(client: &Client) -> Option<&'static str> {
        matches!(client.state, ClientState::Console | ClientState::ConsoleWait).then_some(CONSOLE)
    }
}

/// The process at the other end of a Unix socket, where the kernel has told it.
fn pid_of(peer: Option<&Address>) -> Option<i64> {
    match peer {
        Some(Address::Unix { pid, .. }) if *pid != 0 => Some((*pid).into()),
        _ => None,
    }
}
