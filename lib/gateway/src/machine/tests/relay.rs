//! Requests go out and responses come back: framing, persistence, order, tunnels.

use sluice_wire::http::forwarded::Trust;

use super::bench::{Bench, GET, OK, bench, body, in_pieces, unchunk};
use super::gate::{Ending, Mood};
use crate::code::Code;
use crate::effect::{Closing, End};
use crate::gate::{Entry, Outcome};
use crate::machine::ConnectFailure;

#[test]
fn a_request_and_its_response() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        let asked = bench.asked(origin);
        assert!(asked.starts_with("GET /a?b HTTP/1.1\r\nHost: h\r\n"), "{asked}");
        assert!(asked.contains("Via: 1.1 gate\r\n") && asked.contains("X-Forwarded-For: 192.0.2.1\r\n"));
        assert!(asked.contains("X-Gate: in\r\n"));
        bench.reply(origin, OK);
        let got = bench.got(client);
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nhello"), "{got}");
        assert!(got.contains("X-Gate: out\r\n") && got.contains("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        // Both connections go on.
        bench.send(client, GET);
        assert!(bench.dialing.is_empty());
        assert!(bench.asked(origin).starts_with("GET /a?b"));
        bench.reply(origin, OK);
        assert!(bench.got(client).ends_with("hello"));
        assert_eq!(bench.gateway.gate().endings.len(), 2);
        let log = bench.log();
        assert_eq!(
            (&log[1]["status"], &log[1]["reused"], &log[1]["bytes_out"]),
            (&200.into(), &true.into(), &5.into())
        );
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_and_one_at_a_time() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nPOST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
        let origin = bench.accept();
        for (path, content) in [("/1", ""), ("/2", ""), ("/3", "ab")] {
            let asked = bench.asked(origin);
            assert!(asked.contains(&format!(" {path} HTTP")), "{asked}");
            assert_eq!(asked.matches("HTTP/1.1\r\n").count(), 1);
            assert_eq!(body(&asked), content);
            bench.reply(origin, format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{path}").as_bytes());
            assert_eq!(body(&bench.got(client)), path);
        }
    });
}

#[test]
fn chunked_both_ways_is_written_anew() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(
            client,
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n",
        );
        let origin = bench.accept();
        let asked = bench.asked(origin);
        assert_eq!(unchunk(body(&asked)), ("abcde".to_owned(), "X: 1\r\n".to_owned()), "{asked}");
        assert!(!asked.contains("x=y"));
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let got = bench.got(client);
        assert_eq!(unchunk(body(&got)), ("hello".to_owned(), String::new()));
        assert!(bench.closed(End::Client(client)).is_none() && bench.closed(End::Origin(origin)).is_none());
    });
}

#[test]
fn a_response_until_the_end_becomes_chunks_or_a_close() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, b"HTTP/1.1 200 OK\r\n\r\nab");
        bench.reply(origin, b"cd");
        bench.end(End::Origin(origin));
        let got = bench.got(client);
        assert_eq!(unchunk(body(&got)).0, "abcd");
        assert_eq!(bench.closed(End::Client(client)), None);
        assert!(bench.closed(End::Origin(origin)).is_some());
        let old = bench.connect();
        bench.send(old, b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
        let origin = bench.accept();
        bench.reply(
            origin,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: 1\r\n\r\n",
        );
        let got = bench.got(old);
        assert_eq!(body(&got), "ab");
        assert!(got.contains("Connection: close\r\n"));
        assert_eq!(bench.closed(End::Client(old)), Some(Closing::Linger));
    });
}

#[test]
fn answers_without_content() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        let origin = bench.accept();
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let got = bench.got(client);
        assert!(got.contains("Content-Length: 5\r\n") && body(&got).is_empty());
        for status in ["204 No Content", "304 Not Modified"] {
            bench.send(client, GET);
            bench.asked(origin);
            bench.reply(origin, format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
            assert!(bench.got(client).starts_with(&format!("HTTP/1.1 {status}\r\n")));
        }
        assert_eq!(bench.closed(End::Client(client)), None);
        assert_eq!(bench.closed(End::Origin(origin)), None);
    });
}

#[test]
fn bytes_beyond_a_response_reach_nobody() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, &[OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"].concat());
        assert_eq!(body(&bench.got(client)), "hello");
        assert!(bench.closed(End::Origin(origin)).is_some());
        bench.send(client, GET);
        let fresh = bench.accept();
        bench.reply(fresh, OK);
        assert_eq!(body(&bench.got(client)), "hello");
    });
}

