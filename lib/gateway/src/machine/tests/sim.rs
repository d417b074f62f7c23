//! Seeded simulation: clients and origins that do everything peers do, on a virtual clock.
//!
//! What is held: a response's bytes reach only who asked for it, whole and in order, or the connection breaks; content of
//! requests reaches an origin unchanged; what must not be repeated arrives once; an origin's connection carries one request
//! at a time; each ticket ends once; nothing is left after a drain. `SIM_SEED=n` replays one run, `SIM_SEEDS=n` runs more.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_check::Rng;
use sluice_wire::http::body::Body;
use sluice_wire::http::chunked::Piece;
use sluice_wire::http::framing::ResponseFraming;
use sluice_wire::http::method::Method;
use sluice_wire::http::request::RequestReader;
use sluice_wire::http::response::ResponseReader;
use sluice_wire::http::{BodyLimits, HeadLimits};

use super::bench::Bench;
use super::gate::Mood;
use crate::code::Code;
use crate::effect::{ClientId, Closing, End};
use crate::machine::ConnectFailure;
use crate::origins::ConnId;

/// Runs in `cargo test`, unless asked for more.
const SEEDS: u64 = 100;
const STEPS: usize = 400;
const CLIENTS: usize = 6;

/// What number `n` is about, the same for whoever looks.
fn pattern(number: u32, salt: u32) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(number) << 8 | u64::from(salt));
    let len = match rng.below(6) {
        0 => 0,
        1 => rng.between(10_000, 50_000),
        _ => rng.between(1, 300),
    };
    (0..len).map(|at| b'a' + ((at + number as usize) % 26) as u8).collect()
}

fn upload(number: u32) -> Vec<u8> {
    pattern(number, 1)
}

fn download(number: u32) -> Vec<u8> {
    pattern(number, 2)
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u32,
    method: Method,
}

/// What a response has to hold.
struct Expected {
    number: u32,
    content: Vec<u8>,
}

struct FakeClient {
    id: ClientId,
    to_send: Vec<u8>,
    asked: std::collections::VecDeque<Asked>,
    got: Vec<u8>,
    reader: ResponseReader,
    /// The response on its way: whose, its content's reader, what came of it.
    reply: Option<(Option<Expected>, Body, Vec<u8>)>,
    over: bool,
    ended: bool,
}

struct FakeOrigin {
    id: ConnId,
    input: Vec<u8>,
    reader: RequestReader,
    request: Option<(u32, Method, Body, Vec<u8>)>,
    to_send: Vec<u8>,
    /// What happens once everything is sent.
    then: Then,
    /// Content goes back as it comes.
    echo: bool,
    failing: bool,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    End,
    Reset,
}

