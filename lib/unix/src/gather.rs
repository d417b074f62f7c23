//! Sending a run of an outbox: several ranges for one connection in one system call.
//!
//! Up to a number of bytes they are copied together, which is cheaper than a vector of them; above it they leave by `writev`
//! from where they are.

use std::io::{self, IoSlice};

use crate::buf::BufPool;
use crate::conn::{Conn, Sent};
use crate::outbox::{Op, Outbox};

/// The buffer in which ranges are copied together.
#[derive(Debug)]
pub struct Gather {
    buf: Vec<u8>,
    bytes_max: usize,
}

impl Gather {
    /// Copies up to `bytes_max` bytes together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { buf: Vec::new(), bytes_max }
    }

    /// Sends a run to its connection; what cannot leave now is queued there.
    ///
    /// # Errors
    /// As [`Conn::send`].
    #[inline]
    pub fn send<E: Copy + PartialEq>(
        &mut self,
        (conn, bufs): (&mut Conn, &mut BufPool),
        run: &[Op<E>],
        outbox: &Outbox<E>,
        chunk: &[u8],
    ) -> io::Result<Sent> {
        if let [op] = run {
            return conn.send_bytes(bufs, outbox.bytes(op, chunk));
        }
        let total: usize = run.iter().map(|op| op.end - op.start).sum();
        if total <= self.bytes_max {
            self.buf.clear();
            for op in run {
                self.buf.extend_from_slice(outbox.bytes(op, chunk));
            }
            return conn.send_bytes(bufs, &self.buf);
        }
        let slices: Vec<IoSlice<'_>> = run.iter().map(|op| IoSlice::new(outbox.bytes(op, chunk))).collect();
        conn.send(bufs, &slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{Accepted, Listener, UnixListen};
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_run_arrives_whole_and_in_order_below_and_above_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let how = UnixListen { backlog: 0, mode: 0o600, group_id: None };
        let mut listener = Listener::unix(path.to_str().unwrap(), &how).unwrap();
        let mut peer = UnixStream::connect(&path).unwrap();
        let Accepted::Stream(stream, _) = listener.accept() else { panic!("nobody came") };
        let (mut conn, mut bufs) = (Conn::new(stream), BufPool::new(64, 1));
        let mut outbox = Outbox::default();
        outbox.write(1, |out| out.extend_from_slice(b"head "));
        outbox.relay(1, 0, 5);
        for bytes_max in [9, 10, 11] {
            let mut gather = Gather::new(bytes_max);
            for run in outbox.runs() {
                let sent = gather.send((&mut conn, &mut bufs), run, &outbox, b"chunk").unwrap();
                assert_eq!(sent, Sent::All);
            }
            let mut arrived = [0; 10];
            peer.read_exact(&mut arrived).unwrap();
            assert_eq!(&arrived, b"head chunk");
        }
    }
}
