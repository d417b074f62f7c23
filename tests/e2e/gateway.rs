//! The gateway of the HTTP programs as a process, here throttle-proxy without limits: bytes on real sockets, memory,
//! encryption, identity, drain.

#![expect(clippy::unwrap_used, reason = "the helpers of a test report by panicking, as tests do")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use nix::sys::signal::Signal;
use sluice_tests::http::{self, Connection};
use sluice_tests::origin::Manner;
use sluice_tests::proxy::{GROWTH_MAX, OPEN, connect, gateway};
use sluice_tests::tls::readable;
use sluice_tests::{Origin, PATIENCE, Proxy, port};
use tempfile::TempDir;

/// An origin that does what `serve` does with its first connection.
fn origin<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(stream)
    });
    (url, thread)
}

/// Reads a head and nothing behind it.
fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

fn all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn large_content_passes_both_ways_and_the_process_stays_small() {
    const LEN: usize = 128 << 20;
    let (url, served) = origin(|mut stream| {
        assert!(head(&mut stream).contains(&format!("Content-Length: {LEN}\r\n")));
        let (mut chunk, mut left) = (vec![0; 1 << 20], LEN);
        while left > 0 {
            left -= stream.read(&mut chunk).unwrap();
        }
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..LEN >> 20 {
            write!(stream, "100000\r\n").unwrap();
            stream.write_all(&chunk).unwrap();
            write!(stream, "\r\n").unwrap();
        }
        write!(stream, "0\r\n\r\n").unwrap();
    });
    let mut proxy = gateway(&url, "");
    let before = proxy.process().resident_bytes();
    let mut client = connect(proxy.port());
    write!(client, "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {LEN}\r\n\r\n")
        .unwrap();
    let chunk = vec![7; 1 << 20];
    for _ in 0..LEN >> 20 {
        client.write_all(&chunk).unwrap();
    }
    let mut scratch = vec![0; 1 << 20];
    let mut received = 0;
    loop {
        match client.read(&mut scratch).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    assert!(received > LEN);
    served.join().unwrap();
    assert_flat(&mut proxy, before);
}

#[test]
fn a_client_that_does_not_read_stops_the_origin() {
    let (url, served) = origin(answer_without_end);
    let mut proxy = gateway(&url, "");
    let before = proxy.process().resident_bytes();
    let mut client = connect(proxy.port());
    write!(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    // What the kernel holds on both sides, and not the rest.
    let sent = served.join().unwrap();
    assert!(sent < 64 << 20, "{sent} bytes went somewhere");
    assert_flat(&mut proxy, before);
}

#[test]
fn an_echo_passes_while_it_is_uploaded() {
    const LEN: usize = 64 << 20;
    let (url, served) = origin(|mut stream| {
        head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n").unwrap();
        let (mut chunk, mut left) = (vec![0; 1 << 20], LEN);
        while left > 0 {
            let count = stream.read(&mut chunk).unwrap();
            stream.write_all(&chunk[..count]).unwrap();
            left -= count;
        }
    });
    let mut proxy = gateway(&url, "");
    let before = proxy.process().resident_bytes();
    let mut client = connect(proxy.port());
    write!(client, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {LEN}\r\n\r\n").unwrap();
    let mut half = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let chunk = vec![7; 1 << 20];
        (0..LEN >> 20).for_each(|_| half.write_all(&chunk).unwrap());
    });
    assert!(!head(&mut client).contains("Connection: close"));
    let mut content = vec![0; LEN];
    client.read_exact(&mut content).unwrap();
    assert!(content.iter().all(|byte| *byte == 7));
    sender.join().unwrap();
    served.join().unwrap();
    assert_flat(&mut proxy, before);
}

/// Answers with more than anybody takes; how much was sent.
fn answer_without_end(mut stream: TcpStream) -> usize {
    head(&mut stream);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    stuff(&mut stream)
}

/// The process holds nothing of what passes through it.
fn assert_flat(proxy: &mut Proxy, before: u64) {
    let grown = proxy.process().peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
}

/// Sends as long as somebody takes it; how much that was.
fn stuff(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let (chunk, mut sent) = (vec![0; 64 * 1024], 0);
    while let Ok(count) = stream.write(&chunk) {
        sent += count;
    }
    sent
}

#[test]
fn an_echo_that_nobody_reads_stops_both_sides() {
    let (url, served) = origin(answer_without_end);
    let mut proxy = gateway(&url, "");
    let before = proxy.process().resident_bytes();
    let mut client = connect(proxy.port());
    write!(client, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let sent = stuff(&mut client) + served.join().unwrap();
    assert!(sent < 128 << 20, "{sent} bytes went somewhere");
    assert_flat(&mut proxy, before);
}

#[test]
fn an_early_answer_is_read_by_a_client_that_sends_on() {
    let (url, served) = origin(|mut stream| {
        head(&mut stream);
        write!(stream, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
        // Closed with content unread: a reset.
    });
    let proxy = gateway(&url, "");
    let mut client = connect(proxy.port());
    const LEN: usize = 64 << 20;
    write!(client, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {LEN}\r\n\r\n").unwrap();
    let chunk = vec![7; 1 << 20];
    (0..LEN >> 20).for_each(|_| client.write_all(&chunk).unwrap());
    let text = all(&mut client);
    assert!(text.starts_with("HTTP/1.1 413 ") && text.ends_with("\r\n\r\nno"), "{text}");
    served.join().unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(Manner::Held);
    let proxy = gateway(&origin.url(), "");
    let mut client = Connection::open(proxy.port());
    for target in ["/1", "/2", "/3"] {
        client.send(target, &[]);
    }
    for (target, status) in [("/1", 201), ("/2", 202), ("/3", 203)] {
        let request = origin.next();
        assert_eq!(request.target, target);
        assert!(origin.try_next().is_none());
        request.answer(status);
        assert_eq!(client.receive().unwrap().status, status);
    }
}

#[test]
fn a_tunnel_echoes_and_half_closes() {
    let (url, served) = origin(|mut stream| {
        assert!(head(&mut stream).contains("Upgrade: echo\r\n"));
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi ")
            .unwrap();
        let text = all(&mut stream);
        write!(stream, "{text}!").unwrap();
    });
    let proxy = gateway(&url, "");
    let mut client = connect(proxy.port());
    write!(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ")
        .unwrap();
    assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
    write!(client, "late").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all(&mut client), "hi early late!");
    served.join().unwrap();
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let (url, served) = origin(|mut stream| {
        head(&mut stream);
        let mut rest = Vec::new();
        // A reset or an end: either way the request is known to be nobody's.
        stream.read_to_end(&mut rest).unwrap_or_default()
    });
    let proxy = gateway(&url, "");
    let mut client = connect(proxy.port());
    write!(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    client.shutdown(Shutdown::Both).unwrap();
    served.join().unwrap();
}

#[test]
fn a_client_may_end_its_direction_and_wait() {
    let origin = Origin::start(Manner::Held);
    let proxy = gateway(&origin.url(), "");
    let mut client = Connection::open(proxy.port());
    client.send("/", &[]);
    client.half_close();
    origin.next().answer(200);
    assert_eq!(client.receive().unwrap().status, 200);
    assert!(client.receive().is_none());
}

#[test]
fn a_bad_request_is_told_and_the_connection_ends() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = gateway(&origin.url(), "");
    let mut client = connect(proxy.port());
    // What stands behind it must not be taken for a request, nor destroy the answer.
    write!(client, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    let text = all(&mut client);
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1);
    assert!(origin.times().is_empty());
    let line = proxy.event(0, "request");
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(400), Some("host")));
}

#[test]
fn terminating_finishes_what_is_there() {
    let origin = Origin::start(Manner::Held);
    let mut proxy = gateway(&origin.url(), "");
    let (mut busy, mut idle) = (Connection::open(proxy.port()), Connection::open(proxy.port()));
    busy.send("/", &[]);
    let request = origin.next();
    let mark = proxy.log().mark();
    proxy.process().signal(Signal::SIGTERM);
    proxy.event(mark, "drain.begin");
    assert!(idle.receive().is_none());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).is_err());
    request.answer(200);
    let response = busy.receive().unwrap();
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    drop((busy, idle));
    assert!(proxy.process().wait(PATIENCE).unwrap().success());
}

