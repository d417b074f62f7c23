//! A small, fast, seeded generator: xoshiro256** filled by SplitMix64 (Blackman and Vigna, 2018).
//!
//! Not for secrets: whoever sees a few outputs knows the rest.

/// A generator whose whole output follows from its seed.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator for `seed`; any value is good, zero included.
    pub fn new(seed: u64) -> Self {
        let mut weyl = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut weyl)) }
    }

    /// An independent generator whose seed is drawn from this one, so that a part of a simulation can use more or
    /// fewer numbers without changing what the other parts see.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.next_u64().to_le_bytes()[7]
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of the product is uniform to within bound / 2^64: no test can tell.
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number in `low..=high`; `low` when the range is empty.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `wanted` of `of` cases.
    pub fn chance(&mut self, wanted: usize, of: usize) -> bool {
        self.below(of) < wanted
    }

    /// One element of `choices`; None when there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// Puts `items` in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn split_mix(weyl: &mut u64) -> u64 {
    *weyl = weyl.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *weyl;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_matches_its_published_sequence() {
        let mut weyl = 1_234_567;
        let first: [u64; 3] = std::array::from_fn(|_| split_mix(&mut weyl));
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn same_seed_same_run_and_other_seed_other_run() {
        let run = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(0).iter().any(|&n| n != 0));
    }

    #[test]
    fn numbers_stay_in_range_and_reach_both_ends() {
        let mut rng = Rng::new(1);
        let drawn: Vec<_> = (0..200).map(|_| rng.between(3, 6)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&6));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert_eq!(rng.between(5, 2), 5);
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert!((0..50).all(|_| rng.chance(1, 1)));
        assert!((0..50).all(|_| !rng.chance(0, 1)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<_> = (0..20).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
