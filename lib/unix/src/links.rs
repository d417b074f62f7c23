//! The connections of a worker: those it has accepted and those it has opened, and the queue of those that have something
//! to do.
//!
//! A machine names its connections; whoever moves their bytes keeps them here, under those names. Invariant: a connection
//! stands in the queue once at most; one that is gone is skipped by its owner, because its name finds nothing.

use std::collections::VecDeque;

use crate::keyed::Keyed;
use crate::slab::Key;

/// The two kinds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody has connected to us.
    Accepted,
    /// We have connected to somebody.
    Opened,
}

/// A machine's name for one of its connections.
pub trait End: Copy {
    /// Its kind, and its key among those of that kind.
    fn place(self) -> (Kind, Key);
}

/// Connections that are called `E`, with what is kept for each.
#[derive(Debug)]
pub struct Links<E, L> {
    accepted: Keyed<Slot<L>>,
    opened: Keyed<Slot<L>>,
    runnable: VecDeque<E>,
}

#[derive(Debug)]
struct Slot<L> {
    link: L,
    /// It stands in the queue.
    queued: bool,
}

impl<E, L> Default for Links<E, L> {
    fn default() -> Self {
        Self { accepted: Keyed::default(), opened: Keyed::default(), runnable: VecDeque::new() }
    }
}

impl<E: End, L> Links<E, L> {
    #[inline]
    fn slot(&mut self, end: E) -> Option<&mut Slot<L>> {
        match end.place() {
            (Kind::Accepted, key) => self.accepted.get_mut(key),
            (Kind::Opened, key) => self.opened.get_mut(key),
        }
    }

    /// What is kept for a connection.
    #[inline]
    pub fn get_mut(&mut self, end: E) -> Option<&mut L> {
        self.slot(end).map(|slot| &mut slot.link)
    }

    /// Keeps a connection.
    pub fn insert(&mut self, end: E, link: L) {
        let slot = Slot { link, queued: false };
        match end.place() {
            (Kind::Accepted, key) => self.accepted.insert(key, slot),
            (Kind::Opened, key) => self.opened.insert(key, slot),
        };
    }

    /// Hands a connection back.
    pub fn remove(&mut self, end: E) -> Option<L> {
        let slot = match end.place() {
            (Kind::Accepted, key) => self.accepted.remove(key),
            (Kind::Opened, key) => self.opened.remove(key),
        };
        slot.map(|slot| slot.link)
    }

    /// Every connection of a kind.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = (Key, &L)> {
        let links = match kind {
            Kind::Accepted => &self.accepted,
            Kind::Opened => &self.opened,
        };
        links.iter().map(|(key, slot)| (key, &slot.link))
    }

    /// Notes that the connection has something to do this turn.
    pub fn wake(&mut self, end: E) {
        if let Some(slot) = self.slot(end)
            && !slot.queued
        {
            slot.queued = true;
            self.runnable.push_back(end);
        }
    }

    /// The next one that has something to do.
    pub fn next_runnable(&mut self) -> Option<E> {
        let end = self.runnable.pop_front()?;
        if let Some(slot) = self.slot(end) {
            slot.queued = false;
        }
        Some(end)
    }

    /// How many have something to do.
    #[must_use]
    pub fn runnable_len(&self) -> usize {
        self.runnable.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Name {
        Client(Key),
        Server(Key),
    }

    impl End for Name {
        fn place(self) -> (Kind, Key) {
            match self {
                Self::Client(key) => (Kind::Accepted, key),
                Self::Server(key) => (Kind::Opened, key),
            }
        }
    }

    const FIRST: Key = Key { index: 0, generation: 1 };
    const LATER: Key = Key { index: 0, generation: 2 };

    #[test]
    fn each_kind_has_its_own_keys_and_old_names_find_nothing() {
        let mut links = Links::default();
        links.insert(Name::Client(FIRST), "client");
        links.insert(Name::Server(FIRST), "server");
        assert_eq!(links.get_mut(Name::Client(FIRST)), Some(&mut "client"));
        assert_eq!(links.iter(Kind::Opened).collect::<Vec<_>>(), [(FIRST, &"server")]);
        links.insert(Name::Client(LATER), "another");
        assert_eq!(links.get_mut(Name::Client(FIRST)), None);
        assert_eq!(links.remove(Name::Client(FIRST)), None);
        assert_eq!(links.remove(Name::Client(LATER)), Some("another"));
        assert_eq!(links.iter(Kind::Accepted).count(), 0);
    }

    #[test]
    fn whoever_is_woken_gets_one_turn_in_order() {
        let mut links = Links::default();
        let (client, server) = (Name::Client(FIRST), Name::Server(FIRST));
        links.insert(client, ());
        links.insert(server, ());
        links.wake(Name::Client(LATER));
        for name in [client, server, client] {
            links.wake(name);
        }
        assert_eq!(links.runnable_len(), 2, "a stranger is not queued, and nobody twice");
        assert_eq!(links.next_runnable(), Some(client));
        links.wake(client);
        assert_eq!((links.next_runnable(), links.next_runnable()), (Some(server), Some(client)));
        assert_eq!(links.next_runnable(), None);
    }
}
