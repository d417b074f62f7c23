//! A real Redis, from the system's package, as a process.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::account::Account;
use crate::process::Process;
use crate::{PATIENCE, port};

/// A running Redis that keeps nothing on disk. Dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    directory: TempDir,
    port: u16,
}

impl Redis {
    /// Starts one and waits until it takes connections.
    pub fn start() -> Redis {
        let mut redis = Redis { process: None, directory: Account::choose().directory(), port: port::free() };
        redis.start_again();
        redis
    }

    /// Starts it on the same port, empty.
    pub fn start_again(&mut self) {
        let mut command = Account::choose().command(program(), "KILL");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(self.directory.path());
        self.process = Some(Process::spawn(command, Signal::SIGKILL));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in its tracks, or lets it go on.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().unwrap().signal(signal);
    }

    /// Where it is, as a setting has it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn program() -> PathBuf {
    let places = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].map(PathBuf::from);
    places.into_iter().find(|place| place.exists()).expect("redis-server; scripts/deps test installs it")
}
