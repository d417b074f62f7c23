//! Fuzz bodies of HTTP: what must hold for any bytes a client, an origin or a balancer may send.

use crate::http::body::Body;
use crate::http::chunked::{CHUNK_END, Piece, write_chunk_line};
use crate::http::connection::Persistence;
use crate::http::date::Date;
use crate::http::fault::Fault;
use crate::http::fields::{Fields, elements};
use crate::http::forward::{self, RequestRules, ResponseRules, Sender};
use crate::http::forwarded::{Scheme, Style, Trust, client_address};
use crate::http::framing::RequestFraming;
use crate::http::hints;
use crate::http::limits::{BodyLimits, HeadLimits};
use crate::http::method::Method;
use crate::http::names::{Name, Traits};
use crate::http::proxy_protocol;
use crate::http::request::{RequestHead, RequestReader, Version};
use crate::http::response::{ResponseHead, ResponseReader};
use crate::http::structured;
use crate::http::target::{Form, Target, is_authority};

/// Limits that a short input can reach.
const HEAD: HeadLimits = HeadLimits { target_max: 48, head_max: 512, field_max: 96, fields_max: 16 };
const BODY: BodyLimits = BodyLimits {
    body_max: 96,
    chunk_ext_line_max: 8,
    chunk_ext_max: 16,
    trailer_max: 48,
    trailer_fields_max: 3,
};

/// A request with its content, sent on under each rule there is.
pub fn request(data: &[u8]) {
    let whole = RequestReader::default().read(data, &HEAD);
    each_way(data.len(), |ends| {
        let mut reader = RequestReader::default();
        assert_eq!(resume(ends, |end| reader.read(&data[..end], &HEAD)), whole);
    });
    let Ok(Some((used, head))) = whole else { return };
    assert!(used <= HEAD.head_max + 4 && head.fields().len() <= HEAD.fields_max);
    assert!(!head.method().is_refused());
    assert_eq!(Method::of(head.method_text()), head.method());
    assert!(head.path().first().is_some_and(|byte| b"/*".contains(byte)));
    assert!(head.authority().is_none_or(is_authority));
    body(Body::of_request(head.framing(), &BODY), Body::of_request(head.framing(), &BODY), &data[used..]);
    for style in [Style::Off, Style::Xff, Style::Rfc7239, Style::Both] {
        for trust in [Trust::No, Trust::Yes] {
            send_on(&head, style, trust);
        }
    }
}

/// What is sent on for a request is the same request by our own rules, and sending it on again changes no more than Via.
fn send_on(head: &RequestHead, style: Style, trust: Trust) {
    let rules = RequestRules { pseudonym: "gate", style, default_host: b"default.example" };
    let sender = Sender { address: None, trust, scheme: Scheme::Http, expect: head.expect(), extra: b"" };
    let mut out = b"kept".to_vec();
    if forward::request(&mut out, head, &rules, &sender).is_err() {
        assert!(head.fields().elements(Name::Via).count() >= 3);
        return assert_eq!(out, b"kept", "a loop writes nothing");
    }
    let sent = &out[4..];
    assert_clean(sent);
    let Ok(Some((used, again))) = RequestReader::default().read(sent, &HeadLimits::REQUEST) else {
        panic!("what is sent on is no request: {}", sent.escape_ascii());
    };
    assert_eq!(used, sent.len());
    assert_eq!(
        (again.method_text(), again.path(), again.query()),
        (head.method_text(), head.path(), head.query())
    );
    assert_eq!((again.framing(), again.expect()), (head.framing(), head.expect()));
    assert_eq!(again.authority(), head.authority().or(Some(rules.default_host)));
    assert!(again.offers().eq(head.offers()));
    assert_eq!(again.fields().all(Name::Host).count(), 1);
    assert!(!again.fields().iter().any(|field| crate::http::names::is_lookalike(field.text)));
    assert_untouched(head.fields(), again.fields());
    if trust == Trust::No && style == Style::Off {
        assert!(!again.fields().iter().any(|field| field.name.tells_of_client()));
    }
}

/// Fields that mean nothing to us go on in their order with their values, unless Connection takes them.
fn assert_untouched(before: &Fields, after: &Fields) {
    let nominated = before.nominated();
    let is_plain = |name: Name| {
        !name.is(Traits::HOP) && !name.is(Traits::OURS) && name != Name::Other && name != Name::Trailer
    };
    let kept = before.iter().filter(|field| is_plain(field.name) && !nominated.removes(field));
    let sent = after.iter().filter(|field| is_plain(field.name));
    assert!(kept.map(|field| (field.text, field.value)).eq(sent.map(|field| (field.text, field.value))));
}

