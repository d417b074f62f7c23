//! What servers send: one switch, and one table of which reply ends which request.
//!
//! A reply goes to the owner of the oldest outstanding request. A reply that does not fit that request means that we
//! no longer know whose bytes these are: the connection is closed rather than guessed at.

use std::time::Instant;

use sluice_wire::pg::backend::{self, TransactionStatus};
use sluice_wire::pg::error::{self, Fields};
use sluice_wire::pg::frame::{self, HEADER_LEN};
use sluice_wire::pg::sqlstate::SqlState;

use super::effect::{Effect, Peer, Taken, Then};
use super::log::{Event, Level};
use super::outstanding::{Action, Kind, Request, UnnamedChange};
use super::prepared::{Outcome, UNKNOWN_NAME, Unnamed};
use super::requests::{Message, Step};
use super::server::{ServerState, Task};
use super::{ClientId, Core, ServerId};
use crate::config::PoolMode;

/// Errors and notices up to this size are looked into; longer ones are passed through.
const ERROR_BYTES: usize = 64 * 1024;

/// Why statement mode ends a session.
const NO_TRANSACTIONS: &str = "transaction blocks not allowed in statement pooling mode";

/// A ParameterStatus has room for any value PostgreSQL reports.
const PARAMETER_BYTES: usize = 1024 * 1024;

impl Core {
    /// Bytes from a server. Applies as many whole steps as it can.
    pub fn server_input(&mut self, id: ServerId, chunk: &[u8], now: Instant) -> Taken {
        let mut at = 0;
        let then = loop {
            let Some(server) = self.servers.get_mut(id.0) else { break Then::Closed };
            if server.rest_left > 0 {
                let count = server.rest_left.min(chunk.len() - at);
                if count == 0 {
                    break Then::Need(1);
                }
                server.rest_left -= count;
                let done = server.rest_left == 0;
                if let Some(to) = server.rest_to {
                    self.outbox.relay(to, at, at + count);
                }
                at += count;
                if done && server.last_words {
                    self.lose_server(id, now);
                } else if done {
                    self.emit_faked(id);
                    self.release_after_rest(id, now);
                }
                continue;
            }
            let step = match server.state {
                ServerState::Login if server.login.is_some() => self.login_reply(id, chunk, at, now),
                // PostgreSQL answers a CancelRequest by closing.
                ServerState::ActiveCancel => Step::Used(chunk.len() - at),
                _ if self.suspended => Step::Blocked,
                _ => self.reply(id, chunk, at, now),
            };
            match step {
                Step::Used(0) if at == chunk.len() => break Then::Need(1),
                Step::Used(count) => at += count,
                Step::Need(bytes) => break Then::Need(bytes),
                Step::Blocked => break Then::Blocked,
                Step::Closed => break Then::Closed,
            }
        };
        self.count_sent(id, at, now);
        self.check_invariants();
        Taken { consumed: at, then }
    }

    /// A notice in pieces may have been all that kept the client on its server.
    fn release_after_rest(&mut self, id: ServerId, now: Instant) {
        if let Some(client) = self.servers.get(id.0).and_then(|s| s.link) {
            self.release_if_done(client, now);
        }
    }

