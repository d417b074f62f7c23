//! Turns, places in line, removal; random sequences against a plain model.

use super::*;
use sluice_check::Rng;

fn queue(items: &[(char, u32)]) -> FairQueue<char, u32> {
    let mut queue = FairQueue::new();
    items.iter().for_each(|(flow, item)| queue.push(*flow, *item));
    queue
}

fn drain(queue: &mut FairQueue<char, u32>, order: Order) -> Vec<u32> {
    std::iter::from_fn(|| queue.next(order, |_| true)).collect()
}

#[test]
fn flows_take_turns_whatever_their_length() {
    let items = [('a', 1), ('a', 2), ('a', 3), ('b', 10), ('c', 20), ('b', 11)];
    assert_eq!(drain(&mut queue(&items), Order::Fifo), [1, 10, 20, 2, 11, 3]);
    assert_eq!(drain(&mut queue(&items), Order::Lifo), [3, 11, 20, 2, 10, 1]);
}

#[test]
fn who_is_not_ready_is_passed_over_and_keeps_its_turn() {
    let mut queue = queue(&[('a', 1), ('b', 10), ('a', 2), ('c', 20)]);
    assert_eq!(queue.next(Order::Fifo, |item| *item >= 10), Some(10));
    assert_eq!(queue.next(Order::Fifo, |_| false), None);
    assert_eq!(queue.len(), 3);
    assert_eq!(drain(&mut queue, Order::Fifo), [1, 20, 2]);
}

#[test]
fn a_newcomer_waits_for_one_item_of_each_other_flow_a_round() {
    let queue = queue(&[('a', 1), ('a', 2), ('a', 3), ('b', 10), ('b', 11)]);
    assert_eq!(queue.ahead_of('z', Order::Fifo), 2);
    assert_eq!(queue.ahead_of('b', Order::Fifo), 5);
    assert_eq!(queue.ahead_of('a', Order::Fifo), 5);
    assert_eq!(queue.ahead_of('z', Order::Lifo), 2);
    assert_eq!(queue.ahead_of('a', Order::Lifo), 1);
    assert_eq!(FairQueue::<char, u32>::new().ahead_of('a', Order::Fifo), 0);
}

#[test]
fn the_newest_is_found_across_flows() {
    let mut queue = queue(&[('a', 1), ('b', 10), ('a', 2)]);
    assert_eq!(queue.newest(), Some(('a', 2)));
    assert!(queue.remove('a', 2));
    assert!(!queue.remove('a', 2) && !queue.remove('z', 1));
    assert_eq!(queue.newest(), Some(('b', 10)));
    assert_eq!(queue.iter().collect::<Vec<_>>(), [('a', 1), ('b', 10)]);
}

#[test]
fn flows_that_left_take_no_room() {
    let mut queue = FairQueue::new();
    queue.push(0, 0);
    for flow in 1..10_000 {
        queue.push(flow, flow);
        assert!(queue.remove(flow, flow));
        assert!(queue.ring.len() <= EMPTY_FLOWS_MAX + 2 && queue.flows.len() == queue.ring.len());
    }
    assert!(queue.remove(0, 0));
    assert!(queue.ring.is_empty() && queue.flows.is_empty());
}

/// Every flow that has items all the time gets its share within one item, whatever the others do; counts hold.
#[test]
fn random_sequences_are_fair_within_one_and_lose_nothing() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut queue = FairQueue::new();
        let mut model: Vec<(usize, u32)> = Vec::new();
        let mut next = 0;
        for _ in 0..400 {
            match rng.below(5) {
                0..=2 => {
                    let flow = rng.below(6);
                    queue.push(flow, next);
                    model.push((flow, next));
                    next += 1;
                }
                3 => {
                    if let Some(&(flow, item)) = rng.pick(&model) {
                        assert!(queue.remove(flow, item));
                        model.retain(|(_, other)| *other != item);
                    }
                }
                _ => {
                    let order = if rng.chance(1, 2) { Order::Fifo } else { Order::Lifo };
                    let taken = queue.next(order, |_| true);
                    assert_eq!(taken.is_some(), !model.is_empty());
                    model.retain(|(_, other)| Some(*other) != taken);
                }
            }
            assert_eq!(queue.len(), model.len());
            for flow in 0..6 {
                assert_eq!(queue.len_of(flow), model.iter().filter(|(of, _)| *of == flow).count());
            }
            assert_eq!(queue.newest().map(|(_, item)| item), model.last().map(|(_, item)| *item));
        }
        let mut left: Vec<u32> = queue.iter().map(|(_, item)| item).collect();
        left.sort_unstable();
        assert!(left.iter().eq(model.iter().map(|(_, item)| item)));
        fair_within_one(&mut queue);
    }
}

fn fair_within_one(queue: &mut FairQueue<usize, u32>) {
    let before: Vec<usize> = (0..6).map(|flow| queue.len_of(flow)).collect();
    while !queue.is_empty() {
        queue.next(Order::Fifo, |_| true);
        let taken: Vec<usize> = (0..6).map(|flow| before[flow] - queue.len_of(flow)).collect();
        let busy = (0..6).filter(|flow| queue.len_of(*flow) > 0);
        let least = busy.map(|flow| taken[flow]).min().unwrap_or(usize::MAX);
        assert!(taken.iter().all(|taken| *taken <= least.saturating_add(1)), "{taken:?} of {before:?}");
    }
}

#[test]
fn a_place_in_line_is_when_the_item_comes_out() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut queue: FairQueue<usize, u32> = FairQueue::new();
        (0..rng.below(30)).for_each(|item| queue.push(rng.below(5), item as u32));
        let flow = rng.below(6);
        let ahead = queue.ahead_of(flow, Order::Fifo);
        let slack = if queue.len_of(flow) == 0 { 0 } else { 4 };
        queue.push(flow, 1000);
        let mut before = 0;
        while queue.next(Order::Fifo, |_| true) != Some(1000) {
            before += 1;
        }
        assert!(before <= ahead && ahead <= before + slack, "seed {seed}: {before} before, not {ahead}");
    }
}
