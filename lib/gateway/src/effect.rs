//! What the gateway asks of its shell: bytes to send, and everything else.
//!
//! Bytes leave through the [`Outbox`], in order, before any [`Effect`] of the same entry is applied; so an answer always
//! precedes the close that follows it. Ranges of the chunk given to an input entry are relayed without a copy; they are
//! valid only until the shell has sent the outbox of that entry.

use sluice_unix::slab::Key;
use sluice_wire::control::Row;

use crate::gate::Event;
use crate::origins::{ConnId, OriginId};

/// An accepted connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub Key);

/// One of our two kinds of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// An accepted connection.
    Client(ClientId),
    /// A connection we opened to an origin.
    Origin(ConnId),
}

/// Bytes to send, in order.
pub type Outbox = sluice_unix::outbox::Outbox<End>;

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
    /// Call again with what is left and at least one byte more.
    More,
    /// Keep what is left and do not call again before [`Effect::Pump`] names the connection.
    Blocked,
    /// The connection is closing; drop what is left.
    Closed,
}

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// At once and so that the peer sees it fail: what it has must not look whole.
    Abort,
    /// After what waits to be sent.
    Flush,
    /// After what waits to be sent, and after the peer has seen it: our direction is shut, and what it still sends is
    /// dropped until its end, for `linger_ms` at most (RFC 9112 §9.6).
    Linger,
}

/// Everything the shell is asked to do, apart from sending bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a connection; answer with `origin_connected` or `origin_failed`.
    Connect(ConnId, OriginId),
    /// Feed the connection its kept bytes, and read on.
    Pump(End),
    /// Shut our direction of the connection once what waits is sent.
    Shut(End),
    /// Close the connection. Its id is no longer known to the gateway.
    Close(End, Closing),
    /// Write a log line.
    Log(Event),
    /// A row for whoever watches the control socket.
    Publish(Row),
    /// Stop accepting.
    StopListening,
}
