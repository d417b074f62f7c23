//! Values of settings, and how they are written.

use std::fmt;

pub use sluice_cli::settings::Thousandths;

/// A size in kB. Written in the greatest of kB, MB and GB that divides it; PostgreSQL's units count their letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kb(pub u64);

/// kB in a MB.
pub(crate) const MB: u64 = 1 << 10;
/// kB in a GB.
pub(crate) const GB: u64 = 1 << 20;

impl fmt::Display for Kb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= GB && n % GB == 0 => write!(f, "{}GB", n / GB),
            n if n >= MB && n % MB == 0 => write!(f, "{}MB", n / MB),
            n => write!(f, "{n}kB"),
        }
    }
}

/// A size a human reads at a glance: to a tenth of the greatest unit it reaches. Not for settings.
pub(crate) struct Rough(pub(crate) u64);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            n if n >= GB << 10 => (GB << 10, "TB"),
            n if n >= GB => (GB, "GB"),
            n if n >= MB => (MB, "MB"),
            _ => (1, "kB"),
        };
        match self.0 % unit * 10 / unit {
            0 => write!(f, "{}{name}", self.0 / unit),
            tenth => write!(f, "{}.{tenth}{name}", self.0 / unit),
        }
    }
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A size.
    Size(Kb),
    /// A number without unit.
    Count(u64),
    /// A time in seconds.
    Seconds(u64),
    /// A time in milliseconds; of the proxies, whose keys name the unit.
    Milliseconds(u64),
    /// A decimal number.
    Decimal(Thousandths),
    /// A word.
    Word(&'static str),
}

impl Amount {
    /// The number, for programs: kB, s, ms or plain, by [`Amount::unit`]. `None` for a word.
    #[must_use]
    pub fn number(self) -> Option<String> {
        match self {
            Self::Size(Kb(n)) | Self::Count(n) | Self::Seconds(n) | Self::Milliseconds(n) => {
                Some(n.to_string())
            }
            Self::Decimal(n) => Some(n.to_string()),
            Self::Word(_) => None,
        }
    }

    /// The unit of [`Amount::number`].
    #[must_use]
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Self::Size(_) => Some("kB"),
            Self::Seconds(_) => Some("s"),
            Self::Milliseconds(_) => Some("ms"),
            Self::Count(_) | Self::Decimal(_) | Self::Word(_) => None,
        }
    }
}

impl fmt::Display for Amount {
    /// As PostgreSQL reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Count(n) | Self::Milliseconds(n) => n.fmt(f),
            Self::Seconds(n) => write!(f, "{n}s"),
            Self::Decimal(n) => n.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_the_greatest_unit_that_divides() {
        for (kb, text) in [
            (0, "0kB"),
            (64, "64kB"),
            (1023, "1023kB"),
            (1024, "1MB"),
            (2176, "2176kB"),
            (1536 << 10, "1536MB"),
            (1 << 20, "1GB"),
            (5 << 30, "5120GB"),
        ] {
            assert_eq!(Kb(kb).to_string(), text);
        }
    }

    #[test]
    fn rough_sizes() {
        for (kb, text) in
            [(5, "5kB"), (1536, "1.5MB"), (GB + 1, "1GB"), (3 << 29, "1.5TB"), (16_398_744, "15.6GB")]
        {
            assert_eq!(Rough(kb).to_string(), text);
        }
    }
}
