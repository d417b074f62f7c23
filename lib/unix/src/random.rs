//! Random bytes nobody can guess: cancel keys, nonces, salts.

use std::io;

use ring::rand::{SecureRandom, SystemRandom};

/// Fills `bytes` from the system's generator.
///
/// # Errors
/// When the system has none: the caller must not go on with predictable bytes.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| io::Error::other("no random bytes from the system"))
}

/// `N` random bytes.
///
/// # Errors
/// As [`fill`].
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
        fill(&mut []).unwrap();
    }
}
