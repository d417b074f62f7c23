//! The sockets of both sides, and the pump that moves bytes between them and the machine.
//!
//! A pump reads, lets the machine judge, and sends what the machine put into its outbox, until the source is empty, the
//! destination is full, or the connection has moved its share. A full destination stops its source only: nothing more is
//! read for it, and the flush that empties it pumps the source again.
//!
//! Bytes are read into one scratch buffer and sent on from there. What the machine cannot judge yet (part of a head, the
//! next request) is kept with the connection. A connection without unfinished business owns no buffer.

use std::time::Instant;

use sluice_unix::buf::{Buf, BufPool};
use sluice_unix::conn::{Conn, Drained, Flush, Read, Sent};
use sluice_unix::gather::Gather;
use sluice_unix::links::{self, Kind, Links};
use sluice_unix::outbox::Op;
use sluice_unix::poller::Readiness;
use sluice_unix::slab::Key;

use crate::effect::{ClientId, End, Outbox, Taken, Then};
use crate::gate::Gate;
use crate::machine::Gateway;
use crate::origins::ConnId;

/// Bytes of one read, and so the most one direction holds while its destination is blocked.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Output of several parts up to this size is copied together.
const GATHER_BYTES: usize = SCRATCH_BYTES / 2;

/// Bytes a connection may move in one turn.
const TURN_BYTES: usize = 64 * 1024;

/// Size of the buffers of connections that wait, and how many free ones are kept.
const BUF_BYTES: usize = 4 * 1024;
const FREE_BUFS: usize = 256;

/// One connection and what the machine last said about it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: Conn,
    /// Bytes it holds for its peer, as they are counted in the sum of all.
    counted: u32,
    /// Kept bytes the machine has seen and could not use: it is asked again when there are more.
    judged: u32,
    /// The machine wants to be asked only after an `Effect::Pump`.
    blocked: bool,
    pub(super) connecting: bool,
    /// The end of its input was told.
    ended: bool,
    /// Its hanging up while blocked was told.
    hung_up: bool,
    /// Our direction is to be shut once what waits is sent.
    shut: bool,
}

impl Link {
    /// Brings the sum up to date with what this connection holds now.
    fn count(&mut self, sum: &mut usize) {
        let now = self.conn.pending_len() as u32;
        *sum = *sum - self.counted as usize + now as usize;
        self.counted = now;
    }
}

impl links::End for End {
    #[inline]
    fn place(self) -> (Kind, Key) {
        match self {
            Self::Client(ClientId(key)) => (Kind::Accepted, key),
            Self::Origin(ConnId(key)) => (Kind::Opened, key),
        }
    }
}

/// All connections of a worker, and the buffers they share.
#[derive(Debug)]
pub(super) struct Conns {
    pub(super) links: Links<End, Link>,
    pub(super) bufs: BufPool,
    pub(super) scratch: Vec<u8>,
    gather: Gather,
    /// Bytes all connections hold for peers that are slow to take them.
    pending: usize,
    /// Connections that broke, or could not take all, while something was sent to them.
    troubled: Vec<(End, Trouble)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Broken,
    Full,
}

/// Why a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Something else has to happen first: an event, a flush, an effect.
    Rest,
    /// The share is spent.
    Again,
    /// The peer has ended its direction.
    Ended,
    /// The connection is broken.
    Lost,
}

