//! A connection to a server: connect, log in, ask one question after another. Blocks, and every step has a deadline.
//!
//! Invariants: whatever the server sends costs no more than the limits of `wire::pg::query` and the deadlines here; its
//! words are shown with control characters escaped; a failure says whose fault it is by its kind.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use sluice_cli::exit::Exit;
use sluice_unix::blocking::Blocking;
use sluice_unix::random;
use sluice_unix::tls::TlsError;
use sluice_wire::pg::conninfo::Host;
use sluice_wire::pg::login::{Login, LoginError, ServerError};
use sluice_wire::pg::query::{Conversation, Failure, Limits, Outcome, Reply};
use sluice_wire::pg::sqlstate::SqlState;

use super::login::{Demand, Plan, Tls, socket_path};

/// How long connecting and logging in may take, unless connect_timeout says otherwise.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long the answer to one statement may take.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Characters of a server's words that are shown.
const WORDS_MAX: usize = 400;

/// A row: None is NULL.
pub type Row = Vec<Option<String>>;

/// Why a server could not be asked.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be reached, or the connection was lost, or it does not speak the protocol.
    Unreachable(String),
    /// It does not let us in: user, password or database are wrong.
    NotAdmitted(String),
    /// It refused a statement.
    Refused(ServerError),
}

impl Fault {
    /// The exit code of a program that can do nothing else about it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable(_) => Exit::Temporary,
            Self::NotAdmitted(_) => Exit::Usage,
            Self::Refused(error) if may_pass(error) => Exit::Temporary,
            Self::Refused(_) => Exit::Usage,
        }
    }
}

/// Whether the same statement may work later: classes 40 (rolled back), 53 (out of resources), 55 (in use), 57 (somebody
/// stopped it), 58 and XX (the server's own trouble).
fn may_pass(error: &ServerError) -> bool {
    error
        .sqlstate
        .is_some_and(|code| [*b"40", *b"53", *b"55", *b"57", *b"58", *b"XX"].contains(&code.class()))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::NotAdmitted(text) => f.write_str(&printable(text)),
            Self::Refused(error) => {
                f.write_str(&printable(&error.to_string()))?;
                error.sqlstate.map_or(Ok(()), |code| write!(f, " ({code})"))
            }
        }
    }
}

impl std::error::Error for Fault {}

/// What a server says, fit for a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(WORDS_MAX) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A server that waits for questions.
#[derive(Debug)]
pub struct Server {
    stream: Blocking,
    talk: Conversation,
    chunk: Vec<u8>,
}

