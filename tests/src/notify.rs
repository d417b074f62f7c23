//! The service manager's end of sd_notify(3): a datagram socket daemons report their state to.

use crate::PATIENCE;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The socket to name in NOTIFY_SOCKET.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Binds `notify` in the directory, open to every account.
    pub fn bind(directory: &Path) -> NotifySocket {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        NotifySocket { socket, path }
    }

    /// The value of NOTIFY_SOCKET.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a datagram with this line, such as `READY=1`. False when `goes_on` says no or patience runs out.
    pub fn wait(&self, line: &str, mut goes_on: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut datagram = [0; 4096];
        while Instant::now() < deadline {
            match self.socket.recv(&mut datagram) {
                Ok(len)
                    if datagram[..len].split(|byte| *byte == b'\n').any(|found| found == line.as_bytes()) =>
                {
                    return true;
                }
                Ok(_) => {}
                Err(_) if goes_on() => {}
                Err(_) => return false,
            }
        }
        false
    }
}
