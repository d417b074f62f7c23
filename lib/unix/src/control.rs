//! The control socket: JSON lines in, JSON lines out, for people, scripts and the other programs.
//!
//! Owned by the worker that runs the process. This part moves lines and keeps limits; what a line says is for the
//! owner, who takes them from [`Control::next_event`], answers with [`Control::send`] and says
//! [`Control::finish`] when an answer is complete. One request of a connection is under way at a time: the next
//! line is not read before, so answers are in order and nobody can pile up requests. A subscription is an answer
//! that is never complete.
//!
//! ```text
//!           line                       finish
//!   Idle ─────────▶ Busy (owner's) ─────────────▶ Idle      input ended and nothing unsent: closed
//! ```
//! Access is decided by the permissions of the socket file; an abstract socket has none, so there only root and
//! our own user are let in. Who a peer is, is told with [`Control::credentials`].
//!
//! Invariants: no more connections than the limit; no line longer than the limit; a peer whose unread answers pass
//! the limit is dropped, never waited for; each connection that had a line ends with one [`Event::Gone`].

mod client;
mod desk;

use std::collections::VecDeque;
use std::io;

use sluice_wire::control::{REQUEST_LEN_MAX, Reply, RequestError};
use sluice_wire::line::{Lines, Next};

use crate::buf::BufPool;
use crate::conn::{Conn, Flush, Read};
use crate::listener::{Accepted, Listener};
use crate::poller::{Poller, Readiness};
use crate::privs;
use crate::slab::{Key, Slab};
use crate::stream::{Credentials, Stream};
use crate::token::Token;

pub use client::{Answers, request};
pub use desk::{Desk, HEARTBEAT, Place};

const BUF_BYTES: usize = 8 * 1024;
const FREE_BUFS_MAX: usize = 4;

/// Bounds of a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Length of a request line.
    pub line_bytes: usize,
    /// Answers a peer may leave unread. Greater than the greatest single answer.
    pub unsent_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, line_bytes: REQUEST_LEN_MAX, unsent_bytes: 32 << 20 }
    }
}

/// What the owner has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request line, without its newline. Answer it, then [`Control::finish`].
    Line(Key, Vec<u8>),
    /// The connection is no more: forget what was meant for it.
    Gone(Key),
}

/// Outcome of [`Control::accept`].
#[derive(Debug)]
pub enum Accept {
    /// All that waited were taken; an event will tell of more.
    Done,
    /// Descriptors ran out, or the listener is broken: call again by timer.
    Retry(io::Error),
}

/// The socket and its connections.
#[derive(Debug)]
pub struct Control {
    listener: Listener,
    peers: Slab<Peer>,
    events: VecDeque<Event>,
    pool: BufPool,
    limits: Limits,
    peer_class: u8,
}

#[derive(Debug)]
struct Peer {
    conn: Conn,
    lines: Lines,
    credentials: Option<Credentials>,
    request: Request,
    input: Input,
    introduced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    None,
    /// The owner has a line of this peer and is not finished with it.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// No more requests: the peer shut its direction, or cannot be trusted any more.
    Ended,
}

impl Control {
    /// Serves the connections of `listener`; their events will have tokens of class `peer_class`.
    #[must_use]
    pub fn new(listener: Listener, peer_class: u8, limits: Limits) -> Self {
        let pool = BufPool::new(BUF_BYTES, FREE_BUFS_MAX);
        Self { listener, peers: Slab::new(), events: VecDeque::new(), pool, limits, peer_class }
    }

    /// The listener, to register and to name.
    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Takes in the connections that wait: call when the listener had an event, or by timer after
    /// [`Accept::Retry`].
    pub fn accept(&mut self, poller: &Poller) -> Accept {
        loop {
            match self.listener.accept() {
                Accepted::Stream(stream, _) => self.admit(stream, poller),
                Accepted::WouldBlock => return Accept::Done,
                Accepted::Exhausted(_, error) | Accepted::Failed(error) => return Accept::Retry(error),
            }
        }
    }

