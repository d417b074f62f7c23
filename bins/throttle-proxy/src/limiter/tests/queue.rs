//! Who leaves the queue and how: every waiter is released, removed or told.

use super::*;
use crate::limiter::pressure::PoolState;
use sluice_gateway::gate::QueueDrain;
use sluice_policy::window::Rate;

fn one_at_a_time() -> Bench {
    Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
        route.queue_order = QueueOrder::Fifo;
    })
}

#[test]
fn who_leaves_is_removed_at_once_and_spends_nothing() {
    let mut bench = one_at_a_time();
    let running = bench.pass(from(0));
    let (leaver, _) = bench.delay(from(1));
    bench.delay(from(2));
    bench.limiter.abandon(leaver, bench.now);
    assert_eq!(bench.limiter.queued(), 1);
    bench.settle(running);
    assert_eq!(bench.news(), [News::Released(3)]);
    // A stale ticket finds nothing.
    bench.limiter.abandon(leaver, bench.now);
    bench.settle(leaver);
    bench.settle(running);
    assert_eq!((bench.limiter.in_flight(), bench.limiter.queued()), (1, 0));
}

#[test]
fn nobody_waits_longer_than_the_last_moment() {
    let mut bench = one_at_a_time();
    bench.pass(from(0));
    bench.delay(from(1));
    bench.at(10).delay(from(2));
    let news = bench.run_to(4000);
    let expired = |number| News::Expired(number, Code::QueueTimeout);
    assert_eq!(news, [(3000, expired(2)), (3010, expired(3))]);
}

#[test]
fn a_place_that_becomes_free_too_late_is_not_given_to_who_has_gone() {
    let mut bench = one_at_a_time();
    let running = bench.pass(from(0));
    bench.delay(from(1));
    // No timer has run: the release itself must not serve who should have been told.
    bench.at(3000);
    bench.settle(running);
    assert_eq!(bench.news(), [News::Expired(2, Code::QueueTimeout)]);
}

#[test]
fn a_queue_that_stands_keeps_nobody_long_but_the_last() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
    });
    bench.pass(from(0));
    for at in [0, 100, 700] {
        bench.at(at).delay(from(1));
    }
    // It stands at 1000 ms: whoever has waited 500 ms by then is told, the others when they have.
    let shed = |number| News::Expired(number, Code::Shed);
    assert_eq!(bench.run_to(1000), [(1000, shed(2)), (1000, shed(3))]);
    assert_eq!(bench.run_to(3699), [], "the last one is kept");
    assert_eq!(bench.run_to(3700), [(3700, News::Expired(4, Code::QueueTimeout))]);
}

#[test]
fn a_full_queue_sends_the_newest_of_the_least_urgent_away() {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
        route.queue_size = 3;
    });
    let of = |class: &'static [u8; 3]| -> [(&'static str, &'static [u8]); 1] { [("Priority", class)] };
    let (lazy, lazier) = (of(b"u=4"), of(b"u=6"));
    bench.pass(from(0));
    bench.delay(Ask { fields: &lazier, ..from(1) });
    bench.delay(Ask { fields: &lazier, ..from(2) });
    bench.delay(Ask { fields: &lazy, ..from(3) });
    assert_eq!(bench.refuse(Ask { fields: &lazier, ..from(4) }).code, Code::QueueFull);
    bench.delay(from(5));
    assert_eq!(bench.news(), [News::Expired(3, Code::QueueFull)]);
    bench.delay(from(6));
    bench.delay(from(7));
    assert_eq!(bench.news(), [News::Expired(2, Code::QueueFull), News::Expired(4, Code::QueueFull)]);
    assert_eq!(bench.refuse(from(8)).code, Code::QueueFull, "only for more urgent ones");
}

