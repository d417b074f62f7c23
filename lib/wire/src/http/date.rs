//! The Date field's value, made at most once a second and then copied (RFC 9110 §5.6.7).

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of an IMF-fixdate.
const LEN: usize = 29;

/// The last second that has four digits of a year.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A moment as an IMF-fixdate, like `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    seconds: u64,
    text: [u8; LEN],
}

impl Date {
    /// The text for `now`. Moments before 1970 and after 9999 are written as the nearest one between.
    pub fn of(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(SECONDS_MAX);
        let mut text = [b' '; LEN];
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
        // Always fits: the form has a fixed length.
        let _written = write!(text.as_mut_slice(), "{date}");
        Self { seconds, text }
    }

    /// Whether the same text still holds at `now`.
    pub fn holds(&self, now: SystemTime) -> bool {
        now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(SECONDS_MAX) == self.seconds
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

/// Reads a date in any of the three forms of RFC 9110 §5.6.7.
pub fn read(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(Date::of(UNIX_EPOCH + Duration::from_secs(seconds)).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_dates_of_the_rfc() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for form in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(read(form.as_bytes()), Some(moment), "{form}");
        }
        for form in ["", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(form.as_bytes()), None, "{form}");
        }
        assert_eq!(read(b"\xff"), None);
    }

    #[test]
    fn the_ends_of_time() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(SECONDS_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(SECONDS_MAX + 1), text(SECONDS_MAX));
        assert_eq!(Date::of(UNIX_EPOCH - Duration::from_secs(1)), Date::of(UNIX_EPOCH));
    }

    #[test]
    fn a_text_holds_for_its_second() {
        let moment = UNIX_EPOCH + Duration::from_millis(5_999);
        let date = Date::of(moment);
        assert!(date.holds(moment) && date.holds(UNIX_EPOCH + Duration::from_secs(5)));
        assert!(!date.holds(UNIX_EPOCH + Duration::from_secs(6)));
    }
}
