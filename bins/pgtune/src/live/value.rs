//! Values as the server reads and shows them: text to a number of base units and back (manual, "Parameter Names and
//! Values").
//!
//! Pure. Units are case-sensitive, as in the server: `5KB` and `5mb` are refused, not guessed.

use std::fmt;

/// The type of a setting and what values it takes, from `pg_settings` or from the table of the major.
#[derive(Clone, PartialEq, Debug)]
pub enum Domain {
    /// on or off.
    Bool,
    /// A whole number of base units.
    Integer {
        /// The least and the greatest allowed, if known.
        range: Option<(f64, f64)>,
        /// What a bare number counts: `kB`, `8kB`, `ms` and so on, or empty.
        unit: String,
    },
    /// A number of base units.
    Real {
        /// The least and the greatest allowed, if known.
        range: Option<(f64, f64)>,
        /// As above.
        unit: String,
    },
    /// One of these words, in any letter case.
    Enum(Vec<String>),
    /// Any text.
    Text,
}

/// A value that can be compared.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// on or off.
    Bool(bool),
    /// A number of base units.
    Number(f64),
    /// A word of an enum, in the server's spelling.
    Word(String),
    /// Anything.
    Text(String),
}

/// Why the server would refuse a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Refused {
    /// Not on or off.
    Bool,
    /// Not a number, or not with this unit.
    Number,
    /// A unit in the wrong letter case.
    Case,
    /// A word that is not in the list.
    Word,
    /// Outside the range: the least and the greatest, in base units.
    Range(f64, f64),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("neither on nor off"),
            Self::Number => f.write_str("not a number with a unit the server knows"),
            Self::Case => f.write_str("units are case-sensitive: B, kB, MB, GB, TB; us, ms, s, min, h, d"),
            Self::Word => f.write_str("not a word the server knows"),
            Self::Range(min, max) => write!(f, "outside {min} to {max}"),
        }
    }
}

/// Units and what they are of a byte or a microsecond.
const BYTES: [(&str, f64); 5] =
    [("B", 1.0), ("kB", 1024.0), ("MB", 1_048_576.0), ("GB", 1_073_741_824.0), ("TB", 1_099_511_627_776.0)];
const MICROSECONDS: [(&str, f64); 6] =
    [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 6e7), ("h", 3.6e9), ("d", 8.64e10)];

/// The family of a base unit, and how many of its smallest one unit is: `8kB` is 8192 bytes.
fn family(unit: &str) -> Option<(&'static [(&'static str, f64)], f64)> {
    let digits = unit.bytes().take_while(u8::is_ascii_digit).count();
    let (count, name) = unit.split_at(digits);
    let count: f64 = if count.is_empty() { 1.0 } else { count.parse().ok()? };
    [&BYTES[..], &MICROSECONDS].into_iter().find_map(|family| {
        family.iter().find(|(known, _)| *known == name).map(|(_, scale)| (family, count * scale))
    })
}

/// Reads a value as the server would.
///
/// # Errors
/// [`Refused`], as the server would.
pub fn read(domain: &Domain, text: &str) -> Result<Value, Refused> {
    match domain {
        Domain::Bool => bool(text).map(Value::Bool).ok_or(Refused::Bool),
        Domain::Integer { range, unit } => {
            within(number(text, unit, Whole::Yes)?.round_ties_even(), *range).map(Value::Number)
        }
        Domain::Real { range, unit } => within(number(text, unit, Whole::No)?, *range).map(Value::Number),
        Domain::Enum(words) => word(words, text).map(Value::Word).ok_or(Refused::Word),
        Domain::Text => Ok(Value::Text(text.to_owned())),
    }
}

/// Shows a value the way the server does: a number in the largest unit that divides it.
pub fn show(value: &Value, unit: &str) -> String {
    match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Word(word) => word.clone(),
        Value::Text(text) => text.clone(),
        Value::Number(number) => show_number(*number, unit),
    }
}

