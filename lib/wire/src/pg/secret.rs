//! A user's stored secret: what `userlist.txt` and `pg_authid.rolpassword` hold, and the checks that need no exchange.
//!
//! Invariants: no secret is ever shown by Debug, and no comparison with one takes a time that depends on where they
//! differ. Formats: PostgreSQL manual, `pg_authid`; RFC 5803 for the SCRAM one.

use std::fmt;
use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};

use super::scram::{Keys, Recipe, sha256};

/// Bytes of a SHA-256 hash, and so of every SCRAM key.
pub const KEY_LEN: usize = 32;

/// Bytes of an MD5 hash in hexadecimal.
const MD5_HEX_LEN: usize = 32;

const MD5_PREFIX: &[u8] = b"md5";
const SCRAM_PREFIX: &[u8] = b"SCRAM-SHA-256$";

/// A stored secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself; empty means that no password logs in.
    Plain(Vec<u8>),
    /// md5(password, user) in lower case hexadecimal, without the `md5` in front.
    Md5([u8; 32]),
    /// What SCRAM-SHA-256 stores.
    Scram(ScramSecret),
}

/// Whether a password is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordCheck {
    /// It is, or it is not.
    Done(bool),
    /// The keys that follow from it must be derived: it is if [`ScramSecret::accepts`] them.
    Derive(Recipe),
}

/// What a SCRAM-SHA-256 server stores (RFC 5802 section 3): enough to check a client, not to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// PBKDF2 iterations, at least 1.
    pub iterations: u32,
    /// The salt, not encoded.
    pub salt: Vec<u8>,
    /// SHA-256 of the client's key.
    pub stored_key: [u8; 32],
    /// The key the server signs with.
    pub server_key: [u8; 32],
}

impl Secret {
    /// Reads a stored secret. Whatever is neither a SCRAM nor an md5 secret is a plain password, as in PostgreSQL.
    pub fn parse(text: &[u8]) -> Self {
        if let Some(secret) = ScramSecret::parse(text) {
            return Self::Scram(secret);
        }
        let md5 = text.strip_prefix(MD5_PREFIX).and_then(|hex| <[u8; MD5_HEX_LEN]>::try_from(hex).ok());
        match md5 {
            Some(hex) if hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => Self::Md5(hex),
            _ => Self::Plain(text.to_vec()),
        }
    }

    /// Whether `password`, received as it is, belongs to this secret of `user`. An empty one never does.
    pub fn check_password(&self, user: &[u8], password: &[u8]) -> PasswordCheck {
        let accepts = match self {
            _ if password.is_empty() => false,
            // Hashed first, so that not even the length of the secret shows.
            Self::Plain(plain) => same_bytes(&sha256(plain), &sha256(password)),
            Self::Md5(hex) => same_bytes(hex, &md5_secret(user, password)),
            Self::Scram(secret) => return PasswordCheck::Derive(secret.recipe(password)),
        };
        PasswordCheck::Done(accepts)
    }

    /// The answer to an md5 request with `salt` (`md5` and 32 hexadecimal digits); None if the secret cannot give one.
    pub fn md5_answer(&self, user: &[u8], salt: [u8; 4]) -> Option<Vec<u8>> {
        let hex = match self {
            Self::Plain(plain) if plain.is_empty() => return None,
            Self::Plain(plain) => md5_secret(user, plain),
            Self::Md5(hex) => *hex,
            Self::Scram(_) => return None,
        };
        let mut answer = MD5_PREFIX.to_vec();
        answer.extend_from_slice(&md5_hex(&[&hex, &salt]));
        Some(answer)
    }

    /// Whether `answer` is the right one to an md5 request with `salt`.
    pub fn accepts_md5(&self, user: &[u8], salt: [u8; 4], answer: &[u8]) -> bool {
        self.md5_answer(user, salt).is_some_and(|expected| same_bytes(&expected, answer))
    }
}

impl ScramSecret {
    /// Reads `SCRAM-SHA-256$iterations:salt$stored:server`, its last three parts in base64; None if it is not that.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text.strip_prefix(SCRAM_PREFIX)?).ok()?;
        let (head, keys) = text.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(Self {
            iterations: decimal(iterations)?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored_key).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server_key).ok()?.try_into().ok()?,
        })
    }

    /// The secret whose keys are `keys`, derived with this salt and so many iterations.
    pub fn new(keys: &Keys, salt: Vec<u8>, iterations: u32) -> Self {
        Self { iterations, salt, stored_key: keys.stored_key, server_key: keys.server_key }
    }

    /// How the keys of this secret follow from a password.
    pub fn recipe(&self, password: &[u8]) -> Recipe {
        Recipe { password: password.to_vec(), salt: self.salt.clone(), iterations: self.iterations }
    }

    /// Whether these are the keys of the secret's password.
    pub fn accepts(&self, keys: &Keys) -> bool {
        same_bytes(&keys.stored_key, &self.stored_key)
    }

    /// The form [`ScramSecret::parse`] reads.
    pub fn to_text(&self) -> String {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored_key, server_key] =
            [&salt[..], stored_key, server_key].map(|part| BASE64.encode(part));
        format!("SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}")
    }
}

