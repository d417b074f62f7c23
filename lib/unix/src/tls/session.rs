//! One TLS session: turns what a socket gives into plain bytes, and plain bytes into what a socket takes.
//!
//! Owned by a [`crate::conn::Conn`]. It holds bytes only while there are some: of a record that is not complete, of a
//! record that did not fit where it was wanted, of records the socket does not take. An idle session holds its keys.
//!
//! ```text
//!   socket ──fill──▶ incoming ──step──▶ plain bytes        plain bytes ──encrypt──▶ outgoing ──▶ socket
//!                                └── handshake, alerts ───────────────────────────────▲
//! ```

use std::fmt;
use std::io;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use crate::buf::Buf;
use crate::stream::Stream;

use super::TlsError;

/// A record at its longest: header, content, and what encryption adds (RFC 8446 §5.2).
const RECORD_LEN_MAX: usize = 5 + (1 << 14) + 256;

/// More than this cannot be waiting for the rest of a message.
const INCOMING_MAX: usize = 4 * RECORD_LEN_MAX;

/// See the module.
pub struct Session {
    inner: Inner,
    incoming: Vec<u8>,
    plain: Buf,
    outgoing: Buf,
    state: State,
}

enum Inner {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Open,
    /// The peer has said that it sends no more.
    PeerClosed,
    /// Something went wrong: nothing passes any more.
    Broken,
}

