//! The access log: one JSON object a request, written by hand into one buffer, and the counts that go with it.
//!
//! A line holds the members behind the time; the shell puts time, level and program before them. Control bytes are
//! escaped, and so is what is not UTF-8; credentials and cookies are never looked at.

use std::io::Write as _;
use std::time::{Duration, Instant};

use sluice_wire::http::forwarded::Scheme;
use sluice_wire::http::request::Version;

use crate::effect::ClientId;
use crate::gate::Gate;

use super::Gateway;
use super::answer::Complaint;
use super::exchange::{Exchange, Source};

impl<G: Gate> Gateway<G> {
    /// An exchange is over: counts and logs it.
    pub(super) fn account(&mut self, id: ClientId, exchange: &mut Exchange, now: Instant) {
        let total = now.saturating_duration_since(exchange.times.began);
        self.stats.request(exchange, total);
        if !self.config.settings.access_log {
            return;
        }
        let Some((serial, incoming)) = self.clients.get(id.0).map(|client| (client.serial, client.incoming))
        else {
            return;
        };
        let out = &mut self.access;
        let (head, times, account) = (&exchange.head, &exchange.times, &exchange.account);
        let prog = self.config.program;
        put(out, format_args!("\"prog\":\"{prog}\",\"id\":{},\"conn\":{serial},\"peer\":", exchange.serial));
        address(out, incoming.address());
        out.extend_from_slice(b",\"client\":");
        address(out, exchange.address);
        out.extend_from_slice(b",\"method\":");
        text(out, head.method_text(), b"");
        out.extend_from_slice(b",\"host\":");
        text(out, head.authority().unwrap_or_default(), b"");
        out.extend_from_slice(b",\"target\":");
        text(out, head.path(), if self.config.settings.log_query { head.query() } else { b"" });
        let proto = match head.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        put(out, format_args!(",\"proto\":\"{proto}\",\"status\":{}", account.status));
        if let Some(code) = account.code {
            put(out, format_args!(",\"code\":\"{}\"", code.name()));
        }
        put(out, format_args!(",\"source\":\"{}\",\"route\":", account.source.name()));
        text(out, self.config.routes.name(exchange.route).as_bytes(), b"");
        if let Some(origin) = exchange.origin.and_then(|at| self.config.origins.get(usize::from(at.0))) {
            out.extend_from_slice(b",\"origin\":");
            text(out, origin.name.as_bytes(), b"");
        }
        put(out, format_args!(",\"bytes_in\":{},\"bytes_out\":{}", account.bytes_in, account.bytes_out));
        let since = |from: Instant, to: Option<Instant>| to.map(|to| us(to.saturating_duration_since(from)));
        member(out, "queue_us", since(times.began, times.dispatched));
        member(out, "connect_us", times.dialed.and_then(|dialed| since(dialed, times.sent)));
        member(out, "head_us", times.dispatched.and_then(|at| since(at, times.replied)));
        let (reused, retries) = (account.reused, account.retries);
        let tls = incoming.scheme == Scheme::Https;
        put(
            out,
            format_args!(
                ",\"total_us\":{},\"reused\":{reused},\"retries\":{retries},\"tls\":{tls}\n",
                us(total)
            ),
        );
    }

    /// What came was no request.
    pub(super) fn account_fault(&mut self, id: ClientId, fault: Complaint) {
        self.stats.fault(fault.status);
        if !self.config.settings.access_log {
            return;
        }
        let Some((serial, incoming)) = self.clients.get(id.0).map(|client| (client.serial, client.incoming))
        else {
            return;
        };
        let request = self.next_serial;
        self.next_serial += 1;
        let out = &mut self.access;
        let prog = self.config.program;
        put(out, format_args!("\"prog\":\"{prog}\",\"id\":{request},\"conn\":{serial},\"peer\":"));
        address(out, incoming.address());
        let Complaint { status, reason, .. } = fault;
        put(
            out,
            format_args!(
                ",\"status\":{status},\"code\":\"bad_request\",\"reason\":\"{reason}\",\"source\":\"gateway\"\n"
            ),
        );
    }
}

impl Source {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Origin => "origin",
            Self::Cache => "cache",
            Self::Gateway => "gateway",
        }
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

fn member(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        put(out, format_args!(",\"{name}\":{value}"));
    }
}

fn address(out: &mut Vec<u8>, address: Option<std::net::IpAddr>) {
    match address {
        Some(address) => put(out, format_args!("\"{address}\"")),
        None => out.extend_from_slice(b"\"unix\""),
    }
}

/// A JSON string of two parts. What is not UTF-8 is replaced.
fn text(out: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    out.push(b'"');
    for chunk in first.utf8_chunks().chain(second.utf8_chunks()) {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                0..=0x1f | 0x7f => put(out, format_args!("\\u{byte:04x}")),
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json() {
        let mut out = Vec::new();
        text(&mut out, b"/a\"\\\x01\xffb\x7f", "?ü".as_bytes());
        let read: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, "/a\"\\\u{1}\u{fffd}b\u{7f}?ü");
        assert!(out.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
    }
}
