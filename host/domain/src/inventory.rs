//! An inventory: what a board is made of, as a tree of values, and the ways into it.

mod diff;
mod path;

pub use diff::{Difference, MAX_DIFFERENCES, diff};
pub use path::{BadPath, MAX_PATH, Path};

use std::collections::BTreeMap;
use std::fmt;

/// Levels of lists and maps in an inventory.
pub const MAX_DEPTH: usize = 64;
/// Bytes of a name in an inventory.
pub const MAX_NAME: usize = 256;

/// A value, or a tree of them. An inventory is one whose top is a map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

/// A finite number, kept as it was written: whole numbers exactly, others as 64-bit floats.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number(Kind);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Natural(u64),
    Negative(i64),
    Real(f64),
}

// No number is a NaN.
impl Eq for Number {}

impl Value {
    /// What kind of value it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Its text, where it is text, a number or a boolean.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The value of that name in a map, or of that place (from 0) in a list.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            Self::List(list) => list.get(place(name)?),
            _ => None,
        }
    }
}

/// The place in a list that `name` is: digits, and no zero before others.
fn place(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    plain.then(|| name.parse().ok()).flatten()
}

impl Number {
    /// The number that `number` is, unless that is infinite or none.
    pub fn real(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(Kind::Real(number)))
    }

    /// It, where it was written as a whole number that is not negative.
    pub fn as_u64(self) -> Option<u64> {
        if let Kind::Natural(number) = self.0 { Some(number) } else { None }
    }

    /// It, where it was written as a negative whole number.
    pub fn as_negative(self) -> Option<i64> {
        if let Kind::Negative(number) = self.0 { Some(number) } else { None }
    }

    /// The nearest float.
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Kind::Natural(number) => number as f64,
            Kind::Negative(number) => number as f64,
            Kind::Real(number) => number,
        }
    }

    /// Without what is behind its point; beyond the range, the nearest number in it.
    pub(crate) fn whole(self) -> i128 {
        match self.0 {
            Kind::Natural(number) => number.into(),
            Kind::Negative(number) => number.into(),
            Kind::Real(number) => number as i128,
        }
    }

    /// Whether it was written as a whole number.
    pub(crate) fn is_whole(self) -> bool {
        !matches!(self.0, Kind::Real(_))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(Kind::Natural(number))
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(u64::try_from(number).map_or(Kind::Negative(number), Kind::Natural))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Natural(number) => number.fmt(f),
            Kind::Negative(number) => number.fmt(f),
            Kind::Real(number) => number.fmt(f),
        }
    }
}
