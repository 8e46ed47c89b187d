//! Values as people read them.

use jiff::{SignedDuration, Timestamp};

/// A length in its two largest units at most: `45s`, `3m`, `1h 5m`, `2d 4h`.
pub(crate) fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let (large, small) = match (days, hours, minutes) {
        (0, 0, 0) => return format!("{seconds}s"),
        (0, 0, minutes) => return format!("{minutes}m"),
        (0, hours, minutes) => ((hours, 'h'), (minutes, 'm')),
        (days, hours, _) => ((days, 'd'), (hours, 'h')),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        _ => format!("{}{} {}{}", large.0, large.1, small.0, small.1),
    }
}

/// A time as seen from `now`: `3m ago`, `in 57m`, `now`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let ahead = time.duration_since(now);
    match ahead.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", length(ahead)),
        _ => format!("{} ago", length(ahead)),
    }
}

/// `-` for nothing.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    match text {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => "-".to_owned(),
    }
}

/// As much of a digest as people need.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Capabilities in one line: `board=rpi4 uart=2`; values that would read as two are quoted.
pub(crate) fn capabilities<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let pairs = map.into_iter().filter(|(key, _)| *key != "UUID").map(|(key, value)| {
        if value.is_empty() || value.chars().any(|c| c.is_whitespace() || c == '"') {
            format!("{key}={value:?}")
        } else {
            format!("{key}={value}")
        }
    });
    pairs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (3_905, "1h 5m"),
            (86_399, "23h 59m"),
            (86_400, "1d"),
            (187_200, "2d 4h"),
            (-125, "2m"),
        ] {
            assert_eq!(length(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let told = |time: &str| relative(time.parse().unwrap(), now);
        assert_eq!(told("2026-01-01T11:57:00Z"), "3m ago");
        assert_eq!(told("2026-01-01T12:57:00Z"), "in 57m");
        assert_eq!(told("2026-01-01T12:00:00.4Z"), "now");
    }

    #[test]
    fn capabilities_are_one_line() {
        let map = [("UUID", "x"), ("board", "rpi4"), ("name", "a b"), ("note", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let map = std::collections::BTreeMap::from(map);
        assert_eq!(capabilities(&map), r#"board=rpi4 name="a b" note="""#);
    }
}
