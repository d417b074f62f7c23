//! Connections on real sockets: short reads and writes, ends, resets, edges.

use super::*;
use crate::poller::Poller;
use crate::slab::Key;
use crate::stream::TcpOptions;
use crate::token::Token;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sluice_check::Rng;

/// A connection registered with a poller of its own, and a blocking peer.
struct Bench {
    poller: Poller,
    pool: BufPool,
    conn: Conn,
}

impl Bench {
    fn new(mut conn: Conn) -> Self {
        let poller = Poller::new().unwrap();
        conn.register(&poller, Token::new(1, Key::default())).unwrap();
        Self { poller, pool: BufPool::new(4096, 4), conn }
    }

    fn unix() -> (Self, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Self::new(Conn::new(Stream::Unix(near))), far)
    }

    fn tcp() -> (Self, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        (Self::new(Conn::new(Stream::Tcp(near))), far)
    }

    /// Takes in the events there are, without waiting.
    fn settle(&mut self) -> usize {
        self.poller.wait(Some(Instant::now())).unwrap();
        self.poller.events().map(|(_, readiness)| self.conn.on_event(readiness)).count()
    }

    /// Sleeps until there is an event and takes it in.
    fn sleep(&mut self) {
        self.poller.wait(None).unwrap();
        self.poller.events().for_each(|(_, readiness)| self.conn.on_event(readiness));
    }

    fn read(&mut self, scratch: &mut [u8]) -> Read {
        self.conn.read(scratch)
    }

    /// Reads to the end as an owner does: reading while it may, sleeping when it must.
    fn read_to_end(&mut self, scratch_len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut scratch = vec![0; scratch_len];
        loop {
            match self.conn.read(&mut scratch) {
                Read::Data(count, _) => all.extend_from_slice(&scratch[..count]),
                Read::WouldBlock => self.sleep(),
                Read::Eof => return all,
                Read::Failed(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_short_read_drains_and_the_next_bytes_are_an_edge() {
    let (mut bench, mut far) = Bench::tcp();
    io::Write::write_all(&mut far, b"abc").unwrap();
    bench.sleep();
    let mut scratch = [0; 8];
    assert!(matches!(bench.read(&mut scratch), Read::Data(3, Drained::Yes)));
    assert!(!bench.conn.is_readable());
    assert!(matches!(bench.read(&mut scratch), Read::WouldBlock));
    io::Write::write_all(&mut far, b"defgh").unwrap();
    bench.sleep();
    assert!(matches!(bench.read(&mut scratch), Read::Data(5, Drained::Yes)));
    assert_eq!(&scratch[..5], b"defgh");
}

#[test]
fn a_full_read_asks_for_another() {
    let (mut bench, mut far) = Bench::unix();
    io::Write::write_all(&mut far, b"abcdefgh").unwrap();
    let mut scratch = [0; 4];
    assert!(matches!(bench.read(&mut scratch), Read::Data(4, Drained::No)));
    assert!(matches!(bench.read(&mut scratch), Read::Data(4, Drained::No)));
    assert!(matches!(bench.read(&mut scratch), Read::WouldBlock));
    assert!(!bench.conn.is_readable());
}

#[test]
fn the_end_behind_a_short_read_is_found_without_an_edge() {
    let (mut bench, mut far) = Bench::unix();
    io::Write::write_all(&mut far, b"abc").unwrap();
    drop(far);
    bench.sleep();
    let mut scratch = [0; 8];
    assert!(matches!(bench.read(&mut scratch), Read::Data(3, Drained::No)));
    assert!(matches!(bench.read(&mut scratch), Read::Eof));
    assert!(matches!(bench.read(&mut scratch), Read::Eof));
}

#[test]
fn an_end_after_a_short_read_is_an_edge() {
    let (mut bench, mut far) = Bench::tcp();
    io::Write::write_all(&mut far, b"abc").unwrap();
    bench.sleep();
    let mut scratch = [0; 8];
    assert!(matches!(bench.read(&mut scratch), Read::Data(3, Drained::Yes)));
    far.shutdown(Shutdown::Write).unwrap();
    bench.sleep();
    assert!(bench.conn.is_hung_up());
    assert!(matches!(bench.read(&mut scratch), Read::Eof));
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let (mut bench, mut far) = Bench::tcp();
    io::Write::write_all(&mut far, b"last words").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.read_to_end(4), b"last words");
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"answer").unwrap(), Sent::All);
    bench.conn.shutdown_write().unwrap();
    let mut answer = Vec::new();
    io::Read::read_to_end(&mut far, &mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

#[test]
fn a_reset_is_a_failure() {
    let (mut bench, far) = Bench::tcp();
    // Unread bytes at close make the kernel send RST instead of FIN.
    bench.conn.send_bytes(&mut bench.pool, b"unread").unwrap();
    far.set_nonblocking(false).unwrap();
    far.peek(&mut [0; 1]).unwrap();
    drop(far);
    bench.conn.readable = false;
    bench.sleep();
    assert!(matches!(bench.read(&mut [0; 8]), Read::Failed(_)));
}

#[test]
fn bytes_of_any_split_and_end_arrive_whole() {
    let message: Vec<u8> = (0..=255).collect();
    for split in 0..=message.len() {
        for scratch_len in [1, 7, 64, 256, 257] {
            let (mut bench, mut far) = Bench::unix();
            io::Write::write_all(&mut far, &message[..split]).unwrap();
            let mut scratch = vec![0; scratch_len];
            let first = match bench.conn.read(&mut scratch) {
                Read::Data(count, _) => scratch[..count].to_vec(),
                _ => Vec::new(),
            };
            io::Write::write_all(&mut far, &message[split..]).unwrap();
            drop(far);
            let rest = bench.read_to_end(scratch_len);
            assert_eq!([first, rest].concat(), message, "split {split} scratch {scratch_len}");
        }
    }
}

#[test]
fn what_does_not_fit_waits_and_arrives_in_order() {
    let (mut bench, far) = Bench::unix();
    bench.conn.stream.set_send_buffer(1).unwrap();
    let message: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let slices = [IoSlice::new(&message[..3]), IoSlice::new(&[]), IoSlice::new(&message[3..90_000])];
    assert_eq!(bench.conn.send(&mut bench.pool, &slices).unwrap(), Sent::Queued);
    assert!(!bench.conn.is_writable());
    assert_eq!(bench.conn.flush(&mut bench.pool).unwrap(), Flush::Blocked);
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, &message[90_000..]).unwrap(), Sent::Queued);
    assert!(bench.conn.has_pending() && bench.conn.pending_len() > 100_000);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        io::Read::read_to_end(&mut { far }, &mut all).unwrap();
        all
    });
    while bench.conn.flush(&mut bench.pool).unwrap() == Flush::Blocked {
        bench.sleep();
    }
    assert!(!bench.conn.has_pending());
    assert_eq!(bench.pool.taken(), 0);
    drop(bench);
    assert_eq!(reader.join().unwrap(), message);
}

