//! Keys come, go and overflow.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn keys_have_rates_of_their_own_and_are_forgotten_when_idle() {
    let start = Instant::now();
    let mut keyed = Keyed::new(Rate::new(2, ms(1000)), Algorithm::Window, 10);
    for key in [1, 2] {
        for _ in 0..2 {
            assert_eq!(keyed.next_free(Key(key), start), start);
            keyed.take(Key(key), start);
        }
        assert_eq!(keyed.next_free(Key(key), start), start + ms(1000));
        keyed.joined(Key(key));
        keyed.joined(Key(key));
        assert_eq!(keyed.newcomer_wait(Key(key), start), ms(2000));
        keyed.left(Key(key));
        assert_eq!(keyed.newcomer_wait(Key(key), start), ms(1000));
        keyed.left(Key(key));
    }
    assert_eq!((keyed.len(), keyed.used(Key(1), start), keyed.used(Key(3), start)), (2, 2, 0));
    (0..2).for_each(|_| keyed.joined(Key(3)));
    assert_eq!(keyed.newcomer_wait(Key(3), start), ms(1000), "two may go at once");
    assert_eq!(keyed.next_free(Key(1), start + ms(1000)), start + ms(1000));
    assert_eq!(keyed.len(), 0);
}

#[test]
fn at_keys_max_newcomers_share_one_meter_and_the_others_keep_theirs() {
    let start = Instant::now();
    let mut keyed = Keyed::new(Rate::new(1, ms(1000)), Algorithm::Window, 3);
    for key in 0..3 {
        keyed.take(Key(key), start);
    }
    assert_eq!((keyed.len(), keyed.next_free(Key(3), start + ms(1))), (3, start + ms(1)));
    keyed.take(Key(3), start + ms(1));
    assert_eq!(keyed.len(), 3, "there is no fourth");
    assert_eq!(keyed.next_free(Key(4), start + ms(1)), start + ms(1001));
    assert_eq!(keyed.next_free(Key(0), start + ms(1)), start + ms(1000));
    keyed.withdraw(Key(3), start + ms(1));
    assert_eq!(keyed.next_free(Key(4), start + ms(2)), start + ms(2));
    assert_eq!(keyed.next_free(Key(4), start + ms(1500)), start + ms(1500));
    keyed.take(Key(4), start + ms(1500));
    assert_eq!(keyed.len(), 1, "idle keys made room");
    // Who is remembered by the shared meter alone has no second go when room is made.
    let mut keyed = Keyed::new(Rate::new(1, ms(1000)), Algorithm::Window, 1);
    keyed.take(Key(0), start);
    keyed.take(Key(1), start + ms(900));
    assert_eq!(keyed.next_free(Key(1), start + ms(1100)), start + ms(1900));
}

#[test]
fn what_is_withdrawn_makes_room_by_either_algorithm() {
    let start = Instant::now();
    for algorithm in [Algorithm::Window, Algorithm::Gcra] {
        let mut keyed = Keyed::new(Rate::new(1, ms(1000)), algorithm, 3);
        keyed.take(Key(1), start);
        keyed.withdraw(Key(1), start);
        assert_eq!(keyed.next_free(Key(1), start + ms(1)), start + ms(1), "{algorithm:?}");
    }
}