#[test]
fn a_response_cut_short_breaks_the_client_connection() {
    for cut in ["Content-Length: 9\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n9\r\nhello"] {
        let mut bench = bench();
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, format!("HTTP/1.1 200 OK\r\n{cut}").as_bytes());
        bench.end(End::Origin(origin));
        assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
        assert!(!bench.got(client).contains("\r\n0\r\n"));
        assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::BodyTruncated)]);
    }
}

#[test]
fn what_is_no_response_is_a_bad_gateway() {
    for garbage in
        ["garbage\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n"]
    {
        in_pieces(|bench| {
            let client = bench.connect();
            bench.send(client, GET);
            let origin = bench.accept();
            for byte in garbage.bytes() {
                if bench.closed(End::Origin(origin)).is_none() {
                    bench.reply(origin, &[byte]);
                }
            }
            let got = bench.got(client);
            assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
            assert!(got.contains("Proxy-Status: gate; error=http_protocol_error"));
            assert_eq!(bench.closed(End::Client(client)), None);
            assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Malformed)]);
        });
    }
}

#[test]
fn a_connection_that_cannot_be_made() {
    let cases = [
        (ConnectFailure::Unresolved, "502", Outcome::ConnectRefused),
        (ConnectFailure::Refused, "502", Outcome::ConnectRefused),
        (ConnectFailure::TimedOut, "504", Outcome::ConnectTimeout),
        (ConnectFailure::Tls, "502", Outcome::TlsFailed),
    ];
    for (why, status, outcome) in cases {
        let mut bench = bench();
        let client = bench.connect();
        bench.send(client, GET);
        bench.refuse(why);
        assert!(bench.got(client).starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(bench.gateway.gate().endings, [Ending::Settled(outcome)]);
        assert_eq!(bench.gateway.conns(), 0);
        assert_eq!(bench.logged, ["origin http://127.0.0.1:3000 fails a request: no luck"]);
    }
}

#[test]
fn another_origin_is_tried_when_one_cannot_be_reached() {
    let mut bench = Bench::new(Mood::Pass, |settings| {
        settings.origin = vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()];
    });
    let client = bench.connect();
    bench.send(client, GET);
    let first = bench.dialing[0].1;
    bench.refuse(ConnectFailure::Refused);
    assert_ne!(bench.dialing[0].1, first);
    let origin = bench.accept();
    bench.reply(origin, OK);
    assert_eq!(body(&bench.got(client)), "hello");
}

#[test]
fn bad_requests_end_the_connection() {
    for (request, status) in [
        ("GET / HTTP/1.1\nHost: h\n\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
    ] {
        in_pieces(|bench| {
            let client = bench.connect();
            for byte in request.bytes() {
                if bench.closed(End::Client(client)).is_none() {
                    bench.send(client, &[byte]);
                }
            }
            let got = bench.got(client);
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
            assert!(got.contains("Connection: close\r\n"));
            assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
            assert_eq!(bench.gateway.gate().admitted, 0);
        });
    }
}

#[test]
fn bad_content_is_told_and_never_completed() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let origin = bench.accept();
    bench.send(client, b"+1\r\n");
    assert!(bench.got(client).starts_with("HTTP/1.1 400 "));
    assert!(!bench.asked(origin).ends_with("0\r\n\r\n"));
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Own4xx)]);
}

#[test]
fn refusals_keep_the_connection_when_the_content_is_little() {
    let mut bench = Bench::new(Mood::Refuse(Code::QueueFull), |_| {});
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
    let got = bench.got(client);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("Request queue is full"), "{got}");
    assert!(got.contains("Retry-After: ") && !got.contains("Connection: close"));
    bench.send(client, b"bcGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(bench.got(client).starts_with("HTTP/1.1 503 "));
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\na");
    assert!(bench.got(client).contains("Connection: close"));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
}

