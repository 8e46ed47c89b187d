//! The test that a term makes of one capability.

use super::decimal::{Decimal, Range};

/// A test of one capability. Negation is the term's matter, not the condition's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Condition {
    /// The capability.
    pub(crate) key: Box<str>,
    /// What is asked of its value.
    pub(crate) test: Test,
}

/// What is asked of a capability's value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Test {
    /// That there is one.
    Present,
    /// That it meets one of these.
    Any(Box<[Wanted]>),
}

/// A wanted value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Wanted {
    /// The whole value is this text.
    Whole(Box<str>),
    /// One of the offered values is this text, or a range around this number.
    Text(Box<str>, Option<Decimal>),
    /// One of the offered values is a number in, or a range over, this one.
    Range(Range),
}

impl Condition {
    /// The value of `key` is exactly `value`.
    pub(crate) fn exact(key: &str, value: &str) -> Self {
        Self { key: key.into(), test: Test::Any([Wanted::Whole(value.into())].into()) }
    }

    /// Whether it holds for a worker whose value of the key is `offered`.
    pub(crate) fn holds(&self, offered: Option<&str>) -> bool {
        match (&self.test, offered) {
            (_, None) => false,
            (Test::Present, Some(_)) => true,
            (Test::Any(wanted), Some(offered)) => wanted.iter().any(|wanted| wanted.meets(offered)),
        }
    }
}

impl Wanted {
    fn meets(&self, offered: &str) -> bool {
        match self {
            Self::Whole(text) => offered == &**text,
            Self::Text(text, number) => offered_elements(offered).any(|element| {
                element == &**text
                    || number.is_some_and(|number| {
                        Range::offered(element).is_some_and(|range| range.contains(number))
                    })
            }),
            Self::Range(wanted) => offered_elements(offered).any(|element| {
                Decimal::parse(element).is_some_and(|number| wanted.contains(number))
                    || Range::offered(element).is_some_and(|range| range.overlaps(*wanted))
            }),
        }
    }
}

/// The values that a worker's value offers: itself, or the parts between its commas.
pub(crate) fn offered_elements(offered: &str) -> impl Iterator<Item = &str> {
    offered.split(',').map(str::trim)
}

/// Whether one of the values offered is a range.
pub(crate) fn offers_range(offered: &str) -> bool {
    offered.contains("..") && offered_elements(offered).any(|element| Range::offered(element).is_some())
}
