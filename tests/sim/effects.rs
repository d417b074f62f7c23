//! What the core asks for, carried out in the world.

use poolerd::core::{Effect, Peer, Survey};

use crate::port::Port;
use crate::world::{Opened, SCRATCH, World};

/// Closing reasons that mean the core has lost count of a server that did nothing wrong.
const DEFECTS: [&str; 6] = [
    "SV_IDLE server got dirty",
    "reply out of order from server",
    "ReadyForQuery out of order from server",
    "unexpected message from server",
    "rollback failed",
    "reset query failed",
];

/// More than this is never kept for a client that does not read: what one read brought, and what we say ourselves.
const PENDING: usize = 4 * SCRATCH;
impl World {
    /// Carries out what the core asked for in the entry that was handed `chunk`.
    pub(crate) fn apply(&mut self, chunk: &[u8]) {
        let outbox = std::mem::take(&mut self.core.outbox);
        for op in &outbox.ops {
            let bytes = outbox.bytes(op, chunk);
            if let Some(record) = &mut self.record {
                record.entry(format!("{:?}", op.to)).or_default().extend_from_slice(bytes);
            }
            if let Some(port) = self.port(op.to) {
                port.pending.extend_from_slice(bytes);
                let of_client = matches!(op.to, Peer::Client(_));
                assert!(
                    !of_client || !port.stuck || port.pending.len() < PENDING,
                    "memory grows with a reply"
                );
            }
        }
        while let Some(effect) = self.core.poll() {
            match effect {
                Effect::Connect { server, .. } => {
                    self.serial += 1;
                    let at = self.serial;
                    self.trace.line(|| format!("pooler connects to server {at} ({server:?})"));
                    let opened = Opened {
                        id: server,
                        port: Port::default(),
                        server: None,
                        pool: None,
                        hung_up: false,
                    };
                    self.servers.insert(at, opened);
                }
                Effect::Pump(peer) => {
                    if let Some(port) = self.port(peer) {
                        port.pump();
                    }
                }
                Effect::Close(peer) => {
                    if let Some(port) = self.port(peer) {
                        port.closing = true;
                        port.stuck = false;
                    }
                }
                Effect::Log(line) => {
                    self.trace.line(|| {
                        let who = line.connection.as_ref().map(|c| format!("{:?} {:?}", c.side, c.address));
                        format!("log {who:?} {}", line.text)
                    });
                    if let Some(reason) = &line.reason {
                        assert!(!DEFECTS.contains(&reason.as_str()), "a server was closed: {reason}");
                    }
                }
                Effect::Derive { of, recipe } => self.derivations.push((of, recipe)),
                Effect::Survey(client) => {
                    self.core.surveyed(Survey::default());
                    if let Some(port) = self.port(Peer::Client(client)) {
                        port.pump();
                    }
                }
                Effect::Answer { .. } => self.waiting -= 1,
                Effect::Reload
                | Effect::Configured
                | Effect::Suspend
                | Effect::StopListening(_)
                | Effect::Publish(_) => {}
            }
        }
    }

    /// A thread has derived keys, or none could be had. They are done in any order.
    pub(crate) fn derive(&mut self, at: usize) {
        let fails = self.rng.chance(self.plan.faults.connect, 100) && !self.plan.peace;
        if at >= self.derivations.len() {
            return;
        }
        let (of, recipe) = self.derivations.swap_remove(at);
        self.trace.line(|| format!("keys of {of:?} are {}", if fails { "not to be had" } else { "derived" }));
        self.core.derived(of, (!fails).then(|| recipe.derive()), self.now);
        self.apply(&[]);
    }

    pub(crate) fn port(&mut self, peer: Peer) -> Option<&mut Port> {
        match peer {
            Peer::Client(id) => {
                self.clients.values_mut().find(|c| c.id == id && !c.port.closing).map(|c| &mut c.port)
            }
            Peer::Server(id) => {
                self.servers.values_mut().find(|s| s.id == id && !s.port.closing).map(|s| &mut s.port)
            }
        }
    }
}
