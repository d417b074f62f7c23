//! The pressure feed: a subscription to the control socket of a poolerd.
//!
//! A machine, owned by the worker; [`crate::link`] moves its bytes. It asks to `watch`, and of the lines that come takes
//! those with `event` `pressure`; all else is passed over, and a line that is none is counted. What the pressure does is
//! the limiter's business.
//!
//! ```text
//!            Up, asks to watch
//! waiting ─────────────────────▶ watching
//!    ▲                              │ Down, too long a line, silence
//!    └──── backoff 100 ms to 5 s ◀──┘
//! ```
//! Invariants: the limiter is told of an end exactly once after it was told of reports; no line longer than
//! [`LINE_BYTES_MAX`] is held.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_policy::backoff::Backoff;
use sluice_wire::control::{Answer, Reply, Request, Row};
use sluice_wire::line::{Lines, Next};

use crate::limiter::pressure::{PoolPressure, PoolState};
use crate::link::{Address, Ask, Told};

/// Bytes of the longest line.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Waits before another attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A feed that says nothing for so long is gone: it sends a heartbeat each 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(16);

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// For the link.
    Ask(Ask),
    /// For the limiter.
    Report(PoolPressure),
    /// For the log: the feed has begun.
    Back,
    /// For the limiter and the log: the feed has ended, and why.
    Lost(String),
    /// For the log: there is still none, and why. Only the first attempt in a row tells.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No socket is configured.
    Off,
    /// No attempt before this moment.
    Waiting(Instant),
    Connecting,
    /// Since the last byte.
    Watching(Instant),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    path: Option<String>,
    state: State,
    backoff: Backoff,
    lines: Lines,
    /// Lines that were none.
    bad_lines: u64,
    /// Somebody was told that it failed.
    is_told: bool,
    outputs: VecDeque<Output>,
}

impl Feed {
    pub(crate) fn new(path: Option<String>, now: Instant) -> Self {
        let state = if path.is_some() { State::Waiting(now) } else { State::Off };
        Self {
            path,
            state,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            lines: Lines::new(LINE_BYTES_MAX),
            bad_lines: 0,
            is_told: false,
            outputs: VecDeque::new(),
        }
    }

    /// Another socket, or none, from now on.
    pub(crate) fn set_path(&mut self, path: Option<String>, now: Instant) {
        if path == self.path {
            return;
        }
        if self.state != State::Off {
            self.outputs.push_back(Output::Ask(Ask::Close));
        }
        if let State::Watching(_) = self.state {
            self.outputs.push_back(Output::Lost("another socket is configured".to_owned()));
        }
        let (outputs, bad_lines) = (std::mem::take(&mut self.outputs), self.bad_lines);
        *self = Self { outputs, bad_lines, ..Self::new(path, now) };
    }

    /// Lines that were none, since the start.
    pub(crate) fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    pub(crate) fn on_told(&mut self, told: Told<'_>, now: Instant) {
        match (told, self.state) {
            (Told::Up, State::Connecting) => {
                let mut line = Vec::new();
                Request::new("watch").write(&mut line);
                self.lines = Lines::new(LINE_BYTES_MAX);
                self.state = State::Watching(now);
                self.outputs.push_back(Output::Ask(Ask::Send(line)));
            }
            (Told::Input(bytes), State::Watching(_)) => {
                self.state = State::Watching(now);
                self.lines.feed(bytes);
                self.read_lines(now);
            }
            (Told::Down(why), State::Connecting | State::Watching(_)) => self.down(why, now),
            _ => {}
        }
    }

    fn read_lines(&mut self, now: Instant) {
        loop {
            match self.lines.next() {
                Next::Line(line) => match report(line) {
                    Line::Report(report) => {
                        self.begun();
                        self.outputs.push_back(Output::Report(report));
                    }
                    Line::Other => self.begun(),
                    Line::Bad => self.bad_lines += 1,
                    Line::Refused(why) => return self.give_up(why, now),
                },
                Next::Need => return,
                Next::TooLong => return self.give_up("it sends a line that is too long".to_owned(), now),
            }
        }
    }

    /// The other side speaks the language.
    fn begun(&mut self) {
        self.backoff.succeeded();
        if std::mem::take(&mut self.is_told) {
            self.outputs.push_back(Output::Back);
        }
    }

    fn give_up(&mut self, why: String, now: Instant) {
        self.outputs.push_back(Output::Ask(Ask::Close));
        self.down(why, now);
    }

    fn down(&mut self, why: String, now: Instant) {
        let was_watching = matches!(self.state, State::Watching(_));
        self.state = State::Waiting(now + self.backoff.failed());
        match (was_watching, std::mem::replace(&mut self.is_told, true)) {
            (true, _) => self.outputs.push_back(Output::Lost(why)),
            (false, false) => self.outputs.push_back(Output::Failed(why)),
            (false, true) => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match (self.state, &self.path) {
            (State::Waiting(at), Some(path)) if at <= now => {
                self.outputs.push_back(Output::Ask(Ask::Connect(Address::Unix(path.clone()))));
                self.state = State::Connecting;
            }
            (State::Watching(heard), _) if heard + SILENCE_MAX <= now => {
                self.give_up("it is silent".to_owned(), now);
            }
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Off | State::Connecting => None,
            State::Waiting(at) => Some(at),
            State::Watching(heard) => Some(heard + SILENCE_MAX),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// What a line is.
#[derive(Debug, PartialEq)]
enum Line {
    Report(PoolPressure),
    /// Nothing for us.
    Other,
    /// No line of this language, or one with a value of another type.
    Bad,
    /// There is no feed to be had, and why.
    Refused(String),
}

fn report(line: &[u8]) -> Line {
    match Answer::parse(line) {
        None => Line::Bad,
        Some(Answer::Reply(Reply::Error(why))) => Line::Refused(why),
        Some(Answer::Reply(Reply::Ok)) => Line::Refused("it has nothing to watch".to_owned()),
        Some(Answer::Row(row)) if row.get("event") != Some(&Value::from("pressure")) => Line::Other,
        Some(Answer::Row(row)) => pressure(&row).map_or(Line::Bad, Line::Report),
    }
}

fn pressure(row: &Row) -> Option<PoolPressure> {
    let number = |key| row.get(key).and_then(Value::as_u64);
    let ms = |key| number(key).map(Duration::from_millis);
    Some(PoolPressure {
        pool: row.get("pool")?.as_str()?.to_owned(),
        state: PoolState::from_word(row.get("state")?.as_str()?)?,
        expected_wait: ms("expected_wait_ms")?,
        retry_after: ms("retry_after_ms")?,
        suggested_concurrency: u32::try_from(number("suggested_concurrency")?).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests;