    /// Takes in an event of a connection.
    pub fn on_event(&mut self, key: Key, readiness: Readiness) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.conn.on_event(readiness);
            self.pump(key);
        }
    }

    /// The next thing the owner has to know: call until `None` after the calls above.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends whole lines to a peer. One that has left too much unread is dropped. A peer that is gone is no error:
    /// its [`Event::Gone`] is under way.
    pub fn send(&mut self, key: Key, lines: &[u8]) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let failed = peer.conn.send_bytes(&mut self.pool, lines).is_err();
        if failed || peer.conn.pending_len() > self.limits.unsent_bytes {
            self.close(key);
        }
    }

    /// The answer to the line of `key` is complete: its next line may come.
    pub fn finish(&mut self, key: Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.request = Request::None;
            self.pump(key);
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn credentials(&self, key: Key) -> Option<Credentials> {
        self.peers.get(key)?.credentials
    }

    /// Number of connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.peers.len()
    }

    fn admit(&mut self, stream: Stream, poller: &Poller) {
        let credentials = stream.peer_credentials().ok().flatten();
        if let Some(refusal) = self.refusal(credentials) {
            let mut line = Vec::new();
            Reply::error(refusal).write(&mut line);
            // A fresh socket takes a line; if not, the end of the connection says enough.
            let _ = stream.write(&line);
            return;
        }
        let peer = Peer {
            conn: Conn::new(stream),
            lines: Lines::new(self.limits.line_bytes),
            credentials,
            request: Request::None,
            input: Input::Open,
            introduced: false,
        };
        let key = self.peers.insert(peer);
        let token = Token::new(self.peer_class, key);
        let registered = self.peers.get_mut(key).map(|peer| peer.conn.register(poller, token));
        match registered {
            Some(Ok(())) => self.pump(key),
            _ => self.close(key),
        }
    }

    fn refusal(&self, credentials: Option<Credentials>) -> Option<&'static str> {
        if self.peers.len() >= self.limits.connections {
            return Some("too many control connections");
        }
        let known = credentials.is_some_and(|peer| peer.uid == 0 || peer.uid == privs::user_id());
        (self.listener.path().is_none() && !known).then_some("not allowed")
    }

    /// Moves what can be moved: unsent answers, then input up to the next line.
    fn pump(&mut self, key: Key) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Ok(flushed) = peer.conn.flush(&mut self.pool) else { return self.close(key) };
        while peer.request == Request::None {
            match peer.lines.next() {
                Next::Line(line) => {
                    let line = line.to_vec();
                    peer.request = Request::Open;
                    peer.introduced = true;
                    self.events.push_back(Event::Line(key, line));
                }
                Next::TooLong if peer.input == Input::Open => {
                    peer.input = Input::Ended;
                    let mut refusal = Vec::new();
                    Reply::error(RequestError::TooLong).write(&mut refusal);
                    return self.send_last(key, &refusal);
                }
                Next::Need if peer.input == Input::Open => match peer.fill() {
                    Filled::More => {}
                    Filled::Wait => return,
                    Filled::End => peer.input = Input::Ended,
                    Filled::Broken => return self.close(key),
                },
                Next::TooLong | Next::Need => {
                    if flushed == Flush::Done {
                        self.close(key);
                    }
                    return;
                }
            }
        }
    }

    fn send_last(&mut self, key: Key, line: &[u8]) {
        self.send(key, line);
        self.pump(key);
    }

    fn close(&mut self, key: Key) {
        if let Some(peer) = self.peers.remove(key) {
            if peer.introduced {
                self.events.push_back(Event::Gone(key));
            }
            peer.conn.close(&mut self.pool);
        }
    }
}

enum Filled {
    More,
    Wait,
    End,
    Broken,
}

