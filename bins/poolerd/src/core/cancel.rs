//! Cancel requests: clients' and our own.
//!
//! PostgreSQL cancels whatever a backend runs when the request reaches it, so a server at which a cancel is aimed is
//! not given to anybody until the connection that carried the request has ended; and a request whose query is over
//! before it could be sent is dropped.
//!
//! A pool has at most as many cancel connections as servers (`pool_size`), so a storm of requests costs PostgreSQL no
//! more processes than twice that. Further requests of clients wait for one to end; of ours none is sent then.

use std::rc::Rc;
use std::time::Instant;

use sluice_wire::pg::frontend;

use super::client::{Address, ClientState, Departure, Refusal};
use super::effect::{Effect, Endpoint, Peer};
use super::server::{Server, ServerState, Task};
use super::{ClientId, Core, PoolId, ServerId};
use crate::config::Host;

/// One CancelRequest of ours on its way.
#[derive(Debug)]
pub(super) struct CancelRun {
    target: ServerId,
    /// The assignment it is meant for.
    epoch: u64,
    /// The client connection that asked, if one did.
    asker: Option<ClientId>,
    sent: bool,
    /// PostgreSQL has closed the connection: what the request was to do is done.
    over: bool,
}

/// A client's request that waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuedCancel {
    target: ServerId,
    /// The assignment it is meant for.
    epoch: u64,
    pub(super) asker: ClientId,
}

impl CancelRun {
    /// Is it a client's request, rather than our own?
    pub(super) fn has_asker(&self) -> bool {
        self.asker.is_some()
    }

    /// Has the request left?
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }
}

impl Core {
    /// A CancelRequest has come in on connection `asker`.
    pub(super) fn cancel_requested(&mut self, asker: ClientId, pid: [u8; 4], secret: &[u8], now: Instant) {
        let Some(target) = self.find_by_key(pid, secret) else {
            return self.close_client(asker, "failed cancel request", Departure::Expelled, now);
        };
        let Some(client) = self.clients.get(target.0) else { return };
        match client.state {
            ClientState::ConsoleWait => {
                self.cancel_console_wait(target, now);
                self.close_client(asker, "cancel request for console", Departure::Expelled, now);
            }
            ClientState::Waiting => {
                self.dequeue_cancelled(target, now);
                self.close_client(asker, "cancel request for queued client", Departure::Expelled, now);
            }
            ClientState::Active if !client.held || self.is_busy(client.link) => {
                let link = client.link;
                self.change_client_state(asker, ClientState::WaitCancel);
                if let Some(server) = link {
                    self.queue_cancel(server, asker, now);
                }
                self.arm_client(asker, now);
            }
            _ => self.close_client(asker, "cancel request for idle client", Departure::Expelled, now),
        }
    }

    /// Does the server run something for its client, rather than SETs of ours or nothing?
    fn is_busy(&self, server: Option<ServerId>) -> bool {
        server
            .and_then(|s| self.servers.get(s.0))
            .is_some_and(|s| s.task == Task::None && !s.outstanding.is_empty())
    }

    fn find_by_key(&self, pid: [u8; 4], secret: &[u8]) -> Option<ClientId> {
        let (short, rest) = secret.split_at_checked(4)?;
        let mut key = [0; 8];
        key[..4].copy_from_slice(&pid);
        key[4..].copy_from_slice(short);
        let id = *self.keys.get(&key)?;
        (rest.is_empty() || rest == self.random.cancel_key_rest(&key)).then_some(id)
    }

    /// The request has not reached a server: it is refused as PostgreSQL would, and the session goes on.
    fn dequeue_cancelled(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.ticket = 0;
        client.waiting_since = None;
        client.query_since = None;
        client.transaction_since = None;
        client.refusing = Some(Refusal::Pending);
        self.change_client_state(id, ClientState::Idle);
        self.arm_client(id, now);
        self.effects.push_back(Effect::Pump(Peer::Client(id)));
    }

    /// A client's request waits in line for a connection; mostly there is no line.
    fn queue_cancel(&mut self, target: ServerId, asker: ClientId, now: Instant) {
        let Some(server) = self.servers.get(target.0) else { return };
        let (pool_id, epoch) = (server.pool, server.epoch);
        if let Some(pool) = self.pools.get_mut(pool_id.0) {
            pool.cancels.push_back(QueuedCancel { target, epoch, asker });
            // Askers that have gone meanwhile are dropped now and then, so that the line is as long as the crowd.
            if pool.cancels.len() >= 64 && pool.cancels.len().is_power_of_two() {
                let clients = &self.clients;
                pool.cancels.retain(|queued| clients.get(queued.asker.0).is_some());
            }
        }
        self.serve_cancels(pool_id, now);
    }

