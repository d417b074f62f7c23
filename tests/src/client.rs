//! A blocking PostgreSQL client for tests: it logs in, sends what it is told, and shows every message that comes back.
//! Each read has a deadline, so no test can hang.

mod login;
mod reply;

pub use login::{Login, Target};
pub use reply::{Message, Reply, ServerError};

use crate::{PATIENCE, message};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why an exchange did not end as it should.
#[derive(Debug)]
pub enum Failure {
    /// The server answered with an ErrorResponse that ended the exchange.
    Server(ServerError),
    /// The server closed the connection.
    Closed,
    /// Nothing came in time.
    Timeout,
    /// The connection broke otherwise.
    Io(io::Error),
    /// What came is not the protocol.
    Protocol(String),
}

impl Failure {
    /// SQLSTATE of the server's error; empty if there is none.
    pub fn code(&self) -> &str {
        match self {
            Failure::Server(error) => error.code(),
            _ => "",
        }
    }

    /// Message of the server's error, or what else happened.
    pub fn text(&self) -> String {
        match self {
            Failure::Server(error) => error.message().to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// A logged-in (or raw) connection. Dropping it closes the socket without Terminate: an abrupt disconnect.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    input: Vec<u8>,
    /// Latest value of every ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// Messages of the NoticeResponses so far.
    pub notices: Vec<String>,
    /// Channel and payload of the NotificationResponses so far.
    pub notifications: Vec<(String, String)>,
    /// Process id and secret of BackendKeyData.
    pub key: Option<([u8; 4], Vec<u8>)>,
    target: Target,
}

impl Client {
    /// A connection on which nothing was said yet.
    pub fn raw(target: &Target) -> Result<Client, Failure> {
        let socket = match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE).map_err(Failure::Io)?;
                stream.set_nodelay(true).map_err(Failure::Io)?;
                Socket::Tcp(stream)
            }
            Target::Unix(path) => Socket::Unix(UnixStream::connect(path).map_err(Failure::Io)?),
        };
        let client = Client {
            socket,
            input: Vec::new(),
            parameters: BTreeMap::new(),
            notices: Vec::new(),
            notifications: Vec::new(),
            key: None,
            target: target.clone(),
        };
        client.set_timeout(PATIENCE);
        Ok(client)
    }

    /// Longest wait of one read or write.
    pub fn set_timeout(&self, limit: Duration) {
        match &self.socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(limit)).unwrap();
                stream.set_write_timeout(Some(limit)).unwrap();
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(limit)).unwrap();
                stream.set_write_timeout(Some(limit)).unwrap();
            }
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(bytes).map_err(failure)
    }

    /// The next message, whatever it is. ParameterStatus, notices and notifications are noted on the way too.
    pub fn receive(&mut self) -> Result<Message, Failure> {
        let header = self.peek(5)?;
        let (tag, len) = (header[0], u32::from_be_bytes([header[1], header[2], header[3], header[4]]));
        if !(4..=1 << 30).contains(&len) {
            return Err(Failure::Protocol(format!("tag {tag} with length {len}")));
        }
        let total = len as usize + 1;
        let body = self.peek(total)?[5..].to_vec();
        self.input.drain(..total);
        let message = Message { tag, body };
        self.note(&message);
        Ok(message)
    }

    /// Exactly that many bytes, unframed: the one-byte answers of the first moments.
    pub fn receive_bytes(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        self.peek(len)?;
        Ok(self.input.drain(..len).collect())
    }

    /// Every message through the next ReadyForQuery.
    pub fn reply(&mut self) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        loop {
            let message = self.receive()?;
            match message.tag {
                b'S' | b'N' | b'A' => {}
                b'E' if message.error().severity() == "FATAL" => {
                    return Err(Failure::Server(message.error()));
                }
                b'Z' => {
                    reply.messages.push(message);
                    return Ok(reply);
                }
                _ => reply.messages.push(message),
            }
        }
    }

    /// Sends bytes and reads through the next ReadyForQuery.
    pub fn exchange(&mut self, bytes: &[u8]) -> Result<Reply, Failure> {
        self.send(bytes)?;
        self.reply()
    }

    /// A simple query.
    pub fn query(&mut self, sql: &str) -> Result<Reply, Failure> {
        self.exchange(&message::query(sql))
    }

    /// Rows of a simple query that must succeed; NULL is "NULL".
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let reply = self.query(sql).unwrap_or_else(|failure| panic!("{sql}: {failure:?}"));
        assert!(reply.errors().is_empty(), "{sql}: {:?}", reply.errors());
        reply.rows()
    }

    /// The one value of a simple query that must succeed.
    pub fn value(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }

    /// Asks, over a connection of its own, to cancel what this client runs; returns when the server has closed it.
    pub fn cancel(&self) -> Result<(), Failure> {
        let (pid, secret) = self.key.as_ref().expect("a client with a key");
        Canceller { target: self.target.clone(), pid: *pid, secret: secret.clone() }.cancel()
    }

    /// What it takes to cancel from another thread.
    pub fn canceller(&self) -> Canceller {
        let (pid, secret) = self.key.clone().expect("a client with a key");
        Canceller { target: self.target.clone(), pid, secret }
    }

    /// A second handle that only sends, for another thread.
    pub fn sender(&self) -> Sender {
        Sender { socket: self.socket.try_clone().unwrap() }
    }

    /// Says Terminate and closes.
    pub fn terminate(mut self) {
        // The server may have closed first, which is as good.
        let _ = self.send(&message::terminate());
    }

    /// Closes so that the peer sees a reset instead of an end.
    pub fn reset(self) {
        if let Socket::Tcp(stream) = &self.socket {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream.as_fd(), sockopt::Linger, &linger).unwrap();
        }
    }

    /// Shuts the sending direction only.
    pub fn half_close(&self) {
        // A connection that is gone already cannot be half closed, and need not be.
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    /// Waits until the peer closes, ignoring what it still says; the last error it told, if any.
    pub fn closed(&mut self) -> Result<Option<ServerError>, Failure> {
        let mut last = None;
        loop {
            match self.receive() {
                Ok(message) if message.tag == b'E' => last = Some(message.error()),
                Ok(_) => {}
                Err(Failure::Closed) => return Ok(last),
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(last),
                Err(other) => return Err(other),
            }
        }
    }

    fn note(&mut self, message: &Message) {
        match message.tag {
            b'S' => {
                let mut texts = message.body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                let (name, value) = (texts.next().unwrap(), texts.next().unwrap());
                self.parameters.insert(name.into_owned(), value.into_owned());
            }
            b'N' => self.notices.push(message.error().message().to_owned()),
            b'A' => {
                let mut texts = message.body[4..].split(|byte| *byte == 0).map(String::from_utf8_lossy);
                let (channel, payload) = (texts.next().unwrap(), texts.next().unwrap());
                self.notifications.push((channel.into_owned(), payload.into_owned()));
            }
            _ => {}
        }
    }

    fn peek(&mut self, len: usize) -> Result<&[u8], Failure> {
        let mut chunk = [0; 16 * 1024];
        while self.input.len() < len {
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(Failure::Closed),
                Ok(read) => self.input.extend(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(error)),
            }
        }
        Ok(&self.input[..len])
    }
}

/// The right to cancel one client's query.
#[derive(Debug, Clone)]
pub struct Canceller {
    target: Target,
    pid: [u8; 4],
    secret: Vec<u8>,
}

impl Canceller {
    /// Sends the CancelRequest and waits for the server to close, which it does without an answer.
    pub fn cancel(&self) -> Result<(), Failure> {
        let mut connection = Client::raw(&self.target)?;
        connection.send(&message::cancel(self.pid, &self.secret))?;
        connection.closed().map(drop)
    }
}

/// The sending half of a client, for another thread.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
}

impl Sender {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(bytes).map_err(failure)
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Socket::Unix(stream) => stream.try_clone().map(Socket::Unix),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(bytes),
            Socket::Unix(stream) => stream.read(bytes),
        }
    }
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Timeout,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Io(error),
    }
}