impl Peer {
    fn fill(&mut self) -> Filled {
        let mut scratch = [0; 4096];
        match self.conn.read(&mut scratch) {
            Read::Data(count, _) => {
                self.lines.feed(&scratch[..count]);
                Filled::More
            }
            Read::WouldBlock => Filled::Wait,
            Read::Eof => Filled::End,
            Read::Failed(_) => Filled::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::UnixListen;
    use std::io::{BufRead, BufReader, Read as _, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;
    use tempfile::TempDir;

    const LISTENER: u8 = 1;
    const PEER: u8 = 2;
    const LIMITS: Limits = Limits { connections: 2, line_bytes: 16, unsent_bytes: 1 << 20 };

    struct Bench {
        poller: Poller,
        control: Control,
        dir: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let how = UnixListen { backlog: 0, mode: 0o660, group_id: None };
            let listener = Listener::unix(dir.path().join("sock").to_str().unwrap(), &how).unwrap();
            let poller = Poller::new().unwrap();
            poller.register_readable(&listener, Token::new(LISTENER, Key::default())).unwrap();
            Self { poller, control: Control::new(listener, PEER, LIMITS), dir }
        }

        fn connect(&self) -> UnixStream {
            UnixStream::connect(self.dir.path().join("sock")).unwrap()
        }

        /// One turn of a loop, without sleeping.
        fn turn(&mut self) -> Vec<Event> {
            self.poller.wait(Some(Instant::now())).unwrap();
            for (token, readiness) in self.poller.events() {
                match token.class() {
                    LISTENER => assert!(matches!(self.control.accept(&self.poller), Accept::Done)),
                    _ => self.control.on_event(token.key(), readiness),
                }
            }
            std::iter::from_fn(|| self.control.next_event()).collect()
        }
    }

    fn line(events: &[Event]) -> (Key, String) {
        match events {
            [Event::Line(key, line)] => (*key, String::from_utf8(line.clone()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_come_one_at_a_time_and_answers_in_order() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"one\ntwo\nthr").unwrap();
        let (key, text) = line(&bench.turn());
        assert_eq!(text, "one");
        assert_eq!(bench.turn(), []);
        bench.control.send(key, b"1\n");
        bench.control.finish(key);
        assert_eq!(line(&bench.turn()).1, "two");
        bench.control.send(key, b"2\n");
        bench.control.finish(key);
        assert_eq!(bench.turn(), []);
        client.write_all(b"ee\n").unwrap();
        assert_eq!(line(&bench.turn()).1, "three");
        let mut answers = [0; 4];
        client.read_exact(&mut answers).unwrap();
        assert_eq!(&answers, b"1\n2\n");
        assert_eq!(bench.control.credentials(key).unwrap().pid, std::process::id());
    }

    #[test]
    fn a_half_closed_client_gets_its_whole_answer() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"one\ntwo\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (key, _) = line(&bench.turn());
        let answer = vec![b'x'; 900_000];
        bench.control.send(key, &answer);
        bench.control.finish(key);
        assert_eq!(line(&bench.turn()).1, "two");
        bench.control.send(key, b"2\n");
        bench.control.finish(key);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all.len()
        });
        while bench.control.connections() > 0 {
            bench.poller.wait(None).unwrap();
            for (token, readiness) in bench.poller.events() {
                bench.control.on_event(token.key(), readiness);
            }
        }
        assert_eq!(bench.turn(), [Event::Gone(key)]);
        assert_eq!(reader.join().unwrap(), answer.len() + 2);
    }

    #[test]
    fn a_line_at_and_beyond_the_limit() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"0123456789abcdef\n").unwrap();
        let (key, text) = line(&bench.turn());
        assert_eq!(text.len(), LIMITS.line_bytes);
        bench.control.finish(key);
        client.write_all(b"0123456789abcdefg\nmore\n").unwrap();
        assert_eq!(bench.turn(), [Event::Gone(key)]);
        let mut answer = String::new();
        // Unread bytes may turn the end of a Unix stream into a reset: the line counts.
        BufReader::new(client).read_line(&mut answer).unwrap();
        assert_eq!(answer, "{\"ok\":false,\"error\":\"request longer than 16384 bytes\"}\n");
    }

    #[test]
    fn a_slow_reader_is_dropped() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"watch\n").unwrap();
        let (key, _) = line(&bench.turn());
        let chunk = vec![b'x'; 1 << 18];
        let mut sent = 0;
        while bench.control.connections() == 1 {
            bench.control.send(key, &chunk);
            sent += 1;
            assert!(sent < 100);
        }
        assert!(sent > LIMITS.unsent_bytes / chunk.len());
        assert_eq!(bench.turn(), [Event::Gone(key)]);
        assert_eq!(bench.control.pool.taken(), 0);
        bench.control.send(key, b"nobody");
        bench.control.finish(key);
        assert_eq!(bench.turn(), []);
    }

    #[test]
    fn connections_at_and_beyond_the_limit() {
        let mut bench = Bench::new();
        let _first = bench.connect();
        let second = bench.connect();
        assert_eq!(bench.turn(), []);
        assert_eq!(bench.control.connections(), 2);
        let mut third = bench.connect();
        bench.turn();
        let mut refusal = String::new();
        third.read_to_string(&mut refusal).unwrap();
        assert_eq!(refusal, "{\"ok\":false,\"error\":\"too many control connections\"}\n");
        drop(second);
        assert_eq!(bench.turn(), []);
        let _fourth = bench.connect();
        bench.turn();
        assert_eq!(bench.control.connections(), 2);
    }

    #[test]
    fn a_client_that_vanishes_in_its_request_is_told_of_once() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"watch\n").unwrap();
        let (key, _) = line(&bench.turn());
        drop(client);
        assert_eq!(bench.turn(), []);
        bench.control.send(key, b"row\n");
        assert_eq!(bench.turn(), [Event::Gone(key)]);
    }

    #[test]
    fn the_client_side_reads_to_the_end_of_an_answer() {
        let mut bench = Bench::new();
        let path = bench.dir.path().join("sock").to_str().unwrap().to_owned();
        let client = std::thread::spawn(move || {
            let answers = request(&path, b"show\n").unwrap();
            answers.map(|line| line.unwrap()).collect::<Vec<_>>()
        });
        let mut events = Vec::new();
        while events.is_empty() {
            events = bench.turn();
        }
        let (key, text) = line(&events);
        assert_eq!(text, "show");
        bench.control.send(key, b"{\"a\":1}\n{\"ok\":true}\n");
        bench.control.close(key);
        assert_eq!(client.join().unwrap(), [&b"{\"a\":1}"[..], b"{\"ok\":true}"]);
        assert!(request("/nonexistent", b"x\n").is_err());
    }
}
