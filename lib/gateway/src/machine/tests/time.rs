//! Every timeout, a moment before it and at it.

use std::time::Duration;

use super::bench::{Bench, GET, OK, bench};
use super::gate::{Ending, Mood};
use crate::effect::{Closing, End};
use crate::gate::Outcome;

const MOMENT: Duration = Duration::from_millis(1);

/// Lets `time` pass but for a moment, looks, lets the moment pass.
fn around(bench: &mut Bench, time: Duration, before: impl FnOnce(&mut Bench)) {
    bench.pass(time - MOMENT);
    before(bench);
    bench.pass(MOMENT);
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let mut bench = bench();
    let client = bench.connect();
    around(&mut bench, Duration::from_secs(10), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert!(bench.closed(End::Client(client)).is_some());
    assert_eq!(bench.got(client), "");
}

#[test]
fn a_head_has_its_time_from_its_first_byte() {
    let mut bench = bench();
    let client = bench.connect();
    bench.pass(Duration::from_secs(9));
    bench.send(client, b"GET / HT");
    bench.pass(Duration::from_secs(5));
    bench.send(client, b"TP/1.1\r\n");
    around(&mut bench, Duration::from_secs(5), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 408 "));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
}

#[test]
fn a_kept_connection_is_closed_after_its_rest() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    bench.got(client);
    bench.pass(Duration::from_secs(4) - MOMENT);
    assert_eq!(bench.closed(End::Origin(origin)), None);
    bench.pass(MOMENT);
    assert!(bench.closed(End::Origin(origin)).is_some());
    around(&mut bench, Duration::from_secs(56), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert!(bench.closed(End::Client(client)).is_some());
    assert_eq!(bench.got(client), "");
}

#[test]
fn a_connection_has_its_time_to_be_made() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    around(&mut bench, Duration::from_secs(2), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 504 "));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::ConnectTimeout)]);
    assert_eq!(bench.gateway.conns(), 0);
}

#[test]
fn a_response_head_has_its_time_from_the_last_byte_of_the_request() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na");
    let origin = bench.accept();
    bench.pass(Duration::from_secs(8));
    bench.send(client, b"b");
    around(&mut bench, Duration::from_secs(30), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 504 "));
    assert!(bench.closed(End::Origin(origin)).is_some());
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::HeadTimeout)]);
}

#[test]
fn content_of_a_response_may_pause_so_long() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell");
    bench.pass(Duration::from_secs(50));
    bench.reply(origin, b"o");
    around(&mut bench, Duration::from_secs(60), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::BodyIdle)]);
}

#[test]
fn content_of_a_request_may_pause_so_long() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.body_min_rate = 0);
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na");
    bench.accept();
    bench.pass(Duration::from_secs(20));
    bench.send(client, b"b");
    around(&mut bench, Duration::from_secs(30), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 408 "));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Own4xx)]);
}

#[test]
fn content_must_come_at_a_rate() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n");
    bench.accept();
    // 128 bytes a second, paid for up to second 20.
    bench.send(client, &[b'x'; 128 * 20]);
    bench.pass(Duration::from_secs(19));
    bench.send(client, b"x");
    around(&mut bench, Duration::from_secs(1), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 408 "));
}

#[test]
fn the_gateway_says_continue_when_nobody_does() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    let origin = bench.accept();
    around(&mut bench, Duration::from_secs(3), |bench| assert_eq!(bench.got(client), ""));
    assert_eq!(bench.got(client), "HTTP/1.1 100 Continue\r\n\r\n");
    // The origin's own comes too late to be told.
    bench.reply(origin, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(bench.got(client), "");
}

#[test]
fn a_half_closed_client_is_waited_for_so_long() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_head_ms = Duration::from_secs(100));
    let client = bench.connect();
    bench.send(client, GET);
    bench.accept();
    bench.end(End::Client(client));
    around(&mut bench, Duration::from_secs(30), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
}

