//! Seeded simulation: random requests, answers, vanishing clients, pressure, leases, reloads, on a virtual clock.
//!
//! The oracle keeps its own books and knows nothing of the limiter's. At each dispatch: in flight within the limit, no
//! window over N. Queues within their size. Every ticket ends once; every waiter is released, told or has left, at its
//! last moment at the latest; in the end nothing is left. `LIMITER_SEED=n` replays one seed.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::limiter::keys::KeySpec;
use crate::limiter::policy::{AdaptiveKind, Algorithm, LimitPolicy};
use crate::limiter::pressure::{PoolPressure, PoolState};
use sluice_check::Rng;
use sluice_gateway::gate::QueueDrain;
use sluice_policy::window::Rate;

const SEEDS: u64 = 100;
const STEPS: usize = 1500;

struct World {
    rng: Rng,
    bench: Bench,
    /// Waiting requests: ticket and last moment.
    waiting: BTreeMap<u32, (Ticket, Instant)>,
    running: BTreeMap<u32, Ticket>,
    route_of: HashMap<u32, u16>,
    client_of: HashMap<u32, u32>,
    moments: HashMap<u32, Instant>,
    /// Dispatches of each route, and of each key of the limit.
    log: HashMap<u16, Vec<Instant>>,
    key_log: HashMap<u32, Vec<Instant>>,
    queue_max: usize,
    settled: usize,
    refused: usize,
}

