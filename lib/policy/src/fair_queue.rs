//! A queue that is fair between flows: deficit round robin with a quantum of one.
//!
//! Owned by whoever hands out places. Every item costs one, so the deficit counter of the general scheme (Shreedhar
//! and Varghese, 1995) is always 0 or 1 and need not be kept: a flow whose turn it is gives one item and goes to the
//! end of the ring. A flow with many items therefore delays another flow by one item a round, never by its length.
//!
//! Invariants: `len` counts the items of all flows; every flow that has items is in the ring, once; `depth[d]` counts
//! the flows with more than `d` items, so that a place in line is known without walking the flows.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Flows without items that may stay in the ring beyond the number of those with some.
const EMPTY_FLOWS_MAX: usize = 64;

/// Which item of a flow goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Fifo,
    /// The newest.
    Lifo,
}

#[derive(Debug)]
struct Flow<T> {
    /// Items with the number of their arrival.
    items: VecDeque<(u64, T)>,
}

/// Items of many flows; `K` names a flow.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    flows: HashMap<K, Flow<T>>,
    ring: VecDeque<K>,
    depth: Vec<usize>,
    len: usize,
    arrivals: u64,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self { flows: HashMap::new(), ring: VecDeque::new(), depth: Vec::new(), len: 0, arrivals: 0 }
    }
}

impl<K: Copy + Eq + Hash, T: Copy + PartialEq> FairQueue<K, T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Items of all flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Items of one flow.
    #[must_use]
    pub fn len_of(&self, flow: K) -> usize {
        self.flows.get(&flow).map_or(0, |flow| flow.items.len())
    }

    /// How many items at most would be taken before one that joins `flow` now, if no more came. Exact for a flow that
    /// has none yet; for another, off by one for each flow that stands behind it in the ring.
    #[must_use]
    pub fn ahead_of(&self, flow: K, order: Order) -> usize {
        let own = match order {
            Order::Fifo => self.len_of(flow),
            Order::Lifo => 0,
        };
        // By the time `own` items of the flow are gone, each other flow has given as many, and has had one turn more;
        // of the flow itself, none but those `own` are ahead.
        let others = self.depth.iter().take(own + 1).sum::<usize>();
        others - usize::from(self.len_of(flow) > own)
    }

    /// Adds an item to the end of its flow.
    pub fn push(&mut self, flow: K, item: T) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let entry = self.flows.entry(flow).or_insert_with(|| {
            self.ring.push_back(flow);
            Flow { items: VecDeque::new() }
        });
        let before = entry.items.len();
        entry.items.push_back((arrival, item));
        if before == self.depth.len() {
            self.depth.push(0);
        }
        self.depth[before] += 1;
        self.len += 1;
    }

    /// Takes the next item in turn of which `ready` holds. A flow whose first item is not ready is passed over and
    /// keeps its turn.
    pub fn next(&mut self, order: Order, mut ready: impl FnMut(&T) -> bool) -> Option<T> {
        self.drop_empty_front();
        let (place, flow) = self.ring.iter().enumerate().find_map(|(place, flow)| {
            let items = &self.flows.get(flow)?.items;
            let item = match order {
                Order::Fifo => items.front(),
                Order::Lifo => items.back(),
            };
            item.filter(|(_, item)| ready(item)).map(|_| (place, *flow))
        })?;
        self.ring.remove(place);
        self.ring.push_back(flow);
        let items = &mut self.flows.get_mut(&flow)?.items;
        let (_, item) = match order {
            Order::Fifo => items.pop_front(),
            Order::Lifo => items.pop_back(),
        }?;
        self.taken_from(flow);
        Some(item)
    }

    /// Takes out one item, wherever it stands. Returns whether it was there.
    pub fn remove(&mut self, flow: K, item: T) -> bool {
        let Some(entry) = self.flows.get_mut(&flow) else { return false };
        let Some(place) = entry.items.iter().position(|(_, other)| *other == item) else { return false };
        entry.items.remove(place);
        self.taken_from(flow);
        true
    }

    /// The item that came last, and its flow.
    #[must_use]
    pub fn newest(&self) -> Option<(K, T)> {
        let lasts = self.flows.iter().filter_map(|(flow, entry)| entry.items.back().map(|last| (flow, last)));
        lasts.max_by_key(|(_, (arrival, _))| *arrival).map(|(flow, (_, item))| (*flow, *item))
    }

    /// All items, flow by flow in the order of their turns, oldest first in each.
    pub fn iter(&self) -> impl Iterator<Item = (K, T)> + '_ {
        self.ring.iter().flat_map(|flow| {
            let items = self.flows.get(flow).map(|entry| entry.items.iter());
            items.into_iter().flatten().map(|(_, item)| (*flow, *item))
        })
    }

    /// One item of the flow is gone.
    fn taken_from(&mut self, flow: K) {
        let left = self.len_of(flow);
        if let Some(count) = self.depth.get_mut(left) {
            *count -= 1;
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self { arrivals: self.arrivals, ..Self::default() };
        } else if left == 0 && self.ring.len() > self.depth[0] + EMPTY_FLOWS_MAX {
            self.flows.retain(|_, entry| !entry.items.is_empty());
            self.ring.retain(|flow| self.flows.contains_key(flow));
        }
    }

    fn drop_empty_front(&mut self) {
        while let Some(flow) = self.ring.front().copied().filter(|flow| self.len_of(*flow) == 0) {
            self.flows.remove(&flow);
            self.ring.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
