//! Every string over a small alphabet up to a length: small inputs find most parser bugs, all of them leave no doubt.

/// Iterator made by [`exhaustive`].
#[derive(Clone, Debug)]
pub struct Exhaustive<'a, T> {
    alphabet: &'a [T],
    len_max: usize,
    /// Indices into the alphabet, least significant first; None when done.
    digits: Option<Vec<usize>>,
}

/// All sequences over `alphabet` of length 0 to `len_max`, shortest first: sum of `alphabet.len()^n` items.
pub fn exhaustive<T: Clone>(alphabet: &[T], len_max: usize) -> Exhaustive<'_, T> {
    Exhaustive { alphabet, len_max, digits: Some(Vec::new()) }
}

impl<T: Clone> Iterator for Exhaustive<'_, T> {
    type Item = Vec<T>;

    fn next(&mut self) -> Option<Vec<T>> {
        let digits = self.digits.as_mut()?;
        let item = digits.iter().map(|&digit| self.alphabet[digit].clone()).collect();
        for digit in digits.iter_mut() {
            *digit += 1;
            if *digit < self.alphabet.len() {
                return Some(item);
            }
            *digit = 0;
        }
        // Every digit wrapped: the next length begins, all of it the first letter.
        if digits.len() < self.len_max && !self.alphabet.is_empty() {
            digits.push(0);
        } else {
            self.digits = None;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_string_comes_once_shortest_first() {
        let all: Vec<_> = exhaustive(b"abc", 3).collect();
        assert_eq!(all.len(), 1 + 3 + 9 + 27);
        assert!(all.windows(2).all(|pair| pair[0].len() <= pair[1].len()));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn the_empty_ones_end() {
        assert_eq!(exhaustive(b"ab", 0).collect::<Vec<_>>(), [Vec::<u8>::new()]);
        assert_eq!(exhaustive::<u8>(b"", 5).collect::<Vec<_>>(), [Vec::<u8>::new()]);
    }
}