#[test]
fn small_sends_need_no_buffer() {
    let (mut bench, mut far) = Bench::tcp();
    let slices = [IoSlice::new(b"one "), IoSlice::new(b"two")];
    assert_eq!(bench.conn.send(&mut bench.pool, &slices).unwrap(), Sent::All);
    assert_eq!(bench.conn.send(&mut bench.pool, &[IoSlice::new(b" three")]).unwrap(), Sent::All);
    assert_eq!(bench.conn.send(&mut bench.pool, &[]).unwrap(), Sent::All);
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"").unwrap(), Sent::All);
    assert_eq!((bench.pool.taken(), bench.pool.free()), (0, 0));
    let mut got = [0; 13];
    io::Read::read_exact(&mut far, &mut got).unwrap();
    assert_eq!(&got, b"one two three");
}

#[test]
fn nothing_overtakes_queued_bytes() {
    let (mut bench, mut far) = Bench::unix();
    bench.conn.queue(&mut bench.pool, b"first ");
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"second").unwrap(), Sent::Queued);
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"").unwrap(), Sent::Queued);
    assert_eq!(bench.conn.flush(&mut bench.pool).unwrap(), Flush::Done);
    let mut got = [0; 12];
    io::Read::read_exact(&mut far, &mut got).unwrap();
    assert_eq!(&got, b"first second");
}

