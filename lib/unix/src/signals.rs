//! Signals as readable events.
//!
//! Owned by the worker that runs the process. The handlers only note which signal came and write to a pipe the
//! poller watches; what a signal means is the owner's business. SIGPIPE needs no handler: Rust's runtime ignores
//! it before `main`, and writes answer EPIPE.
//!
//! Invariants: a signal is yielded at least once after it came; several of one kind between two drains are one,
//! as the kernel itself counts them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// The signals daemons act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGTERM.
    Term,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Hup, Self::Int, Self::Quit, Self::Usr1, Self::Usr2, Self::Term];

    /// Its name in signal(7).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Term => "SIGTERM",
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::Hup => SIGHUP,
            Self::Int => SIGINT,
            Self::Quit => SIGQUIT,
            Self::Usr1 => SIGUSR1,
            Self::Usr2 => SIGUSR2,
            Self::Term => SIGTERM,
        }
    }
}

/// The process's signals, caught while this lives. Register it with [`crate::poller::Poller::register_readable`].
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Catches all of [`Signal::ALL`] from now on.
    ///
    /// # Errors
    /// When there is no descriptor left, or the kernel refuses a handler.
    pub fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let numbers = Signal::ALL.map(Signal::number);
        Ok(Self { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, numbers)? })
    }

    /// The signals that came since the last call, by number.
    pub fn drain(&mut self) -> impl Iterator<Item = Signal> {
        let numbers = self.delivery.pending();
        numbers.filter_map(|number| Signal::ALL.into_iter().find(|signal| signal.number() == number))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::Poller;
    use crate::slab::Key;
    use crate::token::Token;
    use signal_hook::low_level::raise;

    /// One test for all: signals belong to the process, and tests share it.
    #[test]
    fn each_signal_wakes_the_poller_and_is_yielded_once() {
        let mut poller = Poller::new().unwrap();
        let mut signals = Signals::new().unwrap();
        let token = Token::new(9, Key::default());
        poller.register_readable(&signals, token).unwrap();
        for signal in Signal::ALL {
            raise(signal.number()).unwrap();
            raise(signal.number()).unwrap();
            poller.wait(None).unwrap();
            assert_eq!(poller.event(0).map(|event| event.0), Some(token));
            assert_eq!(signals.drain().collect::<Vec<_>>(), [signal]);
            assert_eq!(signals.drain().count(), 0);
        }
        raise(SIGTERM).unwrap();
        raise(SIGHUP).unwrap();
        assert_eq!(signals.drain().collect::<Vec<_>>(), [Signal::Hup, Signal::Term]);
    }
}
