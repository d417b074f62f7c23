//! A connected byte stream, TCP or Unix, that never blocks.
//!
//! Everything above moves bytes through [`Stream`] and does not know which it has. Reading and writing one slice
//! is one `recv`/`send` (`read`/`write` on a Unix socket), several slices are one `writev`.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, sockopt,
};

/// A non-blocking socket connected, or being connected, to a peer.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Who is at the other end of a Unix socket, as the kernel saw it connect (unix(7), SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id.
    pub pid: u32,
}

/// An end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Address and port.
    Tcp(SocketAddr),
    /// A Unix socket. Its name is the listener's business: the peer of an accepted one has none.
    Unix,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// When TCP asks a silent peer whether it is still there (tcp(7)); 0 leaves the system's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Unanswered probes before the connection is dropped.
    pub count: u32,
    /// Silence before the first probe.
    pub idle_s: u32,
    /// Time between probes.
    pub interval_s: u32,
}

/// Options of TCP sockets. TCP_NODELAY is not among them: it is always on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged; 0: the system's.
    pub user_timeout_ms: u32,
    /// SO_SNDBUF and SO_RCVBUF; 0: the system's, which adapt by themselves.
    pub buffer_bytes: u32,
}

impl TcpOptions {
    /// Sets the options on a socket. On a listener they are inherited by what it accepts, at no cost there.
    pub(crate) fn apply(&self, socket: &impl AsFd) -> io::Result<()> {
        socket::setsockopt(socket, sockopt::TcpNoDelay, &true)?;
        socket::setsockopt(socket, sockopt::KeepAlive, &self.keepalive.is_some())?;
        let keepalive = self.keepalive.unwrap_or_default();
        if keepalive.count > 0 {
            socket::setsockopt(socket, sockopt::TcpKeepCount, &keepalive.count)?;
        }
        if keepalive.idle_s > 0 {
            socket::setsockopt(socket, sockopt::TcpKeepIdle, &keepalive.idle_s)?;
        }
        if keepalive.interval_s > 0 {
            socket::setsockopt(socket, sockopt::TcpKeepInterval, &keepalive.interval_s)?;
        }
        if self.user_timeout_ms > 0 {
            socket::setsockopt(socket, sockopt::TcpUserTimeout, &self.user_timeout_ms)?;
        }
        if self.buffer_bytes > 0 {
            let bytes = self.buffer_bytes as usize;
            socket::setsockopt(socket, sockopt::SndBuf, &bytes)?;
            socket::setsockopt(socket, sockopt::RcvBuf, &bytes)?;
        }
        Ok(())
    }
}

impl Stream {
    /// Starts connecting to `address`. The outcome is there once the socket is writable: ask
    /// [`Stream::take_error`].
    ///
    /// # Errors
    /// What the kernel can tell at once: no descriptor, no route, an option it refuses.
    pub fn connect_tcp(address: SocketAddr, options: &TcpOptions) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = non_blocking_socket(family)?;
        options.apply(&socket)?;
        connect(&socket, &SockaddrStorage::from(address))?;
        Ok(Self::Tcp(socket.into()))
    }

    /// Connects to the Unix socket `path`; a leading `@` names an abstract one (unix(7)). Unlike TCP it is
    /// connected when this returns.
    ///
    /// # Errors
    /// As `connect`; `WouldBlock` when the listener's backlog is full.
    pub fn connect_unix(path: &str) -> io::Result<Self> {
        let socket = non_blocking_socket(AddressFamily::Unix)?;
        connect(&socket, &unix_address(path)?)?;
        Ok(Self::Unix(socket.into()))
    }

    /// A connected pair of Unix streams: for tests and for talking to oneself.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok((Self::Unix(near), Self::Unix(far)))
    }

    /// Takes the pending error of the socket (SO_ERROR): why connecting failed.
    ///
    /// # Errors
    /// When the socket cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// Reads what is there, one system call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; `Ok(0)` is the end.
    #[inline]
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).read(into),
            Self::Unix(stream) => (&mut &*stream).read(into),
        }
    }

    /// Writes what fits, one system call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does.
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write(bytes),
            Self::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    /// Writes what fits of several slices, one system call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does.
    #[inline]
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write_vectored(slices),
            Self::Unix(stream) => (&mut &*stream).write_vectored(slices),
        }
    }

    /// Ends one or both directions; bytes already written still arrive.
    ///
    /// # Errors
    /// When it is not connected any more.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    /// The other end.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn peer_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::Tcp),
            Self::Unix(_) => Ok(Address::Unix),
        }
    }

    /// This end.
    ///
    /// # Errors
    /// As `getsockname`.
    pub fn local_address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Address::Tcp),
            Self::Unix(_) => Ok(Address::Unix),
        }
    }

    /// Who connected, on a Unix socket; `None` on TCP.
    ///
    /// # Errors
    /// As `getsockopt`.
    pub fn peer_credentials(&self) -> io::Result<Option<Credentials>> {
        let Self::Unix(stream) = self else { return Ok(None) };
        let peer = socket::getsockopt(stream, sockopt::PeerCredentials)?;
        Ok(Some(Credentials { uid: peer.uid(), gid: peer.gid(), pid: peer.pid().unsigned_abs() }))
    }

    /// Sets options on a TCP stream; a Unix stream has none of them and is left alone.
    ///
    /// # Errors
    /// The first option the kernel refuses.
    pub fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => options.apply(stream),
            Self::Unix(_) => Ok(()),
        }
    }

    /// From now on closing resets the connection (SO_LINGER with no time): the peer learns that something is missing.
    /// A Unix socket has no such end and is left alone.
    ///
    /// # Errors
    /// As `setsockopt`.
    pub fn set_abortive(&self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => {
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                Ok(socket::setsockopt(self, sockopt::Linger, &linger)?)
            }
            Self::Unix(_) => Ok(()),
        }
    }

    /// Asks for a send buffer of this size (the kernel doubles it and has a least size).
    ///
    /// # Errors
    /// As `setsockopt`.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(socket::setsockopt(self, sockopt::SndBuf, &bytes)?)
    }
}

impl AsFd for Stream {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A socket of our own that neither blocks nor leaks into child processes.
pub(crate) fn non_blocking_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket::socket(family, SockType::Stream, flags, None)?)
}

/// Address of a path, or of the abstract name behind a leading `@`.
pub(crate) fn unix_address(path: &str) -> io::Result<UnixAddr> {
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()),
        None => UnixAddr::new(path),
    };
    Ok(address?)
}

fn connect(socket: &OwnedFd, address: &dyn SockaddrLike) -> io::Result<()> {
    match socket::connect(socket.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