fn show_number(number: f64, unit: &str) -> String {
    // Zero and the negative ones are words of their own: off, automatic, no limit.
    let Some((family, scale)) = family(unit).filter(|_| number > 0.0) else { return number.to_string() };
    let smallest = number * scale;
    let fits = |&&(_, of): &&(&str, f64)| smallest % of == 0.0 && smallest >= of;
    match family.iter().rev().find(fits) {
        Some((name, of)) => format!("{}{name}", smallest / of),
        None => format!("{}{}", smallest, family[0].0),
    }
}

fn within(number: f64, range: Option<(f64, f64)>) -> Result<f64, Refused> {
    match range {
        Some((min, max)) if !(min..=max).contains(&number) => Err(Refused::Range(min, max)),
        _ => Ok(number),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Whole {
    Yes,
    No,
}

fn number(text: &str, unit: &str, whole: Whole) -> Result<f64, Refused> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (number, rest) = match whole {
        Whole::Yes => integer(text).or_else(|| decimal(text)),
        Whole::No => decimal(text),
    }
    .ok_or(Refused::Number)?;
    let given = rest.trim_start();
    if given.is_empty() {
        return Ok(number);
    }
    let (family, base) = family(unit).ok_or(Refused::Number)?;
    match family.iter().find(|(name, _)| *name == given) {
        Some((_, scale)) => Ok(number * scale / base),
        None if family.iter().any(|(name, _)| name.eq_ignore_ascii_case(given)) => Err(Refused::Case),
        None => Err(Refused::Number),
    }
}

/// A whole number in C's notation and what follows it; None where a fraction or an exponent follows.
fn integer(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let (digits, radix) = match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (hex, 16),
        _ if unsigned.starts_with('0') => (unsigned, 8),
        _ => (unsigned, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let rest = &digits[end..];
    if end == 0 || rest.starts_with(['.', 'e', 'E']) {
        return None;
    }
    // Beyond 64 bits it is outside every range, which is all that matters.
    let number = u64::from_str_radix(&digits[..end], radix).unwrap_or(u64::MAX);
    Some((sign * number as f64, rest))
}

fn decimal(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |at: usize| at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let start = usize::from(text.starts_with(['+', '-']));
    let mut end = digits(start);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = Some(digits(exponent)).filter(|&last| last > exponent).unwrap_or(end);
    }
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, &text[end..]))
}

/// The server's rule: any beginning of a word that means only one.
fn bool(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool, usize); 8] = [
        ("true", true, 1),
        ("false", false, 1),
        ("yes", true, 1),
        ("no", false, 1),
        ("on", true, 2),
        ("off", false, 2),
        ("1", true, 1),
        ("0", false, 1),
    ];
    let begins = |word: &str, least: usize| {
        text.len() >= least && word.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
    };
    WORDS.into_iter().find(|(word, _, least)| begins(word, *least)).map(|(_, on, _)| on)
}

