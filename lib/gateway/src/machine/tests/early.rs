//! Responses that begin before their request is whole: both go on, and the end of the response is the end of both.

use std::time::Duration;

use super::bench::{Bench, GET, OK, bench, body, in_pieces, unchunk};
use super::gate::{Ending, Mood};
use crate::effect::{ClientId, Closing, End};
use crate::gate::Outcome;
use crate::origins::ConnId;

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
const MOMENT: Duration = Duration::from_millis(1);

/// A request with so much content announced, and a beginning of it.
fn post(len: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\nab").into_bytes()
}

fn asked(bench: &mut Bench, request: &[u8]) -> (ClientId, ConnId) {
    let client = bench.connect();
    bench.send(client, request);
    let origin = bench.accept();
    bench.asked(origin);
    (client, origin)
}

#[test]
fn an_echo_goes_both_ways_at_once() {
    in_pieces(|bench| {
        let (client, origin) = asked(bench, CHUNKED);
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = bench.got(client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("Connection: close"), "{head}");
        let (mut asked, mut got) = (String::new(), String::new());
        for piece in ["3\r\nabc\r\n", "2\r\nde\r\n"] {
            bench.send(client, piece.as_bytes());
            let echo = bench.asked(origin);
            assert!(!echo.is_empty());
            asked.push_str(&echo);
            bench.reply(origin, echo.as_bytes());
            got.push_str(&bench.got(client));
        }
        bench.send(client, b"0\r\n\r\n");
        asked.push_str(&bench.asked(origin));
        bench.reply(origin, b"0\r\n\r\n");
        got.push_str(&bench.got(client));
        assert_eq!((unchunk(&asked).0, unchunk(&got).0), ("abcde".to_owned(), "abcde".to_owned()));
        // Both messages are whole: both connections go on.
        bench.send(client, GET);
        assert!(bench.dialing.is_empty() && bench.asked(origin).starts_with("GET "));
        bench.reply(origin, OK);
        assert_eq!(body(&bench.got(client)), "hello");
        let log = bench.log();
        assert_eq!((&log[0]["bytes_in"], &log[0]["bytes_out"]), (&5.into(), &5.into()));
    });
}

#[test]
fn the_upload_ends_with_the_response() {
    for status in ["200 OK", "500 Oh"] {
        in_pieces(|bench| {
            let (client, origin) = asked(bench, &post(100_000));
            bench.reply(origin, format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n").as_bytes());
            bench.send(client, b"more");
            assert_eq!(bench.asked(origin), "more");
            bench.reply(origin, b"no");
            let got = bench.got(client);
            assert_eq!(body(&got), "no");
            // Only an error stops the client, so only with one the end is certain at the head.
            assert_eq!(got.contains("Connection: close\r\n"), status.starts_with('5'));
            assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
            assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
            assert!(matches!(bench.gateway.gate().endings[..], [Ending::Settled(Outcome::Response { .. })]));
        });
    }
}

#[test]
fn what_is_left_of_the_upload_is_dropped_if_it_is_little() {
    let linger_bytes = 65_536;
    for status in ["200 OK", "413 Too Large"] {
        in_pieces(|bench| {
            let (client, origin) = asked(bench, &post(linger_bytes + 2));
            bench.reply(origin, format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno").as_bytes());
            let got = bench.got(client);
            assert!(body(&got) == "no" && !got.contains("Connection: close\r\n"), "{got}");
            assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
            bench.send(client, &vec![b'x'; linger_bytes]);
            bench.send(client, GET);
            let fresh = bench.accept();
            bench.reply(fresh, OK);
            assert_eq!(body(&bench.got(client)), "hello");
        });
    }
    // One byte more.
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, &post(linger_bytes + 3));
    bench.reply(origin, OK);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
    // Nobody knows how much more there is of chunks.
    let (client, origin) = asked(&mut bench, CHUNKED);
    bench.reply(origin, OK);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
}

#[test]
fn an_upload_that_ends_within_the_response_costs_no_connection() {
    in_pieces(|bench| {
        let (client, origin) = asked(bench, &post(100_000));
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
        bench.send(client, &vec![b'x'; 99_998]);
        assert_eq!(bench.asked(origin).len(), 99_998);
        // The next request waits for the end of this response.
        bench.send(client, GET);
        assert_eq!(bench.asked(origin), "");
        bench.reply(origin, b"k");
        assert!(bench.asked(origin).starts_with("GET "));
        bench.reply(origin, OK);
        assert!(bench.got(client).ends_with("hello"));
        assert_eq!(bench.closed(End::Client(client)), None);
    });
}

#[test]
fn an_origin_that_has_not_taken_all_is_not_asked_again() {
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, &post(4));
    bench.send(client, b"cd");
    bench.gateway.blocked(End::Origin(origin), bench.now);
    bench.reply(origin, OK);
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    assert_eq!(bench.closed(End::Client(client)), None);
    assert_eq!(body(&bench.got(client)), "hello");
}

