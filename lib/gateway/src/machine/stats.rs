//! Counts of what was served: the gateway's metrics.
//!
//! Owned by the machine. Routes and origins come from the configuration, reasons and codes from tables, so the number
//! of samples is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::code::Code;
use crate::gate::RouteId;
use crate::metrics::{Exposition, Metric, MetricKind};
use crate::origins::OriginId;
use crate::route::Routes;

use super::exchange::{Exchange, Source};

/// Upper bounds of the intervals of durations, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Where an answer can come from.
const SOURCES: [Source; 4] = [Source::None, Source::Origin, Source::Cache, Source::Gateway];

/// Classes of status codes; the first is for requests that were never answered.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// A distribution of durations.
#[derive(Clone, Debug, Default)]
struct Durations {
    counts: [u64; BOUNDS.len()],
    beyond: u64,
    sum: Duration,
}

#[derive(Clone, Debug, Default)]
struct OfRoute {
    requests: [[u64; CLASSES.len()]; SOURCES.len()],
    refused: BTreeMap<Code, u64>,
    total: Durations,
    queue: Durations,
}

#[derive(Clone, Debug, Default)]
struct OfOrigin {
    connect: Durations,
    head: Durations,
    errors: BTreeMap<Code, u64>,
    stale_retries: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Stats {
    routes: Vec<OfRoute>,
    origins: Vec<OfOrigin>,
    bad_requests: BTreeMap<&'static str, u64>,
    bytes_in: u64,
    bytes_out: u64,
}

macro_rules! metrics {
    ($($const:ident: $name:literal, $kind:ident, [$($label:literal)*], $doc:literal;)+) => {
        $(const $const: Metric =
            Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], doc: $doc };)+

        /// Every metric of the gateway.
        pub const METRICS: &[Metric] = &[$($const),+];
    };
}

metrics! {
    REQUESTS: "http_requests_total", Counter, ["route" "status_class" "source"], "Requests by answer and who gave it.";
    REFUSED: "http_refused_total", Counter, ["route" "code"], "Own answers by reason.";
    BAD: "http_bad_requests_total", Counter, ["reason"], "Requests that break a rule.";
    BYTES: "http_bytes_total", Counter, ["direction"], "Bytes of content from clients (in) and to them (out).";
    SECONDS: "http_request_seconds", Histogram, ["route"], "Time from the head of a request to the end of its answer.";
    QUEUE: "http_queue_seconds", Histogram, ["route"], "Time from the head of a request to its dispatch.";
    CONNECTIONS: "http_connections", Gauge, ["state"], "Client connections.";
    TUNNELS: "http_tunnels", Gauge, [], "Open tunnels.";
    IN_FLIGHT: "http_in_flight", Gauge, ["route"], "Requests dispatched and not over.";
    BUFFER: "http_buffer_bytes", Gauge, [], "Bytes held for slow peers.";
    DROPPED: "http_log_dropped_total", Counter, [], "Lines of the access log dropped because nobody took them.";
    CONNECT: "origin_connect_seconds", Histogram, ["origin"], "Time to connect.";
    HEAD: "origin_head_seconds", Histogram, ["origin"], "Time from dispatch to the head of the response.";
    CONNS: "origin_connections", Gauge, ["origin" "state"], "Connections to origins.";
    UP: "origin_up", Gauge, ["origin"], "Whether the origin is in use.";
    ERRORS: "origin_errors_total", Counter, ["origin" "reason"], "Failures by reason.";
    STALE: "origin_stale_retries_total", Counter, ["origin"], "Requests sent again because a kept connection was dead.";
}

/// What is measured at the moment of asking.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    pub(super) idle: usize,
    pub(super) active: usize,
    pub(super) queued: usize,
    /// The route of each request that was dispatched and is not over.
    pub(super) in_flight: Vec<RouteId>,
    pub(super) tunnels: u32,
    pub(super) buffered: usize,
    /// Name, requests under way, connections, idle ones, whether it is up.
    pub(super) origins: Vec<(String, u32, u32, u32, bool)>,
    pub(super) log_dropped: u64,
}

impl Stats {
    pub(super) fn new(routes: &Routes) -> Self {
        let mut stats = Self {
            routes: Vec::new(),
            origins: Vec::new(),
            bad_requests: BTreeMap::new(),
            bytes_in: 0,
            bytes_out: 0,
        };
        stats.reconfigure(routes);
        stats
    }

    /// New routes: counts stay with their places.
    pub(super) fn reconfigure(&mut self, routes: &Routes) {
        self.routes.resize_with(routes.iter().count(), OfRoute::default);
    }

    /// An exchange is over.
    pub(super) fn request(&mut self, exchange: &Exchange, total: Duration) {
        let (times, account) = (&exchange.times, &exchange.account);
        self.bytes_in += account.bytes_in;
        self.bytes_out += account.bytes_out;
        let route = self.route(exchange.route);
        route.requests[account.source as usize][class(account.status)] += 1;
        route.total.record(total);
        if let Some(code) = account.code {
            *route.refused.entry(code).or_default() += 1;
        }
        let Some(dispatched) = times.dispatched else { return };
        route.queue.record(dispatched.saturating_duration_since(times.began));
        let Some(origin) = exchange.origin else { return };
        let origin = self.origin(origin);
        if let (Some(dialed), Some(sent)) = (times.dialed, times.sent) {
            origin.connect.record(sent.saturating_duration_since(dialed));
        }
        if let Some(replied) = times.replied {
            origin.head.record(replied.saturating_duration_since(dispatched));
        }
    }

