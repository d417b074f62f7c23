//! What clients send once they are logged in: one switch, one arm a message.
//!
//! A message is relayed from the chunk it came in; only a Parse that is cached and the head of a Bind are looked into.
//! Every message that is owed a reply leaves an entry in the server's queue of outstanding requests, in the order in
//! which it leaves here.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::error::{ErrorResponse, Severity};
use sluice_wire::pg::frame::{self, FrameError, HEADER_LEN, Header};
use sluice_wire::pg::sqlstate::SqlState;
use sluice_wire::pg::{backend, frontend};

use super::client::{ClientState, Departure, Refusal, Rest};
use super::effect::{Peer, Taken, Then};
use super::outstanding::{Kind, Request};
use super::pool::Acquired;
use super::route::violation;
use super::{ClientId, Core, ServerId};
use crate::config::PoolMode;

/// A request up to this size has to be there whole before it takes a server, so that a client that drips its bytes
/// holds up nobody. Derivation: what one read brings in any ordinary case, and little enough to keep per client.
const GATHER_BYTES: usize = 16 * 1024;

/// The outcome of looking at one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes were used up.
    Used(usize),
    /// More bytes are needed: this many in all.
    Need(usize),
    /// Not now.
    Blocked,
    /// The connection is gone.
    Closed,
}

/// A message at `at` in `chunk`, of which `there` bytes have arrived.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) header: Header,
    pub(super) chunk: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Message<'a> {
    /// Bytes of it that have arrived, header included.
    #[inline]
    pub(super) fn there(&self) -> usize {
        self.header.total().min(self.chunk.len() - self.at)
    }

    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.chunk.len() - self.at >= self.header.total()
    }

    /// As much of the body as has arrived.
    #[inline]
    pub(super) fn body(&self) -> &'a [u8] {
        &self.chunk[self.at + HEADER_LEN..self.at + self.there()]
    }
}

impl Core {
    /// Bytes from a client. Applies as many whole steps as it can.
    pub fn client_input(&mut self, id: ClientId, chunk: &[u8], now: Instant) -> Taken {
        let mut at = 0;
        let then = loop {
            let Some(client) = self.clients.get_mut(id.0) else { break Then::Closed };
            if client.rest_left > 0 {
                let count = client.rest_left.min(chunk.len() - at);
                if count == 0 {
                    break Then::Need(1);
                }
                client.rest_left -= count;
                if client.rest == Rest::Relay
                    && let Some(link) = client.link
                {
                    self.outbox.relay(Peer::Server(link), at, at + count);
                }
                at += count;
                self.after_rest(id, now);
                continue;
            }
            if client.held {
                break Then::Blocked;
            }
            let step = match client.state {
                ClientState::Active | ClientState::Idle if self.suspended => Step::Blocked,
                ClientState::Active | ClientState::Idle => self.request(id, chunk, at, now),
                ClientState::Login => self.login_input(id, &chunk[at..], now),
                ClientState::Console => self.console_input(id, chunk, at, now),
                ClientState::WaitLogin
                | ClientState::Waiting
                | ClientState::ConsoleWait
                | ClientState::WaitCancel
                | ClientState::ActiveCancel => Step::Blocked,
            };
            match step {
                Step::Used(count) => at += count,
                Step::Need(bytes) => break Then::Need(bytes),
                Step::Blocked => break Then::Blocked,
                Step::Closed => break Then::Closed,
            }
        };
        self.count_received(id, at);
        self.check_invariants();
        Taken { consumed: at, then }
    }

    /// More of a long message has left, perhaps the end of it: what has waited for that follows.
    fn after_rest(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get(id.0).filter(|client| client.rest_left == 0) else { return };
        if let Some(server) = client.link {
            self.ask_doubt(server, now);
        }
        self.release_if_done(id, now);
    }

    /// The header at `at`, or what to do without one.
    pub(super) fn client_header(
        &mut self,
        id: ClientId,
        chunk: &[u8],
        at: usize,
        now: Instant,
    ) -> Result<Header, Step> {
        let limit = self.config.global.max_packet_size;
        match frame::header(&chunk[at..]) {
            Ok(Some(header)) if header.len <= limit => Ok(header),
            Ok(None) => Err(Step::Need(HEADER_LEN)),
            Ok(Some(Header { len, .. })) => {
                let detail = format!("a message of {len} bytes is longer than max_packet_size ({limit})");
                Err(self.refuse_message(id, "bad packet", detail, now))
            }
            Err(FrameError::Length { tag, len }) => {
                let detail = format!("message type 0x{tag:02X} with impossible length {}", len as i32);
                Err(self.refuse_message(id, "bad packet", detail, now))
            }
        }
    }

    /// The client broke the protocol: it is told, and closed.
    pub(super) fn refuse_message(
        &mut self,
        id: ClientId,
        text: &'static str,
        detail: String,
        now: Instant,
    ) -> Step {
        let error = violation(text).with_detail(detail);
        self.expel_with(id, &error, now);
        Step::Closed
    }

