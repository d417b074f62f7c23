//! Values under the keys of somebody else's [`crate::slab::Slab`].
//!
//! A machine hands out keys and keeps its states under them; its shell keeps the connections. Both are found in constant
//! time, and a stale key finds nothing on either side.

use crate::slab::Key;

/// See the module.
#[derive(Debug)]
pub struct Keyed<T> {
    slots: Vec<Option<(u32, T)>>,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<T> Keyed<T> {
    /// Keeps `value` under `key`. What was there under an older key of the same place is handed back.
    pub fn insert(&mut self, key: Key, value: T) -> Option<T> {
        let at = key.index as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at].replace((key.generation, value)).map(|(_, old)| old)
    }

    /// The value under `key`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize)? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value under `key`, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize)? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Takes the value out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.slots.get_mut(key.index as usize)?.take().map(|(_, value)| value)
    }

    /// Every value with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| {
            let (generation, value) = slot.as_ref()?;
            Some((Key { index: at as u32, generation: *generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32, generation: u32) -> Key {
        Key { index, generation }
    }

    #[test]
    fn stale_keys_find_nothing() {
        let mut keyed = Keyed::default();
        assert_eq!(keyed.insert(key(3, 1), "a"), None);
        assert_eq!(keyed.get(key(3, 1)), Some(&"a"));
        assert_eq!(keyed.get(key(3, 2)), None);
        assert_eq!(keyed.get(key(9, 1)), None);
        assert_eq!(keyed.insert(key(3, 2), "b"), Some("a"));
        assert_eq!(keyed.remove(key(3, 1)), None);
        assert_eq!(keyed.get_mut(key(3, 2)), Some(&mut "b"));
        assert!(keyed.iter().eq([(key(3, 2), &"b")]));
        assert_eq!(keyed.remove(key(3, 2)), Some("b"));
        assert_eq!(keyed.iter().count(), 0);
    }
}
