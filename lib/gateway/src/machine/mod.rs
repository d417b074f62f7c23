//! The gateway as a machine: every client, every connection to an origin, and what passes between them.
//!
//! Owned by a shell, which holds the sockets. What goes in are bytes and ends of connections; what comes out are an
//! [`Outbox`] and [`Effect`]s. It knows no clock, socket, file or thread.
//!
//! A client's connection:
//!
//! ```text
//!            head      Pass                    connected
//!   Head ───────▶ admit ──────────▶ Dialing ─────────────▶ Open ──▶ both messages over ──▶ Head, or closed
//!     ▲              │ Delay          ▲ idle connection ──▶ │
//!     │              ▼                │                     └─ 101 ──▶ Tunnel ──▶ closed
//!     │            Queued ── Release ─┘
//!     └── Drop ◀── own answer while content of the request is still to come
//! ```
//! Invariants: an exchange holds at most one ticket, and ends it once; a connection to an origin serves at most one
//! client, and its bytes go to nobody else; a client is given one final answer a request, in order.

mod access;
mod admin;
mod answer;
mod checks;
mod client;
mod clock;
mod content;
mod dispatch;
mod exchange;
mod origin;
mod response;
mod rows;
mod stats;
mod time;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice_unix::slab::Slab;
use sluice_unix::timers::Timers;
use sluice_wire::http::limits::{BodyLimits, HeadLimits};

use crate::config::Config;
use crate::effect::{ClientId, Closing, Effect, End, Outbox};
use crate::gate::{self, Asker, Gate, QueueDrain, RouteId};
use crate::origins::{ConnId, OriginId, Origins};
use crate::settings::DrainQueue;

use checks::Check;
use client::Client;
use clock::Clock;
use origin::{ConnState, OriginConn};
use stats::Stats;

pub use admin::PAGES;
pub use client::{Incoming, TurnedAway};
pub use exchange::Source;
pub use origin::ConnectFailure;
pub use rows::ms;
pub use stats::METRICS;

/// What the machine cannot know by itself.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// One moment on both clocks.
    pub epoch: (Instant, SystemTime),
    /// Anything, but not the same each time: it spreads what must not happen all at once.
    pub random: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Gateway<G> {
    gate: G,
    config: Arc<Config>,
    limits: Limits,
    clients: Slab<Client>,
    conns: Slab<OriginConn>,
    origins: Origins,
    /// Bytes to send: the shell takes them before the effects.
    pub outbox: Outbox,
    effects: VecDeque<Effect>,
    timers: Timers<ClientId>,
    clock: Clock,
    stage: Stage,
    stats: Stats,
    tunnels: u32,
    next_serial: u64,
    random: u64,
    /// Lines of the access log: members of JSON objects, one a line.
    access: Vec<u8>,
    /// Bytes that connections hold for slow peers, as the shell last told.
    buffered: usize,
    checks: Vec<Check>,
    /// Client connections of each address.
    addresses: HashMap<IpAddr, u32>,
}

/// Limits of messages, put together once.
#[derive(Clone, Copy, Debug)]
struct Limits {
    request: HeadLimits,
    response: HeadLimits,
    request_body: BodyLimits,
    response_body: BodyLimits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// No new connections; what is there may finish until then.
    Draining(Instant),
}