#[test]
fn draining_tells_everybody_or_lets_them_take_their_turn() {
    for (queue, expected) in
        [(QueueDrain::Refuse, News::Expired(2, Code::Draining)), (QueueDrain::Finish, News::Released(2))]
    {
        let mut bench = one_at_a_time();
        let running = bench.pass(from(0));
        bench.delay(from(1));
        bench.limiter.drain(queue, bench.now);
        assert_eq!(bench.refuse(from(2)).code, Code::Draining);
        bench.settle(running);
        assert_eq!(bench.news(), [expected]);
        assert_eq!(bench.limiter.queued(), 0);
    }
}

/// Section 5 of the specification: 50 in 30 s, and a queue of 200 that is drained in 120 s.
fn section_5() -> Policy {
    policy_with(|route| {
        (route.queue_max_wait, route.patience) = (ms(135_000), ms(150_000));
        route.queue_order = QueueOrder::Fifo;
        route.queue_per_key = 200;
        route.max_in_flight = 0;
    })
}

/// The first 50 have gone, and 200 wait; numbered from 51 on.
fn two_hundred_wait() -> Bench {
    let mut bench = Bench::new(section_5());
    for _ in 0..50 {
        let ticket = bench.pass(from(1));
        bench.settle(ticket);
    }
    for _ in 0..200 {
        bench.delay(from(1));
    }
    bench
}

#[test]
fn two_hundred_wait_up_to_120_s_and_the_next_is_refused() {
    let mut bench = two_hundred_wait();
    let refusal = bench.refuse(from(1));
    // Place 201 would be free in 150 s, of which 135 are permitted.
    assert_eq!((refusal.code, refusal.retry_after), (Code::QueueWait, Some(ms(15_000))));
    let short: [(&str, &[u8]); 1] = [("Prefer", b"wait=119")];
    assert_eq!(bench.refuse(Ask { fields: &short, ..from(1) }).code, Code::QueueWait);
    assert_eq!(
        bench.refuse(from(2)).code,
        Code::QueueFull,
        "another key would have its turn soon, and finds no room"
    );
    let news = bench.run_to(140_000);
    assert!(news.iter().all(|(_, one)| matches!(one, News::Released(_))), "nobody waits in vain");
    let at: Vec<u64> = news.iter().map(|(at, _)| *at).collect();
    assert_eq!((at.len(), at[0]), (200, 30_000));
    // 200 ms apart, and no 51 within 30 s.
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= 200));
    assert!(at.windows(51).all(|window| window[50] - window[0] >= 30_000));
    assert_eq!(at[199], 120_000 + 49 * 200);
}

#[test]
fn the_queue_is_full_at_200_though_the_wait_would_be_permitted() {
    let mut bench = two_hundred_wait();
    let mut policy = section_5();
    (policy.routes[0].queue_max_wait, policy.routes[0].patience) = (ms(300_000), ms(300_000));
    bench.limiter.set_policy(policy.clone(), bench.now);
    assert_eq!(bench.refuse(from(2)).code, Code::QueueFull);
    policy.routes[0].queue_size = 201;
    policy.queue_size = 201;
    bench.limiter.set_policy(policy, bench.now);
    bench.delay(from(2));
    assert_eq!(bench.refuse(from(3)).code, Code::QueueFull);
}

#[test]
fn two_hundred_are_told_at_once_when_it_drains() {
    let mut bench = two_hundred_wait();
    bench.at(1000);
    bench.limiter.drain(QueueDrain::Refuse, bench.now);
    let told: Vec<News> = (51..=250).map(|number| News::Expired(number, Code::Draining)).collect();
    assert_eq!(bench.news(), told, "the longest in line first");
    assert_eq!((bench.limiter.queued(), bench.limiter.in_flight()), (0, 0));
    assert_eq!(bench.run_to(200_000), []);
}