impl Conns {
    pub(super) fn new() -> Self {
        Self {
            links: Links::default(),
            bufs: BufPool::new(BUF_BYTES, FREE_BUFS),
            scratch: vec![0; SCRATCH_BYTES],
            gather: Gather::new(GATHER_BYTES),
            pending: 0,
            troubled: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, end: End, conn: Conn, connecting: bool) {
        let link = Link {
            conn,
            counted: 0,
            judged: 0,
            blocked: false,
            connecting,
            ended: false,
            hung_up: false,
            shut: false,
        };
        self.links.insert(end, link);
    }

    pub(super) fn remove(&mut self, end: End) -> Option<Link> {
        let link = self.links.remove(end)?;
        self.pending -= link.counted as usize;
        Some(link)
    }

    /// Bytes held for peers that are slow to take them.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// The machine lets the connection go on.
    pub(super) fn unblock(&mut self, end: End) {
        let Some(link) = self.links.get_mut(end) else { return };
        link.blocked = false;
        link.judged = 0;
        // Nothing kept and nothing to read: an event will tell.
        if link.conn.is_readable() || !link.conn.input().is_empty() {
            self.links.wake(end);
        }
    }

    /// Our direction ends once what waits is sent.
    pub(super) fn shut(&mut self, end: End) {
        if let Some(link) = self.links.get_mut(end) {
            if link.conn.has_pending() {
                link.shut = true;
            } else {
                // A peer that is gone will be found out when it is read.
                let _ = link.conn.shutdown_write();
            }
        }
    }

    /// An event: takes in the readiness, sends what waits, reads on.
    pub(super) fn on_event<G: Gate>(
        &mut self,
        gateway: &mut Gateway<G>,
        end: End,
        readiness: Readiness,
        now: Instant,
    ) {
        let Some(link) = self.links.get_mut(end) else { return };
        link.conn.on_event(readiness);
        if readiness.error
            && let End::Client(id) = end
        {
            gateway.client_gone(id, now);
            return self.send_outbox(gateway, &[], now);
        }
        if readiness.writable && link.conn.has_pending() {
            self.flush(gateway, end, now);
        }
        self.pump(gateway, end, now);
    }

    /// Sends what waits; whoever was stopped because of it goes on.
    pub(super) fn flush<G: Gate>(&mut self, gateway: &mut Gateway<G>, end: End, now: Instant) {
        let Some(link) = self.links.get_mut(end) else { return };
        let before = link.conn.pending_len();
        let flushed = link.conn.flush(&mut self.bufs);
        link.count(&mut self.pending);
        match flushed {
            Ok(Flush::Done) => {
                if std::mem::take(&mut link.shut) {
                    let _ = link.conn.shutdown_write();
                }
                gateway.flushed(end, now);
                if let Some(source) = gateway.destination(end) {
                    self.links.wake(source);
                }
            }
            Ok(Flush::Blocked) if link.conn.pending_len() < before => gateway.progressed(end, now),
            Ok(Flush::Blocked) => gateway.blocked(end, now),
            Err(_) => {
                self.troubled.push((end, Trouble::Broken));
                self.send_outbox(gateway, &[], now);
            }
        }
    }

    /// Moves bytes from `end` to wherever the machine sends them.
    pub(super) fn pump<G: Gate>(&mut self, gateway: &mut Gateway<G>, end: End, now: Instant) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let pumped = self.pump_with(gateway, end, &mut scratch, now);
        self.scratch = scratch;
        match pumped {
            Pumped::Rest => {}
            Pumped::Again => self.links.wake(end),
            Pumped::Lost => self.lose(gateway, end, now),
            Pumped::Ended => {
                if let Some(link) = self.links.get_mut(end) {
                    link.ended = true;
                }
                match end {
                    End::Client(id) => gateway.client_ended(id, now),
                    End::Origin(id) => gateway.origin_ended(id, now),
                }
                self.send_outbox(gateway, &[], now);
            }
        }
    }

    /// The connection is gone: the machine is told, and its effects close it.
    fn lose<G: Gate>(&mut self, gateway: &mut Gateway<G>, end: End, now: Instant) {
        match end {
            End::Client(id) => gateway.client_gone(id, now),
            End::Origin(id) => gateway.origin_gone(id, now),
        }
        self.send_outbox(gateway, &[], now);
    }

    fn pump_with<G: Gate>(
        &mut self,
        gateway: &mut Gateway<G>,
        end: End,
        scratch: &mut [u8],
        now: Instant,
    ) -> Pumped {
        let mut moved = 0;
        loop {
            let full = gateway
                .destination(end)
                .is_some_and(|to| self.links.get_mut(to).is_some_and(|to| to.conn.has_pending()));
            let Some(link) = self.links.get_mut(end) else { return Pumped::Rest };
            if full || link.connecting || link.ended {
                return Pumped::Rest;
            }
            if link.blocked {
                self.tell_hang_up(gateway, end, now);
                return Pumped::Rest;
            }
            if moved >= TURN_BYTES {
                return Pumped::Again;
            }
            if let Some(kept) = link.conn.take_kept() {
                match self.pump_kept(gateway, end, kept, scratch, now) {
                    Ok(count) => moved += count,
                    Err(end) => return end,
                }
                continue;
            }
            let (count, drained) = match link.conn.read(scratch) {
                Read::Data(count, drained) => (count, drained),
                Read::WouldBlock => return Pumped::Rest,
                Read::Eof => return Pumped::Ended,
                Read::Failed(_) => return Pumped::Lost,
            };
            moved += count;
            let chunk = &scratch[..count];
            let consumed = self.handle(gateway, end, chunk, now);
            if consumed < count
                && let Some(link) = self.links.get_mut(end)
            {
                link.conn.keep_input(&mut self.bufs, &chunk[consumed..]);
            }
            if drained == Drained::Yes {
                return Pumped::Rest;
            }
        }
    }

