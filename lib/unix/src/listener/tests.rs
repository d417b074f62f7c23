//! Listeners on loopback and in temporary directories.

use super::*;
use crate::poller::Poller;
use crate::slab::Key;
use crate::stream::Keepalive;
use crate::token::Token;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

const UNIX: UnixListen = UnixListen { backlog: 0, mode: 0o600, group_id: None };

fn loopback(how: &TcpListen) -> (Listener, SocketAddr) {
    let listener = Listener::tcp((Ipv4Addr::LOCALHOST, 0).into(), how).unwrap();
    let Ok(Address::Tcp(address)) = listener.local_address() else { panic!("no address") };
    (listener, address)
}

/// Waits for the listener's edge first, as its owner does.
fn accept_one(listener: &mut Listener) -> (Stream, Address) {
    let mut poller = Poller::new().unwrap();
    poller.register_readable(listener, Token::new(0, Key::default())).unwrap();
    poller.wait(None).unwrap();
    match listener.accept() {
        Accepted::Stream(stream, address) => (stream, address),
        other => panic!("{other:?}"),
    }
}

#[test]
fn accepts_until_it_would_block() {
    let (mut listener, address) = loopback(&TcpListen::default());
    assert!(matches!(listener.accept(), Accepted::WouldBlock));
    let client = TcpStream::connect(address).unwrap();
    let (stream, from) = accept_one(&mut listener);
    assert_eq!(from, Address::Tcp(client.local_addr().unwrap()));
    assert_eq!(stream.peer_address().unwrap(), from);
    assert_eq!(stream.local_address().unwrap(), Address::Tcp(address));
    assert!(matches!(listener.accept(), Accepted::WouldBlock));
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn accepted_sockets_inherit_the_options() {
    let keepalive = Keepalive { count: 3, idle_s: 41, interval_s: 7 };
    let options = TcpOptions { keepalive: Some(keepalive), user_timeout_ms: 4321, buffer_bytes: 0 };
    let (mut listener, address) = loopback(&TcpListen { options, ..TcpListen::default() });
    let _first = TcpStream::connect(address).unwrap();
    let (stream, _) = accept_one(&mut listener);
    assert!(socket::getsockopt(&stream, sockopt::TcpNoDelay).unwrap());
    assert!(socket::getsockopt(&stream, sockopt::KeepAlive).unwrap());
    assert_eq!(socket::getsockopt(&stream, sockopt::TcpKeepCount).unwrap(), 3);
    assert_eq!(socket::getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 41);
    assert_eq!(socket::getsockopt(&stream, sockopt::TcpKeepInterval).unwrap(), 7);
    assert_eq!(socket::getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), 4321);

    listener.set_options(&TcpOptions::default()).unwrap();
    let _second = TcpStream::connect(address).unwrap();
    let (stream, _) = accept_one(&mut listener);
    assert!(!socket::getsockopt(&stream, sockopt::KeepAlive).unwrap());
    assert!(socket::getsockopt(&stream, sockopt::TcpNoDelay).unwrap());
}

#[test]
fn a_taken_address_is_refused_unless_shared() {
    let (_listener, address) = loopback(&TcpListen::default());
    let error = Listener::tcp(address, &TcpListen::default()).unwrap_err();
    assert!(matches!(&error, ListenError::Call("bind", _)), "{error}");
    let shared = TcpListen { reuse_port: ReusePort::Yes, ..TcpListen::default() };
    let (_first, address) = loopback(&shared);
    Listener::tcp(address, &shared).unwrap();
}

#[test]
fn both_families_share_a_port() {
    let (_four, address) = loopback(&TcpListen::default());
    match Listener::tcp((Ipv6Addr::LOCALHOST, address.port()).into(), &TcpListen::default()) {
        Ok(_) => {}
        // A machine without IPv6 says so, and never that the address is taken.
        Err(ListenError::Call(_, error)) => assert_ne!(error.kind(), io::ErrorKind::AddrInUse),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let name = path.to_str().unwrap();
    let mut listener = Listener::unix(name, &UNIX).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(listener.path(), Some(path.as_path()));
    let _client = UnixStream::connect(&path).unwrap();
    let (stream, address) = accept_one(&mut listener);
    assert_eq!(address, Address::Unix);
    let peer = stream.peer_credentials().unwrap().unwrap();
    assert_eq!((peer.uid, peer.pid), (nix::unistd::getuid().as_raw(), process::id()));
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let name = path.to_str().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::unix(name, &UNIX).unwrap();
    assert!(matches!(Listener::unix(name, &UNIX), Err(ListenError::InUse)));
    assert!(path.exists());
    drop(listener);
    Listener::unix(name, &UNIX).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "data").unwrap();
    let error = Listener::unix(path.to_str().unwrap(), &UNIX).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn a_successor_s_socket_survives_its_predecessor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let name = path.to_str().unwrap();
    let old = Listener::unix(name, &UNIX).unwrap();
    fs::remove_file(&path).unwrap();
    let _new = Listener::unix(name, &UNIX).unwrap();
    drop(old);
    assert!(path.exists());
}

