//! throttle-proxy as a process: rates, the queue, drain, reload, control, bad configuration; the pooler's pressure and
//! shared rates are in modules of their own.

mod chain;
mod feeds;
mod shared;

use nix::sys::signal::Signal;
use sluice_tests::account::Account;
use sluice_tests::http::Connection;
use sluice_tests::origin::Manner;
use sluice_tests::{Origin, PATIENCE, Proxy, build};
use std::net::TcpListener;
use std::process::Command;

fn throttle(origin: &Origin, lines: &str) -> Proxy {
    Proxy::start("throttle-proxy", &format!("origin = {}\n{lines}", origin.url()))
}

/// No rate, one request at a time, and a line that waits for as long as the test.
const ONE_AT_A_TIME: &str = "max_requests = 0\nmax_in_flight = 1\nqueue_max_wait_ms = 130s\npatience_ms = 150s\nqueue_per_key = 1000\nqueue_order = fifo\n";

#[test]
fn n_pass_and_n_plus_1_is_refused_with_the_text_clients_search_for() {
    let origin = Origin::start(Manner::Prompt);
    let proxy = throttle(&origin, "max_requests = 5\nwindow_ms = 10min\n");
    let mut connection = Connection::open(proxy.port());
    for _ in 0..5 {
        assert_eq!(connection.get("/", &[]).status, 200);
    }
    for (fields, kind) in [(&[][..], "application/problem+json"), (&["Accept: text/plain"], "text/plain")] {
        let refused = connection.get("/", fields);
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("Request queue is full"), "{}", refused.text());
        assert!(refused.field("content-type").unwrap().starts_with(kind));
        let retry_after: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((120..=144).contains(&retry_after), "at most 120 s and a fifth: {retry_after}");
        let status = refused.field("proxy-status").unwrap();
        assert!(status.starts_with("throttle-proxy; error=connection_limit_reached"), "{status}");
        assert_eq!(refused.field("cache-control"), Some("no-store"));
    }
    assert_eq!(origin.times().len(), 5);
    assert_eq!(proxy.event(0, "throttle.saturated")["route"], "default");
    assert_eq!(proxy.metric("http_refused_total{route=\"default\",code=\"queue_wait\"}"), 2.0);
}

#[test]
fn a_clients_own_limit_is_429_and_touches_no_other_client() {
    let origin = Origin::start(Manner::Prompt);
    let lines =
        "trusted_peers = 127.0.0.1\n[limit client]\nkey = address\nmax_requests = 2\nwindow_ms = 10min\n";
    let proxy = throttle(&origin, lines);
    let mut connection = Connection::open(proxy.port());
    let mut from = |client: &str| connection.get("/", &[&format!("X-Forwarded-For: {client}")]);
    assert_eq!([from("192.0.2.1").status, from("192.0.2.1").status], [200, 200]);
    let refused = from("192.0.2.1");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate_limited")));
    assert_eq!(refused.json()["detail"], "Request queue is full");
    assert_eq!(from("192.0.2.2").status, 200);
    assert_eq!(
        [from("2001:db8::1").status, from("2001:db8::2").status, from("2001:db8::3").status],
        [200, 200, 429]
    );
}

#[test]
fn routes_have_policies_of_their_own() {
    let origin = Origin::start(Manner::Prompt);
    let lines = "max_requests = 0\n[route small]\nmatch_path = /small\nmaxRequests = 1\nwindowMs = 600000\n";
    let proxy = throttle(&origin, lines);
    assert_eq!([proxy.get("/small/a").status, proxy.get("/small/b").status], [200, 503]);
    assert_eq!([proxy.get("/").status, proxy.get("/smaller").status], [200, 200]);
}

