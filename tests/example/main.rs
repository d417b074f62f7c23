//! `example-api LISTEN POOLER`: a small HTTP service before a pooler, for `make run` and the tests. It is as plain as
//! services of this kind often are: a thread for each connection, a database connection for each of them, no limits of
//! its own. That is the point: what stands before it has to keep it well.
//!
//! ```text
//! GET /health           200, without the database
//! GET /api/time         the database's time
//! GET /api/stages/N     one of several small answers a page asks for in turn
//! GET /api/slow?ms=N    an answer that takes the database N milliseconds (at most 10000)
//! ```
//! User, password and database come from PGUSER, PGPASSWORD and PGDATABASE. A database that refuses is a 503.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;

use sluice_tests::client::{Client, Failure, Login, Target};

/// Bytes of a request line or field line; a client that sends longer ones is not for this service.
const LINE_BYTES_MAX: usize = 8192;

/// The longest answer, in milliseconds.
const SLOW_MS_MAX: u64 = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let addresses: Option<Vec<SocketAddr>> = arguments.iter().map(|text| text.parse().ok()).collect();
    let Some([listen, pooler]) = addresses.as_deref() else {
        eprintln!("usage: example-api LISTEN POOLER, as in example-api 127.0.0.1:3000 127.0.0.1:6432");
        return ExitCode::from(2);
    };
    match serve(*listen, *pooler) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("example-api: cannot listen on {listen}: {error}");
            ExitCode::from(75)
        }
    }
}

fn serve(listen: SocketAddr, pooler: SocketAddr) -> io::Result<()> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let login =
        Login::new(Target::Tcp(pooler), &variable("PGUSER", "sluice"), &variable("PGDATABASE", "sluice"))
            .password(&variable("PGPASSWORD", ""));
    for stream in TcpListener::bind(listen)?.incoming() {
        // Without descriptors or threads one client is lost, and the next may find some.
        let Ok(stream) = stream else { continue };
        let mut session = Session { login: login.clone(), database: None };
        let spawned = std::thread::Builder::new().spawn(move || session.converse(stream));
        if let Err(error) = spawned {
            eprintln!("example-api: no thread for a connection: {error}");
        }
    }
    Ok(())
}

/// One client's connection, and its connection to the database once it has needed one.
struct Session {
    login: Login,
    database: Option<Client>,
}

impl Session {
    fn converse(&mut self, stream: TcpStream) {
        // An error is the client's leaving.
        let _ = self.answer_all(stream);
    }

    fn answer_all(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(target) = read_head(&mut reader)? {
            let (status, content) = self.answer(&target);
            let head = format!(
                "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}",
                if status == 200 { "OK" } else { "No" },
                content.len()
            );
            reader.get_mut().write_all(head.as_bytes())?;
        }
        Ok(())
    }

    fn answer(&mut self, target: &str) -> (u16, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sql = match path {
            "/health" => return (200, "{\"status\":\"ok\"}\n".to_owned()),
            "/api/time" => "SELECT clock_timestamp()".to_owned(),
            "/api/slow" => {
                let wait_ms = query.strip_prefix("ms=").and_then(|text| text.parse().ok()).unwrap_or(200);
                format!("SELECT pg_sleep({})", wait_ms.min(SLOW_MS_MAX) as f64 / 1000.0)
            }
            _ => match path.strip_prefix("/api/stages/").map(str::parse::<u32>) {
                Some(Ok(stage)) => format!("SELECT 'stage {stage}'"),
                _ => return (404, "{\"error\":\"no such thing\"}\n".to_owned()),
            },
        };
        match self.query(&sql) {
            Ok(value) => (200, format!("{}\n", serde_json::json!({ "value": value }))),
            Err(failure) => {
                self.database = None;
                (503, format!("{}\n", serde_json::json!({ "error": failure.text() })))
            }
        }
    }

    fn query(&mut self, sql: &str) -> Result<String, Failure> {
        if self.database.is_none() {
            self.database = Some(self.login.connect()?);
        }
        let Some(database) = &mut self.database else { return Err(Failure::Closed) };
        let reply = database.query(sql)?;
        match reply.errors().into_iter().next() {
            Some(error) => Err(Failure::Server(error)),
            None => Ok(reply.rows().into_iter().flatten().next().unwrap_or_default()),
        }
    }
}

/// The target of the next request; `None` at the end of the connection.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let line = read_line(reader)?;
    let Some(target) = line.split(' ').nth(1).map(str::to_owned) else { return Ok(None) };
    while !read_line(reader)?.trim_end().is_empty() {}
    Ok(Some(target))
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let there = reader.fill_buf()?;
        let end = there.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(there.len(), |at| at + 1);
        line.extend_from_slice(&there[..take]);
        let is_end = end.is_some() || take == 0;
        reader.consume(take);
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("a line that is too long"));
        }
        if is_end {
            return String::from_utf8(line).map_err(io::Error::other);
        }
    }
}
