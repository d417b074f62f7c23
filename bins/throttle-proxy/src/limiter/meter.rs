//! Rates: of a route, and of each key of a limit.
//!
//! Owned by the limiter. A [`Meter`] is one rate by either algorithm. [`Keyed`] holds one for each key that has been
//! seen lately: a key is forgotten as soon as its last event has left the window, and when there are too many,
//! newcomers share one meter, so that an attacker with many keys slows down newcomers and no one else.
//!
//! Invariants: `expiry` is in order of time and holds exactly the events that are counted in `live`; a key is in the
//! map exactly if it has such events.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sluice_policy::gcra::Gcra;
use sluice_policy::window::{Rate, Window};

use super::keys::Key;
use super::policy::Algorithm;

/// One rate.
#[derive(Clone, Debug)]
pub(super) enum Meter {
    Window(Window),
    Gcra(Gcra),
}

impl Meter {
    pub(super) fn new(rate: Rate, algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Window => Self::Window(Window::new(rate)),
            Algorithm::Gcra => Self::Gcra(Gcra::new(rate)),
        }
    }

    /// Another rate from now on. Another algorithm begins with an empty memory, so it is taken over at a restart only.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        match self {
            Self::Window(window) => window.set_rate(rate),
            Self::Gcra(gcra) => gcra.set_rate(rate),
        }
    }

    pub(super) fn rate(&self) -> Rate {
        match self {
            Self::Window(window) => window.rate(),
            Self::Gcra(gcra) => gcra.rate(),
        }
    }

    pub(super) fn next_free(&self, now: Instant) -> Instant {
        match self {
            Self::Window(window) => window.next_free(now),
            Self::Gcra(gcra) => gcra.next_free(now),
        }
    }

    pub(super) fn wait(&self, position: usize, now: Instant) -> Duration {
        match self {
            Self::Window(window) => window.wait(position, now),
            Self::Gcra(gcra) => gcra.wait(position, now),
        }
    }

    pub(super) fn take(&mut self, now: Instant) {
        match self {
            Self::Window(window) => window.take(now),
            Self::Gcra(gcra) => gcra.take(now),
        }
    }

    /// Takes back the event of `at`.
    pub(super) fn withdraw(&mut self, at: Instant) {
        match self {
            Self::Window(window) => window.withdraw(at),
            Self::Gcra(gcra) => gcra.withdraw(at),
        };
    }

    /// The event noted at `at` happens only now.
    pub(super) fn postpone(&mut self, at: Instant, now: Instant) {
        self.withdraw(at);
        self.take(now);
    }

    /// Events that count now; by [`Algorithm::Gcra`] not known, and shown as none.
    pub(super) fn used(&self, now: Instant) -> usize {
        match self {
            Self::Window(window) => window.live(now),
            Self::Gcra(_) => 0,
        }
    }
}

#[derive(Debug)]
struct Entry {
    meter: Meter,
    /// Events in `expiry`.
    live: u32,
}

/// One rate for each key.
#[derive(Debug)]
pub(super) struct Keyed {
    rate: Rate,
    algorithm: Algorithm,
    keys_max: usize,
    keys: HashMap<Key, Entry>,
    /// Shared by all for whom there is no room.
    overflow: Meter,
    /// Until when it is: as long as it remembers somebody, newcomers belong to it, for who it remembers is not known.
    overflow_until: Option<Instant>,
    expiry: VecDeque<(Instant, Key)>,
    /// Queued requests by key, as many as the queues hold.
    waiting: HashMap<Key, usize>,
}

impl Keyed {
    pub(super) fn new(rate: Rate, algorithm: Algorithm, keys_max: usize) -> Self {
        let overflow = Meter::new(rate, algorithm);
        Self {
            rate,
            algorithm,
            keys_max,
            keys: HashMap::new(),
            overflow,
            overflow_until: None,
            expiry: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }

    pub(super) fn set(&mut self, rate: Rate, keys_max: usize) {
        (self.rate, self.keys_max) = (rate, keys_max);
        self.overflow.set_rate(rate);
        self.keys.values_mut().for_each(|entry| entry.meter.set_rate(rate));
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Keys that are remembered.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn meter(&self, key: Key, now: Instant) -> Option<&Meter> {
        match self.keys.get(&key) {
            Some(entry) => Some(&entry.meter),
            None => self.overflows(now).then_some(&self.overflow),
        }
    }

    /// Whether newcomers share one meter.
    fn overflows(&self, now: Instant) -> bool {
        self.keys.len() >= self.keys_max || self.overflow_until.is_some_and(|until| until > now)
    }

    pub(super) fn next_free(&mut self, key: Key, now: Instant) -> Instant {
        self.forget(now);
        self.meter(key, now).map_or(now, |meter| meter.next_free(now))
    }

    /// How long a request that joins those of its key in the queue has to wait for the key's rate.
    pub(super) fn newcomer_wait(&mut self, key: Key, now: Instant) -> Duration {
        self.forget(now);
        let position = self.waiting.get(&key).map_or(1, |waiting| waiting + 1);
        match self.meter(key, now) {
            Some(meter) => meter.wait(position, now),
            None => Meter::new(self.rate, self.algorithm).wait(position, now),
        }
    }

    /// A request of the key is queued.
    pub(super) fn joined(&mut self, key: Key) {
        *self.waiting.entry(key).or_default() += 1;
    }

    /// A queued request of the key goes, or is gone.
    pub(super) fn left(&mut self, key: Key) {
        if let Some(waiting) = self.waiting.get_mut(&key) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&key);
            }
        }
    }

    /// Nobody is queued, as far as is known: before all are counted anew.
    pub(super) fn none_waiting(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn used(&self, key: Key, now: Instant) -> usize {
        self.meter(key, now).map_or(0, |meter| meter.used(now))
    }

    pub(super) fn take(&mut self, key: Key, now: Instant) {
        self.forget(now);
        if self.rate.is_unlimited() {
            return;
        }
        let overflows = self.overflows(now);
        match self.keys.get_mut(&key) {
            None if overflows => {
                self.overflow.take(now);
                self.overflow_until = Some(now + self.rate.window);
            }
            None => {
                let mut meter = Meter::new(self.rate, self.algorithm);
                meter.take(now);
                self.keys.insert(key, Entry { meter, live: 1 });
                self.expiry.push_back((now, key));
            }
            Some(entry) => {
                entry.meter.take(now);
                entry.live += 1;
                self.expiry.push_back((now, key));
            }
        }
    }

    /// Takes back the event of `at`; the key is forgotten no sooner for it.
    pub(super) fn withdraw(&mut self, key: Key, at: Instant) {
        match self.keys.get_mut(&key) {
            Some(entry) => entry.meter.withdraw(at),
            None => self.overflow.withdraw(at),
        }
    }

    /// The event noted at `at` happens only now.
    pub(super) fn postpone(&mut self, key: Key, at: Instant, now: Instant) {
        self.withdraw(key, at);
        self.take(key, now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, key)) =
            self.expiry.front().filter(|(at, _)| *at + self.rate.window <= now).copied()
        {
            self.expiry.pop_front();
            if let Some(entry) = self.keys.get_mut(&key) {
                entry.live -= 1;
                if entry.live == 0 {
                    self.keys.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
