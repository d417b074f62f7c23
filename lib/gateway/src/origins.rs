//! The set of origins: which of them gets a request, which are left out, and their unused connections.
//!
//! Owned by the gateway. Knows no socket: connections are named by the ids of their owner.
//!
//! ```text
//!            origin_fail_max failures in a row, or check_fall failed checks
//!   in use ────────────────────────────────────────────────────────────────▶ left out
//!      ▲                                                                        │
//!      └── ramp over origin_ramp_ms ◀── its time is over, and checks succeed ───┘
//! ```
//! Invariants: never more than half of the origins are ejected for failures, and never the last one; an idle
//! connection stands in exactly one list; what a check says beats what requests say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_unix::slab::Key;
use sluice_wire::http::fields::is_token;

/// Least distance of two lines about failures of one origin.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Longest time an origin is left out for failures, before jitter.
const EJECT_MAX: Duration = Duration::from_secs(300);

/// How long idle connections beyond `origin_idle_max` are kept: bursts come and go within a turn of the loop, and closing
/// what is needed again in a moment costs more than keeping it.
const SURPLUS: Duration = Duration::from_millis(100);

/// Least share of its load an origin gets right after it returned.
const RAMP_START: f64 = 0.1;

/// An origin, by its place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(pub u16);

/// A connection to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub Key);

/// How an origin is chosen (setting `balance`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests under way.
    #[default]
    LeastInflight,
    /// In turn.
    RoundRobin,
    /// By the client's address.
    HashAddress,
    /// By the path.
    HashPath,
    /// By the value of a field.
    HashHeader(String),
}

impl Balance {
    /// Reads the setting.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "least_inflight" => Some(Self::LeastInflight),
            "round_robin" => Some(Self::RoundRobin),
            "hash:address" => Some(Self::HashAddress),
            "hash:path" => Some(Self::HashPath),
            _ => {
                let name = text.strip_prefix("hash:header:").filter(|name| is_token(name.as_bytes()))?;
                Some(Self::HashHeader(name.to_owned()))
            }
        }
    }
}

/// What the set is told by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// See [`Balance`].
    pub balance: Balance,
    /// `origin_fail_max`.
    pub fail_max: u32,
    /// `origin_eject_ms`.
    pub eject: Duration,
    /// `origin_ramp_ms`.
    pub ramp: Duration,
    /// `check_rise`.
    pub rise: u32,
    /// `check_fall`.
    pub fall: u32,
    /// `origin_conns_max`.
    pub conns_max: u32,
    /// `origin_idle_max`.
    pub idle_max: u32,
    /// `origin_keepalive_ms`.
    pub keepalive: Duration,
    /// `reuse_unsafe_ms`.
    pub reuse_unsafe: Duration,
}

/// Whether a request may meet a connection that is about to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It can be sent again: any idle connection will do.
    Any,
    /// It must not be sent twice: only one that was in use a moment ago.
    Recent,
}

/// Whether an origin changed sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is left out from now on.
    Down,
    /// It is used again.
    Up,
}

#[derive(Debug)]
struct Origin {
    in_flight: u32,
    conns: u32,
    /// Unused connections, the one used last at the back.
    idle: VecDeque<(ConnId, Instant)>,
    /// Failures in a row.
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
    check: Check,
    /// When it came back, while the ramp lasts.
    back_at: Option<Instant>,
    /// Of the smooth weighted turn.
    turn: f64,
    /// Failures that no line of the log has told of yet.
    untold: u64,
    told_at: Option<Instant>,
}

#[derive(Debug)]
enum Check {
    Passing { failed: u32 },
    Failing { passed: u32 },
}

/// The origins of one gateway.
#[derive(Debug)]
pub struct Origins {
    list: Vec<Origin>,
    policy: Policy,
    random: u64,
}

impl Origins {
    /// A set of `count` origins, all in use. `seed` makes the jitter of ejections.
    #[must_use]
    pub fn new(count: usize, policy: Policy, seed: u64) -> Self {
        Self { list: (0..count).map(|_| Origin::new()).collect(), policy, random: seed | 1 }
    }

    /// A new configuration: what is known of the origins that stay where they are is kept.
    pub fn reconfigure(&mut self, count: usize, policy: Policy) {
        self.list.resize_with(count, Origin::new);
        self.policy = policy;
    }

    /// Number of origins.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How requests are to be told apart for a hashed balance.
    #[must_use]
    pub fn balance(&self) -> &Balance {
        &self.policy.balance
    }

