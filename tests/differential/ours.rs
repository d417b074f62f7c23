//! Our reading of a stream, and what we send on for it.

use std::time::UNIX_EPOCH;

use sluice_wire::http::body::Body;
use sluice_wire::http::chunked::{CHUNK_END, Piece, write_chunk_line};
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::date::Date;
use sluice_wire::http::fields::Fields;
use sluice_wire::http::forward::{self, RequestRules, ResponseRules, Sender};
use sluice_wire::http::forwarded::{Scheme, Style, Trust};
use sluice_wire::http::framing::{RequestFraming, ResponseFraming};
use sluice_wire::http::method::Method;
use sluice_wire::http::request::{Expect, RequestHead, RequestReader, Version};
use sluice_wire::http::response::{ResponseHead, ResponseReader};
use sluice_wire::http::{BodyLimits, Fault, HeadLimits};

use super::Message;
use super::llhttp::{Kind, Stream};

/// Why our reading of a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The stream is over.
    Clean,
    /// It breaks off within a message.
    Incomplete,
    /// A message was the last on its connection.
    Last,
    /// It is refused.
    Fault(Fault),
}

/// What we found in a stream.
pub(crate) struct Ours {
    pub(crate) messages: Vec<Message>,
    pub(crate) end: End,
    /// The first message behind which another protocol may come.
    pub(crate) switched: Option<usize>,
    heads: Vec<(Head, Fields)>,
}

enum Head {
    Request(RequestHead),
    Response(ResponseHead),
}

/// Reads a stream to its end.
pub(crate) fn read(stream: &Stream) -> Ours {
    let mut ours = Ours { messages: Vec::new(), end: End::Clean, switched: None, heads: Vec::new() };
    let mut rest = &stream.bytes[..];
    while !rest.is_empty() {
        match one(stream.kind, rest) {
            Ok(Some((used, read))) => {
                rest = &rest[used..];
                let number = ours.messages.len();
                ours.switched = ours.switched.or(read.may_switch.then_some(number));
                ours.messages.push(read.message);
                ours.heads.push((read.head, read.trailers));
                if read.is_last {
                    ours.end = End::Last;
                    return ours;
                }
            }
            Ok(None) => {
                ours.end = End::Incomplete;
                return ours;
            }
            Err(fault) => {
                ours.end = End::Fault(fault);
                return ours;
            }
        }
    }
    ours
}

struct Read {
    message: Message,
    head: Head,
    trailers: Fields,
    is_last: bool,
    may_switch: bool,
}

fn one(kind: Kind, bytes: &[u8]) -> Result<Option<(usize, Read)>, Fault> {
    let (used, head) = match kind {
        Kind::Request => match RequestReader::default().read(bytes, &HeadLimits::REQUEST)? {
            Some((used, head)) => (used, Head::Request(head)),
            None => return Ok(None),
        },
        Kind::Response | Kind::HeadResponse => {
            let method = if kind == Kind::Response { Method::Get } else { Method::Head };
            match ResponseReader::default().read(bytes, method, &HeadLimits::RESPONSE)? {
                Some((used, head)) => (used, Head::Response(head)),
                None => return Ok(None),
            }
        }
    };
    let limits = BodyLimits::DEFAULT;
    let mut body = match &head {
        Head::Request(head) => Body::of_request(head.framing(), &limits)?,
        Head::Response(head) => Body::of_response(head.framing(), &limits)?,
    };
    let Some((content, content_used)) = content(&mut body, &bytes[used..])? else { return Ok(None) };
    let trailers = body.trailers().cloned().unwrap_or_default();
    let (start, fields, is_last, may_switch) = match &head {
        Head::Request(head) => {
            let start = [version(head.version()), head.method_text().to_vec(), head.target_text().to_vec()];
            let names_upgrade = head.fields().lists(sluice_wire::http::names::Name::Connection, b"upgrade");
            (start, head.fields(), head.persistence() == Persistence::Close, names_upgrade)
        }
        Head::Response(head) => {
            let start =
                [version(head.version()), head.status().to_string().into_bytes(), head.reason().to_vec()];
            (start, head.fields(), head.persistence() == Persistence::Close, head.status() == 101)
        }
    };
    let message = Message { start, fields: flat(fields), trailers: flat(&trailers), content };
    Ok(Some((used + content_used, Read { message, head, trailers, is_last, may_switch })))
}

fn version(version: Version) -> Vec<u8> {
    match version {
        Version::Http10 => b"1.0".to_vec(),
        Version::Http11 => b"1.1".to_vec(),
    }
}

fn flat(fields: &Fields) -> Vec<Vec<u8>> {
    fields.iter().flat_map(|field| [field.text.to_vec(), field.value.to_vec()]).collect()
}

/// The content at the start of `bytes` and how many bytes it takes; None if it breaks off.
fn content(body: &mut Body, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Fault> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        match body.next(&bytes[at..])? {
            Piece::Data { skip, len } => {
                content.extend_from_slice(&bytes[at + skip..at + skip + len]);
                at += skip + len;
            }
            Piece::Need { .. } if body.end().is_ok() => return Ok(Some((content, bytes.len()))),
            Piece::Need { .. } => return Ok(None),
            Piece::End { skip } => return Ok(Some((content, at + skip))),
        }
    }
}

/// What is sent on for each message of a stream, as streams of one message each.
pub(crate) fn send_on(stream: &Stream) -> Vec<Stream> {
    let ours = read(stream);
    let sent = ours.messages.iter().zip(&ours.heads).filter_map(|(message, (head, trailers))| {
        let mut bytes = Vec::new();
        let is_chunked = match head {
            Head::Request(head) => {
                let rules = RequestRules { pseudonym: "gate", style: Style::Both, default_host: b"default" };
                let sender = Sender {
                    address: Some([192, 0, 2, 1].into()),
                    trust: Trust::Yes,
                    scheme: Scheme::Http,
                    expect: Expect::Nothing,
                    extra: b"",
                };
                forward::request(&mut bytes, head, &rules, &sender).ok()?;
                head.framing() == RequestFraming::Chunked
            }
            Head::Response(head) => {
                let framing = head.framing().towards(Version::Http11);
                let date = Date::of(UNIX_EPOCH);
                let rules = ResponseRules {
                    pseudonym: "gate",
                    version: Version::Http11,
                    framing,
                    persistence: Persistence::KeepAlive,
                    date: &date,
                    extra: b"",
                };
                forward::response(&mut bytes, head, &rules);
                framing == ResponseFraming::Chunked
            }
        };
        if is_chunked {
            write_chunk_line(&mut bytes, message.content.len());
            bytes.extend_from_slice(&message.content);
            let end = if message.content.is_empty() { &b""[..] } else { CHUNK_END };
            bytes.extend_from_slice(end);
            forward::trailers(&mut bytes, Some(trailers));
        } else {
            bytes.extend_from_slice(&message.content);
        }
        Some(Stream { kind: stream.kind, bytes })
    });
    sent.collect()
}
