//! Rates, concurrency, keys, and the arithmetic of refusing up front.

use super::*;
use crate::limiter::keys::KeySpec;
use crate::limiter::policy::{AdaptiveKind, Algorithm, LimitPolicy};
use crate::limiter::pressure::{PoolPressure, PoolState};
use sluice_policy::window::Rate;

#[test]
fn n_pass_and_n_plus_1_waits_until_the_first_has_left_the_window() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(3, ms(1000));
        route.queue_order = QueueOrder::Fifo;
    });
    for at in [0, 10, 20] {
        bench.at(at).pass(from(1));
    }
    let (_, until) = bench.delay(from(1));
    assert_eq!(until, ms(3000));
    assert_eq!(bench.run_to(999), []);
    assert_eq!(bench.run_to(1000), [(1000, News::Released(4))]);
    // What waited for the rate keeps the pace, what did not need not.
    bench.delay(from(1));
    assert_eq!(bench.run_to(3000), [(1200, News::Released(5))]);
}

#[test]
fn a_request_counts_from_when_its_head_leaves() {
    for algorithm in [Algorithm::Window, Algorithm::Gcra] {
        let mut policy = policy_with(|route| {
            (route.rate, route.algorithm) = (Rate { events: 2, window: ms(1000), burst: 1 }, algorithm);
            (route.queue_order, route.retry_delay) = (QueueOrder::Fifo, ms(0));
        });
        let key = KeySpec::address();
        let rate = Rate::new(1, ms(1500));
        policy.limits.push(LimitPolicy { name: "own".to_owned(), key, rate, algorithm, routes: Vec::new() });
        let mut bench = Bench::new(policy);
        let ticket = bench.pass(from(1));
        bench.delay(from(2));
        bench.delay(from(1));
        // Its connection took so long.
        let left_at = bench.start + ms(300);
        bench.at(300).limiter.sent(ticket, left_at);
        assert_eq!(bench.run_to(799), []);
        assert_eq!(bench.run_to(800), [(800, News::Released(2))], "half the window after it left");
        assert_eq!(
            bench.run_to(1800),
            [(1800, News::Released(3))],
            "and its key's rate counts from there too"
        );
    }
}

#[test]
fn slots_that_become_free_at_once_are_spent_at_the_pace() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(5, ms(2000));
        route.queue_order = QueueOrder::Fifo;
        route.max_in_flight = 0;
    });
    (0..5).for_each(|_| {
        bench.pass(from(1));
    });
    (0..4).for_each(|_| {
        bench.delay(from(1));
    });
    let at: Vec<u64> = bench.run_to(4000).into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [2000, 2200, 2400, 2600], "retry_delay_ms apart");
}

#[test]
fn the_pace_is_never_slower_than_the_rate() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(50, ms(1000));
        route.queue_order = QueueOrder::Fifo;
        route.max_in_flight = 0;
    });
    (0..50).for_each(|_| {
        bench.pass(from(1));
    });
    (0..3).for_each(|_| {
        bench.delay(from(1));
    });
    let at: Vec<u64> = bench.run_to(4000).into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [1000, 1020, 1040], "W / N apart");
}

#[test]
fn at_most_max_in_flight_and_the_next_when_one_ends() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 2;
    });
    let first = bench.pass(from(1));
    bench.pass(from(1));
    bench.delay(from(1));
    assert_eq!(bench.run_to(400), []);
    bench.settle(first);
    assert_eq!(bench.news(), [News::Released(3)]);
    assert_eq!((bench.limiter.in_flight(), bench.limiter.queued()), (2, 0));
}

#[test]
fn no_rate_and_no_cap_let_everything_pass() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 0;
    });
    (0..1000).for_each(|_| {
        bench.pass(from(1));
    });
}

#[test]
fn the_sum_over_routes_is_bounded_too() {
    let mut policy = policy_with(|route| route.rate = Rate::new(0, ms(1)));
    policy.routes[0].max_in_flight = 2;
    policy.routes.push(RoutePolicy { name: "b".into(), ..policy.routes[0].clone() });
    (policy.max_in_flight, policy.queue_size) = (3, 2);
    let mut bench = Bench::new(policy);
    let on = |route| Ask { route, ..from(1) };
    let first = bench.pass(on(0));
    bench.pass(on(0));
    let third = bench.pass(on(1));
    bench.delay(on(1));
    bench.delay(on(0));
    assert_eq!(bench.refuse(on(1)).code, Code::QueueFull, "two may wait in all");
    bench.settle(first);
    assert_eq!(bench.news(), [News::Released(4)]);
    bench.settle(third);
    assert_eq!(bench.news(), [News::Released(5)]);
}

