//! One of the HTTP gateways as a process, configured by an ini file.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::account::Account;
use crate::http::{self, Response};
use crate::log::Log;
use crate::notify::NotifySocket;
use crate::process::Process;
use crate::{PATIENCE, build, port};

/// A running gateway. Dropping it kills it; when the test is failing, its log is printed.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    notify: NotifySocket,
    directory: TempDir,
    program: &'static str,
    port: u16,
}

/// Whoever asks may pass.
pub const OPEN: &str = "max_requests = 0\nmax_in_flight = 0\n";

/// What a gateway may grow by when it first does something, in bytes: its own code comes into memory, too.
pub const GROWTH_MAX: u64 = 10 << 20;

/// throttle-proxy before `origin` with no limit but those of `lines`.
pub fn gateway(origin: &str, lines: &str) -> Proxy {
    Proxy::start("throttle-proxy", &format!("origin = {origin}\n{OPEN}{lines}"))
}

/// A connection on loopback that gives up reading in the end.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the port is listened on");
    stream.set_nodelay(true).expect("a socket takes options");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes options");
    stream
}

impl Proxy {
    /// Starts the program with these lines in its file, besides where it listens, and waits until it is ready.
    pub fn start(program: &'static str, lines: &str) -> Proxy {
        Proxy::start_by(&[], program, lines)
    }

    /// The same with no more descriptors than these.
    pub fn start_within(descriptors: u32, program: &'static str, lines: &str) -> Proxy {
        Proxy::start_by(&["prlimit", &format!("--nofile={descriptors}:{descriptors}")], program, lines)
    }

    /// `by` is a command that runs the command behind it.
    fn start_by(by: &[&str], program: &'static str, lines: &str) -> Proxy {
        // Somebody may take the port between the look and the use.
        for _ in 0..3 {
            let mut proxy = Proxy::launch(by, program, lines);
            if proxy.notify.wait("READY=1", || proxy.process.running()) {
                return proxy;
            }
            let log = proxy.log().lines().join("\n");
            assert!(log.contains("in use"), "the gateway did not become ready:\n{log}");
        }
        panic!("no port for the gateway in three attempts");
    }

    fn launch(by: &[&str], program: &'static str, lines: &str) -> Proxy {
        let account = Account::choose();
        let directory = account.directory();
        let port = port::free();
        write(directory.path(), port, lines);
        let notify = NotifySocket::bind(directory.path());
        let path = account.reachable(&build::program(program), directory.path());
        let mut words = by.iter().map(OsStr::new).chain([path.as_os_str()]);
        let mut command = account.command(words.next().unwrap(), "KILL");
        command.args(words);
        command.arg("-c").arg(directory.path().join("proxy.ini")).env("NOTIFY_SOCKET", notify.path());
        Proxy { process: Process::spawn(command, Signal::SIGKILL), notify, directory, program, port }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// One request on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        http::get(self.port, target)
    }

    /// Replaces the lines of its file; nothing is told to the process.
    pub fn rewrite(&self, lines: &str) {
        write(self.directory.path(), self.port, lines);
    }

    /// The rows a control command answers, through the program's own `ctl`; or what it says is wrong.
    pub fn ctl(&self, words: &[&str]) -> Result<Vec<Value>, String> {
        let mut command = Command::new(build::program(self.program));
        command.args(["ctl", "-s"]).arg(self.directory.path().join("control.sock")).args(words);
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    /// The first row of `show limits`: the default route.
    pub fn limits(&self) -> Value {
        self.ctl(&["show", "limits"]).unwrap().remove(0)
    }

    /// Asks for that row until it is as wanted.
    pub fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.limits();
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "show limits never became as expected: {row}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many requests are in line.
    pub fn until_queued(&self, count: u64) {
        self.until(|row| row["queued"] == count);
    }

    /// A metric without labels but these, such as `throttle_abandoned_total{route="default"}`.
    pub fn metric(&self, name: &str) -> f64 {
        let rows = self.ctl(&["show", "metrics"]).unwrap();
        let lines = rows.iter().filter_map(|row| row["line"].as_str());
        let value = lines.filter_map(|line| line.strip_prefix(&format!("sluice_{name} "))).next();
        value.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }

    /// The process, for signals and its end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE).expect("the gateway ends")
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// The first log line of this event behind the mark, which must come.
    pub fn event(&self, mark: usize, event: &str) -> Value {
        let line = self.log().wait_after(mark, &format!("\"event\":\"{event}\""));
        let line = line.unwrap_or_else(|| panic!("no event {event}"));
        serde_json::from_str(&line).unwrap()
    }
}

fn write(directory: &Path, port: u16, lines: &str) {
    let control = directory.join("control.sock");
    let head = format!("listen = 127.0.0.1:{port}\ncontrol_socket = {}\n", control.display());
    std::fs::write(directory.join("proxy.ini"), head + lines).unwrap();
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log\n{}\n---", self.log().lines().join("\n"));
        }
    }
}
