//! Rows 9 to 12, 16 and 17 of the checklist: heads of responses.

use super::super::connection::Persistence;
use super::super::fault::Fault;
use super::super::framing::ResponseFraming;
use super::super::limits::HeadLimits;
use super::super::method::Method;
use super::super::request::Version;
use super::{good_response, response, response_within};

fn bad_response(bytes: &[u8]) -> Fault {
    match response(Method::Get, bytes) {
        Err(fault) => fault,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// The framing of a response with these field lines.
fn framing(method: Method, start: &str, fields: &str) -> Result<ResponseFraming, Fault> {
    let bytes = format!("{start}\r\n{fields}\r\n");
    response(method, bytes.as_bytes()).map(|read| read.unwrap().1.framing())
}

#[test]
fn the_parts_of_a_response() {
    let head = good_response(Method::Get, b"HTTP/1.1 404 Not found, sorry\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(
        (head.status(), head.version(), head.reason()),
        (404, Version::Http11, &b"Not found, sorry"[..])
    );
    assert_eq!((head.framing(), head.persistence()), (ResponseFraming::Length(3), Persistence::KeepAlive));
    for (line, reason) in
        [("HTTP/1.0 200 ", ""), ("HTTP/1.1 200", ""), ("HTTP/1.1 200  a\tb\u{e9}", " a\tb\u{e9}")]
    {
        let bytes = format!("{line}\r\n\r\n");
        assert_eq!(good_response(Method::Get, bytes.as_bytes()).reason(), reason.as_bytes());
    }
}

#[test]
fn row_17_status_lines_that_are_none() {
    let lines = [
        "",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 x",
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 999 x",
        "HTTP/1.1  200 x",
        "HTTP/1.1\t200 x",
        "HTTP/1.2 200 x",
        "HTTP/2.0 200 x",
        "http/1.1 200 x",
        " HTTP/1.1 200 x",
        "ICY 200 OK",
        "HTTP/1.1 +20 x",
        "HTTP/1.1 2x0 x",
        "HTTP/1.1 200\tx",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1 200 a\x7fb",
        "\r\nHTTP/1.1 200 x",
    ];
    for line in lines {
        let bytes = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(bad_response(bytes.as_bytes()), Fault::StatusLine, "{line:?}");
    }
    assert_eq!(bad_response(b"HTTP/1.1 200 x\nContent-Length: 0\r\n\r\n"), Fault::LineEnd);
    for status in 100..=599 {
        let bytes = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(good_response(Method::Get, bytes.as_bytes()).status(), status);
    }
}

#[test]
fn row_16_answers_that_have_no_content() {
    let fields = "Content-Length: 5\r\n";
    for status in [100, 101, 102, 103, 199, 204, 304] {
        let start = format!("HTTP/1.1 {status} x");
        assert_eq!(framing(Method::Get, &start, fields), Ok(ResponseFraming::None), "{status}");
        assert_eq!(framing(Method::Get, &start, "Transfer-Encoding: chunked\r\n"), Ok(ResponseFraming::None));
    }
    for status in [200, 404, 500] {
        let start = format!("HTTP/1.1 {status} x");
        assert_eq!(framing(Method::Head, &start, fields), Ok(ResponseFraming::None), "{status}");
        assert_eq!(framing(Method::Get, &start, fields), Ok(ResponseFraming::Length(5)), "{status}");
    }
    assert_eq!(framing(Method::Get, "HTTP/1.1 205 x", fields), Ok(ResponseFraming::Length(5)));
    assert_eq!(framing(Method::Get, "HTTP/1.1 205 x", ""), Ok(ResponseFraming::UntilClose));
}

#[test]
fn rows_9_to_12_framing_of_responses() {
    let ok = "HTTP/1.1 200 x";
    let cases = [
        ("", Ok(ResponseFraming::UntilClose)),
        ("Content-Length: 7\r\n", Ok(ResponseFraming::Length(7))),
        ("Content-Length: 7\r\nContent-Length: 7\r\n", Ok(ResponseFraming::Length(7))),
        ("Content-Length: 7, 7 ,7\r\n", Ok(ResponseFraming::Length(7))),
        ("Content-Length: 7, 8\r\n", Err(Fault::ContentLength)),
        ("Content-Length: 7,\r\n", Err(Fault::ContentLength)),
        ("Content-Length: 7\r\nContent-Length: 8\r\n", Err(Fault::ContentLength)),
        ("Content-Length: +7\r\n", Err(Fault::ContentLength)),
        ("Content-Length:\r\n", Err(Fault::ContentLength)),
        ("Transfer-Encoding: Chunked\r\n", Ok(ResponseFraming::Chunked)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", Err(Fault::LengthAndEncoding)),
        ("Transfer-Encoding: gzip\r\n", Err(Fault::TransferEncoding)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(Fault::CodingUnknown)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Fault::TransferEncoding)),
    ];
    for (fields, expected) in cases {
        assert_eq!(framing(Method::Get, ok, fields), expected, "{fields:?}");
    }
    // A response of HTTP/1.0 may be chunked, but ends its connection.
    let old = good_response(
        Method::Get,
        b"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
    );
    assert_eq!((old.framing(), old.persistence()), (ResponseFraming::Chunked, Persistence::Close));
}

#[test]
fn a_head_at_and_beyond_its_limits() {
    let bytes = b"HTTP/1.1 200 x\r\nA: b\r\nC: d\r\n\r\n";
    let exact = HeadLimits { target_max: 0, head_max: bytes.len(), field_max: 4, fields_max: 2 };
    assert!(response_within(Method::Get, bytes, &exact).is_ok_and(|read| read.is_some()));
    let faults = [
        (HeadLimits { head_max: bytes.len() - 1, ..exact }, Fault::HeadLong),
        (HeadLimits { field_max: 3, ..exact }, Fault::FieldLong),
        (HeadLimits { fields_max: 1, ..exact }, Fault::FieldsMany),
    ];
    for (limits, fault) in faults {
        assert_eq!(response_within(Method::Get, bytes, &limits), Err(fault));
    }
}