#[test]
fn what_reached_no_origin_gives_its_place_in_the_rate_back() {
    let outcomes = [Outcome::ConnectRefused, Outcome::ConnectTimeout, Outcome::TlsFailed];
    for outcome in outcomes.map(Some).into_iter().chain([None]) {
        let mut bench = Bench::with(|route| route.rate = Rate::new(1, ms(60_000)));
        let ticket = bench.pass(from(1));
        match outcome {
            Some(outcome) => bench.settle_as(ticket, outcome),
            None => bench.limiter.abandon(ticket, bench.now),
        }
        bench.at(1).pass(from(1));
        assert_eq!(bench.refuse(from(1)).code, Code::QueueWait);
    }
    let mut bench = Bench::with(|route| route.rate = Rate::new(1, ms(60_000)));
    let ticket = bench.pass(from(1));
    bench.settle_as(ticket, Outcome::ResetBeforeHead);
    assert_eq!(bench.refuse(from(1)).code, Code::QueueWait, "something may have reached it");
}

/// Section 5: 50 in 30 s, full at an even pace. Places within the wait are given, the next is refused at once.
#[test]
fn refused_up_front_where_the_wait_would_be_longer_than_it_may_be() {
    let mut bench = Bench::with(|route| {
        route.queue_order = QueueOrder::Fifo;
        route.queue_max_wait = ms(10_000);
        route.max_in_flight = 0;
    });
    for n in 0..50 {
        bench.at(n * 600).pass(from(1));
    }
    for _ in 0..8 {
        let (_, until) = bench.delay(from(1));
        assert_eq!(until, ms(5000), "the patience of clients");
    }
    let refusal = bench.refuse(from(1));
    assert_eq!(refusal.code, Code::QueueWait);
    assert_eq!(refusal.retry_after, Some(ms(5000)), "at least retry_after_min_s");
    // 192 of 200 would be answers nobody reads: they are told so now.
    let (mut early, mut late) = (0, 0);
    for _ in 0..192 {
        match bench.refuse(from(1)).retry_after {
            Some(after) if after > ms(5000) => late += 1,
            _ => early += 1,
        }
    }
    assert_eq!((early, late), (192, 0), "each would be the ninth, since none of them waits");
}

#[test]
fn the_queue_takes_n_and_refuses_n_plus_1() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
        (route.queue_max_wait, route.patience) = (ms(130_000), ms(150_000));
        route.queue_per_key = 200;
    });
    bench.pass(from(0));
    (0..200).for_each(|_| {
        bench.delay(from(1));
    });
    let refusal = bench.refuse(from(2));
    assert_eq!((refusal.code, refusal.code.detail()), (Code::QueueFull, "Request queue is full"));
    assert_eq!(bench.limiter.queued(), 200);
}

#[test]
fn a_key_has_its_places_and_no_more() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
    });
    bench.pass(from(0));
    (0..20).for_each(|_| {
        bench.delay(from(1));
    });
    assert_eq!(bench.refuse(from(1)).code, Code::RateLimited);
    bench.delay(from(2));
}

#[test]
fn the_time_an_answer_takes_is_left_to_it() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
        route.queue_max_wait = ms(5000);
        route.queue_order = QueueOrder::Fifo;
    });
    for _ in 0..20 {
        let ticket = bench.pass(from(1));
        bench.now += ms(2000);
        bench.settle(ticket);
    }
    bench.pass(from(1));
    let (_, until) = bench.delay(from(1));
    assert!(until > ms(2700) && until < ms(3300), "5 s less the median of 2 s: {until:?}");
    assert_eq!(bench.refuse(from(1)).code, Code::QueueWait, "the second would wait 4 s");
    let patient: [(&str, &[u8]); 1] = [("Prefer", b"wait=60")];
    let (_, until) = bench.delay(Ask { fields: &patient, ..from(1) });
    assert_eq!(until, ms(5000), "who waits longer may");
    let hasty: [(&str, &[u8]); 1] = [("prefer", b"wait=1")];
    assert_eq!(bench.refuse(Ask { fields: &hasty, ..from(2) }).code, Code::QueueWait);
}