/// A number from 1 to i32::MAX, PostgreSQL's range of iterations, in plain decimal digits.
pub(super) fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&number| (1..=i32::MAX.unsigned_abs()).contains(&number))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Md5(_) => "Md5(..)",
            Self::Scram(_) => "Scram(..)",
        })
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// md5(password, user) in lower case hexadecimal: what [`Secret::Md5`] holds.
pub fn md5_secret(user: &[u8], password: &[u8]) -> [u8; 32] {
    md5_hex(&[password, user])
}

fn md5_hex(parts: &[&[u8]]) -> [u8; MD5_HEX_LEN] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash = hash.finalize();
    let mut hex = [0; MD5_HEX_LEN];
    for (byte, digits) in hash.iter().zip(hex.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    hex
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}

/// Whether `a` and `b` are equal, in a time that depends on their lengths only.
#[inline(never)]
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    // Every byte takes part, whatever the ones before it said; black_box keeps the compiler from seeing that the rest
    // does not matter once a difference is found.
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    a.len() == b.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::scram::derive;

    fn scram(password: &[u8]) -> Secret {
        let salt = b"salt".to_vec();
        Secret::Scram(ScramSecret::new(&derive(password, &salt, 1), salt, 1))
    }

    #[test]
    fn md5_matches_known_values_and_another_implementation() {
        assert_eq!(&md5_secret(b"user", b"password"), b"4d45974e13472b5a0be3533de4666414");
        let plain = Secret::Plain(b"password".to_vec());
        let hashed = Secret::parse(b"md54d45974e13472b5a0be3533de4666414");
        let salt = [1, 2, 3, 4];
        let answer = b"md5a3576f1ae039b8996bc4fc2720f9c71a";
        for secret in [plain, hashed] {
            assert_eq!(secret.md5_answer(b"user", salt).as_deref(), Some(&answer[..]));
            assert!(secret.accepts_md5(b"user", salt, answer));
            assert!(!secret.accepts_md5(b"user", [1, 2, 3, 5], answer));
            assert!(!secret.accepts_md5(b"user", salt, &answer[..34]));
            assert!(!secret.accepts_md5(b"user", salt, b""));
        }
        let theirs = postgres_protocol::authentication::md5_hash(b"user", b"password", salt);
        assert_eq!(theirs.as_bytes(), answer);
    }

    fn accepts(secret: &Secret, user: &[u8], password: &[u8]) -> bool {
        match (secret.check_password(user, password), secret) {
            (PasswordCheck::Done(accepts), _) => accepts,
            (PasswordCheck::Derive(recipe), Secret::Scram(secret)) => secret.accepts(&recipe.derive().keys),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_accepts_its_password_only() {
        let secrets = [
            Secret::Plain(b"password".to_vec()),
            Secret::Md5(md5_secret(b"user", b"password")),
            scram(b"password"),
        ];
        for secret in secrets {
            assert!(accepts(&secret, b"user", b"password"), "{secret:?}");
            for wrong in [&b""[..], b"p", b"passwor", b"passwordx", b"Password"] {
                assert!(!accepts(&secret, b"user", wrong), "{secret:?}");
            }
        }
        assert!(!accepts(&Secret::Md5(md5_secret(b"user", b"password")), b"other", b"password"));
    }

    #[test]
    fn an_empty_secret_lets_nobody_in() {
        let empty = Secret::Plain(Vec::new());
        assert!(!accepts(&empty, b"user", b""));
        assert_eq!(empty.md5_answer(b"user", [0; 4]), None);
        assert!(!accepts(&scram(b""), b"user", b""));
        assert_eq!(scram(b"password").md5_answer(b"user", [0; 4]), None);
    }

    #[test]
    fn what_is_nearly_md5_or_scram_is_a_password() {
        let md5 = b"md54d45974e13472b5a0be3533de4666414";
        let scram = scram(b"password");
        let Secret::Scram(secret) = &scram else { panic!() };
        let text = secret.to_text();
        assert!(matches!(Secret::parse(md5), Secret::Md5(_)));
        assert_eq!(Secret::parse(text.as_bytes()), scram);
        let nearly = [
            md5[..34].to_vec(),
            [&md5[..], b"0"].concat(),
            md5.to_ascii_uppercase(),
            [b"md5", &md5.to_ascii_uppercase()[3..]].concat(),
            text.replace("$1:", "$0:").into_bytes(),
            text.replace("$1:", "$2147483648:").into_bytes(),
            text.replace("$1:", "$+1:").into_bytes(),
            text.replace("$1:", "$:").into_bytes(),
            text.replace("SHA-256", "SHA-1").into_bytes(),
            text.replace("=", "").into_bytes(),
            format!("{text}x").into_bytes(),
            b"SCRAM-SHA-256$1:c2FsdA==$AAAA:AAAA".to_vec(),
        ];
        for text in nearly {
            assert_eq!(Secret::parse(&text), Secret::Plain(text.clone()), "{}", text.escape_ascii());
        }
        for prefix in sluice_check::prefixes(text.as_bytes()) {
            assert!(matches!(Secret::parse(prefix), Secret::Plain(_)));
        }
    }

    #[test]
    fn bytes_are_the_same_or_not() {
        assert!(same_bytes(b"", b""));
        assert!(same_bytes(b"abc", b"abc"));
        for other in [&b""[..], b"ab", b"abcd", b"abd", b"bbc"] {
            assert!(!same_bytes(b"abc", other));
        }
    }
}
