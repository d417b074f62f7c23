//! What monitors are told: metrics and probes. Each request is the only one of its connection.

use std::time::Instant;

use sluice_wire::http::answer::{self, Reader};
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::fault::Fault;
use sluice_wire::http::hints::Format;
use sluice_wire::http::limits::HeadLimits;
use sluice_wire::http::method::Method;
use sluice_wire::http::request::{RequestHead, Version};

use crate::gate::Gate;

use super::Gateway;

/// The paths that there are, for documentation and its test.
pub const PAGES: &[&str] = &[METRICS, LIVE, READY];

const METRICS: &str = "/metrics";
const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// The text exposition format (prometheus.io, Exposition formats).
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

impl<G: Gate> Gateway<G> {
    /// The limits of a monitor's head: those of all requests, and no more than `most` bytes.
    #[must_use]
    pub fn admin_limits(&self, most: usize) -> HeadLimits {
        let limits = self.limits.request;
        HeadLimits { head_max: limits.head_max.min(most), ..limits }
    }

    /// Appends the answer to a monitor, or to what it sent instead of a request.
    pub fn administer(
        &mut self,
        asked: Result<&RequestHead, Fault>,
        log_dropped: u64,
        out: &mut Vec<u8>,
        now: Instant,
    ) {
        let (method, version) =
            asked.map_or((Method::Get, Version::Http11), |head| (head.method(), head.version()));
        let (status, kind, text) = match asked {
            Err(fault) => (fault.status(), TEXT, format!("{}\n", fault.text())),
            Ok(_) if !matches!(method, Method::Get | Method::Head) => (405, TEXT, "GET or HEAD\n".to_owned()),
            Ok(head) => match std::str::from_utf8(head.path()) {
                Ok(METRICS) => (200, EXPOSITION, self.metrics(log_dropped, now)),
                Ok(LIVE) => (200, TEXT, "ok\n".to_owned()),
                Ok(READY) if self.is_draining() => (503, TEXT, "draining\n".to_owned()),
                Ok(READY) => (200, TEXT, "ok\n".to_owned()),
                _ => (404, TEXT, format!("{}\n", PAGES.join("\n"))),
            },
        };
        let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let fields = format!("Content-Type: {kind}\r\nCache-Control: no-store\r\n{allow}");
        let date = self.clock.date(now);
        let reader = Reader { method, version, persistence: Persistence::Close, format: Format::Text, date };
        answer::content(out, status, fields.as_bytes(), text.as_bytes(), &reader);
    }
}
