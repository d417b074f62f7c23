//! What the limiter tells: log events, rows for watchers, metrics, RateLimit fields.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_gateway::gate::{Effect, Event, Field, RouteId};
use sluice_gateway::metrics::{Exposition, Metric, MetricKind};
use sluice_unix::log::Level;
use sluice_wire::control::Row;

use super::Limiter;
use super::entry::Entry;
use super::policy::RateLimitHeaders;
use super::pressure::{Change, PoolState};
use super::saturation::Telling;

const SATURATED: &str = "throttle.saturated";
const CLEAR: &str = "throttle.clear";
const LIMIT: &str = "throttle.limit";
const PRESSURE_CHANGE: &str = "pressure.change";
const REDIS_LOST: &str = "redis.lost";
const REDIS_BACK: &str = "redis.back";

/// Log events, with what they say. Those of the feeds themselves are in [`crate::pressure`] and [`crate::shared`].
pub(super) const EVENTS: &[(&str, &str)] = &[
    (PRESSURE_CHANGE, "The worst pool of the pressure feed is in another state."),
    (REDIS_BACK, "Slots of a shared rate are leased again."),
    (REDIS_LOST, "No slots of a shared rate can be leased; shared_fail decides."),
    (CLEAR, "No request was refused for five seconds."),
    (LIMIT, "The limit on requests in flight has changed by itself."),
    (SATURATED, "Requests are being refused; at most once a second, as a sum."),
];

