//! The promise over random arrivals, the arithmetic of waits, and the edges.

use super::*;
use sluice_check::Rng;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rate(events: u32, window_ms: u64, burst: u32) -> Rate {
    Rate { events, window: ms(window_ms), burst }
}

/// Most events of `log` in any half-open window of this length.
fn most_in_any(log: &[Instant], window: Duration) -> usize {
    let mut from = 0;
    (0..log.len())
        .map(|to| {
            while log[from] + window <= log[to] {
                from += 1;
            }
            to - from + 1
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn n_may_happen_and_n_plus_1_waits_for_the_first_to_leave() {
    let start = Instant::now();
    let mut window = Window::new(rate(3, 1000, 0));
    for at in [0, 10, 20] {
        assert_eq!(window.next_free(start + ms(at)), start + ms(at));
        window.take(start + ms(at));
    }
    assert_eq!(window.next_free(start + ms(30)), start + ms(1000));
    assert_eq!(window.live(start + ms(999)), 3);
    assert_eq!(window.live(start + ms(1000)), 2, "the window is open at its left end");
    assert_eq!(window.next_free(start + ms(1000)), start + ms(1000));
}

#[test]
fn no_limit_remembers_nothing() {
    let now = Instant::now();
    let mut window = Window::new(rate(0, 1000, 0));
    for _ in 0..100 {
        window.take(now);
    }
    assert_eq!((window.next_free(now), window.live(now)), (now, 0));
    assert_eq!(window.wait(1_000_000, now), Duration::ZERO);
    assert_eq!(window.rate().spacing(), Duration::ZERO);
}

#[test]
fn a_burst_of_1_is_spacing() {
    let start = Instant::now();
    let mut window = Window::new(rate(4, 1000, 1));
    let mut now = start;
    for step in 0..9 {
        now = window.next_free(now);
        assert_eq!(now, start + ms(250) * step);
        window.take(now);
    }
}

#[test]
fn what_is_withdrawn_makes_room() {
    let start = Instant::now();
    let mut window = Window::new(rate(2, 1000, 0));
    window.take(start);
    window.take(start + ms(1));
    assert!(!window.withdraw(start + ms(2)));
    assert!(window.withdraw(start + ms(1)));
    assert_eq!(window.next_free(start + ms(3)), start + ms(3));
    window.take(start + ms(3));
    assert_eq!(window.next_free(start + ms(4)), start + ms(1000));
}

#[test]
fn another_rate_holds_at_once() {
    let start = Instant::now();
    let mut window = Window::new(rate(4, 1000, 0));
    (0..4).for_each(|at| window.take(start + ms(at)));
    window.set_rate(rate(2, 1000, 0));
    assert_eq!(window.next_free(start + ms(10)), start + ms(1002));
    window.set_rate(rate(5, 1000, 0));
    assert_eq!(window.next_free(start + ms(10)), start + ms(10));
}

/// Section 5 of the specification: 50 in 30 s; 200 that wait are through after 120 s.
#[test]
fn the_arithmetic_of_the_exhaustion_loop() {
    let start = Instant::now();
    let mut window = Window::new(rate(50, 30_000, 0));
    (0..50).for_each(|_| window.take(start));
    assert_eq!(window.wait(1, start), ms(30_000));
    assert_eq!(window.wait(50, start), ms(30_000));
    assert_eq!(window.wait(51, start), ms(60_000));
    assert_eq!(window.wait(200, start), ms(120_000));
    assert_eq!(window.wait(201, start), ms(150_000));
    // At full rate, evenly spread: 8 places lie within 5 s.
    let mut window = Window::new(rate(50, 30_000, 0));
    (0..50).for_each(|n| window.take(start + ms(600) * n));
    let now = start + ms(29_400);
    assert_eq!(window.wait(1, now), ms(600));
    assert_eq!(window.wait(8, now), ms(4800));
    assert_eq!(window.wait(9, now), ms(5400));
    assert!(window.wait(usize::MAX, now) > ms(1 << 40), "no overflow");
}

#[test]
fn a_wait_is_what_happens_when_all_before_go_as_soon_as_they_may() {
    let mut rng = Rng::new(1);
    for _ in 0..300 {
        let start = Instant::now();
        let events = rng.between(1, 6) as u32;
        let mut window = Window::new(rate(events, 1000, 0));
        let mut now = start;
        for _ in 0..rng.below(12) {
            now = window.next_free(now + ms(rng.below(400) as u64));
            window.take(now);
        }
        now += ms(rng.below(300) as u64);
        let mut played = window.clone();
        let mut at = now;
        for position in 1..20 {
            at = played.next_free(at);
            assert_eq!(window.wait(position, now), at - now, "position {position} of {window:?}");
            played.take(at);
        }
    }
}

/// A million random arrivals, in bursts and trickles, with withdrawals: no window of any phase holds more than N, and
/// nobody is held back without N events that say so.
#[test]
fn a_million_random_arrivals_never_overfill_a_window_of_any_phase() {
    let mut rng = Rng::new(7);
    for (events, window_ms, burst, arrivals) in
        [(50, 30_000, 0, 400_000), (50, 30_000, 10, 200_000), (7, 100, 3, 200_000), (1, 10, 0, 200_000)]
    {
        let limit = rate(events, window_ms, burst);
        let mut window = Window::new(limit);
        let mut now = Instant::now();
        let mut log: Vec<Instant> = Vec::new();
        for _ in 0..arrivals {
            let mean_us = limit.spacing().as_micros() as usize;
            now += match rng.below(4) {
                0 => Duration::ZERO,
                1 => Duration::from_micros(rng.below(mean_us / 4 + 1) as u64),
                2 => Duration::from_micros(rng.below(mean_us * 2 + 1) as u64),
                _ => Duration::from_nanos(rng.below(1000) as u64),
            };
            let free = window.next_free(now);
            if free > now {
                let long =
                    log.len() >= events as usize && log[log.len() - events as usize] + limit.window > now;
                let short =
                    limit.short().is_some_and(|(b, w)| log.len() >= b && log[log.len() - b] + w > now);
                assert!(long || short, "held back although the log allows it");
                // Half come back exactly when they may, half give up.
                if rng.chance(1, 2) {
                    continue;
                }
                now = free;
            }
            window.take(now);
            log.push(now);
            if rng.chance(1, 50) {
                assert!(window.withdraw(now));
                log.pop();
            }
        }
        assert!(log.len() > arrivals / 20, "{} of {arrivals} went through", log.len());
        assert!(most_in_any(&log, limit.window) <= events as usize);
        if let Some((b, w)) = limit.short() {
            assert!(most_in_any(&log, w) <= b);
        }
    }
}
