//! The shell of the tests: connections are byte strings, and time is what a test says it is.
//!
//! Input may be cut into pieces of any size: what the machine does not take is kept and given again with more, as a
//! shell does it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_wire::http::forwarded::{Scheme, Trust};

use super::gate::{Mood, Scripted};
use crate::config::Config;
use crate::effect::{ClientId, Closing, Effect, End, Then};
use crate::machine::{ConnectFailure, Gateway, Incoming, Seeds, TurnedAway};
use crate::origins::{ConnId, OriginId};
use crate::route::Routes;
use crate::settings::Settings;

pub(super) const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A bench whose gate lets everybody pass.
pub(super) fn bench() -> Bench {
    Bench::new(Mood::Pass, |_| {})
}

/// Runs a test with input whole, in pieces, and byte by byte.
pub(super) fn in_pieces(test: impl Fn(&mut Bench)) {
    for piece in [usize::MAX, 7, 3, 2, 1] {
        let mut bench = bench();
        bench.piece = piece;
        test(&mut bench);
        assert_eq!(bench.gateway.gate().open(), 0, "tickets are left");
    }
}

/// What is behind the head.
pub(super) fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Content and trailers of chunks.
pub(super) fn unchunk(mut text: &str) -> (String, String) {
    let mut content = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (content, rest.strip_suffix("\r\n").unwrap().to_owned());
        }
        content.push_str(&rest[..size]);
        text = rest[size..].strip_prefix("\r\n").unwrap();
    }
}

#[derive(Debug, Default)]
struct Wire {
    /// Input not taken yet.
    kept: Vec<u8>,
    blocked: bool,
    /// What was sent to it.
    sent: Vec<u8>,
    closed: Option<Closing>,
    shut: bool,
    ended: bool,
    /// The next write to it fails.
    failing: bool,
    /// A write has failed.
    deaf: bool,
    /// The machine knows that it has ended.
    told: bool,
}

pub(super) struct Bench {
    pub(super) gateway: Gateway<Scripted>,
    pub(super) now: Instant,
    clients: BTreeMap<ClientId, Wire>,
    origins: BTreeMap<ConnId, Wire>,
    /// Connections asked for and not answered.
    pub(super) dialing: VecDeque<(ConnId, OriginId)>,
    /// Texts for the log.
    pub(super) logged: Vec<String>,
    pub(super) listening: bool,
    /// Bytes fed at a time.
    pub(super) piece: usize,
}

