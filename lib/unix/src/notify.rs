//! Telling the service manager how we are: the datagrams of sd_notify(3).
//!
//! Owned by the worker that runs the process. Without a manager every call does nothing. A datagram that cannot
//! be delivered is lost silently: the manager draws its own conclusions, and we have a job to do meanwhile.
//!
//! Invariants: the environment is read once, at construction; nothing blocks.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The manager named by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    /// When the address is malformed or there is no descriptor left.
    pub fn from_env() -> io::Result<Self> {
        let usec = env::var("WATCHDOG_USEC").ok();
        let pid = env::var("WATCHDOG_PID").ok();
        let watchdog = watchdog_interval(usec.as_deref(), pid.as_deref());
        match env::var_os("NOTIFY_SOCKET") {
            Some(address) if !address.is_empty() => Self::to(&address, watchdog),
            _ => Ok(Self::none()),
        }
    }

    /// The manager at `address`, a path or an abstract name behind `@`, which wants a sign of life each `watchdog`.
    ///
    /// # Errors
    /// As [`Notify::from_env`].
    pub fn to(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { manager: Some((socket, address)), watchdog })
    }

    /// Nobody to tell.
    #[must_use]
    pub fn none() -> Self {
        Self { manager: None, watchdog: None }
    }

    /// Start-up or reload is complete.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// A reload has begun; [`Notify::ready`] ends it.
    pub fn reloading(&self) {
        // The manager matches our READY=1 to its own request by this clock (sd_notify(3)).
        let usec = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or(0, |now| i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// Shutting down has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for people: shown by `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// A sign of life, if the manager wants any. Answers after what time the next one is due: half of that after which it
    /// loses patience.
    pub fn watchdog(&self) -> Option<Duration> {
        let interval = self.watchdog?;
        self.send("WATCHDOG=1");
        Some(interval)
    }

    /// Whether there is a manager.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.manager.is_some()
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.manager {
            // See the module's head: a lost datagram is nobody's business here.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// sd_watchdog_enabled(3): the variables count only if they are meant for this process.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(process::id())) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(socket: &UnixDatagram) -> String {
        let mut text = [0; 256];
        let len = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_each_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let interval = Some(Duration::from_secs(1));
        let notify = Notify::to(path.as_os_str(), interval).unwrap();
        assert!(notify.is_managed());
        notify.ready();
        assert_eq!(sent(&manager), "READY=1");
        notify.stopping();
        assert_eq!(sent(&manager), "STOPPING=1");
        assert_eq!(notify.watchdog(), interval);
        assert_eq!(sent(&manager), "WATCHDOG=1");
        notify.status("two\nlines");
        assert_eq!(sent(&manager), "STATUS=two lines");
        notify.reloading();
        let text = sent(&manager);
        let usec = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn the_manager_may_be_abstract() {
        let name = format!("sluice-notify-test-{}", process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notify::to(OsStr::new(&format!("@{name}")), None).unwrap().ready();
        assert_eq!(sent(&manager), "READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_or_full_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str(), None).unwrap();
        for _ in 0..10_000 {
            notify.stopping();
        }
        drop(manager);
        notify.ready();
        Notify::none().ready();
        assert_eq!(Notify::none().watchdog(), None);
        assert!(!Notify::none().is_managed());
    }

    #[test]
    fn the_watchdog_is_ours_or_not() {
        let own = process::id().to_string();
        let half = Some(Duration::from_secs(15));
        assert_eq!(watchdog_interval(Some("30000000"), Some(&own)), half);
        assert_eq!(watchdog_interval(Some("30000000"), None), half);
        assert_eq!(watchdog_interval(Some("30000000"), Some("1")), None);
        assert_eq!(watchdog_interval(Some("30000000"), Some("x")), None);
        for usec in [None, Some(""), Some("0"), Some("-1"), Some("soon")] {
            assert_eq!(watchdog_interval(usec, None), None);
        }
    }
}
