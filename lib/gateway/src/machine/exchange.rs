//! One request and its response, from the end of its head to the end of both messages.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sluice_wire::http::body::Body;
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::request::{Expect, RequestHead};

use crate::code::Code;
use crate::gate::{RouteId, Ticket};
use crate::origins::{ConnId, OriginId};

/// What a client is busy with.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: RequestHead,
    pub(super) route: RouteId,
    /// The client as far as it is known: what the gate and the log are told.
    pub(super) address: Option<IpAddr>,
    pub(super) serial: u64,
    /// Held from admission to the one settle or abandon.
    pub(super) ticket: Option<Ticket>,
    pub(super) content: Body,
    pub(super) upload: Upload,
    pub(super) reply: Reply,
    /// Whether the client waits for 100 (Continue), and has not been told yet.
    pub(super) expect: Expect,
    pub(super) conn: Option<ConnId>,
    pub(super) origin: Option<OriginId>,
    /// Content already sent on a reused connection, to be sent again if that one turns out to be dead.
    pub(super) replay: Replay,
    pub(super) attempt: Attempt,
    pub(super) interims: u32,
    /// Whether the origin lets its connection be used again.
    pub(super) reusable: Persistence,
    /// Whether the client's connection goes on afterwards, as it was told.
    pub(super) persistence: Persistence,
    pub(super) times: Times,
    pub(super) account: Account,
}

/// Where the request's content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// To the origin, as it comes.
    Relayed,
    /// The same, if it comes: it was to wait for 100 (Continue), and another answer came.
    Unlikely,
    /// All of it is there.
    Done,
    /// Nowhere: the origin takes no more, or was to be asked first. So many bytes were dropped.
    Dropped(u64),
}

/// Where the response is.
#[derive(Debug)]
pub(super) enum Reply {
    Awaited,
    /// Its content is on its way. That of the request may still be, too.
    Relayed(Body, Coding),
    Over,
}

/// How content leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it came.
    Plain,
    /// In chunks of ours.
    Chunks,
}

/// Whether a request could be sent once more.
#[derive(Debug)]
pub(super) enum Replay {
    /// It could not: its connection is fresh, or its method or content forbids it.
    No,
    /// Its connection is used again and has not been seen to take a byte of it: as long as that holds, any request can be
    /// sent once more. So much of its content is on its way with its head.
    Unsent(Vec<u8>),
    /// So much of its content was sent, as it was sent.
    Kept(Vec<u8>),
}

/// Which try at an origin this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    /// After a connection that was dead already, or could not be made.
    Second,
}

/// When what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The head of the request was complete.
    pub(super) began: Instant,
    /// It was dispatched: what the gate's times count from.
    pub(super) dispatched: Option<Instant>,
    /// The current attempt at a connection began.
    pub(super) dialed: Option<Instant>,
    /// The head was sent on.
    pub(super) sent: Option<Instant>,
    /// The last byte of the request was sent on, or the origin has stopped taking any.
    pub(super) asked: Option<Instant>,
    /// The head of the response was there.
    pub(super) replied: Option<Instant>,
    /// The last bytes from the client, and from the origin.
    pub(super) heard: Instant,
    pub(super) answered: Instant,
    /// For how long the origin took no content, which is not the client's fault.
    pub(super) stalled: Duration,
    /// The client has shut its direction.
    pub(super) half_closed: Option<Instant>,
}

/// What the log tells of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) reused: bool,
    pub(super) retries: u32,
    /// The answer is ours, for this reason.
    pub(super) code: Option<Code>,
    pub(super) source: Source,
}

/// Who gave the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody yet.
    #[default]
    None,
    /// An origin.
    Origin,
    /// A stored response.
    Cache,
    /// The gateway itself.
    Gateway,
}

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            dispatched: None,
            dialed: None,
            sent: None,
            asked: None,
            replied: None,
            heard: now,
            answered: now,
            stalled: Duration::ZERO,
            half_closed: None,
        }
    }
}

impl Exchange {
    /// Whether all of the request's content was read.
    pub(super) fn is_uploaded(&self) -> bool {
        self.upload == Upload::Done
    }

    /// Whether the client waits for 100 (Continue) and has sent nothing: after another answer it will not.
    pub(super) fn waits_for_continue(&self) -> bool {
        self.expect == Expect::Continue && self.account.bytes_in == 0
    }

    /// Its connection has taken a byte of it, or may have.
    pub(super) fn touch(&mut self) {
        if matches!(self.replay, Replay::Unsent(_)) {
            self.replay = Replay::No;
        }
    }

    /// A write of it has failed. True: it was the first one, so what was to go along with its head is kept for the second
    /// attempt.
    pub(super) fn take_back(&mut self) -> bool {
        let Replay::Unsent(content) = &mut self.replay else { return false };
        self.replay = Replay::Kept(std::mem::take(content));
        self.may_replay()
    }

    /// Whether a second attempt may be made on a fresh connection (RFC 9112 §9.3.1).
    pub(super) fn may_replay(&self) -> bool {
        self.attempt == Attempt::First
            && matches!(self.replay, Replay::Kept(_))
            && matches!(self.reply, Reply::Awaited)
            && self.interims == 0
    }
}
