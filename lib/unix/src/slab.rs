//! Generational slab: the home of everything a worker refers to by number.
//!
//! Owned by the worker. Entries live in pages of 256 that are never moved, so growth costs one page and never a
//! copy of what is there. A removed entry's place is reused first (it is warm in the cache) under the next
//! generation, so a [`Key`] kept too long finds nothing.
//!
//! Invariants: `len` counts the occupied entries; the free list holds exactly the vacant entries of all pages;
//! a generation is never 0, so [`Key::default`] is nobody's.

use std::mem;

const PAGE_LEN: usize = 256;
const NO_INDEX: u32 = u32::MAX;

/// Handle of an entry: its place, and which of the entries that lived there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Place in the slab.
    pub index: u32,
    /// Which entry of that place, 1 to [`Key::GENERATION_MAX`].
    pub generation: u32,
}

impl Key {
    /// Generations are 24 bits wide, the room a [`crate::token::Token`] has for them.
    pub const GENERATION_MAX: u32 = (1 << 24) - 1;
}

#[derive(Debug)]
enum Entry<T> {
    Vacant { next_free: u32 },
    Occupied(T),
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Entry<T>,
}

/// Entries of one kind, found by [`Key`] in constant time.
#[derive(Debug)]
pub struct Slab<T> {
    pages: Vec<Box<[Slot<T>]>>,
    first_free: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), first_free: NO_INDEX, len: 0 }
    }
}

impl<T> Slab<T> {
    /// Bytes one entry takes, its share of the bookkeeping included.
    pub const ENTRY_BYTES: usize = size_of::<Slot<T>>();

    /// An empty slab; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that fit before another page is allocated.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_LEN
    }

    /// Adds an entry.
    #[inline]
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Adds the entry `make` builds; `make` is told the key, so the entry may hold its own name.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        if self.first_free == NO_INDEX {
            self.add_page();
        }
        let index = self.first_free;
        let slot = &mut self.pages[index as usize / PAGE_LEN][index as usize % PAGE_LEN];
        let key = Key { index, generation: slot.generation };
        if let Entry::Vacant { next_free } = slot.entry {
            self.first_free = next_free;
        }
        slot.entry = Entry::Occupied(make(key));
        self.len += 1;
        key
    }

    /// Takes the entry out; `None` if the key is stale.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let next_free = self.first_free;
        let slot = self.slot_mut(key)?;
        match mem::replace(&mut slot.entry, Entry::Vacant { next_free }) {
            Entry::Occupied(value) => {
                slot.generation =
                    if slot.generation >= Key::GENERATION_MAX { 1 } else { slot.generation + 1 };
                self.first_free = key.index;
                self.len -= 1;
                Some(value)
            }
            // The key of an entry yet to come: nobody can have it, but the free list must survive the question.
            vacant @ Entry::Vacant { .. } => {
                slot.entry = vacant;
                None
            }
        }
    }

    /// The entry; `None` if the key is stale.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.pages.get(key.index as usize / PAGE_LEN)?.get(key.index as usize % PAGE_LEN)?;
        match &slot.entry {
            Entry::Occupied(value) if slot.generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The entry, to change; `None` if the key is stale.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match &mut self.slot_mut(key)?.entry {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// Whether the key names an entry.
    #[inline]
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// All entries by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        // The walk ends with the last entry, not with the last place.
        let entries = self.pages.iter().zip(0u32..).flat_map(|(page, number)| {
            page.iter().zip(0u32..).filter_map(move |(slot, place)| match &slot.entry {
                Entry::Occupied(value) => Some((
                    Key { index: number * PAGE_LEN as u32 + place, generation: slot.generation },
                    value,
                )),
                Entry::Vacant { .. } => None,
            })
        });
        entries.take(self.len)
    }

    /// All entries by place, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let entries = self.pages.iter_mut().zip(0u32..).flat_map(|(page, number)| {
            page.iter_mut().zip(0u32..).filter_map(move |(slot, place)| match &mut slot.entry {
                Entry::Occupied(value) => Some((
                    Key { index: number * PAGE_LEN as u32 + place, generation: slot.generation },
                    value,
                )),
                Entry::Vacant { .. } => None,
            })
        });
        entries.take(self.len)
    }

    /// Keys of all entries by place.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.iter().map(|(key, _)| key)
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let slot =
            self.pages.get_mut(key.index as usize / PAGE_LEN)?.get_mut(key.index as usize % PAGE_LEN)?;
        (slot.generation == key.generation).then_some(slot)
    }

    /// 2^32 entries are beyond any memory: the index cannot overflow before the allocator gives up.
    #[cold]
    fn add_page(&mut self) {
        let first = (self.pages.len() * PAGE_LEN) as u32;
        let last = first + PAGE_LEN as u32 - 1;
        let page = (first..=last).map(|index| Slot {
            generation: 1,
            entry: Entry::Vacant { next_free: if index == last { NO_INDEX } else { index + 1 } },
        });
        self.pages.push(page.collect());
        self.first_free = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index);
        assert_ne!(second, first);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn unknown_and_default_keys_find_nothing() {
        let mut slab = Slab::new();
        assert!(!slab.contains(Key::default()));
        slab.insert(1);
        assert!(!slab.contains(Key::default()));
        assert!(!slab.contains(Key { index: 256, generation: 1 }));
        assert!(!slab.contains(Key { index: 1, generation: 1 }));
        assert_eq!(slab.remove(Key { index: 1, generation: 1 }), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_vacant_place_is_not_damaged_by_its_next_key() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.remove(key);
        let ahead = Key { index: key.index, generation: key.generation + 1 };
        assert_eq!(slab.remove(ahead), None);
        let keys: Vec<Key> = (0..PAGE_LEN).map(|n| slab.insert(n)).collect();
        let mut places: Vec<u32> = keys.iter().map(|key| key.index).collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..PAGE_LEN as u32));
    }

    #[test]
    fn the_last_freed_place_is_reused_first() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..4).map(|n| slab.insert(n)).collect();
        slab.remove(keys[1]);
        slab.remove(keys[3]);
        assert_eq!([slab.insert(0).index, slab.insert(0).index], [keys[3].index, keys[1].index]);
    }

    #[test]
    fn a_full_page_is_followed_by_another() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..PAGE_LEN).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.capacity(), PAGE_LEN);
        let next = slab.insert(PAGE_LEN);
        assert_eq!((next.index as usize, slab.capacity()), (PAGE_LEN, 2 * PAGE_LEN));
        assert!(slab.keys().eq(keys.into_iter().chain([next])));
        for (_, value) in slab.iter_mut() {
            *value += 1;
        }
        assert!(slab.iter().map(|(_, value)| *value).eq(1..=PAGE_LEN + 1));
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let mut slab = Slab::new();
        let mut key = slab.insert(());
        for _ in 0..=Key::GENERATION_MAX {
            slab.remove(key);
            key = slab.insert(());
            assert!((1..=Key::GENERATION_MAX).contains(&key.generation));
        }
    }

    #[test]
    fn an_entry_may_hold_its_own_key() {
        let mut slab = Slab::new();
        let key = slab.insert_with(|key| key);
        assert_eq!(slab.get(key), Some(&key));
    }

    #[test]
    fn bookkeeping_is_small() {
        const { assert!(Slab::<[u64; 4]>::ENTRY_BYTES <= 32 + 16) };
        assert_eq!(size_of::<Key>(), 8);
    }
}
