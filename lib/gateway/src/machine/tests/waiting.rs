//! Requests that waited: in the gate's queue, for a connection, for the end of the process.

use std::time::Duration;

use super::bench::{Bench, GET, OK};
use super::gate::Mood;
use crate::effect::{Closing, End};

#[test]
fn content_that_came_with_a_queued_head_goes_out_on_an_idle_connection_too() {
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nwork";
    for idle in [false, true] {
        let mut bench = Bench::new(Mood::Pass, |_| {});
        let client = bench.connect();
        let mut origin = None;
        if idle {
            bench.send(client, GET);
            let kept = bench.accept();
            bench.reply(kept, OK);
            bench.asked(kept);
            bench.got(client);
            origin = Some(kept);
        }
        bench.gateway.gate_mut().mood = Mood::Delay;
        bench.send(client, post);
        bench.release();
        let origin = origin.unwrap_or_else(|| bench.accept());
        assert!(bench.asked(origin).ends_with("\r\n\r\nwork"), "idle: {idle}");
        bench.reply(origin, OK);
        assert!(bench.got(client).ends_with("hello"));
    }
}

#[test]
fn a_drain_ends_connections_that_were_promised_to_go_on() {
    let mut bench = Bench::new(Mood::Pass, |_| {});
    let (resting, pipelining) = (bench.connect(), bench.connect());
    let mut origins = Vec::new();
    for client in [resting, pipelining] {
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
        origins.push(origin);
    }
    bench.send(pipelining, GET);
    bench.drain();
    for origin in origins {
        bench.reply(origin, b"llo");
    }
    assert!(bench.got(resting).ends_with("hello") && bench.got(pipelining).ends_with("hello"));
    // What was asked already is answered, as the last thing.
    let second = bench.accept();
    bench.reply(second, OK);
    assert!(bench.got(pipelining).contains("Connection: close"));
    assert_eq!(bench.closed(End::Client(pipelining)), Some(Closing::Linger));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.closed(End::Client(resting)), Some(Closing::Linger));
    assert!(bench.gateway.is_drained());
}

#[test]
fn the_gate_is_told_when_a_head_leaves_later_than_it_was_dispatched() {
    let mut bench = Bench::new(Mood::Pass, |_| {});
    let client = bench.connect();
    bench.send(client, GET);
    bench.pass(Duration::from_millis(7));
    assert_eq!(bench.gateway.gate().sent, []);
    let origin = bench.accept();
    assert_eq!(bench.gateway.gate().sent, [bench.now]);
    bench.reply(origin, OK);
    bench.send(client, GET);
    assert!(bench.asked(origin).ends_with("\r\n\r\n"));
    assert_eq!(bench.gateway.gate().sent.len(), 1, "on a kept connection it leaves at once");
}

#[test]
fn a_client_that_has_ended_is_closed_with_its_answer() {
    let mut bench = Bench::new(Mood::Pass, |_| {});
    let client = bench.connect();
    bench.send(client, GET);
    bench.end(End::Client(client));
    // With the connection to the origin what is left of the request is asked for, and the end is all there is.
    let origin = bench.accept();
    assert_eq!(bench.closed(End::Client(client)), None, "its answer is waited for");
    bench.reply(origin, OK);
    assert!(bench.got(client).ends_with("hello"));
    assert!(bench.closed(End::Client(client)).is_some());
    assert_eq!(bench.closed(End::Origin(origin)), None);
}
