//! Building the heads that are sent on, from the fields that were read (RFC 9110 §7.6).
//!
//! Nothing is copied as a whole: the first line, Host, the fields that frame, those that belong to one connection and
//! those that tell of the client are written here from what was understood; every other field goes on as it came, in its
//! order. What a peer nominates in Connection is removed, but never a field that others rely on.

use std::net::IpAddr;

use super::chunked::CHUNK_END;
use super::connection::Persistence;
use super::date::Date;
use super::fields::{Field, Fields};
use super::forwarded::{self, Scheme, Style, Trust};
use super::framing::{RequestFraming, ResponseFraming};
use super::method::Method;
use super::names::{Name, Traits, is_lookalike};
use super::request::{Expect, RequestHead, Version};
use super::response::ResponseHead;
use super::structured;

/// Times a request may have passed this gateway: one more is a loop (a chain may hold the same program twice).
const PASSES_MAX: usize = 3;

/// What is the same for every request that is sent on.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules<'a> {
    /// The name of this gateway in Via: a token.
    pub pseudonym: &'a str,
    /// What an origin is told about the client.
    pub style: Style,
    /// Host for HTTP/1.0 requests without one.
    pub default_host: &'a [u8],
}

/// What this request adds to its head.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The address of the connection's peer, None for a Unix socket.
    pub address: Option<IpAddr>,
    /// Whether that peer is believed.
    pub trust: Trust,
    /// How it reached us.
    pub scheme: Scheme,
    /// Whether the expectation is sent on.
    pub expect: Expect,
    /// Further field lines, each with its CRLF.
    pub extra: &'a [u8],
}

/// The request has passed this gateway before, too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loop;

/// Appends the head of a request to an origin.
///
/// # Errors
/// [`Loop`], with nothing written.
pub fn request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    rules: &RequestRules<'_>,
    sender: &Sender<'_>,
) -> Result<(), Loop> {
    let fields = head.fields();
    if passes(fields, rules.pseudonym) >= PASSES_MAX {
        return Err(Loop);
    }
    out.reserve(fields.bytes().len() + 256);
    let host = head.authority().unwrap_or(rules.default_host);
    put(out, &[head.method_text(), b" ", head.path(), head.query(), b" HTTP/1.1\r\nHost: ", host, b"\r\n"]);
    let nominated = fields.nominated();
    for field in fields.iter() {
        if !nominated.removes(&field) && request_keeps(head, rules.style, sender.trust, &field) {
            line(out, &field);
        }
    }
    match head.framing() {
        RequestFraming::None => (),
        RequestFraming::Length(len) => length(out, len),
        RequestFraming::Chunked => out.extend_from_slice(CHUNKED),
    }
    connection_to_origin(out, head);
    if sender.expect == Expect::Continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(hops) = head.max_forwards() {
        out.extend_from_slice(b"Max-Forwards: ");
        decimal(out, hops.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    via(out, fields, head.version(), rules.pseudonym);
    tell_of_client(out, fields, rules.style, sender, host);
    put(out, &[sender.extra, b"\r\n"]);
    Ok(())
}

/// Whether a field that is nobody's nominee is sent on as it came.
fn request_keeps(head: &RequestHead, style: Style, trust: Trust, field: &Field<'_>) -> bool {
    match field.name {
        Name::Host | Name::ContentLength | Name::Expect | Name::Via => false,
        Name::MaxForwards => head.method() != Method::Options,
        Name::Trailer => head.framing() == RequestFraming::Chunked,
        // Written anew below, the peer's entries included.
        Name::XForwardedFor => trust == Trust::Yes && !style.has_xff(),
        Name::Forwarded => trust == Trust::Yes && !style.has_rfc7239(),
        name if name.tells_of_client() => trust == Trust::Yes,
        Name::Other => !is_lookalike(field.text) && (trust == Trust::Yes || !tells_of_client(field.text)),
        _ => true,
    }
}

/// Whether a name that is not in the table belongs to a family that only trusted peers may use.
fn tells_of_client(text: &[u8]) -> bool {
    let families: [&[u8]; 2] = [b"x-forwarded-", b"sluice-"];
    families
        .iter()
        .any(|family| text.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family)))
}

/// Connection, TE and Upgrade, as far as they are meant for the origin too.
fn connection_to_origin(out: &mut Vec<u8>, head: &RequestHead) {
    let mut offers = head.offers();
    let first = offers.next();
    match (head.takes_trailers(), first) {
        (false, None) => return,
        (true, None) => return out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n"),
        (true, Some(_)) => out.extend_from_slice(b"TE: trailers\r\nConnection: TE, upgrade\r\n"),
        (false, Some(_)) => out.extend_from_slice(b"Connection: upgrade\r\n"),
    }
    out.extend_from_slice(b"Upgrade: ");
    join(out, first.into_iter().chain(offers));
    out.extend_from_slice(b"\r\n");
}

/// How often `pseudonym` is in Via.
fn passes(fields: &Fields, pseudonym: &str) -> usize {
    let received_by = |element: &[u8]| {
        let mut words = element.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|word| word.eq_ignore_ascii_case(pseudonym.as_bytes()))
    };
    fields.elements(Name::Via).filter(|element| received_by(element)).count()
}

/// Via with one more element (RFC 9110 §7.6.3).
fn via(out: &mut Vec<u8>, fields: &Fields, version: Version, pseudonym: &str) {
    out.extend_from_slice(b"Via: ");
    for value in fields.all(Name::Via).filter(|value| !value.is_empty()) {
        put(out, &[value, b", "]);
    }
    let version: &[u8] = match version {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
    };
    put(out, &[version, pseudonym.as_bytes(), b"\r\n"]);
}