    fn request(&mut self, id: ClientId, chunk: &[u8], at: usize, now: Instant) -> Step {
        let header = match self.client_header(id, chunk, at, now) {
            Ok(header) => header,
            Err(step) => return step,
        };
        let message = Message { header, chunk, at };
        match header.tag {
            frontend::QUERY
            | frontend::PARSE
            | frontend::BIND
            | frontend::DESCRIBE
            | frontend::EXECUTE
            | frontend::CLOSE
            | frontend::SYNC
            | frontend::FLUSH
            | frontend::FUNCTION_CALL
            | frontend::COPY_DATA
            | frontend::COPY_DONE
            | frontend::COPY_FAIL => {}
            frontend::TERMINATE => {
                self.close_client(id, "client close request", Departure::Terminated, now);
                return Step::Closed;
            }
            tag => return self.refuse_message(id, "unknown pkt", format!("message type 0x{tag:02X}"), now),
        }
        let Some(client) = self.clients.get_mut(id.0) else { return Step::Closed };
        if let Some(refusal) = client.refusing {
            return self.refuse_request(id, refusal, message, now);
        }
        if header.tag == frontend::QUERY && self.config.global.disable_pqexec {
            let error = violation("PQexec disallowed");
            self.expel_with(id, &error, now);
            return Step::Closed;
        }
        match client.link {
            Some(server) => self.dispatch(id, server, message, now),
            None => self.begin_request(id, message, now),
        }
    }

    /// The first message of a request takes a server.
    fn begin_request(&mut self, id: ClientId, message: Message<'_>, now: Instant) -> Step {
        if matches!(
            message.header.tag,
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH
        ) {
            // What a client still sends of a copy that failed: the server ignores it, so it needs none.
            return self.discard(id, message);
        }
        if !message.is_whole() && message.there() < GATHER_BYTES {
            return Step::Need(message.header.total().min(GATHER_BYTES));
        }
        let Some(client) = self.clients.get_mut(id.0) else { return Step::Closed };
        client.request_at = now;
        client.query_since = Some(now);
        client.transaction_since = Some(now);
        match self.acquire(id, now) {
            // Nothing is used up: the message is looked at again, now with a link, unless SETs come first.
            Acquired::Linked => Step::Used(0),
            Acquired::Queued => Step::Blocked,
            Acquired::Gone => Step::Closed,
        }
    }

    fn dispatch(&mut self, id: ClientId, server_id: ServerId, message: Message<'_>, now: Instant) -> Step {
        let (Some(client), Some(server)) = (self.clients.get_mut(id.0), self.servers.get_mut(server_id.0))
        else {
            return Step::Closed;
        };
        if server.outstanding.is_empty() {
            client.request_at = now;
            server.request_at = now;
            if client.query_since.is_none() {
                client.query_since = Some(now);
                self.arm_client(id, now);
            }
            self.begin_transaction(id, server_id, now);
        }
        let Some(server) = self.servers.get_mut(server_id.0) else { return Step::Closed };
        let tag = message.header.tag;
        if server.skipping
            && !matches!(
                tag,
                frontend::SYNC | frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL
            )
        {
            return self.discard(id, message);
        }
        match tag {
            frontend::QUERY => self.push_and_relay(id, server_id, Kind::Query, message),
            frontend::FUNCTION_CALL => self.push_and_relay(id, server_id, Kind::FunctionCall, message),
            frontend::EXECUTE => self.push_and_relay(id, server_id, Kind::Execute, message),
            frontend::PARSE => self.on_parse(id, server_id, message, now),
            frontend::BIND => self.on_bind(id, server_id, message, now),
            frontend::DESCRIBE => self.on_describe(id, server_id, message, now),
            frontend::CLOSE => self.on_close(id, server_id, message, now),
            frontend::SYNC => self.on_sync(id, server_id, message),
            frontend::FLUSH => self.on_flush(id, server_id, message),
            frontend::COPY_DONE | frontend::COPY_FAIL => self.on_copy_end(id, server_id, message),
            _ => self.relay(id, server_id, message),
        }
    }

    /// A client that keeps its server from one transaction to the next begins another.
    #[inline]
    fn begin_transaction(&mut self, id: ClientId, server_id: ServerId, now: Instant) {
        if let Some(client) = self.clients.get_mut(id.0)
            && client.transaction_since.is_none()
        {
            client.transaction_since = Some(now);
            self.arm_server(server_id, now);
        }
    }

    #[inline]
    pub(super) fn push_and_relay(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        kind: Kind,
        message: Message<'_>,
    ) -> Step {
        if let Some(server) = self.servers.get_mut(server_id.0) {
            server.outstanding.push(Request::forward(kind, id));
        }
        self.relay(id, server_id, message)
    }

    /// Passes the message on as it is, the part that has not arrived yet included.
    #[inline]
    pub(super) fn relay(&mut self, id: ClientId, server_id: ServerId, message: Message<'_>) -> Step {
        let there = message.there();
        self.outbox.relay(Peer::Server(server_id), message.at, message.at + there);
        self.leave_rest(id, Rest::Relay, message.header.total() - there);
        Step::Used(there)
    }

