//! Limits at N and N + 1, and what stands at the edge of a request: PROXY headers, loops, CORS.

use std::time::Duration;

use sluice_wire::http::forwarded::Trust;

use super::bench::{Bench, GET, OK, bench};
use super::gate::{Ending, Mood};
use crate::code::Code;
use crate::effect::{Closing, End};
use crate::gate::Outcome;
use crate::machine::TurnedAway;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

#[test]
fn connections_at_and_beyond_their_limits() {
    let mut bench = Bench::new(Mood::Pass, |settings| {
        settings.client_conns_max = 3;
        settings.client_conns_per_address = 2;
    });
    let first = bench.connect_from("192.0.2.1", Trust::No);
    bench.connect_from("192.0.2.1", Trust::No);
    assert_eq!(bench.turned_away("192.0.2.1"), Some(TurnedAway::Address));
    bench.connect_from("192.0.2.2", Trust::No);
    assert_eq!(bench.turned_away("192.0.2.3"), Some(TurnedAway::Full));
    bench.reset(End::Client(first));
    assert_eq!(bench.turned_away("192.0.2.1"), None);
}

#[test]
fn requests_of_a_connection_at_their_limit() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.requests_per_conn = 2);
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    assert!(!bench.got(client).contains("Connection: close"));
    bench.send(client, GET);
    bench.reply(origin, OK);
    assert!(bench.got(client).contains("Connection: close"));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
}

#[test]
fn content_at_and_beyond_its_limit() {
    for (length, chunked) in [(10, false), (10, true), (11, false), (11, true)] {
        let mut bench = Bench::new(Mood::Pass, |settings| settings.body_max = 10);
        let client = bench.connect();
        let content = "x".repeat(length);
        let request = if chunked {
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{content}\r\n0\r\n\r\n")
        } else {
            format!("Content-Length: {length}\r\n\r\n{content}")
        };
        bench.send(client, format!("PUT / HTTP/1.1\r\nHost: h\r\n{request}").as_bytes());
        if chunked || length == 10 {
            bench.accept();
        }
        let refused = bench.got(client).starts_with("HTTP/1.1 413 ");
        assert_eq!(refused, length == 11, "{length} {chunked}");
    }
}

#[test]
fn interim_responses_at_and_beyond_their_limit() {
    for count in [8, 9] {
        let mut bench = bench();
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        for _ in 0..count {
            bench.reply(origin, b"HTTP/1.1 103 Early Hints\r\n\r\n");
        }
        let got = bench.got(client);
        assert_eq!(got.matches("103 Early").count(), 8);
        assert_eq!(got.contains("HTTP/1.1 502 "), count == 9);
    }
}

#[test]
fn tunnels_at_and_beyond_their_limit() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.tunnels_max = 1);
    let (first, second) = (bench.connect(), bench.connect());
    bench.send(first, UPGRADE);
    let origin = bench.accept();
    bench.reply(origin, SWITCHING);
    bench.send(second, UPGRADE);
    assert!(bench.got(second).starts_with("HTTP/1.1 503 "));
    bench.reset(End::Client(first));
    bench.send(second, UPGRADE);
    assert_eq!(bench.dialing.len(), 1);
}

#[test]
fn requests_that_become_tunnels_at_once_are_no_more_than_may_be() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.tunnels_max = 2);
    let clients: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    for client in &clients {
        bench.send(*client, UPGRADE);
    }
    let origins: Vec<_> = clients.iter().map(|_| bench.accept()).collect();
    for origin in &origins {
        bench.reply(*origin, SWITCHING);
    }
    let statuses: Vec<String> = clients.iter().map(|client| bench.got(*client)[9..12].to_owned()).collect();
    assert_eq!(statuses, ["101", "101", "503"]);
    assert_eq!(
        bench.closed(End::Origin(origins[2])),
        Some(Closing::Abort),
        "which speaks the other protocol now"
    );
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Upgraded)]);
    // The client goes on as if nothing had been offered.
    bench.send(clients[2], GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    assert!(bench.got(clients[2]).ends_with("hello"));
    bench.reset(End::Client(clients[0]));
    bench.send(clients[2], UPGRADE);
    bench.reply(origin, SWITCHING);
    assert!(bench.got(clients[2]).starts_with("HTTP/1.1 101 "), "there is room again");
}

