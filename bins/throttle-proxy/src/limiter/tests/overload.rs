//! The exhaustion loop (section 5 of the specification), with the limiter and without it, on a virtual clock.
//!
//! An API with 50 slots of 200 ms, which lets others wait for 30 s and works on when its caller has left. Users come as a
//! Poisson process; each gives an attempt 5 s, makes up to 5 of them 1 s apart, and comes back 5 s after a refusal.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::*;
use sluice_check::Rng;
use sluice_policy::window::Rate;

const SLOTS: usize = 50;
const SERVICE: Duration = Duration::from_millis(200);
/// Requests a second.
const CAPACITY: f64 = 250.0;
const API_PATIENCE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 5;
const AGAIN: Duration = Duration::from_secs(1);
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A new user.
    User,
    /// A user tries: its number and attempt.
    Attempt(u32, u32),
    /// The attempt's time is over.
    Timeout(u32, u32),
    /// The API has finished an attempt's work.
    Served(u32, u32),
    /// The limiter wants to be asked.
    Limiter,
}

/// Whether the limiter is there, and its rate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gateway {
    None,
    Throttle(Rate),
}

/// The capacity, as a rate over a long and a short time.
const RATES: [Rate; 2] = [Rate::new(7500, Duration::from_secs(30)), Rate::new(250, Duration::from_secs(1))];

/// Users a second, as a share of capacity, until when.
type Load = &'static [(u64, f64)];

struct World {
    rng: Rng,
    bench: Option<Bench>,
    start: Instant,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, Event)>>,
    load: Load,
    users: u32,
    /// Attempts that are under way, with their ticket once they have one.
    open: HashMap<(u32, u32), Option<Ticket>>,
    /// Attempts by the number the limiter knows them by.
    asked: HashMap<u32, (u32, u32)>,
    busy: usize,
    backlog: VecDeque<(Instant, (u32, u32))>,
    sums: Sums,
}

#[derive(Default)]
struct Sums {
    /// Good answers in time, by second.
    good: Vec<u32>,
    completions: u32,
    wasted: u32,
    /// When requests came to the API.
    arrivals: Vec<Instant>,
}

impl World {
    fn run(gateway: Gateway, load: Load, seed: u64) -> Self {
        let bench = match gateway {
            Gateway::None => None,
            Gateway::Throttle(rate) => Some(Bench::with(|route| {
                (route.rate, route.max_in_flight) = (rate, SLOTS as u32);
            })),
        };
        let start = bench.as_ref().map_or_else(start, |bench| bench.start);
        let mut world = Self {
            rng: Rng::new(seed),
            bench,
            start,
            now: start,
            events: BinaryHeap::new(),
            load,
            users: 0,
            open: HashMap::new(),
            asked: HashMap::new(),
            busy: 0,
            backlog: VecDeque::new(),
            sums: Sums::default(),
        };
        world.at(start, Event::User);
        while let Some(Reverse((at, event))) = world.events.pop() {
            world.now = at;
            world.on(event);
            world.read_limiter();
            if let Some(bench) = &world.bench {
                assert!(bench.limiter.in_flight() as usize <= SLOTS);
            }
        }
        if let Gateway::Throttle(rate) = gateway {
            let (log, events) = (&world.sums.arrivals, rate.events as usize);
            assert!(log.windows(events + 1).all(|window| window[events] - window[0] >= rate.window));
        }
        world
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.events.push(Reverse((at, event)));
    }