    /// Drops the message, the part that has not arrived yet included.
    pub(super) fn discard(&mut self, id: ClientId, message: Message<'_>) -> Step {
        let there = message.there();
        self.leave_rest(id, Rest::Discard, message.header.total() - there);
        Step::Used(there)
    }

    #[inline]
    pub(super) fn leave_rest(&mut self, id: ClientId, rest: Rest, left: usize) {
        if let Some(client) = self.clients.get_mut(id.0) {
            client.rest = rest;
            client.rest_left = left;
        }
    }

    fn on_sync(&mut self, id: ClientId, server_id: ServerId, message: Message<'_>) -> Step {
        if let Some(server) = self.servers.get_mut(server_id.0) {
            // PostgreSQL ignores Sync while it reads copy data.
            if server.copy_in {
                server.passed_over += 1;
            } else {
                server.outstanding.push(Request::forward(Kind::Sync, id));
                server.skipping = false;
            }
        }
        self.relay(id, server_id, message)
    }

    /// What we answer ourselves would wait for a reply of the server that nobody asked for.
    fn on_flush(&mut self, id: ClientId, server_id: ServerId, message: Message<'_>) -> Step {
        self.emit_faked(server_id);
        self.relay(id, server_id, message)
    }

    fn on_copy_end(&mut self, id: ClientId, server_id: ServerId, message: Message<'_>) -> Step {
        if let Some(server) = self.servers.get_mut(server_id.0) {
            if server.copy_in {
                server.copy_in = false;
            } else if !server.outstanding.is_empty() {
                server.outstanding.push(Request::forward(Kind::CopyEnd, id));
            }
        }
        self.relay(id, server_id, message)
    }

    /// Answers a request that was cancelled in the queue: the error, and silence up to where PostgreSQL would be
    /// ready again.
    fn refuse_request(&mut self, id: ClientId, refusal: Refusal, message: Message<'_>, now: Instant) -> Step {
        let peer = Peer::Client(id);
        let tag = message.header.tag;
        if refusal == Refusal::Pending {
            let error = ErrorResponse::new(
                Severity::Error,
                SqlState::QUERY_CANCELED,
                "canceling statement due to user request",
            );
            self.outbox.write(peer, |out| error.write(out));
        }
        let single = matches!(tag, frontend::QUERY | frontend::FUNCTION_CALL);
        let ends = tag == frontend::SYNC || (single && refusal == Refusal::Pending);
        if let Some(client) = self.clients.get_mut(id.0) {
            client.refusing = if ends { None } else { Some(Refusal::ToSync) };
            client.request_at = now;
        }
        if ends {
            self.outbox.write(peer, |out| backend::ready_for_query(out, backend::TransactionStatus::Idle));
        }
        self.discard(id, message)
    }

    /// Takes the client off its server if nothing more is owed or under way.
    pub(super) fn release_if_done(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get(id.0) else { return };
        let Some(server_id) = client.link else { return };
        let Some(server) = self.servers.get(server_id.0) else { return };
        if !server.is_clean() || client.rest_left > 0 || client.held || !server_is_free(client, server) {
            return;
        }
        // The client has heard the beginning of a notice, and nobody else could tell it the rest.
        if server.rest_left > 0 {
            return;
        }
        if self.mode_of(server.pool) == PoolMode::Session {
            if server.close_needed && self.config.global.server_fast_close {
                self.close_server(server_id, "database configuration changed", now);
            }
            return;
        }
        self.unlink(id, now);
        self.finish_server(server_id, now);
    }

    /// The next thing an unlinked, clean server does: its reset query if one is due, else back to the pool.
    pub(super) fn finish_server(&mut self, server_id: ServerId, now: Instant) {
        let Some(server) = self.servers.get(server_id.0) else { return };
        let global = &self.config.global;
        // The mode may have changed since.
        if (server.session_used || global.server_reset_query_always) && !global.server_reset_query.is_empty()
        {
            let sql = global.server_reset_query.clone();
            self.change_server_state(server_id, super::server::ServerState::Tested, now);
            return self.run_task(server_id, super::server::Task::Reset, sql.as_bytes(), now);
        }
        self.release_server(server_id, now);
    }

    #[inline]
    pub(super) fn mode_of(&self, pool: super::PoolId) -> PoolMode {
        self.pools.get(pool.0).map_or(PoolMode::Session, |p| p.policy.mode)
    }

    /// Shared form of a statement's own name.
    pub(super) fn shared_name(name: &[u8]) -> Rc<[u8]> {
        name.into()
    }
}

/// Does the client depend on this very server although it is clean?
fn server_is_free(client: &super::client::Client, server: &super::server::Server) -> bool {
    server.task == super::server::Task::None && !matches!(client.unnamed, super::prepared::Unnamed::Long)
}