#[test]
fn a_thousand_tunnels_at_once_and_nothing_left_of_them() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_conns_max = 1001);
    let clients: Vec<_> = (0..1000).map(|_| bench.connect()).collect();
    let mut origins = Vec::new();
    for client in &clients {
        bench.send(*client, UPGRADE);
        let origin = bench.accept();
        bench.reply(origin, SWITCHING);
        bench.got(*client);
        bench.asked(origin);
        origins.push(origin);
    }
    let late = bench.connect();
    bench.send(late, UPGRADE);
    assert!(bench.got(late).starts_with("HTTP/1.1 503 "));
    for (number, (client, origin)) in clients.iter().zip(&origins).enumerate() {
        bench.send(*client, format!("to {number}").as_bytes());
        bench.reply(*origin, format!("from {number}").as_bytes());
        assert_eq!(bench.asked(*origin), format!("to {number}"));
        assert_eq!(bench.got(*client), format!("from {number}"));
    }
    bench.drain();
    bench.pass(Duration::from_secs(30));
    assert!(bench.gateway.is_drained());
    assert_eq!((bench.gateway.gate().open(), bench.gateway.clients(), bench.gateway.conns()), (0, 0, 0));
}

#[test]
fn connections_to_an_origin_at_and_beyond_their_limit() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_conns_max = 2);
    let clients: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    for client in &clients {
        bench.send(*client, GET);
    }
    let (first, second) = (bench.accept(), bench.accept());
    assert!(bench.dialing.is_empty());
    assert!(bench.got(clients[2]).starts_with("HTTP/1.1 503 "));
    assert_eq!(bench.gateway.gate().endings, [Ending::Abandoned], "no byte reached an origin");
    for (origin, client) in [(first, clients[0]), (second, clients[1])] {
        bench.reply(origin, OK);
        assert!(bench.got(client).ends_with("hello"));
    }
    bench.send(clients[2], GET);
    bench.reply(second, OK);
    assert!(bench.got(clients[2]).ends_with("hello"), "the one used last carries it");
}

/// Connections that have rested too long for a request that must not be repeated still count: the oldest makes room.
#[test]
fn an_idle_connection_makes_room_for_a_fresh_one() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_conns_max = 2);
    let clients: Vec<_> = (0..2).map(|_| bench.connect()).collect();
    for client in &clients {
        bench.send(*client, GET);
    }
    let (first, second) = (bench.accept(), bench.accept());
    for origin in [first, second] {
        bench.reply(origin, OK);
    }
    bench.pass(Duration::from_secs(2));
    bench.got(clients[0]);
    bench.send(clients[0], b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert!(bench.closed(End::Origin(first)).is_some(), "the oldest");
    assert_eq!(bench.closed(End::Origin(second)), None);
    let fresh = bench.accept();
    bench.reply(fresh, OK);
    assert!(bench.got(clients[0]).ends_with("hello"));
    assert_eq!(bench.gateway.conns(), 2);
}

#[test]
fn idle_connections_to_an_origin_at_and_beyond_their_limit() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_idle_max = 2);
    let clients: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    for client in &clients {
        bench.send(*client, GET);
    }
    let origins: Vec<_> = clients.iter().map(|_| bench.accept()).collect();
    for origin in &origins[..2] {
        bench.reply(*origin, OK);
    }
    bench.pass(Duration::from_secs(1));
    assert!(origins.iter().all(|origin| bench.closed(End::Origin(*origin)).is_none()));
    bench.reply(origins[2], OK);
    bench.pass(Duration::from_secs(1));
    let closed: Vec<bool> =
        origins.iter().map(|origin| bench.closed(End::Origin(*origin)).is_some()).collect();
    assert_eq!(closed, [true, false, false], "the oldest");
}

#[test]
fn bytes_held_for_slow_peers_at_and_beyond_their_limit() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.buffer_total_bytes = 100);
    let client = bench.connect();
    bench.gateway.set_buffered(100);
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    assert!(bench.got(client).ends_with("hello"));
    bench.gateway.set_buffered(101);
    bench.send(client, GET);
    assert!(bench.got(client).starts_with("HTTP/1.1 503 "), "a new request");
    assert_eq!(bench.gateway.gate().admitted, 1, "and the gate is not asked");
    bench.gateway.set_buffered(0);
    bench.send(client, GET);
    bench.reply(origin, OK);
    assert!(bench.got(client).ends_with("hello"), "by itself");
}

#[test]
fn content_that_is_dropped_at_and_beyond_its_limit() {
    for length in [10, 11] {
        let mut bench = Bench::new(Mood::Refuse(Code::QueueFull), |settings| settings.linger_bytes = 10);
        let client = bench.connect();
        bench.send(
            client,
            format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        );
        assert!(bench.got(client).starts_with("HTTP/1.1 503 "));
        let closed = bench.closed(End::Client(client));
        assert_eq!(closed, (length > 10).then_some(Closing::Linger), "{length}");
    }
}

