//! A daemon as a child process: its log, its signals, its end, and what it costs.

use crate::log::Log;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running or ended child. Dropping it sends the last signal and waits for the end.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    log: Log,
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    last: Signal,
}

/// Processor time of a process since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuTime {
    /// In user space.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl Process {
    /// Spawns the command with stderr captured; `last` is the signal that surely ends it.
    pub fn spawn(mut command: Command, last: Signal) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let log = Log::capture(child.stderr.take().unwrap());
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (ended, exit) = channel();
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            // Nobody listens once the Process is dropped, and then nobody needs to know.
            let _ = ended.send(status);
        });
        Process { pid, log, exit, status: None, last }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.running() {
            kill(self.pid, signal).unwrap();
        }
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    /// Waits at most that long for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.exit.recv_timeout(limit).ok();
        }
        self.status
    }

    /// Resident memory that is its own (anonymous), in bytes: /proc/PID/status, RssAnon.
    pub fn resident_bytes(&self) -> u64 {
        self.status_number("RssAnon:") * 1024
    }

    /// The most memory it ever had resident, in bytes: /proc/PID/status, VmHWM.
    pub fn peak_bytes(&self) -> u64 {
        self.status_number("VmHWM:") * 1024
    }

    /// Times its first thread went to sleep of its own accord, and so was woken again: /proc/PID/status.
    pub fn voluntary_switches(&self) -> u64 {
        self.status_number("voluntary_ctxt_switches:")
    }

    /// Processor time so far. The sum is exact (/proc/PID/schedstat, nanoseconds); it is split into user and system
    /// in proportion to the kernel's ticks (/proc/PID/stat).
    pub fn cpu_time(&self) -> CpuTime {
        let stat = self.proc_file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
        let (user, system) = (ticks(11), ticks(12));
        let per_second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap_or(100) as f64;
        let exact =
            self.proc_file("schedstat").split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9;
        // A daemon with helper threads: schedstat tells of its first thread only, the ticks of all.
        let total = exact.max((user + system) / per_second);
        let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        CpuTime {
            user: Duration::from_secs_f64(total * share),
            system: Duration::from_secs_f64(total * (1.0 - share)),
        }
    }

    fn status_number(&self, field: &str) -> u64 {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.last);
        if self.wait(Duration::from_secs(10)).is_none() {
            // It may end between the check and the signal; then there is nothing left to do.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}
