//! Log events of the program beyond those of the gateway: the limiter's, and its own.

use sluice_gateway::event;
use sluice_gateway::gate::Gate as _;

use crate::limiter::Limiter;

/// A setting works, but may not be meant so.
pub const CONFIG: &str = "config";

/// The process ends.
pub const EXIT: &str = event::EXIT;

/// The pressure feed has begun.
pub const PRESSURE_BACK: &str = "pressure.back";

/// There is no pressure feed any more.
pub const PRESSURE_LOST: &str = "pressure.lost";

/// Redis cannot be used, and why.
pub const REDIS_ERROR: &str = "redis.error";

/// What the program itself logs, with a line about each.
const OWN: &[(&str, &str)] = &[
    (CONFIG, "A setting works, but may not be meant so."),
    (PRESSURE_BACK, "The pressure feed has begun."),
    (PRESSURE_LOST, "There is no pressure feed any more; limits are the configured ones."),
    (REDIS_ERROR, "Redis cannot be used; the line tells why."),
];

/// Every event, in byte order.
#[must_use]
pub fn all() -> Vec<(&'static str, &'static str)> {
    let mut all = [event::EVENTS, Limiter::EVENTS, OWN].concat();
    all.sort_unstable();
    all
}