#[test]
fn retry_after_is_bounded_both_ways_and_hears_the_pooler() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(1, ms(600_000));
    });
    bench.pass(from(1));
    assert_eq!(bench.refuse(from(1)).retry_after, Some(ms(120_000)));
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(1, ms(30_000));
        route.retry_after_min = ms(0);
        route.retry_delay = ms(300);
        route.queue_size = 0;
    });
    bench.pass(from(1));
    bench.at(28_000);
    let refusal = bench.refuse(from(1));
    assert_eq!((refusal.code, refusal.retry_after), (Code::QueueFull, Some(ms(300))));
    bench.limiter.pressure(pressed(PoolState::Pressured, 9), bench.now);
    assert_eq!(bench.refuse(from(1)).retry_after, Some(ms(900)));
}

fn keyed(events: u32) -> Policy {
    let mut policy = policy_with(|route| route.rate = Rate::new(100, ms(1000)));
    policy.limits.push(LimitPolicy {
        name: "client".into(),
        key: KeySpec::address(),
        rate: Rate::new(events, ms(60_000)),
        algorithm: Algorithm::Window,
        routes: Vec::new(),
    });
    policy
}

#[test]
fn a_keys_own_limit_is_429_and_touches_nobody_else() {
    let mut bench = Bench::new(keyed(2));
    bench.pass(from(1));
    bench.pass(from(1));
    let refusal = bench.refuse(from(1));
    assert_eq!((refusal.code, refusal.code.status()), (Code::RateLimited, 429));
    bench.pass(from(2));
    bench.pass(from(2));
    assert_eq!(bench.refuse(from(2)).code, Code::RateLimited);
    let shown = bench.limiter.show_limits(bench.now);
    assert_eq!((shown[0]["used"].as_u64(), shown[1]["keys"].as_u64()), (Some(4), Some(2)));
}

#[test]
fn a_key_that_has_to_wait_holds_nobody_back() {
    let mut policy = keyed(1);
    policy.limits[0].rate = Rate::new(1, ms(1000));
    policy.routes[0].max_in_flight = 1;
    let mut bench = Bench::new(policy);
    let first = bench.pass(from(1));
    bench.delay(from(1));
    bench.delay(from(2));
    bench.settle(first);
    assert_eq!(bench.news(), [News::Released(3)], "the first in line has spent its limit");
    assert_eq!(bench.run_to(999), []);
    assert_eq!(bench.run_to(1000), [], "and now there is no room");
    assert_eq!(bench.run_to(3001), [(3000, News::Expired(2, Code::QueueTimeout))]);
}

#[test]
fn a_limit_counts_those_who_wait_for_it_whoever_shares_the_queue() {
    let header = |name: &str| KeySpec::parse(&format!("header:{name}")).unwrap();
    let mut policy = keyed(2);
    policy.limits[0].key = header("Key");
    policy.limits[0].rate = Rate::new(2, ms(5000));
    policy.routes[0].max_in_flight = 1;
    let ask = |bench: &mut Bench, key: &[u8]| bench.ask(Ask { fields: &[("Key", key)], ..from(1) });
    let mut bench = Bench::new(policy.clone());
    assert!(matches!(ask(&mut bench, b"0"), Admission::Pass(_)));
    for key in [b"1", b"2", b"3", b"4", b"0"] {
        let admission = ask(&mut bench, key);
        assert!(matches!(admission, Admission::Delay { .. }), "one address, many keys: {admission:?}");
    }
    let Admission::Refuse(refusal) = ask(&mut bench, b"0") else { panic!("two of key 0 are enough") };
    assert_eq!(refusal.code, Code::RateLimited);

    // The other way round: one limited address, many shares of the queue.
    policy.limits[0].key = KeySpec::address();
    policy.routes[0].fair_key = header("Key");
    let mut bench = Bench::new(policy.clone());
    assert!(matches!(ask(&mut bench, b"0"), Admission::Pass(_)));
    assert!(matches!(ask(&mut bench, b"1"), Admission::Delay { .. }));
    let Admission::Refuse(refusal) = ask(&mut bench, b"2") else { panic!("the third of its address") };
    assert_eq!(refusal.code, Code::RateLimited);
    // Another policy does not forget who waits.
    bench.limiter.set_policy(policy, bench.now);
    assert!(matches!(ask(&mut bench, b"3"), Admission::Refuse(_)));
    bench.run_to(3001);
    assert!(matches!(ask(&mut bench, b"4"), Admission::Delay { .. }), "the one that waited has gone");
}