#[test]
fn sending_to_a_gone_peer_fails_and_gives_the_buffer_back() {
    let (mut bench, far) = Bench::unix();
    drop(far);
    assert!(bench.conn.send_bytes(&mut bench.pool, b"x").is_err());
    bench.conn.queue(&mut bench.pool, b"y");
    assert!(bench.conn.flush(&mut bench.pool).is_err());
    assert_eq!((bench.pool.taken(), bench.conn.has_pending()), (0, false));
}

#[test]
fn connecting_ends_in_done_or_failed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut bench = connecting(address);
    bench.conn.queue(&mut bench.pool, b"hello");
    assert_eq!(bench.conn.flush(&mut bench.pool).unwrap(), Flush::Blocked);
    bench.sleep();
    assert!(matches!(bench.conn.finish_connect(), Connect::Done));
    assert_eq!(bench.conn.flush(&mut bench.pool).unwrap(), Flush::Done);
    let mut got = [0; 5];
    io::Read::read_exact(&mut listener.accept().unwrap().0, &mut got).unwrap();
    assert_eq!(&got, b"hello");

    drop(listener);
    let mut bench = connecting(address);
    bench.sleep();
    let Connect::Failed(error) = bench.conn.finish_connect() else { panic!("connected") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

fn connecting(address: SocketAddr) -> Bench {
    let stream = Stream::connect_tcp(address, &TcpOptions::default()).unwrap();
    let mut conn = Conn::connecting(stream);
    assert!(matches!(conn.finish_connect(), Connect::Pending));
    Bench::new(conn)
}

#[test]
fn input_put_aside_comes_back_in_front() {
    let (mut bench, _far) = Bench::unix();
    let (conn, pool) = (&mut bench.conn, &mut bench.pool);
    assert_eq!(conn.take_input(pool, &mut [0; 4]), 0);
    conn.keep_input(pool, b"");
    assert_eq!(pool.taken(), 0);
    conn.keep_input(pool, b"abc");
    conn.keep_input(pool, b"def");
    let mut scratch = [0; 4];
    assert_eq!((conn.take_input(pool, &mut scratch), &scratch), (4, b"abcd"));
    assert_eq!(conn.input(), b"ef");
    conn.consume_input(pool, 1);
    assert_eq!((conn.take_input(pool, &mut scratch), scratch[0]), (1, b'f'));
    assert_eq!((conn.input().len(), pool.taken()), (0, 0));
}

#[test]
fn kept_input_is_lent_out_and_put_back_or_freed() {
    let (mut bench, _far) = Bench::unix();
    let (conn, pool) = (&mut bench.conn, &mut bench.pool);
    assert!(conn.take_kept().is_none());
    conn.keep_input(pool, b"abc");
    let mut kept = conn.take_kept().unwrap();
    assert_eq!((kept.as_slice(), conn.input().len()), (&b"abc"[..], 0));
    kept.consume(1);
    conn.keep_input(pool, b"de");
    conn.put_kept(pool, kept);
    assert_eq!((conn.input(), pool.taken()), (&b"bcde"[..], 1));
    let mut kept = conn.take_kept().unwrap();
    kept.consume(4);
    conn.put_kept(pool, kept);
    assert_eq!((conn.input().len(), pool.taken()), (0, 0));
}

#[test]
fn closing_gives_buffers_back() {
    let (mut bench, _far) = Bench::unix();
    bench.conn.queue(&mut bench.pool, b"out");
    bench.conn.keep_input(&mut bench.pool, b"in");
    assert_eq!(bench.pool.taken(), 2);
    bench.conn.close(&mut bench.pool);
    assert_eq!(bench.pool.taken(), 0);
}

#[test]
fn an_idle_connection_has_no_events() {
    let (mut bench, mut far) = Bench::tcp();
    assert_eq!(bench.settle(), 1);
    assert_eq!(bench.settle(), 0);
    bench.conn.send_bytes(&mut bench.pool, b"x").unwrap();
    io::Read::read_exact(&mut far, &mut [0; 1]).unwrap();
    assert_eq!(bench.settle(), 0, "an acknowledged write must not wake the loop");
}

#[test]
fn an_idle_unix_connection_has_no_events() {
    let (mut bench, mut far) = Bench::unix();
    assert_eq!(bench.settle(), 0);
    bench.conn.send_bytes(&mut bench.pool, b"x").unwrap();
    io::Read::read_exact(&mut far, &mut [0; 1]).unwrap();
    assert_eq!(bench.settle(), 0, "a read answer must not wake the loop");
}

#[test]
fn a_unix_connection_is_watched_for_writing_only_while_it_must_be() {
    let (mut bench, mut far) = Bench::unix();
    bench.conn.stream.set_send_buffer(1).unwrap();
    let message = vec![7; 100_000];
    for _ in 0..2 {
        assert_eq!(bench.conn.send_bytes(&mut bench.pool, &message).unwrap(), Sent::Queued);
        assert_eq!(bench.settle(), 0);
        let mut left = message.len();
        while left > 0 {
            left -= io::Read::read(&mut far, &mut vec![0; left]).unwrap();
            bench.settle();
            bench.conn.flush(&mut bench.pool).unwrap();
        }
        assert!(!bench.conn.has_pending());
        assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"x").unwrap(), Sent::All);
        io::Read::read_exact(&mut far, &mut [0; 1]).unwrap();
        assert_eq!(bench.settle(), 0);
    }
}

