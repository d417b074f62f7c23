//! The five bytes in front of every message but the first: tag and length.
//!
//! This is all the relay looks at for most messages, so it is inlined, allocates nothing and copies nothing. What is an
//! acceptable length beyond the protocol's own bounds is the caller's decision (`max_packet_size`).

use std::fmt;

/// Bytes of a message header: a one byte tag and a four byte length.
pub const HEADER_LEN: usize = 5;

/// The length field counts its own four bytes.
const LEN_MIN: u32 = 4;

/// The length is a signed 32-bit number on the wire.
const LEN_MAX: u32 = i32::MAX as u32;

/// A message header whose length is within the protocol's bounds, 4 to 2^31 - 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The message type; its meaning depends on the direction.
    pub tag: u8,
    /// The length as on the wire: body and length field, not the tag.
    pub len: u32,
}

impl Header {
    /// Bytes of the whole message, header included.
    #[inline]
    pub fn total(self) -> usize {
        1 + self.len as usize
    }

    /// Bytes behind the header.
    #[inline]
    pub fn body_len(self) -> usize {
        (self.len - LEN_MIN) as usize
    }
}

/// The peer broke the framing: nothing after this point can be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The length is below 4 or above 2^31 - 1.
    Length {
        /// The message type.
        tag: u8,
        /// The length as on the wire, read without its sign.
        len: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Length { tag, len } = *self;
        write!(f, "invalid message length {} (tag 0x{tag:02x})", len.cast_signed())
    }
}

impl std::error::Error for FrameError {}

/// Reads the header at the start of `bytes`; None while fewer than [`HEADER_LEN`] bytes are there.
///
/// # Errors
/// [`FrameError::Length`] if the length is outside the protocol's bounds.
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([a, b, c, d]);
    if (LEN_MIN..=LEN_MAX).contains(&len) {
        Ok(Some(Header { tag, len }))
    } else {
        Err(FrameError::Length { tag, len })
    }
}

/// A whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// The message type.
    pub tag: u8,
    /// What follows the header.
    pub body: &'a [u8],
    /// What follows the message.
    pub rest: &'a [u8],
}

/// Splits the first message off `bytes`; None while it is not all there.
///
/// For logins, tests and other places where messages are held whole; the relay streams.
///
/// # Errors
/// [`FrameError::Length`] as [`header`].
#[inline]
pub fn message(bytes: &[u8]) -> Result<Option<Message<'_>>, FrameError> {
    let Some(Header { tag, len }) = header(bytes)? else {
        return Ok(None);
    };
    let split = bytes[1..].split_at_checked(len as usize);
    Ok(split.map(|(message, rest)| Message { tag, body: &message[LEN_MIN as usize..], rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(tag: u8, len: u32) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = len.to_be_bytes();
        [tag, a, b, c, d]
    }

    #[test]
    fn a_header_waits_for_five_bytes() {
        let bytes = framed(b'Q', 13);
        for len in 0..HEADER_LEN {
            assert_eq!(header(&bytes[..len]), Ok(None));
        }
        assert_eq!(header(&bytes), Ok(Some(Header { tag: b'Q', len: 13 })));
    }

    #[test]
    fn lengths_at_and_beyond_both_bounds() {
        for len in [0, 1, 3, 0x8000_0000, 0x8000_0004, 0xffff_ffff] {
            assert_eq!(header(&framed(b'Q', len)), Err(FrameError::Length { tag: b'Q', len }));
        }
        let shortest = header(&framed(b'S', 4)).unwrap().unwrap();
        assert_eq!((shortest.total(), shortest.body_len()), (5, 0));
        let longest = header(&framed(b'd', 0x7fff_ffff)).unwrap().unwrap();
        assert_eq!((longest.total(), longest.body_len()), (0x8000_0000, 0x7fff_fffb));
    }

    #[test]
    fn the_error_shows_the_sign() {
        let error = header(&framed(b'Q', 0xffff_fffe)).unwrap_err();
        assert_eq!(error.to_string(), "invalid message length -2 (tag 0x51)");
    }

    #[test]
    fn a_message_is_split_off_only_when_whole() {
        let bytes = b"Z\0\0\0\x05IT rest";
        for prefix in sluice_check::prefixes(&bytes[..6]) {
            assert_eq!(message(prefix), Ok(None));
        }
        assert_eq!(message(bytes), Ok(Some(Message { tag: b'Z', body: b"I", rest: b"T rest" })));
    }
}
