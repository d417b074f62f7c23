//! Where connections come from: TCP and Unix listening sockets.
//!
//! Owned by a worker, which accepts until [`Accepted::WouldBlock`]. An accepted socket costs one system call:
//! TCP options are set on the listener and inherited.
//!
//! When descriptors run out, the listener closes the one it holds in reserve to accept one connection more, so
//! that the peer can be told no, and says [`Accepted::Exhausted`]: the owner then pauses accepting and tries
//! again by timer (no edge will come for connections that wait already).

use std::env;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{self, AddressFamily, Backlog, SockaddrLike, SockaddrStorage, sockopt};

use crate::fault;
use crate::raw;
use crate::stream::{Address, Stream, TcpOptions, non_blocking_socket, unix_address};

/// How a TCP listener is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpListen {
    /// Connections the kernel keeps while nobody accepts; 0: 128.
    pub backlog: u32,
    /// Whether other processes may listen on the same address too (SO_REUSEPORT).
    pub reuse_port: ReusePort,
    /// How long a connection without bytes is held back (TCP_DEFER_ACCEPT); 0: not at all.
    pub defer_accept_s: u32,
    /// Options of the sockets accepted.
    pub options: TcpOptions,
}

/// Whether an address may be listened on by several processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReusePort {
    /// By one only.
    #[default]
    No,
    /// By all that ask for it; the kernel spreads connections.
    Yes,
}

/// How a Unix listener is made.
#[derive(Clone, Copy, Debug)]
pub struct UnixListen {
    /// Connections the kernel keeps while nobody accepts; 0: 128.
    pub backlog: u32,
    /// Permissions of the socket file.
    pub mode: u32,
    /// Group of the socket file; `None` leaves the process's.
    pub group_id: Option<u32>,
}

/// Why a listener could not be made.
#[derive(Debug)]
pub enum ListenError {
    /// Another process answers on that Unix socket.
    InUse,
    /// There is a file of that name and it is not a socket.
    NotASocket,
    /// A descriptor the service manager passed cannot be listened on.
    Inherited(RawFd, io::Error),
    /// The kernel refused the call named.
    Call(&'static str, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("unix socket is in use, cannot continue"),
            Self::NotASocket => f.write_str("a file of that name exists and is not a socket"),
            Self::Inherited(number, error) => write!(f, "inherited descriptor {number}: {error}"),
            Self::Call(call, error) => write!(f, "{call}(): {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    /// Whether starting again may help ([`fault::may_pass`]).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::InUse => true,
            Self::NotASocket | Self::Inherited(..) => false,
            Self::Call(_, cause) => fault::may_pass(cause),
        }
    }
}

/// Outcome of [`Listener::accept`].
#[derive(Debug)]
pub enum Accepted {
    /// A connection, and where it comes from.
    Stream(Stream, Address),
    /// No more now; an event will tell.
    WouldBlock,
    /// Descriptors or memory ran out: pause and retry by timer. The connection there still was room for, if any,
    /// is to be told so and dropped before the next accept.
    Exhausted(Option<Stream>, io::Error),
    /// The listener is broken.
    Failed(io::Error),
}

/// A listening socket and a descriptor in reserve.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    reserve: Option<File>,
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

