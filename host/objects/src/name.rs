//! Names of objects: a cache group, and a key in it; two segments of a path, whatever they hold.

use std::fmt::Write;

/// Bytes of a group or a key as they are written.
pub const MAX_NAME: usize = 200;
/// Bytes of a segment: file systems take 255, and what is not whole yet has some more.
const MAX_SEGMENT: usize = 240;

/// A cache group, and a key in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    group: String,
    key: String,
}

/// Why a text cannot be a group or a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    /// It holds nothing.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is too long: at most {MAX_NAME} bytes, of signs and other letters fewer")]
    TooLong,
    /// It would forge lines where it is shown.
    #[error("it holds control characters")]
    Control,
}

impl Name {
    /// A name, when both can be one; else which one cannot.
    ///
    /// # Errors
    /// `group` or `key`, and what is wrong with it.
    pub fn new(group: &str, key: &str) -> Result<Self, (&'static str, BadName)> {
        check(group).map_err(|bad| ("group", bad))?;
        check(key).map_err(|bad| ("key", bad))?;
        Ok(Self { group: group.to_owned(), key: key.to_owned() })
    }

    /// The cache group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its two segments.
    pub(crate) fn segments(&self) -> String {
        format!("{}/{}", segment(&self.group), segment(&self.key))
    }
}

fn check(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > MAX_NAME || segment(text).len() > MAX_SEGMENT {
        return Err(BadName::TooLong);
    }
    if text.chars().any(char::is_control) { Err(BadName::Control) } else { Ok(()) }
}

/// A text as one segment of a path. Different texts give different segments, none of which holds a separator, begins
/// with a dot, or is what is used for anything that is not whole yet.
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => segment.push(byte.into()),
            b'.' | b'-' if place > 0 => segment.push(byte.into()),
            // Writing to a string cannot fail.
            _ => drop(write!(segment, "_{byte:02x}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    /// Texts of what separators, escapes and paths are made of, and any others.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof!["[-/._%~a-c\\\\#0-9:\u{0}]{0,12}", any::<String>()]
    }

    proptest! {
        #[test]
        fn different_names_never_meet(a in (texts(), texts()), b in (texts(), texts())) {
            let path = |(group, key): &(String, String)| format!("{}/{}", segment(group), segment(key));
            prop_assert_eq!(path(&a) == path(&b), a == b);
        }

        #[test]
        fn a_name_is_two_segments_below(group in texts(), key in texts()) {
            let Ok(name) = Name::new(&group, &key) else { return Ok(()) };
            let path = name.segments();
            let parts: Vec<_> = Path::new(&path).components().collect();
            prop_assert_eq!(parts.len(), 2);
            prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(!path.contains("..") || group.contains("..") || key.contains(".."));
            prop_assert!(!path.starts_with('.') && !path.contains("/.") && !path.contains('#'));
            let stored = object_store::path::Path::parse(&path).unwrap();
            prop_assert_eq!(stored.as_ref(), path.as_str());
        }
    }

    #[test]
    fn what_stands_between_group_and_key_is_no_letter_of_theirs() {
        let path = |group, key| Name::new(group, key).unwrap().segments();
        assert_ne!(path("a", "b-c"), path("a-b", "c"));
        assert_ne!(path("a", "b/c"), path("a/b", "c"));
        assert_eq!(path("..", "../../etc/passwd"), "_2e./_2e._2f.._2fetc_2fpasswd");
        assert_eq!(path("rpi4", "v1.2-rc_1.img"), "rpi4/v1.2-rc_5f1.img");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        assert_eq!(Name::new("", "a"), Err(("group", BadName::Empty)));
        assert_eq!(Name::new("a", "b\nc"), Err(("key", BadName::Control)));
        assert_eq!(Name::new("a", &"x".repeat(201)), Err(("key", BadName::TooLong)));
        assert_eq!(Name::new("a", &"/".repeat(81)), Err(("key", BadName::TooLong)));
        assert!(Name::new(&"/".repeat(80), &"x".repeat(200)).is_ok());
    }
}