impl Server {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] or [`Fault::NotAdmitted`].
    pub fn connect(plan: Plan) -> Result<Self, Fault> {
        let wait = plan.connect_timeout_s.map_or(CONNECT_WAIT, |s| Duration::from_secs(s.into()));
        let deadline = Instant::now() + wait;
        let name = match &plan.host {
            Host::Unix(directory) => socket_path(directory, plan.port),
            Host::Name(name) => format!("{name} port {}", plan.port),
            Host::Address(address) => format!("{address} port {}", plan.port),
        };
        let unreachable = |error: &dyn fmt::Display| Fault::Unreachable(format!("server at {name}: {error}"));
        let not_admitted =
            |error: &dyn fmt::Display| Fault::NotAdmitted(format!("server at {name}: {error}"));
        let stream = match open(&plan, deadline) {
            Ok(Some(stream)) => stream,
            Ok(None) => return Err(not_admitted(&"does not encrypt connections, and sslmode demands it")),
            Err(error) if matches!(TlsError::of(&error), Some(TlsError::Certificate(_))) => {
                return Err(not_admitted(&error));
            }
            Err(error) => return Err(unreachable(&error)),
        };
        let nonce = random::bytes().map_err(|error| unreachable(&error))?;
        let has_password = plan.credentials.secret.is_some();
        let talk = Conversation::new(Login::new(plan.params, plan.credentials, nonce), Limits::default());
        let mut server = Self { stream, talk, chunk: vec![0; 16 * 1024] };
        let mut out = Vec::new();
        server.talk.start(&mut out);
        match server.exchange(out) {
            Ok(Outcome::LoggedIn) => Ok(server),
            Ok(Outcome::Answered(_)) => Err(unreachable(&"answers before it is asked")),
            Err(Broken::Io(error)) => Err(unreachable(&error)),
            Err(Broken::Talk(Failure::Login(error))) if is_our_fault(&error) => {
                let hint = match wants_password(&error) {
                    true if !has_password => " (no password was given: PGPASSWORD, PGPASSFILE)",
                    true | false => "",
                };
                Err(not_admitted(&format_args!("{error}{hint}")))
            }
            Err(Broken::Talk(failure)) => Err(unreachable(&failure)),
        }
    }

    /// Asks one statement.
    ///
    /// # Errors
    /// [`Fault::Refused`] if the server will not; [`Fault::Unreachable`] if it is lost.
    pub fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        let mut out = Vec::new();
        self.stream.set_deadline(Instant::now() + ANSWER_WAIT);
        let outcome = match self.talk.query(sql.as_bytes(), &mut out) {
            Ok(()) => self.exchange(out),
            Err(failure) => Err(Broken::Talk(failure)),
        };
        match outcome {
            Ok(Outcome::Answered(Ok(reply))) => Ok(rows(&reply)),
            Ok(Outcome::Answered(Err(error))) => Err(Fault::Refused(error)),
            Ok(Outcome::LoggedIn) => Err(Fault::Unreachable("server logs in twice".to_owned())),
            Err(Broken::Io(error)) => Err(Fault::Unreachable(format!("server does not answer: {error}"))),
            Err(Broken::Talk(failure)) => Err(Fault::Unreachable(failure.to_string())),
        }
    }

    /// Asks a statement whose answer is one value; None for NULL or no row.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub fn value(&mut self, sql: &str) -> Result<Option<String>, Fault> {
        Ok(self.ask(sql)?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Sends what is there and reads until it amounts to something.
    fn exchange(&mut self, mut out: Vec<u8>) -> Result<Outcome, Broken> {
        loop {
            self.stream.write_all(&out).map_err(Broken::Io)?;
            out.clear();
            let len = match self.stream.read(&mut self.chunk) {
                Ok(0) => return Err(Broken::Talk(self.talk.closed())),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Broken::Talk(self.talk.closed()));
                }
                // Whoever is reset may have been told why before.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => match self.talk.closed() {
                    Failure::Closed(None) => return Err(Broken::Io(error)),
                    told => return Err(Broken::Talk(told)),
                },
                Err(error) => return Err(Broken::Io(error)),
                Ok(len) => len,
            };
            if let Some(outcome) = self.talk.handle(&self.chunk[..len], &mut out).map_err(Broken::Talk)? {
                return Ok(outcome);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut out = Vec::new();
        sluice_wire::pg::frontend::terminate(&mut out);
        // The server may have closed first, which is as good.
        let _ = self.stream.write_all(&out);
    }
}

enum Broken {
    Io(io::Error),
    Talk(Failure),
}

/// A connection as the plan wants it; None if it is to be encrypted and the server cannot.
fn open(plan: &Plan, deadline: Instant) -> io::Result<Option<Blocking>> {
    let mut stream = connect(plan, deadline)?;
    let Some(tls) = &plan.tls else { return Ok(Some(stream)) };
    match encrypt(&mut stream, tls) {
        Ok(Encrypted::Yes) => Ok(Some(stream)),
        Ok(Encrypted::No) => Ok((tls.demand == Demand::Prefer).then_some(stream)),
        // As libpq: what was only preferred is tried without.
        Err(error) if TlsError::of(&error).is_some() && tls.demand == Demand::Prefer => {
            connect(plan, deadline).map(Some)
        }
        Err(error) => Err(error),
    }
}

fn connect(plan: &Plan, deadline: Instant) -> io::Result<Blocking> {
    match &plan.host {
        Host::Unix(directory) => Blocking::connect_unix(&socket_path(directory, plan.port), deadline),
        Host::Name(name) => Blocking::connect_tcp(name, plan.port, deadline),
        Host::Address(address) => Blocking::connect_tcp(&address.to_string(), plan.port, deadline),
    }
}

/// Whether a connection is encrypted now.
enum Encrypted {
    Yes,
    No,
}

/// Asks the server to encrypt (SSLRequest) and does. Of its answer just one byte is read: what is behind it would be in
/// the clear and must not be taken for its words.
fn encrypt(stream: &mut Blocking, tls: &Tls) -> io::Result<Encrypted> {
    let mut request = Vec::new();
    sluice_wire::pg::frontend::ssl_request(&mut request);
    stream.write_all(&request)?;
    let mut answer = [0];
    match (stream.read(&mut answer)?, answer) {
        (1, [b'S']) => {
            let session = tls.connector.session(&tls.name).map_err(io::Error::other)?;
            stream.secure(session).map(|()| Encrypted::Yes)
        }
        (1, [b'N']) => Ok(Encrypted::No),
        (0, _) => Err(io::Error::other("server closed the connection")),
        _ => Err(io::Error::other("no PostgreSQL server: it answers neither S nor N")),
    }
}

