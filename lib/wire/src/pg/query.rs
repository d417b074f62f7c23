//! A conversation with a server: the login, then simple queries, one after the other, whose replies are held whole.
//!
//! ```text
//! Login --ReadyForQuery--> Idle --query()--> Asked --ReadyForQuery--> Idle      any failure: Over
//! ```
//! For programs that ask a few questions and want the rows: command-line programs, probes. The relay of a pooler
//! streams instead. Sans-IO: the owner sends what is appended to `out`, hands in what the server sent in any pieces, and
//! keeps the deadlines.
//!
//! Invariants: a message longer than [`Limits::message_bytes`] is refused by its header, before it is held; a reply never
//! holds more than [`Limits::reply_bytes`]; an error of the server is an answer and leaves the conversation usable,
//! every [`Failure`] ends it. Replies are to one statement: of several results the last counts.

#[cfg(test)]
mod tests;

use std::fmt;

use super::backend::{
    COMMAND_COMPLETE, DATA_ROW, EMPTY_QUERY_RESPONSE, ERROR_RESPONSE, NOTICE_RESPONSE, NOTIFICATION_RESPONSE,
    PARAMETER_STATUS, READY_FOR_QUERY, ROW_DESCRIPTION, TransactionStatus, Values, command_tag,
    read_data_row, read_ready_for_query, read_row_description,
};
use super::frame::{self, FrameError, HEADER_LEN};
use super::login::{Login, LoginError, ServerError, Step, body_len_max};
use super::{Malformed, frontend};

/// What a server may make us hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the longest message behind the login, header included.
    pub message_bytes: usize,
    /// Bytes of the rows of one reply, with [`ROW_BYTES`] more for each row.
    pub reply_bytes: usize,
}

impl Default for Limits {
    /// 1 MiB a message, 16 MiB a reply.
    fn default() -> Self {
        Self { message_bytes: 1 << 20, reply_bytes: 16 << 20 }
    }
}

/// What a row costs beside its bytes.
pub const ROW_BYTES: usize = size_of::<usize>();

/// What the server's bytes amounted to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Logged in: queries may be asked.
    LoggedIn,
    /// The query has been answered: with rows, or with an error of the server.
    Answered(Result<Reply, ServerError>),
}

/// The answer to a query.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    columns: Vec<Vec<u8>>,
    /// The bodies of the DataRows, one behind the other.
    data: Vec<u8>,
    /// Where each of them ends in `data`.
    ends: Vec<usize>,
    tag: Vec<u8>,
}

impl Reply {
    /// The names of the columns.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.columns.iter().map(Vec::as_slice)
    }

    /// The rows, each as many values as there are columns.
    pub fn rows(&self) -> impl Iterator<Item = Values<'_>> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        // The bodies were read once before they were kept, so none is lost here.
        begins
            .zip(&self.ends)
            .filter_map(|(begin, &end)| read_data_row(&self.data[begin..end]).ok().map(|(_, values)| values))
    }

    /// The number of rows.
    pub fn row_count(&self) -> usize {
        self.ends.len()
    }

    /// The tag of the CommandComplete, `SELECT 1` for example; empty for an empty query.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    fn held_bytes(&self) -> usize {
        self.data.len() + self.ends.len() * ROW_BYTES
    }
}

/// Why a conversation is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The login failed.
    Login(LoginError),
    /// The server ended the connection; and the error it gave as the reason, if it gave one.
    Closed(Option<ServerError>),
    /// The server broke the framing.
    Frame(FrameError),
    /// The server sent a malformed message.
    Malformed {
        /// Its tag.
        tag: u8,
        /// What is wrong with it.
        reason: Malformed,
    },
    /// The server sent a message that has no place here.
    Protocol {
        /// Its tag.
        tag: u8,
    },
    /// The server sent a message longer than [`Limits::message_bytes`], or than a login allows.
    TooLong {
        /// Its tag.
        tag: u8,
    },
    /// The server sent more rows than [`Limits::reply_bytes`] allow.
    TooMany,
    /// The caller asked while no question was possible, or with a text that holds a zero byte.
    Misuse,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(error) => write!(f, "{error}"),
            Self::Closed(None) => f.write_str("server closed the connection"),
            Self::Closed(Some(error)) => write!(f, "server closed the connection: {error}"),
            Self::Frame(error) => write!(f, "{error}"),
            Self::Malformed { tag, reason } => write!(f, "message {:?}: {reason}", char::from(*tag)),
            Self::Protocol { tag } => write!(f, "unexpected message {:?}", char::from(*tag)),
            Self::TooLong { tag } => write!(f, "message {:?} is too long", char::from(*tag)),
            Self::TooMany => f.write_str("reply is too long"),
            Self::Misuse => f.write_str("question out of turn"),
        }
    }
}

impl std::error::Error for Failure {}

/// The conversation.
#[derive(Debug)]
pub struct Conversation {
    state: State,
    limits: Limits,
    /// The beginning of a message that is not all there.
    input: Vec<u8>,
    reply: Reply,
    error: Option<ServerError>,
}