/// The file of a Unix socket, removed with the listener if it is still that one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Listens on a TCP address. An IPv6 one takes IPv6 only, so `0.0.0.0` and `::` go side by side.
    ///
    /// # Errors
    /// [`ListenError::Call`] with the call that failed.
    pub fn tcp(address: SocketAddr, how: &TcpListen) -> Result<Self, ListenError> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = non_blocking_socket(family).map_err(|error| ListenError::Call("socket", error))?;
        configure_tcp(&socket, address, how).map_err(|error| ListenError::Call("setsockopt", error))?;
        socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(failed("bind"))?;
        listen(&socket, how.backlog)?;
        let listener = mio::net::TcpListener::from_std(socket.into());
        Self::with(Socket::Tcp(listener), None)
    }

    /// Listens on the Unix socket `path`, abstract behind a leading `@`. A file left behind by a dead process is
    /// replaced. The permissions are in place before the first connection can be made.
    ///
    /// # Errors
    /// [`ListenError::InUse`] when somebody answers there.
    pub fn unix(path: &str, how: &UnixListen) -> Result<Self, ListenError> {
        let socket =
            non_blocking_socket(AddressFamily::Unix).map_err(|error| ListenError::Call("socket", error))?;
        let address = unix_address(path).map_err(|error| ListenError::Call("bind", error))?;
        if path.starts_with('@') {
            socket::bind(socket.as_raw_fd(), &address).map_err(|error| match error {
                Errno::EADDRINUSE => ListenError::InUse,
                error => ListenError::Call("bind", error.into()),
            })?;
            listen(&socket, how.backlog)?;
            return Self::with(Socket::Unix(mio::net::UnixListener::from_std(socket.into())), None);
        }
        remove_stale(path)?;
        socket::bind(socket.as_raw_fd(), &address).map_err(failed("bind"))?;
        let file = SocketFile::of(Path::new(path)).map_err(|error| ListenError::Call("stat", error))?;
        // From here on an error drops `file`, which removes what was bound.
        fs::set_permissions(path, Permissions::from_mode(how.mode))
            .map_err(|error| ListenError::Call("chmod", error))?;
        if how.group_id.is_some() {
            chown(path, None, how.group_id).map_err(|error| ListenError::Call("chown", error))?;
        }
        listen(&socket, how.backlog)?;
        Self::with(Socket::Unix(mio::net::UnixListener::from_std(socket.into())), Some(file))
    }

    /// The listening sockets a service manager opened for us (sd_listen_fds(3)), TCP or Unix; usually none. Call once,
    /// before the loop. The socket file of a Unix one is the manager's, so it stays.
    ///
    /// # Errors
    /// [`ListenError::Inherited`] when one of the descriptors passed is not a listening stream socket.
    pub fn inherited() -> Result<Vec<Self>, ListenError> {
        let pid = env::var("LISTEN_PID").ok();
        let count = env::var("LISTEN_FDS").ok();
        inherited_numbers(pid.as_deref(), count.as_deref()).map(Self::inherit).collect()
    }

    /// Takes over the listening socket that is descriptor `number`.
    fn inherit(number: RawFd) -> Result<Self, ListenError> {
        let wrong = |error: io::Error| ListenError::Inherited(number, error);
        let socket = raw::inherited(number).map_err(wrong)?;
        let failed = |error: Errno| wrong(error.into());
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
        if !socket::getsockopt(&socket, sockopt::AcceptConn).map_err(failed)? {
            return Err(wrong(io::Error::other("not a listening socket")));
        }
        let address: SockaddrStorage = socket::getsockname(number).map_err(failed)?;
        match address.family() {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                Self::with(Socket::Tcp(mio::net::TcpListener::from_std(socket.into())), None)
            }
            Some(AddressFamily::Unix) => {
                Self::with(Socket::Unix(mio::net::UnixListener::from_std(socket.into())), None)
            }
            _ => Err(wrong(io::Error::other("neither a TCP nor a Unix socket"))),
        }
    }

    /// Accepts one connection.
    pub fn accept(&mut self) -> Accepted {
        if self.reserve.is_none() {
            self.reserve = reserve().ok();
        }
        loop {
            match self.socket.accept() {
                Ok((stream, address)) => return Accepted::Stream(stream, address),
                Err(error) => match error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw) {
                    Errno::EAGAIN => return Accepted::WouldBlock,
                    Errno::EMFILE | Errno::ENFILE => {
                        drop(self.reserve.take());
                        return Accepted::Exhausted(
                            self.socket.accept().ok().map(|(stream, _)| stream),
                            error,
                        );
                    }
                    Errno::ENOBUFS | Errno::ENOMEM => return Accepted::Exhausted(None, error),
                    // accept(2): an error of the connection, not of the listener; it is gone, try the next.
                    Errno::EINTR
                    | Errno::ECONNABORTED
                    | Errno::EPERM
                    | Errno::EPROTO
                    | Errno::ENETDOWN
                    | Errno::ENOPROTOOPT
                    | Errno::EHOSTDOWN
                    | Errno::ENONET
                    | Errno::EHOSTUNREACH
                    | Errno::EOPNOTSUPP
                    | Errno::ENETUNREACH => {}
                    _ => return Accepted::Failed(error),
                },
            }
        }
    }

    /// Changes the options of sockets accepted from now on; a Unix listener has none. A number that is 0 leaves what
    /// was set here before.
    ///
    /// # Errors
    /// The first option the kernel refuses.
    pub fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => options.apply(listener),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Where it listens: for a TCP listener on port 0, the port it was given.
    ///
    /// # Errors
    /// As `getsockname`.
    pub fn local_address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Socket::Unix(_) => Ok(Address::Unix),
        }
    }

    /// The file of a Unix listener; an abstract one has none. It is removed with the listener.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    fn with(socket: Socket, file: Option<SocketFile>) -> Result<Self, ListenError> {
        let reserve = reserve().map_err(|error| ListenError::Call("open", error))?;
        Ok(Self { socket, reserve: Some(reserve), file })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Socket {
    /// One `accept4`; the new socket is non-blocking and closed on exec.
    fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                Ok((Stream::Tcp(stream.into()), Address::Tcp(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream.into()), Address::Unix))
            }
        }
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if ours {
            // Somebody else may have been faster: then it is gone, which is what is wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn configure_tcp(socket: &OwnedFd, address: SocketAddr, how: &TcpListen) -> io::Result<()> {
    socket::setsockopt(socket, sockopt::ReuseAddr, &true)?;
    if how.reuse_port == ReusePort::Yes {
        socket::setsockopt(socket, sockopt::ReusePort, &true)?;
    }
    if address.is_ipv6() {
        socket::setsockopt(socket, sockopt::Ipv6V6Only, &true)?;
    }
    if how.defer_accept_s > 0 {
        raw::set_defer_accept(socket, i32::try_from(how.defer_accept_s).unwrap_or(i32::MAX))?;
    }
    how.options.apply(socket)
}

