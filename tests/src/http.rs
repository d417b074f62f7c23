//! A small blocking HTTP/1.1 client that shares no code with the gateways. Each read has a deadline.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use crate::PATIENCE;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Field lines, names in small letters.
    pub fields: Vec<(String, String)>,
    /// Content.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A connection, kept over requests.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port of the loopback.
    pub fn open(port: u16) -> Connection {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { reader: BufReader::new(stream) }
    }

    /// Sends the head of a GET; `fields` are whole lines without their ends.
    pub fn send(&mut self, target: &str, fields: &[&str]) {
        let mut text = format!("GET {target} HTTP/1.1\r\nHost: test\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends bytes as they are. The peer may have ended the connection already, which the next read tells.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// Reads a response; `None` if the connection ends before one begins.
    pub fn receive(&mut self) -> Option<Response> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, fields, body: Vec::new() };
        if let Some(length) = response.field("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut response.body).unwrap();
        }
        Some(response)
    }

    /// A request and its response.
    pub fn get(&mut self, target: &str, fields: &[&str]) -> Response {
        self.send(target, fields);
        self.receive().expect("a response")
    }

    /// Shuts the sending direction.
    pub fn half_close(&self) {
        self.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

/// One request on a connection of its own.
pub fn get(port: u16, target: &str) -> Response {
    Connection::open(port).get(target, &["Connection: close"])
}
