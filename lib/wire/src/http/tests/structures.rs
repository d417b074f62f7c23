//! Fields with a grammar of their own: structured fields, Priority, Prefer, Accept, and lists.

use sluice_check::exhaustive;

use super::super::fields::{Fields, elements, is_token};
use super::super::hints::{Format, format, urgency, wait_s};
use super::super::names::Name;
use super::super::structured::{Item, dictionary, list, write_string};
use super::good_request;

/// The fields of a request with these lines behind Host.
fn fields(lines: &str) -> Fields {
    good_request(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).fields().clone()
}

#[test]
fn lists_of_elements() {
    let of = |value: &str| {
        elements(value.as_bytes())
            .map(|element| String::from_utf8(element.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("a, b ,\tc"), ["a", "b", "c"]);
    assert_eq!(of(" , a,, ,b,"), ["a", "b"]);
    assert_eq!(of("a \"b, c\", \"d\\\", e\" f"), ["a \"b, c\"", "\"d\\\", e\" f"]);
    assert_eq!(of("\"a, b"), ["\"a, b"], "an open string takes the rest");
    assert!(of("").is_empty());
    let lines = fields("X: a\r\nAccept: b, c\r\nAccept: d\r\n");
    assert_eq!(lines.elements(Name::Accept).count(), 3);
    assert!(
        lines.lists(Name::Accept, b"D")
            && !lines.lists(Name::Accept, b"b, c")
            && !lines.lists(Name::Via, b"a")
    );
    assert_eq!((lines.len(), lines.is_empty()), (4, false));
}

#[test]
fn fields_are_found_by_name() {
    let lines = fields("X-A: 1\r\nx-b: 2\r\nx-a: 3\r\n");
    assert_eq!(lines.named(b"x-A").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(lines.named(b"HOST").collect::<Vec<_>>(), [b"a"]);
    assert_eq!(lines.named(b"x-c").count(), 0);
    assert!(is_token(b"a!") && !is_token(b"") && !is_token(b"a b"));
}

#[test]
fn members_of_lists() {
    // RFC 9651 §3.1, §3.1.2, §3.3 by example.
    let members = list(b"sugar, tea;q=1;x, \"rum\\\"\" ; y=?0 ,(a \"b\";c 1.5);d, -42, 3.141, :cGFz:, @1659578233, %\"%c3%bc\"").unwrap_or_default();
    assert!(members.is_empty(), "no space before a semicolon");
    let members = list(b"sugar, tea;q=1; x, \"rum\\\"\";y=?0\t,(a \"b\";c  1.5 );d, -42, 3.141, :cGFz:, @1659578233, %\"%c3%bc\"").unwrap();
    let items: Vec<_> = members.iter().map(|member| member.item).collect();
    let expected = [
        Item::Token(b"sugar"),
        Item::Token(b"tea"),
        Item::String(b"rum\\\""),
        Item::Other,
        Item::Integer(-42),
        Item::Other,
        Item::Other,
        Item::Other,
        Item::Other,
    ];
    assert_eq!(items, expected);
    assert_eq!(members[1].params, [(&b"q"[..], Item::Integer(1)), (b"x", Item::Boolean(true))]);
    assert_eq!((members[1].text, members[2].param(b"y")), (&b"tea;q=1; x"[..], Some(Item::Boolean(false))));
    assert_eq!(list(b"a;b=1;b=2").unwrap()[0].param(b"b"), Some(Item::Integer(2)));
    assert_eq!(list(b"").unwrap().len(), 0);
    assert_eq!(list(b"  ").unwrap().len(), 0);
}

#[test]
fn what_is_no_list() {
    let bad: [&[u8]; 30] = [
        b",",
        b"a,",
        b",a",
        b"a,,b",
        b"a b",
        b"\"a",
        b"\"\\a\"",
        b"\"\xc3\"",
        b"(",
        b"(a",
        b"(a,b)",
        b"(a)b",
        b"a;",
        b"a;B",
        b"a;b=",
        b"a;=1",
        b"1.",
        b"1.2345",
        b"1234567890123456",
        b"1234567890123.1",
        b"-",
        b"--1",
        b"?2",
        b"?",
        b":a",
        b":*:",
        b"@1.5",
        b"%\"%C3\"",
        b"{",
        b"\x80",
    ];
    for value in bad {
        assert_eq!(list(value), None, "{}", value.escape_ascii());
    }
}

#[test]
fn members_of_dictionaries() {
    let members = dictionary(b"a=1, b;x=2, *c=(a b), a=?0").unwrap();
    let found: Vec<_> = members.iter().map(|member| (member.key, member.item)).collect();
    let expected: [(&[u8], Item<'_>); 4] = [
        (b"a", Item::Integer(1)),
        (b"b", Item::Boolean(true)),
        (b"*c", Item::Other),
        (b"a", Item::Boolean(false)),
    ];
    assert_eq!(found, expected);
    for value in [&b"A=1"[..], b"a=", b"a==1", b"1=a", b"a=1,"] {
        assert_eq!(dictionary(value), None, "{}", value.escape_ascii());
    }
}

#[test]
fn texts_of_members_make_the_list_again() {
    for value in exhaustive(b"a1;=,\"( ?", 5) {
        let Some(members) = list(&value) else { continue };
        let texts: Vec<_> = members.iter().map(|member| member.text).collect();
        let again = texts.join(&b", "[..]);
        let items = |value: &[u8]| {
            list(value).map(|members| {
                members
                    .iter()
                    .map(|member| format!("{:?}", (member.item, &member.params)))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(items(&again), items(&value), "{}", value.escape_ascii());
    }
}

#[test]
fn strings_are_escaped() {
    let written = |text: &str| {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written("a \"b\" \\ c"), "\"a \\\"b\\\" \\\\ c\"");
    assert_eq!(written("\r\n\u{e9}"), "\"????\"");
}

#[test]
fn urgencies() {
    let of = |lines: &str| urgency(&fields(lines));
    assert_eq!(of("Priority: u=0\r\n"), Some(0));
    assert_eq!(of("Priority: i, u=7\r\n"), Some(7));
    assert_eq!(of("Priority: u=1\r\nPriority: u=2, x\r\n"), Some(2), "the last counts");
    for value in ["", "i", "u", "u=8", "u=-1", "u=1.0", "u=\"1\"", "U=1", "u=1,", "u = 1"] {
        assert_eq!(of(&format!("Priority: {value}\r\n")), None, "{value:?}");
    }
    assert_eq!(of(""), None);
}

#[test]
fn patience() {
    let of = |lines: &str| wait_s(&fields(lines));
    assert_eq!(of("Prefer: wait=10\r\n"), Some(10));
    assert_eq!(
        of("Prefer: respond-async, WAIT = \"10\"; x=y\r\nPrefer: wait=5\r\n"),
        Some(10),
        "the first counts"
    );
    for value in
        ["", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "x=\"wait=5\"", "wait=99999999999999999999"]
    {
        assert_eq!(of(&format!("Prefer: {value}\r\n")), None, "{value:?}");
    }
}

#[test]
fn forms_of_answers() {
    let of = |value: &str| format(&fields(&format!("Accept: {value}\r\n")));
    assert_eq!(format(&fields("")), Format::Problem);
    let problem = [
        "",
        "*/*",
        "application/json, text/plain, */*",
        "application/problem+json",
        "text/html, */*;q=0.8",
        "text/plain;q=0.5, application/*",
        "text/plain, application/json",
        "image/png",
        "text/plain;q=0",
        "text/plain;q=2",
        "TEXT/*;q=0.1, application/*;q=0.2",
        "text/plain;q=x",
    ];
    for value in problem {
        assert_eq!(of(value), Format::Problem, "{value:?}");
    }
    let text = [
        "text/plain",
        "text/*",
        "Text/Plain, */*;q=0.1",
        "text/plain, application/json;q=0.9",
        "text/html, text/plain;q=0.001",
        "*/*;q=0.5, application/json;q=0.1, application/problem+json;q=0.2",
        "text/plain;charset=utf-8;q=0.3, application/json;q=0.2",
    ];
    for value in text {
        assert_eq!(of(value), Format::Text, "{value:?}");
    }
}
