//! Rows 4, 6, 15, 16, 18, 21 to 24 and 26 of the checklist, and X-Forwarded-*: the heads that are sent on.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use super::super::connection::Persistence;
use super::super::date::Date;
use super::super::forward::{self, Loop, RequestRules, ResponseRules, Sender};
use super::super::forwarded::{Scheme, Style, Trust};
use super::super::framing::{RequestFraming, ResponseFraming};
use super::super::method::Method;
use super::super::request::{Expect, Version};
use super::super::response::ResponseHead;
use super::{good_request, good_response};

const RULES: RequestRules<'static> =
    RequestRules { pseudonym: "throttle-proxy", style: Style::Off, default_host: b"default.example" };

fn sender() -> Sender<'static> {
    Sender {
        address: Some(IpAddr::from([192, 0, 2, 1])),
        trust: Trust::No,
        scheme: Scheme::Http,
        expect: Expect::Nothing,
        extra: b"",
    }
}

/// What an origin gets for `bytes`, and that it is a request by our own rules.
fn sent(bytes: &[u8], rules: &RequestRules<'_>, sender: &Sender<'_>) -> String {
    let mut out = Vec::new();
    forward::request(&mut out, &good_request(bytes), rules, sender).unwrap();
    good_request(&out);
    String::from_utf8(out).unwrap()
}

/// The field lines an origin gets for a request with these, without Host and Via.
fn fields_sent(fields: &str, rules: &RequestRules<'_>, sender: &Sender<'_>) -> Vec<String> {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    lines(&sent(bytes.as_bytes(), rules, sender))
}

fn lines(head: &str) -> Vec<String> {
    let is_own = |line: &&str| !line.is_empty() && !line.starts_with("Host: ") && !line.starts_with("Via: ");
    head.split("\r\n").skip(1).filter(is_own).map(str::to_owned).collect()
}

#[test]
fn a_request_keeps_its_fields_in_order() {
    let bytes = b"PUT /a%20b;c?d=e HTTP/1.1\r\nB: 2\r\nHost: a:80\r\nA:  1 \r\nb: 3\r\nAuthorization: Basic x\r\n\r\n";
    let expected = "PUT /a%20b;c?d=e HTTP/1.1\r\nHost: a:80\r\nB: 2\r\nA: 1\r\nb: 3\r\nAuthorization: Basic x\r\n\
                    Via: 1.1 throttle-proxy\r\n\r\n";
    assert_eq!(sent(bytes, &RULES, &sender()), expected);
}

