//! Connections on their way out: what they are still to be sent leaves first, and what they still send is dropped.
//!
//! Closing a socket with unread input makes TCP reset the connection, and our last words are lost with it (RFC 9112
//! §9.6). So a connection that lingers is flushed, its direction is shut, and its input is read and dropped until it
//! ends, too much has come, or its time is over.
//!
//! ```text
//!   pending ──flushed──▶ shut, reading ──end, or more than `bytes`──▶ closed      any: `until` passed ──▶ closed
//! ```
//! Whoever sends fast is read on in later turns: the owner asks [`Lingering::is_busy`] before it sleeps.
//!
//! Owned by a worker, which registers nothing itself: tokens of class `class` are the lingering ones.

use std::io;
use std::time::Instant;

use crate::buf::BufPool;
use crate::conn::{Conn, Flush, Read};
use crate::poller::{Poller, Readiness};
use crate::slab::{Key, Slab};
use crate::timers::Timers;
use crate::token::Token;

/// Reads of one turn.
const READS_MAX: usize = 16;

/// Connections that linger at a time. One more is closed as soon as what fits has been sent.
pub const LINGERING_MAX: usize = 1024;

/// How long and how much a connection may linger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// It is closed then, whatever is missing.
    pub until: Instant,
    /// Input dropped; beyond it the connection is closed. `usize::MAX` for whatever comes in time.
    pub bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Lingering {
    conns: Slab<Entry>,
    timers: Timers<Key>,
    /// Those that had more input than one turn takes: no edge will come for it.
    busy: Vec<Key>,
    class: u8,
}

#[derive(Debug)]
struct Entry {
    conn: Conn,
    bytes: usize,
    shut: bool,
}

impl Lingering {
    /// Nobody yet; events of those to come have tokens of class `class`.
    #[must_use]
    pub fn new(class: u8) -> Self {
        Self { conns: Slab::new(), timers: Timers::new(), busy: Vec::new(), class }
    }

    /// Takes over a connection.
    pub fn insert(
        &mut self,
        conn: Conn,
        patience: Patience,
        poller: &Poller,
        bufs: &mut BufPool,
        scratch: &mut [u8],
    ) {
        let is_full = self.conns.len() >= LINGERING_MAX;
        let key = self.conns.insert(Entry { conn, bytes: patience.bytes, shut: false });
        if !self.go_on(key, bufs, scratch) || is_full {
            return self.remove(key, bufs);
        }
        let Some(entry) = self.conns.get_mut(key) else { return };
        if reregister(&mut entry.conn, poller, Token::new(self.class, key)).is_err() {
            return self.remove(key, bufs);
        }
        self.timers.schedule(patience.until, key);
    }

    /// Takes in an event of a connection.
    pub fn on_event(&mut self, key: Key, readiness: Readiness, bufs: &mut BufPool, scratch: &mut [u8]) {
        let Some(entry) = self.conns.get_mut(key) else { return };
        entry.conn.on_event(readiness);
        if !self.go_on(key, bufs, scratch) {
            self.remove(key, bufs);
        }
    }

    /// When to call [`Lingering::expire`].
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether somebody has input to be dropped now: [`Lingering::expire`] does it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Reads on, and closes those whose time is over.
    pub fn expire(&mut self, now: Instant, bufs: &mut BufPool, scratch: &mut [u8]) {
        for key in std::mem::take(&mut self.busy) {
            if !self.go_on(key, bufs, scratch) {
                self.remove(key, bufs);
            }
        }
        while let Some(key) = self.timers.expired(now) {
            self.remove(key, bufs);
        }
    }

    /// Connections that linger.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Whether it is worth waiting for more.
    fn go_on(&mut self, key: Key, bufs: &mut BufPool, scratch: &mut [u8]) -> bool {
        let Some(Entry { conn, bytes, shut }) = self.conns.get_mut(key) else { return false };
        match conn.flush(bufs) {
            Ok(Flush::Done) => {}
            Ok(Flush::Blocked) => return true,
            Err(_) => return false,
        }
        if !*shut {
            *shut = true;
            if conn.shutdown_write().is_err() {
                return false;
            }
        }
        for _ in 0..READS_MAX {
            match conn.read(scratch) {
                Read::Data(count, _) if count <= *bytes => *bytes -= count,
                Read::WouldBlock => return true,
                Read::Data(..) | Read::Eof | Read::Failed(_) => return false,
            }
        }
        self.busy.push(key);
        true
    }

