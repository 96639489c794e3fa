//! A length of time as people write it: `"300ms"`, `"5s"`, `"5m"`, `"24h"`.
//!
//! Owns its spelling and its bounds. Never a point in time, and never a clock.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A length of time, from a millisecond to 366 days. Derefs to [`Duration`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(Duration);

/// Unit and its milliseconds, largest first, for [`Span`]'s `Display` takes the first that divides.
const UNITS: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A year: nothing is reserved or remembered for longer, and the milliseconds stay far from 2^53, where a script's
/// numbers end.
const MAX_MS: u64 = 366 * 24 * 3_600_000;

impl Span {
    /// So many seconds. For constants: not checked against the bounds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The same as a [`Duration`].
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The same in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0.as_secs() * 1_000 + self.0.subsec_millis() as u64
    }
}

impl Deref for Span {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let digits = given.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = given.split_at(digits);
        let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        let (Ok(number), Some(unit_ms)) = (number.parse::<u64>(), unit_ms) else {
            return Err(format!(
                "{given:?} is not a time: a whole number and one of ms, s, m, h, such as \"300ms\", \"5s\", \"5m\" or \"24h\""
            ));
        };
        match number.checked_mul(unit_ms) {
            Some(ms @ 1..=MAX_MS) => Ok(Self(Duration::from_millis(ms))),
            _ => Err(format!("{given:?} is not in \"1ms\"..=\"{}h\"", MAX_MS / 3_600_000)),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_ms();
        let (unit, unit_ms) = UNITS.iter().find(|(_, unit_ms)| ms.is_multiple_of(*unit_ms)).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", ms / unit_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (given, ms, shown) in [
            ("300ms", 300, "300ms"),
            ("5s", 5_000, "5s"),
            ("5m", 300_000, "5m"),
            ("24h", 86_400_000, "24h"),
            ("90s", 90_000, "90s"),
            ("1000ms", 1_000, "1s"),
            ("8784h", MAX_MS, "8784h"),
        ] {
            let span: Span = given.parse().unwrap();
            assert_eq!((span.as_ms(), span.to_string().as_str()), (ms, shown));
            assert_eq!(span.as_millis(), u128::from(ms), "derefs to Duration");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for given in ["", "5", "s", "5 s", "-5s", "+5s", "1.5h", "5S", "5d", "0s", "8785h", "99999999999999999999s"] {
            let error = given.parse::<Span>().unwrap_err();
            assert!(error.contains(&format!("{given:?}")) && error.contains("ms"), "{error}");
        }
    }
}
