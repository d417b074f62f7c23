//! The shell's side of one connection: what was read and not used up, what waits to be sent.

use poolerd::core::{Taken, Then};

#[derive(Debug, Default)]
pub(crate) struct Port {
    /// Read from the peer and not used up by the core.
    pub(crate) kept: Vec<u8>,
    /// The core wants to see at least this many bytes.
    need: usize,
    /// The core wants to see nothing before a Pump.
    pub(crate) blocked: bool,
    /// A Pump is due.
    pub(crate) pump: bool,
    /// Waits to be sent to the peer.
    pub(crate) pending: Vec<u8>,
    /// The peer does not read at the moment.
    pub(crate) stuck: bool,
    /// The core is done with the connection; it closes when all is sent.
    pub(crate) closing: bool,
}

impl Port {
    /// Is there something the core should look at?
    pub(crate) fn is_hungry(&self) -> bool {
        !self.closing && !self.blocked && !self.kept.is_empty() && (self.pump || self.kept.len() >= self.need)
    }

    /// The core has looked at `kept`.
    pub(crate) fn taken(&mut self, taken: Taken) {
        self.pump = false;
        self.kept.drain(..taken.consumed);
        match taken.then {
            Then::Need(bytes) => {
                assert!(bytes > 0, "a need of nothing would spin");
                assert!(bytes > self.kept.len(), "what is needed is there already");
                self.need = bytes;
            }
            Then::Blocked => self.blocked = true,
            Then::Closed => self.kept.clear(),
        }
    }

    pub(crate) fn pump(&mut self) {
        self.blocked = false;
        self.pump = true;
        self.need = 1;
    }

    /// Takes some of what is pending.
    pub(crate) fn send(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.pending.len());
        self.pending.drain(..count).collect()
    }
}
