//! Users who come as a Poisson process, whatever becomes of those before them. Each gives an attempt 5 s and makes up to five
//! of them, 1 s apart, or 5 s after it was told that the queue is full.
//!
//! One thread; an attempt is one connection. Users differ in their address, told by X-Forwarded-For.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sluice_check::Rng;
use sluice_unix::poller::{Poller, Readiness};
use sluice_unix::slab::{Key, Slab};
use sluice_unix::stream::{Stream, TcpOptions};
use sluice_unix::timers::Timers;
use sluice_unix::token::Token;

const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 5;
const AGAIN: Duration = Duration::from_secs(1);
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// The text that makes a client wait longer.
const FULL: &[u8] = b"Request queue is full";

/// Codes of refusals that are decided when the request comes.
const UP_FRONT: [&str; 3] = ["queue_wait", "queue_full", "rate_limited"];

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a 2xx.
    Good,
    /// The queue was full, and it was told so at once.
    RefusedUpFront,
    /// It was told so after it had waited.
    RefusedLater,
    /// It got something else, or a broken connection.
    Failed,
    /// Its time was over.
    TimedOut,
}

/// One attempt; its number is its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// When it was to begin, and when it did.
    pub(crate) due: Instant,
    pub(crate) began: Instant,
    /// `None`: it was still under way at the end of the run.
    pub(crate) ended: Option<(Instant, End)>,
}

/// What the users have done and met.
pub(crate) struct Diary {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) users: u32,
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Clone, Copy)]
struct Who {
    user: u32,
    /// 1 to [`ATTEMPTS`].
    count: u32,
}

struct Open {
    stream: Stream,
    who: Who,
    attempt: u32,
    asked: bool,
    input: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Due {
    Attempt(Who, Instant),
    Timeout(Key),
}

struct Crowd {
    to: SocketAddr,
    poller: Poller,
    open: Slab<Open>,
    timers: Timers<Due>,
    diary: Diary,
}

/// Sends users to the port; `load` has their number a second, each until so much time has passed.
pub(crate) fn run(port: u16, load: &[(Duration, f64)], seed: u64) -> Diary {
    let mut rng = Rng::new(seed);
    let start = Instant::now();
    let whole = load.last().map_or(Duration::ZERO, |(until, _)| *until);
    let diary = Diary { start, end: start + whole, users: 0, attempts: Vec::new() };
    let mut crowd = Crowd {
        to: (Ipv4Addr::LOCALHOST, port).into(),
        poller: Poller::new().unwrap(),
        open: Slab::new(),
        timers: Timers::new(),
        diary,
    };
    let mut next = start;
    loop {
        let deadline = crowd.timers.next().map_or(next, |due| due.min(next)).min(crowd.diary.end);
        let now = crowd.poller.wait(Some(deadline)).unwrap();
        if now >= crowd.diary.end {
            return crowd.diary;
        }
        let mut at = 0;
        while let Some((token, readiness)) = crowd.poller.event(at) {
            at += 1;
            crowd.on_event(token.key(), readiness);
        }
        while let Some(due) = crowd.timers.expired(now) {
            match due {
                Due::Attempt(who, due) => crowd.attempt(who, due),
                Due::Timeout(key) => crowd.finish(key, End::TimedOut),
            }
        }
        while next <= now {
            let who = Who { user: crowd.diary.users, count: 1 };
            crowd.diary.users += 1;
            crowd.attempt(who, next);
            let passed = next - start;
            let rate = load.iter().find(|(until, _)| passed < *until).map_or(1.0, |(_, rate)| *rate);
            let uniform = (rng.below(1 << 30) + 1) as f64 / f64::from(1 << 30);
            next += Duration::from_secs_f64(-uniform.ln() / rate);
        }
    }
}

impl Crowd {
    fn attempt(&mut self, who: Who, due: Instant) {
        let began = Instant::now();
        let attempt = u32::try_from(self.diary.attempts.len()).unwrap();
        self.diary.attempts.push(Attempt { due, began, ended: None });
        let stream = Stream::connect_tcp(self.to, &TcpOptions::default()).unwrap();
        let key = self.open.insert(Open { stream, who, attempt, asked: false, input: Vec::new() });
        let Some(open) = self.open.get(key) else { return };
        self.poller.register(&open.stream, Token::new(0, key)).unwrap();
        self.timers.schedule(began + TIMEOUT, Due::Timeout(key));
    }

    fn on_event(&mut self, key: Key, readiness: Readiness) {
        let Some(open) = self.open.get_mut(key) else { return };
        if readiness.writable && !open.asked {
            open.asked = true;
            let [_, a, b, c] = open.who.user.to_be_bytes();
            let text = format!(
                "GET /{} HTTP/1.1\r\nHost: bench\r\nX-Forwarded-For: 10.{a}.{b}.{c}\r\nConnection: close\r\n\r\n",
                open.attempt
            );
            if open.stream.write(text.as_bytes()).ok() != Some(text.len()) {
                return self.finish(key, End::Failed);
            }
        }
        let mut chunk = [0; 4096];
        let over = loop {
            match open.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(count) => open.input.extend_from_slice(&chunk[..count]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        match answer(&open.input) {
            Some(end) => self.finish(key, end),
            None if over => self.finish(key, End::Failed),
            None => {}
        }
    }

    fn finish(&mut self, key: Key, end: End) {
        let Some(open) = self.open.remove(key) else { return };
        let now = Instant::now();
        self.diary.attempts[open.attempt as usize].ended = Some((now, end));
        if end != End::TimedOut {
            // All is said: this spares a port its rest.
            let _ = open.stream.set_abortive();
        }
        let pause = match end {
            End::Good => return,
            End::RefusedUpFront | End::RefusedLater => AFTER_REFUSAL,
            End::Failed | End::TimedOut => AGAIN,
        };
        let Who { user, count } = open.who;
        if count < ATTEMPTS {
            let due = now + pause;
            self.timers.schedule(due, Due::Attempt(Who { user, count: count + 1 }, due));
        }
    }
}

/// What a whole answer says.
fn answer(input: &[u8]) -> Option<End> {
    let head = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&input[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.unwrap().parse().unwrap();
    let content = &input[head + 4..];
    if content.len() < length {
        return None;
    }
    let status = &input[9..12];
    if status[0] == b'2' {
        return Some(End::Good);
    }
    if !content.windows(FULL.len()).any(|bytes| bytes == FULL) {
        return Some(End::Failed);
    }
    let problem: serde_json::Value = serde_json::from_slice(content).unwrap();
    let up_front = problem["code"].as_str().is_some_and(|code| UP_FRONT.contains(&code));
    Some(if up_front { End::RefusedUpFront } else { End::RefusedLater })
}
