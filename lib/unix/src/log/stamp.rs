//! Moments as text, in the zone of the machine and in UTC.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::raw::{self, Calendar, Zone};

/// `YYYY-MM-DD hh:mm:ss ZONE` in local time: connect_time and request_time of the console.
#[must_use]
pub fn local_text(at: SystemTime) -> String {
    let local = raw::calendar(unix_ms(at).div_euclid(1000), Zone::Local);
    let mut text = String::with_capacity(32);
    push_date(&mut text, &local, ' ');
    text.push(' ');
    text.push_str(local.zone());
    text
}

/// `YYYY-MM-DDThh:mm:ss.mmmZ` (RFC 3339 §5.6), in UTC.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let mut text = String::with_capacity(24);
    Stamp::default().push_utc(&mut text, at);
    text
}

/// Renders moments, remembering the last second: most lines share theirs with the one before.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    date: String,
    zone: String,
}

impl Stamp {
    /// Appends `YYYY-MM-DD hh:mm:ss.mmm ZONE`.
    pub(super) fn push_local(&mut self, out: &mut String, at: SystemTime) {
        let ms = unix_ms(at);
        self.turn_to(ms.div_euclid(1000), Zone::Local, ' ');
        push_all(out, format_args!("{}.{:03} {}", self.date, ms.rem_euclid(1000), self.zone));
    }

    /// Appends `YYYY-MM-DDThh:mm:ss.mmmZ`.
    pub(super) fn push_utc(&mut self, out: &mut String, at: SystemTime) {
        let ms = unix_ms(at);
        self.turn_to(ms.div_euclid(1000), Zone::Utc, 'T');
        push_all(out, format_args!("{}.{:03}Z", self.date, ms.rem_euclid(1000)));
    }

    /// One stamp renders one zone only, so the second alone tells whether the text is still good.
    fn turn_to(&mut self, second: i64, zone: Zone, separator: char) {
        if self.second != Some(second) {
            let calendar = raw::calendar(second, zone);
            self.date.clear();
            push_date(&mut self.date, &calendar, separator);
            self.zone.clear();
            self.zone.push_str(calendar.zone());
            self.second = Some(second);
        }
    }
}

fn push_date(out: &mut String, at: &Calendar, separator: char) {
    let Calendar { year, month, day, hour, minute, second, .. } = at;
    push_all(out, format_args!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}"));
}

fn push_all(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn unix_ms(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn utc_is_as_in_the_almanac() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (4_102_444_800_001, "2100-01-01T00:00:00.001Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(ms)), text);
        }
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_millis(1)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn the_remembered_second_is_only_that_second() {
        let mut stamp = Stamp::default();
        let mut seen = Vec::new();
        for ms in [1_000, 1_999, 2_000, 1_000] {
            let mut text = String::new();
            stamp.push_utc(&mut text, UNIX_EPOCH + Duration::from_millis(ms));
            seen.push(text);
        }
        let expected =
            ["01.000Z", "01.999Z", "02.000Z", "01.000Z"].map(|end| format!("1970-01-01T00:00:{end}"));
        assert_eq!(seen, expected);
    }

    #[test]
    fn local_text_names_its_zone() {
        let text = local_text(UNIX_EPOCH + Duration::from_secs(1_767_323_045));
        let (date, zone) = text.split_at(20);
        assert!(date.starts_with("2026-01-0") && date.ends_with(":05 "), "{text}");
        assert!(!zone.is_empty() && !zone.contains(' '));
        let mut line = String::new();
        Stamp::default().push_local(&mut line, UNIX_EPOCH + Duration::from_millis(1_767_323_045_678));
        assert_eq!(line, format!("{}.678 {zone}", date.trim_end()));
    }
}