/// Whether trying again cannot help: user, password or database are wrong (classes 28 and 3D).
fn is_our_fault(error: &LoginError) -> bool {
    match error {
        LoginError::Server(error) => {
            error.sqlstate.is_some_and(|code| [*b"28", *b"3D"].contains(&code.class()))
        }
        LoginError::WrongPasswordType(_) | LoginError::NoMechanism | LoginError::UnknownMethod(_) => true,
        LoginError::BadSignature
        | LoginError::Scram(_)
        | LoginError::Malformed { .. }
        | LoginError::TooLong { .. }
        | LoginError::Protocol { .. } => false,
    }
}

fn wants_password(error: &LoginError) -> bool {
    match error {
        LoginError::Server(error) => error.sqlstate == Some(SqlState::INVALID_PASSWORD),
        error => matches!(error, LoginError::WrongPasswordType(_)),
    }
}

fn rows(reply: &Reply) -> Vec<Row> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    reply.rows().map(|row| row.map(|value| value.map(text)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::login;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    /// A server that sends these bytes to whoever connects and then waits for the end.
    fn says(bytes: &'static [u8], sslmode: &str) -> Result<Server, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // It may hang up on what it is told.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let dsn =
            format!("host=127.0.0.1 port={port} user=u password=secret connect_timeout=30 sslmode={sslmode}");
        let server = Server::connect(login::plan(Some(&dsn), &|_| None).unwrap());
        if server.is_err() {
            fake.join().unwrap();
        }
        server
    }

    fn fault(bytes: &'static [u8], sslmode: &str) -> (Exit, String) {
        let fault = says(bytes, sslmode).unwrap_err();
        let text = fault.to_string();
        assert!(!text.contains("secret"), "{text}");
        (fault.exit(), text.split_once(": ").map_or(String::new(), |(_, text)| text.to_owned()))
    }

    #[test]
    fn hostile_servers_cost_an_error() {
        for (bytes, exit, text) in [
            (&b""[..], Exit::Temporary, "server closed the connection"),
            (b"R\0\0\0", Exit::Temporary, "server closed the connection"),
            (b"HTTP/1.1 400 Bad Request\r\n", Exit::Temporary, "message 'H' is too long"),
            (b"R\xff\xff\xff\xff", Exit::Temporary, "invalid message length -1 (tag 0x52)"),
            (b"R\0\0\0\x08\0\0\0\x07", Exit::Usage, "server login failed: unknown authentication method 7"),
            (
                b"R\0\0\0\x08\0\0\0\0D\0\0\0\x06\0\0",
                Exit::Temporary,
                "server login failed: unexpected message 'D'",
            ),
            (
                b"E\0\0\0\x1bSFATAL\0C28P01\0Mno\x1b[2J\0\0",
                Exit::Usage,
                "server login failed: FATAL no\\u{1b}[2J",
            ),
            (b"E\0\0\0\x17SFATAL\0C57P03\0Mno\0\0", Exit::Temporary, "server login failed: FATAL no"),
        ] {
            assert_eq!(fault(bytes, "disable"), (exit, text.to_owned()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn servers_that_do_not_encrypt() {
        let refused = "does not encrypt connections, and sslmode demands it";
        let garbage = "TLS: received corrupt message of type InvalidContentType";
        let neither = "no PostgreSQL server: it answers neither S nor N";
        for (bytes, sslmode, exit, text) in [
            (&b"N"[..], "require", Exit::Usage, refused),
            (b"N", "prefer", Exit::Temporary, "server closed the connection"),
            (b"", "prefer", Exit::Temporary, "server closed the connection"),
            (b"H", "require", Exit::Temporary, neither),
            (b"S", "require", Exit::Temporary, "unexpected end of file"),
            (b"Sxxxxxxxxxxxxxxxx", "require", Exit::Temporary, garbage),
        ] {
            assert_eq!(fault(bytes, sslmode), (exit, text.to_owned()), "{} {sslmode}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nobody_listens() {
        let dsn = "host=/nowhere user=u";
        let fault = Server::connect(login::plan(Some(dsn), &|_| None).unwrap()).unwrap_err();
        assert_eq!(fault.exit(), Exit::Temporary);
        assert!(fault.to_string().starts_with("server at /nowhere/.s.PGSQL.5432: "), "{fault}");
    }
}
