//! What the gateway asks of its shell: bytes to send, and everything else.
//!
//! Bytes leave through the [`Outbox`], in order, before any [`Effect`] of the same entry is applied; so an answer always
//! precedes the close that follows it. Ranges of the chunk given to an input entry are relayed without a copy; they are
//! valid only until the shell has sent the outbox of that entry.

use sluice_unix::slab::Key;
use sluice_wire::control::Row;

use crate::gate::Event;
use crate::origins::{ConnId, OriginId};

/// Memory the outbox keeps between entries.
const KEEP_BYTES: usize = 64 * 1024;

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

/// Where the bytes of an [`Op`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the chunk handed to the input entry.
    Chunk,
    /// In [`Outbox::own`].
    Own,
}

/// Send `start..end` of `source` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The receiving connection; one that is gone swallows the bytes.
    pub to: End,
    /// Which of the two byte strings the range is in.
    pub source: Source,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Bytes to send, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The ranges, in the order they must leave.
    pub ops: Vec<Op>,
    /// Bytes the gateway wrote itself.
    pub own: Vec<u8>,
}

impl Outbox {
    /// Relays `start..end` of the current chunk.
    #[inline]
    pub(crate) fn relay(&mut self, to: End, start: usize, end: usize) {
        self.push(Op { to, source: Source::Chunk, start, end });
    }

    /// Sends what `write` appends.
    #[inline]
    pub(crate) fn write<T>(&mut self, to: End, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.own.len();
        let written = write(&mut self.own);
        self.push(Op { to, source: Source::Own, start, end: self.own.len() });
        written
    }

    #[inline]
    fn push(&mut self, op: Op) {
        if op.start == op.end {
            return;
        }
        if let Some(last) = self.ops.last_mut()
            && (last.to, last.source, last.end) == (op.to, op.source, op.start)
        {
            last.end = op.end;
        } else {
            self.ops.push(op);
        }
    }

    /// Forgets everything, keeping a bounded amount of memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.own.clear();
        self.own.shrink_to(KEEP_BYTES);
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
