//! Telling apart which ReadyForQuery answers which Sync after a copy from the client has failed.
//!
//! PostgreSQL passes over a Sync that it reads in the middle of copy data, but answers one that it reads after the
//! copy has failed; drivers send one right behind the Execute that turns out to be a COPY. When such a copy fails,
//! nobody can know on which side of the failure that Sync was read, and so whether one more ReadyForQuery comes. To
//! guess would hand it to the next request, in the end to another client. So the server is asked: a Sync and an empty
//! Query of ours follow, and every ReadyForQuery that comes before the answer to the Query, except the last, is the
//! client's. The client is held meanwhile. In the middle of a message of its own nothing can be asked: the end of the
//! message is waited for first.

use std::time::Instant;

use sluice_wire::pg::backend::{self, TransactionStatus};
use sluice_wire::pg::frontend;

use super::client::Client;
use super::effect::{Effect, Peer};
use super::prepared::Outcome;
use super::server::Task;
use super::{Core, ServerId};

/// What is known while the question is open.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Syncs of the client that are answered for certain.
    due: usize,
    /// The batch is an extended one: without any Sync it is skipped to the next.
    extended: bool,
    /// ReadyForQuery messages heard.
    heard: usize,
    /// The latest of them; whose it is the next one tells.
    kept: Option<TransactionStatus>,
    /// Our Sync and Query have left.
    asked: bool,
    /// The answer to our Query has begun.
    answered: bool,
}

impl Core {
    /// A copy has failed behind a Sync of unknown fate, and its client has been told. Answers whether the question can
    /// be settled: not if other requests follow, whose answers would have to be guessed at.
    pub(super) fn settle_doubt(&mut self, id: ServerId, now: Instant) -> bool {
        let Some(server) = self.servers.get_mut(id.0) else { return false };
        server.passed_over = 0;
        if !server.outstanding.is_but_syncs() {
            return false;
        }
        let extended = server.outstanding.head().is_some_and(|head| !head.kind.ends_by_ready());
        let due = server.outstanding.syncs();
        let doubt = Doubt { due, extended, heard: 0, kept: None, asked: false, answered: false };
        server.doubt = Some(Box::new(doubt));
        server.failed = false;
        server.skipping = false;
        let link = server.link;
        let mut failed = true;
        while let Some(request) = self.servers.get_mut(id.0).and_then(|s| s.outstanding.pop()) {
            if std::mem::take(&mut failed) {
                self.settle_failed(id, &request);
            }
            self.settle(id, &request, Outcome::Dropped);
        }
        if let Some(client) = link.and_then(|client| self.clients.get_mut(client.0)) {
            client.held = true;
        }
        self.ask_doubt(id, now);
        true
    }

    /// Puts the question to the server, if there is one and the client has sent its message to the end.
    pub(super) fn ask_doubt(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let Some(doubt) = server.doubt.as_mut().filter(|doubt| !doubt.asked) else { return };
        if server.link.and_then(|client| self.clients.get(client.0)).is_some_and(Client::mid_message) {
            return;
        }
        doubt.asked = true;
        self.outbox.write(Peer::Server(id), frontend::sync);
        self.run_task(id, Task::Settle, b"", now);
    }

    /// Our Query is being answered: the latest ReadyForQuery was that of our Sync.
    pub(super) fn doubt_ends(&mut self, id: ServerId) {
        if let Some(doubt) = self.servers.get_mut(id.0).and_then(|s| s.doubt.as_mut()) {
            doubt.answered = true;
        }
    }

    /// A ReadyForQuery while the question is open: the one before was the client's. Answers whether it was one of these.
    pub(super) fn ready_in_doubt(&mut self, id: ServerId, status: TransactionStatus) -> bool {
        let Some(server) = self.servers.get_mut(id.0) else { return false };
        let Some(doubt) = server.doubt.as_mut().filter(|doubt| !doubt.answered) else { return false };
        doubt.heard += 1;
        let before = doubt.kept.replace(status);
        if let (Some(status), Some(client)) = (before, server.link) {
            self.outbox.write(Peer::Client(client), |out| backend::ready_for_query(out, status));
        }
        true
    }

    /// All is answered. A failed batch without any Sync goes on being skipped.
    pub(super) fn doubt_settled(&mut self, id: ServerId, now: Instant) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        let Some(doubt) = server.doubt.take() else { return };
        let skipping = doubt.extended && doubt.due == 0 && doubt.heard == 1;
        let Some(client_id) = server.link else { return self.finish_abandoned(id, now) };
        server.failed = skipping;
        server.skipping = skipping;
        let status = server.status;
        if let Some(client) = self.clients.get_mut(client_id.0) {
            client.held = false;
        }
        self.effects.push_back(Effect::Pump(Peer::Client(client_id)));
        if !skipping {
            self.client_ready(client_id, id, status, now);
        }
    }
}
