//! One run: a crowd, faults, then peace, in which everybody must be served, and at last nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Client, Stage};
use crate::faults;
use crate::world::World;

/// Turns in which a peaceful world must come to rest.
const PATIENCE: usize = 200_000;

/// Time in which everybody must be served who needs nobody to make room: far more than any retry takes.
const SERVED_BY: Duration = Duration::from_secs(60);

impl World {
    /// Runs the whole plan; panics where something is not as it must be.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.plan.clients {
            self.add_client();
        }
        for _ in 0..self.plan.turns {
            faults::maybe(self);
            self.turn(true);
        }
        self.trace.line(|| "-- peace".to_owned());
        faults::end(self);
        self.finish_clients();
        self.drain();
        self.check_commits();
    }

    /// One random thing happens. Answers whether anything could.
    fn turn(&mut self, speak: bool) -> bool {
        let actions = self.actions(speak);
        if self.rng.chance(1, 50) {
            let time = Duration::from_millis(self.rng.between(1, 30) as u64);
            self.pass(time);
        }
        match self.rng.pick(&actions).copied() {
            Some(action) => self.act(action),
            None => false,
        }
    }

    /// Goes on without new requests until nothing moves any more; while the world is not content, time passes.
    fn rest(&mut self, content: fn(&mut World) -> bool) {
        let mut timers = 0;
        for _ in 0..PATIENCE {
            let actions = self.actions(false);
            let mut moved = false;
            for action in actions {
                moved |= self.act(action);
            }
            if moved {
                continue;
            }
            if timers >= 1000 || content(self) || !self.pass_to_timer(Duration::from_secs(20)) {
                return;
            }
            timers += 1;
        }
        panic!("the world does not come to rest");
    }

    /// Time passes up to the next timer, if that is near.
    fn pass_to_timer(&mut self, near: Duration) -> bool {
        let due = self.core.poll_timeout().filter(|&at| at < self.now + near);
        due.is_some_and(|at| {
            self.pass(at.saturating_duration_since(self.now));
            true
        })
    }

    fn is_served(&mut self) -> bool {
        self.clients.values_mut().filter_map(|c| c.client.as_mut()).all(Client::is_settled)
    }

    /// Everybody ends what is open and is served. Where sessions hold servers, those who are done make room.
    fn finish_clients(&mut self) {
        let mut timers = 0;
        let until = self.now + SERVED_BY;
        for _ in 0..PATIENCE {
            self.rest(|_| true);
            if self.is_served() {
                break;
            }
            if self.end_what_is_open() {
                continue;
            }
            if timers < 20 && self.pass_to_timer(Duration::from_secs(3)) {
                timers += 1;
                continue;
            }
            timers = 0;
            let mut done = self.clients.iter_mut().filter(|(_, c)| !c.ended);
            let done = done.find_map(|(&at, c)| c.client.as_mut()?.is_settled().then_some(at));
            match done {
                Some(at) => faults::leave(self, at),
                // Nobody can make room, so that the others are served is up to time alone.
                None if self.now < until && self.pass_to_timer(Duration::from_secs(3)) => {}
                None => break,
            }
        }
        for (at, accepted) in &mut self.clients {
            let Some(client) = accepted.client.as_mut() else { continue };
            assert!(client.is_settled(), "client {at} was not served: {:?}", client.stage);
        }
    }

    fn end_what_is_open(&mut self) -> bool {
        let mut ended = false;
        for (at, accepted) in &mut self.clients {
            let Some(client) = accepted.client.as_mut() else { continue };
            if client.stage == Stage::Ready && client.reference.is_quiet() && !client.is_settled() {
                let request = client.ending();
                client.say(&request);
                self.trace.line(|| format!("client {at} ends with {}", request.shown));
                accepted.up.extend_from_slice(&request.bytes);
                ended = true;
            }
        }
        ended
    }

    /// All clients leave; the servers that stay owe nothing, and in the end none stays but those of
    /// `min_pool_size`.
    fn drain(&mut self) {
        let all: Vec<usize> = self.clients.keys().copied().collect();
        for at in all {
            faults::leave(self, at);
        }
        self.rest(|world| world.clients.is_empty());
        assert_eq!(self.clients.len(), 0, "clients that left are forgotten");
        for (at, opened) in &self.servers {
            let Some(server) = &opened.server else { panic!("server {at} is still being connected") };
            assert!(server.is_logged_in(), "server {at} is still logging in");
            assert!(server.session.is_settled(), "server {at} was left in the middle of something");
            assert!(!opened.port.closing, "server {at} is still closing");
        }
        for _ in 0..1000 {
            let Some(at) = self.core.poll_timeout() else { break };
            if self.servers.is_empty() {
                break;
            }
            self.pass(at.saturating_duration_since(self.now));
            self.rest(|_| true);
        }
        let pools = self.show("POOLS").len() - 1;
        let kept = if self.plan.keeps_minimum() { pools } else { 0 };
        assert!(self.servers.len() <= kept, "idle servers are closed in the end: {}", self.servers.len());
        assert!(!self.is_anybody_waiting_at_the_console(), "every command is answered");
        let counted = ["CLIENTS", "SERVERS"].map(|what| self.show(what).len());
        assert_eq!(counted, [0, self.servers.len()], "the console shows nobody else");
    }

    /// Nothing was committed that the clients' own servers would not have committed, and nothing was lost of those who
    /// took their leave.
    fn check_commits(&mut self) {
        let gentle = self.plan.is_gentle();
        for client in std::mem::take(&mut self.past) {
            if client.cancels_asked > 0 || self.struck.contains(&client.number) {
                continue;
            }
            let number = client.number;
            let told = client.last_words.is_some();
            let should = client.into_committed();
            let did = self.committed.remove(&number).unwrap_or_default();
            let should: BTreeSet<String> = should.into_iter().collect();
            let did: BTreeSet<String> = did.into_iter().collect();
            let extra: Vec<_> = did.difference(&should).collect();
            assert!(extra.is_empty(), "client {number} did not commit {extra:?}");
            if gentle && !told && !self.vanished.contains(&number) {
                let lost: Vec<_> = should.difference(&did).collect();
                assert!(lost.is_empty(), "client {number} committed {lost:?}");
            }
        }
    }
}
