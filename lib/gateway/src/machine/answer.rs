//! Answers of our own: refusals, failures, faults, what the gate has stored, preflights.

use std::time::Instant;

use sluice_wire::http::answer::{self, Problem, Reader};
use sluice_wire::http::connection::Persistence;
use sluice_wire::http::fault::Fault;
use sluice_wire::http::hints::{self, Format};
use sluice_wire::http::method::{ALLOWED, Method};
use sluice_wire::http::request::{RequestHead, Version};

use crate::code::Code;
use crate::config::Config;
use crate::effect::{ClientId, Closing, Effect, End};
use crate::gate::{Entry, Gate, Refusal};

use super::Gateway;
use super::client::Phase;
use super::exchange::{Exchange, Reply, Source, Upload};

/// What is wrong with a request, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) status: u16,
    /// A stable word for metrics and logs.
    pub(super) reason: &'static str,
    pub(super) text: &'static str,
}

impl From<Fault> for Complaint {
    fn from(fault: Fault) -> Self {
        Self { status: fault.status(), reason: fault.reason(), text: fault.text() }
    }
}

/// A head that is not complete in time.
pub(super) const SLOW_HEAD: Complaint =
    Complaint { status: 408, reason: "slow_head", text: "The request did not arrive in time." };

/// Content that stopped coming.
pub(super) const SLOW_CONTENT: Complaint =
    Complaint { status: 408, reason: "slow_content", text: "The content did not arrive in time." };

/// An answer that no origin gives.
#[derive(Clone, Debug)]
pub(super) enum Own {
    /// The gate's refusal.
    Refusal(Refusal),
    /// A stored response.
    Entry(Entry),
    /// To a preflight whose request would be refused.
    Preflight,
    /// To OPTIONS that may go no further.
    Options,
}

impl Own {
    /// A failure that has no more to say than its code.
    pub(super) fn code(code: Code) -> Self {
        Self::Refusal(Refusal { code, retry_after: None, fields: Vec::new() })
    }
}

impl<G: Gate> Gateway<G> {
    /// Answers the request of an exchange whose connection, if it had one, is gone already.
    pub(super) fn answer(&mut self, id: ClientId, own: Own, now: Instant) {
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        exchange.persistence = self.persistence_after(id, &exchange);
        self.write_answer(id, &mut exchange, &own, now);
        exchange.reply = Reply::Over;
        self.answered(id, exchange, now);
    }

    /// The answer is whole: the next request, once what is left of this one was dropped; or the end.
    pub(super) fn answered(&mut self, id: ClientId, exchange: Box<Exchange>, now: Instant) {
        let (persistence, uploaded) = (exchange.persistence, exchange.is_uploaded());
        let droppable = self.is_droppable(&exchange);
        let Some(client) = self.clients.get_mut(id.0) else { return };
        client.exchange = Some(exchange);
        match (persistence, uploaded) {
            (Persistence::KeepAlive, true) => self.next_request(id, now),
            (Persistence::Close, _) => self.close_client(id, Closing::Linger, now),
            (Persistence::KeepAlive, false) if !droppable => self.close_client(id, Closing::Linger, now),
            (Persistence::KeepAlive, false) => {
                client.phase = Phase::Drop;
                client.since = now;
                self.effects.push_back(Effect::Pump(End::Client(id)));
            }
        }
    }

    /// Whether the connection can go on after an answer that does not wait for the request's content: only if all of it
    /// is there, or little enough is to come that it can be dropped, and is sure to come.
    pub(super) fn persistence_after(&self, id: ClientId, exchange: &Exchange) -> Persistence {
        if exchange.is_uploaded() || self.is_droppable(exchange) {
            self.persistence_of(id, exchange)
        } else {
            Persistence::Close
        }
    }

    /// Whether what is left of a request's content can be read and dropped.
    fn is_droppable(&self, exchange: &Exchange) -> bool {
        let linger_bytes = self.config.settings.linger_bytes as u64;
        !exchange.waits_for_continue() && exchange.content.rest().is_some_and(|rest| rest <= linger_bytes)
    }

    /// Whether the connection goes on after an exchange whose request is whole.
    pub(super) fn persistence_of(&self, id: ClientId, exchange: &Exchange) -> Persistence {
        let most = self.config.settings.requests_per_conn;
        let worn = self.clients.get(id.0).is_some_and(|client| most > 0 && client.requests >= most);
        if self.is_draining() || worn { Persistence::Close } else { exchange.head.persistence() }
    }

    fn write_answer(&mut self, id: ClientId, exchange: &mut Exchange, own: &Own, now: Instant) {
        let head = &exchange.head;
        let mut extra = cors(&self.config, head);
        let retry_after_s = match own {
            Own::Refusal(Refusal { retry_after: Some(after), fields, .. }) => {
                extra.extend_from_slice(fields);
                Some(self.retry_after_s(*after))
            }
            _ => None,
        };
        let reader = Reader {
            method: head.method(),
            version: head.version(),
            persistence: exchange.persistence,
            format: hints::format(head.fields()),
            date: self.clock.date(now),
        };
        let pseudonym = self.config.pseudonym();
        let account = &mut exchange.account;
        account.source = Source::Gateway;
        let to = End::Client(id);
        match own {
            Own::Refusal(Refusal { code, .. }) => {
                account.status = code.status();
                account.code = Some(*code);
                let problem = Problem {
                    status: code.status(),
                    code: code.name(),
                    detail: code.detail(),
                    pseudonym,
                    error: code.proxy_status(),
                    retry_after_s,
                    extra: &extra,
                };
                self.outbox.write(to, |out| answer::problem(out, &problem, &reader));
            }
            Own::Entry(entry) => {
                account.status = entry.status;
                account.source = Source::Cache;
                account.bytes_out += entry.content.len() as u64;
                extra.extend_from_slice(&entry.fields);
                self.outbox
                    .write(to, |out| answer::content(out, entry.status, &extra, &entry.content, &reader));
            }
            Own::Preflight => {
                account.status = 204;
                preflight(&mut extra, head);
                self.outbox.write(to, |out| answer::content(out, 204, &extra, b"", &reader));
            }
            Own::Options => {
                account.status = 200;
                extra.extend_from_slice(format!("Allow: {ALLOWED}\r\n").as_bytes());
                self.outbox.write(to, |out| answer::content(out, 200, &extra, b"", &reader));
            }
        }
    }

