//! Ways a stream may cut a byte string: a parser must not be able to tell them apart.

/// Calls `feed` with the input cut in every way worth trying: whole, byte by byte, and in two at each inner point.
/// The pieces are never empty and concatenate to `input`.
pub fn pieces<'a>(input: &'a [u8], mut feed: impl FnMut(&[&'a [u8]])) {
    if input.is_empty() {
        return feed(&[]);
    }
    feed(&[input]);
    feed(&input.chunks(1).collect::<Vec<_>>());
    for at in 1..input.len() {
        let (head, tail) = input.split_at(at);
        feed(&[head, tail]);
    }
}

/// Every proper prefix of `input`, shortest first: what a peer that vanishes half-way leaves behind.
pub fn prefixes(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..input.len()).map(|len| &input[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_always_make_the_whole() {
        for input in [&b""[..], b"a", b"ab", b"abcd"] {
            let mut ways = 0;
            pieces(input, |parts| {
                assert_eq!(parts.concat(), input);
                assert!(parts.iter().all(|part| !part.is_empty()));
                ways += 1;
            });
            assert_eq!(ways, if input.is_empty() { 1 } else { 1 + input.len() });
        }
    }

    #[test]
    fn prefixes_are_proper() {
        assert_eq!(prefixes(b"abc").collect::<Vec<_>>(), [&b""[..], b"a", b"ab"]);
        assert_eq!(prefixes(b"").count(), 0);
    }
}