    fn remove(&mut self, key: Key, bufs: &mut BufPool) {
        if let Some(entry) = self.conns.remove(key) {
            entry.conn.close(bufs);
        }
    }
}

fn reregister(conn: &mut Conn, poller: &Poller, token: Token) -> io::Result<()> {
    poller.deregister(conn.stream())?;
    conn.register(poller, token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    struct Bench {
        poller: Poller,
        bufs: BufPool,
        scratch: Vec<u8>,
        lingering: Lingering,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                poller: Poller::new().unwrap(),
                bufs: BufPool::new(1024, 4),
                scratch: vec![0; 4096],
                lingering: Lingering::new(6),
                now: Instant::now(),
            }
        }

        /// A connection that was answered, and its peer.
        fn linger(&mut self, bytes: usize) -> TcpStream {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (near, _) = listener.accept().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut conn = Conn::new(Stream::Tcp(near));
            conn.register(&self.poller, Token::new(1, Key::default())).unwrap();
            conn.send_bytes(&mut self.bufs, b"bye").unwrap();
            let patience = Patience { until: self.now + Duration::from_secs(5), bytes };
            self.lingering.insert(conn, patience, &self.poller, &mut self.bufs, &mut self.scratch);
            peer
        }

        fn expire(&mut self, now: Instant) {
            self.lingering.expire(now, &mut self.bufs, &mut self.scratch);
        }

        fn turn(&mut self) {
            self.poller.wait(None).unwrap();
            let events: Vec<_> = self.poller.events().filter(|(token, _)| token.class() == 6).collect();
            for (token, readiness) in events {
                self.lingering.on_event(token.key(), readiness, &mut self.bufs, &mut self.scratch);
            }
        }
    }

    #[test]
    fn the_peer_reads_everything_and_is_waited_for() {
        let mut bench = Bench::new();
        let mut peer = bench.linger(100);
        peer.write_all(&[b'x'; 100]).unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
        assert_eq!(bench.lingering.len(), 1);
        peer.shutdown(Shutdown::Write).unwrap();
        while !bench.lingering.is_empty() {
            bench.turn();
        }
    }

    #[test]
    fn too_much_input_ends_it() {
        let mut bench = Bench::new();
        let mut peer = bench.linger(100);
        peer.write_all(&[b'x'; 101]).unwrap();
        while !bench.lingering.is_empty() {
            bench.turn();
        }
    }

    #[test]
    fn whoever_sends_fast_is_read_on_to_the_end() {
        let mut bench = Bench::new();
        let mut peer = bench.linger(usize::MAX);
        let sender = std::thread::spawn(move || {
            peer.write_all(&vec![b'x'; 1 << 20]).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        while !bench.lingering.is_empty() {
            if !bench.lingering.is_busy() {
                bench.turn();
            }
            bench.expire(bench.now);
        }
        assert_eq!(sender.join().unwrap(), b"bye");
    }

    #[test]
    fn no_more_than_its_number_linger() {
        crate::privs::raise_descriptor_limit().unwrap();
        let mut bench = Bench::new();
        let peers: Vec<TcpStream> = (0..LINGERING_MAX).map(|_| bench.linger(100)).collect();
        assert_eq!(bench.lingering.len(), LINGERING_MAX);
        let mut late = bench.linger(100);
        assert_eq!(bench.lingering.len(), LINGERING_MAX);
        let mut all = Vec::new();
        late.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
        drop(peers);
        while !bench.lingering.is_empty() {
            bench.turn();
        }
    }

    #[test]
    fn time_ends_it() {
        let mut bench = Bench::new();
        let _peer = bench.linger(100);
        let until = bench.lingering.next().unwrap();
        bench.expire(until - Duration::from_millis(1));
        assert_eq!(bench.lingering.len(), 1);
        bench.expire(until);
        assert!(bench.lingering.is_empty());
    }
}