fn listen(socket: &OwnedFd, backlog: u32) -> Result<(), ListenError> {
    let wanted = if backlog == 0 { 128 } else { i32::try_from(backlog).unwrap_or(i32::MAX) };
    // The kernel caps the backlog by itself; the wrapper refuses what is beyond the compiled-in maximum.
    let backlog = Backlog::new(wanted).unwrap_or(Backlog::MAXCONN);
    socket::listen(socket, backlog).map_err(failed("listen"))
}

/// Removes the socket file of a process that is gone.
fn remove_stale(path: &str) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket);
    }
    match Stream::connect_unix(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32) => {
            fs::remove_file(path).map_err(|error| ListenError::Call("unlink", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog, or no permission to connect: somebody is there, or we must not know.
        _ => Err(ListenError::InUse),
    }
}

/// sd_listen_fds(3): descriptors 3 and up, if the variables are meant for this process.
fn inherited_numbers(pid: Option<&str>, count: Option<&str>) -> Range<RawFd> {
    const FIRST: RawFd = 3;
    const COUNT_MAX: RawFd = 256;
    let ours = pid.is_some_and(|pid| pid.parse() == Ok(process::id()));
    let count =
        count.and_then(|count| count.parse().ok()).filter(|count| ours && (0..=COUNT_MAX).contains(count));
    FIRST..FIRST + count.unwrap_or(0)
}

fn reserve() -> io::Result<File> {
    File::open("/dev/null")
}

fn failed(call: &'static str) -> impl Fn(Errno) -> ListenError {
    move |error| ListenError::Call(call, error.into())
}

#[cfg(test)]
mod tests;
