//! What the core asks of the shell: bytes to send, and everything else.
//!
//! Bytes leave through the [`Outbox`], in order, before any [`Effect`] of the same entry is applied; so an error
//! message always precedes the close that follows it. Ranges of the chunk given to an input entry are relayed without
//! a copy; they are valid only until the shell has applied the outbox of that entry.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use sluice_wire::pg::error::ErrorResponse;
use sluice_wire::pg::scram::Recipe;

use super::client::Address;
use super::log::LogLine;
use super::{ClientId, ControlId, ServerId, UserId};
use crate::config::Host;

/// One of our two kinds of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An accepted connection.
    Client(ClientId),
    /// A connection we opened to PostgreSQL, cancel connections included.
    Server(ServerId),
}

/// Bytes to send, in order.
pub type Outbox = sluice_unix::outbox::Outbox<Peer>;

/// Where a server connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host as configured; a name is resolved by the shell.
    pub host: Host,
    /// TCP port, also part of a Unix socket's file name.
    pub port: u16,
}

impl Endpoint {
    /// The address, where no name has to be looked up for it.
    pub(super) fn address(&self) -> Option<Address> {
        match &self.host {
            Host::Unix(_) => Some(Address::Unix { pid: 0, uid: 0, port: self.port }),
            Host::Ip(ip) => Some(Address::Tcp(SocketAddr::new(*ip, self.port))),
            Host::Name(_) => None,
        }
    }
}

/// Why no connection to a server came about, with the system's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host's name was not found.
    Lookup {
        /// The name.
        name: String,
        /// What the resolver said.
        error: String,
    },
    /// The host was not reached.
    Connect(String),
}

impl Unreachable {
    /// The reason PgBouncer gives, which does not say more.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Lookup { .. } => "server DNS lookup failed",
            Self::Connect(_) => "connect failed",
        }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { name, error } => write!(f, "DNS lookup failed: {name}: {error}"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
        }
    }
}

/// What an input entry did with its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes used up, from the front.
    pub consumed: usize,
    /// What the connection wants next.
    pub then: Then,
}

/// See [`Taken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Call again when at least this many unconsumed bytes are there (1 or more), or all that will ever come.
    Need(usize),
    /// Keep what is left and do not call again before [`Effect::Pump`] names the connection.
    Blocked,
    /// The connection is closing; drop what is left.
    Closed,
}

/// Everything the shell is asked to do, apart from sending bytes.
#[derive(Debug)]
pub enum Effect {
    /// Open a connection; answer with `server_connected` or `server_failed`.
    Connect {
        /// The slot the connection will serve.
        server: ServerId,
        /// Where to.
        to: Rc<Endpoint>,
    },
    /// Feed the connection its kept bytes, and read on.
    Pump(Peer),
    /// Send what is pending, then close. The id is no longer known to the core.
    Close(Peer),
    /// Write a log line.
    Log(Box<LogLine>),
    /// Derive keys, off the loop; answer with `derived`.
    Derive {
        /// Whose they are.
        of: Derivation,
        /// What from.
        recipe: Recipe,
    },
    /// Re-read the configuration and call `reload_finished`.
    Reload,
    /// SET has changed the configuration: what the shell itself does by it has to follow.
    Configured,
    /// Tell what the shell's buffers hold (`surveyed`), then pump the client.
    Survey(ClientId),
    /// Flush everything, then call `flushed`; call `flush_expired` for what is not flushed in `suspend_timeout`.
    Suspend,
    /// The answer to a command of the control socket that had to wait.
    Answer {
        /// Who gave the command.
        control: ControlId,
        /// Done, or why not.
        outcome: Result<(), ErrorResponse>,
    },
    /// Stop accepting on TCP listeners (`tcp`) or on all of them.
    StopListening(ListenerScope),
    /// A row for whoever watches the control socket.
    Publish(Box<super::pressure::Pressure>),
}

/// What the shell holds for a connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Received and not used up.
    pub input: usize,
    /// Not sent yet.
    pub output: usize,
}

/// Connections for which the shell holds something.
pub type Survey = HashMap<Peer, Held>;

/// Who waits for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// All logins of a user whose secret is a plain password.
    User(UserId),
    /// One login of a client.
    Client(ClientId),
    /// A login to a server.
    Server(ServerId),
}

/// Which listening sockets close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerScope {
    /// TCP only; the console stays reachable on the Unix socket.
    Tcp,
    /// All of them.
    All,
}
