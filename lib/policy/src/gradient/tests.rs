//! Against a model of a service; the probe; bounds.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A service that does `slots` at once in `service` and lets the rest queue, always offered all that is allowed.
fn run(gradient: &mut Gradient, service: Duration, slots: u32, rounds: u32, mut now: Instant) -> Instant {
    for _ in 0..rounds {
        let in_flight = gradient.limit();
        let latency = service * in_flight.div_ceil(slots).max(1);
        now += latency.max(ROUND);
        (0..SAMPLES).for_each(|_| gradient.sample(latency, in_flight, now));
    }
    now
}

#[test]
fn it_settles_near_what_the_service_can_do() {
    let start = Instant::now();
    let mut gradient = Gradient::new(4, 500, start);
    assert_eq!(gradient.limit(), 4);
    let now = run(&mut gradient, ms(10), 20, 1, start);
    assert_eq!(gradient.limit(), 500, "the first look at the service is over");
    run(&mut gradient, ms(10), 20, 200, now);
    assert!((20..=60).contains(&gradient.limit()), "{}", gradient.limit());
}

#[test]
fn the_least_is_measured_anew_at_the_lower_bound() {
    let start = Instant::now();
    let mut gradient = Gradient::new(4, 50, start);
    let now = run(&mut gradient, ms(10), 100, 2, start);
    assert_eq!(gradient.limit(), 50);
    let now = run(&mut gradient, ms(10), 100, 1, now + PROBE_EVERY);
    assert_eq!(gradient.limit(), 4);
    // What was dispatched before does not count.
    gradient.sample(ms(500), 50, now + ms(100));
    assert_eq!(gradient.round.samples, 0);
    run(&mut gradient, ms(40), 100, 1, now);
    assert!(matches!(gradient.state, State::Following { least, .. } if least == ms(40)));
}

#[test]
fn it_does_not_grow_unused_and_stays_in_bounds() {
    let start = Instant::now();
    let mut gradient = Gradient::new(4, 50, start);
    let mut now = run(&mut gradient, ms(10), 100, 1, start);
    now = run(&mut gradient, ms(10), 1, 100, now);
    assert_eq!(gradient.limit(), 4);
    for _ in 0..50 {
        now += ROUND;
        (0..SAMPLES).for_each(|_| gradient.sample(ms(10), 1, now));
    }
    assert_eq!(gradient.limit(), 4);
    run(&mut gradient, ms(10), 1000, 200, now);
    assert_eq!(gradient.limit(), 50);
}