impl<G: Gate> Gateway<G> {
    /// A gateway without connections.
    #[must_use]
    pub fn new(gate: G, config: Arc<Config>, seeds: Seeds) -> Self {
        Self {
            gate,
            limits: Limits::of(&config),
            clients: Slab::new(),
            conns: Slab::new(),
            origins: Origins::new(config.origins.len(), config.policy.clone(), seeds.random),
            outbox: Outbox::default(),
            effects: VecDeque::new(),
            timers: Timers::new(),
            clock: Clock::new(seeds.epoch),
            stage: Stage::Serving,
            stats: Stats::new(&config.routes),
            tunnels: 0,
            next_serial: 1,
            random: seeds.random | 1,
            access: Vec::new(),
            buffered: 0,
            checks: Vec::new(),
            addresses: HashMap::new(),
            config,
        }
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &G {
        &self.gate
    }

    /// The gate, for what asks nothing of the gateway.
    pub fn gate_mut(&mut self) -> &mut G {
        &mut self.gate
    }

    /// Has the gate do something that the gateway's own entries do not: take a new configuration, hear a feed, carry out
    /// a command. What it wants done afterwards follows.
    pub fn with_gate<T>(&mut self, act: impl FnOnce(&mut G) -> T, now: Instant) -> T {
        let outcome = act(&mut self.gate);
        self.finish_entry(now);
        outcome
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A new configuration. Exchanges under way keep the limits they began with, as far as those were looked at.
    pub fn reconfigure(&mut self, config: Arc<Config>) {
        if self.config.origins != config.origins {
            self.close_all_idle();
            self.stop_checks();
            // What is on its way to an earlier origin counts for none of the new ones.
            self.conns.iter_mut().for_each(|(_, conn)| conn.retired = true);
            let exchanges = self.clients.iter_mut().filter_map(|(_, client)| client.exchange.as_mut());
            exchanges.for_each(|exchange| exchange.origin = None);
            let seed = self.next_random();
            self.origins = Origins::new(config.origins.len(), config.policy.clone(), seed);
        }
        self.limits = Limits::of(&config);
        self.origins.reconfigure(config.origins.len(), config.policy.clone());
        self.stats.reconfigure(&config.routes);
        self.config = config;
    }

    /// Routes have new places, one for each old one: what is under way follows.
    pub fn move_routes(&mut self, places: &[RouteId]) {
        for key in self.clients.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(exchange) = self.exchange(ClientId(key)) {
                exchange.route = places.get(usize::from(exchange.route.0)).copied().unwrap_or_default();
            }
        }
    }

    /// The wall clock was looked at: what dates are made from.
    pub fn set_epoch(&mut self, epoch: (Instant, SystemTime)) {
        self.clock.set_epoch(epoch);
    }

    /// Tells how many bytes connections hold for slow peers now.
    pub fn set_buffered(&mut self, bytes: usize) {
        self.buffered = bytes;
    }

    /// When to call [`Gateway::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let moments = [
            self.timers.next(),
            self.gate.poll_timeout(),
            self.origins.poll_timeout(),
            self.origins.next_return(),
            self.next_check(),
        ];
        moments.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.expired(now) {
            self.on_timer(id, now);
        }
        while let Some(conn) = self.origins.expired_idle(now) {
            self.drop_conn(conn, Closing::Flush);
        }
        while let Some(origin) = self.origins.returned(now) {
            self.log_origin(origin, crate::origins::Change::Up, "its time out is over");
        }
        if !self.is_draining() {
            self.check_origins(now);
        }
        self.gate.handle_timeout(now);
        self.finish_entry(now);
    }

    /// The next thing to do: call until `None` after each entry, when the outbox has been sent.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Lines for the access log since the last call, without their time: the shell adds it. The buffer is the
    /// caller's to clear and give back.
    pub fn take_access(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.access)
    }

    /// Gives the buffer of [`Gateway::take_access`] back.
    pub fn return_access(&mut self, mut lines: Vec<u8>) {
        if self.access.is_empty() {
            lines.clear();
            self.access = lines;
        }
    }

    /// The process is to end: no new connections, idle ones close, the others may finish within `drain_ms`.
    pub fn drain(&mut self, now: Instant) {
        if self.is_draining() {
            return;
        }
        self.stage = Stage::Draining(now + self.config.settings.drain_ms);
        self.effects.push_back(Effect::StopListening);
        let queue = match self.config.settings.drain_queue {
            DrainQueue::Refuse => QueueDrain::Refuse,
            DrainQueue::Finish => QueueDrain::Finish,
        };
        self.gate.drain(queue, now);
        self.close_all_idle();
        self.stop_checks();
        let ids: Vec<ClientId> = self.clients.iter().map(|(key, _)| ClientId(key)).collect();
        for id in ids {
            if self.clients.get(id.0).is_some_and(Client::is_idle) {
                self.close_client(id, Closing::Linger, now);
            } else {
                self.arm(id, now);
            }
        }
        self.finish_entry(now);
    }

    /// Whether [`Gateway::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining(_))
    }

    /// Whether draining is over: nobody is left.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.clients.is_empty() && self.conns.is_empty()
    }

    /// Client connections.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Connections to origins, idle ones included.
    #[must_use]
    pub fn conns(&self) -> usize {
        self.conns.len()
    }

    /// Where the bytes of a connection go: while that one holds bytes for its peer, this one is not to be read.
    #[inline]
    #[must_use]
    pub fn destination(&self, end: End) -> Option<End> {
        match end {
            End::Client(id) => self.clients.get(id.0)?.conn().map(End::Origin),
            End::Origin(id) => self.conns.get(id.0)?.client.map(End::Client),
        }
    }

    /// What ends each entry: the gate's wishes.
    fn finish_entry(&mut self, now: Instant) {
        while let Some(effect) = self.gate.poll() {
            match effect {
                gate::Effect::Release(ticket, Asker(key)) => self.release(ClientId(key), ticket, now),
                gate::Effect::Expire(ticket, Asker(key), refusal) => {
                    self.expire(ClientId(key), ticket, &refusal, now);
                }
                gate::Effect::Log(event) => self.effects.push_back(Effect::Log(event)),
                gate::Effect::Publish(row) => self.effects.push_back(Effect::Publish(row)),
            }
        }
    }

    fn close_all_idle(&mut self) {
        for conn in self.origins.take_all_idle() {
            self.drop_conn(conn, Closing::Flush);
        }
    }

    /// Forgets a connection to an origin and has it closed.
    fn drop_conn(&mut self, id: ConnId, closing: Closing) {
        let Some(conn) = self.conns.remove(id.0) else { return };
        // Checks are not counted: they must get through when requests hold every connection.
        if !conn.is_check() && !conn.retired {
            self.origins.close(conn.origin);
        }
        self.effects.push_back(Effect::Close(End::Origin(id), closing));
    }

    /// xorshift64: enough to spread retries.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Retry-After in whole seconds: rounded up, at least one, with up to a fifth more, so that not all come at once.
    fn retry_after_s(&mut self, after: Duration) -> u64 {
        let share = (self.next_random() % 1000) as f64 / 5000.0;
        (after.as_secs_f64() * (1.0 + share)).ceil().max(1.0) as u64
    }

    fn log_origin(&mut self, origin: OriginId, change: crate::origins::Change, why: &str) {
        let name = self.config.origins.get(usize::from(origin.0)).map(|origin| origin.name.clone());
        let Some(name) = name else { return };
        self.effects.push_back(Effect::Log(crate::event::origin_changed(&name, change, why)));
    }
}

impl Limits {
    fn of(config: &Config) -> Self {
        let settings = &config.settings;
        let body = BodyLimits {
            body_max: settings.body_max,
            chunk_ext_line_max: settings.chunk_ext_line_max,
            chunk_ext_max: settings.chunk_ext_max,
            trailer_max: settings.trailer_max,
            trailer_fields_max: settings.trailer_fields_max,
        };
        Self {
            request: HeadLimits {
                target_max: settings.target_max,
                head_max: settings.head_max,
                field_max: settings.field_max,
                fields_max: settings.fields_max,
            },
            response: HeadLimits {
                target_max: 0,
                head_max: settings.origin_head_max,
                field_max: settings.origin_head_max,
                fields_max: settings.origin_fields_max,
            },
            request_body: body,
            response_body: BodyLimits { body_max: 0, ..body },
        }
    }
}

#[cfg(test)]
mod tests;
