//! When a queue stands and who is overdue.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_queue_stands_when_it_has_not_been_empty_for_the_interval() {
    let start = Instant::now();
    let mut codel = Codel::new(ms(1000), ms(500));
    assert_eq!((codel.stands_at(), codel.overdue_at(start)), (None, None));
    codel.changed(1, start);
    codel.changed(9, start + ms(900));
    assert!(!codel.is_standing(start + ms(999)) && codel.is_standing(start + ms(1000)));
    codel.changed(0, start + ms(1500));
    codel.changed(1, start + ms(1500));
    assert!(!codel.is_standing(start + ms(2499)) && codel.is_standing(start + ms(2500)));
}

#[test]
fn nobody_is_overdue_before_the_queue_stands() {
    let start = Instant::now();
    let mut codel = Codel::new(ms(1000), ms(500));
    codel.changed(1, start);
    assert_eq!(codel.overdue_at(start), Some(start + ms(1000)));
    assert_eq!(codel.overdue_at(start + ms(700)), Some(start + ms(1200)));
    codel.set(ms(100), ms(200));
    assert_eq!(codel.overdue_at(start), Some(start + ms(200)));
}