#[test]
fn who_leaves_the_line_is_removed_at_once_and_never_reaches_the_origin() {
    let origin = Origin::start(Manner::Held);
    let proxy = throttle(&origin, ONE_AT_A_TIME);
    let mut first = Connection::open(proxy.port());
    first.send("/first", &[]);
    let held = origin.next();
    let mut leavers: Vec<Connection> = (0..3).map(|_| Connection::open(proxy.port())).collect();
    leavers.iter_mut().for_each(|connection| connection.send("/leaver", &[]));
    proxy.until_queued(3);
    let rows = proxy.ctl(&["queue"]).unwrap();
    assert_eq!((rows.len(), &rows[0]["class"]), (3, &3.into()));
    // One vanishes, one only shuts its direction: both have left.
    drop(leavers.pop());
    leavers.last().unwrap().half_close();
    proxy.until_queued(1);
    assert_eq!(proxy.metric("throttle_abandoned_total{route=\"default\"}"), 2.0);
    let mut last = Connection::open(proxy.port());
    last.send("/last", &[]);
    proxy.until_queued(2);
    drop(leavers.remove(0));
    proxy.until_queued(1);
    held.answer(200);
    assert_eq!(first.receive().unwrap().status, 200);
    let next = origin.next();
    assert_eq!(next.target, "/last");
    next.answer(200);
    assert_eq!(last.receive().unwrap().status, 200);
    assert!(origin.try_next().is_none());
    assert_eq!(proxy.until(|row| row["in_flight"] == 0)["queued"], 0);
}

#[test]
fn two_hundred_wait_the_next_is_refused_and_a_drain_tells_them_all() {
    let origin = Origin::start(Manner::Held);
    let mut proxy = throttle(&origin, ONE_AT_A_TIME);
    let mut first = Connection::open(proxy.port());
    first.send("/first", &[]);
    let held = origin.next();
    let mut waiting: Vec<Connection> = (0..200).map(|_| Connection::open(proxy.port())).collect();
    waiting.iter_mut().for_each(|connection| connection.send("/", &[]));
    proxy.until_queued(200);
    let refused = proxy.get("/");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("queue_full")));
    proxy.process().signal(Signal::SIGTERM);
    for connection in &mut waiting {
        let told = connection.receive().unwrap();
        assert_eq!((told.status, told.json()["code"].as_str()), (503, Some("draining")));
        assert!(told.text().contains("Request queue is full"));
    }
    held.answer(200);
    assert_eq!(first.receive().unwrap().status, 200, "what is under way is finished");
    let status = proxy.process().wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(0));
    proxy.event(0, "drain.end");
    assert!(origin.try_next().is_none());
}

