//! From settings to what the limiter enforces.

use std::time::Duration;

use sluice_cli::settings::{Origin, Reload, SetError, Setting, Values};
use sluice_gateway::gate::RouteId;
use sluice_policy::window::Rate;

use super::table::{Global, SETTINGS};
use super::types::Field;
use crate::limiter::keys::KeySpec;
use crate::limiter::policy::{
    Algorithm, LimitPolicy, Policy, PressurePolicy, RoutePolicy, SharedMode, SharedPolicy,
};

/// The policy of all routes and limits.
pub(super) fn policy(global: &Global, routes: Vec<RoutePolicy>, limits: Vec<LimitPolicy>) -> Policy {
    let shared = global.redis.is_some();
    Policy {
        routes,
        limits,
        queue_size: global.queue_size,
        max_in_flight: global.max_in_flight,
        keys_max: global.keys_max,
        pressure: PressurePolicy {
            pools: global.pressure_pools.clone(),
            stale: global.pressure_stale_ms,
            shed_class: global.shed_class,
        },
        shared: SharedPolicy {
            mode: if shared { global.shared_fail.mode() } else { SharedMode::Off },
            lease: global.lease_ms,
            timeout: global.redis_timeout_ms,
        },
    }
}

/// The policy of a route whose settings, the inherited ones included, are `values`.
pub(super) fn route(name: &str, values: &Values) -> RoutePolicy {
    let global = Global::from_values(values);
    let stage_delay = Some(global.stage_delay_ms).filter(|delay| global.stage && !delay.is_zero());
    RoutePolicy {
        name: name.to_owned(),
        rate: Rate { events: global.max_requests, window: global.window_ms, burst: global.burst },
        algorithm: global.algorithm,
        max_in_flight: global.max_in_flight,
        queue_size: global.queue_size,
        queue_per_key: global.queue_per_key,
        queue_max_wait: global.queue_max_wait_ms,
        patience: global.patience_ms,
        retry_delay: global.retry_delay_ms,
        queue_order: global.queue_order,
        codel_interval: global.codel_interval_ms,
        codel_target: global.codel_target_ms,
        class: global.class,
        priority_min_share: global.priority_min_share,
        fair_key: global.fair_key,
        stage_delay,
        adaptive: global.adaptive,
        adaptive_min: global.adaptive_min,
        adaptive_latency: global.adaptive_latency_ms,
        retry_after_min: global.retry_after_min_s,
        ratelimit_headers: global.ratelimit_headers,
        values: values.clone(),
    }
}

/// The policy of a `[limit NAME]`: `values` as the section and the top of the file have them.
pub(super) fn limit(name: &str, key: KeySpec, routes: Vec<RouteId>, values: &Values) -> LimitPolicy {
    let number = |name| u32::from_value(values.value(name));
    let window = Duration::from_value(values.value("window_ms"));
    LimitPolicy {
        name: name.to_owned(),
        key,
        rate: Rate { events: number("max_requests"), window, burst: number("burst") },
        algorithm: Algorithm::from_value(values.value("algorithm")),
        routes,
    }
}

/// Settings of a route that a running throttle-proxy changes.
pub fn changeable() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.0.iter().filter(|row| row.also_in.contains(&"route") && row.reload == Reload::Yes)
}

/// The route's policy with one key changed, as the command `set` asks.
///
/// # Errors
/// What is wrong with the key or the value.
pub fn changed_route(running: &RoutePolicy, key: &str, value: &str) -> Result<RoutePolicy, String> {
    let key = super::load::canonical(key);
    if SETTINGS.row(key).is_some() && changeable().all(|row| row.name != key) {
        return Err(format!("{key} is not a setting of a route that can be changed"));
    }
    let mut values = running.values.clone();
    values.set(key, value, Origin::Command).map_err(|error| describe(key, value, &error))?;
    super::check::route(&values).map_err(|(_, message)| message)?;
    Ok(route(&running.name, &values))
}

/// What is wrong with a setting.
pub(super) fn describe(key: &str, value: &str, error: &SetError) -> String {
    match error {
        SetError::Unknown(None) => format!("unknown key {key}"),
        SetError::Unknown(Some(near)) => format!("unknown key {key}, the nearest is {near}"),
        SetError::Invalid(expected) => format!("invalid value \"{value}\" for {key}: {expected}"),
    }
}