fn random_policy(rng: &mut Rng) -> Policy {
    let orders = [QueueOrder::Adaptive, QueueOrder::Fifo, QueueOrder::Lifo];
    let adaptive = [AdaptiveKind::Off, AdaptiveKind::Off, AdaptiveKind::Aimd, AdaptiveKind::Gradient];
    let mut routes = Vec::new();
    for number in 0..rng.between(1, 3) {
        let events = rng.between(0, 20) as u32;
        let burst = if rng.chance(1, 3) { rng.below(events as usize + 1) as u32 } else { 0 };
        routes.push(RoutePolicy {
            name: if number == 0 { "default".into() } else { format!("r{number}") },
            rate: Rate { events, window: ms(rng.between(1, 4000) as u64), burst },
            algorithm: if rng.chance(1, 5) { Algorithm::Gcra } else { Algorithm::Window },
            max_in_flight: rng.below(12) as u32,
            queue_size: rng.below(40),
            queue_per_key: rng.between(1, 20),
            queue_max_wait: ms(rng.below(3000) as u64),
            patience: ms(rng.between(1, 5000) as u64),
            retry_delay: ms(rng.below(300) as u64),
            queue_order: *rng.pick(&orders).unwrap(),
            priority_min_share: rng.below(50) as u32,
            stage_delay: rng.chance(1, 4).then(|| ms(100)),
            adaptive: *rng.pick(&adaptive).unwrap(),
            ..RoutePolicy::default()
        });
    }
    let mut policy = Policy { routes, queue_size: rng.between(1, 60), ..Policy::default() };
    policy.max_in_flight = rng.below(16) as u32;
    policy.keys_max = rng.between(2, 8);
    if rng.chance(1, 2) {
        policy.limits.push(LimitPolicy {
            name: "client".into(),
            key: KeySpec::address(),
            rate: Rate::new(rng.between(1, 6) as u32, ms(rng.between(100, 3000) as u64)),
            algorithm: Algorithm::Window,
            routes: Vec::new(),
        });
    }
    policy
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let policy = random_policy(&mut rng);
        let queue_max = policy.queue_size;
        Self {
            rng,
            bench: Bench::new(policy),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            route_of: HashMap::new(),
            client_of: HashMap::new(),
            moments: HashMap::new(),
            log: HashMap::new(),
            key_log: HashMap::new(),
            queue_max,
            settled: 0,
            refused: 0,
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=8 => self.arrive(),
            9..=14 => self.answer(),
            15 => self.leave(),
            16 => self.pressure(),
            _ => {
                let pause = ms(self.rng.below(400) as u64);
                self.pass_time(pause);
            }
        }
        self.read_effects();
    }

    fn arrive(&mut self) {
        let urgencies: [[(&str, &[u8]); 1]; 3] =
            [[("Priority", b"u=1")], [("Priority", b"u=6")], [("Accept", b"*/*")]];
        let client = self.rng.below(12) as u32;
        let ask = Ask {
            client,
            route: self.rng.below(self.bench.limiter.policy().routes.len()) as u16,
            method: if self.rng.chance(1, 3) { "POST" } else { "GET" },
            purpose: Purpose::Ordinary,
            trust: if self.rng.chance(1, 2) { Trust::Yes } else { Trust::No },
            fields: self.rng.pick(&urgencies).unwrap(),
        };
        let admission = self.bench.ask(ask);
        let number = self.bench.asked;
        self.route_of.insert(number, ask.route);
        self.client_of.insert(number, client);
        match admission {
            Admission::Pass(ticket) => self.dispatched(number, ticket),
            Admission::Delay { ticket, until } => {
                let policy = &self.bench.limiter.policy().routes[usize::from(ask.route)];
                assert!(until <= self.bench.now + policy.queue_max_wait.min(policy.patience));
                self.waiting.insert(number, (ticket, until));
            }
            Admission::Refuse(refusal) => {
                assert!(refusal.retry_after.is_some_and(|after| after >= ms(5000) && after <= ms(120_000)));
                self.refused += 1;
            }
            Admission::Serve(_) => panic!("the limiter has nothing to serve"),
        }
    }

    fn answer(&mut self) {
        let Some(number) = self.rng.pick(&self.running.keys().copied().collect::<Vec<_>>()).copied() else {
            return;
        };
        let ticket = self.running.remove(&number).unwrap();
        let outcomes = [
            Outcome::Response { status: 200, head_after: ms(5) },
            Outcome::Response { status: 200, head_after: ms(50) },
            Outcome::Response { status: 503, head_after: ms(5) },
            Outcome::HeadTimeout,
            Outcome::ConnectRefused,
            Outcome::Upgraded,
            Outcome::Own4xx,
        ];
        let outcome = *self.rng.pick(&outcomes).unwrap();
        self.settled += 1;
        if outcome == Outcome::ConnectRefused {
            self.take_back(number);
        }
        self.bench.settle_as(ticket, outcome);
    }

    /// What reached no origin does not count.
    fn take_back(&mut self, number: u32) {
        let at = self.moments[&number];
        for log in [
            self.log.get_mut(&self.route_of[&number]).unwrap(),
            self.key_log.get_mut(&self.client_of[&number]).unwrap(),
        ] {
            let place = log.iter().rposition(|moment| *moment == at).unwrap();
            log.remove(place);
        }
    }

    fn leave(&mut self) {
        let waiting: Vec<u32> = self.waiting.keys().copied().collect();
        let Some(number) = self.rng.pick(&waiting).copied() else { return };
        let (ticket, _) = self.waiting.remove(&number).unwrap();
        self.bench.limiter.abandon(ticket, self.bench.now);
    }

    fn pressure(&mut self) {
        let states = [PoolState::Ok, PoolState::Pressured, PoolState::Shedding];
        let report = PoolPressure {
            pool: format!("d/{}", self.rng.below(2)),
            state: *self.rng.pick(&states).unwrap(),
            expected_wait: ms(self.rng.below(200) as u64),
            retry_after: ms(self.rng.below(9000) as u64),
            suggested_concurrency: self.rng.below(10) as u32,
        };
        self.bench.limiter.pressure(report, self.bench.now);
    }

    /// Lets time pass, timer by timer.
    fn pass_time(&mut self, pause: Duration) {
        let to = self.bench.now + pause;
        while let Some(due) = self.bench.limiter.poll_timeout().filter(|due| *due <= to) {
            self.bench.now = self.bench.now.max(due);
            self.bench.limiter.handle_timeout(self.bench.now);
            self.read_effects();
        }
        self.bench.now = to;
    }

    fn read_effects(&mut self) {
        while let Some(effect) = self.bench.limiter.poll() {
            match effect {
                Effect::Release(ticket, asker) => {
                    let (waited, until) = self.waiting.remove(&asker.0.index).expect("who is released waits");
                    assert_eq!(waited, ticket);
                    assert!(self.bench.now < until, "after the last moment");
                    self.dispatched(asker.0.index, ticket);
                }
                Effect::Expire(ticket, asker, _) => {
                    let (waited, _) = self.waiting.remove(&asker.0.index).expect("who is told waits");
                    assert_eq!(waited, ticket);
                }
                Effect::Log(_) | Effect::Publish(_) => {}
            }
        }
        let overdue = self.waiting.values().find(|(_, until)| *until < self.bench.now);
        assert_eq!(overdue, None, "told at the last moment, if the timers are kept");
        assert_eq!(self.bench.limiter.queued(), self.waiting.len());
        assert_eq!(self.bench.limiter.in_flight() as usize, self.running.len());
        assert!(self.waiting.len() <= self.queue_max);
        for route in 0..self.bench.limiter.policy().routes.len() as u16 {
            let waiting = self.waiting.keys().filter(|number| self.route_of[number] == route).count();
            assert!(waiting <= self.bench.limiter.policy().routes[usize::from(route)].queue_size);
        }
    }

    /// The promise, at the moment it is made.
    fn dispatched(&mut self, number: u32, ticket: Ticket) {
        let (route, now) = (self.route_of[&number], self.bench.now);
        self.running.insert(number, ticket);
        self.moments.insert(number, now);
        let policy = &self.bench.limiter.policy().routes[usize::from(route)];
        let of_route = self.running.keys().filter(|number| self.route_of[number] == route).count();
        assert!(of_route as u32 <= self.bench.limiter.limit_of(RouteId(route), now));
        assert!(self.running.len() as u32 <= self.bench.limiter.limit_of_all(now));
        let log = self.log.entry(route).or_default();
        log.push(now);
        within(log, policy.rate, policy.algorithm, now);
        let log = self.key_log.entry(self.client_of[&number]).or_default();
        log.push(now);
        if let Some(limit) = self.bench.limiter.policy().limits.first() {
            within(log, limit.rate, limit.algorithm, now);
        }
    }

    /// No more requests; all that are left must end.
    fn end(&mut self) {
        if self.rng.chance(1, 2) {
            let queue = if self.rng.chance(1, 2) { QueueDrain::Refuse } else { QueueDrain::Finish };
            self.bench.limiter.drain(queue, self.bench.now);
            self.read_effects();
        }
        while !self.running.is_empty() || !self.waiting.is_empty() {
            self.answer();
            self.read_effects();
            self.pass_time(ms(50));
        }
        self.pass_time(ms(20_000));
        assert_eq!((self.bench.limiter.in_flight(), self.bench.limiter.queued()), (0, 0));
        assert!(self.bench.limiter.tickets.is_empty());
    }
}

fn within(log: &[Instant], rate: Rate, algorithm: Algorithm, now: Instant) {
    if rate.is_unlimited() {
        return;
    }
    let in_window = log.iter().rev().take_while(|at| **at + rate.window > now).count();
    assert!(in_window <= rate.events as usize, "{in_window} in a window of {rate:?}");
    // By the other algorithm a burst is what may come at once, not a window of its own.
    if algorithm == Algorithm::Window && rate.burst > 0 && rate.burst < rate.events {
        let window = rate.window * rate.burst / rate.events;
        let in_window = log.iter().rev().take_while(|at| **at + window > now).count();
        assert!(in_window <= rate.burst as usize, "{in_window} in a burst of {rate:?}");
    }
}

#[test]
fn random_worlds() {
    let replayed = std::env::var("LIMITER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = replayed.map_or(0..SEEDS, |seed| seed..seed + 1);
    let (mut settled, mut refused) = (0, 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.end();
            (world.settled, world.refused)
        });
        match outcome {
            Ok(sums) => {
                settled += sums.0;
                refused += sums.1;
            }
            Err(panic) => {
                eprintln!("replay with LIMITER_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(settled > 100 && refused > 100, "{settled} settled, {refused} refused");
}
