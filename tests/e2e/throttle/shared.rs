//! Rates shared through a real Redis, and a Redis that is killed, stalls or lies.

use super::throttle;
use nix::sys::signal::Signal;
use sluice_tests::http::Connection;
use sluice_tests::origin::{Manner, most_in_any};
use sluice_tests::{Origin, Proxy, Redis};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// Asks until the status is as wanted.
fn until_status(proxy: &Proxy, wanted: u16) {
    let deadline = Instant::now() + sluice_tests::PATIENCE;
    while proxy.get("/").status != wanted {
        assert!(Instant::now() < deadline, "never {wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_instances_together_stay_within_the_rate() {
    const EVENTS: usize = 20;
    const WINDOW: Duration = Duration::from_secs(2);
    let redis = Redis::start();
    let origin = Origin::start(Manner::Prompt);
    let lines =
        format!("redis = {}\nmax_requests = {EVENTS}\nwindow_ms = 2000\nlease_ms = 200\n", redis.url());
    let proxies = [throttle(&origin, &lines), throttle(&origin, &lines)];
    let until = Instant::now() + 3 * WINDOW;
    std::thread::scope(|scope| {
        for port in proxies.iter().map(Proxy::port).cycle().take(8) {
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                while Instant::now() < until {
                    connection.get("/", &[]);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    // When a request is sent on and when the origin sees it differ; a window may look shorter by that much.
    let times = origin.times();
    let most = most_in_any(&times, WINDOW - Duration::from_millis(500));
    assert!(most <= EVENTS, "{most} of {} in a window of two instances", times.len());
    assert!(times.len() >= EVENTS, "{} in three windows: the rate is used", times.len());
    assert!(times.len() <= 4 * EVENTS);
    for proxy in &proxies {
        assert!(!proxy.log().contains("redis.lost"), "Redis was there all the time");
    }
}

#[test]
fn without_redis_the_setting_decides_and_it_comes_back_by_itself() {
    let mut redis = Redis::start();
    let origin = Origin::start(Manner::Prompt);
    let lines = |fail: &str| format!("redis = {}\nshared_fail = {fail}\nmax_requests = 10000\n", redis.url());
    let open = throttle(&origin, &lines("open"));
    let closed = throttle(&origin, &lines("closed"));
    assert_eq!([open.get("/").status, closed.get("/").status], [200, 200]);
    redis.kill();
    until_status(&closed, 503);
    assert_eq!(closed.get("/").json()["code"], "shed");
    closed.event(0, "redis.lost");
    assert!((0..20).all(|_| open.get("/").status == 200), "each has its own rate");
    redis.start_again();
    until_status(&closed, 200);
    closed.event(0, "redis.back");
}

#[test]
fn a_redis_that_stalls_holds_nobody_up() {
    let mut redis = Redis::start();
    let origin = Origin::start(Manner::Prompt);
    let proxy = throttle(&origin, &format!("redis = {}\nmax_requests = 10000\n", redis.url()));
    assert_eq!(proxy.get("/").status, 200);
    redis.signal(Signal::SIGSTOP);
    assert!((0..20).all(|_| proxy.get("/").status == 200));
    let mark = proxy.log().mark();
    redis.signal(Signal::SIGCONT);
    let deadline = Instant::now() + sluice_tests::PATIENCE;
    while !proxy.log().lines()[mark..].iter().any(|line| line.contains("redis.back")) {
        assert!(Instant::now() < deadline && proxy.get("/").status == 200);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_redis_that_lies_is_not_believed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut scratch = [0; 4096];
                // More slots than anybody wanted.
                while stream.read(&mut scratch).is_ok_and(|count| count > 0) {
                    if stream.write_all(b"*2\r\n:1000000\r\n:0\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    let origin = Origin::start(Manner::Prompt);
    let proxy = throttle(&origin, &format!("redis = {url}\nmax_requests = 3\nwindow_ms = 10min\n"));
    assert!((0..3).all(|_| proxy.get("/").status == 200), "the own rate holds");
    assert_eq!(proxy.get("/").status, 503);
    let said = proxy.event(0, "redis.error");
    assert!(said["msg"].as_str().unwrap().contains("makes no sense"), "{said}");
}
