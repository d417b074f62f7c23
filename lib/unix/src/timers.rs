//! When to look again: a queue of (moment, key) pairs.
//!
//! Owned by a worker. A timer is a hint: there is no cancel, the owner asks its machine what is really due when
//! one fires. That keeps the cost of the usual case, a timeout that never happens, at one insertion, and lets an
//! owner that already has an earlier timer pending insert nothing at all.
//!
//! Invariants: [`Timers::expired`] yields in order of time, and of insertion among equals.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Room kept for good; what a burst of timers took beyond it is given back.
const KEEP_LEN: usize = 1024;

#[derive(Debug)]
struct Timer<K> {
    at: Instant,
    number: u64,
    key: K,
}

impl<K> PartialEq for Timer<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K> Eq for Timer<K> {}

impl<K> PartialOrd for Timer<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Timer<K> {
    /// Reversed: the heap has its greatest on top, and the soonest is wanted there.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Pending timers of one worker; `K` names whom to wake.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Timer<K>>,
    next_number: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), next_number: 0 }
    }
}

impl<K> Timers<K> {
    /// No timers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes `key` at or soon after `at`.
    #[inline]
    pub fn schedule(&mut self, at: Instant, key: K) {
        self.heap.push(Timer { at, number: self.next_number, key });
        self.next_number += 1;
    }

    /// The soonest moment scheduled.
    #[inline]
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|timer| timer.at)
    }

    /// Takes out one timer that is due: call until `None`.
    #[inline]
    pub fn expired(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let timer = self.heap.pop()?;
        if self.heap.capacity() > KEEP_LEN && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        Some(timer.key)
    }

    /// Number of timers pending, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_ones_come_in_order_and_others_stay() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        assert_eq!((timers.next(), timers.expired(start)), (None, None));
        for (ms, key) in [(30, 'c'), (10, 'a'), (20, 'b'), (10, 'A'), (31, 'd')] {
            timers.schedule(at(ms), key);
        }
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        let fired: Vec<char> = std::iter::from_fn(|| timers.expired(at(30))).collect();
        assert_eq!(fired, ['a', 'A', 'b', 'c']);
        assert_eq!((timers.next(), timers.len()), (Some(at(31)), 1));
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for number in 0..KEEP_LEN * 16 {
            timers.schedule(start, number);
        }
        while timers.expired(start).is_some() {}
        assert!(timers.heap.capacity() <= KEEP_LEN);
    }
}