    /// Chooses an origin for a request; `hash` is of what the balance tells apart, and `avoid` failed just now.
    /// `None` only if there is no origin but the one to avoid.
    pub fn choose(&mut self, hash: u64, avoid: Option<OriginId>, now: Instant) -> Option<OriginId> {
        let usable = |(at, origin): &(usize, &Origin)| !origin.is_out(now) && Some(id(*at)) != avoid;
        let candidates: Vec<usize> = match self.list.as_slice() {
            [_] if avoid.is_none() => return Some(OriginId(0)),
            list => list.iter().enumerate().filter(usable).map(|(at, _)| at).collect(),
        };
        let ramp = self.policy.ramp;
        let weight = |at: usize| self.list[at].weight(ramp, now);
        let best = match self.policy.balance {
            _ if candidates.is_empty() => return self.any_but(avoid),
            Balance::LeastInflight => {
                let load = |at: usize| f64::from(self.list[at].in_flight + 1) / weight(at);
                candidates.into_iter().min_by(|&a, &b| load(a).total_cmp(&load(b)))
            }
            Balance::RoundRobin => return self.take_turn(&candidates, now),
            // Weighted rendezvous: each key has its own order of origins, and one that leaves moves only its own keys.
            _ => {
                let score = |at: usize| -weight(at) / unit(mix(hash ^ mix(at as u64 + 1))).ln();
                candidates.into_iter().max_by(|&a, &b| score(a).total_cmp(&score(b)))
            }
        };
        best.map(id)
    }

    /// All are left out: guessing serves more than refusing.
    fn any_but(&self, avoid: Option<OriginId>) -> Option<OriginId> {
        let others = (0..self.list.len()).filter(|&at| Some(id(at)) != avoid);
        others.min_by_key(|&at| self.list[at].in_flight).map(id)
    }

    fn take_turn(&mut self, candidates: &[usize], now: Instant) -> Option<OriginId> {
        let mut total = 0.0;
        for &at in candidates {
            let weight = self.list[at].weight(self.policy.ramp, now);
            self.list[at].turn += weight;
            total += weight;
        }
        // The first of equals, so that turns go round in order.
        let mut best = *candidates.first()?;
        for &at in candidates {
            if self.list[at].turn > self.list[best].turn {
                best = at;
            }
        }
        self.list[best].turn -= total;
        Some(id(best))
    }

    /// Takes an idle connection of `origin`, the one used last.
    pub fn take_idle(&mut self, origin: OriginId, reuse: Reuse, now: Instant) -> Option<ConnId> {
        let policy = &self.policy;
        let longest = match reuse {
            Reuse::Any => policy.keepalive,
            Reuse::Recent => policy.keepalive.min(policy.reuse_unsafe),
        };
        let idle = &mut self.list.get_mut(usize::from(origin.0))?.idle;
        let (_, since) = idle.back()?;
        if now.saturating_duration_since(*since) >= longest {
            return None;
        }
        idle.pop_back().map(|(conn, _)| conn)
    }

