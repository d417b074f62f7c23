//! Shared rates: slots leased from a Redis, in the background.
//!
//! A machine, owned by the worker; [`crate::link`] moves its bytes. The limiter says which slots it wants, and is told what
//! came. The slots of a rate are the members of one sorted set, named after who took them, scored by the end of their
//! lease on the server's clock; a slot leaves the set one window after that. One script does all of it, so that
//! instances cannot interleave:
//!
//! ```text
//!  take:  remove what is returned, remove scores <= now - W, add min(wanted, N - size) members scored now + lease
//! ```
//! Used by its holder only until `lease` after *sending*, a slot is spent before its score, whatever the network does; so
//! a window of W holds no more than N uses. Clocks of instances play no part.
//!
//! ```text
//!          Up            login answered
//! waiting ────▶ greeting ──────────────▶ ready     any: Down, no answer, an answer that is none ──▶ waiting
//! ```
//! Invariant: `asked` has exactly the requests that were sent and not answered, in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_policy::backoff::Backoff;
use sluice_wire::resp::{Next, Replies, Value, write_command};

use crate::config::redis::{RedisAddress, RedisPlace};
use crate::limiter::lease::LeaseRequest;
use crate::link::{Address, Ask, Told};

/// See the module. KEYS: the set. ARGV: N, W, wanted, lease (times in ms), a prefix for names, names that are returned.
/// The server's time is rounded down to tell what has left and up for new scores.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local n, window, wanted, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for i = 6, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local taken = math.max(0, math.min(wanted, n - redis.call('ZCARD', KEYS[1])))
for i = 1, taken do redis.call('ZADD', KEYS[1], now + lease + 1, ARGV[5] .. ':' .. i) end
redis.call('PEXPIRE', KEYS[1], window + lease + 1)
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = 0
if taken == 0 and first[2] then wait = math.max(0, first[2] + window - now) end
return {taken, wait}
";

/// Waits before another attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A Redis that has not answered for so long is given up; the limiter has stopped waiting long before.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// For the link.
    Ask(Ask),
    /// For the limiter: what a request of a route has brought.
    Granted {
        /// Its name.
        route: String,
        /// The request's number.
        request: u64,
        /// Slots.
        slots: u32,
        /// Without slots: how long until there may be some.
        next_free: Duration,
    },
    /// For the limiter: all that was asked for has failed. With the reason, where it is new.
    Failed(Option<String>),
}

/// A request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    route: String,
    request: u64,
    wanted: u32,
    sent: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Waiting(Instant),
    Connecting(Instant),
    /// So many answers to the login are owed; asked since.
    Greeting(usize, Instant),
    Ready,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Redis {
    place: Option<RedisPlace>,
    prefix: String,
    /// Tells our slots from those of other instances.
    instance: String,
    state: State,
    backoff: Backoff,
    replies: Replies,
    asked: VecDeque<Asked>,
    /// Wanted while there was no connection yet.
    early: Vec<(String, LeaseRequest)>,
    is_told: bool,
    outputs: VecDeque<Output>,
}

impl Redis {
    /// `instance` is unlike that of any other instance.
    pub(crate) fn new(place: Option<RedisPlace>, prefix: String, instance: u64, now: Instant) -> Self {
        let state = if place.is_some() { State::Waiting(now) } else { State::Off };
        Self {
            place,
            prefix,
            instance: format!("{instance:016x}"),
            state,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            replies: Replies::default(),
            asked: VecDeque::new(),
            early: Vec::new(),
            is_told: false,
            outputs: VecDeque::new(),
        }
    }

    /// Another place or prefix from now on.
    pub(crate) fn set(&mut self, place: Option<RedisPlace>, prefix: String, now: Instant) {
        if place == self.place && prefix == self.prefix {
            return;
        }
        if self.state != State::Off {
            self.outputs.push_back(Output::Ask(Ask::Close));
            self.outputs.push_back(Output::Failed(None));
        }
        let (outputs, instance) = (std::mem::take(&mut self.outputs), std::mem::take(&mut self.instance));
        *self = Self { outputs, instance, ..Self::new(place, prefix, 0, now) };
    }

    /// The limiter wants slots. Without a connection it learns at once that there are none, except before the first.
    pub(crate) fn request(&mut self, route: String, request: LeaseRequest, now: Instant) {
        match self.state {
            State::Ready => self.send(route, &request, now),
            State::Connecting(_) | State::Greeting(..) => self.early.push((route, request)),
            State::Waiting(_) if !self.is_told => self.early.push((route, request)),
            State::Off | State::Waiting(_) => self.outputs.push_back(Output::Failed(None)),
        }
    }

    fn send(&mut self, route: String, request: &LeaseRequest, now: Instant) {
        let prefix = format!("{}:{}", self.instance, request.request);
        let numbers = [
            u128::from(request.events),
            request.window.as_millis(),
            u128::from(request.wanted),
            request.lease.as_millis(),
        ]
        .map(|number| number.to_string());
        let returned = request.returned.iter();
        let returned: Vec<String> =
            returned.map(|slot| format!("{}:{}:{}", self.instance, slot.request, slot.number)).collect();
        let key = format!("{}{route}", self.prefix);
        let mut words: Vec<&[u8]> = vec![b"EVAL", SCRIPT.as_bytes(), b"1", key.as_bytes()];
        words.extend(numbers.iter().map(String::as_bytes));
        words.push(prefix.as_bytes());
        words.extend(returned.iter().map(String::as_bytes));
        let mut bytes = Vec::new();
        write_command(&mut bytes, &words);
        self.outputs.push_back(Output::Ask(Ask::Send(bytes)));
        let (request, wanted) = (request.request, request.wanted);
        self.asked.push_back(Asked { route, request, wanted, sent: now });
    }

