//! The pooler's machine: everything that decides, nothing that touches a socket, a clock or a file.
//!
//! Owned by the worker in `daemon.rs`. Bytes come in through [`Core::client_input`] and [`Core::server_input`], time
//! through [`Core::handle_timeout`]; what has to happen comes out of [`Core::outbox`] (bytes, in order) and
//! [`Core::poll`] (everything else). The core holds ids, never connections; ids are generational, so a stale event
//! or effect finds nothing.
//!
//! ```text
//!   bytes of a client ─▶ requests ─▶ outstanding ─▶ outbox ─▶ server
//!   bytes of a server ─▶ replies ──▶ owner of the oldest outstanding request ─▶ outbox ─▶ client
//!   released server ───▶ pool ─────▶ first waiter ─▶ Effect::Pump
//! ```

mod admin;
mod auth;
mod cancel;
mod client;
mod console;
mod doubt;
mod effect;
mod invariants;
mod janitor;
mod keys;
mod lifecycle;
mod log;
mod names;
mod opening;
mod outstanding;
mod pool;
mod prepared;
pub mod pressure;
mod reload;
mod replies;
mod requests;
mod route;
mod server;
mod server_login;
mod signals;
mod statements;
mod stats;
#[cfg(test)]
mod tests;
mod vars;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use sluice_unix::slab::{Key, Slab};
use sluice_unix::timers::Timers;

pub use self::client::{Address, ClientState};
pub use self::console::{
    Argument, COMMANDS, Cell, Column, Command, Done, Outcome, Privilege, Row, SHOWS, Show, Table, Type,
    wants_survey,
};
pub use self::effect::{
    Derivation, Effect, Endpoint, Held, ListenerScope, Outbox, Peer, Survey, Taken, Then, Unreachable,
};
pub use self::log::{ConnectionName, Event, Level, LogLine, Side};
pub use self::server::ServerState;
pub use self::signals::Signal;

use self::client::Client;
use self::pool::Pool;
use self::route::{Database, User};
use self::server::Server;
use crate::config::Snapshot;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Key);
    )*};
}

ids! {
    /// A client connection.
    ClientId;
    /// A server connection, cancel connections included.
    ServerId;
    /// A (database, server user) pair.
    PoolId;
    /// A database as clients name it.
    DatabaseId;
    /// A user name.
    UserId;
    /// A connection of the control socket.
    ControlId;
}

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    Client(ClientId),
    Server(ServerId),
    Pool(PoolId),
    Database(DatabaseId),
    Stats,
    Pressure,
}

/// How far the process has gone towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// SHUTDOWN WAIT_FOR_SERVERS.
    ForServers,
    /// SHUTDOWN WAIT_FOR_CLIENTS.
    ForClients,
    /// All is over.
    Now,
}

/// What the core has to be told at its start, having no access to it itself.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// A moment on both clocks, so that instants can be shown as dates.
    pub epoch: (Instant, SystemTime),
    /// Random bytes: cancel keys, nonces and the mock salt derive from them.
    pub random: [u8; 32],
    /// The user this process runs as: the console lets it in by the Unix socket.
    pub uid: u32,
    /// Shows a moment in local time, as the console does.
    pub local_text: fn(SystemTime) -> String,
}

/// The machine.
#[derive(Debug)]
pub struct Core {
    config: Arc<Snapshot>,
    tracked: vars::Tracked,
    values: vars::Interner,
    definitions: prepared::Definitions,
    clients: Slab<Client>,
    servers: Slab<Server>,
    pools: Slab<Pool>,
    databases: Slab<Database>,
    users: Slab<User>,
    database_names: HashMap<Rc<str>, DatabaseId>,
    user_names: HashMap<Rc<str>, UserId>,
    pool_names: HashMap<(DatabaseId, UserId), PoolId>,
    /// Pools with waiters that met `max_db_connections` or `max_user_connections`: all they wait for is others' servers.
    starved: Vec<PoolId>,
    /// Cancel keys of clients.
    keys: HashMap<[u8; 8], ClientId>,
    /// Bytes to send; the shell applies them after every entry.
    pub outbox: Outbox,
    effects: VecDeque<Effect>,
    timers: Timers<Tick>,
    random: auth::Random,
    /// Every stored secret is a SCRAM secret.
    all_scram: bool,
    /// Some are.
    some_scram: bool,
    making: keys::Making,
    names: names::Names,
    epoch: (Instant, SystemTime),
    uid: u32,
    local_text: console::LocalText,
    serials: u64,
    login_clients: usize,
    paused: bool,
    suspended: bool,
    shutdown: Shutdown,
    console: console::State,
    stats: stats::Meter,
    watchers: usize,
    pressure: pressure::Publisher,
}

impl Core {
    /// A pooler with nobody connected.
    #[must_use]
    pub fn new(config: Arc<Snapshot>, seeds: Seeds) -> Self {
        let now = seeds.epoch.0;
        let mut core = Core {
            tracked: vars::Tracked::new(&config.global.track_extra_parameters),
            config,
            values: vars::Interner::default(),
            definitions: prepared::Definitions::default(),
            clients: Slab::new(),
            servers: Slab::new(),
            pools: Slab::new(),
            databases: Slab::new(),
            users: Slab::new(),
            database_names: HashMap::new(),
            user_names: HashMap::new(),
            pool_names: HashMap::new(),
            starved: Vec::new(),
            keys: HashMap::new(),
            outbox: Outbox::default(),
            effects: VecDeque::new(),
            timers: Timers::new(),
            random: auth::Random::new(seeds.random),
            all_scram: false,
            some_scram: false,
            making: keys::Making::default(),
            names: names::Names::default(),
            epoch: seeds.epoch,
            uid: seeds.uid,
            local_text: seeds.local_text,
            serials: 0,
            login_clients: 0,
            paused: false,
            suspended: false,
            shutdown: Shutdown::No,
            console: console::State::default(),
            stats: stats::Meter::new(now),
            watchers: 0,
            pressure: pressure::Publisher::default(),
        };
        core.adopt_config(now);
        core
    }

    /// The next thing to do, or `None` when all is done.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Core::handle_timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Has everything ended that a shutdown waited for?
    #[must_use]
    pub fn finished(&self) -> bool {
        self.shutdown == Shutdown::Now
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Snapshot> {
        &self.config
    }

    /// Whose buffer must have room before more is read from `from`, if anybody's.
    #[inline]
    #[must_use]
    pub fn destination(&self, from: Peer) -> Option<Peer> {
        match from {
            Peer::Client(id) => self.clients.get(id.0)?.link.map(Peer::Server),
            // What answers a query of ours goes nowhere, so a client that does not read holds none of it up.
            Peer::Server(id) => self.servers.get(id.0).filter(|s| s.serves_client())?.link.map(Peer::Client),
        }
    }

    /// Is this server connection still wanted?
    #[must_use]
    pub fn has_server(&self, id: ServerId) -> bool {
        self.servers.get(id.0).is_some()
    }

    fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    fn is_paused(&self) -> bool {
        self.paused || self.shutdown == Shutdown::ForServers
    }

    fn shutting_down(&self) -> bool {
        matches!(self.shutdown, Shutdown::ForServers | Shutdown::Now)
    }

    #[inline]
    fn count(&mut self, server: ServerId, add: impl FnOnce(&mut stats::Counters)) {
        if let Some(pool) = self.servers.get(server.0).and_then(|s| self.pools.get_mut(s.pool.0)) {
            add(&mut pool.stats.now);
        }
    }
}
