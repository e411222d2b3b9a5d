//! Points in time. Nothing here reads a clock: the present is always an argument.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. The unit is in the type, so seconds can't slip in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochMillis(i64);

/// Digits from which a bare number is read as milliseconds: 12 digits of seconds are the year 33658.
const MILLIS_DIGITS_MIN: usize = 12;

impl EpochMillis {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch; saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time plus `millis`; saturates.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The day in UTC, as `2026-11-21`.
    pub fn day(self) -> String {
        self.timestamp().map_or_else(|| "0000-00-00".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
    }

    /// Reads what providers write as a time: unix seconds or milliseconds (told apart by their length),
    /// fractions of a second, RFC 3339, and ISO 8601 without a zone, which is taken as UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            let number = digits.parse::<i64>().ok()?.checked_mul(sign)?;
            return Some(if digits.len() >= MILLIS_DIGITS_MIN {
                Self(number)
            } else {
                Self::from_seconds(number)
            });
        }
        if let Some((whole, fraction)) = digits.split_once('.')
            && !whole.is_empty()
            && whole.bytes().all(|b| b.is_ascii_digit())
            && !fraction.is_empty()
            && fraction.bytes().all(|b| b.is_ascii_digit())
        {
            let mut millis = whole.parse::<i64>().ok()?.checked_mul(1000)?;
            for (place, digit) in [100, 10, 1].into_iter().zip(fraction.bytes()) {
                millis = millis.checked_add(place * i64::from(digit - b'0'))?;
            }
            return Some(Self(millis.checked_mul(sign)?));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Some(Self(timestamp.as_millisecond()));
        }
        let local = text.parse::<DateTime>().ok()?;
        let zoned = local.to_zoned(TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_millisecond()))
    }

    /// Reads a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let zoned = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Some(Self(zoned.timestamp().as_millisecond()))
    }

    /// A date as HTTP writes it.
    pub fn http_date(self) -> String {
        self.timestamp().map_or_else(String::new, |t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    fn timestamp(self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.0).ok()
    }
}

impl fmt::Display for EpochMillis {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(timestamp) => write!(f, "{timestamp:.3}"),
            None => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_that_providers_write() {
        for (text, millis) in [
            ("1531420618", 1_531_420_618_000),
            ("1531420618123", 1_531_420_618_123),
            ("1531420618.5", 1_531_420_618_500),
            ("1531420618.123456", 1_531_420_618_123),
            ("2026-05-28T20:26:30Z", 1_780_000_000_000 - 10_000),
            ("2026-05-28T20:26:30.123456789Z", 1_779_999_990_123),
            ("2026-05-28T16:26:30-04:00", 1_779_999_990_000),
            ("2026-05-28T20:26:30", 1_779_999_990_000),
            ("2026-05-28 20:26:30", 1_779_999_990_000),
            (" 0 ", 0),
            ("-1", -1000),
        ] {
            assert_eq!(EpochMillis::parse(text), Some(EpochMillis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in
            ["", "-", ".", "1.", ".5", "yesterday", "9223372036854775808", "99999999999.999999x", "1e9"]
        {
            assert_eq!(EpochMillis::parse(text), None, "{text}");
        }
    }

    #[test]
    fn prints_as_rfc_3339_and_never_panics_at_the_edges() {
        assert_eq!(EpochMillis(1_779_999_990_123).to_string(), "2026-05-28T20:26:30.123Z");
        assert_eq!(EpochMillis(1_779_999_990_123).day(), "2026-05-28");
        assert_eq!(EpochMillis(i64::MAX).to_string(), format!("{}ms", i64::MAX));
        assert_eq!(EpochMillis(i64::MIN).day(), "0000-00-00");
    }
}