/// The server's spelling of a word; enums with on and off know their other names too.
fn word(words: &[String], text: &str) -> Option<String> {
    let known = |wanted: &str| words.iter().find(|word| word.eq_ignore_ascii_case(wanted));
    if let Some(word) = known(text) {
        return Some(word.clone());
    }
    let other = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => "on",
        "false" | "no" | "0" => "off",
        // wal_level, before and after 9.6.
        "archive" | "hot_standby" => "replica",
        _ => return None,
    };
    known(other).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer_of(unit: &str) -> Domain {
        Domain::Integer { range: Some((-1.0, 2_147_483_647.0)), unit: unit.to_owned() }
    }

    fn number_of(unit: &str, text: &str) -> Result<f64, Refused> {
        read(&integer_of(unit), text).map(|value| match value {
            Value::Number(number) => number,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn memory_and_time() {
        for (unit, text, number) in [
            ("8kB", "128MB", 16384.0),
            ("8kB", "16384", 16384.0),
            ("kB", "4MB", 4096.0),
            ("kB", " 4 MB ", 4096.0),
            ("kB", "1.5MB", 1536.0),
            ("kB", "1TB", 1_073_741_824.0),
            ("MB", "1GB", 1024.0),
            ("B", "10MB", 10_485_760.0),
            ("kB", "-1", -1.0),
            ("kB", "0x10", 16.0),
            ("kB", "010", 8.0),
            ("kB", "1e3", 1000.0),
            ("kB", ".5MB", 512.0),
            ("8kB", "12kB", 2.0),
            ("8kB", "20kB", 2.0),
            ("ms", "1min", 60_000.0),
            ("s", "500ms", 0.0),
            ("s", "1500ms", 2.0),
            ("min", "1d", 1440.0),
            ("", "+7", 7.0),
        ] {
            assert_eq!(number_of(unit, text), Ok(number), "{text} in {unit}");
        }
    }

    #[test]
    fn what_the_server_refuses() {
        for text in ["5mb", "5KB", "5Mb", "5kb"] {
            assert_eq!(number_of("kB", text), Err(Refused::Case), "{text}");
        }
        assert_eq!(number_of("ms", "5S"), Err(Refused::Case));
        for (unit, text) in [
            ("kB", ""),
            ("kB", "x"),
            ("kB", "5 5"),
            ("kB", "5s"),
            ("", "5kB"),
            ("kB", "08"),
            ("kB", "-"),
            ("kB", "1e"),
        ] {
            assert_eq!(number_of(unit, text), Err(Refused::Number), "{text}");
        }
        assert_eq!(number_of("kB", "-2"), Err(Refused::Range(-1.0, 2_147_483_647.0)));
        assert_eq!(number_of("kB", "2TB"), Err(Refused::Range(-1.0, 2_147_483_647.0)));
        assert_eq!(number_of("kB", "99999999999999999999"), Err(Refused::Range(-1.0, 2_147_483_647.0)));
        let real = Domain::Real { range: Some((0.0, 1.0)), unit: String::new() };
        assert_eq!(read(&real, "0.9"), Ok(Value::Number(0.9)));
        assert_eq!(read(&real, "1.1"), Err(Refused::Range(0.0, 1.0)));
        assert_eq!(read(&real, "0x1"), Err(Refused::Number));
    }

    #[test]
    fn booleans_by_any_clear_beginning() {
        for text in ["on", "ON", "t", "true", "TR", "y", "yes", "1"] {
            assert_eq!(read(&Domain::Bool, text), Ok(Value::Bool(true)), "{text}");
        }
        for text in ["off", "of", "f", "n", "no", "0", "False"] {
            assert_eq!(read(&Domain::Bool, text), Ok(Value::Bool(false)), "{text}");
        }
        for text in ["", "o", "onn", "2", "truee", " on"] {
            assert_eq!(read(&Domain::Bool, text), Err(Refused::Bool), "{text:?}");
        }
    }

    #[test]
    fn words_of_an_enum() {
        let words = Domain::Enum(["off", "on", "try"].map(str::to_owned).to_vec());
        for (text, expected) in [("TRY", "try"), ("on", "on"), ("true", "on"), ("0", "off")] {
            assert_eq!(read(&words, text), Ok(Value::Word(expected.to_owned())));
        }
        assert_eq!(read(&words, "tr"), Err(Refused::Word));
        let levels = Domain::Enum(["minimal", "replica", "logical"].map(str::to_owned).to_vec());
        assert_eq!(read(&levels, "hot_standby"), Ok(Value::Word("replica".to_owned())));
        assert_eq!(read(&levels, "on"), Err(Refused::Word));
    }

    #[test]
    fn numbers_are_shown_in_their_largest_unit_and_read_back() {
        for (unit, number, shown) in [
            ("8kB", 16384.0, "128MB"),
            ("8kB", 1.0, "8kB"),
            ("kB", 2176.0, "2176kB"),
            ("kB", 1_073_741_824.0, "1TB"),
            ("MB", 1536.0, "1536MB"),
            ("B", 1.0, "1B"),
            ("ms", 60_000.0, "1min"),
            ("ms", 1500.0, "1500ms"),
            ("ms", 0.5, "500us"),
            ("s", 86_400.0, "1d"),
            ("kB", -1.0, "-1"),
            ("kB", 0.0, "0"),
            ("", 0.9, "0.9"),
            ("", 200.0, "200"),
        ] {
            assert_eq!(show(&Value::Number(number), unit), shown);
            let domain = Domain::Real { range: None, unit: unit.to_owned() };
            assert_eq!(read(&domain, shown), Ok(Value::Number(number)), "{shown}");
        }
    }
}
