//! The types settings are projected into.

use sluice_cli::settings::Value;

use crate::limiter::keys::KeySpec;
use crate::limiter::policy::{AdaptiveKind, Algorithm, QueueOrder, RateLimitHeaders, SharedMode};

sluice_cli::field_trait!();

/// Words whose types are elsewhere.
macro_rules! words_of {
    ($($name:ty { $($word:literal = $variant:expr,)+ })+) => { $(
        impl Field for $name {
            fn from_value(value: &Value) -> Self {
                let words = [$(($word, $variant)),+];
                let named = |word: &str| words.iter().find(|(name, _)| *name == word).map(|(_, variant)| *variant);
                let found = if let Value::Word(word) = value { named(word) } else { None };
                found.unwrap_or(words[0].1)
            }
        }
    )+ };
}

words_of! {
    Algorithm { "window" = Algorithm::Window, "gcra" = Algorithm::Gcra, }
    QueueOrder { "adaptive" = QueueOrder::Adaptive, "fifo" = QueueOrder::Fifo, "lifo" = QueueOrder::Lifo, }
    AdaptiveKind { "off" = AdaptiveKind::Off, "aimd" = AdaptiveKind::Aimd, "gradient" = AdaptiveKind::Gradient, }
    RateLimitHeaders { "off" = RateLimitHeaders::Off, "draft11" = RateLimitHeaders::Draft11, }
}

sluice_cli::setting_words! {
    /// What holds while Redis does not answer.
    SharedFail,
    /// Each instance has the whole rate.
    Open = "open",
    /// Nothing is let through.
    Closed = "closed",
}

impl SharedFail {
    /// The mode of leases, where there is a Redis.
    pub(super) fn mode(self) -> SharedMode {
        match self {
            Self::Open => SharedMode::FailOpen,
            Self::Closed => SharedMode::FailClosed,
        }
    }
}

/// A key specification; the check of the configuration has refused what is none.
impl Field for KeySpec {
    fn from_value(value: &Value) -> Self {
        KeySpec::parse(&String::from_value(value)).unwrap_or_else(KeySpec::address)
    }
}
