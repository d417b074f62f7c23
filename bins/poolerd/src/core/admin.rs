//! What an administrator orders: pause, resume, kill, suspend, shut down. Consoles, the control socket and signals
//! all come here.
//!
//! ```text
//!   running ⇄ paused (all, or one database)      running ⇄ suspended
//!   any ─▶ ForClients ─last client left─▶ Now
//!   any ─▶ ForServers ─last server gone─▶ Now
//! ```

use std::time::Instant;

use super::client::Departure;
use super::effect::{Effect, ListenerScope, Peer};
use super::log::{Event, Level};
use super::route::violation;
use super::server::ServerState;
use super::{ClientId, Core, DatabaseId, PoolId, ServerId, Shutdown};

impl Core {
    /// Hands no server out any more; free ones are closed now, the others when they are released.
    pub fn pause_all(&mut self, now: Instant) {
        self.paused = true;
        self.close_free_servers(None, now);
        self.check_invariants();
    }

    pub(super) fn pause_database(&mut self, id: DatabaseId, now: Instant) {
        if let Some(database) = self.databases.get_mut(id.0) {
            database.paused = true;
        }
        self.close_free_servers(Some(id), now);
    }

    /// Ends a pause, what KILL left paused, and a suspension. Answers whether there was any.
    pub fn resume_all(&mut self, now: Instant) -> bool {
        let was_suspended = std::mem::take(&mut self.suspended);
        let was_paused = std::mem::take(&mut self.paused);
        let killed: Vec<DatabaseId> = self.console.killed.drain().collect();
        let any = was_paused || was_suspended || !killed.is_empty();
        for &id in &killed {
            if let Some(database) = self.databases.get_mut(id.0) {
                database.paused = false;
            }
        }
        self.console.suspender = None;
        if any {
            self.answer_paused(None);
            self.go_on(None, now);
        }
        if was_suspended {
            let clients: Vec<Peer> =
                self.clients.iter().map(|(key, _)| Peer::Client(ClientId(key))).collect();
            let servers: Vec<Peer> =
                self.servers.iter().map(|(key, _)| Peer::Server(ServerId(key))).collect();
            self.effects.extend(servers.into_iter().chain(clients).map(Effect::Pump));
        }
        self.check_invariants();
        any
    }

    /// Answers whether the database was paused.
    pub(super) fn resume_database(&mut self, id: DatabaseId, now: Instant) -> bool {
        let Some(database) = self.databases.get_mut(id.0).filter(|d| d.paused) else { return false };
        database.paused = false;
        self.console.killed.remove(&id);
        self.answer_paused(Some(id));
        self.go_on(Some(id), now);
        true
    }

    /// Serves those that waited while nobody was served.
    fn go_on(&mut self, database: Option<DatabaseId>, now: Instant) {
        for pool in self.pools_in(database) {
            self.serve_waiters(pool, now);
            self.arm_min_pool(pool, now);
        }
    }

    fn pools_in(&self, database: Option<DatabaseId>) -> Vec<PoolId> {
        let pools = self.pools.iter().filter(|(_, pool)| database.is_none_or(|d| pool.database == d));
        pools.map(|(key, _)| PoolId(key)).collect()
    }

    fn close_free_servers(&mut self, database: Option<DatabaseId>, now: Instant) {
        for pool in self.pools_in(database) {
            for id in self.servers_of(pool) {
                let state = self.servers.get(id.0).map(|server| server.state);
                if let Some(ServerState::Idle | ServerState::Used | ServerState::Login) = state {
                    self.close_server(id, "pause mode", now);
                }
            }
        }
    }

    /// Servers of a database, or of all, that a pause waits for.
    pub(super) fn servers_left(&self, database: Option<DatabaseId>) -> u32 {
        let pools = self.pools.iter().filter(|(_, pool)| database.is_none_or(|d| pool.database == d));
        pools.map(|(_, pool)| pool.size()).sum()
    }

