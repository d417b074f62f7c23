//! The gateway's own answers: problems (RFC 9457) with Proxy-Status (RFC 9209), and answers served from memory.
//!
//! Always Date, and Content-Length wherever there may be content, so that they end where the client thinks they end; a
//! problem also forbids caches to
//! keep it. Never Server, never an address of the inside.

use super::connection::Persistence;
use super::date::Date;
use super::forward::{connection_to_client, decimal, put};
use super::hints::Format;
use super::method::Method;
use super::request::Version;
use super::status::reason;
use super::structured::write_string;

/// To whom an answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The method of the request: HEAD gets the head only.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Whether its connection goes on.
    pub persistence: Persistence,
    /// The form it prefers.
    pub format: Format,
    /// The moment.
    pub date: &'a Date,
}

/// A refusal or failure.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Its status.
    pub status: u16,
    /// Its stable name.
    pub code: &'a str,
    /// What happened, for people and for clients that search for a text.
    pub detail: &'a str,
    /// The name of this gateway in Proxy-Status: a token.
    pub pseudonym: &'a str,
    /// The error type of Proxy-Status: a token.
    pub error: &'a str,
    /// When to come again.
    pub retry_after_s: Option<u64>,
    /// Further field lines, each with its CRLF.
    pub extra: &'a [u8],
}

/// Appends a problem, head and content.
pub fn problem(out: &mut Vec<u8>, problem: &Problem<'_>, reader: &Reader<'_>) {
    let (kind, content) = match reader.format {
        Format::Problem => ("application/problem+json", problem_json(problem)),
        Format::Text => ("text/plain; charset=utf-8", format!("{}\n", problem.detail)),
    };
    head(out, problem.status, reader);
    put(out, &[b"Content-Type: ", kind.as_bytes(), b"\r\nCache-Control: no-store\r\nProxy-Status: "]);
    put(out, &[problem.pseudonym.as_bytes(), b"; error=", problem.error.as_bytes(), b"; details="]);
    write_string(out, problem.code);
    out.extend_from_slice(b"\r\n");
    if let Some(seconds) = problem.retry_after_s {
        out.extend_from_slice(b"Retry-After: ");
        decimal(out, seconds);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(problem.extra);
    end(out, content.as_bytes(), reader);
}

/// Appends an answer with `content`, whose fields are in `extra`. 204 and 304 have none, whatever is given.
pub fn content(out: &mut Vec<u8>, status: u16, extra: &[u8], content: &[u8], reader: &Reader<'_>) {
    head(out, status, reader);
    out.extend_from_slice(extra);
    match status {
        // RFC 9110 §8.6: 204 has no Content-Length; that of a 304 would be the one of a 200.
        204 | 304 => {
            connection_to_client(out, reader.version, reader.persistence);
            out.extend_from_slice(b"\r\n");
        }
        _ => end(out, content, reader),
    }
}

/// The interim response that lets a client send its content (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn head(out: &mut Vec<u8>, status: u16, reader: &Reader<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    put(out, &[b" ", reason(status).as_bytes(), b"\r\nDate: ", reader.date.as_bytes(), b"\r\n"]);
}

fn end(out: &mut Vec<u8>, content: &[u8], reader: &Reader<'_>) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(out, content.len() as u64);
    out.extend_from_slice(b"\r\n");
    connection_to_client(out, reader.version, reader.persistence);
    out.extend_from_slice(b"\r\n");
    if reader.method != Method::Head {
        out.extend_from_slice(content);
    }
}

fn problem_json(problem: &Problem<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (title, detail, code) =
        (quoted(reason(problem.status)), quoted(problem.detail), quoted(problem.code));
    let status = problem.status;
    let retry =
        problem.retry_after_s.map(|seconds| format!(",\"retry_after_s\":{seconds}")).unwrap_or_default();
    format!(
        "{{\"type\":\"about:blank\",\"title\":{title},\"status\":{status},\"detail\":{detail},\"code\":{code}{retry}}}\n"
    )
}
