//! Turns a valid input into a nearly valid one, which reaches deeper into a parser than noise does.

use crate::Rng;

/// Values that length and count fields get wrong: zero, off by one around the signs, and all ones.
const LENGTHS: [u32; 12] = [0, 1, 3, 4, 5, 7, 8, 0xffff, 0x0001_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// Bytes that mean something to the parsers of this workspace.
const BYTES: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'\\', b'"', b',', b'=', b'-', b'A'];

/// Changes `bytes` in one to four places: a bit, a byte, a length field, a cut, a removal, a repetition or an insertion.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.between(1, 4) {
        mutate_once(rng, bytes);
    }
}

/// Changes `bytes` as [`mutate`] does, but in half of the places it puts in one of `words`, or lays it over what is there:
/// what is nearly right in a language of words is rarely reached byte by byte.
pub fn mutate_words(rng: &mut Rng, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..rng.between(1, 4) {
        let word = words.get(rng.below(words.len())).copied().unwrap_or_default();
        let at = rng.below(bytes.len() + 1);
        match rng.below(4) {
            0 => drop(bytes.splice(at..at, word.iter().copied())),
            1 => {
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
            _ => mutate_once(rng, bytes),
        }
    }
}

fn mutate_once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len());
    let odd = BYTES[rng.below(BYTES.len())];
    if bytes.is_empty() {
        return bytes.push(odd);
    }
    match rng.below(8) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = odd,
        2 => bytes[at] = rng.byte(),
        3 => bytes.truncate(at),
        4 => bytes.insert(at, odd),
        5 => {
            let end = (at + rng.between(1, 8)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + rng.between(1, 16)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            let length = LENGTHS[rng.below(LENGTHS.len())].to_be_bytes();
            let end = (at + 4).min(bytes.len());
            bytes[at..end].copy_from_slice(&length[..end - at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_differ_and_stay_small() {
        let mut rng = Rng::new(9);
        let valid = b"Q\0\0\0\x0dSELECT 1\0".to_vec();
        let mut changed = 0;
        for _ in 0..1000 {
            let mut bytes = valid.clone();
            mutate(&mut rng, &mut bytes);
            assert!(bytes.len() <= valid.len() + 4 * 16);
            changed += usize::from(bytes != valid);
        }
        assert!(changed > 950, "{changed}");
    }

    #[test]
    fn words_are_put_in() {
        let mut rng = Rng::new(9);
        let mut found = 0;
        for _ in 0..1000 {
            let mut bytes = b"GET / HTTP/1.1".to_vec();
            mutate_words(&mut rng, &mut bytes, &[b"\r\n", b"chunked"]);
            assert!(bytes.len() <= 14 + 4 * 16);
            found += usize::from(bytes.windows(7).any(|word| word == b"chunked"));
        }
        assert!(found > 300, "{found}");
        mutate_words(&mut rng, &mut Vec::new(), &[]);
    }

    #[test]
    fn an_empty_input_grows() {
        let mut bytes = Vec::new();
        mutate(&mut Rng::new(0), &mut bytes);
        assert!(!bytes.is_empty());
    }
}
