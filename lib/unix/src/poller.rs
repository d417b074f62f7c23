//! The one place a worker sleeps: epoll, edge-triggered.
//!
//! Every TCP connection is registered once, for reading and writing, and never again: [`crate::conn::Conn`]
//! remembers what it was told and forgets it only when the kernel says "would block". Closing a socket ends its
//! registration, so a connection costs one `epoll_ctl` in its life.
//!
//! Invariants: the clock is read once after each wait; events stay readable until the next wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry};

use crate::token::Token;

/// Events taken from the kernel at a time: enough to spread a turn's fixed cost, few enough for fairness.
const EVENTS_PER_WAIT: usize = 512;

/// What the kernel said about a source. A hint: only the system call tells the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes, a connection or an end may be read.
    pub readable: bool,
    /// Bytes may be written, or connecting came to an end.
    pub writable: bool,
    /// The peer will send nothing after what can be read now.
    pub read_closed: bool,
    /// The socket is broken; the next call tells why.
    pub error: bool,
}

/// Sources and the events they have.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    registry: Arc<Registry>,
    events: Events,
    ready: Vec<(Token, Readiness)>,
    /// Kept here so that a ring outlives the thread that rang.
    waker: Option<Waker>,
}

impl Poller {
    /// # Errors
    /// When the kernel gives no epoll descriptor.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            registry: Arc::new(poll.registry().try_clone()?),
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            ready: Vec::with_capacity(EVENTS_PER_WAIT),
            waker: None,
        })
    }

    /// Watches `source` from now on, for reading and writing, edge-triggered. A source that is ready already has
    /// an event at the next wait.
    ///
    /// # Errors
    /// As `epoll_ctl`; a descriptor can be registered once.
    pub fn register(&self, source: &impl AsFd, token: Token) -> io::Result<()> {
        self.add(source, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches `source` for reading only: listeners, pipes, datagrams.
    ///
    /// # Errors
    /// As [`Poller::register`].
    pub fn register_readable(&self, source: &impl AsFd, token: Token) -> io::Result<()> {
        self.add(source, token, Interest::READABLE)
    }

    /// Watches `source` for reading, and for writing while the [`WriteWatch`] is told to.
    pub(crate) fn register_on_demand(&self, source: &impl AsFd, token: Token) -> io::Result<WriteWatch> {
        self.add(source, token, Interest::READABLE)?;
        Ok(WriteWatch { registry: Arc::clone(&self.registry), token, watching: false })
    }

    /// Stops watching `source`. Needed only for one that stays open.
    ///
    /// # Errors
    /// As `epoll_ctl`.
    pub fn deregister(&self, source: &impl AsFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&source.as_fd().as_raw_fd()))
    }

    /// The bell other threads ring to end the wait: an event with this token. There is one: clone it.
    ///
    /// # Errors
    /// When the kernel gives no descriptor; `AlreadyExists` at the second call.
    pub fn waker(&mut self, token: Token) -> io::Result<Waker> {
        if self.waker.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let waker = Waker(Arc::new(mio::Waker::new(self.poll.registry(), token.to_mio())?));
        self.waker = Some(waker.clone());
        Ok(waker)
    }

    /// Sleeps until there are events or `deadline` is reached (`None`: for as long as it takes; one in the past:
    /// not at all) and returns the time it is then. A signal ends the wait too, without an event.
    ///
    /// # Errors
    /// As `epoll_wait`, but for EINTR.
    pub fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Instant> {
        let timeout = deadline.map(|deadline| match deadline.checked_duration_since(Instant::now()) {
            Some(rest) => rest,
            None => Duration::ZERO,
        });
        self.ready.clear();
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => self.ready.extend(self.events.iter().map(|event| {
                let readiness = Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    read_closed: event.is_read_closed(),
                    error: event.is_error(),
                };
                (Token::from_mio(event.token()), readiness)
            })),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(Instant::now())
    }

    /// The events of the last wait.
    pub fn events(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.ready.iter().copied()
    }

    /// Event number `index` of the last wait: for an owner that cannot hold a borrow of the poller meanwhile.
    #[inline]
    #[must_use]
    pub fn event(&self, index: usize) -> Option<(Token, Readiness)> {
        self.ready.get(index).copied()
    }

    fn add(&self, source: &impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&source.as_fd().as_raw_fd()), token.to_mio(), interest)
    }
}