#[test]
fn monitors_ask_an_address_of_their_own() {
    let origin = Origin::start(Manner::Held);
    let admin = port::free();
    let mut proxy = gateway(
        &origin.url(),
        &format!("admin_listen = 127.0.0.1:{admin}\nadmin_conns_max = 2\nheader_ms = 60000\n"),
    );
    let mut busy = Connection::open(proxy.port());
    busy.send("/", &[]);
    let request = origin.next();
    let metrics = http::get(admin, "/metrics");
    assert_eq!(metrics.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.text().contains("\nsluice_http_in_flight{route=\"default\"} 1\n"), "{}", metrics.text());
    let statuses = |targets: [&str; 3]| targets.map(|target| http::get(admin, target).status);
    assert_eq!(statuses(["/livez", "/readyz", "/"]), [200, 200, 404]);
    // The clients' address has no such pages: what is asked there is the origin's to answer.
    let mut other = Connection::open(proxy.port());
    other.send("/metrics", &[]);
    origin.next().answer(204);
    assert_eq!(other.receive().unwrap().status, 204);
    // As many as may ask at a time, and one more; one that hangs in a head keeps its place.
    let (mut first, mut second) = (connect(admin), connect(admin));
    write!(first, "GET /livez HT").unwrap();
    write!(second, "GET /live").unwrap();
    assert_eq!(all(&mut connect(admin)), "");
    write!(first, "TP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(all(&mut first).ends_with("\r\n\r\nok\n"));
    drop(second);
    let mark = proxy.log().mark();
    proxy.process().signal(Signal::SIGTERM);
    proxy.event(mark, "drain.begin");
    assert_eq!(statuses(["/livez", "/readyz", "/metrics"]), [200, 503, 200]);
    request.answer(200);
    assert_eq!(busy.receive().unwrap().status, 200);
    drop((busy, other));
    assert!(proxy.process().wait(PATIENCE).unwrap().success());
}

#[test]
fn a_reload_is_all_or_nothing() {
    let (first, second) = (Origin::start(Manner::Prompt), Origin::start(Manner::Prompt));
    let mut proxy = gateway(&first.url(), "");
    let mut client = Connection::open(proxy.port());
    assert_eq!(client.get("/", &[]).status, 200);
    let reload = |proxy: &mut Proxy, lines: &str| {
        let mark = proxy.log().mark();
        proxy.rewrite(lines);
        proxy.process().signal(Signal::SIGHUP);
        proxy.event(mark, "config.reload")
    };
    let broken = format!("origin = {}\n{OPEN}origin_tls_ca = /nonexistent\n", second.url());
    assert_eq!(reload(&mut proxy, &broken)["level"], "error");
    assert_eq!(client.get("/", &[]).status, 200);
    assert_eq!((first.times().len(), second.times().len()), (2, 0));
    assert_eq!(reload(&mut proxy, &format!("origin = {}\n{OPEN}", second.url()))["level"], "info");
    assert_eq!(client.get("/", &[]).status, 200);
    assert_eq!((first.times().len(), second.times().len()), (2, 1));
}

#[test]
fn names_are_looked_up_and_unix_sockets_reached() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = gateway(&format!("http://localhost:{}", origin.port()), "");
    assert_eq!(proxy.get("/").status, 200);
    let nowhere = gateway("http://nonesuch.invalid", "");
    assert_eq!(nowhere.get("/").status, 502);
    nowhere.event(0, "resolve");
    let refused = gateway(&format!("http://127.0.0.1:{}", port::free()), "");
    let response = refused.get("/");
    assert_eq!(response.status, 502);
    assert!(response.field("proxy-status").unwrap().contains("error=connection_refused"));
}