impl Bench {
    pub(super) fn new(mood: Mood, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let config = Config::new("gate", settings, Routes::new(Vec::new())).unwrap();
        let now = Instant::now();
        let seeds =
            Seeds { epoch: (now, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)), random: 7 };
        Self {
            gateway: Gateway::new(Scripted::new(mood), Arc::new(config), seeds),
            now,
            clients: BTreeMap::new(),
            origins: BTreeMap::new(),
            dialing: VecDeque::new(),
            logged: Vec::new(),
            listening: true,
            piece: usize::MAX,
        }
    }

    /// Goes on with other settings.
    pub(super) fn reconfigure(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.gateway.config().settings.clone();
        change(&mut settings);
        let config = Config::new("gate", settings, Routes::new(Vec::new())).unwrap();
        self.gateway.reconfigure(Arc::new(config));
        self.apply(&[]);
    }

    pub(super) fn connect(&mut self) -> ClientId {
        self.connect_from("192.0.2.1", Trust::No)
    }

    pub(super) fn connect_from(&mut self, address: &str, trust: Trust) -> ClientId {
        let id = self.gateway.client_connected(incoming(address, trust), self.now).unwrap();
        self.clients.insert(id, Wire::default());
        id
    }

    /// Why a connection from there is not let in.
    pub(super) fn turned_away(&mut self, address: &str) -> Option<TurnedAway> {
        self.gateway.client_connected(incoming(address, Trust::No), self.now).err()
    }

    /// A client sends.
    pub(super) fn send(&mut self, id: ClientId, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let wire = self.clients.get_mut(&id).unwrap();
            wire.kept.extend_from_slice(piece);
            self.pump(End::Client(id));
        }
    }

    /// An origin sends.
    pub(super) fn reply(&mut self, id: ConnId, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            let wire = self.origins.get_mut(&id).unwrap();
            wire.kept.extend_from_slice(piece);
            self.pump(End::Origin(id));
        }
    }

    /// A side shuts its direction.
    pub(super) fn end(&mut self, end: End) {
        let wire = self.wire(end);
        wire.ended = true;
        if wire.blocked {
            if let End::Client(id) = end {
                self.gateway.client_hung_up(id, self.now);
            }
            return self.apply(&[]);
        }
        self.tell_end(end);
    }

    /// A side breaks its connection.
    pub(super) fn reset(&mut self, end: End) {
        match end {
            End::Client(id) => self.gateway.client_gone(id, self.now),
            End::Origin(id) => self.gateway.origin_gone(id, self.now),
        }
        self.apply(&[]);
    }

    /// The next write to an origin will fail.
    pub(super) fn will_fail(&mut self, id: ConnId) {
        self.origins.get_mut(&id).unwrap().failing = true;
    }

    /// A write to an origin has failed.
    pub(super) fn deafen(&mut self, id: ConnId) {
        self.origins.get_mut(&id).unwrap().deaf = true;
        self.gateway.origin_deaf(id, self.now);
        self.apply(&[]);
    }

    /// The next connection asked for is there.
    pub(super) fn accept(&mut self) -> ConnId {
        let (id, _) = self.dialing.pop_front().expect("a connection is asked for");
        self.origins.insert(id, Wire::default());
        self.gateway.origin_connected(id, self.now);
        self.apply(&[]);
        id
    }

    /// The next connection asked for fails.
    pub(super) fn refuse(&mut self, why: ConnectFailure) {
        let (id, _) = self.dialing.pop_front().expect("a connection is asked for");
        self.gateway.origin_failed(id, why, "no luck".to_owned(), self.now);
        self.apply(&[]);
    }

    /// Time passes, with every timer firing at its moment.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.gateway.handle_timeout(self.now);
            self.apply(&[]);
        }
        self.now = until;
    }

    /// What was sent to a side since the last look.
    pub(super) fn taken(&mut self, end: End) -> Vec<u8> {
        std::mem::take(&mut self.wire(end).sent)
    }

    /// The same as text.
    fn sent(&mut self, end: End) -> String {
        String::from_utf8(self.taken(end)).unwrap()
    }

    pub(super) fn got(&mut self, id: ClientId) -> String {
        self.sent(End::Client(id))
    }

    pub(super) fn asked(&mut self, id: ConnId) -> String {
        self.sent(End::Origin(id))
    }

    pub(super) fn closed(&mut self, end: End) -> Option<Closing> {
        self.wire(end).closed
    }

    pub(super) fn is_shut(&mut self, end: End) -> bool {
        self.wire(end).shut
    }

    pub(super) fn release(&mut self) {
        self.gateway.gate_mut().release();
        self.poke();
    }

    /// Lets the machine look at its gate.
    pub(super) fn poke(&mut self) {
        self.gateway.handle_timeout(self.now);
        self.apply(&[]);
    }

    pub(super) fn drain(&mut self) {
        self.gateway.drain(self.now);
        self.apply(&[]);
    }

    /// What the access log has since the last look.
    pub(super) fn log(&mut self) -> Vec<serde_json::Value> {
        let lines = self.gateway.take_access();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(&[b"{", line, b"}"].concat()).unwrap()).collect()
    }

    fn wire(&mut self, end: End) -> &mut Wire {
        match end {
            End::Client(id) => self.clients.get_mut(&id).unwrap(),
            End::Origin(id) => self.origins.get_mut(&id).unwrap(),
        }
    }

    fn pump(&mut self, end: End) {
        loop {
            let now = self.now;
            let wire = self.wire(end);
            if wire.blocked || wire.told || wire.closed.is_some() {
                return;
            }
            // A read finds the end before the machine is asked.
            if wire.kept.is_empty() && wire.ended {
                return self.tell_end(end);
            }
            let kept = std::mem::take(&mut wire.kept);
            let taken = match end {
                End::Client(id) => self.gateway.client_input(id, &kept, now),
                End::Origin(id) => self.gateway.origin_input(id, &kept, now),
            };
            let wire = self.wire(end);
            wire.kept = kept[taken.consumed..].to_vec();
            wire.blocked = taken.then == Then::Blocked;
            self.apply(&kept);
            let wire = self.wire(end);
            if wire.ended && !wire.blocked && wire.closed.is_none() {
                return self.tell_end(end);
            }
            if taken.consumed == 0 || self.wire(end).kept.is_empty() {
                return;
            }
        }
    }

    fn tell_end(&mut self, end: End) {
        self.wire(end).told = true;
        match end {
            End::Client(id) => self.gateway.client_ended(id, self.now),
            End::Origin(id) => self.gateway.origin_ended(id, self.now),
        }
        self.apply(&[]);
    }

    /// Sends the outbox, then does what is asked.
    fn apply(&mut self, chunk: &[u8]) {
        self.deliver(chunk);
        while let Some(effect) = self.gateway.poll() {
            match effect {
                Effect::Connect(conn, origin) => self.dialing.push_back((conn, origin)),
                Effect::Pump(end) => {
                    self.wire(end).blocked = false;
                    self.pump(end);
                }
                Effect::Shut(end) => self.wire(end).shut = true,
                Effect::Close(End::Origin(id), _) if !self.origins.contains_key(&id) => {
                    self.dialing.retain(|(dialing, _)| *dialing != id);
                }
                Effect::Close(end, closing) => {
                    assert_eq!(self.wire(end).closed.replace(closing), None, "{end:?} is closed twice");
                }
                Effect::StopListening => self.listening = false,
                Effect::Log(event) => self.logged.push(event.text),
                Effect::Publish(_) => {}
            }
            self.deliver(&[]);
        }
    }

    fn deliver(&mut self, chunk: &[u8]) {
        let mut failed = Vec::new();
        let outbox = std::mem::take(&mut self.gateway.outbox);
        for op in &outbox.ops {
            let bytes = outbox.bytes(op, chunk);
            let wire = self.wire(op.to);
            assert_eq!(wire.closed, None, "bytes for a connection that is closed");
            assert!(!wire.deaf, "bytes for a connection that takes none");
            match op.to {
                End::Origin(id) if wire.failing => failed.push(id),
                _ => wire.sent.extend_from_slice(bytes),
            }
        }
        failed.dedup();
        for id in failed {
            self.origins.get_mut(&id).unwrap().deaf = true;
            self.gateway.origin_deaf(id, self.now);
            self.deliver(&[]);
        }
    }
}

fn incoming(address: &str, trust: Trust) -> Incoming {
    let ip = address.parse().unwrap();
    let (peer, local) = (Some(SocketAddr::new(ip, 40_000)), Some(SocketAddr::new(ip, 80)));
    Incoming { peer, local, trust, scheme: Scheme::Http }
}
