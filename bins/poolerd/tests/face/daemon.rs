//! Daemons to test, and what they are started with.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running poolerd without any server.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) dir: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let dir = directory();
        let config = config(&dir, "control.sock");
        Self::start_with(dir, &config, Stdio::null())
    }

    /// Waits until the daemon says it is ready.
    pub(crate) fn start_with(dir: TempDir, config: &Path, stderr: Stdio) -> Self {
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        std::fs::set_permissions(dir.path().join("notify"), PermissionsExt::from_mode(0o777)).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = poolerd()
            .arg(config)
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .stderr(stderr)
            .spawn()
            .unwrap();
        let daemon = Daemon { child, dir };
        let mut message = [0; 256];
        let count = notify.recv(&mut message).unwrap();
        assert!(message[..count].starts_with(b"READY=1"));
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    pub(crate) fn ctl(&self, words: &[&str]) -> (i32, String, String) {
        let socket = self.socket();
        ctl(&[&["-s", socket.to_str().unwrap()], words].concat())
    }

    pub(crate) fn connect(&self) -> (UnixStream, impl Iterator<Item = Value>) {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        (stream, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn poolerd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolerd"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POOLERD_")) {
        command.env_remove(name);
    }
    command
}

/// A directory that an unprivileged user can write to: as root the daemon becomes one.
pub(crate) fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    dir
}

pub(crate) fn config(dir: &TempDir, socket: &str) -> PathBuf {
    config_with(dir, &format!("control_socket = {}/{socket}\n", dir.path().display()))
}

/// Listens on a Unix socket in `dir`; `more` is the rest of `[pgbouncer]`, and its lines count.
pub(crate) fn config_with(dir: &TempDir, more: &str) -> PathBuf {
    let place = dir.path().display();
    let user = if is_root() { "user = nobody\n" } else { "" };
    let text = format!(
        "[databases]\napp = host=127.0.0.1 port=1\n[pgbouncer]\n{user}listen_addr =\nlisten_port = 6432\n\
         unix_socket_dir = {place}\ncontrol_socket =\n{more}"
    );
    let path = dir.path().join("poolerd.ini");
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Uid:")).is_some_and(|ids| ids.trim().starts_with("0\t"))
}

/// Exit code and both outputs.
pub(crate) fn ctl(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = poolerd().arg("ctl").args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