struct World {
    bench: Bench,
    rng: Rng,
    clients: Vec<FakeClient>,
    origins: Vec<FakeOrigin>,
    next_number: u32,
    methods: BTreeMap<u32, Method>,
    arrivals: BTreeMap<u32, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let bench = Bench::new(Mood::Pass, |settings| {
            settings.origin = vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()];
            settings.origin_conns_max = 4;
            settings.origin_idle_max = 2;
        });
        Self {
            bench,
            rng: Rng::new(seed),
            clients: Vec::new(),
            origins: Vec::new(),
            next_number: 1,
            methods: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
            self.look();
        }
        self.bench.gateway.gate_mut().mood = Mood::Pass;
        self.bench.drain();
        self.look();
        for _ in 0..400 {
            self.bench.release();
            self.bench.pass(Duration::from_secs(1));
            self.look();
        }
        assert!(
            self.bench.gateway.is_drained(),
            "{} clients, {} connections",
            self.bench.gateway.clients(),
            self.bench.gateway.conns()
        );
        assert_eq!(self.bench.gateway.gate().open(), 0, "tickets are left");
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0 if self.clients.iter().filter(|client| !client.over).count() < CLIENTS => self.connect(),
            1..=3 => self.ask(),
            4..=7 => self.send(),
            8..=10 => self.dial(),
            11..=15 => self.answer(),
            16 => {
                let time = if self.rng.chance(1, 30) { 20_000 } else { self.rng.between(0, 300) };
                self.bench.pass(Duration::from_millis(time as u64));
            }
            17 if self.rng.chance(1, 6) => self.leave(),
            18 => self.mood(),
            _ => match self.rng.below(3) {
                0 => {
                    self.bench.gateway.gate_mut().expire(Code::QueueTimeout);
                    self.bench.poke();
                }
                _ => self.bench.release(),
            },
        }
    }

    fn mood(&mut self) {
        let moods = [Mood::Pass, Mood::Pass, Mood::Delay, Mood::Refuse(Code::RateLimited)];
        let mood = self.rng.pick(&moods).cloned().unwrap_or(Mood::Pass);
        self.bench.gateway.gate_mut().mood = mood;
    }

    fn connect(&mut self) {
        let id = self.bench.connect();
        self.clients.push(FakeClient {
            id,
            to_send: Vec::new(),
            asked: std::collections::VecDeque::new(),
            got: Vec::new(),
            reader: ResponseReader::default(),
            reply: None,
            over: false,
            ended: false,
        });
    }

    fn some_client(&mut self) -> Option<usize> {
        let alive: Vec<usize> =
            (0..self.clients.len()).filter(|&at| !self.clients[at].over && !self.clients[at].ended).collect();
        self.rng.pick(&alive).copied()
    }

    /// A client makes up a request.
    fn ask(&mut self) {
        let Some(at) = self.some_client() else { return };
        if self.clients[at].asked.len() > 3 {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let methods = [Method::Get, Method::Get, Method::Head, Method::Post, Method::Put];
        let method = *self.rng.pick(&methods).unwrap();
        let (name, has_content) = match method {
            Method::Head => ("HEAD", false),
            Method::Post => ("POST", true),
            Method::Put => ("PUT", true),
            _ => ("GET", false),
        };
        let mut text = format!("{name} /{number} HTTP/1.1\r\nHost: h\r\n").into_bytes();
        if self.rng.chance(1, 12) {
            text.extend_from_slice(b"Connection: close\r\n");
        }
        let content = upload(number);
        if has_content && self.rng.chance(1, 6) {
            text.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        if !has_content {
            text.extend_from_slice(b"\r\n");
        } else if self.rng.chance(1, 2) {
            text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
            text.extend_from_slice(&content);
        } else {
            text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            chunks(&mut self.rng, &mut text, &content);
        }
        self.methods.insert(number, method);
        let client = &mut self.clients[at];
        client.to_send.extend_from_slice(&text);
        client.asked.push_back(Asked { number, method });
    }

    /// A client sends a piece of what it has to say.
    fn send(&mut self) {
        let Some(at) = self.some_client() else { return };
        let len = self.clients[at].to_send.len();
        let count = match self.rng.below(4) {
            0 => self.rng.below(8),
            1 => self.rng.below(200),
            _ => len,
        };
        let client = &mut self.clients[at];
        let piece: Vec<u8> = client.to_send.drain(..count.min(len)).collect();
        if !piece.is_empty() {
            self.bench.send(client.id, &piece);
        }
    }

    fn leave(&mut self) {
        let Some(at) = self.some_client() else { return };
        let client = &mut self.clients[at];
        let end = End::Client(client.id);
        client.ended = true;
        if self.rng.chance(1, 2) {
            self.bench.end(end);
        } else {
            client.over = true;
            self.bench.reset(end);
        }
    }

    fn dial(&mut self) {
        if self.bench.dialing.is_empty() {
            return;
        }
        if self.rng.chance(1, 10) {
            return self.bench.refuse(ConnectFailure::Refused);
        }
        let id = self.bench.accept();
        self.origins.push(FakeOrigin {
            id,
            input: Vec::new(),
            reader: RequestReader::default(),
            request: None,
            to_send: Vec::new(),
            then: Then::Nothing,
            echo: false,
            failing: false,
            over: false,
        });
    }

    /// An origin does something: sends a piece, or ends.
    fn answer(&mut self) {
        let alive: Vec<usize> = (0..self.origins.len()).filter(|&at| !self.origins[at].over).collect();
        let Some(at) = self.rng.pick(&alive).copied() else { return };
        let len = self.origins[at].to_send.len();
        let id = self.origins[at].id;
        let rare = if self.origins[at].request.is_some() { 12 } else { 60 };
        if self.origins[at].failing && self.rng.chance(3, 4) {
            return;
        }
        if self.rng.chance(1, rare) {
            // It reads no more; what it says before it ends still counts.
            self.bench.will_fail(id);
            self.origins[at].failing = true;
            if self.origins[at].then == Then::Nothing {
                self.origins[at].then = if self.rng.chance(1, 2) { Then::End } else { Then::Reset };
            }
            return;
        }
        if len == 0 {
            let (then, idle) = (self.origins[at].then, self.origins[at].request.is_none());
            let tired = idle && then == Then::Nothing && self.rng.chance(1, 10);
            let then = if tired { Then::End } else { then };
            match then {
                Then::Nothing => return,
                Then::End => self.bench.end(End::Origin(id)),
                Then::Reset => self.bench.reset(End::Origin(id)),
            }
            self.origins[at].over = true;
            return;
        }
        let count = match self.rng.below(4) {
            0 => self.rng.between(1, 8),
            1 => self.rng.between(1, 200),
            _ => len,
        };
        let piece: Vec<u8> = self.origins[at].to_send.drain(..count.min(len)).collect();
        self.bench.reply(id, &piece);
    }

    /// Everybody reads what was sent to them, and judges it.
    fn look(&mut self) {
        for at in 0..self.origins.len() {
            self.origin_reads(at);
        }
        for at in 0..self.clients.len() {
            self.client_reads(at);
        }
    }

    fn origin_reads(&mut self, at: usize) {
        let id = self.origins[at].id;
        let sent = self.bench.taken(End::Origin(id));
        let closed = self.bench.closed(End::Origin(id)).is_some();
        let origin = &mut self.origins[at];
        if closed {
            origin.over = true;
        }
        origin.input.extend_from_slice(&sent);
        loop {
            let origin = &mut self.origins[at];
            if origin.over {
                return;
            }
            if let Some((number, method, content, got)) = &mut origin.request {
                let before = got.len();
                let done = drain(content, &mut origin.input, got);
                let whole = upload(*number);
                assert!(whole.starts_with(got), "content of {number} was changed");
                if origin.echo && got.len() > before {
                    origin.to_send.extend_from_slice(format!("{:x}\r\n", got.len() - before).as_bytes());
                    origin.to_send.extend_from_slice(&got[before..]);
                    origin.to_send.extend_from_slice(b"\r\n");
                }
                if done && std::mem::take(&mut origin.echo) {
                    origin.to_send.extend_from_slice(b"0\r\n\r\n");
                    origin.request = None;
                    continue;
                }
                if done {
                    let has_content = matches!(method, Method::Post | Method::Put);
                    assert!(!has_content || *got == whole, "content of {number} was cut");
                    let (number, method) = (*number, *method);
                    origin.request = None;
                    self.plan(at, number, method);
                    continue;
                }
                return;
            }
            if origin.input.is_empty() {
                return;
            }
            let read = origin
                .reader
                .read(&origin.input, &HeadLimits::REQUEST)
                .expect("what is sent on breaks no rule");
            let Some((used, head)) = read else { return };
            origin.input.drain(..used);
            assert!(origin.to_send.is_empty(), "a request before the last one was answered");
            let number: u32 = std::str::from_utf8(&head.path()[1..]).unwrap().parse().unwrap();
            let times = self.arrivals.entry(number).or_default();
            *times += 1;
            let most = if head.method().is_idempotent() { 2 } else { 1 };
            assert!(*times <= most, "{number} came {times} times");
            assert_eq!(self.methods[&number], head.method());
            let content = Body::of_request(head.framing(), &BodyLimits::DEFAULT).unwrap();
            let early = !content.is_done() && self.rng.chance(1, 12);
            let method = head.method();
            let echo = !content.is_done() && !early && self.rng.chance(1, 4);
            self.origins[at].request = Some((number, method, content, Vec::new()));
            if echo {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nX-Number: {number}\r\nX-Echo: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                self.origins[at].to_send = head.into_bytes();
                self.origins[at].echo = true;
            }
            if early {
                self.plan(at, number, method);
            }
        }
    }

    /// What an origin will say to a request.
    fn plan(&mut self, at: usize, number: u32, method: Method) {
        if !self.origins[at].to_send.is_empty() || self.origins[at].then != Then::Nothing {
            return;
        }
        let content = download(number);
        let mut text = Vec::new();
        if self.rng.chance(1, 10) {
            text.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
        }
        let mut then = Then::Nothing;
        text.extend_from_slice(format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\n").as_bytes());
        match self.rng.below(3) {
            0 => {
                text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
                if method != Method::Head {
                    text.extend_from_slice(&content);
                }
            }
            1 => {
                text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                if method != Method::Head {
                    chunks(&mut self.rng, &mut text, &content);
                }
            }
            _ => {
                text.extend_from_slice(b"Connection: close\r\n\r\n");
                then = Then::End;
                if method != Method::Head {
                    text.extend_from_slice(&content);
                }
            }
        }
        match self.rng.below(20) {
            0 => {
                let keep = self.rng.below(text.len());
                text.truncate(keep);
                then = if self.rng.chance(1, 2) { Then::Reset } else { Then::End };
                // Content until the end has no length: a cut in good order cannot be told from its end.
                let until_close = text.windows(17).any(|line| line == b"Connection: close");
                let in_head = !text.windows(4).any(|end| end == b"\r\n\r\n");
                if until_close || in_head {
                    then = Then::Reset;
                }
            }
            1 => text = b"what is this?\r\n\r\n".to_vec(),
            2 if then == Then::Nothing => {
                text.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            }
            _ => {}
        }
        let origin = &mut self.origins[at];
        origin.to_send = text;
        origin.then = then;
    }

    fn client_reads(&mut self, at: usize) {
        let id = self.clients[at].id;
        let sent = self.bench.taken(End::Client(id));
        let closed = self.bench.closed(End::Client(id));
        let client = &mut self.clients[at];
        client.got.extend_from_slice(&sent);
        while !client.over && client.read_one() {}
        if let Some(closing) = closed.filter(|_| !client.over) {
            client.over = true;
            if let Some((expected, content, got)) = &client.reply
                && closing != Closing::Abort
            {
                assert!(content.end().is_ok(), "a response was cut and its connection closed in good order");
                assert_eq!(*got, expected.as_ref().unwrap().content);
            }
        }
    }
}

impl FakeClient {
    /// Reads a head or content. False: nothing more can be read.
    fn read_one(&mut self) -> bool {
        if let Some((expected, content, got)) = &mut self.reply {
            let done = drain(content, &mut self.got, got);
            if let Some(Expected { number, content }) = expected {
                assert!(content.starts_with(got), "content of another reached the asker of {number}");
            }
            if done {
                if let (Some(expected), Some(asked)) = (expected, self.asked.front())
                    && asked.method != Method::Head
                {
                    assert_eq!(*got, expected.content, "content was cut");
                }
                self.reply = None;
                self.asked.pop_front();
            }
            return done;
        }
        if self.got.is_empty() {
            return false;
        }
        let asked = *self.asked.front().expect("an answer nobody asked for");
        let read = self.reader.read(&self.got, asked.method, &HeadLimits::RESPONSE);
        let shown = String::from_utf8_lossy(&self.got[..self.got.len().min(200)]);
        let read = read.unwrap_or_else(|fault| panic!("{fault:?} in the answer to {asked:?}: {shown}"));
        let Some((used, head)) = read else { return false };
        self.got.drain(..used);
        if head.is_interim() {
            return true;
        }
        let number = head.fields().named(b"X-Number").next();
        let number: Option<u32> = number.map(|text| std::str::from_utf8(text).unwrap().parse().unwrap());
        match number {
            Some(number) => assert_eq!(number, asked.number, "an answer reached somebody else"),
            None => assert!(head.status() >= 400 && head.fields().named(b"Proxy-Status").next().is_some()),
        }
        if head.status() == 408 {
            // Its head was not whole: that it was one of HEAD nobody but the client knows.
            self.over = true;
            return false;
        }
        assert!(
            head.framing() != ResponseFraming::UntilClose,
            "a client of HTTP/1.1 is never left to wait for an end"
        );
        let content = Body::of_response(head.framing(), &BodyLimits::DEFAULT).unwrap();
        let echo = head.fields().named(b"X-Echo").next().is_some();
        let expected = number
            .map(|number| Expected { number, content: if echo { upload(number) } else { download(number) } });
        self.reply = Some((expected, content, Vec::new()));
        true
    }
}

/// Moves content from `input` to `got`. True: it is over.
fn drain(content: &mut Body, input: &mut Vec<u8>, got: &mut Vec<u8>) -> bool {
    let mut used = 0;
    let done = loop {
        match content.next(&input[used..]).expect("content breaks no rule") {
            Piece::Data { skip, len } => {
                got.extend_from_slice(&input[used + skip..used + skip + len]);
                used += skip + len;
            }
            Piece::Need { skip } => {
                used += skip;
                break false;
            }
            Piece::End { skip } => {
                used += skip;
                break true;
            }
        }
    };
    input.drain(..used);
    done
}

fn chunks(rng: &mut Rng, text: &mut Vec<u8>, mut content: &[u8]) {
    while !content.is_empty() {
        let (chunk, rest) = content.split_at(rng.between(1, content.len()));
        text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
        content = rest;
    }
    text.extend_from_slice(b"0\r\n\r\n");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn everybody_gets_their_own_answer_or_none() {
    if let Some(seed) = number("SIM_SEED") {
        return World::new(seed).run();
    }
    for seed in 0..number("SIM_SEEDS").unwrap_or(SEEDS) {
        let run = std::panic::AssertUnwindSafe(|| World::new(seed).run());
        assert!(std::panic::catch_unwind(run).is_ok(), "SIM_SEED={seed}");
    }
}
