//! The requests a server connection still owes an answer to, oldest first.
//!
//! Owned by the server; replies are routed by the owner of the head, never by the link. An entry is pushed when a
//! message leaves for the server and popped by the reply that ends it:
//!
//! ```text
//! P ParseComplete   B BindComplete   D RowDescription | NoData   C CloseComplete
//! E CommandComplete | EmptyQueryResponse | PortalSuspended       S Q F ReadyForQuery
//! ```
//!
//! After an ErrorResponse in an extended batch the server skips to the next Sync; the ReadyForQuery that follows drops
//! all entries through that Sync. What a request changes in the statement caches is recorded as pending beside the
//! caches and becomes true only when its reply says so; a dropped entry takes its pending change with it.
//! Source: PostgreSQL manual, "Message Flow", extended query.

use std::collections::VecDeque;
use std::rc::Rc;

use super::ClientId;
use super::prepared::Statement;

/// The message that is owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Parse,
    Bind,
    Describe,
    Close,
    Execute,
    Query,
    FunctionCall,
    Sync,
    /// CopyDone or CopyFail sent before the server entered copy-in; it gets no reply of its own.
    CopyEnd,
}

impl Kind {
    /// Does ReadyForQuery end this one?
    #[inline]
    pub(super) fn ends_by_ready(self) -> bool {
        matches!(self, Kind::Query | Kind::FunctionCall | Kind::Sync)
    }
}

/// What happens to the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Goes to the owner.
    Forward,
    /// Swallowed: the request was ours.
    Skip,
    /// Nothing was sent; our own reply is due when the entry reaches the head.
    Fake,
}

/// One owed answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) action: Action,
    /// Who gets the reply; stale or absent means nobody.
    pub(super) owner: Option<ClientId>,
    /// Which pending cache changes wait for this reply.
    pub(super) changes: Changes,
    /// The client's own name of the statement, or the definition of an unnamed one.
    pub(super) note: Option<Rc<[u8]>>,
    /// The statement the server knows by a name of ours: what errors have to be translated back from.
    pub(super) statement: Option<Rc<Statement>>,
}

/// The cache changes that become true with a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The oldest pending change of the owner's statement names.
    pub(super) name: bool,
    /// The oldest pending change of the statements known to the server.
    pub(super) server: bool,
    /// The unnamed statement.
    pub(super) unnamed: Option<UnnamedChange>,
}

/// How a request changes the unnamed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnnamedChange {
    /// The client's Parse: both sides then hold the definition in the note.
    Parse,
    /// The client's Parse of a text too long to keep: the client stays on this server.
    ParseLong,
    /// Our Parse on behalf of the client: the server then holds the definition in the note.
    Inject,
    /// Close of the unnamed statement by the client.
    Close,
    /// Our Close, so that the server has none, as the client has none.
    Remove,
}

impl Request {
    #[inline]
    pub(super) fn forward(kind: Kind, owner: ClientId) -> Self {
        Request {
            kind,
            action: Action::Forward,
            owner: Some(owner),
            changes: Changes::default(),
            note: None,
            statement: None,
        }
    }

    /// A request of the pooler itself.
    pub(super) fn own(kind: Kind) -> Self {
        Request {
            kind,
            action: Action::Skip,
            owner: None,
            changes: Changes::default(),
            note: None,
            statement: None,
        }
    }
}

/// The queue itself.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    queue: VecDeque<Request>,
    /// Number of Sync, Query and FunctionCall messages ever pushed: names the batch a message belongs to.
    batch: u64,
    /// Entries that end by ReadyForQuery and are still queued.
    syncs: usize,
    /// The newest message belongs to an extended batch whose Sync has not been sent, be it answered or not.
    open: bool,
}

impl Outstanding {
    #[inline]
    pub(super) fn push(&mut self, request: Request) {
        if request.kind.ends_by_ready() {
            self.batch += 1;
            self.syncs += 1;
            self.open = false;
        } else if request.kind != Kind::CopyEnd {
            self.open = true;
        }
        self.queue.push_back(request);
    }

    #[inline]
    pub(super) fn head(&self) -> Option<&Request> {
        self.queue.front()
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Request> {
        let request = self.queue.pop_front()?;
        if request.kind.ends_by_ready() {
            self.syncs -= 1;
        }
        Some(request)
    }

    /// Drops all entries through the first Sync (or everything) and hands them out, oldest (the one that failed)
    /// first. Only a Sync ends the skipping: PostgreSQL skips a Query in between as well.
    pub(super) fn skip_to_sync(&mut self) -> Vec<Request> {
        let end = self.queue.iter().position(|r| r.kind == Kind::Sync).map_or(self.queue.len(), |at| at + 1);
        let dropped: Vec<Request> = self.queue.drain(..end).collect();
        self.syncs -= dropped.iter().filter(|r| r.kind.ends_by_ready()).count();
        dropped
    }

    /// The server has entered copy-in at the head: Syncs sent behind it are ignored by the server, and a CopyDone or
    /// CopyFail that is already there ends the copy. Answers whether it was there, and how many Syncs were not counted.
    pub(super) fn enter_copy(&mut self) -> (bool, usize) {
        let (mut ended, mut passed_over) = (false, 0);
        let mut at = 1;
        while at < self.queue.len() && !ended {
            match self.queue[at].kind {
                Kind::Sync => {
                    self.queue.remove(at);
                    self.syncs -= 1;
                    passed_over += 1;
                }
                Kind::CopyEnd => {
                    self.queue.remove(at);
                    ended = true;
                }
                _ => at += 1,
            }
        }
        // The batch of the copy goes on behind it.
        if let Some(newest) = self.queue.iter().rev().find(|r| r.kind != Kind::CopyEnd) {
            self.open = !newest.kind.ends_by_ready();
        }
        (ended, passed_over)
    }

    /// Do only Syncs and ends of copies follow the head?
    pub(super) fn is_but_syncs(&self) -> bool {
        self.queue.iter().skip(1).all(|r| matches!(r.kind, Kind::Sync | Kind::CopyEnd))
    }

    /// Is an answer to such a message owed?
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.queue.iter().any(|r| r.kind == kind)
    }

    /// Is there an extended batch that has not been ended? Its messages may all have been answered (after a Flush), but
    /// the transaction they opened goes on.
    #[inline]
    pub(super) fn batch_is_open(&self) -> bool {
        self.open
    }

    /// The batch the next message belongs to.
    #[inline]
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// ReadyForQuery messages still to come.
    #[inline]
    pub(super) fn syncs(&self) -> usize {
        self.syncs
    }
}
