//! What stands in the way of a start, and what a service manager is told about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::daemon::{Daemon, config_with, directory, poolerd};

/// The exit code of a start that must fail, and what was said.
fn failed(config: &Path) -> (i32, String) {
    let output = poolerd().arg(config).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn assert_fails(dir: &TempDir, settings: &str, code: i32, text: &str) {
    let (exit, said) = failed(&config_with(dir, settings));
    assert_eq!(exit, code, "{settings}: {said}");
    assert!(said.contains(text), "{settings}: {said}");
}

#[test]
fn what_may_pass_is_worth_another_start() {
    let dir = directory();
    let place = dir.path().display();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let taken = format!("listen_addr = 127.0.0.1\nlisten_port = {port}\n");
    assert_fails(&dir, &taken, 75, "bind(): Address already in use");
    // RFC 5737: documentation only, so no machine has it.
    assert_fails(&dir, "listen_addr = 192.0.2.1\n", 75, "bind(): Cannot assign requested address");
    // RFC 6761: never a name.
    assert_fails(&dir, "listen_addr = no.such.host.invalid\n", 75, "cannot look up no.such.host.invalid");

    let control = UnixListener::bind(dir.path().join("control")).unwrap();
    assert_fails(&dir, &format!("control_socket = {place}/control\n"), 75, "socket is in use");
    let socket = UnixListener::bind(dir.path().join(".s.PGSQL.6432")).unwrap();
    assert_fails(&dir, "", 75, "unix socket is in use, cannot continue");
    drop((control, socket));

    fs::write(dir.path().join("pid"), format!("{}\n", std::process::id())).unwrap();
    assert_fails(&dir, &format!("pidfile = {place}/pid\n"), 75, "exists, another instance running?");
}

#[test]
fn what_somebody_has_to_mend_is_not() {
    let dir = directory();
    let place = dir.path().display();
    assert_fails(
        &dir,
        "unix_socket_dir = /nonexistent\n",
        2,
        "cannot listen on /nonexistent/.s.PGSQL.6432: ",
    );
    assert_fails(
        &dir,
        "control_socket = /nonexistent/c\n",
        2,
        "cannot listen on control_socket /nonexistent/c: ",
    );
    assert_fails(&dir, "pidfile = /nonexistent/pid\n", 2, "pidfile '/nonexistent/pid': ");
    assert_fails(&dir, "logfile = /nonexistent/log\n", 2, "cannot open the log file /nonexistent/log: ");
    assert_fails(&dir, "unix_socket_group = no such group\n", 2, "no such group");
    assert_fails(&dir, "user = no such user\n", 2, "no such user on this system");
    fs::write(dir.path().join("file"), "").unwrap();
    assert_fails(&dir, &format!("control_socket = {place}/file\n"), 2, "is not a socket");
}

#[test]
fn an_address_that_cannot_be_had_is_a_warning_while_another_works() {
    let dir = directory();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let settings = format!("listen_addr = 192.0.2.1, 127.0.0.1, 127.0.0.2\nlisten_port = {port}\n");
    let config = config_with(&dir, &settings);
    let mut daemon = Daemon::start_with(dir, &config, Stdio::piped());
    let lines = BufReader::new(daemon.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.take_while(|line| !line.contains("process up")).collect();
    for text in [
        "WARNING cannot listen on 192.0.2.1:",
        "WARNING cannot listen on 127.0.0.1:",
        &format!("LOG listening on 127.0.0.2:{port}"),
    ] {
        assert!(said.iter().any(|line| line.contains(text)), "{text}: {said:?}");
    }
}
