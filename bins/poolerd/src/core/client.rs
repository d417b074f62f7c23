//! A client connection, and the one door through which its state changes.
//!
//! ```text
//!            startup, proof          welcome known
//!   Login ───────────────▶ WaitLogin ────────────▶ Idle ◀──────────┐
//!     │ console                                     │ request       │ released
//!     ▼                                             ▼               │
//!   Console ⇄ ConsoleWait                        Waiting ─server─▶ Active
//!
//!   CancelRequest: WaitCancel ─connected─▶ ActiveCancel ─▶ closed
//! ```
//!
//! Idle has no server and no request; Waiting stands in its pool's queue; Active is linked to a server. What the
//! console shows as `active`, `waiting`, `idle` and so on derives from this state alone.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::auth::Login;
use super::prepared::{ClientStatements, Unnamed};
use super::vars::Vars;
use super::{ClientId, Core, DatabaseId, PoolId, ServerId, UserId};

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Before the proof of who it is.
    Login,
    /// Proven, but no server has told us yet what to greet it with.
    WaitLogin,
    /// Logged in, no request under way.
    Idle,
    /// Has a request and stands in the queue.
    Waiting,
    /// Linked to a server.
    Active,
    /// Talks to the console.
    Console,
    /// Waits for a console command to finish.
    ConsoleWait,
    /// Sent a CancelRequest that waits for a connection to the server.
    WaitCancel,
    /// Its CancelRequest is being delivered.
    ActiveCancel,
}

/// Number of states: the length of a per-state count.
pub(super) const CLIENT_STATES: usize = 9;

/// An address as the operating system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket, with the other side's process and user (0 where unknown).
    Unix {
        /// Process id of the peer.
        pid: u32,
        /// User id of the peer.
        uid: u32,
        /// The TCP port whose socket file this is.
        port: u16,
    },
}

impl Address {
    /// Is this a Unix socket?
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Address::Unix { .. })
    }

    /// Port number as the console shows it.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Address::Tcp(addr) => addr.port(),
            Address::Unix { port, .. } => *port,
        }
    }

    /// Host as the console shows it: `unix` for Unix sockets.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Address::Tcp(addr) => addr.ip().to_canonical().to_string(),
            Address::Unix { .. } => "unix".to_owned(),
        }
    }
}

impl std::fmt::Display for Address {
    /// As in log lines: `host:port`, `[v6]:port`, `unix(pid):port`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(addr) => SocketAddr::new(addr.ip().to_canonical(), addr.port()).fmt(f),
            Address::Unix { pid, port, .. } => write!(f, "unix({pid}):{port}"),
        }
    }
}

/// What becomes of the rest of a client's message whose beginning is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// To the linked server.
    Relay,
    /// Nowhere.
    Discard,
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// By a Terminate message: what it sent before still counts, as on PostgreSQL itself.
    Terminated,
    /// The connection ended or broke.
    Vanished,
    /// We close it.
    Expelled,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) state: ClientState,
    /// Number shown by the console; clients and servers share the counter.
    pub(super) serial: u64,
    pub(super) peer: Address,
    pub(super) local: Address,
    pub(super) database: Option<DatabaseId>,
    /// Who logged in (a database may force another user on its servers).
    pub(super) user: Option<UserId>,
    pub(super) pool: Option<PoolId>,
    pub(super) link: Option<ServerId>,
    /// Bytes of the message at hand still to come, and what becomes of them.
    pub(super) rest_left: usize,
    pub(super) rest: Rest,
    /// Must not read on before something else happens: SETs run, or an earlier batch decides.
    pub(super) held: bool,
    /// The request at hand was cancelled before it had a server.
    pub(super) refusing: Option<Refusal>,
    pub(super) login: Option<Box<Login>>,
    pub(super) statements: Option<Box<ClientStatements>>,
    pub(super) unnamed: Unnamed,
    /// The batch of the client's newest unnamed Parse.
    pub(super) unnamed_batch: u64,
    pub(super) vars: Vars,
    pub(super) cancel_key: [u8; 8],
    /// Counted among the clients of its database and user.
    pub(super) counted: bool,
    /// Console session with admin rights.
    pub(super) admin: bool,
    pub(super) connected_at: Instant,
    pub(super) request_at: Instant,
    pub(super) waiting_since: Option<Instant>,
    pub(super) query_since: Option<Instant>,
    pub(super) transaction_since: Option<Instant>,
    /// The place in the pool's queue; a place that does not match is no place.
    pub(super) ticket: u64,
    pub(super) notified: bool,
    pub(super) timer: Option<Instant>,
}

/// A request that is refused although its session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The next message decides: a Query or FunctionCall is swallowed alone, anything else through its Sync.
    Pending,
    /// The error is sent; everything through the next Sync is swallowed.
    ToSync,
}

impl Client {
    pub(super) fn new(core: &mut Core, peer: Address, local: Address, now: Instant) -> Self {
        Client {
            state: ClientState::Login,
            serial: core.next_serial(),
            peer,
            local,
            database: None,
            user: None,
            pool: None,
            link: None,
            rest_left: 0,
            rest: Rest::Discard,
            held: false,
            refusing: None,
            login: Some(Box::default()),
            statements: None,
            unnamed: Unnamed::None,
            unnamed_batch: u64::MAX,
            vars: Vars::new(&core.tracked),
            cancel_key: [0; 8],
            counted: false,
            admin: false,
            connected_at: now,
            request_at: now,
            waiting_since: None,
            query_since: None,
            transaction_since: None,
            ticket: 0,
            notified: false,
            timer: None,
        }
    }

    /// In the middle of a message that is being relayed?
    #[inline]
    pub(super) fn mid_message(&self) -> bool {
        self.rest_left > 0 && self.rest == Rest::Relay
    }
}

impl Core {
    /// The only way a client's state changes; the pool's counts move with it.
    pub(super) fn change_client_state(&mut self, id: ClientId, to: ClientState) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        let from = std::mem::replace(&mut client.state, to);
        if let Some(pool) = client.pool.and_then(|p| self.pools.get_mut(p.0)) {
            pool.clients[from as usize] -= 1;
            pool.clients[to as usize] += 1;
        }
        let logging_in = |s| matches!(s, ClientState::Login | ClientState::WaitLogin);
        match (logging_in(from), logging_in(to)) {
            (true, false) => self.login_clients -= 1,
            (false, true) => self.login_clients += 1,
            _ => {}
        }
    }

    /// Puts a client under a pool, counting it there.
    pub(super) fn enter_pool(&mut self, id: ClientId, pool_id: PoolId) {
        let (Some(client), Some(pool)) = (self.clients.get_mut(id.0), self.pools.get_mut(pool_id.0)) else {
            return;
        };
        debug_assert!(client.pool.is_none(), "a client enters one pool only");
        client.pool = Some(pool_id);
        pool.clients[client.state as usize] += 1;
    }

    /// The log name of a client's database and user: `db/user`.
    pub(super) fn client_names(&self, client: &Client) -> (Rc<str>, Rc<str>) {
        if let Some(login) = &client.login
            && let Some((database, user)) = login.asked_for()
        {
            return (database, user);
        }
        let database = client.database.and_then(|d| self.databases.get(d.0)).map(|d| Rc::clone(&d.name));
        let database = Core::console_name(client).map(Rc::from).or(database);
        let user = client.user.and_then(|u| self.users.get(u.0)).map(|u| Rc::clone(&u.name));
        (database.unwrap_or_else(|| "(nodb)".into()), user.unwrap_or_else(|| "(nouser)".into()))
    }
}
