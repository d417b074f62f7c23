//! A connection for programs that may block: command-line programs, never the loop of a daemon. Every call blocks, and
//! ends by a deadline.
//!
//! Invariants: no call returns later than the deadline, a lookup of a name included (its thread is left behind); after
//! the deadline every call that would have to wait fails with [`io::ErrorKind::TimedOut`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::resolve::lookup;
use crate::stream::{Stream, TcpOptions};
use crate::tls::{Session, Step};

/// How long to wait before asking again a listener whose backlog is full: a Unix socket has no event for that.
const BACKLOG_RETRY: Duration = Duration::from_millis(10);

/// A connected stream and the moment by which everything must be over.
#[derive(Debug)]
pub struct Blocking {
    stream: Stream,
    deadline: Instant,
    tls: Option<Box<Session>>,
}

impl Blocking {
    /// Connects to a host, by name or address, trying its addresses in turn; each gets its share of the time left.
    ///
    /// # Errors
    /// Why the last address could not be connected to, or why there is none.
    pub fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let addresses = addresses(host, deadline)?;
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut last = io::Error::other("name has no address");
        for address in addresses {
            let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
            match connect(SocketAddr::new(address, port), until) {
                Ok(stream) => return Ok(Self { stream, deadline, tls: None }),
                Err(error) => last = error,
            }
            left -= 1;
        }
        Err(last)
    }

    /// Connects to the Unix socket `path`; a leading `@` names an abstract one.
    ///
    /// # Errors
    /// As `connect`.
    pub fn connect_unix(path: &str, deadline: Instant) -> io::Result<Self> {
        loop {
            match Stream::connect_unix(path) {
                Ok(stream) => return Ok(Self { stream, deadline, tls: None }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let pause = BACKLOG_RETRY.min(time_left(deadline)?);
                    poll_until(&mut [], Instant::now() + pause)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the deadline.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Encrypts the connection from here on, and waits until the peer agrees.
    ///
    /// # Errors
    /// An error that [`TlsError::of`](crate::tls::TlsError::of) finds, and as the other calls.
    pub fn secure(&mut self, session: Session) -> io::Result<()> {
        let mut session = Box::new(session);
        loop {
            let step = session.step(&mut []);
            // The alert that tells the peer why goes out too.
            let sent = self.send(&mut session);
            let step = step.map_err(io::Error::other)?;
            sent?;
            match step {
                _ if session.is_open() => break,
                Step::Need => self.receive(&mut session)?,
                Step::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Step::Data(_) | Step::Again => {}
            }
        }
        self.tls = Some(session);
        Ok(())
    }

    /// Reads what is there, waiting until something is; zero is the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when nothing came in time, and as `recv`. Without its last words, which it sends
    /// encrypted, the end of an encrypted connection is [`io::ErrorKind::UnexpectedEof`].
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(mut session) = self.tls.take() else { return self.read_plain(into) };
        let read = self.read_session(&mut session, into);
        self.tls = Some(session);
        read
    }

    fn read_plain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into) {
                Err(error) if is_wait(&error) => wait(&self.stream, PollFlags::POLLIN, self.deadline)?,
                result => return result,
            }
        }
    }

    fn read_session(&mut self, session: &mut Session, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match session.step(into).map_err(io::Error::other)? {
                Step::Data(count) => return Ok(count),
                Step::Closed => return Ok(0),
                // The peer may have asked for new keys.
                Step::Again => self.send(session)?,
                Step::Need => self.receive(session)?,
            }
        }
    }

    /// Hands the session what the socket has, waiting until it has something.
    fn receive(&mut self, session: &mut Session) -> io::Result<()> {
        loop {
            match session.fill(&self.stream) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if is_wait(&error) => wait(&self.stream, PollFlags::POLLIN, self.deadline)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what the session has for the peer.
    fn send(&mut self, session: &mut Session) -> io::Result<()> {
        let bytes = session.outgoing().as_slice().to_vec();
        session.outgoing().clear();
        session.sent();
        self.write_plain(&bytes)
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when the peer did not take it in time, and as `send`.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut session) = self.tls.take() else { return self.write_plain(bytes) };
        let written = session.encrypt(bytes).map_err(io::Error::other).and_then(|()| self.send(&mut session));
        self.tls = Some(session);
        written
    }

    fn write_plain(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if is_wait(&error) => wait(&self.stream, PollFlags::POLLOUT, self.deadline)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The addresses of `host`, looked up on a thread of its own, since the system's resolver takes no deadline.
fn addresses(host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let (give, take) = mpsc::channel();
    let name = host.to_owned();
    thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        // Nobody waits any more once the deadline is over.
        let _ = give.send(lookup(&name));
    })?;
    take.recv_timeout(time_left(deadline)?).map_err(|_| timed_out())?
}

