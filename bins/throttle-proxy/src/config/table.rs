//! The settings of throttle-proxy: the one list of keys, and [`Global`], which has a field for each.
//!
//! First the rows both proxies have, then the limiter's. A row is as in [`sluice_gateway::common_settings`]. Keys that
//! may also stand in a `[route NAME]` are marked so; what a route leaves unset comes from the top of the file.

use std::time::Duration;

use sluice_cli::field::{COUNT, SIZE, TIME, TIME_OFF};
use sluice_cli::settings::{Acted, Kind, Reload, Setting, Table};
use sluice_cli::settings_table;
use sluice_gateway::{common_settings, gateway_settings};

use super::types::{Field, SharedFail};
use crate::limiter::keys::KeySpec;
use crate::limiter::policy::{AdaptiveKind, Algorithm, QueueOrder, RateLimitHeaders};

/// Requests a log remembers: 16 bytes each.
const REQUESTS: Kind = Kind::Int { min: 0, max: 10_000_000 };
const CLASS: Kind = Kind::Int { min: 0, max: 7 };

common_settings! { settings_table {
    // The process.
    control_socket: Option<String>, Kind::Text, "/run/sluice/throttle-proxy.sock", No, Yes, [],
        "Unix socket for throttle-proxy ctl; empty for none.";
    user: Option<String>, Kind::Text, "", No, Yes, [],
        "Unix user to become when started as root.";
    pidfile: Option<String>, Kind::Text, "", No, Yes, [],
        "File that holds the process id.";
    logfile: Option<String>, Kind::Text, "", Yes, Yes, [],
        "File to log to, besides standard error; opened anew at each reload.";
    verbose: u32, (Kind::Int { min: 0, max: 3 }), "0", Yes, Yes, [],
        "How much is logged, 0 to 3.";

    // The rate.
    max_requests: u32, REQUESTS, "50", Yes, Yes, ["route" "limit"],
        "Requests that may go in any window; 0 for any number.";
    window_ms: Duration, TIME, "30000", Yes, Yes, ["route" "limit"],
        "Length of the window.";
    burst: u32, REQUESTS, "0", Yes, Yes, ["route" "limit"],
        "Requests that may go in the same share of the window; 0 for all at once, 1 for even spacing.";
    algorithm: Algorithm, Kind::Enum(&["window", "gcra"]), "window", No, Yes, ["route" "limit"],
        "How the rate is kept: exactly by a log, or with less memory by the generic cell rate algorithm.";
    keys_max: usize, (Kind::Int { min: 1, max: 10_000_000 }), "100000", Yes, Yes, [],
        "Keys a limit remembers; newcomers beyond it share one.";

    // Concurrency.
    max_in_flight: u32, COUNT, "50", Yes, Yes, ["route"],
        "Requests at the origin at a time; 0 for any number. At the top of the file it also bounds the sum.";
    adaptive: AdaptiveKind, Kind::Enum(&["off", "aimd", "gradient"]), "off", Yes, Yes, ["route"],
        "Whether and by what concurrency follows the service.";
    adaptive_min: u32, (Kind::Int { min: 1, max: i32::MAX as i64 }), "4", Yes, Yes, ["route"],
        "Concurrency below which it does not adapt.";
    adaptive_latency_ms: Option<Duration>, TIME_OFF, "0", Yes, Yes, ["route"],
        "Time to the head of a response from which it counts as a failure for aimd; 0 for never.";

    // The queue.
    queue_size: usize, COUNT, "200", Yes, Yes, ["route"],
        "Requests that may wait. At the top of the file it also bounds the sum.";
    queue_per_key: usize, COUNT, "20", Yes, Yes, ["route"],
        "Requests of one key that may wait.";
    fair_key: KeySpec, Kind::Text, "address", Yes, Yes, ["route"],
        "Whose turns and places in the queue are counted: route, address, header:NAME, path:N, joined by +.";
    queue_max_wait_ms: Duration, TIME_OFF, "3000", Yes, Yes, ["route"],
        "Longest wait; who would have to wait longer is refused at once.";
    patience_ms: Duration, TIME_OFF, "5000", Yes, Yes, ["route"],
        "How long clients wait for an answer, if they do not say (Prefer: wait=N).";
    retry_delay_ms: Duration, TIME_OFF, "200", Yes, Yes, ["route"],
        "Least time between requests that waited for the rate, and least Retry-After.";
    queue_order: QueueOrder, Kind::Enum(&["adaptive", "fifo", "lifo"]), "adaptive", Yes, Yes, ["route"],
        "Who of one key goes first; adaptive is fifo, and lifo while the queue does not empty.";
    codel_interval_ms: Duration, TIME, "1000", Yes, Yes, ["route"],
        "A queue that has not been empty for this long stands.";
    codel_target_ms: Duration, TIME, "500", Yes, Yes, ["route"],
        "Longest wait in an adaptive queue that stands.";
    class: u8, CLASS, "3", Yes, Yes, ["route"],
        "Urgency, 0 the most urgent, of requests that do not say (Priority: u=N).";
    priority_min_share: u32, (Kind::Int { min: 0, max: 100 }), "10", Yes, Yes, ["route"],
        "Percent of turns that less urgent classes keep.";
    stage: bool, Kind::Bool, "off", Yes, Yes, ["route"],
        "Whether GETs of one key keep a distance.";
    stage_delay_ms: Duration, TIME_OFF, "0", Yes, Yes, ["route"],
        "The distance of staged GETs.";
    retry_after_min_s: Duration, Kind::Seconds, "5", Yes, Yes, ["route"],
        "Least Retry-After of a refusal.";
    ratelimit_headers: RateLimitHeaders, Kind::Enum(&["off", "draft11"]), "off", Yes, Yes, ["route"],
        "Whether responses carry RateLimit fields, and of which draft.";

    // Pressure of the pooler.
    pressure_socket: Option<String>, Kind::Text, "", Yes, Yes, [],
        "Control socket of a poolerd whose pressure lowers concurrency; empty for none.";
    pressure_pools: Vec<String>, Kind::List, "", Yes, Yes, [],
        "Pools (database/user) that count; empty for all.";
    pressure_stale_ms: Duration, TIME, "5000", Yes, Yes, [],
        "Silence after which a pool that was not ok is taken for ok.";
    shed_class: u8, CLASS, "4", Yes, Yes, [],
        "Classes from this one on are refused while a pool sheds.";

    // Several instances.
    redis: Option<String>, Kind::Text, "", Yes, Yes, [],
        "Redis that instances share rates through: redis://[user:password@]host[:port][/db] or unix:/path.";
    redis_prefix: String, Kind::Text, "sluice:throttle:", Yes, Yes, [],
        "What names of keys in Redis begin with.";
    lease_ms: Duration, TIME, "500", Yes, Yes, [],
        "How long a leased slot may be used.";
    redis_timeout_ms: Duration, TIME, "200", Yes, Yes, [],
        "Time for an answer of Redis.";
    shared_fail: SharedFail, Kind::Enum(&["open", "closed"]), "open", Yes, Yes, [],
        "While Redis does not answer: the whole rate for each instance, or nothing.";
} }

// The gateway's part of them.
common_settings! { gateway_settings {} }

const fn text(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting { name, kind, default: Some(default), reload: Reload::Yes, acted: Acted::Yes, also_in: &[], doc }
}

/// Keys of a `[route NAME]` that stand nowhere else: what it takes.
pub const ROUTE_KEYS: Table = Table(&[
    text("match_path", Kind::Text, "", "Prefix of the path, ending at a / boundary; empty for any."),
    text("match_host", Kind::List, "", "Hosts, without ports; empty for any."),
    text("match_methods", Kind::List, "", "Methods; empty for any."),
]);

/// Keys of a `[limit NAME]` that stand nowhere else.
pub const LIMIT_KEYS: Table = Table(&[
    text("key", Kind::Text, "address", "What makes a key: route, address, header:NAME, path:N, joined by +."),
    text("routes", Kind::List, "", "Routes it applies to; empty for all."),
]);

/// Names of the document this project was asked for, which mean the same.
pub const ALIASES: [(&str, &str); 4] = [
    ("maxRequests", "max_requests"),
    ("windowMs", "window_ms"),
    ("queueSize", "queue_size"),
    ("retryDelay", "retry_delay_ms"),
];