#[derive(Debug)]
enum State {
    Login(Box<Login>),
    Idle,
    Asked,
    Over,
}

impl Conversation {
    /// A conversation that begins with this login.
    pub fn new(login: Login, limits: Limits) -> Self {
        let state = State::Login(Box::new(login));
        Self { state, limits, input: Vec::new(), reply: Reply::default(), error: None }
    }

    /// Appends the StartupMessage: the first thing to send.
    pub fn start(&self, out: &mut Vec<u8>) {
        if let State::Login(login) = &self.state {
            login.start(out);
        }
    }

    /// Appends a Query.
    ///
    /// # Errors
    /// [`Failure::Misuse`] unless the server waits for one and the text has no zero byte, which would cut it short.
    pub fn query(&mut self, sql: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if !matches!(self.state, State::Idle) || memchr::memchr(0, sql).is_some() {
            return Err(Failure::Misuse);
        }
        self.state = State::Asked;
        self.reply = Reply::default();
        self.error = None;
        frontend::query(out, sql);
        Ok(())
    }

    /// Takes what the server sent, in any pieces, and appends the answers of the login to `out`.
    ///
    /// # Errors
    /// [`Failure`] if the conversation is over: close the connection.
    pub fn handle(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<Outcome>, Failure> {
        let result = self.read(bytes, out);
        if result.is_err() {
            self.state = State::Over;
            self.input = Vec::new();
        }
        result
    }

    /// The server has ended the connection: why, as far as it said.
    pub fn closed(&mut self) -> Failure {
        self.state = State::Over;
        Failure::Closed(self.error.take())
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<Outcome>, Failure> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let (mut at, mut outcome) = (0, None);
        while let Some(header) = frame::header(&input[at..]).map_err(Failure::Frame)? {
            if header.total() > self.total_max(header.tag) {
                return Err(Failure::TooLong { tag: header.tag });
            }
            let Some(message) = input.get(at..at + header.total()) else { break };
            at += header.total();
            // At most one: neither a login nor a query ends twice.
            outcome = self.message(header.tag, &message[HEADER_LEN..], out)?.or(outcome);
        }
        input.drain(..at);
        self.input = input;
        Ok(outcome)
    }

    /// Bytes that a message with this tag may have now.
    fn total_max(&self, tag: u8) -> usize {
        match self.state {
            State::Login(_) => HEADER_LEN + body_len_max(tag),
            State::Idle | State::Asked | State::Over => self.limits.message_bytes,
        }
    }

    fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<Option<Outcome>, Failure> {
        let malformed = |reason| Failure::Malformed { tag, reason };
        match (tag, &mut self.state) {
            (_, State::Login(login)) => match login.handle(tag, body, out).map_err(Failure::Login)? {
                Step::Derive(recipe) => login.derived(recipe.derive(), out).map_err(Failure::Login)?,
                Step::Ready => {
                    self.state = State::Idle;
                    return Ok(Some(Outcome::LoggedIn));
                }
                Step::Continue | Step::Parameter(..) | Step::Key(..) | Step::Notice(_) => {}
            },
            (_, State::Over) => return Err(Failure::Protocol { tag }),
            (NOTICE_RESPONSE | PARAMETER_STATUS | NOTIFICATION_RESPONSE, _) => {}
            // One that nobody asked for is the reason of an end that follows.
            (ERROR_RESPONSE, _) => self.error = Some(ServerError::read(body)),
            (ROW_DESCRIPTION, State::Asked) => {
                let columns = read_row_description(body).map_err(malformed)?;
                let columns = columns.into_iter().map(|column| column.name.to_vec()).collect();
                self.reply = Reply { columns, ..Reply::default() };
            }
            (DATA_ROW, State::Asked) => self.row(body)?,
            (COMMAND_COMPLETE, State::Asked) => {
                self.reply.tag = command_tag(body).map_err(malformed)?.to_vec();
            }
            (EMPTY_QUERY_RESPONSE, State::Asked) => {}
            (READY_FOR_QUERY, State::Asked) => {
                let _: TransactionStatus = read_ready_for_query(body).map_err(malformed)?;
                self.state = State::Idle;
                let reply = std::mem::take(&mut self.reply);
                return Ok(Some(Outcome::Answered(self.error.take().map_or(Ok(reply), Err))));
            }
            _ => return Err(Failure::Protocol { tag }),
        }
        Ok(None)
    }

    fn row(&mut self, body: &[u8]) -> Result<(), Failure> {
        let malformed = |reason| Failure::Malformed { tag: DATA_ROW, reason };
        let (count, _) = read_data_row(body).map_err(malformed)?;
        if usize::from(count) != self.reply.columns.len() {
            return Err(malformed(Malformed::Value));
        }
        if self.reply.held_bytes() + body.len() + ROW_BYTES > self.limits.reply_bytes {
            return Err(Failure::TooMany);
        }
        self.reply.data.extend_from_slice(body);
        self.reply.ends.push(self.reply.data.len());
        Ok(())
    }
}