#[test]
fn content_that_waits_for_continue_is_not_waited_for_after_an_answer() {
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    for status in ["200 OK", "417 No"] {
        in_pieces(|bench| {
            let (client, origin) = asked(bench, request);
            bench.reply(origin, format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n").as_bytes());
            assert!(bench.got(client).contains("Connection: close\r\n"));
            // Nobody says 100 in the middle of another answer, and nobody is late.
            bench.pass(Duration::from_secs(50));
            bench.reply(origin, b"o");
            bench.pass(Duration::from_secs(50));
            assert_eq!((bench.asked(origin).as_str(), bench.got(client).as_str()), ("", "o"));
            bench.reply(origin, b"k");
            assert_eq!(bench.got(client), "k");
            assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
            assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
        });
        // The origin may wait for it all the same, and a client need not wait for the 100.
        in_pieces(|bench| {
            let (client, origin) = asked(bench, request);
            bench.reply(origin, format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n").as_bytes());
            bench.pass(Duration::from_secs(50));
            bench.send(client, b"la");
            bench.pass(Duration::from_secs(9));
            bench.send(client, b"te");
            assert_eq!(bench.asked(origin), "late");
            bench.reply(origin, b"ok");
            assert_eq!(body(&bench.got(client)), "ok");
            assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
            assert_eq!(bench.closed(End::Origin(origin)), None);
        });
    }
    // Whoever does not wait is carried on.
    in_pieces(|bench| {
        let (client, origin) = asked(bench, request);
        bench.send(client, b"ea");
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        bench.send(client, b"rl");
        assert_eq!(bench.asked(origin), "earl");
        bench.pass(Duration::from_secs(4));
        bench.reply(origin, b"ok");
        let got = bench.got(client);
        assert_eq!((body(&got), got.contains("100 Continue")), ("ok", false));
        assert_eq!((bench.closed(End::Client(client)), bench.closed(End::Origin(origin))), (None, None));
    });
}

#[test]
fn an_origin_that_stops_reading_is_read_to_its_end() {
    in_pieces(|bench| {
        let (client, origin) = asked(bench, &post(200_000));
        bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nh");
        bench.deafen(origin);
        // Dropped as far as it is little, then left unread: the origin's connection must hear nothing of it.
        bench.send(client, &vec![b'x'; 80_000]);
        bench.reply(origin, b"alf");
        assert_eq!(body(&bench.got(client)), "half");
        assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
        assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    });
}

#[test]
fn an_origin_that_stopped_reading_may_still_answer() {
    in_pieces(|bench| {
        let (client, origin) = asked(bench, &post(6));
        bench.deafen(origin);
        bench.send(client, b"cd");
        bench.reply(origin, b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
        bench.end(End::Origin(origin));
        assert_eq!(body(&bench.got(client)), "no");
        // The rest is little: the connection goes on.
        bench.send(client, b"ef");
        bench.send(client, GET);
        let fresh = bench.accept();
        bench.reply(fresh, OK);
        assert_eq!(body(&bench.got(client)), "hello");
    });
    // Its last byte was on its way: whole for us, and not for the origin.
    in_pieces(|bench| {
        let (client, origin) = asked(bench, &post(2));
        bench.deafen(origin);
        bench.reply(origin, OK);
        assert_eq!(body(&bench.got(client)), "hello");
        assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    });
}

#[test]
fn an_origin_that_stopped_reading_and_says_nothing_is_late() {
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, &post(6));
    bench.pass(Duration::from_secs(5));
    bench.deafen(origin);
    bench.pass(Duration::from_secs(30) - MOMENT);
    assert_eq!(bench.got(client), "");
    bench.pass(MOMENT);
    assert!(bench.got(client).starts_with("HTTP/1.1 504 "));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::HeadTimeout)]);
    // Its end tells at once.
    let (client, origin) = asked(&mut bench, &post(6));
    bench.deafen(origin);
    bench.reset(End::Origin(origin));
    assert!(bench.got(client).starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_client_that_ends_its_upload_early_still_reads_the_answer() {
    in_pieces(|bench| {
        let (client, origin) = asked(bench, &post(100));
        bench.reply(origin, b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nst");
        bench.end(End::Client(client));
        // The origin is told that no more comes, and that it is not whole.
        assert!(bench.is_shut(End::Origin(origin)));
        bench.reply(origin, b"op");
        assert_eq!(body(&bench.got(client)), "stop");
        assert_eq!(bench.closed(End::Client(client)), Some(Closing::Linger));
        assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
        assert!(matches!(bench.gateway.gate().endings[..], [Ending::Settled(Outcome::Response { .. })]));
    });
    // Not for ever.
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, &post(100));
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nst");
    bench.end(End::Client(client));
    bench.pass(Duration::from_secs(30) - MOMENT);
    assert_eq!(bench.closed(End::Client(client)), None);
    bench.pass(MOMENT);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
}

#[test]
fn bad_content_within_a_response_breaks_both_connections() {
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, CHUNKED);
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nst");
    bench.send(client, b"+1\r\n");
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
    assert_eq!(bench.closed(End::Origin(origin)), Some(Closing::Abort));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::Own4xx)]);
}