/// A response with its content, sent on to both versions. The first byte chooses the method it answers.
pub fn response(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else { return };
    let method = if which % 4 == 0 { Method::Head } else { Method::Get };
    let whole = ResponseReader::default().read(data, method, &HEAD);
    each_way(data.len(), |ends| {
        let mut reader = ResponseReader::default();
        assert_eq!(resume(ends, |end| reader.read(&data[..end], method, &HEAD)), whole);
    });
    let Ok(Some((used, head))) = whole else { return };
    assert!((100..=599).contains(&head.status()) && used <= HEAD.head_max);
    body(Body::of_response(head.framing(), &BODY), Body::of_response(head.framing(), &BODY), &data[used..]);
    if head.is_interim() {
        let mut out = Vec::new();
        forward::interim(&mut out, &head, "gate");
        assert_clean(&out);
        assert!(
            ResponseReader::default()
                .read(&out, method, &HeadLimits::RESPONSE)
                .is_ok_and(|read| read.is_some())
        );
    }
    for version in [Version::Http10, Version::Http11] {
        answer(&head, method, version);
    }
}

fn answer(head: &ResponseHead, method: Method, version: Version) {
    let framing = head.framing().towards(version);
    let date = Date::of(std::time::UNIX_EPOCH);
    let rules = ResponseRules {
        pseudonym: "gate",
        version,
        framing,
        persistence: Persistence::Close,
        date: &date,
        extra: b"",
    };
    let mut out = Vec::new();
    forward::response(&mut out, head, &rules);
    assert_clean(&out);
    let Ok(Some((used, again))) = ResponseReader::default().read(&out, method, &HeadLimits::RESPONSE) else {
        panic!("what is sent on is no response: {}", out.escape_ascii());
    };
    assert_eq!((used, again.status(), again.reason()), (out.len(), head.status(), head.reason()));
    assert_eq!((again.framing(), again.persistence()), (framing, Persistence::Close));
    assert!(again.fields().has(Name::Date));
    let members =
        again.fields().all(Name::ProxyStatus).map(|value| structured::list(value).unwrap_or_default());
    assert!(!members.flatten().any(|member| member.item.is_text(b"gate")));
}

/// Chunked content, in pieces and coded again.
pub fn chunked(data: &[u8]) {
    let new = || Body::of_request(RequestFraming::Chunked, &BODY);
    let Some((content, used)) = body(new(), new(), data) else { return };
    let mut again = Vec::new();
    for chunk in content.chunks(7) {
        write_chunk_line(&mut again, chunk.len());
        again.extend_from_slice(chunk);
        again.extend_from_slice(CHUNK_END);
    }
    let mut reader =
        Body::of_request(RequestFraming::Chunked, &BODY).unwrap_or_else(|fault| panic!("{fault:?}"));
    drain(&mut reader, &data[..used]).unwrap_or_else(|fault| panic!("{fault:?}"));
    forward::trailers(&mut again, reader.trailers());
    // Lines are written with a space behind the colon: a trailer section at its limit may grow beyond it.
    let roomy = BodyLimits { trailer_max: 2 * BODY.trailer_max, ..BODY };
    let new = || Body::of_request(RequestFraming::Chunked, &roomy);
    let read = body(new(), new(), &again);
    assert_eq!(read, Some((content, again.len())));
}

/// Reads content whole and in pieces: the same bytes, the same end, the same fault. Gives content and length if it is
/// whole.
fn body(first: Result<Body, Fault>, second: Result<Body, Fault>, data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (Ok(mut first), Ok(mut second)) = (first, second) else { return None };
    let whole = drain(&mut first, data);
    let mut pieces = (Vec::new(), 0);
    let mut fault = None;
    for byte in data.chunks(1) {
        match drain(&mut second, byte) {
            Ok((content, used)) => {
                pieces.0.extend(content);
                pieces.1 += used;
            }
            Err(found) => {
                fault = Some(found);
                break;
            }
        }
    }
    assert_eq!(first.is_done(), second.is_done());
    assert_eq!(whole.as_ref().err(), fault.as_ref());
    let (content, used) = whole.ok()?;
    assert_eq!((&content, used), (&pieces.0, pieces.1));
    assert!(content.len() as u64 <= BODY.body_max);
    assert_eq!(first.content_len(), content.len() as u64);
    first.is_done().then_some((content, used))
}

