//! A connection: a stream, what is known of its readiness, and the bytes that had to wait.
//!
//! Owned by a daemon's session. This is where edge-triggered readiness is settled, once: the flags are set by
//! events and cleared only by the kernel's answer to a call, so there is no interest to arm or to forget.
//!
//! ```text
//!             event readable                       event writable
//!   blocked ────────────────▶ readable   blocked ────────────────▶ writable
//!      ▲   short or no read  │               ▲    short or no write  │
//!      └─────────────────────┘               └───────────────────────┘
//! ```
//! A short read means the socket is empty and a later arrival is a new edge (epoll(7), question 9), so it saves
//! the second `recv`. Not so once the peer has hung up: its end was announced already and no edge will follow,
//! so a hung up connection stays readable until the end itself has been read.
//!
//! Invariants: `out` and `input` are `None` when empty; bytes leave in the order they were sent; while `out`
//! holds bytes nothing is written past them.

mod secure;

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use crate::buf::{Buf, BufPool};
use crate::poller::{Poller, Readiness, WriteWatch};
use crate::stream::Stream;
use crate::tls::Session;
use crate::token::Token;

/// Slices of one `writev` (IOV_MAX, writev(2)).
const SLICES_MAX: usize = 1024;

/// A stream with sticky readiness and, while it needs them, buffers.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    out: Option<Box<Buf>>,
    input: Option<Box<Buf>>,
    write_watch: Option<Box<WriteWatch>>,
    tls: Option<Box<Session>>,
    readable: bool,
    writable: bool,
    hung_up: bool,
    /// A write was told of a reset, which the kernel tells once: a read would find a mere end.
    reset: bool,
}

const _: () = assert!(size_of::<Conn>() <= 48, "ten thousand idle connections pay for each byte");

/// Outcome of [`Conn::read`].
#[derive(Debug)]
pub enum Read {
    /// That many bytes, at least one, are at the front of the scratch buffer.
    Data(usize, Drained),
    /// Nothing now; an event will tell.
    WouldBlock,
    /// The peer will send no more.
    Eof,
    /// The connection is broken.
    Failed(io::Error),
}

/// Whether more may be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// The socket is empty; an event will tell of more.
    Yes,
    /// Ask again.
    No,
}

/// Outcome of [`Conn::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All bytes are with the kernel.
    All,
    /// Some wait in the connection's buffer for [`Conn::flush`].
    Queued,
}

/// Outcome of [`Conn::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing waits any more.
    Done,
    /// The peer is slow; an event will tell.
    Blocked,
}

/// Outcome of [`Conn::finish_connect`].
#[derive(Debug)]
pub enum Connect {
    /// Not decided; an event will tell.
    Pending,
    /// Connected.
    Done,
    /// Refused, unreachable, timed out.
    Failed(io::Error),
}

