//! A relay before a server that counts ALTER SYSTEM statements and, at one of them, hangs up or spoils it.

use sluice_tests::Postgres;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// What happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mischief {
    /// Both connections are closed before the server sees it.
    HangUp,
    /// It is made one that the server does not understand.
    Spoil,
}

const WORDS: &[u8] = b"ALTER SYSTEM ";
const SPOILT: &[u8] = b"ALTER SYSTEX ";

/// Serves one connection; the `at`-th ALTER SYSTEM, counted from 1, meets its fate. Returns the port to connect to.
pub(crate) fn before(postgres: &Postgres, at: usize, mischief: Mischief) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = postgres.port();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            // Ends when either side has gone.
            let _ = std::io::copy(&mut answers, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        relay(client, server, at, mischief);
    });
    port
}

/// Serves one connection and closes both ends behind so many bytes of the server's. Returns the port to connect to.
pub(crate) fn cut(postgres: &Postgres, after: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = postgres.port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (answers, mut questions) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            // Ends when either side has gone.
            let _ = std::io::copy(&mut questions, &mut server);
        });
        let _ = std::io::copy(&mut (&answers).take(after), &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = answers.shutdown(Shutdown::Both);
    });
    port
}

fn relay(mut client: TcpStream, mut server: TcpStream, at: usize, mischief: Mischief) {
    let (mut seen, mut chunk) = (0, [0; 16 * 1024]);
    // pgtune sends a statement in one piece and waits for its answer.
    while let Ok(len @ 1..) = client.read(&mut chunk) {
        if let Some(begin) = chunk[..len].windows(WORDS.len()).position(|words| words == WORDS) {
            seen += 1;
            if seen == at && mischief == Mischief::HangUp {
                break;
            }
            if seen == at {
                chunk[begin..begin + WORDS.len()].copy_from_slice(SPOILT);
            }
        }
        if server.write_all(&chunk[..len]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