/// A gateway that takes TLS, its URL, and the files of its certificate and of who has signed it.
fn tls_gateway(origin: &str, lines: &str) -> (Proxy, String, TempDir) {
    let files = readable(&["a.pem", "a.key", "ca.pem"]);
    let at = |name: &str| files.path().join(name).display().to_string();
    let port = port::free();
    let (cert, key) = (at("a.pem"), at("a.key"));
    let tls = format!("listen = tls:127.0.0.1:{port}\ntls_cert_file = {cert}\ntls_key_file = {key}\n");
    (
        gateway(origin, &format!("{tls}trusted_peers = 127.0.0.1\n{lines}")),
        format!("https://127.0.0.1:{port}"),
        files,
    )
}

#[test]
fn two_gateways_speak_tls_and_tell_who_the_client_is() {
    let origin = Origin::start(Manner::Held);
    let (inner, url, files) = tls_gateway(&origin.url(), "");
    let trusting = |name: &str| format!("origin_tls_ca = {}\n", files.path().join(name).display());
    let outer = gateway(&url, &trusting("ca.pem"));
    let mut client = Connection::open(outer.port());
    for _ in 0..2 {
        client.send("/over/tls", &[]);
        let request = origin.next();
        let field = |name: &str| {
            request.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
        };
        assert_eq!(field("x-forwarded-for").unwrap(), "127.0.0.1, 127.0.0.1");
        assert_eq!(field("via").unwrap(), "1.1 throttle-proxy, 1.1 throttle-proxy");
        request.answer(200);
        assert_eq!(client.receive().unwrap().status, 200);
    }
    assert_eq!(inner.event(0, "request")["tls"], true);
    // Without trust in who has signed it, there is no connection.
    let strict = gateway(&url, &trusting("a.pem"));
    let refused = strict.get("/");
    assert_eq!(refused.status, 502);
    assert!(refused.field("proxy-status").unwrap().contains("error=tls_certificate_error"));
}

