//! What decides whether a request goes on: the one trait of the gateway, and the only place where its programs differ.
//!
//! The gateway parses a request, frames it, finds its route and asks the gate. From then on both hold a ticket.
//!
//! ```text
//!                    Refuse, Serve: no ticket, nothing more is said about it
//!   admit ──────────▶
//!     │  Delay ──▶ queued ── poll: Expire ──▶ over (the gate has forgotten the ticket when it says so)
//!     │               │
//!     │               └──── poll: Release ──▶ ┐
//!     └─ Pass ──────────────────────────────▶ dispatched ──▶ settle: over
//!                                             (abandon, from queued or dispatched: no byte reached an origin)
//! ```
//! Invariants: each ticket handed out ends in exactly one of Expire, settle and abandon, and is not named after that. A
//! gate is a machine: no clock, no socket, no file; `now` is the last argument.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sluice_unix::log::Level;
use sluice_unix::slab::Key;
use sluice_wire::control::Row;
use sluice_wire::http::request::RequestHead;

pub use sluice_wire::http::forwarded::Trust;

use crate::code::Code;
use crate::metrics::{Exposition, Metric};

/// What the gate calls a request it has admitted or queued. The gate chooses it; generational, so a stale one finds
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub Key);

/// What the gateway calls the one who asks. The gate only gives it back, with [`Effect::Release`] and
/// [`Effect::Expire`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker(pub Key);

/// A `[route NAME]` section, by its place in the configuration; `[route default]` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address: of the connection, or what trusted peers in front of us say (the right-most untrusted
    /// entry). `None`: it came over a Unix socket and nothing more is known.
    pub client: Option<IpAddr>,
    /// Whether the connection's own peer is one of `trusted_peers`: its `Priority` may raise a class, its `Sluice-Probe`
    /// counts.
    pub trust: Trust,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Any but the next.
    #[default]
    Ordinary,
    /// A CORS preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method`. It spends no rate slot and never
    /// queues: the gate passes it or refuses it, and a refused one is answered 204 by the gateway.
    Preflight,
}

/// The head of a request, and what the gateway found out about it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The route its target, host and method lead to.
    pub route: RouteId,
    /// Whether it is a preflight.
    pub purpose: Purpose,
    /// The head: method, path, fields.
    pub request: &'a RequestHead,
}

/// The gate's answer to [`Gate::admit`].
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// Dispatch it now.
    Pass(Ticket),
    /// It waits. [`Gate::poll`] says Release or Expire, at `until` at the latest.
    Delay {
        /// Its name from now on.
        ticket: Ticket,
        /// The last moment at which the gate decides.
        until: Instant,
    },
    /// Not now.
    Refuse(Refusal),
    /// The gate itself has an answer.
    Serve(Entry),
}

/// A refusal, which becomes a problem answer (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why; status, title and detail follow from it.
    pub code: Code,
    /// When to come back. Rounded up to whole seconds, at least one; `None`: no Retry-After.
    pub retry_after: Option<Duration>,
    /// Further field lines of the answer, each with its CRLF; usually none.
    pub fields: Vec<u8>,
}

/// An answer that needs no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Field lines, each with its CRLF, without Content-Length and Date, which the gateway adds.
    pub fields: Vec<u8>,
    /// Content.
    pub content: std::sync::Arc<[u8]>,
}

/// How a dispatched request ended. Times count from dispatch, never from arrival in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response was received to its end.
    Response {
        /// Its status code.
        status: u16,
        /// Time to its head.
        head_after: Duration,
    },
    /// No connection: refused or unreachable. No byte reached the origin.
    ConnectRefused,
    /// No connection within `origin_connect_ms`. No byte reached the origin.
    ConnectTimeout,
    /// No TLS session. No byte of the request reached the origin.
    TlsFailed,
    /// The connection ended before a response head was complete.
    ResetBeforeHead,
    /// No response head within `origin_head_ms`.
    HeadTimeout,
    /// What came is not a response.
    Malformed,
    /// The response ended before its content was complete.
    BodyTruncated,
    /// The content stopped coming.
    BodyIdle,
    /// A tunnel was opened, and has ended.
    Upgraded,
    /// The client left, this long after dispatch. Bytes may have reached the origin.
    ClientGone {
        /// Time from dispatch.
        after: Duration,
        /// Whether a response head had been received.
        head: HeadSeen,
    },
    /// The client's own fault after dispatch: a broken, oversize or stalled body.
    Own4xx,
}

