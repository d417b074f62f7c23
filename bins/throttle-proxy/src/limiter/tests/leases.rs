//! Instances that share a rate, and a network that delays, loses and reorders, on a virtual clock.
//!
//! The other side is the script of [`crate::shared`] in plain words, on a clock of its own. Whatever the network does, no
//! window holds more uses than N, over all instances together.

use std::collections::{BTreeMap, BinaryHeap};

use super::*;
use crate::limiter::lease::{Hold, Lease, LeaseRequest, SlotName};
use crate::limiter::policy::{SharedMode, SharedPolicy};
use sluice_check::Rng;
use sluice_policy::window::Rate;
use std::cmp::Reverse;

const INSTANCES: usize = 3;
const POLICY: SharedPolicy = SharedPolicy {
    mode: SharedMode::FailClosed,
    lease: Duration::from_millis(200),
    timeout: Duration::from_millis(1000),
};

/// A message takes no longer than this, with some to spare.
const SLOWEST_US: u64 = 700_000;

/// The sorted set: score in milliseconds of the server's clock, by instance and name.
struct Server {
    members: BTreeMap<(usize, SlotName), u64>,
    /// What its clock shows beyond the true time.
    ahead_ms: u64,
}

impl Server {
    fn run(&mut self, instance: usize, request: &LeaseRequest, true_us: u64) -> (u32, Duration) {
        let now = true_us / 1000 + self.ahead_ms;
        let (window, lease) = (request.window.as_millis() as u64, request.lease.as_millis() as u64);
        for name in &request.returned {
            self.members.remove(&(instance, *name));
        }
        self.members.retain(|_, score| *score + window > now);
        let free = (request.events as usize).saturating_sub(self.members.len());
        let taken = request.wanted.min(free as u32);
        for number in 1..=taken {
            self.members.insert((instance, SlotName { request: request.request, number }), now + lease + 1);
        }
        let first = self.members.values().min().filter(|_| taken == 0);
        let wait = first.map_or(0, |score| (score + window).saturating_sub(now));
        (taken, Duration::from_millis(wait))
    }
}

/// A message under way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Request(usize, u64),
    Answer(usize, u64, u32, Duration),
}

/// What is enforced from a moment on.
#[derive(Clone, Copy, Debug)]
struct Phase {
    from_us: u64,
    rate: Rate,
    policy: SharedPolicy,
}

struct World {
    rng: Rng,
    start: Instant,
    now_us: u64,
    leases: Vec<Lease>,
    asked: u64,
    requests: BTreeMap<(usize, u64), LeaseRequest>,
    network: BinaryHeap<Reverse<(u64, Message)>>,
    server: Server,
    uses: Vec<u64>,
    queued: [usize; INSTANCES],
}

impl World {
    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    fn run(seed: u64) -> (Vec<u64>, Rate) {
        let mut rng = Rng::new(seed);
        let rate = random_rate(&mut rng);
        let mut world = World::new(rng, rate);
        world.steps(6000);
        (world.uses, rate)
    }

    /// The same with a reload of all instances in the middle.
    fn run_reloaded(seed: u64) -> (Vec<u64>, [Phase; 2]) {
        let mut rng = Rng::new(seed);
        let before = Phase { from_us: 0, rate: random_rate(&mut rng), policy: POLICY };
        let (mut rate, mut policy) = (before.rate, before.policy);
        match rng.below(3) {
            0 => rate.events = rng.between(1, 1 + rate.events as usize / 4) as u32,
            1 => rate = random_rate(&mut rng),
            _ => policy.lease = ms(rng.between(50, 400) as u64),
        }
        let mut world = World::new(rng, before.rate);
        // Most often while the first leases are in hand: later a full set leaves nothing there.
        let steps = if world.rng.chance(2, 3) { world.rng.between(20, 300) } else { 3000 };
        world.steps(steps);
        let after = Phase { from_us: world.now_us, rate, policy };
        for lease in &mut world.leases {
            lease.set(Lease::new(rate, policy));
        }
        world.steps(4000);
        (world.uses, [before, after])
    }