#[test]
fn what_the_gate_has_stored_is_served() {
    let entry = Entry { status: 200, fields: b"Age: 7\r\n".to_vec(), content: b"stored".to_vec().into() };
    let mut bench = Bench::new(Mood::Serve(entry), |_| {});
    let client = bench.connect();
    bench.send(client, GET);
    let got = bench.got(client);
    assert!(got.contains("Age: 7\r\n") && body(&got) == "stored", "{got}");
    bench.send(client, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let got = bench.got(client);
    assert!(got.contains("Content-Length: 6\r\n") && body(&got).is_empty(), "{got}");
    assert!(bench.dialing.is_empty());
}

#[test]
fn the_queue_releases_expires_and_forgets() {
    let mut bench = Bench::new(Mood::Delay, |_| {});
    let clients: Vec<_> = (0..4).map(|_| bench.connect()).collect();
    for client in &clients {
        bench.send(*client, GET);
    }
    assert!(bench.dialing.is_empty());
    bench.release();
    let origin = bench.accept();
    bench.reply(origin, OK);
    assert_eq!(body(&bench.got(clients[0])), "hello");
    // The second leaves, the third is refused, the fourth goes.
    bench.end(End::Client(clients[1]));
    bench.gateway.gate_mut().expire(Code::QueueTimeout);
    bench.poke();
    assert!(bench.got(clients[2]).contains("\"code\":\"queue_timeout\""));
    bench.release();
    bench.reply(origin, OK);
    assert_eq!(body(&bench.got(clients[3])), "hello");
    let ok = Ending::Settled(Outcome::Response { status: 200, head_after: std::time::Duration::ZERO });
    assert_eq!(bench.gateway.gate().endings, [ok, Ending::Abandoned, Ending::Expired, ok]);
}

#[test]
fn continue_is_forwarded_end_to_end() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench
            .send(client, b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        let origin = bench.accept();
        assert!(bench.asked(origin).contains("Expect: 100-continue\r\n"));
        bench.reply(origin, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(bench.got(client), "HTTP/1.1 100 Continue\r\n\r\n");
        bench.send(client, b"ab");
        assert_eq!(bench.asked(origin), "ab");
        bench.reply(origin, OK);
        assert_eq!(body(&bench.got(client)), "hello");
    });
}

#[test]
fn a_tunnel_passes_bytes_and_ends_each_way() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(
            client,
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x01client",
        );
        let origin = bench.accept();
        let asked = bench.asked(origin);
        assert!(asked.contains("Upgrade: websocket\r\n") && !asked.contains("client"), "{asked}");
        bench.reply(
            origin,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\norigin",
        );
        assert!(bench.got(client).ends_with("\r\n\r\norigin"));
        assert_eq!(bench.asked(origin), "\x01client");
        bench.end(End::Client(client));
        assert!(bench.is_shut(End::Origin(origin)));
        bench.reply(origin, b"last");
        assert_eq!(bench.got(client), "last");
        bench.end(End::Origin(origin));
        assert!(bench.closed(End::Client(client)).is_some() && bench.closed(End::Origin(origin)).is_some());
        assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Upgraded)]);
    });
}

#[test]
fn a_declined_upgrade_leaves_what_follows_a_request() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(
            client,
            b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        let origin = bench.accept();
        assert!(!bench.asked(origin).contains("/2"));
        bench.reply(origin, OK);
        assert!(bench.asked(origin).starts_with("GET /2 "));
        bench.reply(origin, OK);
        assert_eq!(bench.got(client).matches("hello").count(), 2);
    });
}

#[test]
fn who_the_client_is_is_believed_from_trusted_peers_only() {
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.7\r\nSluice-Probe: 1\r\n\r\n";
    let mut bench = bench();
    for (trust, entries, probe) in
        [(Trust::No, "192.0.2.9", false), (Trust::Yes, "198.51.100.7, 192.0.2.9", true)]
    {
        let client = bench.connect_from("192.0.2.9", trust);
        bench.send(client, request);
        let origin = if bench.dialing.is_empty() { None } else { Some(bench.accept()) };
        let Some(origin) = origin else { continue };
        let asked = bench.asked(origin);
        assert!(asked.contains(&format!("X-Forwarded-For: {entries}\r\n")), "{asked}");
        assert_eq!(asked.contains("Sluice-Probe"), probe);
    }
}

#[test]
fn the_client_may_half_close_while_it_waits() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.end(End::Client(client));
    bench.reply(origin, OK);
    assert_eq!(body(&bench.got(client)), "hello");
    assert!(bench.closed(End::Client(client)).is_some());
    assert_eq!(bench.closed(End::Origin(origin)), None);
}

#[test]
fn a_client_that_breaks_takes_its_connection_along() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reset(End::Client(client));
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    assert!(matches!(bench.gateway.gate().endings[..], [Ending::Settled(Outcome::ClientGone { .. })]));
    assert_eq!((bench.gateway.clients(), bench.gateway.conns()), (0, 0));
}

#[test]
fn draining_finishes_what_is_there() {
    let mut bench = bench();
    let (busy, idle) = (bench.connect(), bench.connect());
    bench.send(busy, GET);
    let origin = bench.accept();
    bench.drain();
    assert!(!bench.listening);
    assert!(bench.closed(End::Client(idle)).is_some());
    assert!(!bench.gateway.is_drained());
    bench.reply(origin, OK);
    assert!(bench.got(busy).contains("Connection: close\r\n"));
    assert!(bench.gateway.is_drained());
}