#[test]
fn a_drain_may_let_them_take_their_turn() {
    let origin = Origin::start(Manner::Held);
    let mut proxy = throttle(&origin, &format!("{ONE_AT_A_TIME}drain_queue = finish\n"));
    let mut connections: Vec<Connection> = (0..3).map(|_| Connection::open(proxy.port())).collect();
    connections[0].send("/0", &[]);
    let mut held = origin.next();
    connections[1].send("/1", &[]);
    connections[2].send("/2", &[]);
    proxy.until_queued(2);
    proxy.process().signal(Signal::SIGTERM);
    proxy.event(0, "drain.begin");
    for number in 0..3 {
        held.answer(200);
        if number < 2 {
            held = origin.next();
        } else {
            break;
        }
    }
    assert!(connections.iter_mut().all(|connection| connection.receive().unwrap().status == 200));
    assert_eq!(proxy.process().wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_reload_keeps_counts_and_those_who_wait_and_takes_all_or_nothing() {
    let origin = Origin::start(Manner::Held);
    let origin_line = format!("origin = {}\n", origin.url());
    let lines = format!("{origin_line}{ONE_AT_A_TIME}");
    let mut proxy = Proxy::start(
        "throttle-proxy",
        &lines.replace("max_requests = 0", "max_requests = 3\nwindow_ms = 10min"),
    );
    let mut first = Connection::open(proxy.port());
    first.send("/first", &[]);
    let held = origin.next();
    let mut second = Connection::open(proxy.port());
    second.send("/second", &[]);
    proxy.until_queued(1);

    proxy.rewrite(&format!("{lines}max_request = 2\n"));
    let mark = proxy.log().mark();
    proxy.process().signal(Signal::SIGHUP);
    let said = proxy.event(mark, "config.reload")["msg"].as_str().unwrap().to_owned();
    assert!(said.contains("unknown key max_request, the nearest is max_requests"), "{said}");
    assert!(said.contains("proxy.ini:"), "{said}");
    assert_eq!(proxy.limits()["max_requests"], 3, "the old one goes on");
    assert!(proxy.ctl(&["reload"]).unwrap_err().contains("unknown key"));
    proxy.rewrite(&lines.replace("max_requests = 0", "max_requests = 9\nlogfile = /nonesuch/log"));
    assert!(proxy.ctl(&["reload"]).unwrap_err().contains("/nonesuch/log"));
    assert_eq!(proxy.limits()["max_requests"], 3, "a log file that cannot be opened is a fault like others");

    let next = lines.replace("max_requests = 0", "max_requests = 2\nwindow_ms = 10min");
    proxy.rewrite(&next.replace("max_in_flight = 1", "max_in_flight = 2"));
    assert_eq!(proxy.ctl(&["reload"]), Ok(vec![]));
    let released = origin.next();
    assert_eq!(released.target, "/second", "whom the new concurrency lets go at once");
    let row = proxy.limits();
    assert_eq!((&row["used"], &row["max_requests"], &row["in_flight"]), (&2.into(), &2.into(), &2.into()));
    held.answer(200);
    released.answer(200);
    assert_eq!([first.receive().unwrap().status, second.receive().unwrap().status], [200, 200]);
    assert_eq!(proxy.get("/").status, 503, "both slots of the new rate were spent under the old one");
}

#[test]
fn commands_change_a_route_until_the_next_reload() {
    let origin = Origin::start(Manner::Held);
    let proxy = throttle(&origin, ONE_AT_A_TIME);
    let mut connections: Vec<Connection> = (0..3).map(|_| Connection::open(proxy.port())).collect();
    connections.iter_mut().for_each(|connection| connection.send("/", &[]));
    let first = origin.next();
    proxy.until_queued(2);
    assert_eq!(proxy.ctl(&["limits", "set", "default", "max_in_flight", "2"]), Ok(vec![]));
    let second = origin.next();
    assert_eq!(proxy.ctl(&["flush", "default"]), Ok(vec![]));
    proxy.until_queued(0);
    first.answer(200);
    second.answer(200);
    let mut statuses: Vec<u16> =
        connections.iter_mut().map(|connection| connection.receive().unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503]);
    proxy.log().wait("set default max_in_flight 2").expect("the log tells who did what");
    assert_eq!(proxy.ctl(&["reload"]), Ok(vec![]));
    assert_eq!(proxy.limits()["limit_now"], 1);
    assert!(
        proxy
            .ctl(&["set", "default", "max_in_fligth", "2"])
            .unwrap_err()
            .contains("the nearest is max_in_flight")
    );
}

#[test]
fn the_exit_code_tells_whether_starting_again_may_help() {
    let account = Account::choose();
    let directory = account.directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = account.reachable(&build::program("throttle-proxy"), directory.path());
    let pidfile = directory.path().join("pid");
    std::fs::write(&pidfile, format!("{}\n", std::process::id())).unwrap();
    let pidfile = pidfile.to_str().unwrap();
    for (flags, code, said) in [
        (["--listen", &address], 75, format!("cannot listen on {address}")),
        (["--pidfile", pidfile], 75, format!("pidfile '{pidfile}' exists, another instance running?")),
        (["--pidfile", "/nonexistent/pid"], 2, "pidfile '/nonexistent/pid': ".to_owned()),
        (["--logfile", "/nonexistent/log"], 2, "cannot open the log file /nonexistent/log: ".to_owned()),
    ] {
        let output = account.command(&program, "KILL").args(flags).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(&said), "{error}");
    }
}

#[test]
fn a_configuration_that_is_wrong_names_file_line_and_key() {
    let program = build::program("throttle-proxy");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.ini");
    for (text, said) in [
        ("max_requests = 1\nqueue_sise = 5\n", "unknown key queue_sise, the nearest is queue_size"),
        ("max_requests = 1\nwindow_ms = 0\n", "invalid value \"0\" for window_ms"),
        ("max_requests = 1\nmax_requests = 99999999999999999999\n", "invalid value"),
        ("max_requests = 1\nbalance = best\n", "balance is not a balance: best"),
        (
            "max_requests = 1\ntls_cert_file = /nonexistent.pem\ntls_key_file = /nonexistent.key\n",
            "tls_cert_file: cannot read /nonexistent.pem",
        ),
        ("max_requests = 1\n[route a]\n", ""),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = Command::new(&program).arg("-t").arg("-c").arg(&path).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        if said.is_empty() {
            assert_eq!(
                (output.status.code(), output.stdout.as_slice()),
                (Some(0), &b"configuration OK\n"[..])
            );
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(error.contains(said) && error.contains("t.ini:2)"), "{error}");
    }
}
