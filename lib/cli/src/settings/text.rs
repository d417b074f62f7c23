//! How values are written: numbers, times, sizes, words and permissions as text, both ways.
//!
//! Each function reads one form and answers `None` where the text is not of it; which form a key has is its kind's affair.

use std::fmt;
use std::time::Duration;

use super::LONGEST;

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

pub(super) fn is_address(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"*._:%-".contains(&b))
}

pub(super) fn within(n: i64, min: i64, max: i64) -> Option<i64> {
    (min..=max).contains(&n).then_some(n)
}

/// As `strtol` with base 0, the whole text being the number.
pub(super) fn int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None; // `from_str_radix` would take a second sign
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

pub(super) fn bool(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 6] =
        [("on", true), ("off", false), ("true", true), ("false", false), ("yes", true), ("no", false)];
    int(text)
        .map(|n| n != 0)
        .or_else(|| WORDS.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, on)| on))
}

#[derive(Clone, Copy)]
pub(super) enum Unit {
    Second,
    Millisecond,
}

pub(super) fn time(text: &str, bare: Unit) -> Option<Duration> {
    const UNITS: [(&str, f64); 6] =
        [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0)];
    let split = text.find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim_end(), &text[split..]);
    let seconds = match (unit, bare) {
        ("", Unit::Second) => float(number)?,
        ("", Unit::Millisecond) => {
            return u64::try_from(int(number)?).ok().map(Duration::from_millis).filter(|t| *t <= LONGEST);
        }
        _ => float(number)? * UNITS.into_iter().find(|(name, _)| *name == unit)?.1,
    };
    // Whole microseconds, the finest unit: 0.1 s must not come back as 0.100000001.
    let us = (seconds * 1e6).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    (us >= 0.0 && us <= LONGEST.as_secs_f64() * 1e6).then(|| Duration::from_micros(us as u64))
}

pub(super) fn float(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|n: &f64| plain && n.is_finite())
}

pub(super) fn bytes(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 3] = [("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)];
    for (unit, scale) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return int(number.trim_end())?.checked_mul(scale);
        }
    }
    int(text)
}

pub(super) fn word(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(text))
}

pub(super) fn some_words(text: &str, known: &'static [&'static str]) -> Option<Vec<&'static str>> {
    let found: Option<Vec<_>> = words(text).map(|given| word(given, known)).collect();
    found.filter(|found| !found.is_empty())
}

/// The units of [`Kind::Size`], greatest first.
const SIZE_UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];

pub(super) fn size(text: &str) -> Option<i64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..split].trim_end(), &text[split..]);
    let is_unit = |name: &str| unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(&name[..1]);
    let shift = match SIZE_UNITS.into_iter().find(|(name, _)| is_unit(name)) {
        Some((_, shift)) => shift,
        None if unit.is_empty() || unit.eq_ignore_ascii_case("B") => 0,
        None => return None,
    };
    scaled(number, 1 << shift)
}

/// A decimal number without a sign; what follows the third place is dropped.
pub(super) fn thousandths(text: &str) -> Option<i64> {
    scaled(text, 1000)
}

/// Places behind the point that count.
const PLACES: usize = 15;

/// `scale` times a decimal number without a sign, rounded down.
pub(super) fn scaled(text: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let places: i128 = format!("{fraction:0<PLACES$}")[..PLACES].parse().ok()?;
    let part = places * i128::from(scale) / 10_i128.pow(PLACES as u32);
    whole.checked_mul(scale)?.checked_add(i64::try_from(part).ok()?)
}

/// A number of thousandths, shown as a decimal number without needless zeros. Not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(pub i64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:03}", self.0 % 1000);
        match places.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / 1000),
            places => write!(f, "{}.{places}", self.0 / 1000),
        }
    }
}

/// A size in the greatest unit that divides it.
pub(super) struct SizeText(pub(super) i64);

impl fmt::Display for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.into_iter().find(|(_, shift)| self.0 != 0 && self.0 % (1 << shift) == 0) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

pub(super) fn mode(text: &str) -> Option<u32> {
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o7777)
}

pub(super) fn write_seconds(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    let (whole, us) = (time.as_secs(), time.subsec_micros());
    if us == 0 {
        return write!(f, "{whole}");
    }
    let fraction = format!("{us:06}");
    write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
}
