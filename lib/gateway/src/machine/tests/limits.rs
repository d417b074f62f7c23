//! Limits at N and N + 1, and what stands at the edge of a request: PROXY headers, loops, CORS.

use sluice_wire::http::forwarded::Trust;

use super::bench::Bench;
use super::gate::{Ending, Mood};
use crate::code::Code;
use crate::effect::{Closing, End};
use crate::machine::TurnedAway;

const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn bench() -> Bench {
    Bench::new(Mood::Pass, |_| {})
}

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
    let upgrade = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut bench = Bench::new(Mood::Pass, |settings| settings.tunnels_max = 1);
    let (first, second) = (bench.connect(), bench.connect());
    bench.send(first, upgrade);
    let origin = bench.accept();
    bench.reply(origin, b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    bench.send(second, upgrade);
    assert!(bench.got(second).starts_with("HTTP/1.1 503 "));
    bench.reset(End::Client(first));
    bench.send(second, upgrade);
    assert_eq!(bench.dialing.len(), 1);
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