    pub(crate) fn on_told(&mut self, told: Told<'_>, now: Instant) {
        match (told, self.state) {
            (Told::Up, State::Connecting(_)) => self.greet(now),
            (Told::Input(bytes), State::Greeting(..) | State::Ready) => {
                self.replies.feed(bytes);
                self.read_replies(now);
            }
            (Told::Down(why), State::Connecting(_) | State::Greeting(..) | State::Ready) => {
                self.down(why, now);
            }
            _ => {}
        }
    }

    fn greet(&mut self, now: Instant) {
        self.replies = Replies::default();
        let (mut bytes, mut owed) = (Vec::new(), 0);
        if let Some(place) = &self.place {
            if let Some((user, password)) = &place.login {
                let user = user.iter().map(String::as_bytes);
                let words: Vec<&[u8]> =
                    [&b"AUTH"[..]].into_iter().chain(user).chain([password.as_bytes()]).collect();
                write_command(&mut bytes, &words);
                owed += 1;
            }
            if place.database > 0 {
                write_command(&mut bytes, &[b"SELECT", place.database.to_string().as_bytes()]);
                owed += 1;
            }
        }
        if owed == 0 {
            return self.ready(now);
        }
        self.outputs.push_back(Output::Ask(Ask::Send(bytes)));
        self.state = State::Greeting(owed, now);
    }

    fn ready(&mut self, now: Instant) {
        self.state = State::Ready;
        for (route, request) in std::mem::take(&mut self.early) {
            self.send(route, &request, now);
        }
    }

    fn read_replies(&mut self, now: Instant) {
        loop {
            match (self.replies.next(), self.state) {
                (Next::Need, _) => return,
                (Next::Broken, _) => return self.give_up("it does not speak RESP".to_owned(), now),
                (Next::Value(Value::Error(text)), State::Greeting(..)) => {
                    return self.give_up(format!("it refuses the login: {}", words_of(&text)), now);
                }
                (Next::Value(_), State::Greeting(1, _)) => self.ready(now),
                (Next::Value(_), State::Greeting(owed, since)) => {
                    self.state = State::Greeting(owed - 1, since);
                }
                (Next::Value(reply), _) => {
                    let Some(asked) = self.asked.pop_front() else {
                        return self.give_up("it answers what nobody asked".to_owned(), now);
                    };
                    match granted(&reply, asked.wanted) {
                        Ok((slots, next_free)) => {
                            self.backoff.succeeded();
                            self.is_told = false;
                            let Asked { route, request, .. } = asked;
                            self.outputs.push_back(Output::Granted { route, request, slots, next_free });
                        }
                        Err(why) => return self.give_up(why, now),
                    }
                }
            }
        }
    }

    fn give_up(&mut self, why: String, now: Instant) {
        self.outputs.push_back(Output::Ask(Ask::Close));
        self.down(why, now);
    }

    fn down(&mut self, why: String, now: Instant) {
        self.asked.clear();
        self.early.clear();
        self.state = State::Waiting(now + self.backoff.failed());
        let is_news = !std::mem::replace(&mut self.is_told, true);
        self.outputs.push_back(Output::Failed(is_news.then_some(why)));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        match (self.state, &self.place) {
            (State::Waiting(_), Some(place)) => {
                let address = match &place.address {
                    RedisAddress::Tcp(host, port) => Address::Tcp(host.clone(), *port),
                    RedisAddress::Unix(path) => Address::Unix(path.clone()),
                };
                self.outputs.push_back(Output::Ask(Ask::Connect(address)));
                self.state = State::Connecting(now);
            }
            (State::Off | State::Waiting(_), _) => {}
            (State::Connecting(_) | State::Greeting(..) | State::Ready, _) => {
                self.give_up("it does not answer".to_owned(), now);
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::Waiting(at) => Some(at),
            State::Connecting(since) | State::Greeting(_, since) => Some(since + SILENCE_MAX),
            State::Ready => self.asked.front().map(|asked| asked.sent + SILENCE_MAX),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// The script's answer. More than was wanted is no answer of ours.
fn granted(reply: &Value, wanted: u32) -> Result<(u32, Duration), String> {
    match reply {
        Value::Error(text) => Err(format!("it refuses: {}", words_of(text))),
        Value::Array(values) => {
            let number =
                |at: usize| values.get(at).and_then(Value::integer).and_then(|n| u64::try_from(n).ok());
            let slots =
                number(0).and_then(|slots| u32::try_from(slots).ok()).filter(|slots| *slots <= wanted);
            match (slots, number(1), values.len()) {
                (Some(slots), Some(wait_ms), 2) => Ok((slots, Duration::from_millis(wait_ms))),
                _ => Err("its answer makes no sense".to_owned()),
            }
        }
        _ => Err("its answer makes no sense".to_owned()),
    }
}

/// The first words of an error, fit for a log.
fn words_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