    /// What came was no request.
    pub(super) fn fault(&mut self, status: u16) {
        self.route(RouteId::default()).requests[Source::Gateway as usize][class(status)] += 1;
    }

    pub(super) fn bad_request(&mut self, reason: &'static str) {
        *self.bad_requests.entry(reason).or_default() += 1;
    }

    pub(super) fn origin_error(&mut self, origin: OriginId, code: Code) {
        *self.origin(origin).errors.entry(code).or_default() += 1;
    }

    pub(super) fn stale_retry(&mut self, origin: Option<OriginId>) {
        if let Some(origin) = origin {
            self.origin(origin).stale_retries += 1;
        }
    }

    fn route(&mut self, id: RouteId) -> &mut OfRoute {
        let at = usize::from(id.0);
        if at >= self.routes.len() {
            self.routes.resize_with(at + 1, OfRoute::default);
        }
        &mut self.routes[at]
    }

    fn origin(&mut self, id: OriginId) -> &mut OfOrigin {
        let at = usize::from(id.0);
        if at >= self.origins.len() {
            self.origins.resize_with(at + 1, OfOrigin::default);
        }
        &mut self.origins[at]
    }

    /// Appends every sample of [`METRICS`].
    pub(super) fn expose(&self, out: &mut Exposition<'_>, routes: &Routes, gauges: &Gauges) {
        let named = || {
            self.routes.iter().zip(routes.iter()).map(|(counts, (_, route))| (route.name.as_str(), counts))
        };
        out.family(&REQUESTS);
        for (name, route) in named() {
            for (source, classes) in SOURCES.iter().zip(&route.requests) {
                for (class, count) in CLASSES.iter().zip(classes).filter(|(_, count)| **count > 0) {
                    out.sample(&REQUESTS, &[name, class, source.name()], count);
                }
            }
        }
        out.family(&REFUSED);
        for (name, route) in named() {
            for (code, count) in &route.refused {
                out.sample(&REFUSED, &[name, code.name()], count);
            }
        }
        out.family(&BAD);
        for (reason, count) in &self.bad_requests {
            out.sample(&BAD, &[reason], count);
        }
        out.family(&BYTES);
        out.sample(&BYTES, &["in"], self.bytes_in);
        out.sample(&BYTES, &["out"], self.bytes_out);
        out.family(&SECONDS);
        named().for_each(|(name, route)| route.total.expose(out, &SECONDS, name));
        out.family(&QUEUE);
        named().for_each(|(name, route)| route.queue.expose(out, &QUEUE, name));
        self.expose_gauges(out, routes, gauges);
        self.expose_origins(out, gauges);
    }

    fn expose_gauges(&self, out: &mut Exposition<'_>, routes: &Routes, gauges: &Gauges) {
        out.family(&CONNECTIONS);
        for (state, count) in [("idle", gauges.idle), ("active", gauges.active), ("queued", gauges.queued)] {
            out.sample(&CONNECTIONS, &[state], count);
        }
        out.family(&TUNNELS);
        out.sample(&TUNNELS, &[], gauges.tunnels);
        out.family(&IN_FLIGHT);
        for (at, _) in self.routes.iter().enumerate() {
            let count = gauges.in_flight.iter().filter(|route| usize::from(route.0) == at).count();
            out.sample(&IN_FLIGHT, &[routes.name(RouteId(at as u16))], count);
        }
        out.family(&BUFFER);
        out.sample(&BUFFER, &[], gauges.buffered);
        out.family(&DROPPED);
        out.sample(&DROPPED, &[], gauges.log_dropped);
    }

    fn expose_origins(&self, out: &mut Exposition<'_>, gauges: &Gauges) {
        let named =
            || gauges.origins.iter().zip(&self.origins).map(|(origin, counts)| (origin.0.as_str(), counts));
        out.family(&CONNECT);
        named().for_each(|(name, origin)| origin.connect.expose(out, &CONNECT, name));
        out.family(&HEAD);
        named().for_each(|(name, origin)| origin.head.expose(out, &HEAD, name));
        out.family(&CONNS);
        for (name, _, conns, idle, _) in &gauges.origins {
            out.sample(&CONNS, &[name, "busy"], conns - idle);
            out.sample(&CONNS, &[name, "idle"], idle);
        }
        out.family(&UP);
        for (name, .., up) in &gauges.origins {
            out.sample(&UP, &[name], u8::from(*up));
        }
        out.family(&ERRORS);
        for (name, origin) in named() {
            for (code, count) in &origin.errors {
                out.sample(&ERRORS, &[name, code.name()], count);
            }
        }
        out.family(&STALE);
        named().for_each(|(name, origin)| out.sample(&STALE, &[name], origin.stale_retries));
    }
}

impl Durations {
    fn record(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        match BOUNDS.iter().position(|bound| seconds <= *bound) {
            Some(at) => self.counts[at] += 1,
            None => self.beyond += 1,
        }
        self.sum += time;
    }

    fn expose(&self, out: &mut Exposition<'_>, metric: &Metric, name: &str) {
        let bounds: Vec<(f64, u64)> = BOUNDS.into_iter().zip(self.counts).collect();
        out.histogram(metric, &[name], &bounds, self.beyond, self.sum.as_secs_f64());
    }
}

fn class(status: u16) -> usize {
    usize::from(status / 100).min(CLASSES.len() - 1)
}