#[test]
fn two_hundred_outlive_a_reload_each_once() {
    let mut bench = two_hundred_wait();
    // The same again, then a queue they would not all fit, then more concurrency and a faster rate.
    bench.limiter.set_policy(section_5(), bench.now);
    let mut policy = section_5();
    (policy.routes[0].queue_size, policy.queue_size) = (100, 100);
    bench.at(1000);
    bench.limiter.set_policy(policy.clone(), bench.now);
    assert_eq!((bench.news(), bench.limiter.queued()), (vec![], 200), "who is in line stays in line");
    assert_eq!(bench.refuse(from(2)).code, Code::QueueFull);
    policy.routes[0].rate = Rate::new(150, ms(30_000));
    bench.at(2000);
    bench.limiter.set_policy(policy, bench.now);
    let mut news: Vec<(u64, News)> = bench.news().into_iter().map(|one| (2000, one)).collect();
    news.extend(bench.run_to(100_000));
    let released: Vec<u32> = news
        .iter()
        .map(|(_, one)| match one {
            News::Released(number) => *number,
            expired => panic!("{expired:?}"),
        })
        .collect();
    assert_eq!(released, (51..=250).collect::<Vec<u32>>());
    let at: Vec<u64> = news.iter().map(|(at, _)| *at).collect();
    // The 50 of the beginning still count: 100 go by 30 s, and no 151 within any 30 s.
    assert_eq!(at.iter().filter(|at| **at < 30_000).count(), 100);
    assert!(at.windows(151).all(|window| window[150] - window[0] >= 30_000));
    assert_eq!(bench.limiter.queued(), 0);
}

#[test]
fn commands_show_set_and_flush() {
    let mut bench = one_at_a_time();
    bench.pass(from(0));
    bench.delay(from(1));
    let now = bench.now;
    let mut give = |words: &[&str]| {
        let verb = Limiter::VERBS.iter().find(|verb| words.join(" ").starts_with(verb.name)).unwrap();
        let named = verb.name.split(' ').count();
        let answer = bench.limiter.command(verb, &words[named..], now);
        (answer, bench.limiter.queued())
    };
    let rows = give(&["show", "queue"]).0.unwrap();
    assert_eq!(
        (rows.len(), &rows[0]["route"], rows[0]["deadline_ms"].as_u64()),
        (1, &"default".into(), Some(3000))
    );
    let rows = give(&["show", "limits"]).0.unwrap();
    assert_eq!((rows[0]["in_flight"].as_u64(), rows[0]["queued"].as_u64()), (Some(1), Some(1)));
    assert_eq!(
        give(&["set", "default", "max_in_flight", "2"]),
        (Ok(vec![]), 0),
        "and the one who waited goes"
    );
    assert_eq!(give(&["set", "default", "queueSize", "7"]).0, Ok(vec![]));
    for (words, error) in [
        (&["set", "nowhere", "max_in_flight", "2"][..], "no such route: nowhere"),
        (
            &["set", "default", "max_in_fligth", "2"],
            "unknown key max_in_fligth, the nearest is max_in_flight",
        ),
        (&["set", "default", "listen", "x"], "listen is not a setting of a route that can be changed"),
        (&["set", "default", "window_ms", "0"], "invalid value \"0\" for window_ms"),
        (&["set", "default", "fair_key", "x"], "invalid value \"x\" for fair_key"),
        (&["set", "default", "max_in_flight"], "bad arguments"),
        (&["flush", "nowhere"], "no such route: nowhere"),
        (&["flush"], "bad arguments"),
    ] {
        let answer = give(words).0.unwrap_err();
        assert!(answer.starts_with(error), "{words:?}: {answer}");
    }
    bench.limiter.pressure_lost(bench.now);
    bench.delay(from(3));
    bench.news();
    let verb = Limiter::VERBS.iter().find(|verb| verb.name == "flush").unwrap();
    bench.limiter.command(verb, &["default"], bench.now).unwrap();
    assert_eq!(bench.news(), [News::Expired(3, Code::Shed)]);
}

