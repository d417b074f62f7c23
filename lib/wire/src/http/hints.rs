//! What a client says about how it wants to be served: Priority (RFC 9218), Prefer (RFC 7240), Accept (RFC 9110 §12.5.1).
//!
//! Hints, not rules: one that cannot be read is as if it were not there.

use super::fields::{Fields, split};
use super::framing::number;
use super::names::Name;
use super::structured::{Item, dictionary};

/// The urgency of Priority, 0 (first) to 7 (last); None if it says none.
pub fn urgency(fields: &Fields) -> Option<u8> {
    // Several lines are one dictionary: the last urgency counts, and a broken line spoils all (RFC 9651 §4.2).
    let mut urgency = None;
    for value in fields.all(Name::Priority) {
        for member in dictionary(value)? {
            if member.key == b"u" {
                urgency = match member.item {
                    Item::Integer(value @ 0..=7) => u8::try_from(value).ok(),
                    _ => None,
                };
            }
        }
    }
    urgency
}

/// Seconds the client is willing to wait (`Prefer: wait=N`); the first one counts.
pub fn wait_s(fields: &Fields) -> Option<u64> {
    fields.elements(Name::Prefer).find_map(|element| {
        // Parameters of a preference stand behind semicolons; wait has none.
        let preference = split(element, b';').next()?;
        let at = memchr::memchr(b'=', preference)?;
        let (name, value) = (preference.get(..at)?.trim_ascii(), preference.get(at + 1..)?.trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(b"wait").then(|| number(value))
    })?
}

/// The form of an own answer that has a text for people.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// `application/problem+json` (RFC 9457).
    #[default]
    Problem,
    /// `text/plain`.
    Text,
}

/// The form of an own answer the client prefers: a problem, unless it would rather have text.
pub fn format(fields: &Fields) -> Format {
    if !fields.has(Name::Accept) {
        return Format::Problem;
    }
    let problem = ["application/problem+json", "application/json"].map(|media| quality(fields, media));
    let text = quality(fields, "text/plain");
    if text > problem.into_iter().max().unwrap_or_default() { Format::Text } else { Format::Problem }
}

/// The quality in thousandths that Accept gives to `media`: the most specific range that fits decides.
fn quality(fields: &Fields, media: &str) -> u32 {
    let kind = media.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for element in fields.elements(Name::Accept) {
        let mut parts = split(element, b';');
        let range = parts.next().unwrap_or_default();
        let specificity = match range {
            b"*/*" => 1,
            [start @ .., b'/', b'*'] if start.eq_ignore_ascii_case(kind.as_bytes()) => 2,
            _ if range.eq_ignore_ascii_case(media.as_bytes()) => 3,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        let weight = weight.map_or(1000, thousandths);
        if specificity >= best.0 {
            best = (specificity, weight);
        }
    }
    best.1
}

/// A weight (RFC 9110 §12.4.2): `0` to `1` with up to three decimals. What is none counts as 0.
fn thousandths(weight: &[u8]) -> u32 {
    let (whole, decimals) = match weight {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return 0,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let scaled =
        (0..3).fold(0, |value, at| value * 10 + decimals.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    (u32::from(whole - b'0') * 1000 + scaled).min(1000)
}