const fn gauge(name: &'static str, labels: &'static [&'static str], doc: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, doc }
}

const fn counter(name: &'static str, labels: &'static [&'static str], doc: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, doc }
}

const QUEUE_LENGTH: Metric =
    gauge("throttle_queue_length", &["route", "class"], "Requests that wait, by urgency class.");
const LIMIT_NOW: Metric =
    gauge("throttle_limit", &["route"], "Most requests in flight now; -1 for no limit.");
const EXPECTED_WAIT: Metric =
    gauge("throttle_expected_wait_ms", &["route"], "What a newcomer has to expect.");
const KEYS: Metric = gauge("throttle_keys", &[], "Keys of all limits that are remembered.");
const ABANDONED: Metric =
    counter("throttle_abandoned_total", &["route"], "Requests whose client left the queue.");
const EXPIRED: Metric = counter("throttle_expired_total", &["route"], "Requests that waited too long.");
const EVICTED: Metric =
    counter("throttle_evicted_total", &["route"], "Requests that made room for more urgent ones.");
const PRESSURE_STATE: Metric = gauge(
    "throttle_pressure_state",
    &["pool"],
    "0 ok, 1 pressured, 2 shedding; the worst pool, and those of pressure_pools.",
);
const LEASE_ERRORS: Metric =
    counter("throttle_lease_errors_total", &[], "Requests for slots of a shared rate that failed.");

/// The metrics.
pub(super) const METRICS: &[Metric] = &[
    QUEUE_LENGTH,
    LIMIT_NOW,
    EXPECTED_WAIT,
    KEYS,
    ABANDONED,
    EXPIRED,
    EVICTED,
    PRESSURE_STATE,
    LEASE_ERRORS,
];

/// The label of the worst pool.
const WORST: &str = "worst";

/// What has become of the other side of a shared rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    Lost,
    Back,
}

impl Limiter {
    /// Tells what is due: refusals, the end of them, limits that have changed.
    pub(super) fn tell(&mut self, now: Instant) {
        for at in 0..self.routes.len() {
            while let Some(telling) = self.routes[at].saturation.tell(now) {
                self.tell_saturation(at, &telling, now);
            }
            self.tell_limit(at, now);
        }
    }

    fn tell_saturation(&mut self, at: usize, telling: &Telling, now: Instant) {
        let route = &self.routes[at];
        let name = route.policy.name.clone();
        let mut fields = vec![
            ("route", Field::Text(name.clone())),
            ("queued", Field::Number(route.queue.len() as i64)),
            ("in_flight", Field::Number(route.in_flight.into())),
        ];
        match telling {
            Telling::Clear => {
                self.say(Level::Log, CLEAR, format!("route {name} refuses nobody any more"), fields);
            }
            Telling::Saturated(refused) => {
                let sum: u64 = refused.values().sum();
                let codes: Vec<String> =
                    refused.iter().map(|(code, count)| format!("{} {count}", code.name())).collect();
                fields.push(("refused", Field::Number(sum as i64)));
                fields.push(("codes", Field::Text(codes.join(", "))));
                let expected = self.shared_wait(at, self.routes[at].queue.len() + 1, now);
                fields.push(("expected_wait_ms", Field::Number(whole_ms(expected) as i64)));
                let requests = if sum == 1 { "request" } else { "requests" };
                let text = format!("route {name} refused {sum} {requests} ({})", codes.join(", "));
                self.say(Level::Warning, SATURATED, text, fields);
            }
        }
    }

    /// At most once a second a route: what adapts moves all the time.
    fn tell_limit(&mut self, at: usize, now: Instant) {
        let limit = self.limit_of(RouteId(at as u16), now);
        let route = &mut self.routes[at];
        let before = match route.told_limit {
            None => {
                route.told_limit = Some((limit, now));
                return;
            }
            Some((before, told_at)) if before == limit || told_at + super::saturation::LINE_EVERY > now => {
                return;
            }
            Some((before, _)) => before,
        };
        route.told_limit = Some((limit, now));
        let name = route.policy.name.clone();
        let fields = vec![
            ("route", Field::Text(name.clone())),
            ("from", Field::Number(shown_limit(before))),
            ("to", Field::Number(shown_limit(limit))),
            ("in_flight", Field::Number(self.routes[at].in_flight.into())),
        ];
        let (from, to) = (shown_limit(before), shown_limit(limit));
        self.say(Level::Log, LIMIT, format!("route {name} may have {to} in flight, was {from}"), fields);
    }

    pub(super) fn pressure_changed(&mut self, pool: Option<&str>, change: Option<Change>, now: Instant) {
        let Some(Change { from, to }) = change else { return };
        let mut fields = vec![
            ("from", Field::Text(from.word().to_owned())),
            ("to", Field::Text(to.word().to_owned())),
            ("limit_now", Field::Number(shown_limit(self.limit_of_all(now)))),
            ("expected_wait_ms", Field::Number(whole_ms(self.pressure.expected_wait()) as i64)),
        ];
        fields.extend(pool.map(|pool| ("pool", Field::Text(pool.to_owned()))));
        let level = if to == PoolState::Ok { Level::Log } else { Level::Warning };
        self.say(level, PRESSURE_CHANGE, format!("pressure is {}, was {}", to.word(), from.word()), fields);
        if to == PoolState::Shedding {
            self.shed_classes(now);
        }
    }

    pub(super) fn tell_shared(&mut self, at: usize, shared: Shared) {
        let name = self.routes[at].policy.name.clone();
        let fields = vec![("route", Field::Text(name.clone()))];
        match shared {
            Shared::Lost => {
                let text = format!("no slots of the shared rate of route {name} can be leased");
                self.say(Level::Warning, REDIS_LOST, text, fields);
            }
            Shared::Back => {
                let text = format!("slots of the shared rate of route {name} are leased again");
                self.say(Level::Log, REDIS_BACK, text, fields);
            }
        }
    }

    /// A log line, and the same as a row for watchers.
    fn say(&mut self, level: Level, name: &'static str, text: String, fields: Vec<(&'static str, Field)>) {
        let row = fields.iter().map(|(key, value)| {
            let value = match value {
                Field::Text(text) => Value::from(text.as_str()),
                Field::Number(number) => Value::from(*number),
            };
            ((*key).to_owned(), value)
        });
        let row: Row = [("event".to_owned(), Value::from(name))].into_iter().chain(row).collect();
        self.effects.push_back(Effect::Log(Event { level, name, text, fields }));
        self.effects.push_back(Effect::Publish(row));
    }

    pub(super) fn expose_all(&self, out: &mut Exposition<'_>, now: Instant) {
        out.family(&QUEUE_LENGTH);
        for route in &self.routes {
            for (class, length) in route.queued_by_class().iter().enumerate() {
                out.sample(&QUEUE_LENGTH, &[&route.policy.name, &class.to_string()], length);
            }
        }
        out.family(&LIMIT_NOW);
        for (at, route) in self.routes.iter().enumerate() {
            let limit = shown_limit(self.limit_of(RouteId(at as u16), now));
            out.sample(&LIMIT_NOW, &[&route.policy.name], limit);
        }
        out.family(&EXPECTED_WAIT);
        for (at, route) in self.routes.iter().enumerate() {
            let wait = self.shared_wait(at, route.queue.len() + 1, now);
            out.sample(&EXPECTED_WAIT, &[&route.policy.name], whole_ms(wait));
        }
        out.family(&KEYS);
        out.sample(&KEYS, &[], self.limits.iter().map(super::Keyed::len).sum::<usize>());
        for (metric, count) in [
            (&ABANDONED, (|route| route.counts.abandoned) as fn(&super::Route) -> u64),
            (&EXPIRED, |route| route.counts.expired),
            (&EVICTED, |route| route.counts.evicted),
        ] {
            out.family(metric);
            for route in &self.routes {
                out.sample(metric, &[&route.policy.name], count(route));
            }
        }
        out.family(&PRESSURE_STATE);
        out.sample(&PRESSURE_STATE, &[WORST], self.pressure.state() as u8);
        for pool in self.pressure.named_pools() {
            out.sample(&PRESSURE_STATE, &[pool], self.pressure.state_of(pool) as u8);
        }
        out.family(&LEASE_ERRORS);
        out.sample(
            &LEASE_ERRORS,
            &[],
            self.routes.iter().map(|route| route.counts.lease_errors).sum::<u64>(),
        );
    }

    /// `RateLimit-Policy` and `RateLimit` of the route and of the request's own keys, as
    /// draft-ietf-httpapi-ratelimit-headers-11 writes them.
    pub(super) fn ratelimit_fields(&self, entry: &Entry, now: Instant, out: &mut Vec<u8>) {
        let route = &self.routes[usize::from(entry.route.0)];
        if route.policy.ratelimit_headers == RateLimitHeaders::Off {
            return;
        }
        let shared = (route.policy.name.as_str(), route.policy.rate, route.meter.used(now));
        let own = entry.limits.iter().map(|(limit, key)| {
            let place = usize::from(*limit);
            let limit = &self.limits[place];
            (self.policy.limits[place].name.as_str(), limit.rate(), limit.used(*key, now))
        });
        let (mut policies, mut states) = (String::new(), String::new());
        let limited = std::iter::once(shared).chain(own).filter(|(_, rate, _)| !rate.is_unlimited());
        for (name, rate, used) in limited {
            let lead = if policies.is_empty() { "" } else { ", " };
            let window_s = rate.window.as_secs_f64().ceil();
            let left = (rate.events as usize).saturating_sub(used);
            policies.push_str(&format!("{lead}\"{name}\";q={};w={window_s}", rate.events));
            states.push_str(&format!("{lead}\"{name}\";r={left};t={window_s}"));
        }
        if !policies.is_empty() {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "RateLimit-Policy: {policies}\r\nRateLimit: {states}\r\n");
        }
    }
}

/// Rows of a table as what a new watcher gets first.
pub(super) fn as_events(rows: Vec<Row>) -> Vec<Row> {
    let limits = |row: Row| [("event".to_owned(), Value::from("limits"))].into_iter().chain(row).collect();
    rows.into_iter().map(limits).collect()
}

/// -1 for no limit.
pub(super) fn shown_limit(limit: u32) -> i64 {
    if limit == u32::MAX { -1 } else { limit.into() }
}

/// Milliseconds, rounded up: what is not over is not 0.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