/// The content in `data` and the bytes used up.
fn drain(body: &mut Body, data: &[u8]) -> Result<(Vec<u8>, usize), Fault> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        match body.next(&data[at..])? {
            Piece::Data { skip, len } => {
                assert!(len > 0);
                content.extend_from_slice(&data[at + skip..at + skip + len]);
                at += skip + len;
            }
            Piece::Need { skip } => {
                assert_eq!(at + skip, data.len(), "all is used up before more is asked for");
                return Ok((content, data.len()));
            }
            Piece::End { skip } => return Ok((content, at + skip)),
        }
    }
}

/// Targets, authorities, lists, structured fields and hints: each on the same bytes.
pub fn values(data: &[u8]) {
    if let Ok(target) = Target::read(data) {
        assert!(data.iter().all(|byte| (0x21..0x7f).contains(byte)));
        assert_eq!((target.path.end, target.query.end), (target.query.start, data.len()));
        assert_eq!(target.form == Form::Absolute, !target.authority.is_empty());
    }
    if is_authority(data) {
        assert!(!data.iter().any(|byte| b"@/,? #\\".contains(byte) || !byte.is_ascii_graphic()));
    }
    assert!(elements(data).all(|element| !element.is_empty() && element.trim_ascii() == element));
    for members in [structured::list(data), structured::dictionary(data)].into_iter().flatten() {
        let texts: Vec<&[u8]> = members.iter().map(|member| member.text).collect();
        assert!(texts.join(&b", "[..]).len() <= 2 * data.len());
    }
    let block: Vec<u8> = data.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    for name in
        ["Priority", "Prefer", "Accept", "Forwarded", "X-Forwarded-For", "Via", "Connection", "Upgrade"]
    {
        let text = [b"GET / HTTP/1.0\r\n", name.as_bytes(), b": ", &block, b"\r\n\r\n"].concat();
        let Ok(Some((_, head))) = RequestReader::default().read(&text, &HeadLimits::REQUEST) else { return };
        assert!(hints::urgency(head.fields()).is_none_or(|urgency| urgency <= 7));
        let _ = (hints::wait_s(head.fields()), hints::format(head.fields()));
        for style in [Style::Xff, Style::Rfc7239, Style::Both] {
            let stranger = client_address(head.fields(), style, None, Trust::No, |_| true);
            assert_eq!(stranger, None);
            let _ = client_address(head.fields(), style, None, Trust::Yes, |_| true);
        }
    }
}

/// PROXY headers: in pieces, and written again.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy_protocol::read(data);
    for prefix in (0..data.len()).map(|len| &data[..len]) {
        match proxy_protocol::read(prefix) {
            Ok(proxy_protocol::Progress::Need) => (),
            early => assert_eq!(early, whole),
        }
    }
    let Ok(proxy_protocol::Progress::Done { consumed, origin }) = whole else { return };
    assert!(consumed <= data.len().min(proxy_protocol::V2_LEN_MAX));
    let proxy_protocol::Origin::Proxied { source, destination } = origin else { return };
    for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
        let mut out = Vec::new();
        proxy_protocol::write(&mut out, version, Some(source), Some(destination));
        let consumed = out.len();
        assert_eq!(proxy_protocol::read(&out), Ok(proxy_protocol::Progress::Done { consumed, origin }));
    }
}

/// Written bytes hold no line end but CRLF.
fn assert_clean(head: &[u8]) {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap_or_else(|| panic!("no empty line at the end"));
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.is_empty() && !line.iter().any(|byte| b"\r\0".contains(byte)));
    }
}

/// Shows a reader ever more of the same bytes until it has decided.
fn resume<T>(
    ends: &[usize],
    mut read: impl FnMut(usize) -> Result<Option<T>, Fault>,
) -> Result<Option<T>, Fault> {
    for &end in ends {
        match read(end) {
            Ok(None) => (),
            decided => return decided,
        }
    }
    Ok(None)
}

/// Byte by byte, and in two.
fn each_way(len: usize, mut feed: impl FnMut(&[usize])) {
    feed(&(0..=len).collect::<Vec<_>>());
    feed(&[len / 2, len]);
    feed(&[len / 3, len - len / 5, len]);
}