#[test]
fn limits_apply_to_the_routes_they_name() {
    let mut policy = keyed(1);
    policy.routes.push(RoutePolicy { name: "b".into(), ..policy.routes[0].clone() });
    policy.limits[0].routes = vec![RouteId(1)];
    let mut bench = Bench::new(policy);
    (0..5).for_each(|_| {
        bench.pass(from(1));
    });
    bench.pass(Ask { route: 1, ..from(1) });
    assert_eq!(bench.refuse(Ask { route: 1, ..from(1) }).code, Code::RateLimited);
}

#[test]
fn a_preflight_spends_nothing_and_never_waits() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(1, ms(1000));
        route.max_in_flight = 2;
    });
    let preflight = Ask { purpose: Purpose::Preflight, ..from(1) };
    let first = bench.pass(preflight);
    bench.pass(from(1));
    assert_eq!(bench.refuse(preflight).code, Code::QueueWait, "both places are taken");
    bench.settle(first);
    bench.delay(from(1));
    assert_eq!(bench.refuse(preflight).code, Code::QueueWait, "others wait");
}

#[test]
fn staged_gets_of_one_key_keep_their_distance() {
    let mut bench = Bench::with(|route| route.stage_delay = Some(ms(100)));
    bench.pass(from(1));
    bench.delay(from(1));
    bench.delay(from(1));
    bench.pass(from(2));
    bench.pass(Ask { method: "POST", ..from(1) });
    assert_eq!(bench.run_to(1000), [(100, News::Released(2)), (200, News::Released(3))]);
}

#[test]
fn a_stage_longer_than_the_interval_of_a_standing_queue_keeps_its_order() {
    let mut bench = Bench::with(|route| route.stage_delay = Some(ms(100)));
    bench.pass(from(1));
    (0..20).for_each(|_| {
        bench.delay(from(1));
    });
    let news = bench.run_to(2500);
    let expected: Vec<_> = (1..=20).map(|k| (u64::from(k) * 100, News::Released(k + 1))).collect();
    assert_eq!(news, expected);
}

#[test]
fn who_was_let_in_to_wait_for_the_rate_is_not_shed_for_waiting() {
    let mut bench = Bench::with(|route| route.rate = Rate::new(5, ms(1000)));
    (0..5).for_each(|_| {
        bench.pass(from(1));
    });
    (0..7).for_each(|_| {
        bench.delay(from(1));
    });
    let news = bench.run_to(4000);
    let expected: Vec<_> = (0..7).map(|k| (1000 + u64::from(k) * 200, News::Released(k + 6))).collect();
    assert_eq!(news, expected);
}

#[test]
fn who_has_waited_for_a_place_and_then_waits_for_its_rate_is_not_shed() {
    let mut policy = keyed(2);
    policy.limits[0].rate = Rate::new(2, ms(2000));
    policy.routes[0].max_in_flight = 1;
    let mut bench = Bench::new(policy);
    let first = bench.pass(from(1));
    let (second, _) = bench.delay(from(1));
    bench.delay(from(1));
    bench.delay(from(1));
    bench.at(100).settle(first);
    assert_eq!(bench.news(), [News::Released(2)]);
    bench.at(200).settle(second);
    // The service is idle since then.
    let news = bench.run_to(2150);
    assert_eq!(news, [(2000, News::Released(4))]);
    assert_eq!(bench.limiter.queued(), 1, "the other still waits");
}

fn pressed(state: PoolState, suggested_concurrency: u32) -> PoolPressure {
    let (expected_wait, retry_after) = (ms(100), ms(900));
    PoolPressure { pool: "d/u".into(), state, expected_wait, retry_after, suggested_concurrency }
}

