//! Who goes first.

use super::*;
use sluice_policy::window::Rate;

/// Serves everybody who waits, one after the other, and tells in which order.
fn served(bench: &mut Bench, running: Ticket) -> Vec<u32> {
    let mut order = Vec::new();
    bench.settle(running);
    loop {
        let released = std::iter::from_fn(|| bench.limiter.poll()).find_map(|effect| match effect {
            Effect::Release(ticket, asker) => Some((ticket, asker.0.index)),
            _ => None,
        });
        let Some((ticket, number)) = released else { return order };
        order.push(number);
        bench.settle(ticket);
    }
}

fn bench(order: QueueOrder) -> (Bench, Ticket) {
    let mut bench = Bench::with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.max_in_flight = 1;
        route.queue_order = order;
        (route.queue_max_wait, route.patience) = (ms(60_000), ms(90_000));
        route.queue_per_key = 100;
    });
    let running = bench.pass(from(0));
    (bench, running)
}

#[test]
fn keys_take_turns() {
    let (mut bench, running) = bench(QueueOrder::Fifo);
    for client in [1, 1, 1, 2, 2, 3] {
        bench.delay(from(client));
    }
    assert_eq!(served(&mut bench, running), [2, 5, 7, 3, 6, 4]);
}

#[test]
fn the_newest_first_while_the_queue_stands() {
    for (order, at, expected) in [
        (QueueOrder::Adaptive, 400, [2, 3, 4]),
        (QueueOrder::Adaptive, 1200, [4, 3, 2]),
        (QueueOrder::Fifo, 1200, [2, 3, 4]),
        (QueueOrder::Lifo, 1, [4, 3, 2]),
    ] {
        let (mut bench, running) = bench(order);
        let policy = policy_with(|route| {
            *route = bench.limiter.policy().routes[0].clone();
            route.codel_target = ms(5000);
        });
        bench.limiter.set_policy(policy, bench.now);
        (0..3).for_each(|_| {
            bench.delay(from(1));
        });
        bench.at(at);
        assert_eq!(served(&mut bench, running), expected, "{order:?} after {at} ms");
    }
}

#[test]
fn urgent_ones_first_and_a_tenth_for_the_others() {
    let (mut bench, running) = bench(QueueOrder::Fifo);
    let lazy: [(&str, &[u8]); 1] = [("Priority", b"u=6")];
    (0..2).for_each(|_| {
        bench.delay(Ask { fields: &lazy, ..from(1) });
    });
    (0..25).for_each(|_| {
        bench.delay(from(2));
    });
    let order = served(&mut bench, running);
    let lazy_at: Vec<usize> = order.iter().enumerate().filter(|(_, n)| **n <= 3).map(|(at, _)| at).collect();
    assert_eq!(lazy_at, [10, 21], "each time ten urgent ones have gone");
}

#[test]
fn only_trusted_peers_raise_a_class() {
    let urgent: [(&str, &[u8]); 1] = [("Priority", b"u=0")];
    let probe: [(&str, &[u8]); 1] = [("Sluice-Probe", b"1")];
    for (fields, trust, first) in
        [(&urgent, Trust::No, 2), (&urgent, Trust::Yes, 3), (&probe, Trust::No, 2), (&probe, Trust::Yes, 3)]
    {
        let (mut bench, running) = bench(QueueOrder::Fifo);
        bench.delay(from(1));
        bench.delay(Ask { fields, trust, ..from(2) });
        assert_eq!(served(&mut bench, running)[0], first, "{fields:?} {trust:?}");
    }
}

#[test]
fn routes_take_turns_at_what_they_share() {
    let mut policy = policy_with(|route| {
        route.rate = Rate::new(0, ms(1));
        route.queue_order = QueueOrder::Fifo;
    });
    policy.routes.push(RoutePolicy { name: "b".into(), ..policy.routes[0].clone() });
    policy.max_in_flight = 1;
    let mut bench = Bench::new(policy);
    let running = bench.pass(from(0));
    (0..3).for_each(|_| {
        bench.delay(from(1));
    });
    (0..2).for_each(|_| {
        bench.delay(Ask { route: 1, ..from(1) });
    });
    assert_eq!(served(&mut bench, running), [5, 2, 6, 3, 4]);
}

/// Keys that always have somebody waiting get their share within one request, whatever the others send.
#[test]
fn a_greedy_key_costs_the_others_nothing() {
    let (mut bench, mut running) = bench(QueueOrder::Fifo);
    let mut owner = std::collections::HashMap::new();
    (0..80).for_each(|_| {
        bench.delay(from(1));
        owner.insert(bench.asked, 1);
    });
    let mut served = std::collections::BTreeMap::new();
    for client in [2, 3] {
        bench.delay(from(client));
        owner.insert(bench.asked, client);
    }
    for _ in 0..60 {
        bench.settle(running);
        let released = std::iter::from_fn(|| bench.limiter.poll()).find_map(|effect| match effect {
            Effect::Release(ticket, asker) => Some((ticket, asker.0.index)),
            _ => None,
        });
        let (ticket, number) = released.unwrap();
        running = ticket;
        let client = owner[&number];
        *served.entry(client).or_insert(0) += 1;
        if client != 1 {
            bench.delay(from(client));
            owner.insert(bench.asked, client);
        }
    }
    assert_eq!(served.into_values().collect::<Vec<i32>>(), [20, 20, 20]);
}
