//! SCRAM-SHA-256 (RFC 5802, RFC 7677) in both roles, and the secrets it works with.
//!
//! [`ServerExchange`] checks a client of ours, [`ClientExchange`] logs us in to a server. Both are sans-IO: messages in,
//! messages out, and the nonce is the caller's. No channel binding: it comes with TLS.
//!
//! Pass-through: a client that proves it knows the password shows us its client key. If the server stores the very same
//! secret, that key logs us in there as the same user without the password ever being known to us.
//!
//! Invariants: each message is accepted once and in its order; a message longer than [`MESSAGE_LEN_MAX`] is refused
//! before it is looked at; nothing secret is compared in a time that shows it, or shown by Debug.

mod client;
mod message;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};

pub use super::secret::{KEY_LEN, PasswordCheck, ScramSecret, Secret, md5_secret, same_bytes};
pub use client::{ClientExchange, ClientStep, Derived};
pub use server::{ServerExchange, ServerStep};

/// The mechanism's name in the SASL messages.
pub const MECHANISM: &[u8] = b"SCRAM-SHA-256";

/// Random bytes in a nonce of ours (base64 makes 24 characters of them), as many as PostgreSQL takes.
pub const NONCE_LEN: usize = 18;

/// Bytes of salt in a secret made on the fly, as many as PostgreSQL takes.
pub const SALT_LEN: usize = 16;

/// PBKDF2 iterations of a secret made on the fly, unless set otherwise.
pub const ITERATIONS_DEFAULT: u32 = 4096;

/// The most iterations a server may ask us for: a second or so of computing.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// Bytes of the longest SCRAM message accepted.
pub const MESSAGE_LEN_MAX: usize = 4096;

/// The keys that follow from a password, a salt and a number of iterations (RFC 5802 section 3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// What a client proves to know.
    pub client_key: [u8; 32],
    /// SHA-256 of the client key: what a server checks the proof with.
    pub stored_key: [u8; 32],
    /// What a server signs with.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What keys are derived from. Deriving them costs milliseconds by design, so whoever must not block does it elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The password, not prepared.
    pub password: Vec<u8>,
    /// The salt, not encoded.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
}

impl Recipe {
    /// Derives the keys: see [`derive`].
    pub fn derive(self) -> Derived {
        let keys = derive(&self.password, &self.salt, self.iterations);
        Derived { salt: self.salt, iterations: self.iterations, keys }
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Derives the keys for `password`, prepared as PostgreSQL does: SASLprep (RFC 4013) where that is possible, else the
/// bytes as they are. `iterations` of zero count as one. Runs PBKDF2: a millisecond or so for 4096 iterations.
pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    let password = prepared.as_ref().map_or(password, |text| text.as_bytes());
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let mut salted = [0; KEY_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut salted);
    let client_key = hmac(&salted, &[b"Client Key"]);
    Keys { client_key, stored_key: sha256(&client_key), server_key: hmac(&salted, &[b"Server Key"]) }
}

/// An exchange has failed. Who is at fault follows from the role: it is always the peer, but for
/// [`ScramError::KeysDoNotFit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScramError {
    /// The message is not the one RFC 5802 section 7 describes at this point.
    Malformed,
    /// The message is longer than [`MESSAGE_LEN_MAX`].
    TooLong,
    /// The exchange is over, or has failed before.
    OutOfOrder,
    /// The client wants channel binding, which was not offered.
    ChannelBinding,
    /// The client wants to act as another user.
    AuthorizationIdentity,
    /// The message has an extension that must be understood (`m=`).
    Extension,
    /// The nonce is not the one agreed on.
    Nonce,
    /// The client's proof is wrong, or there is no such user.
    Proof,
    /// The server asks for no, or more than [`ITERATIONS_MAX`], iterations.
    Iterations,
    /// The server's salt or iterations are not those our keys were derived with.
    KeysDoNotFit,
    /// The server's signature is wrong: it does not know the secret.
    Signature,
    /// The server reports an error in its final message.
    Refused,
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed SCRAM message",
            Self::TooLong => "SCRAM message too long",
            Self::OutOfOrder => "SCRAM message out of order",
            Self::ChannelBinding => "SCRAM channel binding not supported",
            Self::AuthorizationIdentity => "SCRAM authorization identity not supported",
            Self::Extension => "SCRAM extension not supported",
            Self::Nonce => "SCRAM nonce mismatch",
            Self::Proof => "wrong SCRAM proof",
            Self::Iterations => "invalid SCRAM iteration count",
            Self::KeysDoNotFit => "SCRAM keys of another secret",
            Self::Signature => "invalid server signature",
            Self::Refused => "server refused the SCRAM exchange",
        })
    }
}

impl std::error::Error for ScramError {}

pub(super) fn sha256(data: &[u8]) -> [u8; KEY_LEN] {
    let mut hash = [0; KEY_LEN];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut tag = [0; KEY_LEN];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}

fn xor(a: &[u8; KEY_LEN], b: &[u8; KEY_LEN]) -> [u8; KEY_LEN] {
    std::array::from_fn(|at| a[at] ^ b[at])
}
