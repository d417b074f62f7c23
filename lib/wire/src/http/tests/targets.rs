//! Rows 4 and 5 of the checklist: request targets.

use sluice_check::exhaustive;

use super::super::fault::Fault;
use super::super::target::{Form, Target};
use super::{bad_request, good_request};

/// Path and query of a target that must be good.
fn parts(text: &str) -> (Form, &str, &str, &str) {
    let target = Target::read(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    (target.form, &text[target.authority], &text[target.path], &text[target.query])
}

#[test]
fn row_4_the_forms() {
    assert_eq!(parts("/"), (Form::Origin, "", "/", ""));
    assert_eq!(parts("/a/b;c=d?e=/f?g"), (Form::Origin, "", "/a/b;c=d", "?e=/f?g"));
    assert_eq!(parts("//a//b"), (Form::Origin, "", "//a//b", ""));
    assert_eq!(parts("*"), (Form::Asterisk, "", "*", ""));
    assert_eq!(parts("http://a"), (Form::Absolute, "a", "", ""));
    assert_eq!(parts("HTTPS://a:443/b?c"), (Form::Absolute, "a:443", "/b", "?c"));
    assert_eq!(parts("http://[::1]:80?c"), (Form::Absolute, "[::1]:80", "", "?c"));
    for text in [
        "",
        "a",
        "a/b",
        "?a",
        "http:/a",
        "http:a",
        "ftp://a/",
        "ws://a/",
        "a:443",
        "**",
        "*/",
        "mailto:a@b",
        "://a",
    ] {
        assert_eq!(Target::read(text.as_bytes()), Err(Fault::Target), "{text:?}");
    }
    for text in
        ["http://", "http:///a", "http://u@a/", "http://a:x/", "http://:80/", "https://a,b/", "http://a%00/"]
    {
        assert_eq!(Target::read(text.as_bytes()), Err(Fault::Host), "{text:?}");
    }
}

#[test]
fn row_4_an_asterisk_is_for_options_alone() {
    let head = good_request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.path(), head.form()), (&b"*"[..], Form::Asterisk));
    for method in ["GET", "POST", "options", "X"] {
        let bytes = format!("{method} * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(bad_request(bytes.as_bytes()), Fault::Target, "{method}");
    }
}

#[test]
fn row_4_paths_of_absolute_targets() {
    let of = |method: &str, target: &str| {
        let head = good_request(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        (head.path().to_vec(), head.query().to_vec())
    };
    assert_eq!(of("GET", "http://b"), (b"/".to_vec(), vec![]));
    assert_eq!(of("GET", "http://b?q"), (b"/".to_vec(), b"?q".to_vec()));
    assert_eq!(of("OPTIONS", "http://b"), (b"*".to_vec(), vec![]), "RFC 9112 §3.2.4");
    assert_eq!(of("OPTIONS", "http://b/"), (b"/".to_vec(), vec![]));
    assert_eq!(of("OPTIONS", "http://b?q"), (b"/".to_vec(), b"?q".to_vec()));
}

#[test]
fn row_5_every_byte() {
    for byte in 0..=255_u8 {
        let in_path = [b"/a", &[byte][..], b"b"].concat();
        let in_query = [b"/?a", &[byte][..], b"b"].concat();
        let is_printable = (0x21..0x7f).contains(&byte) && !b"#\"<>".contains(&byte);
        assert_eq!(Target::read(&in_query).is_ok(), is_printable, "{byte:#x} in a query");
        // In a path the bytes behind it make no escape.
        let is_plain = is_printable && !b"\\%".contains(&byte);
        assert_eq!(Target::read(&in_path).is_ok(), is_plain, "{byte:#x} in a path");
    }
}

#[test]
fn row_5_escapes() {
    for text in
        ["/%41", "/%7e%7E", "/a%20b", "/%ff%FF", "/%25", "/%0a", "/?%", "/?%zz", "/?%00", "/?..", "/?\\"]
    {
        assert!(Target::read(text.as_bytes()).is_ok(), "{text}");
    }
    for text in ["/%", "/%4", "/%4g", "/%g4", "/%%41", "/%00", "/a%00b", "/%+4", "/a\\b", "/\\"] {
        assert_eq!(Target::read(text.as_bytes()), Err(Fault::Target), "{text}");
    }
}

#[test]
fn row_5_dot_segments() {
    for text in [
        "/...",
        "/.a",
        "/a.",
        "/..a",
        "/a..",
        "/.../b",
        "/a.b/c..d",
        "/?/../",
        "/%2e%2e%2e",
        "/..;x",
        "http://a/b/..c",
    ] {
        assert!(Target::read(text.as_bytes()).is_ok(), "{text}");
    }
    let bad = [
        "/.",
        "/..",
        "/./",
        "/../",
        "/a/.",
        "/a/..",
        "/a/./b",
        "/a/../b",
        "/%2e",
        "/%2E%2e/a",
        "/.%2e/a",
        "/a/%2e./b",
        "/a/..?b",
        "/a%2f..",
        "/a%2F%2e%2e%2fb",
        "/..%5ca",
        "/a%5c..%5cb",
        "http://a/..",
        "http://a/b/%2e",
    ];
    for text in bad {
        assert_eq!(Target::read(text.as_bytes()), Err(Fault::Target), "{text}");
    }
}

/// Whether a path is good, by decoding it first and looking then: an oracle that works the other way round.
fn is_path(path: &[u8]) -> bool {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        (rest, _) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let text = [*high, *low];
                let digits = std::str::from_utf8(&text).ok().filter(|text| !text.starts_with('+'));
                let Some(byte) = digits.and_then(|text| u8::from_str_radix(text, 16).ok()) else {
                    return false;
                };
                (tail, decoded.push(byte))
            }
            (b'%' | b'\\', _) => return false,
            (byte, tail) => (tail, decoded.push(*byte)),
        };
    }
    let segments = decoded.split(|byte| b"/\\".contains(byte));
    !decoded.contains(&0) && segments.clone().all(|segment| segment != b"." && segment != b"..")
}

#[test]
fn row_5_all_short_paths() {
    let parts: [&[u8]; 9] = [b"/", b".", b"%2e", b"%2F", b"%00", b"%", b"2", b"\\", b"%5c"];
    for pieces in exhaustive(&parts, 5) {
        let path = [&b"/"[..], &pieces.concat()].concat();
        assert_eq!(Target::read(&path).is_ok(), is_path(&path), "{}", path.escape_ascii());
    }
}

#[test]
fn all_short_targets_keep_their_parts_together() {
    for text in exhaustive(b"/?*:a.%h", 5) {
        let Ok(target) = Target::read(&text) else { continue };
        assert_eq!(target.path.end, target.query.start);
        assert_eq!(target.query.end, text.len());
        assert!(target.form != Form::Origin || text[0] == b'/');
        assert!(target.form != Form::Asterisk || text == b"*");
    }
}
