//! What the limiter hears from other programs: the pooler's pressure, and slots of rates shared through Redis.
//!
//! Owned by the worker. Moves words between the machines [`Feed`] and [`Redis`], their sockets, the limiter and the log.
//! Requests never wait for any of it.

use std::io;
use std::time::Instant;

use sluice_gateway::shell::{Shell, class};
use sluice_unix::log::Level;
use sluice_unix::poller::Readiness;
use sluice_unix::random;
use sluice_unix::token::Token;

use crate::config::Snapshot;
use crate::config::redis::RedisPlace;
use crate::events;
use crate::limiter::Limiter;
use crate::link::Link;
use crate::pressure::{self, Feed};
use crate::shared::{self, Redis};

/// Classes of the sockets' tokens.
const PRESSURE: u8 = class::PROGRAM;
const REDIS: u8 = class::PROGRAM + 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Feeds {
    feed: Feed,
    feed_link: Link,
    redis: Redis,
    redis_link: Link,
}

impl Feeds {
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(snapshot: &Snapshot, shell: &Shell<Limiter>, now: Instant) -> io::Result<Self> {
        let instance = u64::from_ne_bytes(random::bytes()?);
        let global = &snapshot.global;
        Ok(Self {
            feed: Feed::new(global.pressure_socket.clone(), now),
            feed_link: Link::new(PRESSURE, shell.waker()),
            redis: Redis::new(place(snapshot), global.redis_prefix.clone(), instance, now),
            redis_link: Link::new(REDIS, shell.waker()),
        })
    }

    pub(crate) fn reconfigure(&mut self, snapshot: &Snapshot, now: Instant) {
        self.feed.set_path(snapshot.global.pressure_socket.clone(), now);
        self.redis.set(place(snapshot), snapshot.global.redis_prefix.clone(), now);
    }

    pub(crate) fn on_event(&mut self, token: Token, readiness: Readiness) {
        match token.class() {
            PRESSURE => self.feed_link.on_event(token.key(), readiness),
            REDIS => self.redis_link.on_event(token.key(), readiness),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.feed.poll_timeout().into_iter().chain(self.redis.poll_timeout()).min()
    }

    /// Does all there is to do. To be called each turn of the loop.
    pub(crate) fn turn(&mut self, shell: &mut Shell<Limiter>, now: Instant) {
        while self.hear_pressure(shell, now) | self.share(shell, now) {}
    }

    /// Returns whether anything has happened.
    fn hear_pressure(&mut self, shell: &mut Shell<Limiter>, now: Instant) -> bool {
        self.feed.handle_timeout(now);
        let feed = &mut self.feed;
        self.feed_link.turn(shell.poller(), |told| feed.on_told(told, now));
        let mut happened = false;
        while let Some(output) = self.feed.poll() {
            happened = true;
            match output {
                pressure::Output::Ask(ask) => self.feed_link.carry_out(ask, shell.poller()),
                pressure::Output::Report(report) => {
                    shell.gateway.with_gate(|limiter| limiter.pressure(report, now), now);
                }
                pressure::Output::Back => {
                    shell.log().line(
                        Level::Log,
                        events::PRESSURE_BACK,
                        format_args!("the pressure feed is there"),
                    );
                }
                pressure::Output::Lost(why) => {
                    shell.gateway.with_gate(|limiter| limiter.pressure_lost(now), now);
                    let bad = self.feed.bad_lines();
                    let text = format_args!("the pressure feed has ended: {why} ({bad} bad lines so far)");
                    shell.log().line(Level::Warning, events::PRESSURE_LOST, text);
                }
                pressure::Output::Failed(why) => {
                    let text = format_args!("there is no pressure feed: {why}");
                    shell.log().line(Level::Warning, events::PRESSURE_LOST, text);
                }
            }
        }
        if happened {
            shell.apply(now);
        }
        happened
    }

    /// Returns whether anything has happened.
    fn share(&mut self, shell: &mut Shell<Limiter>, now: Instant) -> bool {
        let mut happened = false;
        while let Some((route, request)) = shell.gateway.with_gate(|limiter| limiter.lease_request(now), now)
        {
            self.redis.request(route, request, now);
        }
        self.redis.handle_timeout(now);
        let redis = &mut self.redis;
        self.redis_link.turn(shell.poller(), |told| redis.on_told(told, now));
        while let Some(output) = self.redis.poll() {
            happened = true;
            match output {
                shared::Output::Ask(ask) => self.redis_link.carry_out(ask, shell.poller()),
                shared::Output::Granted { route, request, slots, next_free } => {
                    let tell = |limiter: &mut Limiter| limiter.leased(&route, request, slots, next_free, now);
                    shell.gateway.with_gate(tell, now);
                }
                shared::Output::Failed(why) => {
                    if let Some(why) = why {
                        let text = format_args!("cannot lease from Redis: {why}");
                        shell.log().line(Level::Warning, events::REDIS_ERROR, text);
                    }
                    shell.gateway.with_gate(|limiter| limiter.leases_failed(now), now);
                }
            }
        }
        if happened {
            shell.apply(now);
        }
        happened
    }
}

/// Where Redis is; the check of the configuration has refused what is no place.
fn place(snapshot: &Snapshot) -> Option<RedisPlace> {
    snapshot.global.redis.as_deref().and_then(RedisPlace::parse)
}
