//! The exhaustion loop: an API that is asked for more than it can do, with nothing before it and with what protects it. Users
//! who time out ask again, work whose caller has left goes on, and so an overload feeds itself.
//!
//! Steady loads last SLUICE_SECONDS (15) and are looked at in their last third: the loop takes its time. The step is two thirds of that at half the
//! capacity, twice as long at three times the capacity, and as long again at half of it.

pub(crate) mod api;
mod report;
mod users;

use crate::{Choice, number};
use api::{Api, SERVICE, SLOTS};
use nix::sys::signal::Signal;
use report::{Measured, Report};
use serde_json::Value;
use sluice_tests::account::Account;
use sluice_tests::process::Process;
use sluice_tests::{PATIENCE, port};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Requests a second that the API can do.
pub(crate) const CAPACITY: f64 = SLOTS as f64 * 1000.0 / SERVICE.as_millis() as f64;

/// A course of load: thirds of SLUICE_SECONDS, and users a second in capacities.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    phases: &'static [(u32, f64)],
}

pub(crate) const ROWS: [Row; 6] = [
    Row { name: "0.5x", phases: &[(3, 0.5)] },
    Row { name: "1x", phases: &[(3, 1.0)] },
    Row { name: "1.5x", phases: &[(3, 1.5)] },
    Row { name: "2x", phases: &[(3, 2.0)] },
    Row { name: "3x", phases: &[(3, 3.0)] },
    Row { name: "step", phases: &[(2, 0.5), (4, 3.0), (4, 0.5)] },
];

/// What stands between the users and the API.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    Nothing,
    Throttle,
}

impl Setup {
    pub(crate) const ALL: [Setup; 2] = [Setup::Nothing, Setup::Throttle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Setup::Nothing => "nothing",
            Setup::Throttle => "throttle-proxy",
        }
    }
}

/// What the users talk to.
enum Front {
    Api(u16),
    Throttle(Throttle),
}

struct Throttle {
    port: u16,
    program: PathBuf,
    process: Process,
    directory: TempDir,
}

/// Measures all chosen rows and prints the table.
pub(crate) fn run(throttle_proxy: &str, choice: &Choice) -> Value {
    let account = Account::choose();
    let third = number("SECONDS", 15) as f64 / 3.0;
    let mut report = Report::default();
    for row in ROWS.iter().filter(|row| choice.has(row.name)) {
        for setup in Setup::ALL {
            eprintln!("{} with {}", row.name, setup.name());
            report.add(row.name, setup, measure(row, setup, third, throttle_proxy, &account));
        }
    }
    print!("{}", report.table());
    report.json()
}

/// One course of load against fresh processes.
fn measure(row: &Row, setup: Setup, third: f64, throttle_proxy: &str, account: &Account) -> Measured {
    let api = Api::start(account);
    let mut front = match setup {
        Setup::Nothing => Front::Api(api.port),
        Setup::Throttle => Front::Throttle(Throttle::start(throttle_proxy, api.port, account)),
    };
    let mut until = Duration::ZERO;
    let load: Vec<(Duration, f64)> = row
        .phases
        .iter()
        .map(|(thirds, share)| {
            until += Duration::from_secs_f64(third * f64::from(*thirds));
            (until, share * CAPACITY)
        })
        .collect();
    let diary = users::run(front.port(), &load, 1);
    let left = front.left();
    let cpu = front.cpu();
    let events = api.stop();
    let last = match load.as_slice() {
        [.., (peak_end, _), _] => Some(*peak_end),
        _ => None,
    };
    let from = Duration::from_secs_f64(2.0 * third);
    Measured::of(&diary, &events, report::Frame { from, last, left, cpu })
}

impl Front {
    fn port(&self) -> u16 {
        match self {
            Front::Api(port) => *port,
            Front::Throttle(throttle) => throttle.port,
        }
    }

    /// Requests it still holds when all users have gone.
    fn left(&mut self) -> Option<u64> {
        match self {
            Front::Api(_) => None,
            Front::Throttle(throttle) => Some(throttle.left()),
        }
    }

    /// Processor time of what is between.
    fn cpu(&self) -> Option<Duration> {
        match self {
            Front::Api(_) => None,
            Front::Throttle(throttle) => Some(throttle.process.cpu_time().total()),
        }
    }
}

impl Throttle {
    /// With the API's capacity as its limits.
    fn start(program: &str, api: u16, account: &Account) -> Throttle {
        let directory = account.directory();
        let port = port::free();
        let program = account.reachable(&std::fs::canonicalize(program).unwrap(), directory.path());
        let mut command = account.command(&program, "KILL");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--listen-backlog", "4096"]);
        command.args(["--origin", &format!("http://127.0.0.1:{api}"), "--access-log", "off"]);
        command.args(["--max-requests", &CAPACITY.to_string(), "--window-ms", "1000"]);
        command.args(["--max-in-flight", &SLOTS.to_string(), "--trusted-peers", "127.0.0.1"]);
        command.arg("--control-socket").arg(directory.path().join("control.sock"));
        let mut process = Process::spawn(command, Signal::SIGKILL);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let lines = process.log().lines().join("\n");
            assert!(process.running() && Instant::now() < deadline, "it does not serve:\n{lines}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Throttle { port, program, process, directory }
    }

    /// Requests it holds, queued or in flight, when what the API still works on must be over.
    fn left(&self) -> u64 {
        let deadline = Instant::now() + SERVICE * 10;
        loop {
            let row = self.limits();
            let held = row["in_flight"].as_u64().unwrap() + row["queued"].as_u64().unwrap();
            if held == 0 || Instant::now() > deadline {
                return held;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn limits(&self) -> Value {
        let mut command = Command::new(&self.program);
        command.args(["ctl", "-s"]).arg(self.directory.path().join("control.sock")).args(["show", "limits"]);
        let output = command.output().unwrap();
        let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap();
        serde_json::from_slice(line).unwrap()
    }
}
