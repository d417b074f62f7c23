//! The service that is overloaded: 50 requests at a time, 200 ms each; more wait up to 30 s and get a 500 then. Work goes on
//! when its caller has left, as that of a query does.
//!
//! It runs as a process of its own and tells on its standard output what happens: its port, then a record for each event.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluice_tests::account::Account;
use sluice_unix::listener::{Accepted, Listener, TcpListen};
use sluice_unix::poller::Poller;
use sluice_unix::slab::{Key, Slab};
use sluice_unix::stream::{Address, Stream};
use sluice_unix::timers::Timers;
use sluice_unix::token::Token;

/// Requests worked on at a time.
pub(crate) const SLOTS: u32 = 50;

/// What each takes.
pub(crate) const SERVICE: Duration = Duration::from_millis(200);

/// How long others wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first word of the command line that makes this program the service.
pub(crate) const COMMAND: &str = "overload-api";

/// Connections not yet accepted.
const BACKLOG: u32 = 4096;

const LISTENER: u8 = 1;
const CALLER: u8 = 2;

/// Bytes of a record: what happened, and the number of the attempt.
const RECORD: usize = 5;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// It is there.
    Arrived,
    /// Its work is done.
    Completed,
    /// It has waited too long.
    GivenUp,
}

impl Happened {
    const ALL: [Happened; 3] = [Happened::Arrived, Happened::Completed, Happened::GivenUp];
}

/// When, what, and the attempt it is about.
pub(crate) type Event = (Instant, Happened, u32);

struct Caller {
    stream: Stream,
    input: Vec<u8>,
}

struct Job {
    caller: Key,
    attempt: u32,
    since: Instant,
    /// The end of its work, once that has begun.
    until: Instant,
}

struct Service {
    poller: Poller,
    callers: Slab<Caller>,
    busy: u32,
    working: Timers<()>,
    /// In the order of their ends, since all take the same time.
    jobs: VecDeque<Job>,
    waiting: VecDeque<Job>,
    records: Vec<u8>,
}

/// Serves until it is killed.
pub(crate) fn serve() {
    let how = TcpListen { backlog: BACKLOG, ..TcpListen::default() };
    let mut listener = Listener::tcp((Ipv4Addr::LOCALHOST, 0).into(), &how).unwrap();
    let Ok(Address::Tcp(address)) = listener.local_address() else { panic!("no address") };
    let mut service = Service {
        poller: Poller::new().unwrap(),
        callers: Slab::new(),
        busy: 0,
        working: Timers::new(),
        jobs: VecDeque::new(),
        waiting: VecDeque::new(),
        records: address.port().to_le_bytes().to_vec(),
    };
    service.poller.register_readable(&listener, Token::new(LISTENER, Key::default())).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        out.write_all(&service.records).unwrap();
        out.flush().unwrap();
        service.records.clear();
        let now = service.poller.wait(service.working.next()).unwrap();
        let mut at = 0;
        while let Some((token, _)) = service.poller.event(at) {
            at += 1;
            if token.class() == LISTENER {
                service.accept(&mut listener, now);
            } else {
                service.read(token.key(), now);
            }
        }
        while service.working.expired(now).is_some() {
            service.finish();
        }
    }
}

impl Service {
    fn tell(&mut self, happened: Happened, attempt: u32) {
        self.records.push(happened as u8);
        self.records.extend(attempt.to_le_bytes());
    }

    fn accept(&mut self, listener: &mut Listener, now: Instant) {
        loop {
            match listener.accept() {
                Accepted::Stream(stream, _) => {
                    let key = self.callers.insert(Caller { stream, input: Vec::new() });
                    let Some(caller) = self.callers.get(key) else { return };
                    self.poller.register(&caller.stream, Token::new(CALLER, key)).unwrap();
                    self.read(key, now);
                }
                Accepted::WouldBlock => return,
                other => panic!("{other:?}"),
            }
        }
    }

    fn read(&mut self, key: Key, now: Instant) {
        let mut chunk = [0; 4096];
        loop {
            let Some(caller) = self.callers.get_mut(key) else { return };
            match caller.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => caller.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.begin(key, now),
                Err(_) => break,
            }
        }
        // Whatever it asked for is worked on all the same.
        self.begin(key, now);
        self.callers.remove(key);
    }

    fn begin(&mut self, key: Key, now: Instant) {
        while let Some(caller) = self.callers.get_mut(key)
            && let Some(end) = caller.input.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let attempt = attempt_of(&caller.input[..end]);
            caller.input.drain(..end + 4);
            self.tell(Happened::Arrived, attempt);
            let job = Job { caller: key, attempt, since: now, until: now };
            if self.busy < SLOTS {
                self.busy += 1;
                self.work(job, now);
            } else {
                self.waiting.push_back(job);
            }
        }
    }

    fn work(&mut self, mut job: Job, from: Instant) {
        job.until = from + SERVICE;
        self.working.schedule(job.until, ());
        self.jobs.push_back(job);
    }

    /// The oldest work is done, and its slot goes to who waits. The next work counts from that moment, not from when it was
    /// noticed.
    fn finish(&mut self) {
        let Some(job) = self.jobs.pop_front() else { return };
        self.tell(Happened::Completed, job.attempt);
        self.answer(job.caller, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
        while let Some(next) = self.waiting.pop_front() {
            if next.since + PATIENCE <= job.until {
                self.tell(Happened::GivenUp, next.attempt);
                self.answer(next.caller, "HTTP/1.1 500 Late\r\nContent-Length: 5\r\n\r\nlate\n");
                continue;
            }
            let from = job.until.max(next.since);
            return self.work(next, from);
        }
        self.busy -= 1;
    }

    fn answer(&mut self, caller: Key, text: &str) {
        if let Some(Caller { stream, .. }) = self.callers.get(caller)
            && stream.write(text.as_bytes()).is_err()
        {
            self.callers.remove(caller);
        }
    }
}

/// `GET /NUMBER HTTP/1.1`
fn attempt_of(head: &[u8]) -> u32 {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap();
    std::str::from_utf8(&target[1..]).unwrap().parse().unwrap()
}

/// The service as a child of the benchmark.
pub(crate) struct Api {
    pub(crate) port: u16,
    child: Child,
    events: Option<JoinHandle<Vec<Event>>>,
    _directory: tempfile::TempDir,
}

impl Api {
    pub(crate) fn start(account: &Account) -> Api {
        let directory = account.directory();
        let own: PathBuf = std::env::current_exe().unwrap();
        let mut command = account.command(account.reachable(&own, directory.path()), "KILL");
        command.arg(COMMAND).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut port = [0; 2];
        output.read_exact(&mut port).unwrap();
        let events = std::thread::spawn(move || {
            let mut events = Vec::new();
            let mut record = [0; RECORD];
            let mut output = std::io::BufReader::new(output);
            while output.read_exact(&mut record).is_ok() {
                let happened = Happened::ALL[usize::from(record[0])];
                let attempt = u32::from_le_bytes([record[1], record[2], record[3], record[4]]);
                events.push((Instant::now(), happened, attempt));
            }
            events
        });
        Api { port: u16::from_le_bytes(port), child, events: Some(events), _directory: directory }
    }

    /// Ends it, and tells what has happened.
    pub(crate) fn stop(mut self) -> Vec<Event> {
        self.kill();
        self.events.take().map(|events| events.join().unwrap()).unwrap_or_default()
    }

    fn kill(&mut self) {
        // It may have ended by itself, which its events tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.kill();
    }
}
