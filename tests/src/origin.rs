//! An HTTP service the test is in charge of: it sees each request as it arrives and says when it is answered.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// A service on a free port. Its threads end with their connections.
#[derive(Debug)]
pub struct Origin {
    port: u16,
    arrivals: Receiver<Request>,
    times: Arc<Mutex<Vec<Instant>>>,
}

/// Whether requests wait for the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Each is answered by the test.
    Held,
    /// Each is answered at once.
    Prompt,
}

/// A request that waits for its answer. Dropping it closes its connection.
#[derive(Debug)]
pub struct Request {
    /// Its target.
    pub target: String,
    /// Its field lines, names in small letters.
    pub fields: Vec<(String, String)>,
    answer: Sender<u16>,
}

impl Request {
    /// Answers it with this status.
    pub fn answer(self, status: u16) {
        // The connection may be gone, which is for the test to notice elsewhere.
        let _ = self.answer.send(status);
    }
}

impl Origin {
    /// Starts one.
    pub fn start(manner: Manner) -> Origin {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, arrivals) = channel();
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender, seen) = (stream.unwrap(), sender.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, manner, &sender, &seen));
            }
        });
        Origin { port, arrivals, times }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a setting has it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next request, which must come.
    pub fn next(&self) -> Request {
        self.arrivals.recv_timeout(PATIENCE).expect("a request at the origin")
    }

    /// A request that has come already.
    pub fn try_next(&self) -> Option<Request> {
        self.arrivals.try_recv().ok()
    }

    /// When requests arrived, in order.
    pub fn times(&self) -> Vec<Instant> {
        let mut times = self.times.lock().unwrap().clone();
        times.sort();
        times
    }
}

fn serve(stream: TcpStream, manner: Manner, arrivals: &Sender<Request>, times: &Mutex<Vec<Instant>>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        times.lock().unwrap().push(Instant::now());
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let status = match manner {
            Manner::Prompt => 200,
            Manner::Held => {
                let (answer, answered) = channel();
                if arrivals.send(Request { target, fields, answer }).is_err() {
                    return;
                }
                let Ok(status) = answered.recv() else { return };
                status
            }
        };
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nok\n");
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Most of these moments that lie in any window of this length.
pub fn most_in_any(times: &[Instant], window: Duration) -> usize {
    let in_window = |from: usize| times[from..].iter().take_while(|at| **at - times[from] < window).count();
    (0..times.len()).map(in_window).max().unwrap_or(0)
}