#[test]
fn an_abstract_socket_leaves_no_file() {
    let name = format!("@sluice-unix-test-{}", process::id());
    let mut listener = Listener::unix(&name, &UNIX).unwrap();
    assert_eq!(listener.path(), None);
    assert!(matches!(Listener::unix(&name, &UNIX), Err(ListenError::InUse)));
    let client = Stream::connect_unix(&name).unwrap();
    let (stream, _) = accept_one(&mut listener);
    client.write(b"hello").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
    assert!(!Path::new(&name).exists());
}

#[test]
fn inherited_sockets_are_taken_over_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let tcp = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stream = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let address = tcp.local_addr().unwrap();
    let pass = |fd: OwnedFd| {
        fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        fd.into_raw_fd()
    };
    let mut listener = Listener::inherit(pass(tcp.into())).unwrap();
    assert_eq!(listener.local_address().unwrap(), Address::Tcp(address));
    assert!(matches!(listener.accept(), Accepted::Stream(..)));
    assert!(matches!(listener.accept(), Accepted::WouldBlock));
    let listener = Listener::inherit(pass(unix.into())).unwrap();
    assert_eq!(listener.local_address().unwrap(), Address::Unix);
    drop(listener);
    assert!(path.exists());
    assert!(matches!(Listener::inherit(pass(stream.into())), Err(ListenError::Inherited(..))));
}

#[test]
fn our_own_descriptors_are_not_inherited() {
    let (listener, _) = loopback(&TcpListen::default());
    let number = listener.as_fd().as_raw_fd();
    assert!(matches!(Listener::inherit(number), Err(ListenError::Inherited(..))));
    assert!(matches!(Listener::inherit(-1), Err(ListenError::Inherited(..))));
    assert!(listener.local_address().is_ok());
}

#[test]
fn sockets_are_passed_to_this_process_or_not() {
    let own = process::id().to_string();
    assert_eq!(inherited_numbers(Some(&own), Some("2")), 3..5);
    assert_eq!(inherited_numbers(Some(&own), Some("256")).len(), 256);
    for count in [None, Some("0"), Some("-1"), Some("257"), Some("x")] {
        assert!(inherited_numbers(Some(&own), count).is_empty());
    }
    assert!(inherited_numbers(Some("1"), Some("2")).is_empty());
    assert!(inherited_numbers(None, Some("2")).is_empty());
}

/// Set in the process that may run out of descriptors.
const ALONE: &str = "SLUICE_TEST_ALONE";

/// In a process of its own: a test must not take the descriptors of the others.
#[test]
fn exhaustion_leaves_one_connection_to_be_told() {
    if env::var_os(ALONE).is_some() {
        return exhausted();
    }
    let name = "listener::tests::exhaustion_leaves_one_connection_to_be_told";
    let status = process::Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(ALONE, "1")
        .stdout(process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn exhausted() {
    let (mut listener, address) = loopback(&TcpListen::default());
    let mut clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free as u64, hard).unwrap();
    for client in &mut clients[..2] {
        let Accepted::Exhausted(Some(stream), error) = listener.accept() else { panic!("not exhausted") };
        assert_eq!(error.raw_os_error(), Some(Errno::EMFILE as i32));
        stream.write(b"no").unwrap();
        drop(stream);
        let mut refusal = Vec::new();
        io::Read::read_to_end(client, &mut refusal).unwrap();
        assert_eq!(refusal, b"no");
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(matches!(listener.accept(), Accepted::Stream(..)));
    assert!(listener.reserve.is_some());
}

#[test]
fn a_name_too_long_is_an_error() {
    let name = format!("/tmp/{}", "x".repeat(200));
    assert!(matches!(Listener::unix(&name, &UNIX), Err(ListenError::Call("bind", _))));
}