#[test]
fn a_unix_connection_being_made_is_told_of_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stream = Stream::connect_unix(path.to_str().unwrap()).unwrap();
    let mut bench = Bench::new(Conn::connecting(stream));
    assert!(matches!(bench.conn.finish_connect(), Connect::Pending));
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"").unwrap(), Sent::All);
    bench.sleep();
    assert!(matches!(bench.conn.finish_connect(), Connect::Done));
    assert_eq!(bench.conn.send_bytes(&mut bench.pool, b"hello").unwrap(), Sent::All);
    assert_eq!(bench.settle(), 0);
}

/// One end of a random conversation: sends `script`, and collects what comes.
struct End {
    conn: Conn,
    script: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    ended: bool,
    shut: bool,
}

impl End {
    fn new(poller: &Poller, class: u8, stream: Stream, script: Vec<u8>) -> Self {
        stream.set_send_buffer(1).unwrap();
        let mut conn = Conn::new(stream);
        conn.register(poller, Token::new(class, Key::default())).unwrap();
        Self { conn, script, sent: 0, got: Vec::new(), ended: false, shut: false }
    }

    fn is_over(&self) -> bool {
        self.ended && self.shut
    }

    /// Does one random thing that the flags say may be possible; false if there is none: only an event helps.
    fn step(&mut self, rng: &mut Rng, pool: &mut BufPool) -> bool {
        let may_read = self.conn.is_readable() && !self.ended;
        let may_flush = self.conn.has_pending() && self.conn.is_writable();
        let may_send = self.sent < self.script.len() && !self.conn.has_pending();
        let may_shut = self.sent == self.script.len() && !self.conn.has_pending() && !self.shut;
        let mut choices = Vec::new();
        choices.extend(may_read.then_some('r'));
        choices.extend(may_flush.then_some('f'));
        choices.extend(may_send.then_some('s'));
        choices.extend(may_shut.then_some('e'));
        match rng.pick(&choices) {
            None => return false,
            Some('r') => self.read(rng),
            Some('f') => drop(self.conn.flush(pool).unwrap()),
            Some('s') => self.send(rng, pool),
            Some(_) => {
                self.conn.shutdown_write().unwrap();
                self.shut = true;
            }
        }
        true
    }

