//! Connections of the daemon, and the pump that moves bytes between them and the core.
//!
//! Owned by the worker. A pump reads, lets the core decide, and sends what the core put into its outbox, until the
//! source is empty, the destination is full, or the fairness budget is spent. A destination that is full stops its
//! source only: nothing more is read for it, and the flush that empties it pumps the source again.
//!
//! Bytes are read into the worker's one scratch buffer and sent on from there. What the core cannot judge yet (part of
//! a message, or a client that has to wait) is kept with the connection until it can.

use std::time::Instant;

use sluice_unix::buf::{Buf, BufPool};
use sluice_unix::conn::{Conn, Drained, Flush, Read};
use sluice_unix::gather::Gather;
use sluice_unix::links::{End, Kind, Links};
use sluice_unix::outbox::Op;
use sluice_unix::poller::Readiness;
use sluice_unix::slab::Key;

use crate::core::{ClientId, Core, Held, Outbox, Peer, ServerId, Survey, Taken, Then};

/// Output a client may owe us before its own requests wait: a chunk of its server's replies and what we add to it.
const OWN_PENDING_MAX: usize = 256 * 1024;

/// Input kept for a connection that may not go on. More stays with the kernel; little is enough to see its end.
const BLOCKED_INPUT_MAX: usize = 16 * 1024;

/// Output of several parts up to this size is copied together.
const GATHER_BYTES: usize = 16 * 1024;

/// One connection and what the core last said about it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: Conn,
    /// Kept bytes that must be there before the core is asked again.
    need: u32,
    /// The core wants to be asked only after an [`crate::core::Effect::Pump`].
    blocked: bool,
    pub(crate) connecting: bool,
}

impl End for Peer {
    #[inline]
    fn place(self) -> (Kind, Key) {
        match self {
            Self::Client(ClientId(key)) => (Kind::Accepted, key),
            Self::Server(ServerId(key)) => (Kind::Opened, key),
        }
    }
}

/// All connections of a worker, and the buffers they share.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) links: Links<Peer, Link>,
    pub(crate) bufs: BufPool,
    pub(crate) scratch: Vec<u8>,
    gather: Gather,
    /// Bytes a connection may move in one turn; 0: any number.
    pub(crate) budget: usize,
    /// Connections that broke while something was sent to them.
    broken: Vec<Peer>,
}

/// Why a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// Something else has to happen first: an event, a flush, an effect.
    Rest,
    /// The budget is spent.
    Again,
    /// The peer has ended or broken the connection.
    Lost,
}