#[test]
fn row_4_the_first_line_and_host() {
    let first_two =
        |bytes: &[u8]| sent(bytes, &RULES, &sender()).split("\r\n").take(2).collect::<Vec<_>>().join("|");
    assert_eq!(first_two(b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n"), "GET /x?y HTTP/1.1|Host: b:81");
    assert_eq!(first_two(b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n"), "GET / HTTP/1.1|Host: b");
    assert_eq!(first_two(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * HTTP/1.1|Host: a");
    assert_eq!(first_two(b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * HTTP/1.1|Host: b");
    assert_eq!(first_two(b"GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1|Host: default.example");
    assert_eq!(first_two(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"), "GET / HTTP/1.1|Host: a");
}

#[test]
fn row_6_max_forwards_is_counted_down_for_options() {
    let of = |method: &str| {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 007\r\n\r\n");
        lines(&sent(bytes.as_bytes(), &RULES, &sender()))
    };
    assert_eq!(of("OPTIONS"), ["Max-Forwards: 6"]);
    assert_eq!(of("GET"), ["Max-Forwards: 007"]);
}

#[test]
fn framing_is_written_anew() {
    let framed = |fields: &str| fields_sent(fields, &RULES, &sender());
    assert_eq!(framed("content-length: 005\r\n"), ["Content-Length: 5"]);
    assert_eq!(framed("Content-Length: 0\r\n"), ["Content-Length: 0"]);
    assert_eq!(
        framed("Transfer-Encoding: CHUNKED\r\nTrailer: x\r\n"),
        ["Trailer: x", "Transfer-Encoding: chunked"]
    );
    assert!(framed("Trailer: x\r\n").is_empty(), "no trailers without chunks");
}

#[test]
fn row_21_fields_of_one_connection_are_dropped() {
    let hop = "Connection: close, X-One, x-two\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
               TE: gzip\r\nUpgrade: x\r\nHTTP2-Settings: x\r\nConnection: \"x\", , etag\r\nETag: x\r\nX-Three: 3\r\n";
    assert_eq!(fields_sent(hop, &RULES, &sender()), ["X-Three: 3"]);
}

#[test]
fn row_21_te_and_upgrade_are_issued_anew() {
    let sent = |fields: &str| fields_sent(fields, &RULES, &sender());
    assert_eq!(sent("TE: trailers;q=0.5\r\n"), [""; 0]);
    assert_eq!(sent("TE: deflate, Trailers\r\n"), ["TE: trailers", "Connection: TE"]);
    let websocket = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    assert_eq!(sent(websocket), ["Sec-WebSocket-Key: x", "Connection: upgrade", "Upgrade: websocket"]);
    let both = "TE: trailers\r\nConnection: upgrade, te\r\nUpgrade: a, h2c\r\nUpgrade: b/2\r\n";
    assert_eq!(sent(both), ["TE: trailers", "Connection: TE, upgrade", "Upgrade: a, b/2"]);
}

#[test]
fn row_22_nominating_does_not_strip_what_others_rely_on() {
    let kept = [
        "Authorization: x",
        "Cookie: x",
        "Cache-Control: x",
        "X-Forwarded-For: 192.0.2.9",
        "Forwarded: for=x",
        "X-Real-IP: x",
    ];
    let nominated = "Connection: host, content-length, authorization, cookie, cache-control, via, forwarded, x-forwarded-for, x-real-ip\r\n";
    let fields = format!("{nominated}{}\r\nContent-Length: 5\r\nVia: 1.0 x\r\n", kept.join("\r\n"));
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let head = sent(bytes.as_bytes(), &RULES, &Sender { trust: Trust::Yes, ..sender() });
    for line in kept.iter().chain(&["Host: a", "Content-Length: 5", "Via: 1.0 x, 1.1 throttle-proxy"]) {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
}

#[test]
fn row_23_via_and_loops() {
    let via = |fields: &str, minor: u8| {
        let bytes = format!("GET / HTTP/1.{minor}\r\nHost: a\r\n{fields}\r\n");
        let mut out = Vec::new();
        forward::request(&mut out, &good_request(bytes.as_bytes()), &RULES, &sender())?;
        let head = String::from_utf8(out).unwrap();
        Ok(head.split("\r\n").filter(|line| line.starts_with("Via: ")).collect::<Vec<_>>().join("|"))
    };
    assert_eq!(via("", 1), Ok("Via: 1.1 throttle-proxy".into()));
    assert_eq!(via("", 0), Ok("Via: 1.0 throttle-proxy".into()));
    assert_eq!(
        via("Via: 1.0 a, 1.1 b (c)\r\nVia: 2 d\r\n", 1),
        Ok("Via: 1.0 a, 1.1 b (c), 2 d, 1.1 throttle-proxy".into())
    );
    let own = "Via: 1.1 Throttle-Proxy\r\n";
    assert!(via(&own.repeat(2), 1).is_ok(), "twice: the program may stand twice in a chain");
    assert_eq!(via(&own.repeat(3), 1), Err(Loop));
    assert_eq!(
        via("Via: 1.1 throttle-proxy, 1.1\tthrottle-proxy (x), HTTP/1.1  throttle-proxy\r\n", 1),
        Err(Loop)
    );
    assert!(
        via(
            "Via: 1.1 a (throttle-proxy), 1.1 throttle-proxy2, throttle-proxy, \"1.1 throttle-proxy\"\r\n",
            1
        )
        .is_ok()
    );
}

#[test]
fn expectations_are_sent_on_if_wanted() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(lines(&sent(bytes, &RULES, &sender())), ["Content-Length: 5"]);
    let on = Sender { expect: Expect::Continue, ..sender() };
    assert_eq!(lines(&sent(bytes, &RULES, &on)), ["Content-Length: 5", "Expect: 100-continue"]);
}

#[test]
fn lookalikes_of_our_fields_are_dropped() {
    let fields = "X_Forwarded_For: x\r\nContent_Length: 5\r\nTransfer-encoding_: chunked\r\nTransfer_Encoding: chunked\r\n\
                  Sluice_Probe: 1\r\nx_request_id: y\r\nHOST_: z\r\n";
    for trust in [Trust::No, Trust::Yes] {
        let sent = fields_sent(fields, &RULES, &Sender { trust, ..sender() });
        assert_eq!(
            sent,
            ["Transfer-encoding_: chunked", "x_request_id: y", "HOST_: z"],
            "not the same name with hyphens"
        );
    }
}

const TOLD: &str = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Real-IP: 198.51.100.7\r\n\
                    Forwarded: for=198.51.100.7\r\nX-Forwarded-Anything: x\r\nSluice-Probe: 1\r\nSluice-Other: 1\r\n";

#[test]
fn what_strangers_say_of_the_client_is_dropped() {
    assert!(fields_sent(TOLD, &RULES, &sender()).is_empty());
    let xff = RequestRules { style: Style::Xff, ..RULES };
    let own = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: a", "X-Forwarded-Proto: http"];
    assert_eq!(fields_sent(TOLD, &xff, &sender()), own);
    let rfc = RequestRules { style: Style::Rfc7239, ..RULES };
    assert_eq!(fields_sent(TOLD, &rfc, &sender()), ["Forwarded: for=192.0.2.1;host=a;proto=http"]);
    let both = RequestRules { style: Style::Both, ..RULES };
    assert_eq!(fields_sent(TOLD, &both, &sender()).len(), 4);
}

#[test]
fn what_trusted_peers_say_of_the_client_is_extended() {
    let trusted = Sender { trust: Trust::Yes, scheme: Scheme::Https, ..sender() };
    let off: Vec<_> = TOLD.split("\r\n").filter(|line| !line.is_empty()).collect();
    assert_eq!(fields_sent(TOLD, &RULES, &trusted), off);
    let xff = RequestRules { style: Style::Xff, ..RULES };
    let sent = fields_sent(TOLD, &xff, &trusted);
    assert_eq!(sent.len(), off.len());
    assert_eq!(sent.last().map(String::as_str), Some("X-Forwarded-For: 198.51.100.7, 192.0.2.1"));
    assert!(
        sent.contains(&"X-Forwarded-Proto: https".into()) && sent.contains(&"X-Forwarded-Host: b".into())
    );
    let rfc = RequestRules { style: Style::Rfc7239, ..RULES };
    let sent = fields_sent(TOLD, &rfc, &trusted);
    assert_eq!(
        sent.last().map(String::as_str),
        Some("Forwarded: for=198.51.100.7, for=192.0.2.1;host=a;proto=https")
    );
    assert!(sent.contains(&"X-Forwarded-For: 198.51.100.7".into()), "not ours to write: as it came");
}

#[test]
fn addresses_of_other_kinds() {
    let both = RequestRules { style: Style::Both, ..RULES };
    let from = |address: Option<IpAddr>| {
        let bytes = b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n";
        lines(&sent(bytes, &both, &Sender { address, trust: Trust::Yes, ..sender() }))
    };
    let six = from("2001:db8::1".parse().ok());
    assert_eq!(six[0], "X-Forwarded-For: 2001:db8::1");
    assert_eq!(six[3], "Forwarded: for=\"[2001:db8::1]\";host=\"a:80\";proto=http");
    assert_eq!(from("::ffff:192.0.2.1".parse().ok())[0], "X-Forwarded-For: 192.0.2.1");
    let unix = from(None);
    assert_eq!(
        unix,
        [
            "X-Forwarded-Host: a:80",
            "X-Forwarded-Proto: http",
            "Forwarded: for=unknown;host=\"a:80\";proto=http"
        ]
    );
}

#[test]
fn further_lines_are_added() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = sent(bytes, &RULES, &Sender { extra: b"Sluice-Probe: 1\r\n", ..sender() });
    assert!(head.ends_with("\r\nSluice-Probe: 1\r\n\r\n"));
}

fn date() -> Date {
    Date::of(UNIX_EPOCH)
}

/// The head a client gets for `bytes`, and that it is one by our own rules.
fn answered(head: &ResponseHead, version: Version, persistence: Persistence) -> String {
    let rules = ResponseRules {
        pseudonym: "throttle-proxy",
        version,
        framing: head.framing().towards(version),
        persistence,
        date: &date(),
        extra: b"",
    };
    let mut out = Vec::new();
    forward::response(&mut out, head, &rules);
    good_response(Method::Get, &out);
    String::from_utf8(out).unwrap()
}

/// The same to a client of HTTP/1.1 that goes on, as lines without Date.
fn answer_lines(method: Method, bytes: &str) -> Vec<String> {
    let head = answered(&good_response(method, bytes.as_bytes()), Version::Http11, Persistence::KeepAlive);
    let is_content = |line: &&str| !line.is_empty() && !line.starts_with("Date: ");
    head.split("\r\n").filter(is_content).map(str::to_owned).collect()
}

#[test]
fn a_response_keeps_its_fields_in_order() {
    let bytes =
        "HTTP/1.0 200 All right\r\nSet-Cookie: a\r\nServer: x\r\nset-cookie: b\r\nContent-Length: 05\r\n\r\n";
    let expected =
        ["HTTP/1.1 200 All right", "Set-Cookie: a", "Server: x", "set-cookie: b", "Content-Length: 5"];
    assert_eq!(answer_lines(Method::Get, bytes), expected);
}

#[test]
fn row_16_lengths_of_what_is_left_out() {
    let with = |status: u16, method: Method| {
        answer_lines(method, &format!("HTTP/1.1 {status} \r\nContent-Length: 5\r\n\r\n"))[1..].to_vec()
    };
    assert_eq!(with(200, Method::Head), ["Content-Length: 5"]);
    assert_eq!(with(304, Method::Get), ["Content-Length: 5"]);
    assert!(with(204, Method::Get).is_empty());
    assert_eq!(
        answer_lines(Method::Head, "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"),
        ["HTTP/1.1 200 "]
    );
}

#[test]
fn row_18_content_until_the_end_of_the_connection() {
    let head = good_response(Method::Get, b"HTTP/1.1 200 \r\n\r\n");
    assert_eq!(head.framing(), ResponseFraming::UntilClose);
    assert!(
        answered(&head, Version::Http11, Persistence::KeepAlive)
            .contains("\r\nTransfer-Encoding: chunked\r\n")
    );
    let old = answered(&head, Version::Http10, Persistence::Close);
    assert!(!old.contains("Transfer-Encoding") && old.contains("\r\nConnection: close\r\n"));
}

#[test]
fn row_21_fields_of_the_origins_connection_are_dropped() {
    let bytes = "HTTP/1.1 200 \r\nConnection: keep-alive, x-one\r\nX-One: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: x\r\n\
                 Upgrade: h2c\r\nTransfer-Encoding: chunked\r\nX-Two: 2\r\n\r\n";
    assert_eq!(answer_lines(Method::Get, bytes), ["HTTP/1.1 200 ", "X-Two: 2", "Transfer-Encoding: chunked"]);
}

#[test]
fn row_24_date() {
    let without = good_response(Method::Get, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
    let head = answered(&without, Version::Http11, Persistence::KeepAlive);
    assert!(head.contains("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"));
    let with = good_response(Method::Get, b"HTTP/1.1 200 \r\nDate: today\r\nContent-Length: 0\r\n\r\n");
    let head = answered(&with, Version::Http11, Persistence::KeepAlive);
    assert_eq!(head.matches("Date: ").count(), 1);
    assert!(head.contains("\r\nDate: today\r\n"));
}

#[test]
fn row_26_the_client_is_told_whether_it_goes_on() {
    let head = good_response(Method::Get, b"HTTP/1.1 200 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let connection = |version, persistence| {
        let head = answered(&head, version, persistence);
        head.split("\r\n").find_map(|line| line.strip_prefix("Connection: ").map(str::to_owned))
    };
    assert_eq!(connection(Version::Http11, Persistence::KeepAlive), None);
    assert_eq!(connection(Version::Http11, Persistence::Close).as_deref(), Some("close"));
    assert_eq!(connection(Version::Http10, Persistence::KeepAlive).as_deref(), Some("keep-alive"));
    assert_eq!(connection(Version::Http10, Persistence::Close).as_deref(), Some("close"));
}

#[test]
fn members_of_proxy_status_that_bear_our_name_are_removed() {
    let status = |value: &str| {
        let lines = answer_lines(Method::Get, &format!("HTTP/1.1 503 \r\n{value}Content-Length: 0\r\n\r\n"));
        lines.into_iter().filter(|line| line.starts_with("Proxy-Status")).collect::<Vec<_>>()
    };
    assert!(status("Proxy-Status: throttle-proxy; error=x\r\n").is_empty());
    assert!(status("proxy-status: \"throttle-proxy\"\r\n").is_empty());
    assert_eq!(
        status("Proxy-Status: a;error=b , throttle-proxy;x, c; d=\"e,f\"\r\n"),
        ["Proxy-Status: a;error=b, c; d=\"e,f\""]
    );
    assert_eq!(status("Proxy-Status: a\r\nProxy-Status: b\r\n"), ["Proxy-Status: a", "Proxy-Status: b"]);
    assert_eq!(status("Proxy-Status: throttle-proxy2\r\n"), ["Proxy-Status: throttle-proxy2"]);
    assert!(status("Proxy-Status: a, throttle-proxy, ,\r\n").is_empty(), "says nothing to anyone");
}

#[test]
fn interim_responses_and_switches() {
    let mut out = Vec::new();
    let early = good_response(
        Method::Get,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: x\r\n\r\n",
    );
    assert!(early.is_interim());
    forward::interim(&mut out, &early, "throttle-proxy");
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    out.clear();
    let bytes =
        b"HTTP/1.1 101 \r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let switch = good_response(Method::Get, bytes);
    assert!(!switch.is_interim());
    let protocol = switch.switches_to([&b"websocket"[..]].into_iter()).unwrap();
    forward::switching(&mut out, &switch, protocol, "throttle-proxy");
    assert_eq!(
        out,
        b"HTTP/1.1 101 \r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn switches_that_were_not_offered() {
    let offers = [&b"websocket"[..], b"b"];
    let of = |fields: &str| {
        let head = good_response(Method::Get, format!("HTTP/1.1 101 \r\n{fields}\r\n").as_bytes());
        head.switches_to(offers.into_iter()).map(<[u8]>::to_vec)
    };
    assert_eq!(of("Connection: upgrade\r\nUpgrade: B\r\n"), Some(b"b".to_vec()));
    for fields in [
        "",
        "Upgrade: b\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: c\r\n",
        "Connection: upgrade\r\nUpgrade: b, websocket\r\n",
    ] {
        assert_eq!(of(fields), None, "{fields:?}");
    }
    let ok = good_response(Method::Get, b"HTTP/1.1 200 \r\nConnection: upgrade\r\nUpgrade: b\r\n\r\n");
    assert_eq!(ok.switches_to(offers.into_iter()), None);
}

#[test]
fn row_15_trailers_that_may_come_behind_content() {
    use super::super::body::Body;
    use super::super::limits::BodyLimits;
    let trailer = "Expires-In: 5\r\nServer-Timing: x\r\nETag: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\
                   Authorization: x\r\nSet-Cookie: x\r\nContent-Anything: x\r\nX-Forwarded-For: x\r\nSluice-X: x\r\nContent_Length: 5\r\n\
                   Connection: x\r\nCache-Control: x\r\nProxy-Status: x\r\nTrailer: x\r\nGrpc-Status: 0\r\n";
    let mut body = Body::of_request(RequestFraming::Chunked, &BodyLimits::DEFAULT).unwrap();
    body.next(format!("0\r\n{trailer}\r\n").as_bytes()).unwrap();
    let mut out = Vec::new();
    forward::trailers(&mut out, body.trailers());
    let expected = "0\r\nExpires-In: 5\r\nServer-Timing: x\r\nETag: x\r\nGrpc-Status: 0\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut out = Vec::new();
    forward::trailers(&mut out, None);
    assert_eq!(out, super::super::chunked::LAST_CHUNK);
}
