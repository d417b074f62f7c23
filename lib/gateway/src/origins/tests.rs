//! The set of origins on a virtual clock.

use super::*;

const POLICY: Policy = Policy {
    balance: Balance::LeastInflight,
    fail_max: 3,
    eject: Duration::from_secs(10),
    ramp: Duration::from_secs(10),
    rise: 2,
    fall: 3,
    conns_max: 2,
    idle_max: 2,
    keepalive: Duration::from_secs(4),
    reuse_unsafe: Duration::from_secs(1),
};

fn set(count: usize, balance: Balance) -> Origins {
    Origins::new(count, Policy { balance, ..POLICY }, 7)
}

fn conn(index: u32) -> ConnId {
    ConnId(Key { index, generation: 1 })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fail(origins: &mut Origins, origin: u16, now: Instant) -> Option<Change> {
    let mut change = None;
    for _ in 0..POLICY.fail_max {
        change = origins.failed(OriginId(origin), now);
    }
    change
}

#[test]
fn the_least_busy_is_chosen() {
    let now = Instant::now();
    let mut origins = set(3, Balance::LeastInflight);
    let mut counts = [0; 3];
    for _ in 0..9 {
        let chosen = origins.choose(0, None, now).unwrap();
        origins.begin(chosen);
        counts[usize::from(chosen.0)] += 1;
    }
    assert_eq!(counts, [3, 3, 3]);
    origins.end(OriginId(1));
    assert_eq!(origins.choose(0, None, now), Some(OriginId(1)));
    assert_eq!(origins.choose(0, Some(OriginId(1)), now), Some(OriginId(0)));
}

#[test]
fn turns_go_round() {
    let now = Instant::now();
    let mut origins = set(3, Balance::RoundRobin);
    let turns: Vec<u16> = (0..6).map(|_| origins.choose(0, None, now).unwrap().0).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_key_keeps_its_origin_when_another_leaves() {
    let now = Instant::now();
    let mut origins = set(4, Balance::HashPath);
    let before: Vec<OriginId> = (0..1000).map(|key| origins.choose(mix(key), None, now).unwrap()).collect();
    for origin in 0..4 {
        assert!(before.iter().filter(|chosen| **chosen == OriginId(origin)).count() > 150);
    }
    assert_eq!(fail(&mut origins, 2, now), Some(Change::Down));
    for (key, was) in before.into_iter().enumerate() {
        let is = origins.choose(mix(key as u64), None, now).unwrap();
        assert!(if was == OriginId(2) { is != was } else { is == was });
    }
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_does_not() {
    let now = Instant::now();
    let mut origins = set(2, Balance::RoundRobin);
    let first = OriginId(0);
    assert_eq!(origins.failed(first, now), None);
    assert_eq!(origins.failed(first, now), None);
    origins.succeeded(first);
    assert_eq!(origins.failed(first, now), None);
    assert_eq!(origins.failed(first, now), None);
    assert_eq!(origins.failed(first, now), Some(Change::Down));
    assert!(!origins.is_up(first, now));
    assert!((0..4).all(|_| origins.choose(0, None, now) == Some(OriginId(1))));
    let until = origins.next_return().unwrap();
    assert!(until >= now + seconds(10) && until <= now + seconds(11));
    assert_eq!(origins.returned(until - Duration::from_nanos(1)), None);
    assert_eq!(origins.returned(until), Some(first));
    assert!(origins.is_up(first, until));
}

#[test]
fn ejections_grow_to_their_cap() {
    let mut now = Instant::now();
    let mut origins = set(2, Balance::RoundRobin);
    for times in 1..=40 {
        assert_eq!(fail(&mut origins, 0, now), Some(Change::Down));
        let time = origins.next_return().unwrap() - now;
        let base = (seconds(10) * times).min(EJECT_MAX);
        assert!(time >= base && time <= base.mul_f64(1.1));
        now += time;
        assert_eq!(origins.returned(now), Some(OriginId(0)));
    }
}

#[test]
fn never_over_half_and_never_the_last() {
    let now = Instant::now();
    for count in 1..=5_u16 {
        let mut origins = set(usize::from(count), Balance::RoundRobin);
        let out = (0..count).filter(|&origin| fail(&mut origins, origin, now).is_some()).count();
        assert_eq!(out, usize::from(count / 2), "of {count}");
        assert!(origins.choose(0, None, now).is_some());
    }
    assert_eq!(set(1, Balance::RoundRobin).choose(0, Some(OriginId(0)), now), None);
}

#[test]
fn checks_fall_and_rise() {
    let now = Instant::now();
    let mut origins = set(1, Balance::LeastInflight);
    let only = OriginId(0);
    for result in [Err(()), Err(()), Ok(()), Err(()), Err(())] {
        assert_eq!(origins.checked(only, result, now), None);
    }
    assert_eq!(origins.checked(only, Err(()), now), Some(Change::Down));
    assert_eq!(origins.choose(0, None, now), Some(only), "the only one is used all the same");
    assert_eq!(origins.checked(only, Ok(()), now), None);
    assert_eq!(origins.checked(only, Err(()), now), None);
    assert_eq!(origins.checked(only, Ok(()), now), None);
    assert_eq!(origins.checked(only, Ok(()), now), Some(Change::Up));
}

#[test]
fn a_returned_origin_gets_its_share_slowly() {
    let start = Instant::now();
    let mut origins = set(2, Balance::RoundRobin);
    fail(&mut origins, 0, start);
    let back = origins.next_return().unwrap();
    origins.returned(back);
    let mut share =
        |at: Instant| (0..110).filter(|_| origins.choose(0, None, at) == Some(OriginId(0))).count();
    let (begin, middle, end) = (share(back), share(back + seconds(5)), share(back + seconds(10)));
    assert!((8..=12).contains(&begin), "{begin}");
    assert!((33..=40).contains(&middle), "{middle}");
    assert!((53..=57).contains(&end), "{end}");
}

#[test]
fn idle_connections_are_reused_last_first_and_not_too_old() {
    let now = Instant::now();
    let mut origins = set(1, Balance::LeastInflight);
    let only = OriginId(0);
    origins.put_idle(only, conn(1), now);
    origins.put_idle(only, conn(2), now + seconds(1));
    assert_eq!(origins.poll_timeout(), Some(now + seconds(4)));
    assert_eq!(origins.take_idle(only, Reuse::Recent, now + seconds(2)), None);
    assert_eq!(origins.take_idle(only, Reuse::Any, now + seconds(2)), Some(conn(2)));
    assert_eq!(origins.take_idle(only, Reuse::Any, now + seconds(4)), None);
    assert_eq!(origins.expired_idle(now + seconds(4)), Some(conn(1)));
    assert_eq!(origins.expired_idle(now + seconds(4)), None);
    assert_eq!(origins.poll_timeout(), None);
    origins.put_idle(only, conn(3), now);
    origins.forget_idle(only, conn(3));
    assert_eq!(origins.take_idle(only, Reuse::Any, now), None);
}

#[test]
fn idle_and_open_connections_at_and_beyond_their_limits() {
    let now = Instant::now();
    let mut origins = set(1, Balance::LeastInflight);
    let only = OriginId(0);
    assert!(origins.open(only) && origins.open(only));
    assert!(!origins.open(only));
    origins.close(only);
    assert!(origins.open(only));
    origins.put_idle(only, conn(1), now);
    origins.put_idle(only, conn(2), now);
    assert_eq!(origins.expired_idle(now + SURPLUS), None);
    origins.put_idle(only, conn(3), now);
    assert_eq!(origins.poll_timeout(), Some(now + SURPLUS));
    assert_eq!(origins.expired_idle(now + SURPLUS), Some(conn(1)));
    assert_eq!(origins.expired_idle(now + SURPLUS), None);
    assert_eq!(origins.load(only), (0, 2, 2));
    assert_eq!(origins.take_all_idle(), [conn(2), conn(3)]);
}

#[test]
fn balances_are_read() {
    assert_eq!(Balance::of("hash:header:X-Key"), Some(Balance::HashHeader("X-Key".to_owned())));
    assert_eq!(Balance::of("round_robin"), Some(Balance::RoundRobin));
    for text in ["", "hash:", "hash:header:", "random"] {
        assert_eq!(Balance::of(text), None);
    }
}

#[test]
fn the_first_failure_is_told_at_once_and_later_ones_as_a_sum() {
    let now = Instant::now();
    let mut origins = set(2, Balance::LeastInflight);
    assert_eq!(origins.to_tell(OriginId(0), now), Some(1));
    assert_eq!(origins.to_tell(OriginId(1), now), Some(1));
    for _ in 0..5 {
        assert_eq!(origins.to_tell(OriginId(0), now + TELL_EVERY - Duration::from_nanos(1)), None);
    }
    assert_eq!(origins.to_tell(OriginId(0), now + TELL_EVERY), Some(6));
    assert_eq!(origins.to_tell(OriginId(2), now), None);
}
