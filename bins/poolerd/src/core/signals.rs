//! What signals mean, which is what PgBouncer means by them.

use std::time::Instant;

use super::{Core, Shutdown};

/// A signal that is not the shell's own business (SIGHUP is: it reads the file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl Core {
    /// A signal has come in.
    pub fn signal(&mut self, signal: Signal, now: Instant) {
        let _ = now;
        if matches!(signal, Signal::Term | Signal::Int | Signal::Quit) {
            self.shutdown = Shutdown::Now;
        }
    }
}