#[test]
fn another_policy_keeps_what_was_remembered_and_loses_nobody() {
    let mut policy = policy_with(|route| route.rate = Rate::new(0, ms(1)));
    policy.routes[0].max_in_flight = 2;
    for name in ["a", "b"] {
        policy.routes.push(RoutePolicy {
            name: name.into(),
            rate: Rate::new(1, ms(60_000)),
            max_in_flight: 1,
            ..RoutePolicy::default()
        });
    }
    let mut bench = Bench::new(policy.clone());
    let on = |route| Ask { route, ..from(1) };
    let of_a = bench.pass(on(1));
    let of_b = bench.pass(on(2));
    policy.routes[2].rate = Rate::new(2, ms(60_000));
    // Without a: b takes its place.
    let next = Policy { routes: vec![policy.routes[0].clone(), policy.routes[2].clone()], ..policy.clone() };
    let moved = bench.limiter.set_policy(next, bench.now);
    assert_eq!(moved, [RouteId(0), RouteId(0), RouteId(1)]);
    assert_eq!(bench.limiter.in_flight(), 2);
    bench.settle(of_b);
    bench.pass(on(1));
    assert_eq!(bench.refuse(on(1)).code, Code::QueueWait, "one of the two was spent before");
    bench.settle(of_a);
    assert_eq!(bench.limiter.in_flight(), 1);
}

#[test]
fn those_who_wait_on_a_route_that_ends_are_told() {
    let mut policy = policy_with(|_| {});
    policy.routes.push(RoutePolicy { name: "a".into(), max_in_flight: 1, ..RoutePolicy::default() });
    let mut bench = Bench::new(policy.clone());
    bench.pass(Ask { route: 1, ..from(1) });
    bench.delay(Ask { route: 1, ..from(1) });
    policy.routes.pop();
    bench.limiter.set_policy(policy, bench.now);
    assert_eq!(bench.news(), [News::Expired(2, Code::Shed)]);
}

#[test]
fn refusals_are_told_in_sums_and_their_end_too() {
    let mut bench = Bench::with(|route| route.queue_size = 0);
    (0..50).for_each(|_| {
        bench.pass(from(1));
    });
    (0..100).for_each(|_| drop(bench.refuse(from(1))));
    let mut events = Vec::new();
    let mut take = |bench: &mut Bench| {
        while let Some(effect) = bench.limiter.poll() {
            if let Effect::Log(event) = effect {
                assert!(Limiter::EVENTS.iter().any(|(name, _)| *name == event.name), "{}", event.name);
                events.push((event.name, event.text));
            }
        }
    };
    take(&mut bench);
    bench.run_to(900);
    (0..9).for_each(|_| drop(bench.refuse(from(1))));
    for to in [1000, 10_000] {
        let to = bench.start + ms(to);
        while let Some(due) = bench.limiter.poll_timeout().filter(|due| *due <= to) {
            bench.now = due;
            bench.limiter.handle_timeout(due);
            take(&mut bench);
        }
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["throttle.saturated", "throttle.saturated", "throttle.clear"]);
    assert_eq!(events[1].1, "route default refused 108 requests (queue_wait 108)");
}

#[test]
fn metrics_are_exposed_as_the_table_has_them() {
    let mut bench = Bench::with(|_| {});
    bench.pass(from(1));
    let report = crate::limiter::PoolPressure { state: PoolState::Pressured, ..Default::default() };
    bench.limiter.pressure(report, bench.now);
    let mut text = String::new();
    bench.limiter.expose(&mut sluice_gateway::metrics::Exposition::new(&mut text), bench.now);
    for metric in Limiter::METRICS {
        assert!(text.contains(&format!("# TYPE sluice_{} ", metric.name)), "{}", metric.name);
    }
    assert!(text.contains("sluice_throttle_queue_length{route=\"default\",class=\"3\"} 0\n"), "{text}");
    assert!(text.contains("sluice_throttle_pressure_state{pool=\"worst\"} 1\n"), "{text}");
}
