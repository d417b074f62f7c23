//! Servers that cannot be had: who is told, what, and when the next attempt is made.

use std::time::Duration;

use super::*;
use crate::core::Unreachable;

const RETRY: Duration = Duration::from_secs(15);

/// A client that has logged in, and no server left.
fn without_server() -> (Bench, ClientId) {
    let mut bench = Bench::new();
    let (client, server) = pair(&mut bench);
    bench.core.server_gone(server, bench.now);
    bench.settle(&[]);
    (bench, client)
}

/// The server that is wanted cannot be reached.
fn cannot_connect(bench: &mut Bench) {
    let id = bench.connecting.pop().expect("a server is wanted");
    bench.core.server_failed(id, &Unreachable::Connect("no route".to_owned()), bench.now);
    bench.settle(&[]);
}

/// The server that is wanted refuses the login.
fn refuses(bench: &mut Bench, code: SqlState) {
    let id = bench.dial();
    bench.server_sends(id, &error(Severity::Fatal, code, "not you"));
}

fn cached(cause: &str) -> String {
    format!("server login has been failing, cached error: {cause} (server_login_retry)")
}

#[test]
fn who_waits_when_a_server_is_not_reached_waits_on_and_who_comes_is_told() {
    let (mut bench, first) = without_server();
    bench.query(first, "SELECT 1");
    cannot_connect(&mut bench);
    assert!(bench.logged("cannot connect: no route"));
    assert!(bench.logged("closing because: connect failed (age=0s)"));
    assert_eq!(bench.answer(first), "waits");
    let told = format!("FATAL 08P01 {}, closed", cached("connect failed"));
    // With a session, and without one.
    let second = bench.connect("one", "ann");
    assert!(bench.tags(second).ends_with('Z'), "its greeting is known");
    assert_eq!(bench.run(second, "SELECT 2"), told);
    let stranger = bench.connect("two", "ann");
    cannot_connect(&mut bench);
    assert_eq!(bench.answer(stranger), "waits");
    let other = bench.connect("two", "ann");
    assert_eq!(bench.answer(other), told);

    // Who comes when the time is over waits for the next attempt, which serves all.
    assert!(bench.connecting.is_empty(), "no attempt before its time");
    bench.now += RETRY;
    let late = bench.connect("one", "ann");
    bench.tags(late);
    bench.query(late, "SELECT 3");
    bench.core.handle_timeout(bench.now);
    bench.settle(&[]);
    assert_eq!(bench.answer(late), "waits");
    bench.serve_logins();
    assert!(!bench.is_closed(first) && !bench.is_closed(late) && !bench.is_closed(stranger));
}

#[test]
fn a_name_that_is_not_found_is_told_as_such() {
    let (mut bench, first) = without_server();
    bench.query(first, "SELECT 1");
    let id = bench.connecting.pop().unwrap();
    let why = Unreachable::Lookup { name: "db".to_owned(), error: "unknown".to_owned() };
    bench.core.server_failed(id, &why, bench.now);
    bench.settle(&[]);
    assert!(bench.logged("DNS lookup failed: db: unknown"));
    assert!(bench.logged("closing because: server DNS lookup failed (age=0s)"));
    let second = bench.connect("one", "ann");
    bench.tags(second);
    let told = format!("FATAL 08P01 {}, closed", cached("server DNS lookup failed"));
    assert_eq!(bench.run(second, "SELECT 2"), told);
}

#[test]
fn a_refusal_is_told_to_all_in_the_servers_words() {
    let (mut bench, first) = without_server();
    bench.query(first, "SELECT 1");
    refuses(&mut bench, SqlState::INVALID_PASSWORD);
    assert!(bench.logged("server login failed: FATAL not you"));
    assert!(bench.logged("closing because: not you (age=0s)"));
    assert_eq!(bench.answer(first), "FATAL 28P01 not you, closed");
    let second = bench.connect("one", "ann");
    bench.tags(second);
    assert_eq!(bench.run(second, "SELECT 2"), format!("FATAL 28P01 {}, closed", cached("not you")));
}

#[test]
fn a_server_that_is_starting_up_is_waited_for() {
    let (mut bench, first) = without_server();
    bench.query(first, "SELECT 1");
    refuses(&mut bench, SqlState::CANNOT_CONNECT_NOW);
    assert_eq!(bench.answer(first), "waits");
    let second = bench.connect("one", "ann");
    bench.tags(second);
    assert_eq!(bench.run(second, "SELECT 2"), format!("FATAL 57P03 {}, closed", cached("not you")));
}

#[test]
fn a_pool_with_a_server_tells_nobody_unless_that_one_is_marked() {
    for marked in [false, true] {
        let mut bench = Bench::new();
        let (_busy, _server) = bench.busy("one");
        let waiter = bench.client("one");
        bench.query(waiter, "SELECT 1");
        if marked {
            bench.control(1, "RECONNECT");
        }
        refuses(&mut bench, SqlState::INVALID_PASSWORD);
        let expected = if marked { "FATAL 28P01 not you, closed" } else { "waits" };
        assert_eq!(bench.answer(waiter), expected, "marked: {marked}");
        let late = bench.connect("one", "ann");
        bench.tags(late);
        let told = format!("FATAL 28P01 {}, closed", cached("not you"));
        let expected = if marked { told.as_str() } else { "waits" };
        assert_eq!(bench.run(late, "SELECT 2"), expected, "marked: {marked}");
    }
}

#[test]
fn other_hosts_are_tried_before_anybody_is_told() {
    let text = CONFIG.replace("one = host=127.0.0.1", "one = host=10.0.0.1,10.0.0.2");
    let mut bench = Bench::with(&text);
    let first = bench.connect("one", "ann");
    cannot_connect(&mut bench);
    let second = bench.connect("one", "ann");
    assert_eq!((bench.answer(first), bench.answer(second)), ("waits".into(), "waits".into()));
    cannot_connect(&mut bench);
    assert!(bench.connecting.is_empty(), "both hosts were tried");
    let third = bench.connect("one", "ann");
    assert_eq!(bench.answer(third), format!("FATAL 08P01 {}, closed", cached("connect failed")));
    assert_eq!((bench.answer(first), bench.answer(second)), ("waits".into(), "waits".into()));
}
