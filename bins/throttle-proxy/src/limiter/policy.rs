//! What the limiter is to enforce: plain numbers, made by the configuration and never changed in place.

use std::time::Duration;

use sluice_cli::settings::Values;
use sluice_gateway::gate::RouteId;
use sluice_policy::window::Rate;

use super::keys::KeySpec;

/// Urgency classes, 0 the most urgent (RFC 9218 section 4.1).
pub const CLASSES: usize = 8;

/// Everything.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By [`RouteId`]; `[route default]` is the first.
    pub routes: Vec<RoutePolicy>,
    /// The `[limit NAME]` sections.
    pub limits: Vec<LimitPolicy>,
    /// Most queued requests in all routes.
    pub queue_size: usize,
    /// Most requests in flight in all routes; 0 for no cap.
    pub max_in_flight: u32,
    /// Most keys of one limit.
    pub keys_max: usize,
    /// What the pooler's pressure does.
    pub pressure: PressurePolicy,
    /// What several instances share.
    pub shared: SharedPolicy,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    /// For people, labels and commands.
    pub name: String,
    /// `max_requests`, `window_ms`, `burst`.
    pub rate: Rate,
    /// How the rate is enforced.
    pub algorithm: Algorithm,
    /// Most requests in flight; 0 for no cap.
    pub max_in_flight: u32,
    /// Most queued requests.
    pub queue_size: usize,
    /// Most queued requests of one key.
    pub queue_per_key: usize,
    /// Longest time in the queue.
    pub queue_max_wait: Duration,
    /// How long a client waits for its answer.
    pub patience: Duration,
    /// Least spacing of releases that waited for the rate, and least advice when to come back.
    pub retry_delay: Duration,
    /// Who goes first.
    pub queue_order: QueueOrder,
    /// A queue that has not been empty for so long stands.
    pub codel_interval: Duration,
    /// Longest time in a queue that stands.
    pub codel_target: Duration,
    /// Urgency of requests that do not say.
    pub class: u8,
    /// Percent of releases that less urgent classes keep.
    pub priority_min_share: u32,
    /// Whose share of the queue is to be fair.
    pub fair_key: KeySpec,
    /// Least distance of GETs of one key; `None`: not staged.
    pub stage_delay: Option<Duration>,
    /// Whether and how concurrency follows what the service shows.
    pub adaptive: AdaptiveKind,
    /// Concurrency never goes below this by adapting.
    pub adaptive_min: u32,
    /// Answers slower than this count as bad ones (aimd); `None`: speed does not count.
    pub adaptive_latency: Option<Duration>,
    /// Least advice when to come back.
    pub retry_after_min: Duration,
    /// Whether responses tell what is left (RateLimit fields).
    pub ratelimit_headers: RateLimitHeaders,
    /// The settings all this was made from, for the command `set`.
    pub values: Values,
}

/// A `[limit NAME]`: a rate for each key.
#[derive(Clone, Debug)]
pub struct LimitPolicy {
    /// For people and labels.
    pub name: String,
    /// What makes a key.
    pub key: KeySpec,
    /// Its rate.
    pub rate: Rate,
    /// How the rate is enforced.
    pub algorithm: Algorithm,
    /// Routes it applies to; empty for all.
    pub routes: Vec<RouteId>,
}

/// How a rate is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// By the log of the last N moments: exact.
    #[default]
    Window,
    /// By one moment: less memory, and a lower sustained rate where bursts are allowed.
    Gcra,
}

/// Who in a queue goes first, within a class and a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOrder {
    /// The oldest; the newest while the queue stands.
    #[default]
    Adaptive,
    /// The oldest.
    Fifo,
    /// The newest.
    Lifo,
}

/// Whether concurrency follows what the service shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdaptiveKind {
    /// It stays at `max_in_flight`.
    #[default]
    Off,
    /// By failures and slow answers.
    Aimd,
    /// By latency.
    Gradient,
}

/// Whether responses carry RateLimit fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// No.
    #[default]
    Off,
    /// In the syntax of draft-ietf-httpapi-ratelimit-headers-11.
    Draft11,
}

/// What the pooler's pressure does.
#[derive(Clone, Debug)]
pub struct PressurePolicy {
    /// Pools (`database/user`) that count; empty for all.
    pub pools: Vec<String>,
    /// How long a pool that is not ok may be silent before it is forgotten.
    pub stale: Duration,
    /// Classes from this one on are refused while a pool sheds.
    pub shed_class: u8,
}

/// What several instances share through Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPolicy {
    /// Whether rates of routes are shared at all.
    pub mode: SharedMode,
    /// How long a leased slot may be used.
    pub lease: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Whether rates are shared, and what holds while that does not work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedMode {
    /// Each instance has its own rate.
    #[default]
    Off,
    /// Shared; alone, each instance has the whole rate.
    FailOpen,
    /// Shared; alone, nothing is let through.
    FailClosed,
}

impl Default for RoutePolicy {
    /// The built-in values, under the name `default`.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            name: "default".to_owned(),
            rate: Rate::new(50, ms(30_000)),
            algorithm: Algorithm::Window,
            max_in_flight: 50,
            queue_size: 200,
            queue_per_key: 20,
            queue_max_wait: ms(3000),
            patience: ms(5000),
            retry_delay: ms(200),
            queue_order: QueueOrder::Adaptive,
            codel_interval: ms(1000),
            codel_target: ms(500),
            class: 3,
            priority_min_share: 10,
            fair_key: KeySpec::address(),
            stage_delay: None,
            adaptive: AdaptiveKind::Off,
            adaptive_min: 4,
            adaptive_latency: None,
            retry_after_min: ms(5000),
            ratelimit_headers: RateLimitHeaders::Off,
            values: Values::new(crate::config::SETTINGS),
        }
    }
}

impl Default for Policy {
    /// The built-in values with one route.
    fn default() -> Self {
        let route = RoutePolicy::default();
        Self {
            queue_size: route.queue_size,
            max_in_flight: route.max_in_flight,
            routes: vec![route],
            limits: Vec::new(),
            keys_max: 100_000,
            pressure: PressurePolicy { pools: Vec::new(), stale: Duration::from_millis(5000), shed_class: 4 },
            shared: SharedPolicy {
                mode: SharedMode::Off,
                lease: Duration::from_millis(500),
                timeout: Duration::from_millis(200),
            },
        }
    }
}