fn connect(address: SocketAddr, until: Instant) -> io::Result<Stream> {
    let stream = Stream::connect_tcp(address, &TcpOptions::default())?;
    wait(&stream, PollFlags::POLLOUT, until)?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Waits until the stream is ready for `flags`, or has failed, which the next call on it will tell.
fn wait(stream: &Stream, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    time_left(deadline)?;
    match poll_until(&mut [PollFd::new(stream.as_fd(), flags)], deadline)? {
        0 => Err(timed_out()),
        _ => Ok(()),
    }
}

fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<i32> {
    loop {
        // Rounded up, so as not to spin through the last millisecond.
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
        match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready),
        }
    }
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(timed_out)
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Acceptor, Connector, Identity, TlsError, Verify};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn past() -> Instant {
        Instant::now()
    }

    #[test]
    fn bytes_go_both_ways_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut near = Blocking::connect_tcp("127.0.0.1", port, soon()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let echo = thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).unwrap();
            all.len()
        });
        // More than the buffers of the kernel hold, so that writing has to wait.
        near.write_all(&vec![7; 16 << 20]).unwrap();
        drop(near);
        assert_eq!(echo.join().unwrap(), 16 << 20);

        let mut near = Blocking::connect_tcp("localhost", port, soon()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(b"hello").unwrap();
        drop(far);
        let mut into = [0; 16];
        assert_eq!(near.read(&mut into).unwrap(), 5);
        assert_eq!(near.read(&mut into).unwrap(), 0);
    }

    /// A server that shows the test's certificate and sends back what it gets, and its port.
    fn encrypted() -> (u16, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let (chain, key) = (file("a.pem"), file("a.key"));
            let acceptor =
                Acceptor::new(&[Identity { chain: &chain, key: &key }], None, b"postgresql").unwrap();
            let mut far = Blocking { stream: Stream::Tcp(stream), deadline: soon(), tls: None };
            let mut chunk = [0; 5000];
            if far.secure(acceptor.session().unwrap()).is_ok() {
                while let Ok(len @ 1..) = far.read(&mut chunk) {
                    far.write_all(&chunk[..len]).unwrap();
                }
            }
        };
        (port, thread::spawn(serve))
    }

    fn file(name: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
    }

    fn connector(verify: Verify) -> Connector {
        Connector::new(Some(&file("ca.pem")), verify, Some(b"postgresql")).unwrap()
    }

    #[test]
    fn an_encrypted_connection_carries_the_same_bytes() {
        let (port, server) = encrypted();
        let mut near = Blocking::connect_tcp("127.0.0.1", port, soon()).unwrap();
        near.secure(connector(Verify::Chain).session("127.0.0.1").unwrap()).unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let (mut echoed, mut chunk) = (Vec::new(), [0; 4096]);
        for part in bytes.chunks(20_000) {
            let sent = echoed.len() + part.len();
            near.write_all(part).unwrap();
            while echoed.len() < sent {
                let len = near.read(&mut chunk).unwrap();
                echoed.extend_from_slice(&chunk[..len]);
            }
        }
        assert!(echoed == bytes);
        near.set_deadline(past());
        assert_eq!(near.read(&mut chunk).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(near);
        server.join().unwrap();
    }

    #[test]
    fn a_certificate_for_another_name_is_refused() {
        let (port, server) = encrypted();
        let mut near = Blocking::connect_tcp("127.0.0.1", port, soon()).unwrap();
        let refused = near.secure(connector(Verify::Name).session("elsewhere.example").unwrap()).unwrap_err();
        assert!(matches!(TlsError::of(&refused), Some(TlsError::Certificate(_))), "{refused}");
        drop(near);
        server.join().unwrap();
    }

    #[test]
    fn a_peer_that_speaks_no_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (bytes, kind) in
            [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], None), (b"", Some(io::ErrorKind::UnexpectedEof))]
        {
            let mut near = Blocking::connect_tcp("127.0.0.1", port, soon()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            far.write_all(bytes).unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
            let error = near.secure(connector(Verify::Nothing).session("localhost").unwrap()).unwrap_err();
            assert_eq!(TlsError::of(&error).is_none().then(|| error.kind()), kind, "{error}");
        }
    }

    #[test]
    fn a_silent_peer_is_given_up_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut near = Blocking::connect_unix(path.to_str().unwrap(), soon()).unwrap();
        near.set_deadline(past());
        assert_eq!(near.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        near.set_deadline(Instant::now() + Duration::from_millis(1));
        assert_eq!(near.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let much = vec![0; 16 << 20];
        assert_eq!(near.write_all(&much).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_full_backlog_is_asked_again_until_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut held = Vec::new();
        let full = loop {
            let until = Instant::now() + Duration::from_millis(30);
            match Blocking::connect_unix(path.to_str().unwrap(), until) {
                Ok(connection) => held.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn nobody_there() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = Blocking::connect_tcp("127.0.0.1", port, soon()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(Blocking::connect_unix("/nowhere/at/all", soon()).is_err());
        let late = Blocking::connect_tcp("localhost", port, past()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
