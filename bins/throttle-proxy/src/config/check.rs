//! What the kind of one key alone cannot tell.

use sluice_cli::settings::{Value, Values};

use super::redis::RedisPlace;
use crate::limiter::keys::KeySpec;

/// A key, and what is wrong with it.
type Wrong = (&'static str, String);

/// What an origin's address looks like.
const ORIGIN: &str = "expected http://host[:port], https://host[:port] or unix:/path";

fn text<'a>(values: &'a Values, key: &str) -> &'a str {
    match values.value(key) {
        Value::Text(text) | Value::List(text) => text,
        _ => "",
    }
}

/// Refuses values of a route, or of the top of the file, that cannot mean anything.
///
/// # Errors
/// What is wrong.
pub(super) fn route(values: &Values) -> Result<(), Wrong> {
    let fair_key = text(values, "fair_key");
    if KeySpec::parse(fair_key).is_none() {
        return Err(("fair_key", format!("invalid value \"{fair_key}\" for fair_key: expected {KEY}")));
    }
    Ok(())
}

/// What a key specification looks like; reads on from "expected".
pub(super) const KEY: &str = "route, address, header:NAME or path:1 to path:16, joined by +";

/// Refuses values of the top of the file that cannot mean anything.
///
/// # Errors
/// What is wrong.
pub(super) fn global(values: &Values) -> Result<(), Wrong> {
    let redis = text(values, "redis");
    if !redis.is_empty() && RedisPlace::parse(redis).is_none() {
        // Not quoted: it may hold a password.
        let expected = "expected redis://[user:password@]host[:port][/db] or unix:/path";
        return Err(("redis", format!("invalid value for redis: {expected}")));
    }
    if text(values, "listen").trim().is_empty() {
        return Err(("listen", "listen names no address".to_owned()));
    }
    for origin in values.value("origin").words() {
        let known = ["http://", "https://", "unix:"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !known {
            return Err(("origin", format!("invalid value \"{origin}\" for origin: {ORIGIN}")));
        }
    }
    if values.value("origin").words().next().is_none() {
        return Err(("origin", format!("origin names no server: {ORIGIN}")));
    }
    let certificates = values.value("tls_cert_file").words().count();
    if certificates != values.value("tls_key_file").words().count() {
        let message = "tls_cert_file and tls_key_file need the same number of files".to_owned();
        return Err(("tls_cert_file", message));
    }
    route(values)
}

/// Settings that work but defeat each other.
pub(super) fn warnings(values: &Values) -> Vec<String> {
    let time = |key| match values.value(key) {
        Value::Milliseconds(time) | Value::Seconds(time) => *time,
        _ => std::time::Duration::ZERO,
    };
    let mut warnings = Vec::new();
    if time("queue_max_wait_ms") >= time("patience_ms") {
        warnings.push(
            "queue_max_wait_ms is not less than patience_ms: clients leave before their answer".to_owned(),
        );
    }
    if values.value("stage") == &Value::Bool(true) && time("stage_delay_ms").is_zero() {
        warnings.push("stage is on but stage_delay_ms is 0: nothing is staged".to_owned());
    }
    warnings
}
