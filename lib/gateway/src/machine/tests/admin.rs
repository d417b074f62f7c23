//! What monitors are told.

use sluice_wire::http::request::RequestReader;

use super::bench::{Bench, bench, body};
use crate::machine::PAGES;

/// What is answered to these bytes, given whole or byte by byte.
fn ask(bench: &mut Bench, bytes: &str) -> String {
    let limits = bench.gateway.admin_limits(1000);
    let answers = [bytes.len(), 1].map(|step| {
        let mut reader = RequestReader::default();
        let mut answer = Vec::new();
        for end in (step..=bytes.len()).step_by(step) {
            let head = match reader.read(&bytes.as_bytes()[..end], &limits) {
                Ok(None) => continue,
                Ok(Some((_, head))) => Ok(head),
                Err(fault) => Err(fault),
            };
            bench.gateway.administer(head.as_ref().map_err(|fault| *fault), 7, &mut answer, bench.now);
            break;
        }
        String::from_utf8(answer).unwrap()
    });
    assert_eq!(answers[0], answers[1]);
    answers[0].clone()
}

fn get(bench: &mut Bench, target: &str) -> String {
    ask(bench, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"))
}

#[test]
fn metrics_are_text_in_the_exposition_format() {
    let mut bench = bench();
    let answer = get(&mut bench, "/metrics?x=y");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for field in [
        "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
        "Cache-Control: no-store\r\n",
        "Connection: close\r\n",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    ] {
        assert!(answer.contains(field), "{answer}");
    }
    let text = body(&answer);
    assert!(answer.contains(&format!("Content-Length: {}\r\n", text.len())));
    assert!(text.starts_with("# HELP sluice_http_requests_total "));
    assert!(text.ends_with('\n') && text.contains("\nsluice_http_log_dropped_total 7\n"));
    let head = ask(&mut bench, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())) && body(&head).is_empty());
}

#[test]
fn readiness_ends_with_the_drain_and_life_does_not() {
    let mut bench = bench();
    let status = |bench: &mut Bench, target| get(bench, target)[9..12].to_owned();
    assert_eq!((status(&mut bench, "/livez"), status(&mut bench, "/readyz")), ("200".into(), "200".into()));
    bench.drain();
    assert_eq!((status(&mut bench, "/livez"), status(&mut bench, "/readyz")), ("200".into(), "503".into()));
    assert_eq!(status(&mut bench, "/metrics"), "200");
}

#[test]
fn nothing_else_is_told() {
    let mut bench = bench();
    for target in ["/", "/metrics/", "/Metrics", "/livez/x", "/ready", "http://h/"] {
        let answer = get(&mut bench, target);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert_eq!(body(&answer), PAGES.join("\n") + "\n");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
        let answer = ask(&mut bench, &format!("{method} /metrics HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD\r\n"), "{answer}");
    }
    for (bytes, status) in [
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET /metrics HTTP/1.1\nHost: h\n\n", "400"),
        ("GET /metrics HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", "400"),
    ] {
        let answer = ask(&mut bench, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[test]
fn a_head_at_its_limit_and_beyond() {
    let mut bench = bench();
    for (len, status) in [(1000, "200"), (1001, "431")] {
        let start = "GET /livez HTTP/1.1\r\nHost: h\r\nX: ";
        let fill = "x".repeat(len - start.len() - 4);
        let answer = ask(&mut bench, &format!("{start}{fill}\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}
