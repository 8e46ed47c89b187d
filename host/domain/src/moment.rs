//! Points in time.

pub use jiff::{SignedDuration, Timestamp};

/// A point in time together with the UTC offset that its author wrote it with.
///
/// Decisions look at `at` only; the offset is kept because v1 clients are shown the time as they gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// Seconds east of UTC.
    pub offset: i32,
}

impl Moment {
    /// `at`, as written in UTC.
    pub fn utc(at: Timestamp) -> Self {
        Self { at, offset: 0 }
    }
}

/// `at + span`, clamped to the range of representable times.
pub fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// One calendar month after `at` in UTC: the default deadline of a request.
pub fn one_month_after(at: Timestamp) -> Timestamp {
    at.to_zoned(jiff::tz::TimeZone::UTC)
        .checked_add(jiff::Span::new().months(1))
        .map_or(Timestamp::MAX, |later| later.timestamp())
}
