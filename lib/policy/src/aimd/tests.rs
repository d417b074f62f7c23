//! Growth, shrinking, bounds.

use super::*;

const SERVICE: Duration = Duration::from_millis(100);

#[test]
fn one_more_a_round_of_good_answers() {
    let mut aimd = Aimd::new(4, 50);
    let now = Instant::now();
    (0..9).for_each(|n| aimd.bad(SERVICE, now + SERVICE * n));
    let before = aimd.limit();
    (0..before).for_each(|_| aimd.good(before));
    assert!((before..=before + 1).contains(&aimd.limit()));
    (0..10_000).for_each(|_| aimd.good(50));
    assert_eq!(aimd.limit(), 50);
}

#[test]
fn it_does_not_grow_while_half_of_it_is_unused() {
    let mut aimd = Aimd::new(4, 50);
    aimd.bad(SERVICE, Instant::now());
    (0..1000).for_each(|_| aimd.good(22));
    assert_eq!(aimd.limit(), 45);
    (0..1000).for_each(|_| aimd.good(50));
    assert_eq!(aimd.limit(), 50);
}

#[test]
fn many_bad_answers_at_once_count_once() {
    let mut aimd = Aimd::new(4, 50);
    let now = Instant::now();
    (0..50).for_each(|_| aimd.bad(SERVICE, now));
    assert_eq!(aimd.limit(), 45);
    aimd.bad(SERVICE, now + SERVICE);
    assert_eq!(aimd.limit(), 40);
    (0..100).for_each(|n| aimd.bad(SERVICE, now + SERVICE * (n + 2)));
    assert_eq!(aimd.limit(), 4);
}
