//! The 64 bits that come back with a readiness event: who is meant.
//!
//! ```text
//!   63      56 55                  32 31                   0
//!  +----------+----------------------+----------------------+
//!  |  class   |      generation      |        index         |
//!  +----------+----------------------+----------------------+
//! ```
//! The class is the owner's (listener, client, server...); generation and index are a [`Key`] of the slab of that
//! class. An event that outlived its connection carries an old generation and so finds nothing.

use crate::slab::Key;

const _: () = assert!(usize::BITS == 64, "a token needs 64 bits");

/// Identity of an event source, chosen by its owner at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Token of the source `key` of kind `class`.
    #[inline]
    #[must_use]
    pub const fn new(class: u8, key: Key) -> Self {
        Self((class as u64) << 56 | ((key.generation & Key::GENERATION_MAX) as u64) << 32 | key.index as u64)
    }

    /// Token of the only source of kind `class`.
    #[must_use]
    pub const fn single(class: u8) -> Self {
        Self::at(class, 0)
    }

    /// Token of the source at `index` in a list of kind `class` that never has another one there.
    #[must_use]
    pub const fn at(class: u8, index: u32) -> Self {
        Self::new(class, Key { index, generation: 1 })
    }

    /// The owner's kind of source.
    #[inline]
    #[must_use]
    pub const fn class(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// Which source of that kind.
    #[inline]
    #[must_use]
    pub const fn key(self) -> Key {
        Key { index: self.0 as u32, generation: (self.0 >> 32) as u32 & Key::GENERATION_MAX }
    }

    #[inline]
    pub(crate) const fn to_mio(self) -> mio::Token {
        mio::Token(self.0 as usize)
    }

    #[inline]
    pub(crate) const fn from_mio(token: mio::Token) -> Self {
        Self(token.0 as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_at_their_extremes() {
        for class in [0, 1, 0x7f, 0xff] {
            for generation in [0, 1, Key::GENERATION_MAX] {
                for index in [0, 1, u32::MAX] {
                    let key = Key { index, generation };
                    let token = Token::from_mio(Token::new(class, key).to_mio());
                    assert_eq!((token.class(), token.key()), (class, key));
                }
            }
        }
    }
}