/// A bench that judges uploads by their pauses alone.
fn unhurried() -> Bench {
    Bench::new(Mood::Pass, |settings| settings.body_min_rate = 0)
}

#[test]
fn an_origin_that_answers_is_not_late_with_reading() {
    let mut bench = unhurried();
    let (client, origin) = asked(&mut bench, &post(100));
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na");
    bench.gateway.blocked(End::Origin(origin), bench.now);
    bench.pass(Duration::from_secs(50));
    bench.reply(origin, b"b");
    // Not for ever either: what it says has its own time.
    bench.pass(Duration::from_secs(60) - MOMENT);
    assert_eq!(bench.closed(End::Client(client)), None);
    bench.pass(MOMENT);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
    assert_eq!(bench.gateway.gate().endings, [Ending::Settled(Outcome::BodyIdle)]);
}

#[test]
fn a_client_may_not_stop_uploading_within_a_response_unless_it_is_an_error() {
    for (status, closed) in [("200 OK", Some(Closing::Abort)), ("400 No", None)] {
        let mut bench = unhurried();
        let (client, origin) = asked(&mut bench, &post(100));
        bench.reply(origin, format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\na").as_bytes());
        bench.pass(Duration::from_secs(30) - MOMENT);
        assert_eq!(bench.closed(End::Client(client)), None);
        bench.pass(MOMENT);
        assert_eq!(bench.closed(End::Client(client)), closed);
    }
}

#[test]
fn time_in_which_the_origin_takes_nothing_is_not_the_clients() {
    let mut bench = bench();
    let (client, origin) = asked(&mut bench, &post(9999));
    bench.reply(origin, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na");
    bench.gateway.blocked(End::Origin(origin), bench.now);
    bench.pass(Duration::from_secs(20));
    bench.gateway.progressed(End::Origin(origin), bench.now);
    bench.pass(Duration::from_secs(20));
    bench.gateway.flushed(End::Origin(origin), bench.now);
    // Ten seconds of its own until its rate counts.
    bench.pass(Duration::from_secs(10) - MOMENT);
    assert_eq!(bench.closed(End::Client(client)), None);
    bench.pass(MOMENT);
    assert_eq!(bench.closed(End::Client(client)), Some(Closing::Abort));
}

/// One of the things that happen to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    ClientEnds,
    ClientBreaks,
    OriginEnds,
    OriginBreaks,
    OriginDeaf,
}

#[test]
fn ends_at_every_stage_leave_no_half_answer_that_looks_whole() {
    let request: &[u8] =
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    let response: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let fates =
        [Fate::ClientEnds, Fate::ClientBreaks, Fate::OriginEnds, Fate::OriginBreaks, Fate::OriginDeaf];
    for sent in head..=request.len() {
        for replied in 0..=response.len() {
            for fate in fates {
                let mut bench = bench();
                let (client, origin) = asked(&mut bench, &request[..sent]);
                bench.reply(origin, &response[..replied]);
                if bench.closed(End::Origin(origin)).is_none() && bench.closed(End::Client(client)).is_none()
                {
                    suffer(&mut bench, fate, client, origin);
                }
                bench.pass(Duration::from_secs(200));
                assert_eq!(bench.gateway.gate().open(), 0);
                assert_eq!((bench.gateway.clients(), bench.gateway.conns()), (0, 0), "{fate:?}");
                let (got, closed) = (bench.got(client), bench.closed(End::Client(client)));
                if got.starts_with("HTTP/1.1 200 ") && closed != Some(Closing::Abort) {
                    assert_eq!(unchunk(body(&got)).0, "abcde", "{sent} {replied} {fate:?}");
                }
            }
        }
    }
}

fn suffer(bench: &mut Bench, fate: Fate, client: ClientId, origin: ConnId) {
    match fate {
        Fate::ClientEnds => bench.end(End::Client(client)),
        Fate::ClientBreaks => bench.reset(End::Client(client)),
        Fate::OriginEnds => bench.end(End::Origin(origin)),
        Fate::OriginBreaks => bench.reset(End::Origin(origin)),
        Fate::OriginDeaf => bench.deafen(origin),
    }
}