    fn reply(&mut self, id: ServerId, chunk: &[u8], at: usize, now: Instant) -> Step {
        let header = match frame::header(&chunk[at..]) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Need(HEADER_LEN),
            Err(_) => return self.distrust(id, "bad packet header from server", now),
        };
        let message = Message { header, chunk, at };
        match header.tag {
            backend::DATA_ROW | backend::COPY_DATA => self.pass(id, message),
            backend::READY_FOR_QUERY => self.on_ready(id, message, now),
            backend::ROW_DESCRIPTION
            | backend::NO_DATA
            | backend::PARSE_COMPLETE
            | backend::BIND_COMPLETE
            | backend::CLOSE_COMPLETE
            | backend::PORTAL_SUSPENDED
            | backend::EMPTY_QUERY_RESPONSE => self.on_end(id, message, now),
            backend::COMMAND_COMPLETE => self.on_command_complete(id, message, now),
            backend::PARAMETER_DESCRIPTION
            | backend::COPY_OUT_RESPONSE
            | backend::COPY_DONE
            | backend::FUNCTION_CALL_RESPONSE => self.pass(id, message),
            backend::COPY_IN_RESPONSE | backend::COPY_BOTH_RESPONSE => self.on_copy_in(id, message),
            backend::ERROR_RESPONSE => self.on_error(id, message, now),
            backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE => self.on_async(id, message),
            backend::PARAMETER_STATUS => self.on_parameter(id, message, now),
            _ => self.distrust(id, "unexpected message from server", now),
        }
    }

    /// We can no longer tell whose bytes these are.
    fn distrust(&mut self, id: ServerId, reason: &'static str, now: Instant) -> Step {
        self.close_server(id, reason, now);
        Step::Closed
    }

    /// Part of the reply to the oldest request. Without one, nobody asked for it.
    #[inline]
    fn pass(&mut self, id: ServerId, message: Message<'_>) -> Step {
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        let Some(head) = server.outstanding.head() else {
            let now = server.last_reply_at;
            return self.distrust(id, "SV_IDLE server got dirty", now);
        };
        let to = match head.action {
            Action::Forward => head.owner.filter(|&owner| server.link == Some(owner)).map(Peer::Client),
            Action::Skip => None,
            Action::Fake => {
                self.emit_faked(id);
                return self.pass(id, message);
            }
        };
        self.deliver(id, to, message)
    }

    #[inline]
    fn deliver(&mut self, id: ServerId, to: Option<Peer>, message: Message<'_>) -> Step {
        let there = message.there();
        let left = message.header.total() - there;
        if let Some(to) = to {
            self.outbox.relay(to, message.at, message.at + there);
        }
        if let Some(server) = self.servers.get_mut(id.0) {
            server.rest_left = left;
            server.rest_to = to;
        }
        Step::Used(there)
    }

    /// A reply that may end the oldest request.
    fn on_end(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        self.emit_faked(id);
        let Some(head) = self.servers.get(id.0).and_then(|s| s.outstanding.head()) else {
            return self.distrust(id, "SV_IDLE server got dirty", now);
        };
        let kind = head.kind;
        if message.header.tag == backend::EMPTY_QUERY_RESPONSE {
            self.doubt_ends(id);
        }
        let ended = match message.header.tag {
            backend::PARSE_COMPLETE => Kind::Parse,
            backend::BIND_COMPLETE => Kind::Bind,
            backend::CLOSE_COMPLETE => Kind::Close,
            backend::ROW_DESCRIPTION | backend::NO_DATA if kind == Kind::Describe => Kind::Describe,
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED
                if kind == Kind::Execute =>
            {
                Kind::Execute
            }
            _ if kind == Kind::Query => Kind::Query,
            _ => return self.distrust(id, "reply out of order from server", now),
        };
        let step = self.pass(id, message);
        if ended == Kind::Query {
            return step;
        }
        if ended != kind {
            return self.distrust(id, "reply out of order from server", now);
        }
        let request = self.servers.get_mut(id.0).and_then(|s| s.outstanding.pop());
        if let Some(request) = request {
            self.settle(id, &request, Outcome::Done);
        }
        self.emit_faked(id);
        self.wake_held(id);
        step
    }

    fn on_command_complete(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        if let Some(server) = self.servers.get_mut(id.0) {
            server.copy_in = false;
            server.passed_over = 0;
        }
        const DEALLOCATE_ALL: &[u8] = b"DEALLOCATE ALL\0";
        const DISCARD_ALL: &[u8] = b"DISCARD ALL\0";
        const LISTEN: &[u8] = b"LISTEN\0";
        let len = message.header.body_len();
        if len == DEALLOCATE_ALL.len() || len == DISCARD_ALL.len() || len == LISTEN.len() {
            if !message.is_whole() {
                return Step::Need(message.header.total());
            }
            if message.body() == LISTEN {
                self.warn_of_listen(id);
            }
            if message.body() == DEALLOCATE_ALL || message.body() == DISCARD_ALL {
                self.forget_statements(id);
            }
        }
        self.on_end(id, message, now)
    }

    /// Notifications reach whoever has the server at the time, so LISTEN is safe in session mode only.
    fn warn_of_listen(&mut self, id: ServerId) {
        let Some(pool_id) = self.servers.get(id.0).map(|s| s.pool) else { return };
        if self.mode_of(pool_id) == PoolMode::Session {
            return;
        }
        let Some(pool) = self.pools.get_mut(pool_id.0) else { return };
        if !std::mem::replace(&mut pool.warned_listen, true) {
            let text = "LISTEN outside session mode: its notifications will be lost";
            self.log_pool(Level::Warning, Event::Unsafe, pool_id, text);
        }
    }

    /// The unnamed statement stays: DISCARD ALL does away with those that have names.
    fn forget_statements(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id.0) else { return };
        server.statements.clear();
        let owner = server.outstanding.head().and_then(|head| head.owner);
        if let Some(client) = owner.and_then(|o| self.clients.get_mut(o.0))
            && let Some(names) = &mut client.statements
        {
            names.clear();
        }
        self.definitions.trim();
    }

    fn on_copy_in(&mut self, id: ServerId, message: Message<'_>) -> Step {
        let step = self.pass(id, message);
        if let Some(server) = self.servers.get_mut(id.0) {
            let (ended, passed_over) = server.outstanding.enter_copy();
            server.copy_in = !ended;
            server.passed_over = passed_over;
        }
        self.end_copy_of_nobody(id);
        // Its own Sync may have been one of those.
        if self.servers.get(id.0).is_some_and(|s| s.link.is_none() && !s.copy_in) {
            self.end_batch_of_nobody(id);
        }
        // It may wait for the answer to a Sync that gets none.
        self.wake_held(id);
        step
    }

    fn on_ready(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        if !message.is_whole() {
            return Step::Need(message.header.total());
        }
        let Ok(status) = backend::read_ready_for_query(message.body()) else {
            return self.distrust(id, "bad ReadyForQuery from server", now);
        };
        if self.ready_in_doubt(id, status) {
            return Step::Used(message.there());
        }
        if !self.servers.get(id.0).is_some_and(|s| s.failed) {
            self.emit_faked(id);
        }
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        server.status = status;
        server.last_reply_at = now;
        server.copy_in = false;
        while server.outstanding.head().is_some_and(|head| head.kind == Kind::CopyEnd) {
            server.outstanding.pop();
        }
        let skipped = server.failed && server.outstanding.head().is_some_and(|h| !h.kind.ends_by_ready());
        server.failed = false;
        server.skipping = false;
        let owner = if skipped {
            let dropped = server.outstanding.skip_to_sync();
            let owner = dropped.last().and_then(|r| if r.action == Action::Forward { r.owner } else { None });
            for (at, request) in dropped.iter().enumerate() {
                if at == 0 {
                    self.settle_failed(id, request);
                }
                self.settle(id, request, Outcome::Dropped);
            }
            owner
        } else {
            match server.outstanding.pop() {
                Some(request) if request.kind.ends_by_ready() => {
                    if request.kind == Kind::Query {
                        self.drop_unnamed(id, request.owner);
                    }
                    if request.action == Action::Forward { request.owner } else { None }
                }
                _ => return self.distrust(id, "ReadyForQuery out of order from server", now),
            }
        };
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        while server.outstanding.head().is_some_and(|head| head.kind == Kind::CopyEnd) {
            server.outstanding.pop();
        }
        let (link, task, pool) = (server.link, server.task, server.pool);
        if status != TransactionStatus::Idle
            && (link.is_some() && task == Task::None)
            && self.mode_of(pool) == PoolMode::Statement
        {
            // Not even the ReadyForQuery: the client would take its BEGIN for done.
            return self.distrust(id, NO_TRANSACTIONS, now);
        }
        let to = owner.filter(|&owner| link == Some(owner)).map(Peer::Client);
        let step = self.deliver(id, to, message);
        self.emit_faked(id);
        self.after_ready(id, status, now);
        if self.servers.get(id.0).is_none() { Step::Closed } else { step }
    }

    /// The state of the transaction is known anew.
    fn after_ready(&mut self, id: ServerId, status: TransactionStatus, now: Instant) {
        let Some(server) = self.servers.get(id.0) else { return };
        let (task, link, empty) = (server.task, server.link, server.outstanding.is_empty());
        if !empty {
            return self.wake_held(id);
        }
        if task != Task::None {
            return self.task_done(id, now);
        }
        match link {
            Some(client) => self.client_ready(client, id, status, now),
            None => self.finish_abandoned(id, now),
        }
    }

    /// All the client asked for is answered, and it was told so.
    pub(super) fn client_ready(
        &mut self,
        client_id: ClientId,
        id: ServerId,
        status: TransactionStatus,
        now: Instant,
    ) {
        let Some(pool) = self.servers.get(id.0).map(|s| s.pool) else { return };
        self.count_queries_done(client_id, id, status, now);
        if status == TransactionStatus::Idle {
            self.wake_held(id);
            self.release_if_done(client_id, now);
        } else if self.mode_of(pool) == PoolMode::Statement {
            self.close_server(id, NO_TRANSACTIONS, now);
        } else {
            self.wake_held(id);
            self.arm_server(id, now);
        }
    }

    fn on_error(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        if message.header.total() <= ERROR_BYTES && !message.is_whole() {
            return Step::Need(message.header.total());
        }
        let fields = Fields::new(message.body());
        let severity = fields.severity().unwrap_or_default();
        if severity == b"FATAL" || severity == b"PANIC" {
            return self.on_fatal(id, message, now);
        }
        self.emit_faked(id);
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        server.copy_in = false;
        if server.task != Task::None {
            server.task_failed = true;
        }
        let Some(head) = server.outstanding.head() else {
            return self.distrust(id, "SV_IDLE server got dirty", now);
        };
        let (owner, note, kind) = (head.owner, head.note.clone(), head.kind);
        let (statement, changes) = (head.statement.clone(), head.changes);
        if !kind.ends_by_ready() {
            server.failed = true;
            server.skipping = !server.outstanding.has(Kind::Sync);
        }
        let link = server.link;
        match (&statement, fields.sqlstate()) {
            // Its plan is void, or somebody has deallocated it behind our back.
            (Some(known), Some(SqlState::FEATURE_NOT_SUPPORTED | SqlState::INVALID_SQL_STATEMENT_NAME)) => {
                server.statements.mark_stale(known);
            }
            // Somebody has taken the name.
            (Some(_), Some(SqlState::DUPLICATE_PREPARED_STATEMENT)) if changes.server => {
                server.close_needed = true;
            }
            _ => {}
        }
        let doubtful = server.passed_over > 0;
        if !doubtful {
            // From here on the server skips, so a client that waits for an earlier batch need not wait any longer; and
            // if there is no client any more, nobody else will send the Sync that ends this.
            self.wake_held(id);
            if link.is_none() {
                self.end_batch_of_nobody(id);
            }
        }
        let to = owner.filter(|&owner| link == Some(owner)).map(Peer::Client);
        let step = match (to, note) {
            (Some(to), Some(name)) if changes.unnamed.is_none() && message.is_whole() => {
                let internal = statement.as_ref().map_or(UNKNOWN_NAME, |s| s.server_name());
                self.deliver_renamed(id, to, internal, &name, message)
            }
            (to, _) => self.deliver(id, to, message),
        };
        if doubtful && !self.settle_doubt(id, now) {
            return self.distrust(id, "copy failed behind a Sync", now);
        }
        step
    }

    /// Passes an error on in which a statement goes by the name its client knows.
    fn deliver_renamed(
        &mut self,
        id: ServerId,
        to: Peer,
        internal: &[u8],
        name: &[u8],
        message: Message<'_>,
    ) -> Step {
        if memchr::memmem::find(message.body(), internal).is_none() {
            return self.deliver(id, Some(to), message);
        }
        let mut body = Vec::new();
        error::replace_in_fields(message.body(), internal, name, &mut body);
        self.outbox.write(to, |out| {
            out.push(backend::ERROR_RESPONSE);
            out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            out.extend_from_slice(&body);
        });
        Step::Used(message.there())
    }

    /// The server is about to close: its last words go to whoever waits for an answer, and end the session. Nothing
    /// that a server sends behind them is believed, nor is its end of file waited for.
    fn on_fatal(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        let fields = Fields::new(message.body());
        let text = String::from_utf8_lossy(fields.message().unwrap_or_default()).into_owned();
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        server.close_needed = true;
        server.last_words = true;
        let link = server.link;
        self.log_server_text(id, &text);
        let Some(link) = link else {
            self.lose_server(id, now);
            return Step::Closed;
        };
        let step = self.deliver(id, Some(Peer::Client(link)), message);
        if !message.is_whole() {
            return step;
        }
        self.lose_server(id, now);
        Step::Closed
    }

    /// Notices and notifications: to the client at hand, else to nobody; they change no state.
    fn on_async(&mut self, id: ServerId, message: Message<'_>) -> Step {
        let to = self.servers.get(id.0).filter(|s| s.serves_client()).and_then(|s| s.link);
        self.deliver(id, to.map(Peer::Client), message)
    }

    fn on_parameter(&mut self, id: ServerId, message: Message<'_>, now: Instant) -> Step {
        if message.header.total() > PARAMETER_BYTES {
            return self.distrust(id, "ParameterStatus too long", now);
        }
        if !message.is_whole() {
            return Step::Need(message.header.total());
        }
        let Ok((name, value)) = backend::read_parameter_status(message.body()) else {
            return self.distrust(id, "bad ParameterStatus from server", now);
        };
        let Some(server) = self.servers.get_mut(id.0) else { return Step::Closed };
        let client = server.link.filter(|_| server.serves_client());
        match self.tracked.position(name) {
            Some(at) => {
                let value = self.values.intern(value);
                server.vars.set(at, value.clone());
                if let Some(client) = client.and_then(|c| self.clients.get_mut(c.0)) {
                    client.vars.set(at, value);
                }
            }
            // What changes while nobody uses the server is the server's own news, as after a failover.
            None if server.link.is_none() && self.refresh_welcome(id, name, value).is_err() => {
                return self.distrust(id, "too many parameters from server", now);
            }
            None => {}
        }
        self.deliver(id, client.map(Peer::Client), message)
    }

    /// Sends the replies we owe ourselves that have reached the head, unless the reply before is still on its way or
    /// was the server's last.
    pub(super) fn emit_faked(&mut self, id: ServerId) {
        loop {
            let Some(server) = self.servers.get_mut(id.0) else { return };
            if server.rest_left > 0 || server.last_words {
                return;
            }
            let Some(head) = server.outstanding.head() else { return };
            match head.kind {
                Kind::CopyEnd => {
                    server.outstanding.pop();
                    continue;
                }
                _ if head.action != Action::Fake || server.failed => return,
                _ => {}
            }
            let link = server.link;
            let Some(request) = server.outstanding.pop() else { return };
            if let Some(owner) = request.owner.filter(|&owner| link == Some(owner)) {
                self.outbox.write(Peer::Client(owner), |out| match request.kind {
                    Kind::Parse => backend::parse_complete(out),
                    _ => backend::close_complete(out),
                });
            }
            self.settle(id, &request, Outcome::Done);
        }
    }

    /// Makes a request's pending cache changes true, or drops them.
    pub(super) fn settle(&mut self, id: ServerId, request: &Request, outcome: Outcome) {
        let changes = request.changes;
        let mut client = request.owner.and_then(|owner| self.clients.get_mut(owner.0));
        let Some(server) = self.servers.get_mut(id.0) else { return };
        if changes.server {
            server.statements.settle(outcome);
        }
        if changes.name
            && let Some(names) = client.as_mut().and_then(|c| c.statements.as_mut())
        {
            names.settle(outcome);
        }
        let Some(change) = changes.unnamed.filter(|_| outcome == Outcome::Done) else { return };
        let text = || request.note.clone().map_or(Unnamed::None, Unnamed::Text);
        let (server_has, client_has) = match change {
            UnnamedChange::Parse => (text(), Some(text())),
            UnnamedChange::ParseLong => (Unnamed::Long, Some(Unnamed::Long)),
            UnnamedChange::Inject => (text(), None),
            UnnamedChange::Close => (Unnamed::None, Some(Unnamed::None)),
            UnnamedChange::Remove => (Unnamed::None, None),
        };
        server.unnamed = server_has;
        if let (Some(client), Some(has)) = (client, client_has) {
            client.unnamed = has;
        }
    }

    /// PostgreSQL drops the unnamed statement before it looks at the new one's text.
    pub(super) fn settle_failed(&mut self, id: ServerId, request: &Request) {
        match request.changes.unnamed {
            Some(UnnamedChange::Parse | UnnamedChange::ParseLong) => self.drop_unnamed(id, request.owner),
            Some(UnnamedChange::Inject) => {
                if let Some(server) = self.servers.get_mut(id.0) {
                    server.unnamed = Unnamed::None;
                }
            }
            _ => {}
        }
    }

    /// A Query, or a Parse without a name, destroys the unnamed statement.
    fn drop_unnamed(&mut self, id: ServerId, owner: Option<ClientId>) {
        if let Some(server) = self.servers.get_mut(id.0) {
            server.unnamed = Unnamed::None;
        }
        if let Some(client) = owner.and_then(|o| self.clients.get_mut(o.0)) {
            client.unnamed = Unnamed::None;
        }
    }

    /// The client that waits for an earlier batch looks again.
    fn wake_held(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id.0) else { return };
        if server.task != Task::None || server.doubt.is_some() {
            return;
        }
        if let Some(client_id) = server.link
            && let Some(client) = self.clients.get_mut(client_id.0)
            && client.held
        {
            client.held = false;
            self.effects.push_back(Effect::Pump(Peer::Client(client_id)));
        }
    }
}
