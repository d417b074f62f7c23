//! Bursts, waits, and the promise of the log.

use super::*;
use sluice_check::Rng;

fn gcra(events: u32, burst: u32) -> Gcra {
    Gcra::new(Rate { events, window: Duration::from_secs(1), burst })
}

#[test]
fn a_burst_and_then_one_an_interval() {
    let start = Instant::now();
    let mut gcra = gcra(10, 3);
    for _ in 0..3 {
        assert_eq!(gcra.next_free(start), start);
        gcra.take(start);
    }
    // T = 1 s / 8.
    assert_eq!(gcra.next_free(start), start + Duration::from_millis(125));
    assert_eq!(gcra.wait(1, start), Duration::from_millis(125));
    assert_eq!(gcra.wait(9, start), Duration::from_millis(1125));
    assert!(!gcra.withdraw(start + Duration::from_millis(1)));
    assert!(gcra.withdraw(start) && !gcra.withdraw(start));
    assert_eq!(gcra.next_free(start), start);
    assert!(gcra.wait(usize::MAX, start) > Duration::from_secs(1 << 20), "no overflow");
    let unlimited = Gcra::new(Rate::new(0, Duration::from_secs(1)));
    assert_eq!((unlimited.next_free(start), unlimited.wait(9, start)), (start, Duration::ZERO));
}

#[test]
fn the_promise_of_the_log_is_kept() {
    let mut rng = Rng::new(3);
    for (events, burst) in [(10, 0), (10, 1), (10, 4), (1, 1), (50, 50)] {
        let mut gcra = gcra(events, burst);
        let mut now = Instant::now();
        let mut log: Vec<Instant> = Vec::new();
        for _ in 0..20_000 {
            now += Duration::from_micros(rng.below(60_000) as u64);
            now = gcra.next_free(now);
            gcra.take(now);
            log.push(now);
        }
        let most = events as usize;
        assert!(log.windows(most + 1).all(|few| few[0] + Duration::from_secs(1) <= few[most]));
    }
}
