//! Rows 1 to 3, 6 to 8 and 26 of the checklist, and the limits: heads of requests.

use sluice_check::exhaustive;

use super::super::connection::Persistence;
use super::super::fault::Fault;
use super::super::fields::FIELDS_CAP;
use super::super::framing::RequestFraming;
use super::super::limits::HeadLimits;
use super::super::method::Method;
use super::super::names::Name;
use super::super::request::{Expect, RequestReader, Version};
use super::super::target::is_authority;
use super::{bad_request, good_request, request, request_within};

/// A request of HTTP/1.1 with these field lines behind Host.
fn with_fields(fields: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n"].concat()
}

/// A request that begins with this line.
fn with_line(line: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: a\r\n\r\n"].concat()
}

#[test]
fn the_parts_of_a_request() {
    let head =
        good_request(b"GET /where?q=now HTTP/1.1\r\nHost: www.example.com\r\nX:\t a b \t\r\nE:\r\n\r\n");
    assert_eq!((head.method(), head.method_text()), (Method::Get, &b"GET"[..]));
    assert_eq!((head.version(), head.authority()), (Version::Http11, Some(&b"www.example.com"[..])));
    assert_eq!((head.path(), head.query()), (&b"/where"[..], &b"?q=now"[..]));
    assert_eq!((head.framing(), head.expect()), (RequestFraming::None, Expect::Nothing));
    assert_eq!(head.persistence(), Persistence::KeepAlive);
    let fields: Vec<_> = head.fields().iter().map(|field| (field.name, field.text, field.value)).collect();
    let expected: [(Name, &[u8], &[u8]); 3] =
        [(Name::Host, b"Host", b"www.example.com"), (Name::Other, b"X", b"a b"), (Name::Other, b"E", b"")];
    assert_eq!(fields, expected);
}