    fn read(&mut self, rng: &mut Rng) {
        let mut scratch = vec![0; rng.between(1, 9000)];
        match self.conn.read(&mut scratch) {
            Read::Data(count, _) => self.got.extend_from_slice(&scratch[..count]),
            Read::WouldBlock => {}
            Read::Eof => self.ended = true,
            Read::Failed(error) => panic!("{error}"),
        }
    }

    fn send(&mut self, rng: &mut Rng, pool: &mut BufPool) {
        let rest = &self.script[self.sent..];
        let (all, cut) = (rng.between(1, rest.len().min(20_000)), rng.below(20_000));
        let (first, second) = rest[..all].split_at(cut.min(all));
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        self.conn.send(pool, &slices[..if second.is_empty() { 1 } else { 2 }]).unwrap();
        self.sent += all;
    }
}

#[test]
fn no_wake_up_is_lost_in_any_order_of_reads_and_writes() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (near, far) = if seed % 2 == 0 { Stream::pair().unwrap() } else { tcp_pair() };
        let mut poller = Poller::new().unwrap();
        let mut pool = BufPool::new(4096, 4);
        let scripts = [0, 1].map(|_| {
            let len = rng.below(150_000);
            rng.bytes(len)
        });
        let mut ends =
            [End::new(&poller, 0, near, scripts[0].clone()), End::new(&poller, 1, far, scripts[1].clone())];
        while !ends.iter().all(End::is_over) {
            let at = rng.below(2);
            let idle = !ends[at].step(&mut rng, &mut pool) && !ends[1 - at].step(&mut rng, &mut pool);
            if idle || rng.chance(1, 10) {
                let patience = if idle { Duration::from_secs(20) } else { Duration::ZERO };
                poller.wait(Some(Instant::now() + patience)).unwrap();
                assert!(!idle || poller.event(0).is_some(), "seed {seed}: a wake-up was lost");
                for (token, readiness) in poller.events() {
                    ends[usize::from(token.class())].conn.on_event(readiness);
                }
            }
        }
        assert!(ends[0].got == scripts[1] && ends[1].got == scripts[0], "seed {seed}");
        assert_eq!(pool.taken(), 0);
    }
}

fn tcp_pair() -> (Stream, Stream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (Stream::Tcp(near), Stream::Tcp(far))
}

#[test]
fn a_reset_that_a_write_met_is_no_end() {
    let (mut bench, far) = Bench::tcp();
    Stream::Tcp(far).set_abortive().unwrap();
    bench.sleep();
    assert!(bench.conn.send_bytes(&mut bench.pool, b"x").is_err());
    let mut scratch = [0; 8];
    let read = bench.read(&mut scratch);
    assert!(
        matches!(read, Read::Failed(ref error) if error.kind() == io::ErrorKind::ConnectionReset),
        "{read:?}"
    );
}

#[test]
fn an_end_before_a_reset_is_an_end() {
    let (mut bench, mut far) = Bench::tcp();
    io::Write::write_all(&mut far, b"all").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    bench.sleep();
    bench.conn.send_bytes(&mut bench.pool, b"x").unwrap();
    // It has not read that: its connection ends by a reset.
    drop(far);
    while bench.conn.send_bytes(&mut bench.pool, b"x").is_ok() {}
    let mut scratch = [0; 8];
    assert!(matches!(bench.read(&mut scratch), Read::Data(3, _)));
    assert!(matches!(bench.read(&mut scratch), Read::Eof));
}

#[test]
fn more_slices_than_one_call_takes_all_leave() {
    let (mut bench, mut far) = Bench::tcp();
    let bytes: Vec<u8> = (0..SLICES_MAX * 2 + 1).map(|at| at as u8).collect();
    for count in [SLICES_MAX, SLICES_MAX + 1, bytes.len()] {
        let slices: Vec<IoSlice<'_>> = bytes[..count].chunks(1).map(IoSlice::new).collect();
        assert_eq!(bench.conn.send(&mut bench.pool, &slices).unwrap(), Sent::All);
        let mut got = vec![0; count];
        io::Read::read_exact(&mut far, &mut got).unwrap();
        assert_eq!(got, bytes[..count]);
    }
}