impl Conn {
    /// A connection that is up. It is taken to be ready both ways until the kernel says otherwise, so the owner
    /// may read and write at once, before the first event.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            out: None,
            input: None,
            write_watch: None,
            tls: None,
            readable: true,
            writable: true,
            hung_up: false,
            reset: false,
        }
    }

    /// A connection being made: nothing is tried before [`Conn::finish_connect`] says it is done.
    #[must_use]
    pub fn connecting(stream: Stream) -> Self {
        Self { readable: false, writable: false, ..Self::new(stream) }
    }

    /// Has `poller` tell of this connection with events of `token`. Once, or again after
    /// [`Poller::deregister`].
    ///
    /// A Unix socket announces room for writing whenever its peer has read something, TCP only after a write that
    /// did not fit: for the former, writing is watched only while bytes wait, lest each answer wake us twice.
    ///
    /// # Errors
    /// As [`Poller::register`].
    pub fn register(&mut self, poller: &Poller, token: Token) -> io::Result<()> {
        if matches!(self.stream, Stream::Tcp(_)) {
            return poller.register(&self.stream, token);
        }
        let mut watch = poller.register_on_demand(&self.stream, token)?;
        if !self.writable {
            watch.begin(&self.stream)?;
        }
        self.write_watch = Some(Box::new(watch));
        Ok(())
    }

    /// Takes in what the poller said. Call for every event, whatever the owner's state.
    #[inline]
    pub fn on_event(&mut self, readiness: Readiness) {
        let hung_up = readiness.read_closed || readiness.error;
        self.hung_up |= hung_up;
        self.readable |= readiness.readable || hung_up;
        self.writable |= readiness.writable || readiness.error;
    }

    /// How connecting went, and the TLS handshake if there is one: ask after each event until it is decided. Plain
    /// bytes sent meanwhile are queued; flush them when it is done.
    pub fn finish_connect(&mut self) -> Connect {
        if !self.writable {
            return Connect::Pending;
        }
        match self.stream.take_error() {
            Ok(None) => self.handshake(),
            Ok(Some(error)) | Err(error) => Connect::Failed(error),
        }
    }

    /// Reads into `scratch`, at most one system call and none if nothing can be there. `scratch` must not be
    /// empty.
    #[inline]
    pub fn read(&mut self, scratch: &mut [u8]) -> Read {
        if self.tls.is_some() {
            return self.read_secure(scratch);
        }
        while self.readable {
            match self.stream.read(scratch) {
                Ok(0) if self.reset => return Read::Failed(io::ErrorKind::ConnectionReset.into()),
                Ok(0) => return Read::Eof,
                Ok(count) if count == scratch.len() || self.hung_up => return Read::Data(count, Drained::No),
                Ok(count) => {
                    self.readable = false;
                    return Read::Data(count, Drained::Yes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Read::Failed(error),
            }
        }
        Read::WouldBlock
    }

    /// Sends the slices in order: with one system call for every thousand if nothing waits, and what does not fit is copied to wait.
    ///
    /// # Errors
    /// The connection is broken; what happened to the bytes is unknown.
    #[inline]
    pub fn send(&mut self, pool: &mut BufPool, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        if self.tls.is_some() {
            return self.send_secure(slices.iter().map(|slice| &**slice));
        }
        if let [only] = slices {
            return self.send_bytes(pool, only);
        }
        let len = |slices: &[IoSlice<'_>]| slices.iter().map(|slice| slice.len()).sum::<usize>();
        let mut sent = 0;
        if self.out.is_none() {
            // What the call leaves for their number alone must not be taken for a full socket: no edge would follow.
            for part in slices.chunks(SLICES_MAX) {
                let count = self.write(len(part), |stream| stream.write_vectored(part))?;
                sent += count;
                if count < len(part) {
                    break;
                }
            }
        }
        if sent == len(slices) {
            return self.sent();
        }
        for slice in slices {
            let skip = sent.min(slice.len());
            sent -= skip;
            self.queue(pool, &slice[skip..]);
        }
        Ok(Sent::Queued)
    }

    /// [`Conn::send`] of one slice.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn send_bytes(&mut self, pool: &mut BufPool, bytes: &[u8]) -> io::Result<Sent> {
        if self.tls.is_some() {
            return self.send_secure(std::iter::once(bytes));
        }
        let mut sent = 0;
        if self.out.is_none() && !bytes.is_empty() {
            sent = self.write(bytes.len(), |stream| stream.write(bytes))?;
        }
        if sent == bytes.len() {
            return self.sent();
        }
        self.queue(pool, &bytes[sent..]);
        Ok(Sent::Queued)
    }

    /// Queues bytes without trying to write them: for several small ones that should leave together.
    pub fn queue(&mut self, pool: &mut BufPool, bytes: &[u8]) {
        if self.tls.is_some() {
            // A session that cannot encrypt any more fails at the flush that follows.
            let _ = self.queue_secure(std::iter::once(bytes));
        } else if !bytes.is_empty() {
            self.out.get_or_insert_with(|| pool.take()).append(bytes);
        }
    }

    /// Writes what waits, as far as the peer takes it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, pool: &mut BufPool) -> io::Result<Flush> {
        if self.tls.is_some() {
            return self.flush_secure();
        }
        let Some(mut out) = self.out.take() else { return Ok(Flush::Done) };
        while self.writable && !out.is_empty() {
            match self.write(out.len(), |stream| stream.write(out.as_slice())) {
                Ok(count) => out.consume(count),
                Err(error) => {
                    pool.put(out);
                    return Err(error);
                }
            }
        }
        if out.is_empty() {
            pool.put(out);
            return self.sent().map(|_| Flush::Done);
        }
        self.out = Some(out);
        Ok(Flush::Blocked)
    }

    /// Whether bytes wait to be written.
    #[inline]
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.out.is_some() || self.tls.as_ref().is_some_and(|tls| tls.outgoing_len() > 0)
    }

    /// Number of bytes that wait to be written.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        let encrypted = self.tls.as_ref().map_or(0, |tls| tls.outgoing_len());
        self.out.as_ref().map_or(encrypted, |out| out.len())
    }

    /// Puts bytes that were read and cannot be handled yet aside, behind those already there.
    pub fn keep_input(&mut self, pool: &mut BufPool, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.input.get_or_insert_with(|| pool.take()).append(bytes);
        }
    }

    /// Bytes put aside by [`Conn::keep_input`].
    #[inline]
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.input.as_ref().map_or(&[], |input| input.as_slice())
    }

    /// Drops the first `count` bytes put aside: they were handled.
    pub fn consume_input(&mut self, pool: &mut BufPool, count: usize) {
        if let Some(input) = &mut self.input {
            input.consume(count);
            if input.is_empty() {
                self.input.take().into_iter().for_each(|input| pool.put(input));
            }
        }
    }

    /// Moves bytes put aside to the front of `scratch`, as many as fit, and tells how many. Reading then goes on
    /// behind them, so a message never has to be put together from two places.
    #[inline]
    pub fn take_input(&mut self, pool: &mut BufPool, scratch: &mut [u8]) -> usize {
        if self.input.is_none() {
            return 0;
        }
        let count = self.input().len().min(scratch.len());
        scratch[..count].copy_from_slice(&self.input()[..count]);
        self.consume_input(pool, count);
        count
    }

    /// Takes all bytes put aside out of the connection, so that they can be handled while it is written to.
    #[inline]
    pub fn take_kept(&mut self) -> Option<Box<Buf>> {
        self.input.take()
    }

    /// Puts back what [`Conn::take_kept`] took, as far as it is not handled yet, in front of what was kept meanwhile.
    pub fn put_kept(&mut self, pool: &mut BufPool, mut kept: Box<Buf>) {
        if let Some(newer) = self.input.take() {
            kept.append(newer.as_slice());
            pool.put(newer);
        }
        if kept.is_empty() {
            pool.put(kept);
        } else {
            self.input = Some(kept);
        }
    }

    /// Whether a read may find something: the owner must not wait for an event before it has tried.
    #[inline]
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable || self.tls.as_ref().is_some_and(|tls| tls.has_input())
    }

    /// Whether a write may get through.
    #[inline]
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether the peer was seen to end its direction; bytes may still be there to read.
    #[inline]
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// When it is not connected any more.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        self.end_secure();
        self.stream.shutdown(Shutdown::Write)
    }

    /// The stream, for its addresses and options.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Ends the connection and gives its buffers back.
    pub fn close(mut self, pool: &mut BufPool) {
        self.end_secure();
        self.release(pool);
    }

    /// Breaks the connection: what the peer has must not look whole to it. TCP resets, and TLS does not say its own end.
    pub fn abort(self, pool: &mut BufPool) {
        // Closed all the same; the peer may then take it for an end.
        let _ = self.stream.set_abortive();
        self.release(pool);
    }

    fn release(mut self, pool: &mut BufPool) {
        self.out.take().into_iter().chain(self.input.take()).for_each(|buf| pool.put(buf));
    }

    /// One write of `total` bytes; `Ok` tells how many the kernel took, 0 if it would block.
    #[inline]
    fn write(&mut self, total: usize, call: impl Fn(&Stream) -> io::Result<usize>) -> io::Result<usize> {
        while self.writable {
            match call(&self.stream) {
                Ok(count) if count == total => return Ok(count),
                Ok(count) => return self.blocked().map(|()| count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Not so a broken pipe: then the peer's end had come before the reset.
                    self.reset |= error.kind() == io::ErrorKind::ConnectionReset;
                    return Err(error);
                }
            }
        }
        Ok(0)
    }

    #[cold]
    fn blocked(&mut self) -> io::Result<()> {
        self.writable = false;
        match &mut self.write_watch {
            Some(watch) => watch.begin(&self.stream),
            None => Ok(()),
        }
    }

    #[inline]
    fn sent(&mut self) -> io::Result<Sent> {
        if self.out.is_some() {
            return Ok(Sent::Queued);
        }
        // Nothing sent is no proof of room: a connection being made must still be told of.
        if self.writable
            && let Some(watch) = &mut self.write_watch
        {
            watch.end(&self.stream)?;
        }
        Ok(Sent::All)
    }
}

impl AsFd for Conn {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests;