    /// Goes on with bytes kept earlier, reading more where they do not suffice. Answers how many bytes moved.
    fn pump_kept<G: Gate>(
        &mut self,
        gateway: &mut Gateway<G>,
        end: End,
        mut kept: Box<Buf>,
        scratch: &mut [u8],
        now: Instant,
    ) -> Result<usize, Pumped> {
        let Some(link) = self.links.get_mut(end) else {
            self.bufs.put(kept);
            return Err(Pumped::Rest);
        };
        let mut moved = 0;
        if kept.len() <= link.judged as usize {
            let stop = match link.conn.read(scratch) {
                Read::Data(count, _) => {
                    kept.append(&scratch[..count]);
                    moved = count;
                    None
                }
                Read::WouldBlock => Some(Pumped::Rest),
                Read::Eof => Some(Pumped::Ended),
                Read::Failed(_) => Some(Pumped::Lost),
            };
            if let Some(stop) = stop {
                self.put_kept(end, kept);
                return Err(stop);
            }
        }
        let consumed = self.handle(gateway, end, kept.as_slice(), now);
        kept.consume(consumed);
        self.put_kept(end, kept);
        Ok(moved.max(consumed))
    }

    fn put_kept(&mut self, end: End, kept: Box<Buf>) {
        match self.links.get_mut(end) {
            Some(link) => link.conn.put_kept(&mut self.bufs, kept),
            None => self.bufs.put(kept),
        }
    }

    /// A client that is not read may have left: only an event tells.
    fn tell_hang_up<G: Gate>(&mut self, gateway: &mut Gateway<G>, end: End, now: Instant) {
        let (End::Client(id), Some(link)) = (end, self.links.get_mut(end)) else { return };
        if link.conn.is_hung_up() && !std::mem::replace(&mut link.hung_up, true) {
            gateway.client_hung_up(id, now);
            self.send_outbox(gateway, &[], now);
        }
    }

    /// Lets the machine judge a chunk and sends what it says. Answers how many bytes are used up.
    #[inline]
    fn handle<G: Gate>(&mut self, gateway: &mut Gateway<G>, end: End, chunk: &[u8], now: Instant) -> usize {
        let Taken { consumed, then } = match end {
            End::Client(id) => gateway.client_input(id, chunk, now),
            End::Origin(id) => gateway.origin_input(id, chunk, now),
        };
        self.send_outbox(gateway, chunk, now);
        let Some(link) = self.links.get_mut(end) else { return chunk.len() };
        link.judged = (chunk.len() - consumed) as u32;
        match then {
            Then::More => consumed,
            Then::Blocked => {
                link.blocked = true;
                consumed
            }
            // Its Close effect is on the way; nothing more is read until then.
            Then::Closed => {
                link.blocked = true;
                chunk.len()
            }
        }
    }

    /// Sends what the machine has put into its outbox, in order.
    pub(super) fn send_outbox<G: Gate>(&mut self, gateway: &mut Gateway<G>, chunk: &[u8], now: Instant) {
        if !gateway.outbox.is_empty() {
            let mut outbox = std::mem::take(&mut gateway.outbox);
            for run in outbox.runs() {
                self.send(run, &outbox, chunk);
            }
            outbox.clear();
            gateway.outbox = outbox;
        }
        while let Some((end, trouble)) = self.troubled.pop() {
            match (trouble, end) {
                (Trouble::Full, _) => gateway.blocked(end, now),
                (Trouble::Broken, End::Client(id)) => gateway.client_gone(id, now),
                (Trouble::Broken, End::Origin(id)) => {
                    gateway.origin_deaf(id, now);
                    // It may have answered before it broke: what it sent is read, and then its end.
                    self.links.wake(end);
                }
            }
        }
    }

    fn send(&mut self, run: &[Op<End>], outbox: &Outbox, chunk: &[u8]) {
        let Some(&Op { to, .. }) = run.first() else { return };
        let Some(link) = self.links.get_mut(to) else { return };
        let sent = self.gather.send((&mut link.conn, &mut self.bufs), run, outbox, chunk);
        link.count(&mut self.pending);
        match sent {
            Ok(Sent::All) => {}
            Ok(Sent::Queued) => self.troubled.push((to, Trouble::Full)),
            Err(_) => self.troubled.push((to, Trouble::Broken)),
        }
    }
}
