//! The feed's life, and lines that lie.

use super::*;

const LINE: &str = r#"{"event":"pressure","pool":"d/u","state":"shedding","expected_wait_ms":120,"retry_after_ms":900,"suggested_concurrency":7,"more":[1]}"#;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn outputs(feed: &mut Feed) -> Vec<Output> {
    std::iter::from_fn(|| feed.poll()).collect()
}

/// A feed that watches.
fn watching(now: Instant) -> Feed {
    let mut feed = Feed::new(Some("/p.sock".into()), now);
    feed.handle_timeout(now);
    assert_eq!(outputs(&mut feed), [Output::Ask(Ask::Connect(Address::Unix("/p.sock".into())))]);
    feed.on_told(Told::Up, now);
    assert_eq!(outputs(&mut feed), [Output::Ask(Ask::Send(b"{\"cmd\":\"watch\"}\n".to_vec()))]);
    feed
}

fn told(feed: &mut Feed, text: &str, now: Instant) -> Vec<Output> {
    feed.on_told(Told::Input(text.as_bytes()), now);
    outputs(feed)
}

fn expected() -> PoolPressure {
    PoolPressure {
        pool: "d/u".into(),
        state: PoolState::Shedding,
        expected_wait: ms(120),
        retry_after: ms(900),
        suggested_concurrency: 7,
    }
}

#[test]
fn without_a_socket_nothing_happens() {
    let now = Instant::now();
    let mut feed = Feed::new(None, now);
    feed.handle_timeout(now + ms(100_000));
    assert_eq!((feed.poll_timeout(), outputs(&mut feed)), (None, vec![]));
}

#[test]
fn reports_come_however_the_bytes_are_cut() {
    let now = Instant::now();
    let text = format!("{LINE}\n{{\"event\":\"heartbeat\"}}\n{LINE}\r\n");
    for cut in 0..=text.len() {
        let mut feed = watching(now);
        let mut found = told(&mut feed, &text[..cut], now);
        found.extend(told(&mut feed, &text[cut..], now));
        assert_eq!(found, [Output::Report(expected()), Output::Report(expected())], "cut at {cut}");
    }
    let mut feed = watching(now);
    let found: Vec<Output> = text.chars().flat_map(|c| told(&mut feed, &c.to_string(), now)).collect();
    assert_eq!(found.len(), 2);
}

#[test]
fn lines_that_lie_are_counted_and_passed_over() {
    let now = Instant::now();
    let mut feed = watching(now);
    let with = |from: &str, to: &str| LINE.replace(from, to);
    let bad = [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        "\u{0}\u{1}".to_owned(),
        with("\"shedding\"", "\"panicking\""),
        with("\"shedding\"", "3"),
        with("120", "\"120\""),
        with("120", "-1"),
        with("120", "1.5"),
        with(":7", ":null"),
        with("\"pool\":\"d/u\",", ""),
    ];
    for line in &bad {
        assert_eq!(told(&mut feed, &format!("{line}\n"), now), [], "{line}");
    }
    assert_eq!(feed.bad_lines(), bad.len() as u64);
    let most = with(":7", ":99999999999");
    let [Output::Report(report)] = &told(&mut feed, &format!("{most}\n"), now)[..] else {
        panic!("no report")
    };
    assert_eq!(report.suggested_concurrency, u32::MAX);
}

#[test]
fn a_line_at_and_beyond_the_limit() {
    let now = Instant::now();
    let mut feed = watching(now);
    let filler = "x".repeat(LINE_BYTES_MAX);
    assert_eq!(told(&mut feed, &format!("{filler}\n{LINE}\n"), now), [Output::Report(expected())]);
    let found = told(&mut feed, &format!("{filler}x"), now);
    assert!(matches!(&found[..], [Output::Ask(Ask::Close), Output::Lost(_)]), "{found:?}");
}

#[test]
fn it_comes_back_with_backoff_and_is_told_of_once() {
    let start = Instant::now();
    let mut feed = watching(start);
    told(&mut feed, &format!("{LINE}\n"), start);
    feed.on_told(Told::Down("gone".into()), start);
    assert_eq!(outputs(&mut feed), [Output::Lost("gone".into())]);
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let due = feed.poll_timeout().unwrap();
        waits.push((due - now).as_millis());
        now = due;
        feed.handle_timeout(now);
        assert!(matches!(&outputs(&mut feed)[..], [Output::Ask(Ask::Connect(_))]));
        feed.on_told(Told::Down("refused".into()), now);
        assert_eq!(outputs(&mut feed), [], "it was told already");
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    feed.handle_timeout(now + ms(5000));
    feed.on_told(Told::Up, now);
    outputs(&mut feed);
    assert_eq!(told(&mut feed, &format!("{LINE}\n"), now), [Output::Back, Output::Report(expected())]);
    feed.on_told(Told::Down("gone".into()), now);
    assert_eq!(feed.poll_timeout(), Some(now + ms(100)), "and starts over");
}

#[test]
fn the_first_failure_is_told() {
    let now = Instant::now();
    let mut feed = Feed::new(Some("/p.sock".into()), now);
    feed.handle_timeout(now);
    outputs(&mut feed);
    feed.on_told(Told::Down("no such file".into()), now);
    assert_eq!(outputs(&mut feed), [Output::Failed("no such file".into())]);
}

#[test]
fn silence_and_refusals_end_it() {
    let now = Instant::now();
    let mut feed = watching(now);
    told(&mut feed, "{\"event\":\"heartbeat\"}\n", now + ms(5000));
    assert_eq!(feed.poll_timeout(), Some(now + ms(21_000)));
    feed.handle_timeout(now + ms(20_999));
    assert_eq!(outputs(&mut feed), []);
    feed.handle_timeout(now + ms(21_000));
    assert_eq!(outputs(&mut feed), [Output::Ask(Ask::Close), Output::Lost("it is silent".into())]);
    for line in ["{\"ok\":true}\n", "{\"ok\":false,\"error\":\"not allowed\"}\n"] {
        let mut feed = watching(now);
        let found = told(&mut feed, line, now);
        assert!(matches!(&found[..], [Output::Ask(Ask::Close), Output::Lost(_)]), "{found:?}");
    }
}

#[test]
fn another_socket_ends_what_there_was() {
    let now = Instant::now();
    let mut feed = watching(now);
    feed.set_path(Some("/p.sock".into()), now);
    assert_eq!(outputs(&mut feed), []);
    feed.set_path(Some("/q.sock".into()), now);
    assert!(matches!(&outputs(&mut feed)[..], [Output::Ask(Ask::Close), Output::Lost(_)]));
    assert_eq!(feed.poll_timeout(), Some(now));
    feed.set_path(None, now);
    assert_eq!((outputs(&mut feed), feed.poll_timeout()), (vec![Output::Ask(Ask::Close)], None));
    // Whatever the old connection still says finds nobody.
    assert_eq!(told(&mut feed, &format!("{LINE}\n"), now), []);
}
