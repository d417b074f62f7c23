//! What must hold whenever an entry returns. Checked in debug builds, which the tests and the simulator are.

use super::Core;

#[cfg(not(debug_assertions))]
impl Core {
    /// Nothing in release builds.
    #[inline]
    pub fn check_invariants(&self) {}
}

#[cfg(debug_assertions)]
impl Core {
    /// Panics on the first violation.
    ///
    /// # Panics
    /// If the machine has lost count of something: a defect of ours, never of a peer.
    pub fn check_invariants(&self) {
        // A full check costs as much as there are connections; with thousands, one in a hundred entries pays it.
        if self.clients.len() + self.servers.len() > 200 && !self.serials.is_multiple_of(97) {
            return;
        }
        self.check_links();
        self.check_consoles();
        self.check_pools();
    }

    fn check_links(&self) {
        use super::client::ClientState;
        use super::server::{ServerState, Task};
        use super::{ClientId, ServerId};
        for (key, client) in self.clients.iter() {
            let id = ClientId(key);
            assert_eq!(client.link.is_some(), client.state == ClientState::Active, "{id:?} linked or not");
            if let Some(link) = client.link {
                let server = self.servers.get(link.0).map(|s| s.link);
                assert_eq!(server, Some(Some(id)), "{id:?} and its server know each other");
            }
            assert!(
                client.ticket == 0 || client.state == ClientState::Waiting,
                "{id:?} has a place in the queue although {:?}",
                client.state
            );
        }
        for (key, server) in self.servers.iter() {
            let id = ServerId(key);
            if let Some(link) = server.link {
                assert_eq!(server.state, ServerState::Active, "{id:?} is linked");
                assert!(self.clients.get(link.0).is_some_and(|c| c.link == Some(id)), "{id:?} links back");
            }
            if matches!(server.state, ServerState::Idle | ServerState::Used | ServerState::BeingCanceled) {
                assert!(server.is_clean(), "{id:?} is {:?} and owes something", server.state);
                assert_eq!(server.task, Task::None, "{id:?} is {:?} with a task", server.state);
            }
            if server.state == ServerState::Active && server.link.is_none() {
                assert!(!server.outstanding.is_empty(), "{id:?} has been left and waits for nothing");
            }
            if matches!(server.state, ServerState::Idle | ServerState::Used) {
                assert_eq!(server.cancels, 0, "{id:?} may be hit by a cancel");
            }
        }
    }

    fn check_consoles(&self) {
        use super::ClientId;
        use super::client::ClientState;
        for (key, client) in self.clients.iter() {
            let at_console = matches!(client.state, ClientState::Console | ClientState::ConsoleWait);
            let id = ClientId(key);
            assert_eq!(self.console.sessions.contains_key(&id), at_console, "{id:?} and its console session");
        }
        assert!(self.console.sessions.len() <= self.clients.len(), "a console session outlives its client");
    }

    fn check_pools(&self) {
        use super::client::{CLIENT_STATES, ClientState};
        use super::server::{SERVER_STATES, ServerState};
        use super::{PoolId, ServerId};
        for (key, pool) in self.pools.iter() {
            let id = PoolId(key);
            let mut clients = [0; CLIENT_STATES];
            for (_, client) in self.clients.iter().filter(|(_, c)| c.pool == Some(id)) {
                clients[client.state as usize] += 1;
            }
            assert_eq!(clients, pool.clients, "{id:?} counts its clients");
            let mut servers = [0; SERVER_STATES];
            for (_, server) in self.servers.iter().filter(|(_, s)| s.pool == id) {
                servers[server.state as usize] += 1;
            }
            assert_eq!(servers, pool.servers, "{id:?} counts its servers");
            let listed = |list: &std::collections::VecDeque<ServerId>, state: ServerState| {
                assert_eq!(
                    list.len(),
                    pool.server_count(state) as usize,
                    "{id:?} lists its {state:?} servers"
                );
                for server in list {
                    assert_eq!(
                        self.servers.get(server.0).map(|s| s.state),
                        Some(state),
                        "{id:?}: {server:?}"
                    );
                }
            };
            listed(&pool.idle, ServerState::Idle);
            listed(&pool.used, ServerState::Used);
            let queued = pool.waiters(self).count();
            assert_eq!(queued, pool.client_count(ClientState::Waiting) as usize, "{id:?} queues its waiters");
            let size = pool.policy.size;
            if size > 0 {
                let bound = size + pool.policy.reserve_size;
                assert!(
                    pool.size() <= bound.max(self.reloaded_size(id)),
                    "{id:?} has {} servers",
                    pool.size()
                );
            }
            if queued > 0 && self.is_runnable(id) {
                assert!(pool.idle.is_empty(), "{id:?}: somebody waits while a server is idle");
            }
        }
    }

    /// A reload may shrink a pool that is larger than it should be from then on.
    fn reloaded_size(&self, id: super::PoolId) -> u32 {
        self.pools.get(id.0).map_or(0, |p| p.largest_size)
    }
}