    fn new(mut rng: Rng, rate: Rate) -> Self {
        let ahead_ms = rng.below(1_000_000) as u64;
        World {
            rng,
            start: start(),
            now_us: 0,
            leases: (0..INSTANCES).map(|_| Lease::new(rate, POLICY)).collect(),
            asked: 0,
            requests: BTreeMap::new(),
            network: BinaryHeap::new(),
            server: Server { members: BTreeMap::new(), ahead_ms },
            uses: Vec::new(),
            queued: [0; INSTANCES],
        }
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.now_us += self.rng.below(4000) as u64;
            self.deliver();
            let instance = self.rng.below(INSTANCES);
            self.step(instance);
        }
    }

    fn step(&mut self, instance: usize) {
        let now = self.now();
        if self.leases[instance].is_late(now) {
            self.leases[instance].failed(now);
        }
        if self.rng.chance(2, 3) {
            self.leases[instance].wanted(now);
            self.queued[instance] = (self.queued[instance] + 1).min(20);
        }
        // Slots are used at once, or in the last moment, or never.
        let eager = self.rng.chance(1, 3);
        while eager && self.queued[instance] > 0 && self.leases[instance].hold(now) == Hold::Free {
            self.leases[instance].spend(now);
            self.queued[instance] -= 1;
            self.uses.push(self.now_us);
        }
        let number = self.asked + 1;
        if let Some(request) = self.leases[instance].request(number, self.queued[instance], now) {
            self.asked = number;
            self.requests.insert((instance, number), request);
            self.send(Message::Request(instance, number));
        }
    }

    /// Most messages are quick, some are slow, a few are lost.
    fn send(&mut self, message: Message) {
        let delay_us = match self.rng.below(20) {
            0 => return,
            1 | 2 => self.rng.between(50_000, 600_000),
            _ => self.rng.below(20_000),
        };
        self.network.push(Reverse((self.now_us + delay_us as u64, message)));
    }

    fn deliver(&mut self) {
        while let Some(Reverse((at, _))) = self.network.peek().filter(|Reverse((at, _))| *at <= self.now_us) {
            let at = *at;
            match self.network.pop() {
                Some(Reverse((_, Message::Request(instance, number)))) => {
                    let request = self.requests[&(instance, number)].clone();
                    let (slots, wait) = self.server.run(instance, &request, at);
                    self.send(Message::Answer(instance, number, slots, wait));
                }
                Some(Reverse((_, Message::Answer(instance, number, slots, wait)))) => {
                    let now = self.now();
                    self.leases[instance].granted(number, slots, wait, now);
                }
                None => {}
            }
        }
    }
}

#[test]
fn no_window_holds_more_than_n_over_all_instances_whatever_the_network_does() {
    let mut share = 0.0;
    for seed in 0..150 {
        let (uses, rate) = World::run(seed);
        let window = rate.window.as_micros() as u64;
        let most = most_in_any(&uses, rate);
        assert!(most <= rate.events as usize, "seed {seed}: {most} in a window of {rate:?}");
        let windows = uses.last().copied().unwrap_or(0) as f64 / window as f64;
        share += uses.len() as f64 / (windows * f64::from(rate.events)) / 150.0;
    }
    assert!(share > 0.3, "and the rate is used: {share}");
}

/// A reload holds from its moment on where N or the lease changes. Where W changes, requests that are still under way speak
/// of the old one to the server: it holds once they are answered or lost.
#[test]
fn a_reload_lets_no_window_behind_it_hold_more_than_the_new_n() {
    let mut share = 0.0;
    for seed in 0..300 {
        let (uses, [before, after]) = World::run_reloaded(seed);
        let held = |from_us: u64, to_us: u64, rate: Rate| {
            let within: Vec<u64> = uses.iter().copied().filter(|at| (from_us..to_us).contains(at)).collect();
            let most = most_in_any(&within, rate);
            assert!(
                most <= rate.events as usize,
                "seed {seed}: {most} in a window of {rate:?}, {before:?}, {after:?}"
            );
            within.len()
        };
        held(0, after.from_us, before.rate);
        let settled = if before.rate.window == after.rate.window { 0 } else { SLOWEST_US };
        let count = held(after.from_us + settled, u64::MAX, after.rate);
        let window = after.rate.window.as_micros() as f64;
        let windows =
            (uses.last().copied().unwrap_or(0) as f64 - after.from_us as f64 - settled as f64) / window;
        share += count as f64 / (windows * f64::from(after.rate.events)) / 300.0;
    }
    assert!(share > 0.3, "and the new rate is used: {share}");
}

fn random_rate(rng: &mut Rng) -> Rate {
    Rate::new(rng.between(1, 40) as u32, ms(rng.between(300, 2000) as u64))
}

fn most_in_any(uses: &[u64], rate: Rate) -> usize {
    let window = rate.window.as_micros() as u64;
    let within = |from: usize| uses[from..].iter().take_while(|at| **at < uses[from] + window).count();
    (0..uses.len()).map(within).max().unwrap_or(0)
}
