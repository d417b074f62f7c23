//! throttle-proxy beside nginx and HAProxy: in turn, in one run, before one origin, over TCP on the loopback, one worker
//! each. The origin is another nginx, wrk is the load. "direct" is the origin itself: what the others add is counted from
//! there.

mod flat;
mod idle;
mod report;
mod servers;
mod wrk;

use crate::{Choice, number};
use report::{Report, Sample};
use serde_json::Value;
use servers::{Kind, Server, Site};

/// One line of the comparison.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    connections: usize,
    path: &'static str,
}

pub(crate) const ROWS: [Row; 4] = [
    Row { name: "1 connection", connections: 1, path: "/small" },
    Row { name: "16 connections", connections: 16, path: "/small" },
    Row { name: "256 connections", connections: 256, path: "/small" },
    Row { name: "1 MB bodies", connections: 16, path: "/large" },
];

/// Seconds of load before memory is looked at, and between the two looks. The latter is many times an hour's worth of
/// requests at the limiter's default rate of 50 in 30 seconds.
const SETTLE_S: u32 = 2;
const GROWTH_S: u32 = 20;

/// Measures all chosen rows and prints the table.
pub(crate) fn run(throttle_proxy: &str, choice: &Choice) -> Value {
    // HAProxy counts two descriptors for each connection it may have.
    let connections = choice.connections(10_000, 2);
    let site = Site::new(connections + 300);
    let kinds = [Kind::Nginx, Kind::Haproxy, Kind::Throttle(throttle_proxy.to_owned())];
    let servers: Vec<Server> = kinds.iter().map(|kind| Server::start(kind, &site)).collect();
    let mut report = Report::new(servers.iter().map(|server| server.name.clone()).collect());
    let seconds = number("SECONDS", 5);
    for round in 1..=number("ROUNDS", 3) {
        for row in ROWS.iter().filter(|row| choice.has(row.name)) {
            eprintln!("round {round}: {} direct", row.name);
            let load = wrk::run(site.origin(), row.path, row.connections, seconds);
            report.add(row.name, report::DIRECT, Sample::of(load, None));
            for server in &servers {
                eprintln!("round {round}: {} with {}", row.name, server.name);
                let before = server.cpu_time();
                let load = wrk::run(server.port, row.path, row.connections, seconds);
                report.add(row.name, &server.name, Sample::of(load, Some(server.cpu_time().since(before))));
            }
        }
    }
    if choice.has("growth") {
        for server in &servers {
            eprintln!("growth of {}", server.name);
            report.add_growth(&server.name, growth(server));
        }
    }
    if choice.has("flat") {
        report.add_flat(flat::measure(throttle_proxy, &site));
    }
    if choice.has("idle") {
        for kind in &kinds {
            // A fresh one: what earlier rows left allocated would be used again.
            let server = Server::start(kind, &site);
            eprintln!("{connections} idle connections with {}", server.name);
            report.add_idle(&server.name, idle::measure(&server, connections));
        }
    }
    print!("{}", report.table());
    report.json()
}

/// What many requests add to the memory of a server that has settled, and how many they were.
fn growth(server: &Server) -> (u64, i64) {
    wrk::run(server.port, "/small", 16, SETTLE_S);
    let before = server.resident_bytes();
    let load = wrk::run(server.port, "/small", 16, GROWTH_S);
    (load.requests, server.resident_bytes().cast_signed() - before.cast_signed())
}