/// The fields that tell an origin who asks.
fn tell_of_client(out: &mut Vec<u8>, fields: &Fields, style: Style, sender: &Sender<'_>, host: &[u8]) {
    let said = |name| fields.all(name).filter(|value| sender.trust == Trust::Yes && !value.is_empty());
    let address = sender.address.map(|address| address.to_canonical());
    if style.has_xff() {
        let text = address.map(|address| address.to_string());
        let mut entries: Vec<&[u8]> = said(Name::XForwardedFor).collect();
        entries.extend(text.iter().map(String::as_bytes));
        if !entries.is_empty() {
            out.extend_from_slice(b"X-Forwarded-For: ");
            join(out, entries.into_iter());
            out.extend_from_slice(b"\r\n");
        }
        if said(Name::XForwardedHost).next().is_none() && !host.is_empty() {
            put(out, &[b"X-Forwarded-Host: ", host, b"\r\n"]);
        }
        if said(Name::XForwardedProto).next().is_none() {
            put(out, &[b"X-Forwarded-Proto: ", sender.scheme.text().as_bytes(), b"\r\n"]);
        }
    }
    if style.has_rfc7239() {
        out.extend_from_slice(b"Forwarded: ");
        for value in said(Name::Forwarded) {
            put(out, &[value, b", "]);
        }
        forwarded::write_element(out, address, host, sender.scheme);
        out.extend_from_slice(b"\r\n");
    }
}

/// What a response to a client is written by.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRules<'a> {
    /// The name of this gateway: members of Proxy-Status that bear it are removed.
    pub pseudonym: &'a str,
    /// The client's version.
    pub version: Version,
    /// How the content is delimited towards the client: [`ResponseFraming::towards`].
    pub framing: ResponseFraming,
    /// Whether the client's connection goes on.
    pub persistence: Persistence,
    /// For responses that have no Date.
    pub date: &'a Date,
    /// Further field lines, each with its CRLF.
    pub extra: &'a [u8],
}

/// Appends the head of a final response to a client.
pub fn response(out: &mut Vec<u8>, head: &ResponseHead, rules: &ResponseRules<'_>) {
    let fields = head.fields();
    out.reserve(fields.bytes().len() + 128);
    status_line(out, head);
    response_fields(out, fields, rules.pseudonym);
    if !fields.has(Name::Date) {
        put(out, &[b"Date: ", rules.date.as_bytes(), b"\r\n"]);
    }
    match (rules.framing, head.content_length()) {
        // An answer to HEAD and a 304 tell the length of what they leave out (RFC 9110 §8.6).
        (ResponseFraming::None, Some(len)) if head.status() != 204 => length(out, len),
        (ResponseFraming::None | ResponseFraming::UntilClose, _) => (),
        (ResponseFraming::Length(len), _) => length(out, len),
        (ResponseFraming::Chunked, _) => out.extend_from_slice(CHUNKED),
    }
    connection_to_client(out, rules.version, rules.persistence);
    put(out, &[rules.extra, b"\r\n"]);
}

/// Appends the head of an interim response, 100, 102 or 103, to a client of HTTP/1.1.
pub fn interim(out: &mut Vec<u8>, head: &ResponseHead, pseudonym: &str) {
    status_line(out, head);
    response_fields(out, head.fields(), pseudonym);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101 that switches to `protocol`: what follows is no longer HTTP.
pub fn switching(out: &mut Vec<u8>, head: &ResponseHead, protocol: &[u8], pseudonym: &str) {
    status_line(out, head);
    response_fields(out, head.fields(), pseudonym);
    put(out, &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n\r\n"]);
}

/// Appends the last chunk and those of the trailer fields that may come behind content (RFC 9110 §6.5.1).
pub fn trailers(out: &mut Vec<u8>, fields: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    let kept = fields.into_iter().flat_map(Fields::iter).filter(may_trail);
    kept.for_each(|field| line(out, &field));
    out.extend_from_slice(CHUNK_END);
}

fn may_trail(field: &Field<'_>) -> bool {
    let is_content = field.text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    !field.name.is(Traits::HEAD_ONLY)
        && !is_content
        && !tells_of_client(field.text)
        && !is_lookalike(field.text)
}

/// Appends the line that keeps a connection, or ends it, where the version does not say so.
pub(super) fn connection_to_client(out: &mut Vec<u8>, version: Version, persistence: Persistence) {
    match (version, persistence) {
        (_, Persistence::Close) => out.extend_from_slice(b"Connection: close\r\n"),
        (Version::Http10, Persistence::KeepAlive) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http11, Persistence::KeepAlive) => (),
    }
}

fn status_line(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(head.status()));
    put(out, &[b" ", head.reason(), b"\r\n"]);
}

/// The fields of a response that are sent on as they came.
fn response_fields(out: &mut Vec<u8>, fields: &Fields, pseudonym: &str) {
    let nominated = fields.nominated();
    for field in fields.iter() {
        match field.name {
            Name::ContentLength | Name::ProxyStatus => (),
            _ if nominated.removes(&field) => (),
            _ => line(out, &field),
        }
    }
    structured::write_members_of_others(out, fields, pseudonym);
}

const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";

fn length(out: &mut Vec<u8>, len: u64) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(out, len);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, field: &Field<'_>) {
    put(out, &[field.text, b": ", field.value, b"\r\n"]);
}

fn join<'a>(out: &mut Vec<u8>, parts: impl Iterator<Item = &'a [u8]>) {
    for (number, part) in parts.enumerate() {
        let separator: &[u8] = if number == 0 { b"" } else { b", " };
        put(out, &[separator, part]);
    }
}

/// Appends `parts`.
pub(super) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends `number` in decimal digits.
pub(super) fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}