#[test]
fn content_that_can_be_kept_at_and_beyond_its_limit() {
    for (length, chunked) in [(10, false), (10, true), (11, false), (11, true)] {
        let mut bench = Bench::new(Mood::Pass, |settings| settings.replay_max = 10);
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, OK);
        bench.got(client);
        let content = "x".repeat(length);
        let rest = if chunked {
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{content}\r\n0\r\n\r\n")
        } else {
            format!("Content-Length: {length}\r\n\r\n{content}")
        };
        bench.send(client, format!("PUT / HTTP/1.1\r\nHost: h\r\n{rest}").as_bytes());
        bench.reset(End::Origin(origin));
        if length == 10 {
            let fresh = bench.accept();
            let sent = bench.asked(fresh);
            let end = if chunked { format!("\r\na\r\n{content}\r\n0\r\n\r\n") } else { content };
            assert!(sent.ends_with(&end), "{sent}");
        } else {
            assert!(bench.got(client).starts_with("HTTP/1.1 502 "));
        }
    }
}

#[test]
fn a_header_speaks_of_the_client_on_a_connection_of_its_own() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.send_proxy = crate::settings::SendProxy::V1);
    let client = bench.connect();
    for _ in 0..2 {
        bench.send(client, GET);
        let origin = bench.accept();
        assert!(bench.asked(origin).starts_with("PROXY TCP4 192.0.2.1 192.0.2.1 40000 80\r\nGET /a?b "));
        bench.reply(origin, OK);
        assert!(bench.closed(End::Origin(origin)).is_some());
    }
}

#[test]
fn a_header_precedes_the_handshake_and_speaks_of_nobody_in_a_check() {
    let mut bench = Bench::new(Mood::Pass, |settings| {
        settings.send_proxy = crate::settings::SendProxy::V1;
        settings.origin = vec!["https://127.0.0.1:1".into()];
    });
    let client = bench.connect();
    bench.send(client, GET);
    let preface = |bench: &Bench| {
        let mut out = Vec::new();
        bench.gateway.preface(bench.dialing[0].0, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(preface(&bench), "PROXY TCP4 192.0.2.1 192.0.2.1 40000 80\r\n");
    let origin = bench.accept();
    assert!(bench.asked(origin).starts_with("GET /a?b "));
    bench.reply(origin, OK);
    for (origin, before, within) in [
        ("https://127.0.0.1:1", "PROXY UNKNOWN\r\n", "GET /up "),
        ("http://127.0.0.1:2", "", "PROXY UNKNOWN\r\nGET /up "),
    ] {
        bench.reconfigure(|settings| {
            settings.origin = vec![origin.into()];
            settings.check_path = Some("/up".into());
        });
        bench.poke();
        assert_eq!(preface(&bench), before);
        let check = bench.accept();
        assert!(bench.asked(check).starts_with(within));
    }
}

#[test]
fn connections_to_earlier_origins_finish_and_carry_nothing_else() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let old = bench.accept();
    bench.asked(old);
    bench.reconfigure(|settings| settings.origin = vec!["http://127.0.0.1:9".into()]);
    bench.reply(old, OK);
    assert!(bench.got(client).ends_with("hello"));
    assert!(bench.closed(End::Origin(old)).is_some());
    bench.send(client, GET);
    let new = bench.accept();
    bench.reply(new, OK);
    assert!(bench.got(client).ends_with("hello"));
    let row = bench.gateway.show_origins(bench.now).remove(0);
    assert_eq!((&row["in_flight"], &row["connections"], &row["idle"]), (&0.into(), &1.into(), &1.into()));
}

#[test]
fn a_request_that_went_round_in_a_circle_is_refused() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(
        client,
        b"GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 gate, 1.1 other, 1.1 gate\r\nVia: 1.1 gate\r\n\r\n",
    );
    bench.accept();
    assert!(bench.got(client).contains("proxy_loop_detected"));
    assert_eq!(bench.gateway.gate().endings, [Ending::Abandoned]);
}

#[test]
fn pages_may_read_refusals() {
    let mut bench = Bench::new(Mood::Refuse(Code::QueueFull), |settings| {
        settings.cors_allow_origin = vec!["https://page.example".into()];
    });
    let client = bench.connect();
    bench.send(client, b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\n\r\n");
    let got = bench.got(client);
    assert!(
        got.contains("Access-Control-Allow-Origin: https://page.example\r\n")
            && got.contains("Vary: Origin\r\n")
    );
    assert!(got.contains("Access-Control-Expose-Headers: Retry-After"));
    bench.send(
        client,
        b"OPTIONS / HTTP/1.1\r\nHost: h\r\nOrigin: https://page.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    );
    let got = bench.got(client);
    assert!(
        got.starts_with("HTTP/1.1 204 ") && got.contains("Access-Control-Allow-Methods: PUT\r\n"),
        "{got}"
    );
    bench.send(client, b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\r\n");
    assert!(!bench.got(client).contains("Access-Control"));
}