/// Watches one source for writing, only while somebody waits for it.
#[derive(Debug)]
pub(crate) struct WriteWatch {
    registry: Arc<Registry>,
    token: Token,
    watching: bool,
}

impl WriteWatch {
    /// An event will tell when `source` can be written to, at once if it can now.
    pub(crate) fn begin(&mut self, source: &impl AsFd) -> io::Result<()> {
        self.change(source, true)
    }

    /// No more of that.
    pub(crate) fn end(&mut self, source: &impl AsFd) -> io::Result<()> {
        self.change(source, false)
    }

    #[inline]
    fn change(&mut self, source: &impl AsFd, watching: bool) -> io::Result<()> {
        if self.watching == watching {
            return Ok(());
        }
        self.watching = watching;
        let read = Interest::READABLE;
        let interest = if watching { read | Interest::WRITABLE } else { read };
        self.registry.reregister(&mut SourceFd(&source.as_fd().as_raw_fd()), self.token.to_mio(), interest)
    }
}

/// Ends a [`Poller::wait`] from another thread. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Rings; several rings before the next wait are one event.
    ///
    /// # Errors
    /// As `write` on an eventfd.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Key;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn token(index: u32) -> Token {
        Token::new(1, Key { index, generation: 1 })
    }

    fn poll_now(poller: &mut Poller) -> Vec<(Token, Readiness)> {
        poller.wait(Some(Instant::now())).unwrap();
        poller.events().collect()
    }

    #[test]
    fn an_edge_is_told_once() {
        let mut poller = Poller::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        poller.register(&near, token(7)).unwrap();
        far.write_all(b"x").unwrap();
        let ready = Readiness { readable: true, writable: true, ..Readiness::default() };
        assert_eq!(poll_now(&mut poller), [(token(7), ready)]);
        assert_eq!(poller.event(0), Some((token(7), ready)));
        assert_eq!(poller.event(1), None);
        assert_eq!(poll_now(&mut poller), []);
        far.write_all(b"y").unwrap();
        assert_eq!(poll_now(&mut poller), [(token(7), ready)]);
    }

    #[test]
    fn a_closed_peer_is_read_closed() {
        let mut poller = Poller::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        poller.register(&near, token(1)).unwrap();
        drop(far);
        let events = poll_now(&mut poller);
        assert!(events[0].1.readable && events[0].1.read_closed);
    }

    #[test]
    fn a_reader_is_not_told_of_writing() {
        let mut poller = Poller::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        poller.register_readable(&near, token(1)).unwrap();
        assert_eq!(poll_now(&mut poller), []);
        far.write_all(b"x").unwrap();
        assert!(poll_now(&mut poller)[0].1.readable);
    }

    #[test]
    fn closing_ends_the_registration() {
        let mut poller = Poller::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        poller.register(&near, token(1)).unwrap();
        drop(near);
        assert_eq!(poll_now(&mut poller), []);
        poller.register(&far, token(2)).unwrap();
        poller.deregister(&far).unwrap();
        assert_eq!(poll_now(&mut poller), []);
    }

    #[test]
    fn a_waker_ends_an_endless_wait() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker(token(3)).unwrap();
        assert_eq!(poller.waker(token(4)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let thread = std::thread::spawn(move || {
            waker.wake().unwrap();
            waker.clone().wake().unwrap();
        });
        thread.join().unwrap();
        poller.wait(None).unwrap();
        assert_eq!(poller.event(0).map(|event| event.0), Some(token(3)));
    }

    #[test]
    fn the_wait_lasts_to_its_deadline() {
        let mut poller = Poller::new().unwrap();
        let deadline = Instant::now() + Duration::from_millis(2);
        let now = poller.wait(Some(deadline)).unwrap();
        assert!(now >= deadline);
        assert_eq!(poller.event(0), None);
    }

    #[test]
    fn a_shut_writer_leaves_its_bytes_to_read() {
        let mut poller = Poller::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        poller.register(&near, token(1)).unwrap();
        far.write_all(b"last").unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let events = poll_now(&mut poller);
        assert!(events[0].1.read_closed && events[0].1.writable);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"last");
    }
}
