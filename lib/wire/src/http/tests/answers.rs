//! The gateway's own answers.

use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::super::answer::{self, Problem, Reader};
use super::super::connection::Persistence;
use super::super::date::Date;
use super::super::fault::Fault;
use super::super::hints::Format;
use super::super::method::Method;
use super::super::names::Name;
use super::super::request::Version;
use super::super::response::ResponseHead;
use super::super::status::reason;
use super::super::structured::{Item, list};
use super::response;

const PROBLEM: Problem<'static> = Problem {
    status: 503,
    code: "queue_full",
    detail: "Request queue is full",
    pseudonym: "throttle-proxy",
    error: "connection_limit_reached",
    retry_after_s: Some(12),
    extra: b"Access-Control-Allow-Origin: *\r\n",
};

fn reader(date: &Date) -> Reader<'_> {
    Reader {
        method: Method::Get,
        version: Version::Http11,
        persistence: Persistence::KeepAlive,
        format: Format::Problem,
        date,
    }
}

/// Head and content of an answer to `method`, which must be a whole response by our own rules.
fn split(method: Method, bytes: &[u8]) -> (ResponseHead, Vec<u8>) {
    let (used, head) = response(method, bytes).unwrap().unwrap();
    (head, bytes[used..].to_vec())
}

#[test]
fn a_problem() {
    let date = Date::of(UNIX_EPOCH);
    let mut out = Vec::new();
    answer::problem(&mut out, &PROBLEM, &reader(&date));
    let (head, content) = split(Method::Get, &out);
    assert_eq!((head.status(), head.reason()), (503, &b"Service Unavailable"[..]));
    let fields = head.fields();
    assert_eq!(fields.first(Name::ContentType), Some(&b"application/problem+json"[..]));
    assert_eq!(fields.first(Name::CacheControl), Some(&b"no-store"[..]));
    assert_eq!(fields.first(Name::RetryAfter), Some(&b"12"[..]));
    assert_eq!(fields.first(Name::Date), Some(date.as_bytes()));
    assert_eq!(fields.named(b"access-control-allow-origin").next(), Some(&b"*"[..]));
    assert_eq!(head.content_length(), Some(content.len() as u64));
    assert!(!fields.has(Name::Server) && !fields.has(Name::Connection));
    let members = list(fields.first(Name::ProxyStatus).unwrap()).unwrap();
    assert!(members[0].item.is_text(b"throttle-proxy"));
    assert_eq!(members[0].param(b"error"), Some(Item::Token(b"connection_limit_reached")));
    assert_eq!(members[0].param(b"details"), Some(Item::String(b"queue_full")));
    let json: Value = serde_json::from_slice(&content).unwrap();
    let expected = serde_json::json!({"type": "about:blank", "title": "Service Unavailable", "status": 503,
        "detail": "Request queue is full", "code": "queue_full", "retry_after_s": 12});
    assert_eq!(json, expected);
}

#[test]
fn a_problem_without_a_time_to_return_and_with_odd_texts() {
    let date = Date::of(UNIX_EPOCH);
    let mut out = Vec::new();
    let problem =
        Problem { retry_after_s: None, detail: "a \"quoted\"\r\n\\text\u{e9}", extra: b"", ..PROBLEM };
    answer::problem(&mut out, &problem, &reader(&date));
    let (head, content) = split(Method::Get, &out);
    assert!(!head.fields().has(Name::RetryAfter));
    let json: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(json["detail"], problem.detail);
    assert_eq!(json.get("retry_after_s"), None);
}

#[test]
fn a_text_for_those_who_prefer_it() {
    let date = Date::of(UNIX_EPOCH);
    let mut out = Vec::new();
    answer::problem(&mut out, &PROBLEM, &Reader { format: Format::Text, ..reader(&date) });
    let (head, content) = split(Method::Get, &out);
    assert_eq!(head.fields().first(Name::ContentType), Some(&b"text/plain; charset=utf-8"[..]));
    assert_eq!(content, b"Request queue is full\n");
}

#[test]
fn head_gets_the_same_head_and_no_content() {
    let date = Date::of(UNIX_EPOCH);
    let (mut get, mut head) = (Vec::new(), Vec::new());
    answer::problem(&mut get, &PROBLEM, &reader(&date));
    answer::problem(&mut head, &PROBLEM, &Reader { method: Method::Head, ..reader(&date) });
    assert!(get.starts_with(&head));
    assert_eq!(split(Method::Head, &head).1, b"");
}

#[test]
fn answers_say_whether_the_connection_goes_on() {
    let date = Date::of(UNIX_EPOCH);
    let connection = |version, persistence| {
        let mut out = Vec::new();
        answer::content(&mut out, 200, b"", b"x", &Reader { version, persistence, ..reader(&date) });
        split(Method::Get, &out).0.fields().first(Name::Connection).map(<[u8]>::to_vec)
    };
    assert_eq!(connection(Version::Http11, Persistence::KeepAlive), None);
    assert_eq!(connection(Version::Http11, Persistence::Close), Some(b"close".to_vec()));
    assert_eq!(connection(Version::Http10, Persistence::KeepAlive), Some(b"keep-alive".to_vec()));
}

#[test]
fn answers_from_memory() {
    let date = Date::of(UNIX_EPOCH);
    let mut out = Vec::new();
    answer::content(&mut out, 200, b"Content-Type: text/html\r\n", b"<p>", &reader(&date));
    let expected = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    for status in [204, 304] {
        let mut out = Vec::new();
        answer::content(&mut out, status, b"", b"<p>", &reader(&date));
        let (head, content) = split(Method::Get, &out);
        assert_eq!((head.content_length(), content), (None, vec![]), "{status}");
    }
    let (head, rest) = split(Method::Get, answer::CONTINUE);
    assert_eq!((head.status(), head.is_interim(), rest), (100, true, vec![]));
}

#[test]
fn every_fault_has_a_status_with_a_phrase_and_a_word_of_its_own() {
    let mut words: Vec<_> = Fault::ALL.iter().map(|fault| fault.reason()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Fault::ALL.len());
    for fault in Fault::ALL {
        assert!(!reason(fault.status()).is_empty(), "{fault:?}");
        assert!(fault.text().ends_with('.') && fault.to_string() == fault.text());
        assert!(fault.reason().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    }
    assert_eq!(reason(299), "");
}