    /// Answers bytes that are no request.
    pub(super) fn answer_fault(&mut self, id: ClientId, fault: Complaint, now: Instant) {
        self.write_fault(id, fault, (Method::Get, Version::Http11, Format::Problem), &[], now);
        self.account_fault(id, fault);
    }

    /// Answers a request whose head is well formed and asks for too much.
    pub(super) fn refuse_head(&mut self, id: ClientId, head: &RequestHead, fault: Fault, now: Instant) {
        let fault = Complaint::from(fault);
        self.stats.bad_request(fault.reason);
        let extra = cors(&self.config, head);
        let reader = (head.method(), head.version(), hints::format(head.fields()));
        self.write_fault(id, fault, reader, &extra, now);
        self.account_fault(id, fault);
        self.close_client(id, Closing::Linger, now);
    }

    /// Answers a request whose content breaks a rule.
    pub(super) fn answer_exchange_fault(
        &mut self,
        id: ClientId,
        exchange: &mut Exchange,
        fault: Complaint,
        now: Instant,
    ) {
        let head = &exchange.head;
        let extra = cors(&self.config, head);
        let reader = (head.method(), head.version(), hints::format(head.fields()));
        exchange.account.status = fault.status;
        exchange.account.code = Some(Code::BadRequest);
        exchange.account.source = Source::Gateway;
        self.write_fault(id, fault, reader, &extra, now);
    }

    fn write_fault(
        &mut self,
        id: ClientId,
        fault: Complaint,
        (method, version, format): (Method, Version, Format),
        extra: &[u8],
        now: Instant,
    ) {
        let mut fields = extra.to_vec();
        if fault.status == 405 {
            fields.extend_from_slice(format!("Allow: {ALLOWED}\r\n").as_bytes());
        }
        let problem = Problem {
            status: fault.status,
            code: Code::BadRequest.name(),
            detail: fault.text,
            pseudonym: self.config.pseudonym(),
            error: Code::BadRequest.proxy_status(),
            retry_after_s: None,
            extra: &fields,
        };
        let reader =
            Reader { method, version, persistence: Persistence::Close, format, date: self.clock.date(now) };
        self.outbox.write(End::Client(id), |out| answer::problem(out, &problem, &reader));
    }

    /// What a connection is told for which there is no room.
    pub fn overload(&mut self, out: &mut Vec<u8>, now: Instant) {
        let code = if self.is_draining() { Code::Draining } else { Code::Overload };
        let problem = Problem {
            status: code.status(),
            code: code.name(),
            detail: code.detail(),
            pseudonym: self.config.pseudonym(),
            error: code.proxy_status(),
            retry_after_s: Some(1),
            extra: &[],
        };
        let reader = Reader {
            method: Method::Get,
            version: Version::Http11,
            persistence: Persistence::Close,
            format: Format::Problem,
            date: self.clock.date(now),
        };
        answer::problem(out, &problem, &reader);
    }

    /// Drops what is left of a request's content from now on, as far as it is little, and leaves the rest unread.
    pub(super) fn stop_upload(&mut self, id: ClientId) {
        let Some(exchange) = self.exchange(id) else { return };
        if matches!(exchange.upload, Upload::Relayed | Upload::Unlikely) {
            exchange.upload = Upload::Dropped(0);
            self.effects.push_back(Effect::Pump(End::Client(id)));
        }
    }
}

/// The field lines that let pages of an allowed origin read an answer of ours (Fetch standard, CORS protocol).
fn cors(config: &Config, head: &RequestHead) -> Vec<u8> {
    let allowed = &config.settings.cors_allow_origin;
    let Some(origin) = head.fields().named(b"Origin").next().filter(|_| !allowed.is_empty()) else {
        return Vec::new();
    };
    let any = allowed.iter().any(|name| name == "*");
    if !any && !allowed.iter().any(|name| name.as_bytes() == origin) {
        return b"Vary: Origin\r\n".to_vec();
    }
    let mut fields = b"Access-Control-Allow-Origin: ".to_vec();
    fields.extend_from_slice(if any { b"*" } else { origin });
    fields.extend_from_slice(b"\r\nVary: Origin\r\n");
    fields.extend_from_slice(b"Access-Control-Expose-Headers: Retry-After, Proxy-Status, Cache-Status\r\n");
    fields
}

/// What a preflight asks for is allowed: the request itself will be told no, in words the page can read.
fn preflight(fields: &mut Vec<u8>, head: &RequestHead) {
    let pairs: [(&[u8], &[u8]); 2] = [
        (b"Access-Control-Request-Method", b"Access-Control-Allow-Methods: "),
        (b"Access-Control-Request-Headers", b"Access-Control-Allow-Headers: "),
    ];
    for (asked, allowed) in pairs {
        if let Some(value) = head.fields().named(asked).next() {
            fields.extend_from_slice(allowed);
            fields.extend_from_slice(value);
            fields.extend_from_slice(b"\r\n");
        }
    }
}
