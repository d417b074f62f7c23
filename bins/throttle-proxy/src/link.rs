//! A connection of ours to another program's socket: the pooler's control socket, Redis.
//!
//! Owned by the worker, one for each [`crate::pressure::Feed`] and [`crate::shared::Redis`]. Those machines say what they
//! want ([`Ask`]) and are told what happened ([`Told`]); here are the socket and the lookup of names, which runs on a
//! thread of its own. Nothing here waits.

use std::io;
use std::net::SocketAddr;

use sluice_unix::buf::BufPool;
use sluice_unix::conn::{Conn, Connect, Drained, Read};
use sluice_unix::poller::{Poller, Readiness, Waker};
use sluice_unix::resolve::Resolver;
use sluice_unix::slab::Key;
use sluice_unix::stream::{Stream, TcpOptions};
use sluice_unix::token::Token;

/// Bytes of one read.
const SCRATCH_BYTES: usize = 16 << 10;

/// Bytes that may wait to be sent; a peer that takes none for so long is as good as gone.
const PENDING_MAX: usize = 1 << 20;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket, abstract behind a leading `@`.
    Unix(String),
    /// A host, by name or address, and a port.
    Tcp(String, u16),
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Connect, closing what there is.
    Connect(Address),
    /// Send this.
    Send(Vec<u8>),
    /// Close.
    Close,
}

/// What happened. After `Down` nothing more is said before the next `Connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// The connection is up.
    Up,
    /// Bytes have come.
    Input(&'a [u8]),
    /// The connection has ended, or there is none to be had.
    Down(String),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    class: u8,
    /// Counts connections, so that a stale event finds nothing.
    generation: u32,
    conn: Option<Conn>,
    is_up: bool,
    /// The port to connect to when the name is known.
    looking_up: Option<u16>,
    resolver: Resolver<u32>,
    bufs: BufPool,
    scratch: Box<[u8]>,
    /// To be told at the next turn.
    failed: Option<String>,
}

impl Link {
    /// A link whose events have tokens of class `class`. `waker` ends a wait of the loop when a name is known.
    pub(crate) fn new(class: u8, waker: Waker) -> Self {
        Self {
            class,
            generation: 0,
            conn: None,
            is_up: false,
            looking_up: None,
            resolver: Resolver::new(waker, 1),
            bufs: BufPool::new(SCRATCH_BYTES, 1),
            scratch: vec![0; SCRATCH_BYTES].into(),
            failed: None,
        }
    }

    /// Does what a machine asks for.
    pub(crate) fn carry_out(&mut self, ask: Ask, poller: &Poller) {
        match ask {
            Ask::Connect(address) => {
                self.close();
                self.generation =
                    if self.generation >= Key::GENERATION_MAX { 1 } else { self.generation + 1 };
                let begun = self.connect(&address, poller);
                self.failed = begun.err().map(|error| error.to_string());
            }
            Ask::Send(bytes) => {
                let Some(conn) = &mut self.conn else { return };
                let sent = conn.send_bytes(&mut self.bufs, &bytes).map(|_| ());
                if let Err(error) = sent {
                    self.fail(error.to_string());
                } else if self.conn.as_ref().is_some_and(|conn| conn.pending_len() > PENDING_MAX) {
                    self.fail("it does not take what is sent".to_owned());
                }
            }
            Ask::Close => self.close(),
        }
    }

    fn connect(&mut self, address: &Address, poller: &Poller) -> io::Result<()> {
        match address {
            Address::Unix(path) => {
                // Connected already; the next turn finds that out.
                self.watch(Conn::new(Stream::connect_unix(path)?), poller)
            }
            Address::Tcp(host, port) => match host.parse() {
                Ok(ip) => self.dial(SocketAddr::new(ip, *port), poller),
                Err(_) => {
                    self.looking_up = Some(*port);
                    let asked = self.resolver.request(self.generation, host);
                    asked.map_err(|_| io::Error::other("the name is being looked up"))
                }
            },
        }
    }

    fn dial(&mut self, address: SocketAddr, poller: &Poller) -> io::Result<()> {
        let conn = Conn::connecting(Stream::connect_tcp(address, &TcpOptions::default())?);
        self.watch(conn, poller)
    }

    fn watch(&mut self, mut conn: Conn, poller: &Poller) -> io::Result<()> {
        conn.register(poller, Token::new(self.class, Key { index: 0, generation: self.generation }))?;
        (self.conn, self.is_up) = (Some(conn), false);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            conn.close(&mut self.bufs);
        }
        (self.is_up, self.looking_up, self.failed) = (false, None, None);
    }

    fn fail(&mut self, why: String) {
        self.close();
        self.failed = Some(why);
    }

    /// An event of the connection.
    pub(crate) fn on_event(&mut self, key: Key, readiness: Readiness) {
        if let Some(conn) = self.conn.as_mut().filter(|_| key.generation == self.generation) {
            conn.on_event(readiness);
        }
    }

    /// Moves bytes, and tells what has happened. To be called each turn of the loop: a turn with nothing to do costs
    /// no system call.
    pub(crate) fn turn(&mut self, poller: &Poller, mut tell: impl FnMut(Told<'_>)) {
        self.take_name(poller);
        if let Some(why) = self.failed.take() {
            return tell(Told::Down(why));
        }
        let Some(conn) = &mut self.conn else { return };
        if !self.is_up {
            match conn.finish_connect() {
                Connect::Pending => return,
                Connect::Failed(error) => {
                    self.close();
                    return tell(Told::Down(error.to_string()));
                }
                Connect::Done => self.is_up = true,
            }
            tell(Told::Up);
        }
        if let Some(why) = self.pump(&mut tell) {
            self.close();
            tell(Told::Down(why));
        }
    }

    /// The text tells why it has ended.
    fn pump(&mut self, tell: &mut impl FnMut(Told<'_>)) -> Option<String> {
        let conn = self.conn.as_mut()?;
        if conn.has_pending()
            && let Err(error) = conn.flush(&mut self.bufs)
        {
            return Some(error.to_string());
        }
        loop {
            match conn.read(&mut self.scratch) {
                Read::Data(count, drained) => {
                    tell(Told::Input(&self.scratch[..count]));
                    if drained == Drained::Yes {
                        return None;
                    }
                }
                Read::WouldBlock => return None,
                Read::Eof => return Some("it has closed the connection".to_owned()),
                Read::Failed(error) => return Some(error.to_string()),
            }
        }
    }

    fn take_name(&mut self, poller: &Poller) {
        while let Some(answer) = self.resolver.answer() {
            let Some(port) = self.looking_up.filter(|_| answer.key == self.generation) else { continue };
            self.looking_up = None;
            let first = answer.addresses.and_then(|addresses| {
                addresses.first().copied().ok_or_else(|| io::Error::other("the name has no address"))
            });
            let begun = first.and_then(|address| self.dial(SocketAddr::new(address, port), poller));
            self.failed = begun.err().map(|error| error.to_string());
        }
    }
}
