//! What signals mean, which is what PgBouncer means by them.

use std::time::Instant;

use super::log::{Event, Level};
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
        let shutting_down = self.shutdown != Shutdown::No;
        let text = match signal {
            Signal::Term if shutting_down => "got SIGTERM while shutting down, fast exit",
            Signal::Int if shutting_down => "got SIGINT while shutting down, fast exit",
            Signal::Term => "got SIGTERM, shutting down, waiting for all clients disconnect",
            Signal::Int => "got SIGINT, shutting down, waiting for all servers connections to be released",
            Signal::Quit => "got SIGQUIT, fast exit",
            Signal::Usr1 if self.is_paused() || self.suspended => "got SIGUSR1, but already paused/suspended",
            Signal::Usr1 => "got SIGUSR1, pausing all activity",
            Signal::Usr2 if shutting_down => "got SIGUSR2 while shutting down, ignoring",
            Signal::Usr2 if self.suspended => "got SIGUSR2, continuing from SUSPEND",
            Signal::Usr2 if self.paused => "got SIGUSR2, continuing from PAUSE",
            Signal::Usr2 => "got SIGUSR2, but not paused/suspended",
        };
        self.log_plain(Level::Log, Event::Signal, text);
        match signal {
            Signal::Term | Signal::Int if shutting_down => self.shut_down_now(),
            Signal::Term => self.shut_down_after_clients(),
            Signal::Int => self.shut_down_after_servers(now),
            Signal::Quit => self.shut_down_now(),
            Signal::Usr1 if !self.is_paused() && !self.suspended => self.pause_all(now),
            Signal::Usr2 if !shutting_down => {
                self.resume_all(now);
            }
            Signal::Usr1 | Signal::Usr2 => {}
        }
    }
}
