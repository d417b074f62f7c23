//! What people and programs may see of the gateway: metrics, and rows for the control socket.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_wire::control::{Row, row};

use crate::gate::{Gate, RouteId};
use crate::metrics::Exposition;
use crate::origins::OriginId;

use super::client::{Client, Phase};
use super::stats::Gauges;
use super::{ConnState, Gateway};

impl<G: Gate> Gateway<G> {
    /// All metrics, the gate's included, as text. `log_dropped` is the shell's count of lines nobody took.
    #[must_use]
    pub fn metrics(&self, log_dropped: u64, now: Instant) -> String {
        let mut text = String::new();
        let mut out = Exposition::new(&mut text);
        let phase =
            |wanted: fn(&Client) -> bool| self.clients.iter().filter(|(_, client)| wanted(client)).count();
        let (idle, queued) = (phase(Client::is_idle), phase(|client| client.phase == Phase::Queued));
        let gauges = Gauges {
            idle,
            queued,
            active: self.clients.len() - idle - queued,
            in_flight: self.dispatched(),
            tunnels: self.tunnels,
            buffered: self.buffered,
            origins: self.origin_loads(now),
            log_dropped,
        };
        self.stats.expose(&mut out, &self.config.routes, &gauges);
        self.gate.expose(&mut out, now);
        text
    }

    /// The route of each request that was dispatched and is not over.
    fn dispatched(&self) -> Vec<RouteId> {
        let exchanges = self.clients.iter().filter_map(|(_, client)| client.exchange.as_deref());
        exchanges.filter(|exchange| exchange.conn.is_some()).map(|exchange| exchange.route).collect()
    }

    /// Name, requests under way, connections, idle ones among them, whether it is up.
    fn origin_loads(&self, now: Instant) -> Vec<(String, u32, u32, u32, bool)> {
        let origins = self.config.origins.iter().enumerate();
        let load = |(at, origin): (usize, &crate::config::Endpoint)| {
            let id = OriginId(at as u16);
            let (in_flight, conns, idle) = self.origins.load(id);
            (origin.name.clone(), in_flight, conns, idle, self.origins.is_up(id, now))
        };
        origins.map(load).collect()
    }

    /// Rows of `show routes`.
    #[must_use]
    pub fn show_routes(&self) -> Vec<Row> {
        let row = |(_, route): (_, &crate::route::Route)| {
            row([
                ("route", Value::from(route.name.as_str())),
                ("match_path", Value::from(route.path.as_str())),
                ("match_host", Value::from(route.hosts.join(","))),
                ("match_methods", Value::from(route.methods.join(","))),
            ])
        };
        self.config.routes.iter().map(row).collect()
    }

    /// Rows of `show origins`.
    #[must_use]
    pub fn show_origins(&self, now: Instant) -> Vec<Row> {
        let loads = self.origin_loads(now).into_iter();
        let row = |(name, in_flight, conns, idle, up): (String, u32, u32, u32, bool)| {
            row([
                ("origin", Value::from(name)),
                ("state", Value::from(if up { "up" } else { "down" })),
                ("in_flight", Value::from(in_flight)),
                ("connections", Value::from(conns)),
                ("idle", Value::from(idle)),
            ])
        };
        loads.map(row).collect()
    }

    /// Rows of `show conns`: clients, with what they are busy with.
    #[must_use]
    pub fn show_conns(&self, now: Instant) -> Vec<Row> {
        let clients = self.clients.iter().map(|(_, client)| {
            let address = client.incoming.address().map_or("unix".to_owned(), |address| address.to_string());
            let exchange = client.exchange.as_ref();
            let route = exchange.map(|exchange| self.config.routes.name(exchange.route));
            let since = exchange.map_or(client.since, |exchange| exchange.times.began);
            row([
                ("conn", Value::from(client.serial)),
                ("peer", Value::from(address)),
                ("state", Value::from(phase_name(client))),
                ("requests", Value::from(client.requests)),
                ("route", route.map_or(Value::Null, Value::from)),
                ("age_ms", ms(now.saturating_duration_since(since))),
            ])
        });
        clients.collect()
    }

    /// The state of the process, one row.
    #[must_use]
    pub fn show_status(&self) -> Row {
        let conns = self.conns.iter();
        let busy = conns.filter(|(_, conn)| conn.state != ConnState::Idle).count();
        row([
            ("state", Value::from(if self.is_draining() { "draining" } else { "serving" })),
            ("clients", Value::from(self.clients.len())),
            ("origin_connections", Value::from(self.conns.len())),
            ("in_use", Value::from(busy)),
            ("tunnels", Value::from(self.tunnels)),
            ("buffer_bytes", Value::from(self.buffered)),
        ])
    }
}

fn phase_name(client: &Client) -> &'static str {
    match client.phase {
        Phase::Head if client.is_idle() => "idle",
        Phase::Head => "head",
        Phase::Queued => "queued",
        Phase::Dialing => "connecting",
        Phase::Open => "open",
        Phase::Tunnel => "tunnel",
        Phase::Drop => "drop",
    }
}

/// A time as a member in `_ms`: whole milliseconds.
#[must_use]
pub fn ms(time: Duration) -> Value {
    Value::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