    /// Servers of a database, or of all, that were marked to be replaced.
    pub(super) fn tagged_left(&self, database: Option<DatabaseId>) -> usize {
        let tagged = self.servers.iter().filter(|(_, server)| server.close_needed && server.cancel.is_none());
        tagged
            .filter(|(_, server)| {
                database.is_none_or(|d| self.pools.get(server.pool.0).is_some_and(|p| p.database == d))
            })
            .count()
    }

    /// Ends every connection of a database, and lets nobody have a server of it before it is resumed.
    pub(super) fn kill_database(&mut self, id: DatabaseId, now: Instant) {
        let reason = "database removed";
        let Some(database) = self.databases.get_mut(id.0) else { return };
        database.paused = true;
        self.console.killed.insert(id);
        for pool in self.pools_in(Some(id)) {
            // Servers first: a client that has one is then told between two messages, or not at all.
            for server in self.servers_of(pool) {
                self.close_server(server, reason, now);
            }
            for client in self.clients_of(pool, |_| true) {
                self.expel(client, reason, now);
            }
        }
    }

    /// Ends the client of that number. Answers whether there is one that has logged in.
    pub(super) fn kill_client(&mut self, serial: u64, now: Instant) -> bool {
        let found = self
            .clients
            .iter()
            .find(|(_, client)| client.serial == serial && client.state != super::ClientState::Login);
        let Some(id) = found.map(|(key, _)| ClientId(key)) else { return false };
        if found.is_some_and(|(_, client)| client.login.is_some() && client.pool.is_none()) {
            // A cancel request: nothing can be said on it.
            self.close_client(id, "admin forced disconnect", Departure::Expelled, now);
        } else {
            self.expel(id, "admin forced disconnect", now);
        }
        true
    }

    /// Stops reading between messages. The shell flushes what is pending and calls [`Core::flushed`].
    pub fn suspend(&mut self) {
        self.suspended = true;
        self.effects.push_back(Effect::Suspend);
    }

    /// The shell holds no more bytes to send.
    pub fn flushed(&mut self) {
        self.answer_where(Ok(()), |_, wait| wait == super::console::Wait::Suspend);
    }

    /// The connection did not take what it was sent within `suspend_timeout`.
    pub fn flush_expired(&mut self, peer: Peer, now: Instant) {
        let reason = "suspend_timeout";
        match peer {
            Peer::Client(id) => self.close_client(id, reason, Departure::Expelled, now),
            Peer::Server(id) => self.close_server(id, reason, now),
        }
        self.check_invariants();
    }

    /// Lets nobody in any more, and ends the process when the last client has left.
    pub fn shut_down_after_clients(&mut self) {
        if self.shutdown != Shutdown::No {
            return;
        }
        self.shutdown = Shutdown::ForClients;
        self.effects.push_back(Effect::StopListening(ListenerScope::Tcp));
        self.end_shutdown();
    }

    /// Lets nobody in and hands no server out any more, and ends the process when the last server is released.
    pub fn shut_down_after_servers(&mut self, now: Instant) {
        if matches!(self.shutdown, Shutdown::ForServers | Shutdown::Now) {
            return;
        }
        self.shutdown = Shutdown::ForServers;
        self.effects.push_back(Effect::StopListening(ListenerScope::Tcp));
        for pool in self.pools_in(None) {
            self.expel_waiters(pool, &violation("server shutting down"), now);
        }
        self.close_free_servers(None, now);
        self.end_shutdown();
        self.check_invariants();
    }

    /// Ends the process.
    pub fn shut_down_now(&mut self) {
        self.shutdown = Shutdown::Now;
    }

    /// Has a shutdown come to its end?
    pub(super) fn end_shutdown(&mut self) {
        let text = match self.shutdown {
            Shutdown::ForClients if self.pools.iter().all(|(_, pool)| pool.all_clients() == 0) => {
                "client connections dropped, exiting"
            }
            Shutdown::ForServers if self.servers_left(None) == 0 => "server connections dropped, exiting",
            _ => return,
        };
        self.log_plain(Level::Log, Event::Exit, text);
        self.shutdown = Shutdown::Now;
    }
}
