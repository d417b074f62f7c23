//! What the control socket may ask of the limiter.

use std::time::Instant;

use serde_json::Value;
use sluice_gateway::code::Code;
use sluice_gateway::gate::{CommandResult, Privilege, RouteId, Verb};
use sluice_wire::control::Row;

use super::Limiter;
use super::entry::State;
use super::report::{shown_limit, whole_ms};

const SHOW_LIMITS: &str = "show limits";
const SHOW_QUEUE: &str = "show queue";
const SET: &str = "set";
const FLUSH: &str = "flush";

/// Commands beyond those of the gateway.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: SHOW_LIMITS,
        arguments: "",
        privilege: Privilege::Any,
        doc: "Routes and limits: what may go, what goes, what waits.",
    },
    Verb { name: SHOW_QUEUE, arguments: "", privilege: Privilege::Any, doc: "Requests that wait." },
    Verb {
        name: SET,
        arguments: "ROUTE KEY VALUE",
        privilege: Privilege::Owner,
        doc: "Change a setting of a route until the next reload.",
    },
    Verb {
        name: FLUSH,
        arguments: "ROUTE",
        privilege: Privilege::Owner,
        doc: "Refuse all requests that wait on a route.",
    },
];

impl Limiter {
    pub(super) fn carry_out(&mut self, verb: &str, arguments: &[&str], now: Instant) -> CommandResult {
        match (verb, arguments) {
            (SHOW_LIMITS, []) => Ok(self.show_limits(now)),
            (SHOW_QUEUE, []) => Ok(self.show_queue(now)),
            (SET, [route, key, value @ ..]) if !value.is_empty() => {
                self.set(route, key, &value.join(" "), now).map(|()| Vec::new())
            }
            (FLUSH, [route]) => {
                let at = self.route_named(route)?;
                self.expire_queue(at, Code::Shed, now);
                self.turn(now);
                Ok(Vec::new())
            }
            _ => Err("bad arguments".to_owned()),
        }
    }

    fn route_named(&self, name: &str) -> Result<usize, String> {
        let found = self.routes.iter().position(|route| route.policy.name == name);
        found.ok_or_else(|| format!("no such route: {name}"))
    }

    fn set(&mut self, route: &str, key: &str, value: &str, now: Instant) -> Result<(), String> {
        let at = self.route_named(route)?;
        let next = crate::config::changed_route(&self.policy.routes[at], key, value)?;
        let mut policy = self.policy.clone();
        policy.routes[at] = next.clone();
        if at == 0 {
            // What the default route has is what the top of the file says, and that bounds the sum.
            (policy.queue_size, policy.max_in_flight) = (next.queue_size, next.max_in_flight);
        }
        self.routes[at].set_policy(next, &policy, now);
        self.policy = policy;
        self.turn(now);
        Ok(())
    }

    pub(super) fn show_limits(&self, now: Instant) -> Vec<Row> {
        let routes = self.routes.iter().enumerate().map(|(at, route)| {
            let rate = route.meter.rate();
            let next_free = route.meter.next_free(now).saturating_duration_since(now);
            row([
                ("route", Value::from(route.policy.name.as_str())),
                ("limit", Value::Null),
                ("used", Value::from(route.meter.used(now))),
                ("max_requests", Value::from(rate.events)),
                ("window_ms", Value::from(whole_ms(rate.window))),
                ("in_flight", Value::from(route.in_flight)),
                ("limit_now", Value::from(shown_limit(self.limit_of(RouteId(at as u16), now)))),
                ("queued", Value::from(route.queue.len())),
                ("expected_wait_ms", Value::from(whole_ms(self.shared_wait(at, route.queue.len() + 1, now)))),
                ("next_free_ms", Value::from(whole_ms(next_free))),
                ("pressure", Value::from(self.pressure.state().word())),
            ])
        });
        let limits = self.limits.iter().zip(&self.policy.limits).map(|(limit, policy)| {
            let rate = limit.rate();
            row([
                ("route", Value::Null),
                ("limit", Value::from(policy.name.as_str())),
                ("max_requests", Value::from(rate.events)),
                ("window_ms", Value::from(whole_ms(rate.window))),
                ("keys", Value::from(limit.len())),
            ])
        });
        routes.chain(limits).collect()
    }

    fn show_queue(&self, now: Instant) -> Vec<Row> {
        let mut waiting: Vec<_> =
            self.tickets.iter().filter(|(_, entry)| entry.state == State::Queued).collect();
        waiting.sort_by_key(|(_, entry)| entry.arrived);
        let rows = waiting.into_iter().map(|(key, entry)| {
            row([
                ("id", Value::from(key.index)),
                ("route", Value::from(self.routes[usize::from(entry.route.0)].policy.name.as_str())),
                ("class", Value::from(entry.class)),
                ("key", Value::from(entry.key.to_string())),
                ("waited_ms", Value::from(whole_ms(now.saturating_duration_since(entry.arrived)))),
                ("deadline_ms", Value::from(whole_ms(entry.deadline.saturating_duration_since(now)))),
            ])
        });
        rows.collect()
    }
}

fn row<const N: usize>(fields: [(&str, Value); N]) -> Row {
    fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}
