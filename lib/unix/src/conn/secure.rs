//! A connection whose bytes are encrypted: the same face, with a [`Session`] between it and the socket.
//!
//! What waits to be sent is in the session, encrypted already. The end of the stream without TLS's own end is a failure:
//! somebody may have cut it (RFC 9112 §9.8).

use std::io;

use super::{Conn, Connect, Drained, Flush, Read, Sent};
use crate::buf::BufPool;
use crate::tls::{Session, Step, TlsError};

/// Slices are put together up to so many bytes: each record costs both sides 22 bytes and a decryption (RFC 8446 §5.1
/// allows 2^14).
const RECORD_BYTES: usize = 8 * 1024;

impl Conn {
    /// From here on the bytes of the connection are encrypted. Bytes that were put aside belong to the session; bytes that
    /// wait to be sent leave before it begins, as they are. Call [`Conn::handshake`] until it is decided, or
    /// [`Conn::finish_connect`] if connecting is.
    pub fn secure(&mut self, pool: &mut BufPool, mut session: Session) {
        if let Some(out) = self.out.take() {
            session.outgoing().append(out.as_slice());
            pool.put(out);
        }
        if let Some(input) = self.input.take() {
            session.feed(input.as_slice());
            pool.put(input);
        }
        self.tls = Some(Box::new(session));
    }

    /// Whether its bytes are encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// How the TLS handshake went: ask after each event until it is decided. A plain connection needs none.
    pub fn handshake(&mut self) -> Connect {
        loop {
            let Some(tls) = &mut self.tls else { return Connect::Done };
            match tls.step(&mut []) {
                Ok(Step::Data(_) | Step::Again) => {
                    if let Err(error) = self.flush_secure() {
                        return Connect::Failed(error);
                    }
                }
                Ok(Step::Need) if tls.is_open() => return Connect::Done,
                Ok(Step::Need) => match self.fill_secure() {
                    Ok(true) => {}
                    Ok(false) => return Connect::Pending,
                    Err(error) => return Connect::Failed(error),
                },
                Ok(Step::Closed) => return Connect::Failed(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Connect::Failed(self.broken(error)),
            }
        }
    }

    pub(super) fn read_secure(&mut self, scratch: &mut [u8]) -> Read {
        loop {
            let Some(tls) = &mut self.tls else { return Read::WouldBlock };
            match tls.step(scratch) {
                Ok(Step::Data(count)) => {
                    let more = tls.has_input() || self.readable;
                    return Read::Data(count, if more { Drained::No } else { Drained::Yes });
                }
                Ok(Step::Again) => {
                    if let Err(error) = self.flush_secure() {
                        return Read::Failed(error);
                    }
                }
                Ok(Step::Need) => match self.fill_secure() {
                    Ok(true) => {}
                    Ok(false) => return Read::WouldBlock,
                    Err(error) => return Read::Failed(error),
                },
                Ok(Step::Closed) => return Read::Eof,
                Err(error) => return Read::Failed(self.broken(error)),
            }
        }
    }

    /// Receives. False: nothing is there now.
    fn fill_secure(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        while self.readable {
            match tls.fill(&self.stream) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, drained)) => {
                    self.readable = !drained || self.hung_up;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    pub(super) fn send_secure<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<Sent> {
        self.queue_secure(slices)?;
        Ok(match self.flush_secure()? {
            Flush::Done => Sent::All,
            Flush::Blocked => Sent::Queued,
        })
    }

    pub(super) fn queue_secure<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut record = Vec::new();
        let mut slices = slices.peekable();
        while let Some(slice) = slices.next() {
            let is_last = slices.peek().is_none();
            if record.is_empty() && (is_last || slice.len() >= RECORD_BYTES) {
                tls.encrypt(slice).map_err(io::Error::other)?;
                continue;
            }
            record.extend_from_slice(slice);
            if is_last || record.len() >= RECORD_BYTES {
                tls.encrypt(&record).map_err(io::Error::other)?;
                record.clear();
            }
        }
        Ok(())
    }

    pub(super) fn flush_secure(&mut self) -> io::Result<Flush> {
        // Out of its place, so that the socket can be written to meanwhile.
        let Some(mut tls) = self.tls.take() else { return Ok(Flush::Done) };
        let flushed = self.write_out(&mut tls);
        tls.sent();
        let done = tls.outgoing_len() == 0;
        self.tls = Some(tls);
        flushed?;
        if done { self.sent().map(|_| Flush::Done) } else { Ok(Flush::Blocked) }
    }

    fn write_out(&mut self, tls: &mut Session) -> io::Result<()> {
        while self.writable && tls.outgoing_len() > 0 {
            let outgoing = tls.outgoing();
            let count = self.write(outgoing.len(), |stream| stream.write(outgoing.as_slice()))?;
            outgoing.consume(count);
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes: TLS's own end.
    pub(super) fn end_secure(&mut self) {
        if let Some(tls) = &mut self.tls {
            // Whoever cannot be told will see the connection end.
            let _ = tls.end();
            let _ = self.flush_secure();
        }
    }

    fn broken(&mut self, error: TlsError) -> io::Error {
        // The alert that tells the peer why.
        let _ = self.flush_secure();
        io::Error::other(error)
    }
}
