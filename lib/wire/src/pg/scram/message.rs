//! The attributes a SCRAM message is made of (RFC 5802 section 5.1): `a=value`, separated by commas.

use super::{MESSAGE_LEN_MAX, ScramError};

/// What is left of a message.
pub(super) struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// The next attribute, whatever its name; None at the end.
    pub(super) fn any(&mut self) -> Result<Option<(u8, &'a str)>, ScramError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        match attribute.as_bytes() {
            [name, b'=', ..] if name.is_ascii_alphabetic() => Ok(Some((*name, &attribute[2..]))),
            _ => Err(ScramError::Malformed),
        }
    }

    /// The value of the next attribute, which must be `wanted`. `m=` in its place is an extension we must refuse.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<&'a str, ScramError> {
        match self.any()? {
            Some((name, value)) if name == wanted => Ok(value),
            Some((b'm', _)) => Err(ScramError::Extension),
            _ => Err(ScramError::Malformed),
        }
    }

    /// Skips optional extensions up to the end.
    pub(super) fn skip_rest(&mut self) -> Result<(), ScramError> {
        while self.any()?.is_some() {}
        Ok(())
    }
}

/// `message` as text, if it is short enough and could be a SCRAM message at all.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_LEN_MAX {
        return Err(ScramError::TooLong);
    }
    if message.contains(&0) {
        return Err(ScramError::Malformed);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

/// Whether `nonce` is made of printable ASCII without commas, and not empty.
pub(super) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
