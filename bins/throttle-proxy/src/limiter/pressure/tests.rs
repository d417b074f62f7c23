//! The effect table of the feed, cell by cell.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pressure() -> Pressure {
    Pressure::new(PressurePolicy { pools: Vec::new(), stale: ms(5000), shed_class: 4 })
}

fn report(pool: &str, state: PoolState, suggested: u32) -> PoolPressure {
    PoolPressure {
        pool: pool.into(),
        state,
        expected_wait: ms(700),
        retry_after: ms(900),
        suggested_concurrency: suggested,
    }
}

#[test]
fn ok_has_no_effect() {
    let now = Instant::now();
    let mut pressure = pressure();
    assert_eq!(pressure.report(report("a", PoolState::Ok, 3), now), None);
    assert_eq!((pressure.cap(50, now), pressure.sheds(7)), (None, false));
    assert_eq!((pressure.expected_wait(), pressure.retry_after()), (ms(0), ms(0)));
    assert_eq!(pressure.poll_timeout(), None);
}

#[test]
fn the_worst_pool_counts() {
    let now = Instant::now();
    let mut pressure = pressure();
    let change = pressure.report(report("a", PoolState::Pressured, 20), now);
    assert_eq!(change, Some(Change { from: PoolState::Ok, to: PoolState::Pressured }));
    assert_eq!((pressure.cap(50, now), pressure.sheds(7)), (Some(20), false));
    assert_eq!((pressure.expected_wait(), pressure.retry_after()), (ms(700), ms(900)));
    pressure.report(report("b", PoolState::Shedding, 0), now);
    assert_eq!((pressure.cap(50, now), pressure.state_of("b")), (Some(1), PoolState::Shedding));
    assert!(pressure.sheds(4) && !pressure.sheds(3));
    let change = pressure.report(report("b", PoolState::Ok, 50), now);
    assert_eq!(change, Some(Change { from: PoolState::Shedding, to: PoolState::Pressured }));
    assert_eq!(pressure.cap(50, now), Some(20));
}

#[test]
fn concurrency_grows_back_a_tenth_a_second() {
    let now = Instant::now();
    let mut pressure = pressure();
    pressure.report(report("a", PoolState::Pressured, 10), now);
    pressure.report(report("a", PoolState::Ok, 50), now);
    let caps: Vec<Option<u32>> = [0, 1000, 4000, 7999, 8000].map(|at| pressure.cap(50, now + ms(at))).into();
    assert_eq!(caps, [Some(10), Some(15), Some(30), Some(49), None]);
    assert!(pressure.is_growing(50, now) && !pressure.is_growing(50, now + ms(8000)));
    assert_eq!(pressure.cap(0, now + ms(2000)), Some(30), "without a cap, ten times what was suggested");
}

#[test]
fn a_silent_pool_that_is_not_ok_is_forgotten_and_so_are_all_when_the_feed_ends() {
    let now = Instant::now();
    let mut pressure = pressure();
    pressure.report(report("a", PoolState::Pressured, 10), now);
    pressure.report(report("b", PoolState::Shedding, 5), now + ms(1));
    assert_eq!(pressure.poll_timeout(), Some(now + ms(5000)));
    assert_eq!(pressure.handle_timeout(now + ms(5000)), None);
    assert_eq!(pressure.state_of("a"), PoolState::Ok);
    let change = pressure.handle_timeout(now + ms(5001));
    assert_eq!(change, Some(Change { from: PoolState::Shedding, to: PoolState::Ok }));
    assert_eq!(pressure.cap(50, now + ms(6001)), Some(10));
    pressure.report(report("a", PoolState::Pressured, 10), now + ms(7000));
    assert!(pressure.lost(now + ms(7000)).is_some());
    assert_eq!(pressure.state(), PoolState::Ok);
}

#[test]
fn only_pools_that_were_asked_for_count() {
    let now = Instant::now();
    let mut pressure = pressure();
    pressure.set_policy(PressurePolicy { pools: vec!["a".into()], stale: ms(5000), shed_class: 0 });
    pressure.report(report("b", PoolState::Shedding, 1), now);
    assert_eq!(pressure.state(), PoolState::Ok);
    pressure.report(report("a", PoolState::Shedding, 1), now);
    assert!(pressure.sheds(0));
}

#[test]
fn pools_at_and_beyond_the_limit() {
    let now = Instant::now();
    let mut pressure = pressure();
    for pool in 0..=POOLS_MAX {
        pressure.report(report(&pool.to_string(), PoolState::Pressured, 9), now);
    }
    assert_eq!(pressure.pools.len(), POOLS_MAX);
    pressure.report(report("0", PoolState::Shedding, 9), now);
    assert_eq!(pressure.state(), PoolState::Shedding);
}
