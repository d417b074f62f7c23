//! The JSON-lines contract of the control sockets: the only types of the workspace that programs exchange.
//!
//! A client writes one [`Request`] a line; the program answers with any number of [`Row`] lines and then one [`Reply`]
//! line. A row never has a key `ok`: that is how a reader tells the two apart.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Bytes of the longest request line, newline not counted.
pub const REQUEST_LEN_MAX: usize = 16 * 1024;

/// The key that marks the last line of an answer.
const OK: &str = "ok";

/// One line of data: a JSON object.
pub type Row = Map<String, Value>;

/// One request: `{"cmd":"show pools"}`, with further keys where a command takes arguments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The command and its words.
    pub cmd: String,
    /// Everything else in the object.
    #[serde(flatten)]
    pub args: Row,
}

impl Request {
    /// A request without arguments.
    pub fn new(cmd: impl Into<String>) -> Self {
        Self { cmd: cmd.into(), args: Row::new() }
    }

    /// Reads a request line.
    ///
    /// # Errors
    /// [`RequestError`], whose text is meant for the error of a [`Reply`].
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        if line.len() > REQUEST_LEN_MAX {
            return Err(RequestError::TooLong);
        }
        let row: Row = serde_json::from_slice(line).map_err(|_| RequestError::NotAnObject)?;
        serde_json::from_value(Value::Object(row)).map_err(|_| RequestError::NoCommand)
    }

    /// Appends the request and a newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_line(out, self);
    }
}

/// The client's line is not a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// The line is longer than [`REQUEST_LEN_MAX`].
    TooLong,
    /// The line is not one JSON object.
    NotAnObject,
    /// The object has no text under `cmd`.
    NoCommand,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "request longer than 16384 bytes",
            Self::NotAnObject => "request is not a JSON object",
            Self::NoCommand => "request has no text under \"cmd\"",
        })
    }
}

impl std::error::Error for RequestError {}

/// The last line of an answer: `{"ok":true}` or `{"ok":false,"error":"…"}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Done.
    Ok,
    /// Not done.
    Error(String),
}

impl Reply {
    /// A refusal with this text.
    pub fn error(text: impl std::fmt::Display) -> Self {
        Self::Error(text.to_string())
    }

    /// Appends the reply and a newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        let line = match self {
            Self::Ok => ReplyLine { ok: true, error: None },
            Self::Error(error) => ReplyLine { ok: false, error: Some(error) },
        };
        write_line(out, &line);
    }
}

#[derive(Serialize)]
struct ReplyLine<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// One line of an answer, as a client reads it.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Data; more follows.
    Row(Row),
    /// The end.
    Reply(Reply),
}

impl Answer {
    /// Reads a line of an answer; None if it is neither a row nor a reply.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let row: Row = serde_json::from_slice(line).ok()?;
        match row.get(OK) {
            None => Some(Self::Row(row)),
            Some(Value::Bool(true)) => Some(Self::Reply(Reply::Ok)),
            Some(Value::Bool(false)) => {
                let error = row.get("error").and_then(Value::as_str).unwrap_or_default();
                Some(Self::Reply(Reply::Error(error.to_owned())))
            }
            Some(_) => None,
        }
    }
}

/// A row of these members.
pub fn row<const N: usize>(members: [(&str, Value); N]) -> Row {
    members.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

/// The row that tells watchers that nothing has changed; `ts` is now, in RFC 3339.
#[must_use]
pub fn heartbeat(ts: String) -> Row {
    row([("event", Value::from("heartbeat")), ("ts", Value::from(ts))])
}

/// Appends `row` and a newline.
pub fn write_row(out: &mut Vec<u8>, row: &Row) {
    write_line(out, row);
}

fn write_line(out: &mut Vec<u8>, line: &impl Serialize) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, line).is_err() {
        // Not reached by the types of this module: their keys are strings and their writes go to memory.
        out.truncate(start);
        out.extend_from_slice(br#"{"ok":false,"error":"answer cannot be written as JSON"}"#);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_come_back() {
        let request = Request::parse(br#" {"limit":3,"cmd":"watch"} "#).unwrap();
        assert_eq!((request.cmd.as_str(), &request.args["limit"]), ("watch", &Value::from(3)));
        let line = written(|out| request.write(out));
        assert_eq!(Request::parse(line.as_bytes()), Ok(request));
        assert_eq!(written(|out| Request::new("show pools").write(out)), "{\"cmd\":\"show pools\"}\n");
    }

    #[test]
    fn what_is_not_a_request() {
        for line in [&b""[..], b"show pools", b"[1]", b"{\"cmd\":\"x\"", b"{}{}", b"\xff", &[b'['; 10_000]] {
            assert_eq!(Request::parse(line), Err(RequestError::NotAnObject));
        }
        for line in [&b"{}"[..], br#"{"cmd":1}"#, br#"{"Cmd":"x"}"#] {
            assert_eq!(Request::parse(line), Err(RequestError::NoCommand));
        }
    }

    #[test]
    fn a_request_at_and_beyond_the_limit() {
        let mut line = br#"{"cmd":"x"}"#.to_vec();
        line.resize(REQUEST_LEN_MAX, b' ');
        assert_eq!(Request::parse(&line), Ok(Request::new("x")));
        line.push(b' ');
        assert_eq!(Request::parse(&line), Err(RequestError::TooLong));
    }

    #[test]
    fn replies_end_an_answer_and_rows_do_not() {
        assert_eq!(written(|out| Reply::Ok.write(out)), "{\"ok\":true}\n");
        let refusal = Reply::error("no \"such\"\ncommand");
        let line = written(|out| refusal.write(out));
        assert_eq!(line, "{\"ok\":false,\"error\":\"no \\\"such\\\"\\ncommand\"}\n");
        assert_eq!(Answer::parse(line.as_bytes()), Some(Answer::Reply(refusal)));
        assert_eq!(Answer::parse(b"{\"ok\":true}"), Some(Answer::Reply(Reply::Ok)));
        let row = Row::from_iter([("name".to_owned(), Value::from("x"))]);
        let line = written(|out| write_row(out, &row));
        assert_eq!(Answer::parse(line.as_bytes()), Some(Answer::Row(row)));
        assert_eq!(Answer::parse(b"{\"ok\":1}"), None);
        assert_eq!(Answer::parse(b"ok"), None);
    }
}