#[test]
fn a_proxy_header_precedes_tls() {
    let origin = Origin::start(Manner::Held);
    // Whoever is on the loopback may begin with a header, and has to.
    let (inner, url, files) = tls_gateway(&origin.url(), "proxy_protocol = on\n");
    let ca = files.path().join("ca.pem").display().to_string();
    for version in ["v1", "v2"] {
        // The client is one that another header speaks of.
        let outer = gateway(
            &url,
            &format!(
                "origin_tls_ca = {ca}\nsend_proxy = {version}\nforwarded = off\n\
                 proxy_protocol = on\ntrusted_peers = 127.0.0.1\n"
            ),
        );
        let mut client = connect(outer.port());
        write!(client, "PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let request = origin.next();
        assert!(request.fields.contains(&("x-forwarded-for".to_owned(), "198.51.100.7".to_owned())));
        request.answer(200);
        assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    }
    let line = inner.event(0, "request");
    assert_eq!((&line["tls"], &line["peer"]), (&true.into(), &"198.51.100.7".into()));
}

#[test]
fn a_proxy_header_tells_the_address_and_its_absence_ends_the_connection() {
    let origin = Origin::start(Manner::Held);
    let proxy = gateway(&origin.url(), "proxy_protocol = on\ntrusted_peers = 127.0.0.1\n");
    let mut client = connect(proxy.port());
    write!(client, "PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let request = origin.next();
    assert!(request.fields.contains(&("x-forwarded-for".to_owned(), "198.51.100.7".to_owned())));
    request.answer(200);
    assert!(head(&mut client).starts_with("HTTP/1.1 200 "));
    let mut silent = connect(proxy.port());
    write!(silent, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The bytes were not read: their connection may end by a reset.
    let _ = silent.read_to_end(&mut answer);
    assert!(answer.is_empty());
    assert_eq!(origin.times().len(), 1);
    assert_eq!(proxy.metric("http_bad_requests_total{reason=\"proxy_header\"}"), 1.0);
}

#[test]
fn an_origin_that_went_away_while_idle_is_noticed_by_nobody() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = gateway(&origin.url(), "");
    let mut client = Connection::open(proxy.port());
    for _ in 0..50 {
        assert_eq!(client.get("/", &["Connection: keep-alive"]).status, 200);
    }
    let row = proxy.ctl(&["show", "origins"]).unwrap().remove(0);
    assert_eq!((row["connections"].as_u64(), row["in_flight"].as_u64()), (Some(1), Some(0)));
}
