//! Whether throttle-proxy stays as small as it is whatever passes: clients that wait in line, send slowly or do not read, and
//! content of a gigabyte. What is told is the most memory it had meanwhile beyond what it had before.

use super::servers::{Server, Site};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// Clients of a kind.
const CLIENTS: usize = 200;

/// Content that is larger than anything a gateway may hold.
const GIGABYTE: usize = 1 << 30;

/// How long slow clients are slow, and in how many steps.
const SLOW: Duration = Duration::from_secs(3);
const STEPS: u32 = 60;

/// Settings under which all but one client wait in line.
const ONE_AT_A_TIME: [&str; 8] = [
    "--max-in-flight",
    "1",
    "--queue-max-wait-ms",
    "60000",
    "--patience-ms",
    "120000",
    "--queue-per-key",
    "1000",
];

/// A kind of load.
struct Kind {
    name: &'static str,
    settings: &'static [&'static str],
    load: fn(u16),
}

const KINDS: [Kind; 4] = [
    Kind { name: "200 queued uploads", settings: &ONE_AT_A_TIME, load: queued },
    Kind { name: "200 slow senders", settings: &[], load: senders },
    Kind { name: "200 slow readers", settings: &[], load: readers },
    Kind { name: "1 GiB each way", settings: &[], load: |port| exchange(port, GIGABYTE) },
];

/// The growth by each kind of load, in bytes, of a fresh process each.
pub(crate) fn measure(program: &str, site: &Site) -> Vec<(&'static str, i64)> {
    let origin = origin();
    let grown = |kind: &Kind| {
        eprintln!("memory with {}", kind.name);
        let server = Server::throttle(program, site, origin, kind.settings);
        // What its first request needs is no growth.
        exchange(server.port, 1);
        let before = server.forget_peak();
        (kind.load)(server.port);
        (kind.name, server.peak_bytes().cast_signed() - before.cast_signed())
    };
    KINDS.iter().map(grown).collect()
}

/// A service that takes all content and answers with as many bytes as the target says.
fn origin() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            // Clients leave in the middle of things: then there is nobody to serve.
            std::thread::spawn(move || while serve(&stream).is_some() {});
        }
    });
    port
}

fn serve(mut stream: &TcpStream) -> Option<()> {
    let head = head(stream)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: u64 = length.map_or(0, |length| length.parse().unwrap());
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    let wanted: u64 = head.split(['/', ' ']).nth(2)?.parse().unwrap();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {wanted}\r\n\r\n").ok()?;
    std::io::copy(&mut std::io::repeat(b'x').take(wanted), &mut stream).ok().map(|_| ())
}

fn head(mut stream: &TcpStream) -> Option<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    String::from_utf8(text).ok()
}

/// Asks for `wanted` bytes and announces `length`.
fn ask(port: u16, wanted: usize, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "PUT /{wanted} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream
}

/// Content of so many bytes there and back.
fn exchange(port: u16, length: usize) {
    let mut stream = ask(port, length, length);
    std::io::copy(&mut std::io::repeat(b'x').take(length as u64), &mut stream).unwrap();
    assert!(head(&stream).unwrap().starts_with("HTTP/1.1 200 "));
    let got = std::io::copy(&mut stream.take(length as u64), &mut std::io::sink()).unwrap();
    assert_eq!(got, length as u64);
}

fn queued(port: u16) {
    // The one at a time: its content does not come.
    let _first = ask(port, 1, 1);
    let chunk = [b'x'; 64 * 1024];
    let _waiting: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = ask(port, 1, GIGABYTE);
            stream.set_nonblocking(true).unwrap();
            // As much as the kernel takes on both sides.
            while stream.write(&chunk).is_ok() {}
            stream
        })
        .collect();
    std::thread::sleep(SLOW);
}

fn senders(port: u16) {
    let mut streams: Vec<TcpStream> = (0..CLIENTS).map(|_| ask(port, 1, STEPS as usize)).collect();
    for _ in 0..STEPS {
        streams.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
        std::thread::sleep(SLOW / STEPS);
    }
    for stream in &streams {
        assert!(head(stream).unwrap().starts_with("HTTP/1.1 200 "));
    }
}

fn readers(port: u16) {
    let _streams: Vec<TcpStream> = (0..CLIENTS).map(|_| ask(port, GIGABYTE, 0)).collect();
    std::thread::sleep(SLOW);
}