/// What a look at the received bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many plain bytes are at the front of the destination.
    Data(usize),
    /// Something was done, and something may be there to send: look again.
    Again,
    /// More has to be received.
    Need,
    /// The peer sends no more.
    Closed,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn client(conn: UnbufferedClientConnection) -> Self {
        Self::of(Inner::Client(conn))
    }

    pub(super) fn server(conn: UnbufferedServerConnection) -> Self {
        Self::of(Inner::Server(conn))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            incoming: Vec::new(),
            plain: Buf::default(),
            outgoing: Buf::default(),
            state: State::Handshake,
        }
    }

    /// Whether application data may pass.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::PeerClosed)
    }

    /// Whether received bytes are there that were not handed out yet.
    pub(crate) fn has_input(&self) -> bool {
        !self.incoming.is_empty() || !self.plain.is_empty()
    }

    /// What the socket is to be given.
    pub(crate) fn outgoing(&mut self) -> &mut Buf {
        &mut self.outgoing
    }

    /// Bytes the socket is to be given.
    pub(crate) fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }

    /// Frees the memory of what was sent.
    pub(crate) fn sent(&mut self) {
        if self.outgoing.is_empty() {
            self.outgoing = Buf::default();
        }
    }

    /// Bytes that were received before the session began.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }

    /// Reads from the socket, one system call. Answers how many bytes came and whether there was room for more.
    pub(crate) fn fill(&mut self, stream: &Stream) -> io::Result<(usize, bool)> {
        let len = self.incoming.len();
        if len > INCOMING_MAX {
            return Err(io::Error::other(TlsError::Protocol("a message is too long".to_owned())));
        }
        self.incoming.resize(len + RECORD_LEN_MAX, 0);
        let read = stream.read(&mut self.incoming[len..]);
        self.incoming.truncate(len + *read.as_ref().unwrap_or(&0));
        self.discard(0);
        read.map(|count| (count, count < RECORD_LEN_MAX))
    }

    /// Looks at what was received. Plain bytes go to `out`.
    pub(crate) fn step(&mut self, out: &mut [u8]) -> Result<Step, TlsError> {
        if !self.plain.is_empty() && !out.is_empty() {
            let count = self.plain.len().min(out.len());
            out[..count].copy_from_slice(&self.plain.as_slice()[..count]);
            self.plain.consume(count);
            return Ok(Step::Data(count));
        }
        match self.state {
            State::Handshake | State::Open => {}
            State::PeerClosed => return Ok(Step::Closed),
            State::Broken => return Err(TlsError::Protocol("the session is broken".to_owned())),
        }
        let Self { inner, incoming, plain, outgoing, state } = self;
        let (discard, step) = match inner {
            Inner::Client(conn) => {
                look(conn.process_tls_records(incoming), &mut Look { out, plain, outgoing, state })
            }
            Inner::Server(conn) => {
                look(conn.process_tls_records(incoming), &mut Look { out, plain, outgoing, state })
            }
        };
        self.discard(discard);
        if step.is_err() {
            self.say_why();
        }
        step
    }

    /// Encrypts `bytes` for the socket. Before the handshake is over, and after the end, they are dropped: nobody could
    /// read them.
    pub(crate) fn encrypt(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        self.with_writer(|writer, outgoing| writer.encrypt_into(bytes, outgoing))
    }

    /// Tells the peer that we send no more.
    pub(crate) fn end(&mut self) -> Result<(), TlsError> {
        self.with_writer(|writer, outgoing| writer.end_into(outgoing))
    }

    fn with_writer(
        &mut self,
        write: impl Fn(&mut dyn Encrypt, &mut Buf) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        while matches!(self.state, State::Open | State::PeerClosed) {
            let Self { inner, incoming, plain, outgoing, state } = self;
            let mut look = Look { out: &mut [], plain, outgoing, state };
            let (discard, done) = match inner {
                Inner::Client(conn) => write_through(conn.process_tls_records(incoming), &mut look, &write),
                Inner::Server(conn) => write_through(conn.process_tls_records(incoming), &mut look, &write),
            };
            self.discard(discard);
            if done.is_err() {
                self.state = State::Broken;
            }
            if done? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// After an error: the alert that tells the peer, if there is one. It is what rustls hands out first; asking for more
    /// would have it look at the same bytes again.
    fn say_why(&mut self) {
        let Self { inner, incoming, plain, outgoing, state } = self;
        let mut look_at = Look { out: &mut [], plain, outgoing, state };
        // What else it may say changes nothing any more.
        let _ = match inner {
            Inner::Client(conn) => look(conn.process_tls_records(incoming), &mut look_at),
            Inner::Server(conn) => look(conn.process_tls_records(incoming), &mut look_at),
        };
        self.state = State::Broken;
    }

    /// Drops used bytes, and the memory when none is left.
    fn discard(&mut self, count: usize) {
        self.incoming.drain(..count);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
    }
}

/// Where the parts of a look go.
struct Look<'a> {
    out: &'a mut [u8],
    plain: &'a mut Buf,
    outgoing: &'a mut Buf,
    state: &'a mut State,
}

/// The two kinds of connection write alike and have no trait in common.
trait Encrypt {
    fn encrypt_into(&mut self, bytes: &[u8], outgoing: &mut Buf) -> Result<(), TlsError>;
    fn end_into(&mut self, outgoing: &mut Buf) -> Result<(), TlsError>;
}

macro_rules! encrypt {
    ($($data:ty)*) => { $(
        impl Encrypt for WriteTraffic<'_, $data> {
            fn encrypt_into(&mut self, bytes: &[u8], outgoing: &mut Buf) -> Result<(), TlsError> {
                into_buf(outgoing, bytes.len() + 64, |out| WriteTraffic::encrypt(self, bytes, out).map_err(room))
            }

            fn end_into(&mut self, outgoing: &mut Buf) -> Result<(), TlsError> {
                into_buf(outgoing, 64, |out| self.queue_close_notify(out).map_err(room))
            }
        }

        impl Encode for EncodeTlsData<'_, $data> {
            fn encode_into(&mut self, outgoing: &mut Buf) -> Result<(), TlsError> {
                into_buf(outgoing, 1024, |out| EncodeTlsData::encode(self, out).map_err(|error| match error {
                    EncodeError::InsufficientSize(size) => Room::Wants(size.required_size),
                    error @ EncodeError::AlreadyEncoded => Room::Failed(error.to_string()),
                }))
            }
        }
    )* };
}
encrypt!(ClientConnectionData ServerConnectionData);

