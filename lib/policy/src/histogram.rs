//! Quantiles of recent durations, in constant space.
//!
//! Owned by whoever measures. Four buckets for each power of two of microseconds, so a quantile is off by at most an
//! eighth of its value. When [`KEEP`] samples are there all counts are halved: old ones fade, and a change of pace
//! shows within a few hundred samples.

use std::time::Duration;

/// Samples after which the past counts for half.
pub const KEEP: u32 = 1024;

/// Buckets for each power of two.
const STEPS: u64 = 4;
/// Everything from 2^36 us (19 hours) on is one bucket.
const BUCKETS: usize = 36 * STEPS as usize;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

impl Histogram {
    /// No samples.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples that count now.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.total
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Adds a sample.
    pub fn record(&mut self, sample: Duration) {
        self.counts[bucket(sample)] += 1;
        self.total += 1;
        if self.total >= KEEP {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// The value below which `share` (0 to 1) of the samples lie; `None` without samples.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (f64::from(self.total) * share).ceil().max(1.0) as u32;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.filter(|_| self.total > 0).map(middle)
    }

    /// The value in the middle.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.quantile(0.5)
    }
}

fn bucket(sample: Duration) -> usize {
    let us = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
    if us < STEPS {
        return us as usize;
    }
    let power = u64::from(us.ilog2());
    // The two bits behind the leading one.
    let step = (us >> (power - 2)) & (STEPS - 1);
    (((power - 1) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return Duration::from_micros(bucket);
    }
    let (power, step) = (bucket / STEPS + 1, bucket % STEPS);
    let width = 1 << (power - 2);
    Duration::from_micros((STEPS + step) * width + width / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_an_eighth_of_its_bucket() {
        for us in (0..5000).chain([1 << 20, (1 << 20) - 1, 123_456_789]) {
            let found = middle(bucket(Duration::from_micros(us))).as_micros() as i64;
            assert!((found - us as i64).abs() * 8 <= us as i64, "{us} is shown as {found}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.median(), None);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        let near = |share: f64, ms: f64| {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((found - ms).abs() <= ms / 6.0, "{share}: {found}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(0.0, 1.0);
        near(1.0, 100.0);
    }

    #[test]
    fn the_past_fades() {
        let mut histogram = Histogram::new();
        (0..100_000).for_each(|_| histogram.record(Duration::from_millis(1)));
        (0..2 * KEEP).for_each(|_| histogram.record(Duration::from_millis(100)));
        assert!(histogram.median().unwrap() > Duration::from_millis(80));
        assert!(histogram.len() < KEEP);
    }
}
