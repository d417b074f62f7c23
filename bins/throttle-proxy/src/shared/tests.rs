//! The client's life, and answers that lie.

use super::*;
use crate::limiter::lease::SlotName;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn outputs(redis: &mut Redis) -> Vec<Output> {
    std::iter::from_fn(|| redis.poll()).collect()
}

fn request(number: u64) -> LeaseRequest {
    LeaseRequest {
        request: number,
        wanted: 3,
        returned: vec![SlotName { request: 1, number: 2 }],
        events: 50,
        window: ms(30_000),
        lease: ms(500),
    }
}

fn connecting(text: &str, now: Instant) -> Redis {
    let mut redis = Redis::new(RedisPlace::parse(text), "p:".into(), 7, now);
    redis.handle_timeout(now);
    assert!(matches!(&outputs(&mut redis)[..], [Output::Ask(Ask::Connect(_))]));
    redis
}

fn ready(now: Instant) -> Redis {
    let mut redis = connecting("redis://h", now);
    redis.on_told(Told::Up, now);
    assert_eq!(outputs(&mut redis), []);
    redis
}

fn input(redis: &mut Redis, bytes: &[u8], now: Instant) -> Vec<Output> {
    redis.on_told(Told::Input(bytes), now);
    outputs(redis)
}

fn sent(outputs: &[Output]) -> String {
    let [Output::Ask(Ask::Send(bytes))] = outputs else { panic!("{outputs:?}") };
    String::from_utf8(bytes.clone()).unwrap()
}

#[test]
fn a_request_is_one_script_and_its_answer_comes_back() {
    let now = Instant::now();
    let mut redis = ready(now);
    redis.request("default".into(), request(4), now);
    let text = sent(&outputs(&mut redis));
    let words: Vec<&str> = text.split("\r\n").filter(|word| !word.starts_with(['$', '*'])).collect();
    assert_eq!(words[0], "EVAL");
    let rest =
        ["1", "p:default", "50", "30000", "3", "500", "0000000000000007:4", "0000000000000007:1:2", ""];
    assert_eq!(words[words.len() - rest.len()..], rest);
    let granted =
        |slots, next_free| Output::Granted { route: "default".into(), request: 4, slots, next_free };
    assert_eq!(input(&mut redis, b"*2\r\n:2\r\n:0\r\n", now), [granted(2, ms(0))]);
    redis.request("default".into(), request(4), now);
    outputs(&mut redis);
    assert_eq!(input(&mut redis, b"*2\r\n:0\r\n:120\r\n", now), [granted(0, ms(120))]);
}

#[test]
fn answers_come_in_order_for_several_routes() {
    let now = Instant::now();
    let mut redis = ready(now);
    redis.request("a".into(), request(1), now);
    redis.request("b".into(), request(9), now);
    outputs(&mut redis);
    let found = input(&mut redis, b"*2\r\n:1\r\n:0\r\n*2\r\n:3\r\n:0\r\n", now);
    let routes: Vec<(&str, u32)> = found
        .iter()
        .map(|output| match output {
            Output::Granted { route, slots, .. } => (route.as_str(), *slots),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(routes, [("a", 1), ("b", 3)]);
}

#[test]
fn the_login_goes_before_anything_else() {
    let now = Instant::now();
    let mut redis = connecting("redis://me:pw@h/2", now);
    redis.request("a".into(), request(1), now);
    redis.on_told(Told::Up, now);
    let text = sent(&outputs(&mut redis));
    assert!(
        text.contains("AUTH\r\n$2\r\nme\r\n$2\r\npw\r\n") && text.contains("SELECT\r\n$1\r\n2\r\n"),
        "{text}"
    );
    assert_eq!(input(&mut redis, b"+OK\r\n", now), []);
    assert!(sent(&input(&mut redis, b"+OK\r\n", now)).contains("EVAL"));
    let mut redis = connecting("redis://:bad@h", now);
    redis.on_told(Told::Up, now);
    outputs(&mut redis);
    let found = input(&mut redis, b"-WRONGPASS no\r\n", now);
    let why = "it refuses the login: WRONGPASS no".to_owned();
    assert_eq!(found, [Output::Ask(Ask::Close), Output::Failed(Some(why))]);
}

#[test]
fn answers_that_lie_end_the_connection() {
    let now = Instant::now();
    for answer in [
        &b"*2\r\n:4\r\n:0\r\n"[..],
        b"*2\r\n:-1\r\n:0\r\n",
        b"*2\r\n:1\r\n:-5\r\n",
        b"*2\r\n:1\r\n$1\r\nx\r\n",
        b"*1\r\n:1\r\n",
        b"*3\r\n:1\r\n:1\r\n:1\r\n",
        b":1\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"*2\r\n:1\r\n:0\r\n:1\r\n",
    ] {
        let mut redis = ready(now);
        redis.request("a".into(), request(1), now);
        outputs(&mut redis);
        let found = input(&mut redis, answer, now);
        assert!(
            matches!(&found[..], [.., Output::Ask(Ask::Close), Output::Failed(Some(_))]),
            "{}: {found:?}",
            answer.escape_ascii()
        );
        assert_eq!(redis.poll_timeout(), Some(now + ms(100)));
    }
}

#[test]
fn without_a_connection_the_limiter_learns_it_at_once() {
    let now = Instant::now();
    let mut redis = ready(now);
    redis.request("a".into(), request(1), now);
    outputs(&mut redis);
    redis.on_told(Told::Down("reset".into()), now);
    assert_eq!(outputs(&mut redis), [Output::Failed(Some("reset".into()))]);
    redis.request("a".into(), request(2), now);
    assert_eq!(outputs(&mut redis), [Output::Failed(None)]);
    // The next failure is no news; an answer makes it so again.
    redis.handle_timeout(now + ms(100));
    redis.on_told(Told::Down("refused".into()), now + ms(100));
    assert_eq!(outputs(&mut redis)[1..], [Output::Failed(None)]);
    let mut off = Redis::new(None, String::new(), 1, now);
    off.request("a".into(), request(1), now);
    assert_eq!((outputs(&mut off), off.poll_timeout()), (vec![Output::Failed(None)], None));
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let now = Instant::now();
    let mut redis = ready(now);
    assert_eq!(redis.poll_timeout(), None, "nothing was asked");
    redis.request("a".into(), request(1), now);
    outputs(&mut redis);
    redis.handle_timeout(now + ms(4999));
    assert_eq!(outputs(&mut redis), []);
    redis.handle_timeout(now + ms(5000));
    assert_eq!(
        outputs(&mut redis),
        [Output::Ask(Ask::Close), Output::Failed(Some("it does not answer".into()))]
    );
}

#[test]
fn another_place_ends_what_there_was() {
    let now = Instant::now();
    let mut redis = ready(now);
    redis.set(RedisPlace::parse("redis://h"), "p:".into(), now);
    assert_eq!(outputs(&mut redis), []);
    redis.set(RedisPlace::parse("unix:/r.sock"), "p:".into(), now);
    assert_eq!(outputs(&mut redis), [Output::Ask(Ask::Close), Output::Failed(None)]);
    redis.handle_timeout(now);
    assert_eq!(outputs(&mut redis), [Output::Ask(Ask::Connect(Address::Unix("/r.sock".into())))]);
}