    /// Keeps an idle connection.
    pub fn put_idle(&mut self, origin: OriginId, conn: ConnId, now: Instant) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.idle.push_back((conn, now));
        }
    }

    /// An idle connection ended by itself.
    pub fn forget_idle(&mut self, origin: OriginId, conn: ConnId) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.idle.retain(|(idle, _)| *idle != conn);
        }
    }

    /// The next idle connection that has rested too long, or is one too many: close it. Call until `None`.
    pub fn expired_idle(&mut self, now: Instant) -> Option<ConnId> {
        let policy = &self.policy;
        let due = |origin: &&mut Origin| origin.idle_until(policy).is_some_and(|until| until <= now);
        self.list.iter_mut().find(due)?.idle.pop_front().map(|(conn, _)| conn)
    }

    /// The idle connection of `origin` that has rested longest, which is idle no longer: close it.
    pub fn take_oldest(&mut self, origin: OriginId) -> Option<ConnId> {
        self.list.get_mut(usize::from(origin.0))?.idle.pop_front().map(|(conn, _)| conn)
    }

    /// All idle connections, which are idle no longer: close them.
    pub fn take_all_idle(&mut self) -> Vec<ConnId> {
        self.list.iter_mut().flat_map(|origin| origin.idle.drain(..)).map(|(conn, _)| conn).collect()
    }

    /// When [`Origins::expired_idle`] finds something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|origin| origin.idle_until(&self.policy)).min()
    }

    /// Counts a connection about to be made. False: there are as many as there may be.
    pub fn open(&mut self, origin: OriginId) -> bool {
        let conns_max = self.policy.conns_max;
        let Some(origin) = self.list.get_mut(usize::from(origin.0)) else { return false };
        let fits = origin.conns < conns_max;
        origin.conns += u32::from(fits);
        fits
    }

    /// A connection that was counted is gone.
    pub fn close(&mut self, origin: OriginId) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.conns = origin.conns.saturating_sub(1);
        }
    }

    /// A request is under way.
    pub fn begin(&mut self, origin: OriginId) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.in_flight += 1;
        }
    }

    /// It is no more.
    pub fn end(&mut self, origin: OriginId) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.in_flight = origin.in_flight.saturating_sub(1);
        }
    }

    /// A response came.
    pub fn succeeded(&mut self, origin: OriginId) {
        if let Some(origin) = self.list.get_mut(usize::from(origin.0)) {
            origin.failures = 0;
            origin.ejections = 0;
        }
    }

    /// No connection, no response, or none that can be understood.
    pub fn failed(&mut self, origin: OriginId, now: Instant) -> Option<Change> {
        let out = self.list.iter().filter(|origin| origin.is_out(now)).count();
        let may_eject = out + 1 < self.list.len() && (out + 1) * 2 <= self.list.len();
        let random = self.next_random();
        let Policy { fail_max, eject, .. } = self.policy;
        let origin = self.list.get_mut(usize::from(origin.0))?;
        origin.failures += 1;
        if fail_max == 0 || origin.failures < fail_max || origin.is_out(now) || !may_eject {
            return None;
        }
        origin.failures = 0;
        origin.ejections += 1;
        let time = eject.saturating_mul(origin.ejections).min(EJECT_MAX);
        origin.ejected_until = Some(now + time.mul_f64(1.0 + unit(random) / 10.0));
        Some(Change::Down)
    }

    /// How many failures a line of the log should tell of now: the first at once, later ones as a sum.
    pub fn to_tell(&mut self, origin: OriginId, now: Instant) -> Option<u64> {
        let origin = self.list.get_mut(usize::from(origin.0))?;
        origin.untold += 1;
        if origin.told_at.is_some_and(|told_at| now < told_at + TELL_EVERY) {
            return None;
        }
        origin.told_at = Some(now);
        Some(std::mem::take(&mut origin.untold))
    }

    /// The next origin whose time out is over. Call until `None`.
    pub fn returned(&mut self, now: Instant) -> Option<OriginId> {
        let over = |origin: &Origin| origin.ejected_until.is_some_and(|until| until <= now);
        let at = self.list.iter().position(over)?;
        let origin = &mut self.list[at];
        origin.ejected_until = None;
        origin.back_at = Some(now);
        Some(id(at))
    }

    /// When [`Origins::returned`] finds something.
    #[must_use]
    pub fn next_return(&self) -> Option<Instant> {
        self.list.iter().filter_map(|origin| origin.ejected_until).min()
    }

    /// A check has succeeded or failed.
    pub fn checked(&mut self, origin: OriginId, result: Result<(), ()>, now: Instant) -> Option<Change> {
        let Policy { rise, fall, .. } = self.policy;
        let origin = self.list.get_mut(usize::from(origin.0))?;
        match (&mut origin.check, result) {
            (Check::Passing { failed }, Ok(())) => *failed = 0,
            (Check::Failing { passed }, Err(())) => *passed = 0,
            (Check::Passing { failed }, Err(())) => {
                *failed += 1;
                if *failed >= fall {
                    origin.check = Check::Failing { passed: 0 };
                    return Some(Change::Down);
                }
            }
            (Check::Failing { passed }, Ok(())) => {
                *passed += 1;
                if *passed >= rise {
                    origin.check = Check::Passing { failed: 0 };
                    origin.ejected_until = None;
                    origin.failures = 0;
                    origin.back_at = Some(now);
                    return Some(Change::Up);
                }
            }
        }
        None
    }

    /// Whether the origin is in use.
    #[must_use]
    pub fn is_up(&self, origin: OriginId, now: Instant) -> bool {
        self.list.get(usize::from(origin.0)).is_some_and(|origin| !origin.is_out(now))
    }

    /// Requests under way, connections, and unused ones among them.
    #[must_use]
    pub fn load(&self, origin: OriginId) -> (u32, u32, u32) {
        let load = |origin: &Origin| (origin.in_flight, origin.conns, origin.idle.len() as u32);
        self.list.get(usize::from(origin.0)).map_or((0, 0, 0), load)
    }

    fn next_random(&mut self) -> u64 {
        self.random = mix(self.random);
        self.random
    }
}

impl Origin {
    fn new() -> Self {
        Self {
            in_flight: 0,
            conns: 0,
            idle: VecDeque::new(),
            failures: 0,
            ejections: 0,
            ejected_until: None,
            check: Check::Passing { failed: 0 },
            back_at: None,
            turn: 0.0,
            untold: 0,
            told_at: None,
        }
    }

    /// When its oldest idle connection has to go.
    fn idle_until(&self, policy: &Policy) -> Option<Instant> {
        let (_, since) = self.idle.front()?;
        let surplus = self.idle.len() > policy.idle_max as usize;
        Some(*since + if surplus { SURPLUS.min(policy.keepalive) } else { policy.keepalive })
    }

    fn is_out(&self, now: Instant) -> bool {
        matches!(self.check, Check::Failing { .. }) || self.ejected_until.is_some_and(|until| now < until)
    }

    /// Its share, 1 but for the time after its return.
    fn weight(&self, ramp: Duration, now: Instant) -> f64 {
        let Some(back_at) = self.back_at.filter(|_| !ramp.is_zero()) else { return 1.0 };
        let passed = now.saturating_duration_since(back_at).as_secs_f64() / ramp.as_secs_f64();
        passed.clamp(RAMP_START, 1.0)
    }
}

fn id(at: usize) -> OriginId {
    OriginId(at as u16)
}

/// splitmix64: spreads what is close.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number between 0 and 1, neither included.
fn unit(random: u64) -> f64 {
    ((random >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests;
