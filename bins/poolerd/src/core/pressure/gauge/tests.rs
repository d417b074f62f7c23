use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_reading_covers_one_to_two_intervals() {
    let start = Instant::now();
    let mut gauge = Gauge::new(SECOND, start);
    gauge.ended(millis(10), start + millis(100));
    gauge.ended(millis(30), start + millis(999));
    gauge.ended(millis(50), start + millis(1000));
    let at = |at| {
        let (window, span) = gauge.reading(start + millis(at));
        (window.transactions, window.held, span)
    };
    assert_eq!(at(1000), (3, millis(90), SECOND));
    assert_eq!(at(1999), (3, millis(90), millis(1999)));
    assert_eq!(at(2000), (1, millis(50), SECOND));
    assert_eq!(at(2999), (1, millis(50), millis(1999)));
    assert_eq!(at(3000), (0, Duration::ZERO, SECOND));
    assert_eq!(at(3_600_500), (0, Duration::ZERO, millis(1500)), "nothing is remembered for ever");
}

#[test]
fn the_least_wait_and_a_free_server_are_of_either_window() {
    let start = Instant::now();
    let mut gauge = Gauge::new(SECOND, start);
    gauge.assigned(millis(70), start);
    gauge.assigned(millis(60), start + millis(1500));
    let (window, _) = gauge.reading(start + millis(1500));
    assert_eq!((window.least_wait, window.free), (Some(millis(60)), false));
    gauge.assigned(Duration::ZERO, start + millis(1600));
    assert!(gauge.reading(start + millis(2999)).0.free);
    assert!(!gauge.reading(start + millis(3000)).0.free);
    gauge.freed(start + millis(3000));
    assert!(gauge.reading(start + millis(3000)).0.free);
}

#[test]
fn a_new_period_loses_nothing() {
    let start = Instant::now();
    let mut gauge = Gauge::new(SECOND, start);
    gauge.ended(millis(10), start + millis(100));
    gauge.align(millis(100), start + millis(1200));
    assert_eq!(gauge.period(), millis(100));
    let (window, span) = gauge.reading(start + millis(1200));
    assert_eq!((window.transactions, span), (1, millis(1200)));
    let (window, span) = gauge.reading(start + millis(1300));
    assert_eq!((window.transactions, span), (0, millis(100)));
}
