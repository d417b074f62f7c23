//! llhttp, asked through Node.js.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Message;

/// Whose messages a stream holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Request,
    /// To a request of GET.
    Response,
    /// To a request of HEAD.
    HeadResponse,
}

/// A stream of messages.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

/// What llhttp found in a stream.
pub(crate) struct Theirs {
    pub(crate) messages: Vec<Message>,
    /// Its error code, if it gave up before the end.
    pub(crate) error: Option<String>,
}

/// How much llhttp lets pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// From version 9 on.
    Strict,
    /// Before: bare line ends, spaces in names, and most bytes behind a CR.
    Lenient,
}

/// Has all streams read, in order.
pub(crate) fn read(streams: &[Stream]) -> (Manner, Vec<Theirs>) {
    let mut input = Vec::new();
    for stream in streams {
        let kind = if stream.kind == Kind::Request { "request" } else { "response" };
        let method = if stream.kind == Kind::HeadResponse { "HEAD" } else { "GET" };
        let line = json!({"kind": kind, "method": method, "bytes": STANDARD.encode(&stream.bytes)});
        writeln!(input, "{line}").unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/llhttp.js");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("node: {error}; scripts/deps test installs it"));
    let mut pipe = node.stdin.take().unwrap();
    let writer = std::thread::spawn(move || pipe.write_all(&input).unwrap());
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap();
    let mut lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    let major: u32 = first["version"].as_str().unwrap().split('.').next().unwrap().parse().unwrap();
    let found: Vec<_> = lines.map(stream).collect();
    assert_eq!(found.len(), streams.len(), "node gave up: {}", output.status);
    (if major < 9 { Manner::Lenient } else { Manner::Strict }, found)
}

fn stream(line: &[u8]) -> Theirs {
    let value: Value = serde_json::from_slice(line).unwrap();
    let messages = value["messages"].as_array().unwrap().iter().map(message).collect();
    Theirs { messages, error: value["error"].as_str().map(str::to_owned) }
}

fn message(value: &Value) -> Message {
    let texts = |name: &str| value[name].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    Message {
        start: texts("start").try_into().unwrap(),
        fields: texts("fields"),
        trailers: texts("trailers"),
        content: text(&value["content"]),
    }
}

fn text(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}