/// See [`Outcome::ClientGone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadSeen {
    /// Nothing was received yet.
    No,
    /// The response was on its way.
    Yes,
}

/// What becomes of queued requests when the process drains (`drain_queue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueDrain {
    /// Expire them with [`Code::Draining`], and refuse newcomers so.
    Refuse,
    /// Let them take their turn; newcomers are refused all the same.
    Finish,
}

/// What a gate asks of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Dispatch the queued request now.
    Release(Ticket, Asker),
    /// The queued request is over: answer it with the refusal. The gate has forgotten the ticket.
    Expire(Ticket, Asker, Refusal),
    /// Write a log line.
    Log(Event),
    /// A row for whoever watches the control socket.
    Publish(Row),
}

/// A log line of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// How bad it is.
    pub level: Level,
    /// One of [`Gate::EVENTS`].
    pub name: &'static str,
    /// For people.
    pub text: String,
    /// For programs: units in the names.
    pub fields: Vec<(&'static str, Field)>,
}

/// A value in an [`Event`].
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// Who may give a control command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Whoever may open the socket.
    Any,
    /// Only root and our own user; the log tells who did.
    Owner,
}

/// A command of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The words it begins with, such as `show limits`.
    pub name: &'static str,
    /// What stands behind them, such as `ROUTE KEY VALUE`; empty for nothing.
    pub arguments: &'static str,
    /// Who may give it.
    pub privilege: Privilege,
    /// One line of help.
    pub doc: &'static str,
}

/// What a control command answers.
pub type CommandResult = Result<Vec<Row>, String>;

/// Decides when requests may go on.
pub trait Gate {
    /// Log events it writes, by stable name with a line of text, for documentation and its test.
    const EVENTS: &'static [(&'static str, &'static str)];
    /// Metrics it exposes.
    const METRICS: &'static [Metric];
    /// Control commands it has beyond the gateway's.
    const VERBS: &'static [Verb];

    /// May this request go on? `asker` is to be given back with effects about it.
    fn admit(&mut self, head: &Head<'_>, peer: &Peer, asker: Asker, now: Instant) -> Admission;

    /// The head of a dispatched request leaves for an origin, later than it was dispatched: a connection had to be made
    /// first. Told again if it is sent again.
    fn sent(&mut self, _ticket: Ticket, _now: Instant) {}

    /// A dispatched request has ended, its content included.
    fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Instant);

    /// The client left while queued, or before any byte reached an origin.
    fn abandon(&mut self, ticket: Ticket, now: Instant);

    /// Time has passed: call when [`Gate::poll_timeout`] is reached. Earlier is harmless.
    fn handle_timeout(&mut self, now: Instant);

    /// When to call [`Gate::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing to do: call until `None` after each entry.
    fn poll(&mut self) -> Option<Effect>;

    /// The process drains from now on.
    fn drain(&mut self, queue: QueueDrain, now: Instant);

    /// Appends field lines, each with its CRLF, to a request before it is dispatched.
    fn request_fields(&self, _ticket: Ticket, _out: &mut Vec<u8>) {}

    /// Appends field lines, each with its CRLF, to the response of a dispatched request.
    fn response_fields(&self, _ticket: Ticket, _now: Instant, _out: &mut Vec<u8>) {}

    /// Appends the samples of [`Gate::METRICS`].
    fn expose(&self, out: &mut Exposition<'_>, now: Instant);

    /// Carries out one of [`Gate::VERBS`]; `arguments` are the words behind its name.
    fn command(&mut self, verb: &Verb, arguments: &[&str], now: Instant) -> CommandResult;

    /// The rows a new watcher gets first.
    fn snapshot(&self, now: Instant) -> Vec<Row>;
}
