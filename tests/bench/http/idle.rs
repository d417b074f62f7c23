//! Connections that asked once and now do nothing: what each costs in memory, and whether the server can sleep.

use super::servers::Server;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What idle connections cost.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// Anonymous resident memory the connections added, a connection.
    pub(crate) bytes_per_connection: f64,
}

/// Connects, lets each connection ask once, and looks at the memory when all are idle.
pub(crate) fn measure(server: &Server, connections: usize) -> Idle {
    let before = server.resident_bytes();
    let open: Vec<TcpStream> = (0..connections).map(|_| asked_once(server.port)).collect();
    std::thread::sleep(Duration::from_secs(1));
    let grown = server.resident_bytes().saturating_sub(before);
    let bytes_per_connection = grown as f64 / open.len() as f64;
    Idle { connections: open.len(), bytes_per_connection }
}

/// A connection that has got one answer.
fn asked_once(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") || !answer.ends_with(b"xxx") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    stream
}