impl Sessions {
    pub(crate) fn new(scratch_bytes: usize, buf_bytes: usize, free_bufs: usize, budget: usize) -> Self {
        Sessions {
            links: Links::default(),
            bufs: BufPool::new(buf_bytes, free_bufs),
            scratch: vec![0; scratch_bytes],
            gather: Gather::new(GATHER_BYTES),
            budget,
            broken: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, peer: Peer, conn: Conn, connecting: bool) {
        self.links.insert(peer, Link { conn, need: 1, blocked: false, connecting });
    }

    fn all(&self) -> impl Iterator<Item = (Peer, &Link)> {
        let clients = self.links.iter(Kind::Accepted).map(|(key, link)| (Peer::Client(ClientId(key)), link));
        clients.chain(self.links.iter(Kind::Opened).map(|(key, link)| (Peer::Server(ServerId(key)), link)))
    }

    /// Connections that have not taken all they were sent.
    pub(crate) fn unsent(&self) -> Vec<Peer> {
        self.all().filter(|(_, link)| link.conn.has_pending()).map(|(peer, _)| peer).collect()
    }

    /// What the buffers hold, where they hold something.
    pub(crate) fn survey(&self) -> Survey {
        let held = |link: &Link| Held { input: link.conn.input().len(), output: link.conn.pending_len() };
        let all = self.all().map(|(peer, link)| (peer, held(link)));
        all.filter(|&(_, held)| held != Held::default()).collect()
    }

    /// The core lets the connection go on.
    pub(crate) fn unblock(&mut self, peer: Peer) {
        if let Some(link) = self.links.get_mut(peer) {
            link.blocked = false;
            link.need = 1;
        }
        self.links.wake(peer);
    }

    /// An event: takes in the readiness, sends what waits, and pumps both directions that may have become possible.
    pub(crate) fn on_event(&mut self, core: &mut Core, peer: Peer, readiness: Readiness, now: Instant) {
        let Some(link) = self.links.get_mut(peer) else { return };
        link.conn.on_event(readiness);
        if readiness.writable && link.conn.has_pending() {
            self.flush(core, peer, now);
        }
        self.pump(core, peer, now);
    }

    /// Sends what waits; whoever was stopped because of it goes on.
    pub(crate) fn flush(&mut self, core: &mut Core, peer: Peer, now: Instant) {
        let Some(link) = self.links.get_mut(peer) else { return };
        match link.conn.flush(&mut self.bufs) {
            Ok(Flush::Done) => {
                if let Some(source) = core.destination(peer) {
                    self.links.wake(source);
                }
            }
            Ok(Flush::Blocked) => {}
            Err(_) => self.lose(core, peer, now),
        }
    }

    /// The connection is gone: the core is told, and its effects close it.
    fn lose(&mut self, core: &mut Core, peer: Peer, now: Instant) {
        match peer {
            Peer::Client(id) => core.client_gone(id, now),
            Peer::Server(id) => core.server_gone(id, now),
        }
        self.send_outbox(core, &[]);
    }

    /// Moves bytes from `peer` to wherever the core sends them.
    pub(crate) fn pump(&mut self, core: &mut Core, peer: Peer, now: Instant) {
        let mut scratch = std::mem::take(&mut self.scratch);
        match self.pump_with(core, peer, &mut scratch, now) {
            Pumped::Rest => {}
            Pumped::Again => self.links.wake(peer),
            Pumped::Lost => self.lose(core, peer, now),
        }
        self.scratch = scratch;
        while let Some(broken) = self.broken.pop() {
            self.lose(core, broken, now);
        }
    }

    fn pump_with(&mut self, core: &mut Core, peer: Peer, scratch: &mut [u8], now: Instant) -> Pumped {
        let mut moved = 0;
        loop {
            if self.is_stopped(core, peer) {
                return Pumped::Rest;
            }
            let Some(link) = self.links.get_mut(peer) else { return Pumped::Rest };
            if link.connecting {
                return Pumped::Rest;
            }
            if let Some(kept) = link.conn.take_kept() {
                match self.pump_kept(core, peer, kept, scratch, &mut moved, now) {
                    Some(end) => return end,
                    None if self.budget > 0 && moved >= self.budget => return Pumped::Again,
                    None => continue,
                }
            }
            let blocked = link.blocked;
            let (count, drained) = match link.conn.read(scratch) {
                Read::Data(count, drained) => (count, drained),
                Read::WouldBlock => return Pumped::Rest,
                Read::Eof | Read::Failed(_) => return Pumped::Lost,
            };
            let chunk = &scratch[..count];
            let consumed = if blocked { 0 } else { self.handle(core, peer, chunk, now) };
            moved += count;
            if consumed < count {
                if let Some(link) = self.links.get_mut(peer) {
                    link.conn.keep_input(&mut self.bufs, &chunk[consumed..]);
                }
            } else if drained == Drained::Yes {
                return Pumped::Rest;
            }
            if self.budget > 0 && moved >= self.budget {
                return Pumped::Again;
            }
        }
    }

    /// Goes on with bytes kept earlier, reading more where they do not suffice. `None`: look again.
    fn pump_kept(
        &mut self,
        core: &mut Core,
        peer: Peer,
        mut kept: Box<Buf>,
        scratch: &mut [u8],
        moved: &mut usize,
        now: Instant,
    ) -> Option<Pumped> {
        let Some(link) = self.links.get_mut(peer) else {
            self.bufs.put(kept);
            return Some(Pumped::Rest);
        };
        let wanted = if link.blocked { BLOCKED_INPUT_MAX } else { link.need as usize };
        if kept.len() < wanted {
            let end = match link.conn.read(scratch) {
                Read::Data(count, _) => {
                    kept.append(&scratch[..count]);
                    *moved += count;
                    None
                }
                Read::WouldBlock => Some(Pumped::Rest),
                Read::Eof | Read::Failed(_) => Some(Pumped::Lost),
            };
            let enough = kept.len() >= wanted && !link.blocked;
            if end.is_some() || !enough {
                self.put_kept(peer, kept);
                return end;
            }
        } else if link.blocked {
            self.put_kept(peer, kept);
            return Some(Pumped::Rest);
        }
        let consumed = self.handle(core, peer, kept.as_slice(), now);
        kept.consume(consumed);
        let stuck = consumed == 0
            && self.links.get_mut(peer).is_some_and(|l| !l.blocked && l.need as usize <= kept.len());
        self.put_kept(peer, kept);
        // The core asked for no more than it has been given: only a defect could make this a loop.
        if stuck { Some(Pumped::Rest) } else { None }
    }

    fn put_kept(&mut self, peer: Peer, kept: Box<Buf>) {
        match self.links.get_mut(peer) {
            Some(link) => link.conn.put_kept(&mut self.bufs, kept),
            None => self.bufs.put(kept),
        }
    }

    /// Must reading wait until somebody has taken what is there already?
    #[inline]
    fn is_stopped(&mut self, core: &Core, peer: Peer) -> bool {
        if let Peer::Client(_) = peer
            && self.links.get_mut(peer).is_some_and(|link| link.conn.pending_len() > OWN_PENDING_MAX)
        {
            return true;
        }
        match core.destination(peer) {
            Some(to) => self.links.get_mut(to).is_some_and(|link| link.conn.has_pending()),
            None => false,
        }
    }

    /// Lets the core judge a chunk and sends what it says. Answers how many bytes are used up.
    #[inline]
    fn handle(&mut self, core: &mut Core, peer: Peer, chunk: &[u8], now: Instant) -> usize {
        let Taken { consumed, then } = match peer {
            Peer::Client(id) => core.client_input(id, chunk, now),
            Peer::Server(id) => core.server_input(id, chunk, now),
        };
        self.send_outbox(core, chunk);
        if let Some(link) = self.links.get_mut(peer) {
            match then {
                Then::Need(bytes) => link.need = bytes.min(u32::MAX as usize) as u32,
                Then::Blocked => link.blocked = true,
                // Its Close effect is on the way; nothing more is read until then.
                Then::Closed => {
                    link.blocked = true;
                    return chunk.len();
                }
            }
        }
        consumed
    }

    /// Reads what a peer still sends and drops it, at most so many times.
    pub(crate) fn drain(&mut self, conn: &mut Conn, reads_max: usize) {
        for _ in 0..reads_max {
            match conn.read(&mut self.scratch) {
                Read::Data(_, Drained::No) => {}
                _ => return,
            }
        }
    }

    /// Sends what the core has put into its outbox, in order.
    pub(crate) fn send_outbox(&mut self, core: &mut Core, chunk: &[u8]) {
        if core.outbox.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut core.outbox);
        for run in outbox.runs() {
            self.send(run, &outbox, chunk);
        }
        outbox.clear();
        core.outbox = outbox;
    }

    fn send(&mut self, run: &[Op<Peer>], outbox: &Outbox, chunk: &[u8]) {
        let Some(&Op { to, .. }) = run.first() else { return };
        let Some(link) = self.links.get_mut(to) else { return };
        let (conn, bufs) = (&mut link.conn, &mut self.bufs);
        if link.connecting {
            run.iter().for_each(|op| conn.queue(bufs, outbox.bytes(op, chunk)));
        } else if self.gather.send((conn, bufs), run, outbox, chunk).is_err() {
            self.broken.push(to);
        }
    }
}
