//! A daemon's control socket, and `poolerd ctl`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::daemon::{Daemon, config, ctl, directory, poolerd};

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
    assert!(daemon.ctl(&["show", "poolz"]).2.ends_with(": The nearest is SHOW POOLS.\n"));
    let (code, _, error) = daemon.ctl(&["set", "verbose=loud"]);
    assert!(code == 1 && error.starts_with("poolerd ctl: SET failed: ") && error.contains("loud"), "{error}");
    assert_eq!(daemon.ctl(&[]).0, 2);
    assert_eq!(daemon.ctl(&["--colour", "show", "pools"]).0, 2);
}

#[test]
fn ctl_needs_somebody_to_ask() {
    let (code, out, error) = ctl(&["-s", "/nonexistent/socket", "show", "pools"]);
    assert_eq!((code, out.as_str()), (75, ""));
    assert!(error.starts_with("poolerd ctl: cannot ask /nonexistent/socket: "), "{error}");
    assert!(
        error.contains("\npoolerd ctl: is poolerd running? --socket or POOLERD_CONTROL_SOCKET names"),
        "{error}"
    );
    let (code, out, _) = ctl(&["--help"]);
    assert!(code == 0 && out.contains("wait_close [DATABASE]") && out.contains("watch"), "{out}");
}

#[test]
fn requests_are_answered_in_order_and_broken_ones_too() {
    let daemon = Daemon::start();
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
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
fn a_reload_that_cannot_be_whole_changes_nothing_and_says_why() {
    let daemon = Daemon::start();
    let ini = daemon.dir.path().join("poolerd.ini");
    let good = fs::read_to_string(&ini).unwrap();
    for (bad, why) in [
        ("verbose = 2\nauth_file = /nonexistent/users\n", "could not open auth_file /nonexistent/users: "),
        ("verbose = loud\n", "poolerd.ini:"),
    ] {
        fs::write(&ini, format!("{good}{bad}")).unwrap();
        let (code, _, error) = daemon.ctl(&["reload"]);
        assert_eq!(code, 1, "{error}");
        assert!(error.starts_with("poolerd ctl: RELOAD failed") && error.contains(why), "{error}");
        assert!(daemon.ctl(&["show", "config"]).1.contains(r#""key":"verbose","value":"0""#));
    }
    fs::write(&ini, format!("{good}verbose = 1\n")).unwrap();
    assert_eq!(daemon.ctl(&["reload"]).0, 0);
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
