//! A daemon as a child process: its log, its signals, its end, and what it costs.

use crate::log::Log;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    /// Of all its threads, exact: /proc/PID/task/TID/schedstat.
    total: Duration,
    /// In user space, in the kernel's coarse ticks: /proc/PID/stat.
    user_ticks: u32,
    /// In the kernel on its behalf, likewise.
    system_ticks: u32,
}

impl CpuTime {
    /// All of it.
    pub fn total(self) -> Duration {
        self.total
    }

    /// What was spent since an earlier reading, in user space and in the kernel: the exact sum, split as the ticks are.
    pub fn since(self, earlier: CpuTime) -> (Duration, Duration) {
        let total = self.total.saturating_sub(earlier.total);
        let (user, system) = (self.user_ticks - earlier.user_ticks, self.system_ticks - earlier.system_ticks);
        let user = total * user / (user + system).max(1);
        (user, total - user)
    }
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

    /// Processor time so far.
    pub fn cpu_time(&self) -> CpuTime {
        let stat = self.proc_file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let mut total = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap() {
            let schedstat = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            total += Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap());
        }
        CpuTime { total, user_ticks: fields[11].parse().unwrap(), system_ticks: fields[12].parse().unwrap() }
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
