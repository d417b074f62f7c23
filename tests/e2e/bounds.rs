//! The gateway at its limits where the kernel has a say: descriptors, connections, handshakes, tunnels, memory; and that
//! nothing is left afterwards. The same limits are held at N and N + 1 by tests of the machine, on a virtual clock.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of a test report by panicking, as tests do"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use sluice_tests::http::{Connection, Response};
use sluice_tests::origin::Manner;
use sluice_tests::proxy::{GROWTH_MAX, OPEN, connect, gateway};
use sluice_tests::tls::readable;
use sluice_tests::{Origin, PATIENCE, Proxy, port};

/// Connections at a time where many are wanted.
const MANY: usize = 10_000;

/// Tunnels at a time.
const TUNNELS: usize = 1000;

/// As many descriptors as the system lets this process, and those it starts, have.
fn raise_descriptors() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    usize::try_from(hard).unwrap()
}

/// How many descriptors a process has open.
fn descriptors(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Looks until it is as wanted.
fn until(what: &str, mut wanted: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A request on a fresh connection, which is kept.
fn ask(port: u16) -> (Connection, Response) {
    let mut connection = Connection::open(port);
    connection.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = connection.receive().expect("an answer, whatever it says");
    (connection, response)
}

/// Reads a head and nothing behind it.
fn head(stream: &mut TcpStream) -> String {
    head_or_end(stream).unwrap()
}

fn head_or_end(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    String::from_utf8(text).ok()
}

#[test]
fn without_descriptors_the_reserve_says_so_and_it_goes_on_by_itself() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = Proxy::start_within(40, "throttle-proxy", &format!("origin = {}\n{OPEN}", origin.url()));
    let port = proxy.port();
    let (mut first, response) = ask(port);
    assert_eq!(response.status, 200);
    let mut held = Vec::new();
    for _ in 0..2 {
        let refused = loop {
            let (connection, response) = ask(port);
            if response.status != 200 {
                break response;
            }
            held.push(connection);
            assert!(held.len() < 40, "the limit holds nobody back");
        };
        assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("overload")));
        assert!(refused.field("retry-after").is_some());
        assert_eq!(first.get("/", &[]).status, 200, "who is there is served");
        assert!(!held.is_empty());
        held.clear();
        until("served again", || ask(port).1.status == 200);
    }
    assert!(proxy.event(0, "conn.refused")["msg"].as_str().unwrap().starts_with("cannot accept on "));
}

#[test]
fn one_connection_too_many_is_told_and_its_request_does_not_destroy_the_answer() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = gateway(&origin.url(), "client_conns_max = 2\n");
    let port = proxy.port();
    let (mut first, second) = (ask(port), ask(port));
    assert_eq!([first.1.status, second.1.status], [200, 200]);
    let mut third = connect(port);
    // More than fits into a read, and some of it after the answer.
    let content = vec![b'x'; 30_000];
    write!(third, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n").unwrap();
    third.write_all(&content).unwrap();
    assert!(head(&mut third).starts_with("HTTP/1.1 503 "));
    third.write_all(&content).unwrap();
    let mut rest = String::new();
    third.read_to_string(&mut rest).expect("an end, and no reset");
    assert!(rest.contains("\"code\":\"overload\""), "{rest}");
    assert_eq!(first.0.get("/", &[]).status, 200);
    drop(second);
    until("room again", || ask(port).1.status == 200);
    assert_eq!(origin.times().len(), 4);
}

#[test]
fn handshakes_beyond_their_number_wait_outside_and_get_in_when_others_time_out() {
    let files = readable(&["a.pem", "a.key", "ca.pem"]);
    let at = |name: &str| files.path().join(name).display().to_string();
    let origin = Origin::start(Manner::Prompt);
    let (plain, secure) = (port::free(), port::free());
    let (cert, key, ca) = (at("a.pem"), at("a.key"), at("ca.pem"));
    let mut inner = gateway(
        &origin.url(),
        &format!(
            "listen = 127.0.0.1:{plain}, tls:127.0.0.1:{secure}\ntls_cert_file = {cert}\ntls_key_file = {key}\n\
             tls_handshakes_max = 2\ntls_handshake_ms = 1500\n"
        ),
    );
    let outer = gateway(
        &format!("https://127.0.0.1:{secure}"),
        &format!("origin_tls_ca = {ca}\norigin_connect_ms = 20000\n"),
    );
    let pid = inner.process().pid();
    let (mut client, response) = ask(plain);
    assert_eq!(response.status, 200);
    let before = descriptors(pid);
    let mut silent: Vec<TcpStream> = (0..4).map(|_| connect(secure)).collect();
    until("two are let in", || descriptors(pid) == before + 2);
    assert_eq!(client.get("/", &[]).status, 200, "plain connections are not held up");
    assert_eq!(descriptors(pid), before + 2, "and no more are");
    // Those that say nothing are closed, two and two; then it is this one's turn.
    assert_eq!(outer.get("/").status, 200);
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed without a word");
    }
}