    fn second(&self) -> u64 {
        (self.now - self.start).as_secs()
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::User => self.user(),
            Event::Attempt(user, attempt) => self.attempt(user, attempt),
            Event::Timeout(user, attempt) => self.timeout(user, attempt),
            Event::Served(user, attempt) => self.served(user, attempt),
            Event::Limiter => {
                if let Some(bench) = &mut self.bench {
                    bench.limiter.handle_timeout(self.now);
                }
            }
        }
    }

    fn user(&mut self) {
        let second = self.second();
        let Some((_, share)) = self.load.iter().find(|(until, _)| second < *until) else { return };
        self.attempt(self.users, 1);
        self.users += 1;
        let uniform = (self.rng.below(1 << 30) + 1) as f64 / f64::from(1 << 30);
        let pause = Duration::from_secs_f64(-uniform.ln() / (CAPACITY * share));
        self.at(self.now + pause, Event::User);
    }

    fn attempt(&mut self, user: u32, attempt: u32) {
        let Some(bench) = &mut self.bench else {
            self.open.insert((user, attempt), None);
            self.at(self.now + TIMEOUT, Event::Timeout(user, attempt));
            return self.arrive(user, attempt);
        };
        bench.now = self.now;
        let admission = bench.ask(from(user));
        self.asked.insert(bench.asked, (user, attempt));
        match admission {
            Admission::Pass(ticket) => {
                self.open.insert((user, attempt), Some(ticket));
                self.at(self.now + TIMEOUT, Event::Timeout(user, attempt));
                self.arrive(user, attempt);
            }
            Admission::Delay { ticket, .. } => {
                self.open.insert((user, attempt), Some(ticket));
                self.at(self.now + TIMEOUT, Event::Timeout(user, attempt));
            }
            _ => self.again(user, attempt, AFTER_REFUSAL),
        }
    }

    fn again(&mut self, user: u32, attempt: u32, pause: Duration) {
        if attempt < ATTEMPTS {
            self.at(self.now + pause, Event::Attempt(user, attempt + 1));
        }
    }

    fn timeout(&mut self, user: u32, attempt: u32) {
        let Some(ticket) = self.open.remove(&(user, attempt)) else { return };
        if let (Some(bench), Some(ticket)) = (&mut self.bench, ticket) {
            let gone = Outcome::ClientGone { after: TIMEOUT, head: sluice_gateway::gate::HeadSeen::No };
            let queued = bench.limiter.queued();
            bench.limiter.abandon(ticket, self.now);
            if bench.limiter.queued() == queued {
                bench.limiter.settle(ticket, gone, self.now);
            }
        }
        self.again(user, attempt, AGAIN);
    }

    /// A request reaches the API.
    fn arrive(&mut self, user: u32, attempt: u32) {
        self.sums.arrivals.push(self.now);
        if self.busy < SLOTS {
            self.busy += 1;
            self.at(self.now + SERVICE, Event::Served(user, attempt));
        } else {
            self.backlog.push_back((self.now, (user, attempt)));
        }
    }

    fn served(&mut self, user: u32, attempt: u32) {
        self.busy -= 1;
        self.sums.completions += 1;
        match self.open.remove(&(user, attempt)) {
            None => self.sums.wasted += 1,
            Some(ticket) => {
                let second = self.second() as usize;
                self.sums.good.resize(self.sums.good.len().max(second + 1), 0);
                self.sums.good[second] += 1;
                if let (Some(bench), Some(ticket)) = (&mut self.bench, ticket) {
                    bench.limiter.settle(
                        ticket,
                        Outcome::Response { status: 200, head_after: SERVICE },
                        self.now,
                    );
                }
            }
        }
        while let Some((since, (user, attempt))) = self.backlog.pop_front() {
            if since + API_PATIENCE <= self.now {
                // A 500, which its client has long given up waiting for.
                continue;
            }
            self.busy += 1;
            return self.at(self.now + SERVICE, Event::Served(user, attempt));
        }
    }

    fn read_limiter(&mut self) {
        while let Some(effect) = self.bench.as_mut().and_then(|bench| bench.limiter.poll()) {
            match effect {
                Effect::Release(_, asker) => {
                    let (user, attempt) = self.asked[&asker.0.index];
                    self.arrive(user, attempt);
                }
                Effect::Expire(_, asker, _) => {
                    let (user, attempt) = self.asked[&asker.0.index];
                    self.open.remove(&(user, attempt));
                    self.again(user, attempt, AFTER_REFUSAL);
                }
                Effect::Log(_) | Effect::Publish(_) => {}
            }
        }
        if let Some(due) = self.bench.as_ref().and_then(|bench| bench.limiter.poll_timeout())
            && self.events.peek().is_none_or(|Reverse((next, _))| due < *next)
            && !(self.events.is_empty() && self.open.is_empty())
        {
            self.at(due.max(self.now), Event::Limiter);
        }
    }

    /// Good answers a second between two moments, as a share of capacity.
    fn goodput(&self, seconds: std::ops::Range<usize>) -> f64 {
        let good = seconds.clone().map(|second| f64::from(*self.sums.good.get(second).unwrap_or(&0)));
        good.sum::<f64>() / seconds.len() as f64 / CAPACITY
    }

    fn wasted(&self) -> f64 {
        f64::from(self.sums.wasted) / f64::from(self.sums.completions)
    }

    fn amplification(&self) -> f64 {
        self.sums.arrivals.len() as f64 / f64::from(self.users)
    }
}

#[test]
fn goodput_holds_under_any_load() {
    const LOADS: [Load; 5] = [&[(30, 0.5)], &[(30, 1.0)], &[(30, 1.5)], &[(30, 2.0)], &[(30, 3.0)]];
    for (seed, load) in LOADS.into_iter().enumerate() {
        let share = load[0].1;
        let bare = World::run(Gateway::None, load, seed as u64);
        let bare_good = bare.goodput(20..30);
        for rate in RATES {
            let world = World::run(Gateway::Throttle(rate), load, seed as u64);
            let good = world.goodput(10..30);
            eprintln!(
                "{share} x capacity: goodput {good:.2} (alone {bare_good:.2}), wasted {:.3} ({:.3}), amplification {:.2} ({:.2})",
                world.wasted(),
                bare.wasted(),
                world.amplification(),
                bare.amplification(),
            );
            assert!(good >= if share < 1.0 { 0.95 * share } else { 0.8 }, "{share}: goodput {good}");
            assert!(world.wasted() <= 0.05, "{share}: wasted {}", world.wasted());
            assert!(world.amplification() <= 1.1, "{share}: amplification {}", world.amplification());
            let limiter = &world.bench.as_ref().unwrap().limiter;
            assert_eq!((limiter.queued(), limiter.in_flight()), (0, 0));
        }
        assert!(share <= 1.0 || bare_good < 0.2, "{share}: without a limiter it collapses, {bare_good}");
    }
}

#[test]
fn it_recovers_within_ten_seconds_of_a_peak() {
    const STEP: Load = &[(30, 0.5), (90, 3.0), (150, 0.5)];
    let world = World::run(Gateway::Throttle(RATES[0]), STEP, 1);
    let bare = World::run(Gateway::None, STEP, 1);
    // Who was refused at the peak comes back for a while: the offered load is at least half the capacity.
    let recovered = |world: &World| (90..145).find(|second| world.goodput(*second..second + 5) >= 0.95 * 0.5);
    eprintln!("recovered {:?}, without a limiter {:?}", recovered(&world), recovered(&bare));
    assert!(recovered(&world).is_some_and(|second| second <= 100));
    assert!(recovered(&bare).is_none_or(|second| second > 100));
}