/// As [`Encrypt`], for the handshake.
trait Encode {
    fn encode_into(&mut self, outgoing: &mut Buf) -> Result<(), TlsError>;
}

/// Why something was not written.
enum Room {
    Wants(usize),
    Failed(String),
}

fn room(error: EncryptError) -> Room {
    match error {
        EncryptError::InsufficientSize(size) => Room::Wants(size.required_size),
        error @ EncryptError::EncryptExhausted => Room::Failed(error.to_string()),
    }
}

/// Writes to the end of `outgoing`: a guess at the length first, then what is asked for.
fn into_buf(
    outgoing: &mut Buf,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Room>,
) -> Result<(), TlsError> {
    let mut len = guess;
    for _ in 0..2 {
        let mut bytes = vec![0; len];
        match write(&mut bytes) {
            Ok(count) => {
                outgoing.append(&bytes[..count]);
                return Ok(());
            }
            Err(Room::Wants(more)) => len = more,
            Err(Room::Failed(text)) => return Err(TlsError::Protocol(text)),
        }
    }
    Err(TlsError::Protocol("a record has no length".to_owned()))
}

fn look<Data>(status: UnbufferedStatus<'_, '_, Data>, look: &mut Look<'_>) -> (usize, Result<Step, TlsError>)
where
    for<'a> EncodeTlsData<'a, Data>: Encode,
{
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::WriteTraffic(_)) => {
            *look.state = State::Open;
            Ok(Step::Need)
        }
        Ok(other) => settle(other, look, &mut discard),
    };
    (discard, step)
}

/// As [`look`], and writes once that is possible: then the second is true.
fn write_through<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    look: &mut Look<'_>,
    write: impl Fn(&mut dyn Encrypt, &mut Buf) -> Result<(), TlsError>,
) -> (usize, Result<bool, TlsError>)
where
    for<'a> EncodeTlsData<'a, Data>: Encode,
    for<'a> WriteTraffic<'a, Data>: Encrypt,
{
    let UnbufferedStatus { mut discard, state } = status;
    let done = match state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::WriteTraffic(mut writer)) => write(&mut writer, look.outgoing).map(|()| true),
        // Both have said that they send no more.
        Ok(ConnectionState::Closed) => Ok(true),
        Ok(other) => settle(other, look, &mut discard).map(|step| step == Step::Need),
    };
    (discard, done)
}

fn settle<Data>(
    state: ConnectionState<'_, '_, Data>,
    look: &mut Look<'_>,
    discard: &mut usize,
) -> Result<Step, TlsError>
where
    for<'a> EncodeTlsData<'a, Data>: Encode,
{
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let Some(record) = traffic.next_record() else { return Ok(Step::Again) };
            let record = record?;
            *discard += record.discard;
            let fits = if look.plain.is_empty() { record.payload.len().min(look.out.len()) } else { 0 };
            let (now, later) = record.payload.split_at(fits);
            look.out[..fits].copy_from_slice(now);
            look.plain.append(later);
            Ok(if fits > 0 { Step::Data(fits) } else { Step::Again })
        }
        ConnectionState::EncodeTlsData(mut data) => data.encode_into(look.outgoing).map(|()| Step::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::PeerClosed => {
            *look.state = State::PeerClosed;
            Ok(Step::Again)
        }
        ConnectionState::Closed => Ok(Step::Closed),
        ConnectionState::BlockedHandshake => Ok(Step::Need),
        // Early data is never accepted, and the kinds to come are not known.
        _ => Err(TlsError::Protocol("the session is in a state that was not asked for".to_owned())),
    }
}

const _: () = assert!(size_of::<Option<Box<Session>>>() == 8, "a plain connection pays for one pointer");
