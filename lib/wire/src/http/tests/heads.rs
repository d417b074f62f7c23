//! Rows 1 to 13 of the checklist: heads of requests.

use super::super::connection::Persistence;
use super::super::fault::Fault;
use super::super::framing::RequestFraming;
use super::super::method::Method;
use super::super::names::Name;
use super::super::request::{Expect, Version};
use super::{bad_request, good_request, request};

#[test]
fn the_parts_of_a_request() {
    let head =
        good_request(b"GET /where?q=now HTTP/1.1\r\nHost: www.example.com\r\nX:\t a b \t\r\nE:\r\n\r\n");
    assert_eq!(
        (head.method(), head.method_text(), head.version()),
        (Method::Get, &b"GET"[..], Version::Http11)
    );
    assert_eq!(
        (head.path(), head.query(), head.authority()),
        (&b"/where"[..], &b"?q=now"[..], Some(&b"www.example.com"[..]))
    );
    assert_eq!(
        (head.framing(), head.expect(), head.persistence()),
        (RequestFraming::None, Expect::Nothing, Persistence::KeepAlive)
    );
    let fields: Vec<_> = head.fields().iter().map(|field| (field.name, field.text, field.value)).collect();
    let expected: [(Name, &[u8], &[u8]); 3] =
        [(Name::Host, b"Host", b"www.example.com"), (Name::Other, b"X", b"a b"), (Name::Other, b"E", b"")];
    assert_eq!(fields, expected);
}

#[test]
fn row_1_lines_end_in_crlf_and_nothing_else() {
    let cases: [(&[u8], Fault); 12] = [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::LineEnd),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r: a\r\n\r\n", Fault::FieldName),
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::EmptyLines),
        (b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::Method),
    ];
    for (bytes, fault) in cases {
        assert_eq!(bad_request(bytes), fault, "{}", bytes.escape_ascii());
    }
    for empty in [&b""[..], b"\r\n", b"\r\n\r\n"] {
        good_request(&[empty, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    }
}

#[test]
fn what_follows_a_head_is_left() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET ";
    let Ok(Some((used, _))) = request(bytes) else { panic!() };
    assert_eq!(&bytes[used..], b"GET ");
}