#[test]
fn row_1_lines_end_in_crlf_and_nothing_else() {
    let cases: [(&[u8], Fault); 14] = [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", Fault::LineEnd),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::LineEnd),
        (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Fault::RequestLine),
        (b"GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n", Fault::FieldValue),
        (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Fault::FieldValue),
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
fn row_1_every_byte_of_a_value() {
    for byte in 0..=255_u8 {
        let bytes = with_fields(&[b"X: a", &[byte][..], b"b\r\n"].concat());
        let is_good = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if is_good {
            assert_eq!(good_request(&bytes).fields().named(b"x").next(), Some(&[b'a', byte, b'b'][..]));
        } else {
            let fault = if byte == b'\n' { Fault::LineEnd } else { Fault::FieldValue };
            assert_eq!(bad_request(&bytes), fault, "{byte:#x}");
        }
    }
}

#[test]
fn row_2_methods() {
    let longest = [b'M'; 32];
    for method in [&b"GET"[..], b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~09", &longest] {
        let head = good_request(&with_line(&[method, b" / HTTP/1.1"].concat()));
        assert_eq!(head.method_text(), method);
        assert_eq!(head.method() == Method::Get, method == b"GET");
    }
    assert_eq!(bad_request(&with_line(&[&longest[..], b"M / HTTP/1.1"].concat())), Fault::MethodLong);
    assert_eq!(request(&[b'M'; 33]), Err(Fault::MethodLong), "at once");
    for line in [
        &b" / HTTP/1.1"[..],
        b"G(T / HTTP/1.1",
        b"G\x80T / HTTP/1.1",
        b"\tGET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
    ] {
        assert_eq!(bad_request(&with_line(line)), Fault::Method, "{}", line.escape_ascii());
    }
    for byte in 0..=255_u8 {
        let is_good = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let bytes = with_line(&[b"A", &[byte][..], b"B / HTTP/1.1"].concat());
        match byte {
            _ if is_good => assert_eq!(good_request(&bytes).method_text(), [b'A', byte, b'B']),
            b'\n' => assert_eq!(bad_request(&bytes), Fault::RequestLine),
            // The method ends here: what follows is no target.
            b' ' => assert_eq!(bad_request(&bytes), Fault::RequestLine),
            _ => assert_eq!(bad_request(&bytes), Fault::Method, "{byte:#x}"),
        }
    }
}

#[test]
fn row_2_single_spaces() {
    for line in [
        &b"GET  / HTTP/1.1"[..],
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1 x",
        b"GET / x HTTP/1.1",
    ] {
        let fault = bad_request(&with_line(line));
        assert!(matches!(fault, Fault::RequestLine | Fault::Target), "{}: {fault:?}", line.escape_ascii());
    }
}

#[test]
fn row_3_versions() {
    assert_eq!(good_request(&with_line(b"GET / HTTP/1.0")).version(), Version::Http10);
    for version in ["HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        assert_eq!(
            bad_request(&with_line(format!("GET / {version}").as_bytes())),
            Fault::Version,
            "{version}"
        );
    }
    for version in [
        "http/1.1",
        "HTTP/1.10",
        "HTTP/11",
        "HTTP/1,1",
        "HTTP/ 1.1",
        "HTTPS/1.1",
        "HTTP/+1.1",
        "HTTP/1.x",
        "H",
    ] {
        assert_eq!(
            bad_request(&with_line(format!("GET / {version}").as_bytes())),
            Fault::RequestLine,
            "{version}"
        );
    }
    for line in [&b"GET /"[..], b"GET", b"GET / "] {
        assert_eq!(bad_request(&with_line(line)), Fault::RequestLine, "{}", line.escape_ascii());
    }
    // What other protocols begin with.
    assert_eq!(bad_request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Fault::Version);
    assert_eq!(request(b"\x16\x03\x01\x02\0\x01"), Err(Fault::Method));
    assert_eq!(request(b"\0\0\0\x08\x04\xd2\x16\x2f"), Err(Fault::Method));
}

#[test]
fn row_6_methods_that_are_refused() {
    assert_eq!(bad_request(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), Fault::MethodRefused);
    assert_eq!(bad_request(&with_line(b"TRACE / HTTP/1.1")), Fault::MethodRefused);
    assert_eq!(Fault::MethodRefused.status(), 405);
    good_request(&with_line(b"connect / HTTP/1.1"));
}

#[test]
fn row_6_max_forwards() {
    let of = |method: &str, value: &str| {
        let bytes = format!("{method} * HTTP/1.1\r\nHost: a\r\nMax-Forwards: {value}\r\n\r\n");
        request(bytes.as_bytes()).map(|read| read.unwrap().1.max_forwards())
    };
    assert_eq!(of("OPTIONS", "0"), Ok(Some(0)));
    assert_eq!(of("OPTIONS", "10"), Ok(Some(10)));
    for value in ["", "-1", "+1", "1, 2", "x", "99999999999999999999"] {
        assert_eq!(of("OPTIONS", value), Err(Fault::MaxForwards), "{value:?}");
    }
    let twice = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n";
    assert_eq!(bad_request(twice), Fault::MaxForwards);
    assert_eq!(good_request(&with_fields(b"Max-Forwards: x\r\n")).max_forwards(), None);
}

#[test]
fn row_7_host() {
    let of = |version: &str, fields: &str| {
        let bytes = format!("GET / HTTP/1.{version}\r\n{fields}\r\n");
        request(bytes.as_bytes()).map(|read| read.unwrap().1.authority().map(<[u8]>::to_vec))
    };
    assert_eq!(of("1", ""), Err(Fault::Host));
    assert_eq!(of("0", ""), Ok(None));
    for version in ["0", "1"] {
        assert_eq!(of(version, "Host: a\r\n"), Ok(Some(b"a".to_vec())));
        for fields in [
            "Host: a\r\nHost: a\r\n",
            "Host:\r\n",
            "Host: a, b\r\n",
            "Host: a b\r\n",
            "Host: u@a\r\n",
            "Host: a/\r\n",
        ] {
            assert_eq!(of(version, fields), Err(Fault::Host), "{fields:?}");
        }
    }
    // The authority of an absolute target replaces Host, which must be there all the same.
    let absolute = good_request(b"GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(absolute.authority(), Some(&b"b:81"[..]));
    assert_eq!(bad_request(b"GET http://b/ HTTP/1.1\r\n\r\n"), Fault::Host);
}

#[test]
fn row_7_authorities() {
    let good = [
        "a",
        "a:80",
        "a:",
        "a:0",
        "a:65535",
        "127.0.0.1:8080",
        "[::1]",
        "[2001:db8::1]:443",
        "a_b.c-d~e",
        "a%20b",
        "xn--a.example.",
        "!$&'()*+;=",
    ];
    let bad = [
        "",
        ":80",
        "a:65536",
        "a:99999999999",
        "a:+1",
        "a:x",
        "a:1:2",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:x",
        "[1]",
        "[::1%25eth0]",
        "[v1.a]",
        "a,b",
        "u@a",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        "a\tb",
        "a\\b",
        "a\"b",
        "a%",
        "a%2",
        "a%zz",
        "a%00",
        "h\u{f6}st",
        "<a>",
        "a[b]",
    ];
    for text in good {
        assert!(is_authority(text.as_bytes()), "{text:?}");
    }
    for text in bad {
        assert!(!is_authority(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn row_8_field_names() {
    let faults: [(&[u8], Fault); 9] = [
        (b"X : a\r\n", Fault::FieldName),
        (b"X\t: a\r\n", Fault::FieldName),
        (b": a\r\n", Fault::FieldName),
        (b"X\r\n", Fault::FieldName),
        (b" X: a\r\n", Fault::FieldName),
        (b"X: a\r\n b\r\n", Fault::FieldName),
        (b"X: a\r\n\tb\r\n", Fault::FieldName),
        (b"X: a\r\n \r\n", Fault::FieldName),
        (b"X(: a\r\n", Fault::FieldName),
    ];
    for (fields, fault) in faults {
        assert_eq!(bad_request(&with_fields(fields)), fault, "{}", fields.escape_ascii());
    }
    for byte in 0..=255_u8 {
        let bytes = with_fields(&[b"A", &[byte][..], b"B: x\r\n"].concat());
        let is_good = byte == b':' || byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match byte {
            _ if is_good => assert_eq!(good_request(&bytes).fields().len(), 2),
            b'\n' => assert_eq!(bad_request(&bytes), Fault::LineEnd),
            _ => assert_eq!(bad_request(&bytes), Fault::FieldName, "{byte:#x}"),
        }
    }
    let folded_first = b"GET / HTTP/1.1\r\n Host: a\r\n\r\n";
    assert_eq!(bad_request(folded_first), Fault::FieldName);
}

/// What a field block is, by the letter of RFC 9112 §5 and RFC 9110 §5.5: an oracle without a fast path.
fn fields_by_the_grammar(block: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut fields = Vec::new();
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n")?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if !value.iter().all(is_text) {
            return None;
        }
        fields.push((name.to_vec(), value.trim_ascii().to_vec()));
    }
    Some(fields)
}

#[test]
fn rows_1_and_8_all_short_field_blocks() {
    let start = b"GET / HTTP/1.0\r\n";
    let parts: [&[u8]; 6] = [b"\r\n", b"\n", b"\r", b":", b" ", b"a"];
    for pieces in exhaustive(&parts, 6) {
        let block = [pieces.concat(), b"\r\n".to_vec()].concat();
        let bytes = [&start[..], &block].concat();
        let read = RequestReader::default().read(&bytes, &HeadLimits::REQUEST);
        // The block ends at its first empty line.
        let end = (0..block.len())
            .find(|&at| (at == 0 || block[at - 1] == b'\n') && block[at..].starts_with(b"\r\n"));
        let expected = end.and_then(|end| fields_by_the_grammar(&block[..end + 2]));
        let found = match &read {
            Ok(Some((_, head))) => {
                Some(head.fields().iter().map(|field| (field.text.to_vec(), field.value.to_vec())).collect())
            }
            _ => None,
        };
        assert_eq!(found, expected, "{}: {read:?}", block.escape_ascii());
    }
}

#[test]
fn row_26_persistence() {
    let of = |version: &str, fields: &str| {
        let bytes = format!("GET / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
        good_request(bytes.as_bytes()).persistence()
    };
    assert_eq!(of("1", ""), Persistence::KeepAlive);
    assert_eq!(of("1", "Connection: close\r\n"), Persistence::Close);
    assert_eq!(of("1", "Connection: x, CLOSE\r\n"), Persistence::Close);
    assert_eq!(of("1", "Connection: keep-alive, close\r\n"), Persistence::Close);
    assert_eq!(of("0", ""), Persistence::Close);
    assert_eq!(of("0", "Connection: Keep-Alive\r\n"), Persistence::KeepAlive);
    assert_eq!(of("0", "Connection: keep-alive\r\nConnection: close\r\n"), Persistence::Close);
    assert_eq!(of("0", "Keep-Alive: timeout=5\r\n"), Persistence::Close);
}

#[test]
fn expectations() {
    let of = |version: &str, fields: &str| {
        let bytes = format!("POST / HTTP/1.{version}\r\nHost: a\r\n{fields}\r\n");
        request(bytes.as_bytes()).map(|read| read.unwrap().1.expect())
    };
    assert_eq!(of("1", "Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(Expect::Continue));
    assert_eq!(of("1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), Ok(Expect::Continue));
    assert_eq!(of("1", "Expect: 100-continue\r\n"), Ok(Expect::Nothing), "no content");
    assert_eq!(of("1", "Expect: 100-continue\r\nContent-Length: 0\r\n"), Ok(Expect::Nothing));
    assert_eq!(of("0", "Expect: 100-continue\r\nContent-Length: 1\r\n"), Ok(Expect::Nothing), "row 26");
    assert_eq!(of("0", "Expect: teapot\r\n"), Ok(Expect::Nothing));
    for value in ["teapot", "100-continue, teapot", "100-continue=1"] {
        assert_eq!(of("1", &format!("Expect: {value}\r\n")), Err(Fault::Expectation), "{value}");
    }
}

#[test]
fn offers_to_switch() {
    let of = |bytes: &str| {
        let head = good_request(bytes.as_bytes());
        head.offers().map(|offer| String::from_utf8(offer.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let get = |fields: &str| of(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(get("Connection: Upgrade\r\nUpgrade: websocket\r\n"), ["websocket"]);
    assert_eq!(
        get("Connection: keep-alive, upgrade\r\nUpgrade: a/1, b\r\nUpgrade: c\r\n"),
        ["a/1", "b", "c"]
    );
    assert!(get("Upgrade: websocket\r\n").is_empty(), "not nominated");
    assert!(get("Connection: upgrade\r\n").is_empty());
    assert!(
        get("Connection: upgrade\r\nUpgrade: h2c, HTTP/2.0, TLS/1.2, \"x\"\r\nHTTP2-Settings: x\r\n")
            .is_empty()
    );
    assert!(
        get("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n").is_empty(),
        "with content"
    );
    assert!(of("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").is_empty(), "row 26");
}

#[test]
fn a_head_at_and_beyond_each_limit() {
    let bytes = b"POST /abc HTTP/1.1\r\nHost: a\r\nX: bcd\r\n\r\n";
    let exact = HeadLimits { target_max: 4, head_max: bytes.len(), field_max: 7, fields_max: 2 };
    assert!(request_within(bytes, &exact).is_ok_and(|read| read.is_some()));
    let led = [b"\r\n\r\n", &bytes[..]].concat();
    assert!(request_within(&led, &exact).is_ok_and(|read| read.is_some()), "empty lines do not count");
    let faults = [
        (HeadLimits { target_max: 3, ..exact }, Fault::TargetLong),
        (HeadLimits { head_max: bytes.len() - 1, ..exact }, Fault::HeadLong),
        (HeadLimits { field_max: 6, ..exact }, Fault::FieldLong),
        (HeadLimits { fields_max: 1, ..exact }, Fault::FieldsMany),
    ];
    for (limits, fault) in faults {
        assert_eq!(request_within(bytes, &limits), Err(fault), "{limits:?}");
    }
}

#[test]
fn the_default_limits_at_n_and_beyond() {
    let limits = HeadLimits::REQUEST;
    let read =
        |bytes: &[u8]| RequestReader::default().read(bytes, &limits).map(|read| read.map(|read| read.0));
    let target = |len: usize| with_line(&[b"GET /", &vec![b'a'; len - 1][..], b" HTTP/1.1"].concat());
    assert!(read(&target(8192)).is_ok_and(|read| read.is_some()));
    assert_eq!(read(&target(8193)), Err(Fault::TargetLong));
    let field = |len: usize| with_fields(&[b"X: ", &vec![b'a'; len - 3][..], b"\r\n"].concat());
    assert!(read(&field(16_384)).is_ok_and(|read| read.is_some()));
    assert_eq!(read(&field(16_385)), Err(Fault::FieldLong));
    let count = |count: usize| with_fields(&b"X: a\r\n".repeat(count - 1));
    assert!(read(&count(100)).is_ok_and(|read| read.is_some()));
    assert_eq!(read(&count(101)), Err(Fault::FieldsMany));
    let head = |len: usize| {
        let mut bytes = with_fields(&[b"X: ", &vec![b'a'; 16_380][..], b"\r\nY: "].concat());
        bytes.truncate(bytes.len() - 2);
        bytes.resize(len - 4, b'b');
        [bytes, b"\r\n\r\n".to_vec()].concat()
    };
    assert_eq!(read(&head(32_768)), Ok(Some(32_768)));
    assert_eq!(read(&head(32_769)), Err(Fault::HeadLong));
    // A setting beyond what can be told apart takes nothing, instead of less than it says.
    let beyond = HeadLimits { fields_max: FIELDS_CAP + 1, ..limits };
    assert_eq!(request_within(&with_fields(b""), &beyond), Err(Fault::FieldsMany));
}

#[test]
fn limits_hold_before_the_head_is_whole() {
    let limits = HeadLimits { target_max: 4, head_max: 59, field_max: 10, fields_max: 2 };
    let cases: [(&[u8], Fault); 4] = [
        (b"GET /abcd", Fault::TargetLong),
        (b"GET / HTTP/1.1\r\nHost: abcde", Fault::FieldLong),
        (b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n", Fault::FieldsMany),
        (b"GET / HTTP/1.1\r\nA: bbbbbbb\r\nC: ddddddd\r\n12345678\r\n1234567890", Fault::HeadLong),
    ];
    for (bytes, fault) in cases {
        let loose = HeadLimits { fields_max: if fault == Fault::FieldsMany { 2 } else { 9 }, ..limits };
        assert_eq!(request_within(bytes, &loose), Err(fault), "{}", bytes.escape_ascii());
        assert_eq!(request_within(&bytes[..bytes.len() - 1], &loose), Ok(None), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_follows_a_head_is_left_and_a_reader_reads_on() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nG";
    let mut reader = RequestReader::default();
    let mut rest = &bytes[..];
    for path in [b"/1", b"/2"] {
        let Ok(Some((used, head))) = reader.read(rest, &HeadLimits::REQUEST) else { panic!() };
        assert_eq!(head.path(), path);
        assert!(!reader.has_begun());
        rest = &rest[used..];
    }
    assert_eq!(reader.read(rest, &HeadLimits::REQUEST), Ok(None));
    assert!(reader.has_begun());
}

#[test]
fn every_prefix_of_a_head_asks_for_more() {
    let bytes = b"\r\nPOST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\n";
    for prefix in sluice_check::prefixes(bytes) {
        let mut reader = RequestReader::default();
        assert_eq!(reader.read(prefix, &HeadLimits::REQUEST), Ok(None), "{}", prefix.escape_ascii());
        assert_eq!(reader.has_begun(), prefix.len() > 2 || prefix == b"\r", "{}", prefix.escape_ascii());
    }
}
