//! What the limiter knows of one request.

use std::time::{Duration, Instant};

use sluice_gateway::gate::{Asker, RouteId};

use super::keys::Key;

/// Whether a request has a place in its route's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spends {
    /// As every request.
    Slot,
    /// A preflight.
    Nothing,
}

/// Whether a request is one of a stage: its key's GETs keep their distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staged {
    No,
    Yes,
}

/// What a queued request waits for, as it was when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The service, which has as much to do as it may have: it is part of a queue that may stand.
    Service,
    /// A moment that was known when it came and that it may wait for: a slot of the rate, the pace, a limit or the stage
    /// of its own key. Such a wait says nothing about the service.
    Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    /// Since when.
    Dispatched(Instant),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) asker: Asker,
    pub(super) route: RouteId,
    /// Whose share of the queue it takes.
    pub(super) key: Key,
    pub(super) class: u8,
    pub(super) staged: Staged,
    pub(super) spends: Spends,
    pub(super) arrived: Instant,
    /// How long its client waits for an answer.
    pub(super) patience: Duration,
    /// Its last moment in the queue.
    pub(super) deadline: Instant,
    /// The moment at which rates remember it, once it was dispatched.
    pub(super) spent_at: Instant,
    /// Its keys, by the limit's place.
    pub(super) limits: Vec<(u16, Key)>,
    pub(super) state: State,
}
