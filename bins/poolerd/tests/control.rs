//! A daemon's control socket, and `poolerd ctl`, as their users meet them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running poolerd without any server.
struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let dir = directory();
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        std::fs::set_permissions(dir.path().join("notify"), PermissionsExt::from_mode(0o777)).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = poolerd()
            .arg(config(&dir, "control.sock"))
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon { child, dir };
        let mut message = [0; 256];
        let count = notify.recv(&mut message).unwrap();
        assert!(message[..count].starts_with(b"READY=1"));
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn ctl(&self, words: &[&str]) -> (i32, String, String) {
        let socket = self.socket();
        ctl(&[&["-s", socket.to_str().unwrap()], words].concat())
    }

    fn connect(&self) -> (UnixStream, impl Iterator<Item = Value>) {
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

fn poolerd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolerd"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POOLERD_")) {
        command.env_remove(name);
    }
    command
}

/// A directory that an unprivileged user can write to: as root the daemon becomes one.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    dir
}

fn config(dir: &TempDir, socket: &str) -> PathBuf {
    let place = dir.path().display();
    let user = if is_root() { "user = nobody\n" } else { "" };
    let text = format!(
        "[databases]\napp = host=127.0.0.1 port=1\n[pgbouncer]\n{user}listen_addr =\nlisten_port = 6432\n\
         unix_socket_dir = {place}\ncontrol_socket = {place}/{socket}\n"
    );
    let path = dir.path().join("poolerd.ini");
    std::fs::write(&path, text).unwrap();
    path
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Uid:")).is_some_and(|ids| ids.trim().starts_with("0\t"))
}

/// Exit code and both outputs.
fn ctl(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = poolerd().arg("ctl").args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn ctl_shows_commands_and_fails_as_it_should() {
    let daemon = Daemon::start();
    let (code, out, _) = daemon.ctl(&["show", "databases"]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, rows.len()), (0, 2));
    assert_eq!((&rows[0]["name"], &rows[0]["server_lifetime_ms"]), (&json!("app"), &json!(3_600_000)));
    assert_eq!(daemon.ctl(&["pause", "app"]), (0, String::new(), String::new()));
    let (code, out, error) = daemon.ctl(&["pause", "app 2"]);
    assert_eq!((code, out.as_str(), error.as_str()), (1, "", "poolerd ctl: no such database: app 2\n"));
    assert_eq!(daemon.ctl(&["resume", "app"]).0, 0);
    assert_eq!(daemon.ctl(&["set", "query_timeout=1.5"]).0, 0);
    assert!(daemon.ctl(&["show", "config"]).1.contains(r#""key":"query_timeout","value":"1.5""#));
    assert_eq!(daemon.ctl(&["reload"]).0, 0);
    let (code, _, error) = daemon.ctl(&["show", "nothing"]);
    assert_eq!((code, error.contains("invalid command 'show nothing'")), (2, true));
    assert_eq!(daemon.ctl(&[]).0, 2);
    assert_eq!(daemon.ctl(&["--colour", "show", "pools"]).0, 2);
}

#[test]
fn ctl_needs_somebody_to_ask() {
    let (code, out, error) = ctl(&["-s", "/nonexistent/socket", "show", "pools"]);
    assert_eq!((code, out.as_str()), (75, ""));
    assert!(error.starts_with("poolerd ctl: cannot ask /nonexistent/socket: "), "{error}");
    let (code, out, _) = ctl(&["--help"]);
    assert!(code == 0 && out.contains("wait_close [DATABASE]") && out.contains("watch"), "{out}");
}

#[test]
fn requests_are_answered_in_order_and_broken_ones_too() {
    let daemon = Daemon::start();
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (mut stream, mut answers) = daemon.connect();
    let requests = concat!(
        "{\"cmd\":\"show state\"}\nshow state\n{\"cmd\":\"pause\",\"db\":\"app\"}\n{\"cmd\":\"PAUSE app;\"}\n",
        "{\"cmd\":\"show help\"}\n{\"cmd\":\"watch\"}\n",
    );
    stream.write_all(requests.as_bytes()).unwrap();
    let mut expect = |expected: Value| assert_eq!(answers.next().unwrap(), expected);
    for (key, value) in [("active", "yes"), ("paused", "no"), ("suspended", "no")] {
        expect(json!({"key": key, "value": value}));
    }
    expect(json!({"ok": true}));
    expect(json!({"ok": false, "error": "request is not a JSON object"}));
    expect(json!({"ok": false, "error": "unknown key \"db\""}));
    expect(json!({"ok": true}));
    assert_eq!(answers.next().unwrap()["notice"], "Console usage");
    assert_eq!(answers.next().unwrap(), json!({"ok": true}));
    assert_eq!(answers.next().unwrap()["event"], "heartbeat");
    drop((stream, answers));
    assert_eq!(daemon.ctl(&["show", "state"]).0, 0);
}

#[test]
fn shutdown_is_answered_and_ends_the_process() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.ctl(&["shutdown"]), (0, String::new(), String::new()));
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    assert!(!daemon.socket().exists(), "nothing is left behind");
}

#[test]
fn a_control_socket_that_was_asked_for_has_to_work() {
    let dir = directory();
    let output = poolerd().arg(config(&dir, "none/control.sock")).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("cannot listen on control_socket"), "{error}");
}