#[test]
fn a_thousand_tunnels_carry_bytes_at_once_and_end_with_the_drain() {
    raise_descriptors();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (sender, opened) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(head(&mut stream).contains("Upgrade: echo\r\n"));
            write!(stream, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    let mut proxy = gateway(&url, "origin_conns_max = 1100\ndrain_ms = 100\n");
    let upgrade = || {
        let mut stream = connect(proxy.port());
        write!(stream, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
        let head = head(&mut stream);
        (stream, head)
    };
    let mut tunnels: Vec<(TcpStream, TcpStream)> = (0..TUNNELS)
        .map(|_| {
            let (client, head) = upgrade();
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            (client, opened.recv_timeout(PATIENCE).unwrap())
        })
        .collect();
    assert!(upgrade().1.starts_with("HTTP/1.1 503 "), "one more");
    for (number, (client, origin)) in tunnels.iter_mut().enumerate() {
        write!(client, "to {number:>5}").unwrap();
        write!(origin, "from {number:>5}").unwrap();
    }
    for (number, (client, origin)) in tunnels.iter_mut().enumerate() {
        let (mut to, mut from) = ([0; 8], [0; 10]);
        origin.read_exact(&mut to).unwrap();
        client.read_exact(&mut from).unwrap();
        assert_eq!(to, *format!("to {number:>5}").as_bytes());
        assert_eq!(from, *format!("from {number:>5}").as_bytes());
    }
    assert_eq!(proxy.metric("http_tunnels"), TUNNELS as f64);
    proxy.process().signal(Signal::SIGTERM);
    for (client, origin) in &mut tunnels {
        for end in [client, origin] {
            // By an end or a reset, and never by our own deadline.
            let error = end.read(&mut [0; 16]).err().map(|error| error.kind());
            assert!(error.is_none_or(|kind| kind == ErrorKind::ConnectionReset), "{error:?}");
        }
    }
    assert!(proxy.process().wait(PATIENCE).unwrap().success());
}

#[test]
fn ten_thousand_idle_connections_are_served_and_nothing_is_left_after_the_drain() {
    let many = MANY.min(raise_descriptors() - 1000);
    let origin = Origin::start(Manner::Prompt);
    let mut proxy = gateway(&origin.url(), "listen_backlog = 4096\n");
    let (port, pid) = (proxy.port(), proxy.process().pid());
    let before = descriptors(pid);
    let mut open: Vec<Connection> = (0..many)
        .map(|_| {
            let (connection, response) = ask(port);
            assert_eq!(response.status, 200);
            connection
        })
        .collect();
    assert!(descriptors(pid) >= before + many);
    assert_eq!(proxy.metric("http_connections{state=\"idle\"}") as usize, many);
    for number in [0, many / 2, many - 1] {
        assert_eq!(open[number].get("/", &[]).status, 200);
    }
    // Half of them leave: their descriptors do too.
    open.truncate(many / 2);
    until("half are closed", || descriptors(pid) <= before + many / 2 + 1);
    proxy.process().signal(Signal::SIGTERM);
    for connection in &mut open {
        assert!(connection.receive().is_none(), "an end");
    }
    assert!(proxy.process().wait(PATIENCE).unwrap().success());
}

#[test]
fn while_too_much_is_held_for_slow_readers_new_requests_are_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while head_or_end(&mut stream).is_some_and(|head| {
                    let length = if head.starts_with("GET /large ") { 1 << 30 } else { 2 };
                    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").is_ok()
                        && std::io::copy(&mut std::io::repeat(b'x').take(length), &mut stream).is_ok()
                }) {}
            });
        }
    });
    let proxy = gateway(&url, "buffer_total_bytes = 1\n");
    assert_eq!(ask(proxy.port()).1.status, 200);
    let mut slow = connect(proxy.port());
    write!(slow, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    until("something is held", || proxy.metric("http_buffer_bytes") > 1.0);
    let refused = ask(proxy.port()).1;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("overload")));
    drop(slow);
    until("served again", || ask(proxy.port()).1.status == 200);
    assert_eq!(proxy.metric("http_buffer_bytes"), 0.0);
}

#[test]
fn two_hundred_queued_uploads_cost_no_memory() {
    let origin = Origin::start(Manner::Held);
    let lines = "max_in_flight = 1\nqueue_max_wait_ms = 130s\npatience_ms = 150s\nqueue_per_key = 1000\nqueue_order = fifo\n";
    let mut proxy =
        Proxy::start("throttle-proxy", &format!("origin = {}\nmax_requests = 0\n{lines}", origin.url()));
    let mut first = Connection::open(proxy.port());
    first.send("/first", &[]);
    let held = origin.next();
    let before = proxy.process().resident_bytes();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port()));
    let chunk = vec![b'x'; 64 * 1024];
    let uploads: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n").unwrap();
            stream.set_nonblocking(true).unwrap();
            // As much as the kernel takes on both sides.
            while stream.write(&chunk).is_ok() {}
            stream
        })
        .collect();
    proxy.until_queued(200);
    let grown = proxy.process().peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
    // A reset: an end would stand behind content that nobody reads.
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    uploads.iter().for_each(|stream| setsockopt(stream, sockopt::Linger, &linger).unwrap());
    drop(uploads);
    proxy.until_queued(0);
    held.answer(200);
    assert_eq!(first.receive().unwrap().status, 200);
    assert!(origin.try_next().is_none());
}