#[test]
fn pressure_lowers_concurrency_and_lets_it_grow_back() {
    let mut bench = Bench::with(|route| route.rate = Rate::new(0, ms(1)));
    bench.limiter.pressure(pressed(PoolState::Pressured, 2), bench.now);
    bench.pass(from(1));
    bench.pass(from(1));
    bench.delay(from(1));
    assert_eq!(bench.limiter.limit_of(RouteId(0), bench.now), 2);
    bench.at(100);
    bench.limiter.pressure(pressed(PoolState::Ok, 50), bench.now);
    assert_eq!(bench.run_to(400), [(300, News::Released(3))], "five more a second, looked at each 100 ms");
    assert_eq!(bench.limiter.limit_of(RouteId(0), bench.start + ms(10_000)), 50);
}

#[test]
fn a_wait_the_pooler_foresees_counts() {
    let mut bench = Bench::with(|route| route.rate = Rate::new(0, ms(1)));
    let mut report = pressed(PoolState::Pressured, 1);
    report.expected_wait = ms(3001);
    bench.limiter.pressure(report, bench.now);
    bench.pass(from(1));
    assert_eq!(bench.refuse(from(1)).code, Code::QueueWait);
}

#[test]
fn a_pool_that_sheds_has_the_less_urgent_refused_the_waiting_ones_too() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
    });
    let lazy: [(&str, &[u8]); 1] = [("Priority", b"u=5")];
    let lazy = Ask { fields: &lazy, ..from(1) };
    bench.pass(from(1));
    bench.delay(lazy);
    bench.delay(from(2));
    bench.limiter.pressure(pressed(PoolState::Shedding, 1), bench.now);
    assert_eq!(bench.news(), [News::Expired(2, Code::Shed)]);
    assert_eq!(bench.refuse(lazy).code, Code::Shed);
    bench.delay(from(3));
}

#[test]
fn a_silent_feed_is_as_ok() {
    let mut bench = Bench::with(|route| route.rate = Rate::new(0, ms(1)));
    bench.limiter.pressure(pressed(PoolState::Shedding, 1), bench.now);
    bench.run_to(4999);
    assert_eq!(bench.limiter.limit_of_all(bench.now), 1);
    bench.run_to(15_000);
    assert_eq!(bench.limiter.limit_of_all(bench.now), 50);
}

#[test]
fn concurrency_adapts_to_failures() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.adaptive = AdaptiveKind::Aimd;
    });
    let limit = |bench: &Bench| bench.limiter.limit_of(RouteId(0), bench.now);
    assert_eq!(limit(&bench), 50);
    for at in 0..100 {
        let ticket = bench.at(at).pass(from(1));
        bench.settle_as(ticket, Outcome::Response { status: 503, head_after: ms(1) });
    }
    assert_eq!(limit(&bench), 4, "adaptive_min");
    let ticket = bench.pass(from(1));
    bench.settle_as(ticket, Outcome::Upgraded);
    assert_eq!(limit(&bench), 4, "a tunnel is no sample");
}

#[test]
fn responses_tell_what_is_left_if_asked_to() {
    let mut policy = keyed(10);
    policy.routes[0].ratelimit_headers = crate::limiter::policy::RateLimitHeaders::Draft11;
    let mut bench = Bench::new(policy);
    bench.pass(from(1));
    let ticket = bench.pass(from(2));
    let mut fields = Vec::new();
    bench.limiter.response_fields(ticket, bench.now, &mut fields);
    let expected = "RateLimit-Policy: \"default\";q=100;w=1, \"client\";q=10;w=60\r\n\
                    RateLimit: \"default\";r=98;t=1, \"client\";r=9;t=60\r\n";
    assert_eq!(String::from_utf8(fields).unwrap(), expected);
    (0..9).for_each(|_| {
        bench.pass(from(2));
    });
    let refused = String::from_utf8(bench.refuse(from(2)).fields).unwrap();
    assert!(refused.ends_with("RateLimit: \"default\";r=89;t=1, \"client\";r=0;t=60\r\n"), "{refused}");
    bench.limiter.policy.routes[0].rate = Rate::new(0, ms(1000));
    let policy = bench.limiter.policy.clone();
    bench.limiter.set_policy(policy, bench.now);
    let refused = String::from_utf8(bench.refuse(from(2)).fields).unwrap();
    assert!(refused.starts_with("RateLimit-Policy: \"client\";q=10;w=60\r\n"), "{refused}");
}
