//! What every builder is made of.
//!
//! Invariant: a string ends at its first zero byte, as its reader would see it, so no value can smuggle a field into a
//! message; and a length that does not fit its field saturates (PostgreSQL refuses the message) instead of wrapping to
//! a small one, after which the rest of the body would be read as messages.

/// Appends a message: `tag`, the length, and the body that `body` appends.
#[inline]
pub(super) fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    sized(out, body);
}

/// Appends a length that counts itself, and the body that `body` appends: a message of the startup phase.
#[inline]
pub(super) fn sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// `len` as a length field.
#[inline]
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Appends `text`, up to its first zero byte, and a terminating zero.
#[inline]
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(until_zero(text));
    out.push(0);
}

/// `text` up to its first zero byte.
#[inline]
pub(super) fn until_zero(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

/// `text` where an empty string would end a list: None then.
#[inline]
pub(super) fn listed(text: &[u8]) -> Option<&[u8]> {
    Some(until_zero(text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_cannot_smuggle_a_field() {
        let mut out = Vec::new();
        message(&mut out, b'C', |out| string(out, b"one\0two"));
        assert_eq!(out, b"C\0\0\0\x08one\0");
    }

    #[test]
    fn lengths_saturate() {
        assert_eq!(length(5), 5);
        assert_eq!(length(usize::MAX), u32::MAX);
    }
}