    /// Is there room for one more cancel connection?
    pub(super) fn may_cancel(&self, pool: PoolId) -> bool {
        let Some(pool) = self.pools.get(pool.0) else { return false };
        pool.policy.size == 0 || pool.server_count(ServerState::ActiveCancel) < pool.policy.size
    }

    /// Opens connections for requests in line. Those whose query is over, or whose asker has gone, are dropped.
    pub(super) fn serve_cancels(&mut self, pool_id: PoolId, now: Instant) {
        while self.may_cancel(pool_id) {
            let next = self.pools.get_mut(pool_id.0).and_then(|pool| pool.cancels.pop_front());
            let Some(QueuedCancel { target, epoch, asker }) = next else { return };
            if self.clients.get(asker.0).is_none() {
                continue;
            }
            // A client that has just been given its server may have sent it nothing yet: whether there is something to
            // cancel is looked at when the connection is made.
            if self.servers.get(target.0).is_some_and(|s| s.epoch == epoch && s.link.is_some()) {
                self.cancel_server(target, Some(asker), now);
            } else {
                self.close_client(asker, "cancel request for idle client", Departure::Expelled, now);
            }
        }
    }

    /// Opens a connection that cancels what `target` runs at the moment.
    pub(super) fn cancel_server(&mut self, target: ServerId, asker: Option<ClientId>, now: Instant) {
        let Some(server) = self.servers.get_mut(target.0) else { return };
        server.cancels += 1;
        let (pool_id, epoch, address) = (server.pool, server.epoch, server.peer);
        // The very backend: a name may mean several hosts, or another one by now.
        let endpoint = match address {
            Some(Address::Tcp(at)) => Rc::new(Endpoint { host: Host::Ip(at.ip()), port: at.port() }),
            _ => Rc::clone(&server.endpoint),
        };
        let mut connection = Server::new(self, pool_id, Rc::clone(&endpoint), now);
        connection.state = ServerState::ActiveCancel;
        connection.peer = address;
        connection.cancel = Some(Box::new(CancelRun { target, epoch, asker, sent: false, over: false }));
        let id = ServerId(self.servers.insert(connection));
        if let Some(pool) = self.pools.get_mut(pool_id.0) {
            pool.servers[ServerState::ActiveCancel as usize] += 1;
        }
        self.arm_server(id, now);
        self.effects.push_back(Effect::Connect { server: id, to: endpoint });
    }

    /// The cancel connection is open.
    pub(super) fn send_cancel(&mut self, id: ServerId, now: Instant) {
        let Some(run) = self.servers.get(id.0).and_then(|s| s.cancel.as_ref()) else { return };
        let (target, epoch, asker) = (run.target, run.epoch, run.asker);
        let Some(server) = self.servers.get(target.0) else {
            return self.close_server(id, "failed cancel request", now);
        };
        if !is_meant(server, epoch) {
            return self.close_server(id, "cancel request for idle client", now);
        }
        let (pid, secret) = (server.backend_pid, server.backend_secret.clone());
        self.outbox.write(Peer::Server(id), |out| frontend::cancel_request(out, pid, &secret));
        if let Some(run) = self.servers.get_mut(id.0).and_then(|s| s.cancel.as_mut()) {
            run.sent = true;
        }
        if let Some(asker) = asker {
            self.change_client_state(asker, ClientState::ActiveCancel);
        }
    }

    /// PostgreSQL has closed a cancel connection, as it does when the request is carried out.
    pub(super) fn cancel_over(&mut self, id: ServerId, now: Instant) {
        if let Some(run) = self.servers.get_mut(id.0).and_then(|s| s.cancel.as_mut()) {
            run.over = true;
        }
        self.close_server(id, "successfully sent cancel request", now);
    }

    /// A cancel connection has ended, one way or the other.
    pub(super) fn cancel_ended(&mut self, run: &CancelRun, now: Instant) {
        if let Some(asker) = run.asker {
            let reason = if run.sent { "successfully sent cancel request" } else { "failed cancel request" };
            self.close_client(asker, reason, Departure::Expelled, now);
        }
        let Some(server) = self.servers.get_mut(run.target.0) else { return };
        server.cancels -= 1;
        // Given up before PostgreSQL has closed it: the request may yet be read, and hit whoever has the server then.
        server.close_needed |= run.sent && !run.over;
        if server.cancels == 0 && server.state == ServerState::BeingCanceled {
            self.release_server(run.target, now);
        }
    }
}

/// Does the server still run what was to be cancelled?
fn is_meant(server: &Server, epoch: u64) -> bool {
    server.epoch == epoch && !server.outstanding.is_empty() && server.task == Task::None
}