#[test]
fn slow_readers_have_their_time() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell");
    bench.gateway.blocked(End::Client(client), bench.now);
    bench.pass(Duration::from_secs(20));
    bench.gateway.progressed(End::Client(client), bench.now);
    around(&mut bench, Duration::from_secs(30), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
}

#[test]
fn an_origin_that_takes_nothing_is_late() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nab");
    let origin = bench.accept();
    bench.gateway.blocked(End::Origin(origin), bench.now);
    around(&mut bench, Duration::from_secs(30), |bench| assert_eq!(bench.got(client), ""));
    assert!(bench.got(client).starts_with("HTTP/1.1 504 "));
}

#[test]
fn a_silent_tunnel_ends() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let origin = bench.accept();
    bench.reply(origin, b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    bench.pass(Duration::from_secs(200));
    bench.send(client, b"x");
    around(&mut bench, Duration::from_secs(300), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert!(bench.closed(End::Client(client)).is_some() && bench.closed(End::Origin(origin)).is_some());
}

#[test]
fn content_nobody_waits_for_has_its_time() {
    let mut bench = Bench::new(Mood::Refuse(crate::code::Code::QueueFull), |_| {});
    let client = bench.connect();
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na");
    assert!(bench.got(client).starts_with("HTTP/1.1 503 "));
    bench.pass(Duration::from_secs(4));
    // However often it sends a byte.
    bench.send(client, b"b");
    around(&mut bench, Duration::from_secs(1), |bench| assert_eq!(bench.closed(End::Client(client)), None));
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
}

#[test]
fn draining_has_an_end() {
    let mut bench = Bench::new(Mood::Pass, |settings| settings.origin_head_ms = Duration::from_secs(100));
    let client = bench.connect();
    bench.send(client, GET);
    bench.accept();
    bench.drain();
    around(&mut bench, Duration::from_secs(30), |bench| assert!(!bench.gateway.is_drained()));
    assert!(bench.gateway.is_drained());
    assert_eq!(bench.gateway.gate().open(), 0);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
}

#[test]
fn origins_are_checked_beside_the_requests() {
    let mut bench = Bench::new(Mood::Pass, |settings| {
        settings.origin = vec!["http://127.0.0.1:1".into(), "http://127.0.0.1:2".into()];
        settings.check_path = Some("/health".into());
    });
    bench.poke();
    // The first origin answers, the second does not, three times over.
    for _ in 0..3 {
        assert_eq!(bench.dialing.len(), 2);
        let (good, bad) = (bench.accept(), bench.accept());
        assert_eq!(
            bench.asked(good),
            "GET /health HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n"
        );
        assert!(bench.asked(bad).contains("Host: 127.0.0.1:2\r\n"));
        bench.reply(good, b"HTTP/1.1 204 No Content\r\n\r\n");
        assert!(bench.closed(End::Origin(good)).is_some());
        bench.pass(Duration::from_secs(1) - MOMENT);
        assert_eq!(bench.closed(End::Origin(bad)), None);
        bench.pass(MOMENT);
        assert!(bench.closed(End::Origin(bad)).is_some());
        bench.pass(Duration::from_secs(4));
    }
    let up: Vec<bool> =
        bench.gateway.show_origins(bench.now).iter().map(|row| row["state"] == "up").collect();
    assert_eq!(up, [true, false]);
    assert_eq!(bench.logged, ["origin http://127.0.0.1:2 is left out: checks fail: no answer in time"]);
    for failure in [true, false, false] {
        let first = bench.accept();
        bench.reply(first, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
        if failure {
            bench.refuse(crate::machine::ConnectFailure::Refused);
        } else {
            let second = bench.accept();
            bench.reply(second, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n");
        }
        bench.pass(Duration::from_secs(5));
    }
    let up: Vec<bool> =
        bench.gateway.show_origins(bench.now).iter().map(|row| row["state"] == "up").collect();
    assert_eq!(up, [true, true]);
    bench.drain();
    assert!(bench.gateway.is_drained());
}
