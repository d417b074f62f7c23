//! Content on its way: relayed as ranges of the chunk, counted or coded anew, dropped when nobody wants it.
//!
//! That of a request is relayed until all of it is there or its response is whole, whichever comes first: a service may
//! answer while it reads. An origin that has stopped reading stops it earlier.

use std::time::Instant;

use sluice_wire::http::body::Body;
use sluice_wire::http::chunked::{CHUNK_END, Piece, write_chunk_line};
use sluice_wire::http::fault::Fault;
use sluice_wire::http::forward;
use sluice_wire::http::framing::RequestFraming;

use crate::effect::{ClientId, Closing, End, Outbox, Then};
use crate::gate::{Gate, Outcome};

use super::Gateway;
use super::answer::Complaint;
use super::client::Step;
use super::exchange::{Coding, Exchange, Replay, Reply, Upload};

/// Uses up content without looking at it. Answers how many bytes were of it.
pub(super) fn skip(content: &mut Body, bytes: &[u8]) -> Result<usize, Fault> {
    let mut used = 0;
    loop {
        match content.next(&bytes[used..])? {
            Piece::Data { skip, len } => used += skip + len,
            Piece::Need { skip } | Piece::End { skip } => return Ok(used + skip),
        }
    }
}

/// Relays `start..start + len` of the chunk, which is content.
pub(super) fn relay(outbox: &mut Outbox, to: End, coding: Coding, start: usize, len: usize) {
    match coding {
        Coding::Plain => outbox.relay(to, start, start + len),
        Coding::Chunks => {
            outbox.write(to, |out| write_chunk_line(out, len));
            outbox.relay(to, start, start + len);
            outbox.write(to, |out| out.extend_from_slice(CHUNK_END));
        }
    }
}

impl<G: Gate> Gateway<G> {
    /// Content of a request whose exchange is open.
    pub(super) fn read_content(&mut self, id: ClientId, chunk: &[u8], at: usize, now: Instant) -> Step {
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_mut()) else {
            return Step::Stop(0, Then::Blocked);
        };
        let bytes = &chunk[at..];
        match exchange.upload {
            // The next request waits unread.
            Upload::Done => Step::Stop(0, Then::Blocked),
            Upload::Relayed => self.relay_upload(id, chunk, at, now),
            Upload::Unlikely if bytes.is_empty() => Step::Stop(0, Then::More),
            Upload::Unlikely => {
                // Its time counts from here.
                let sent = exchange.times.sent.unwrap_or(now);
                exchange.times.stalled = now.saturating_duration_since(sent);
                exchange.upload = Upload::Relayed;
                self.relay_upload(id, chunk, at, now)
            }
            Upload::Dropped(before) => {
                let Ok(used) = skip(&mut exchange.content, bytes) else {
                    return Step::Stop(bytes.len(), Then::Blocked);
                };
                let dropped = before + used as u64;
                exchange.upload =
                    if exchange.content.is_done() { Upload::Done } else { Upload::Dropped(dropped) };
                let over = dropped >= self.config.settings.linger_bytes as u64;
                Step::Stop(used, if over || exchange.is_uploaded() { Then::Blocked } else { Then::More })
            }
        }
    }

    fn relay_upload(&mut self, id: ClientId, chunk: &[u8], at: usize, now: Instant) -> Step {
        let replay_max = self.config.settings.replay_max;
        let Some(exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.as_mut()) else {
            return Step::Stop(0, Then::Blocked);
        };
        let Some(conn) = exchange.conn else { return Step::Stop(0, Then::Blocked) };
        if self.conns.get(conn.0).is_none_or(|link| link.deaf) {
            // What the origin has said, or that it has said nothing, tells how this goes on.
            return Step::Stop(0, Then::Blocked);
        }
        if at == 0 {
            // The head went out with an earlier chunk, and nobody said that it could not.
            exchange.touch();
        }
        let to = End::Origin(conn);
        let coding = match exchange.head.framing() {
            RequestFraming::Chunked => Coding::Chunks,
            RequestFraming::None | RequestFraming::Length(_) => Coding::Plain,
        };
        let mut used = at;
        loop {
            match exchange.content.next(&chunk[used..]) {
                Ok(Piece::Data { skip, len }) => {
                    relay(&mut self.outbox, to, coding, used + skip, len);
                    keep(&mut exchange.replay, coding, &chunk[used + skip..used + skip + len], replay_max);
                    used += skip + len;
                    exchange.account.bytes_in += len as u64;
                    exchange.times.heard = now;
                }
                Ok(Piece::Need { skip }) => {
                    used += skip;
                    exchange.times.heard = now;
                    return Step::Stop(used - at, Then::More);
                }
                Ok(Piece::End { skip }) => {
                    used += skip;
                    if coding == Coding::Chunks {
                        let trailers = exchange.content.trailers();
                        self.outbox.write(to, |out| forward::trailers(out, trailers));
                        if let Replay::Kept(kept) | Replay::Unsent(kept) = &mut exchange.replay {
                            forward::trailers(kept, trailers);
                        }
                    }
                    exchange.upload = Upload::Done;
                    exchange.times.asked = Some(now);
                    return Step::Stop(used - at, Then::Blocked);
                }
                Err(fault) => {
                    self.bad_content(id, fault.into(), now);
                    return Step::Stop(chunk.len() - at, Then::Closed);
                }
            }
        }
    }

    /// The client's content breaks a rule: the origin must not take what came for a whole request.
    pub(super) fn bad_content(&mut self, id: ClientId, fault: Complaint, now: Instant) {
        self.stats.bad_request(fault.reason);
        let Some(mut exchange) = self.clients.get_mut(id.0).and_then(|client| client.exchange.take()) else {
            return;
        };
        self.detach(&mut exchange, Closing::Abort);
        if let Some(ticket) = exchange.ticket.take() {
            self.gate.settle(ticket, Outcome::Own4xx, now);
        }
        let begun = !matches!(exchange.reply, Reply::Awaited);
        if !begun {
            self.answer_exchange_fault(id, &mut exchange, fault, now);
        }
        self.account(id, &mut exchange, now);
        self.close_client(id, if begun { Closing::Abort } else { Closing::Linger }, now);
    }

    /// Lets go of the exchange's connection, which cannot be used again.
    pub(super) fn detach(&mut self, exchange: &mut Exchange, closing: Closing) {
        let Some(conn) = exchange.conn.take() else { return };
        if let Some(origin) = exchange.origin {
            self.origins.end(origin);
        }
        self.drop_conn(conn, closing);
    }
}

/// Keeps what was sent for a second attempt, as long as there is not too much of it.
fn keep(replay: &mut Replay, coding: Coding, bytes: &[u8], replay_max: usize) {
    let (Replay::Kept(kept) | Replay::Unsent(kept)) = replay else { return };
    if kept.len() + bytes.len() > replay_max {
        *replay = Replay::No;
        return;
    }
    if coding == Coding::Chunks {
        write_chunk_line(kept, bytes.len());
    }
    kept.extend_from_slice(bytes);
    if coding == Coding::Chunks {
        kept.extend_from_slice(CHUNK_END);
    }
}
