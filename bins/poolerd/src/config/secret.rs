//! Stored secrets, as `auth_file` has them.

/// What is known of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(Vec<u8>),
    /// `md5` and the hex digest of password and user name: the 32 digits.
    Md5([u8; 32]),
    /// A SCRAM-SHA-256 verifier.
    Scram(ScramSecret),
}

/// The parts of a SCRAM-SHA-256 verifier.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Salt, decoded.
    pub salt: Vec<u8>,
    /// `StoredKey` of RFC 5802 §3.
    pub stored_key: [u8; 32],
    /// `ServerKey` of RFC 5802 §3.
    pub server_key: [u8; 32],
}
