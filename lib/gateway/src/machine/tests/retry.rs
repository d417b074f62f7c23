//! A second attempt: on a fresh connection where a kept one was dead, and what must not be sent twice.

use super::bench::{Bench, GET, OK, bench, body, in_pieces};
use super::gate::Ending;
use crate::effect::{ClientId, End};
use crate::gate::Outcome;
use crate::origins::ConnId;

#[test]
fn a_dead_kept_connection_is_tried_again_once_on_a_fresh_one() {
    in_pieces(|bench| {
        let client = bench.connect();
        bench.send(client, GET);
        let origin = bench.accept();
        bench.reply(origin, OK);
        bench.got(client);
        bench.asked(origin);
        bench.send(client, b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
        assert_eq!(body(&bench.asked(origin)), "ab");
        bench.end(End::Origin(origin));
        let fresh = bench.accept();
        bench.send(client, b"cd");
        assert_eq!(body(&bench.asked(fresh)), "abcd");
        // The second death is the client's to know.
        bench.end(End::Origin(fresh));
        assert!(bench.got(client).starts_with("HTTP/1.1 502 "));
        assert!(bench.dialing.is_empty());
        assert_eq!(bench.gateway.gate().endings[1], Ending::Settled(Outcome::ResetBeforeHead));
    });
}

#[test]
fn a_request_that_must_not_be_repeated_is_not() {
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    bench.got(client);
    bench.send(client, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    bench.end(End::Origin(origin));
    assert!(bench.got(client).starts_with("HTTP/1.1 502 "));
    assert!(bench.dialing.is_empty());
}

/// A client whose next request goes to a connection that served one already.
fn kept(bench: &mut Bench) -> (ClientId, ConnId) {
    let client = bench.connect();
    bench.send(client, GET);
    let origin = bench.accept();
    bench.reply(origin, OK);
    bench.got(client);
    bench.asked(origin);
    (client, origin)
}

#[test]
fn a_request_of_which_no_byte_was_taken_goes_to_another_connection() {
    for (request, content) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "abcd"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd", "abcd"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nab", "abcdef"),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "2\r\nab\r\n0\r\n\r\n",
        ),
        ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", "abcd"),
    ] {
        let mut bench = bench();
        let (client, origin) = kept(&mut bench);
        bench.send(client, request.as_bytes());
        bench.deafen(origin);
        assert!(bench.closed(End::Origin(origin)).is_some());
        let fresh = bench.accept();
        let came = body(&bench.asked(fresh)).to_owned();
        assert!(content.starts_with(&came) && came.starts_with(body(request)), "{came}");
        bench.send(client, &content.as_bytes()[came.len()..]);
        assert_eq!(came + &bench.asked(fresh), content);
        bench.reply(fresh, OK);
        assert_eq!(body(&bench.got(client)), "hello");
        assert_eq!(bench.log()[1]["retries"], 1);
        // Once only.
        assert!(bench.closed(End::Origin(fresh)).is_none());
        bench.send(client, request.as_bytes());
        bench.deafen(fresh);
        let second = bench.accept();
        bench.deafen(second);
        bench.end(End::Origin(second));
        assert!(bench.got(client).starts_with("HTTP/1.1 502 "), "{request}");
        assert!(bench.dialing.is_empty());
    }
}

#[test]
fn a_request_of_which_something_may_have_been_taken_is_not_sent_again() {
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    let some: [fn(&mut Bench, ClientId, ConnId); 5] = [
        // The connection ended after it was sent.
        |_, _, _| (),
        // A part of it waited.
        |bench, _, origin| {
            bench.gateway.blocked(End::Origin(origin), bench.now);
            bench.deafen(origin);
        },
        // Its head went out before its content did not.
        |bench, client, origin| {
            bench.send(client, b"ab");
            bench.deafen(origin);
        },
        // It was answered, if only by an interim response.
        |bench, _, origin| {
            bench.reply(origin, b"HTTP/1.1 103 Early Hints\r\n\r\n");
            bench.deafen(origin);
        },
        |bench, _, origin| {
            bench.reply(origin, b"H");
            bench.deafen(origin);
        },
    ];
    for happen in some {
        let mut bench = bench();
        let (client, origin) = kept(&mut bench);
        bench.send(client, request);
        happen(&mut bench, client, origin);
        bench.end(End::Origin(origin));
        assert!(bench.got(client).contains("HTTP/1.1 502 "));
        assert!(bench.dialing.is_empty());
    }
    // Nor is it on a connection that is fresh: that one was not dead already.
    let mut bench = bench();
    let client = bench.connect();
    bench.send(client, request);
    let origin = bench.accept();
    bench.deafen(origin);
    bench.end(End::Origin(origin));
    assert!(bench.got(client).starts_with("HTTP/1.1 502 "));
    assert!(bench.dialing.is_empty());
}

#[test]
fn content_beyond_what_is_kept_is_not_sent_again() {
    for (len, again) in [(16_384, true), (16_385, false)] {
        let mut bench = bench();
        let (client, origin) = kept(&mut bench);
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n");
        bench.send(client, &[head.as_bytes(), &vec![b'x'; len]].concat());
        bench.deafen(origin);
        assert_eq!(!bench.dialing.is_empty(), again);
    }
}
