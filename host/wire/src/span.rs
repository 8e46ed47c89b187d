//! Lengths of time as people write them: `90s`, `30m`, `1h30m`, `2d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in whole seconds, at most 3660 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span(u64);

/// Why a text is not a length of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpanError {
    /// Nothing was written.
    #[error("an empty text is not a duration; write it like 90s, 30m, 1h30m or 2d")]
    Empty,
    /// A number without a unit.
    #[error("{0:?} lacks a unit; write it like 90s, 30m, 1h30m or 2d")]
    NoUnit(String),
    /// A unit that does not exist, or no number before it.
    #[error("{0:?} is not a duration; write it like 90s, 30m, 1h30m or 2d")]
    Malformed(String),
    /// Units must go from large to small.
    #[error("{0:?} must name each of d, h, m, s at most once, from large to small")]
    Order(String),
    /// Longer than can be meant.
    #[error("{0:?} is longer than 3660d")]
    TooLong(String),
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    /// The longest.
    pub const MAX: Self = Self(3660 * 86_400);

    /// So many seconds; none when that is longer than [`Self::MAX`].
    pub fn from_secs(seconds: u64) -> Option<Self> {
        (seconds <= Self::MAX.0).then_some(Self(seconds))
    }

    /// In seconds.
    pub fn as_secs(self) -> u64 {
        self.0
    }

    /// As the standard library counts.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        if text.is_empty() {
            return Err(SpanError::Empty);
        }
        // What is shown of a text that is not one: enough to recognise it.
        let shown = || text.chars().take(40).collect::<String>();
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() {
                return Err(SpanError::Malformed(shown()));
            }
            let Some(unit) = tail.chars().next() else { return Err(SpanError::NoUnit(shown())) };
            if !UNITS.iter().any(|(name, _)| *name == unit) {
                return Err(SpanError::Malformed(shown()));
            }
            let Some((_, factor)) = units.find(|(name, _)| *name == unit) else {
                return Err(SpanError::Order(shown()));
            };
            seconds = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(*factor))
                .and_then(|part| seconds.checked_add(part))
                .ok_or_else(|| SpanError::TooLong(shown()))?;
            rest = tail.strip_prefix(unit).unwrap_or_default();
        }
        Self::from_secs(seconds).ok_or_else(|| SpanError::TooLong(shown()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (name, factor) in UNITS {
            if left >= factor {
                write!(f, "{}{name}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration as text, like \"90s\", \"30m\", \"1h30m\" or \"2d\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
