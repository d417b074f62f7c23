//! A cursor over a message body: every access is checked, nothing is copied.

use std::fmt;

/// The longest statement or portal name that is read, in bytes without its NUL.
///
/// PostgreSQL itself tells names apart by their first 63 bytes only; the bound keeps a Bind whose names never end from
/// being collected for as long as its length allows.
pub const NAME_LEN_MAX: usize = 32 * 1024;

/// The sender wrote a body that does not have the shape its tag promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// The body ends inside a field.
    Short,
    /// A string has no terminating zero byte.
    Unterminated,
    /// Bytes follow the last field.
    Trailing,
    /// A field has a value the protocol does not know.
    Value,
    /// A name is longer than 32768 bytes.
    LongName,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "message ends inside a field",
            Self::Unterminated => "string without a terminating zero byte",
            Self::Trailing => "bytes behind the last field",
            Self::Value => "field with an unknown value",
            Self::LongName => "name longer than 32768 bytes",
        })
    }
}

impl std::error::Error for Malformed {}

/// What is left of a body.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    #[inline]
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A zero-terminated string, without its zero.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(Malformed::Unterminated)?;
        let string = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(string)
    }

    /// A statement or portal name.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let window = &self.rest[..self.rest.len().min(NAME_LEN_MAX + 1)];
        match memchr::memchr(0, window) {
            Some(end) => {
                let name = &self.rest[..end];
                self.rest = &self.rest[end + 1..];
                Ok(name)
            }
            None if self.rest.len() > NAME_LEN_MAX => Err(Malformed::LongName),
            None => Err(Malformed::Unterminated),
        }
    }

    /// Asserts that the body ends here.
    #[inline]
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_and_beyond_the_limit() {
        let mut longest = vec![b'n'; NAME_LEN_MAX];
        longest.push(0);
        assert_eq!(Reader::new(&longest).name().map(<[u8]>::len), Ok(NAME_LEN_MAX));
        longest.insert(0, b'n');
        assert_eq!(Reader::new(&longest).name(), Err(Malformed::LongName));
        assert_eq!(Reader::new(&longest[..NAME_LEN_MAX]).name(), Err(Malformed::Unterminated));
    }

    #[test]
    fn every_access_is_checked() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Malformed::Short));
        assert_eq!(reader.bytes(4), Err(Malformed::Short));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.end(), Err(Malformed::Trailing));
        assert_eq!(reader.string(), Err(Malformed::Unterminated));
        assert_eq!(reader.byte(), Ok(3));
        assert_eq!(reader.byte(), Err(Malformed::Short));
        assert_eq!(reader.end(), Ok(()));
    }
}
