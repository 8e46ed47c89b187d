//! What a request wants of a worker.
//!
//! # The grammar of a term
//!
//! ```text
//! term   = KEY                  the worker has this capability, whatever its value
//!        | "!" KEY              the worker has no such capability
//!        | KEY "=" values       some wanted value meets some offered one
//!        | KEY "!=" values      no wanted value meets an offered one (also when the capability is missing)
//!        | KEY ">=" NUMBER      the same as KEY "=" NUMBER ".."
//!        | KEY "<=" NUMBER      the same as KEY "=" ".." NUMBER
//! values = value { "," value }
//! value  = TEXT                 unquoted, without commas
//!        | RANGE                NUMBER ".." NUMBER, either end may be left open; both ends belong to it
//!        | QUOTED               "…" with \" and \\ inside
//! ```
//!
//! A KEY is made of letters, digits and `_ - . / : @`; any other is written quoted. Blanks around keys, operators and
//! values mean nothing.
//!
//! # What a worker offers
//!
//! A worker's value is a list as soon as it holds a comma: `57600,115200` offers two values. An offered value that has
//! the form of a range is one: `2.9..3.6` offers every number in it. Nothing is quoted in an offer.
//!
//! # When a wanted value meets an offered one
//!
//! | wanted \ offered | text           | number           | range               |
//! | ---------------- | -------------- | ---------------- | ------------------- |
//! | TEXT             | the same text  | the same text    | a number within     |
//! | RANGE            | no             | a number within  | both overlap        |
//! | QUOTED           | the whole value of the capability is this text, commas and all ||||
//!
//! **Numbers count as numbers only where a range takes part**; everywhere else text is compared with text, case and
//! all. So `firmware=1.10` never picks a board with firmware `1.1`, and `serial=007` none with serial `7`; who means
//! the number writes `3.3..3.3`, which `3.30` meets. A number is an optional `-`, one to eighteen digits, and
//! optionally a point and one to eighteen digits. It is held as an integer count of 10^-18, so comparison is exact.
//!
//! A wanted list of exact equalities, as v1 has it, is the same as the quoted terms that [`Wants::describe`] gives.

mod condition;
mod decimal;
mod parse;

pub use parse::TermError;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::capability::Map;
pub(crate) use condition::{Condition, Test, Wanted, offered_elements, offers_range};

/// Longest key in a term, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest term, in bytes.
pub const MAX_TERM: usize = 1024;
/// Most terms of one request.
pub const MAX_TERMS: usize = 64;

/// Wanted capabilities.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wants {
    /// v1: every key must be there with exactly this value. None and empty are kept apart, as sent; both fit all.
    Exact(Option<BTreeMap<String, String>>),
    /// v2 and the command line: every term must hold. Kept as written; parsed by [`Term`].
    Terms(Vec<Term>),
}

impl Wants {
    /// Wants of the terms in `texts`, in their order.
    ///
    /// # Errors
    /// The first term that is none, with its number, or more than [`MAX_TERMS`].
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, WantsError> {
        if texts.len() > MAX_TERMS {
            return Err(WantsError::TooMany(texts.len()));
        }
        let parse = |(at, text): (usize, &T)| {
            Term::parse(text.as_ref()).map_err(|error| WantsError::Term { number: at + 1, error })
        };
        texts.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self::Terms)
    }

    /// Whether a worker that offers `capabilities` satisfies them all.
    pub fn matches(&self, capabilities: &Map) -> bool {
        match self {
            Self::Exact(None) => true,
            Self::Exact(Some(wanted)) => wanted
                .iter()
                .all(|(key, value)| capabilities.get(key).is_some_and(|offered| offered == value)),
            Self::Terms(terms) => terms.iter().all(|term| term.matches(capabilities)),
        }
    }

    /// The wants as terms for people and policies; exact ones as `key="value"`. Every wanted thing is one line.
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Exact(wanted) => {
                wanted.iter().flatten().map(|(key, value)| exact_text(key, value)).collect()
            }
            Self::Terms(terms) => terms.iter().map(|term| term.as_str().to_owned()).collect(),
        }
    }

    /// Every wanted thing as a condition, in the order of [`Self::describe`].
    pub(crate) fn clauses(&self) -> Vec<Clause> {
        match self {
            Self::Exact(wanted) => {
                let clause = |(key, value): (&String, &String)| Clause {
                    condition: Arc::new(Condition::exact(key, value)),
                    negated: false,
                };
                wanted.iter().flatten().map(clause).collect()
            }
            Self::Terms(terms) => terms.iter().map(|term| term.clause.clone()).collect(),
        }
    }
}

/// Why texts are no wants.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WantsError {
    /// More than [`MAX_TERMS`].
    #[error("{0} terms are wanted: at most {MAX_TERMS} are accepted")]
    TooMany(usize),
    /// One of them is no term.
    #[error("term {number}: {error}")]
    Term {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        error: TermError,
    },
}

/// A condition that must hold, or must not.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    /// The condition.
    pub(crate) condition: Arc<Condition>,
    /// Whether it must not hold.
    pub(crate) negated: bool,
}

/// One term of the grammar, e.g. `uart=2..`. Terms are equal when they were written alike.
#[derive(Clone)]
pub struct Term {
    text: Arc<str>,
    clause: Clause,
}

impl Term {
    /// The term that `text` is.
    ///
    /// # Errors
    /// What is wrong, at which character (from 1), and what is accepted there.
    pub fn parse(text: &str) -> Result<Self, TermError> {
        let clause = parse::clause(text)?;
        Ok(Self { text: text.into(), clause })
    }

    /// As written; [`Term::parse`] of it gives this term again.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The capability that it is about.
    pub fn key(&self) -> &str {
        &self.clause.condition.key
    }

    /// Whether it holds for a worker that offers `capabilities`.
    pub fn matches(&self, capabilities: &Map) -> bool {
        let Clause { condition, negated } = &self.clause;
        condition.holds(capabilities.get(&*condition.key).map(String::as_str)) != *negated
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Term({:?})", self.text)
    }
}

impl std::str::FromStr for Term {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        Self::parse(text)
    }
}

// What a term means follows from its text alone.
impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Term {}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Term {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for Term {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// `key="value"`, as the grammar reads it.
fn exact_text(key: &str, value: &str) -> String {
    let key = if parse::is_plain_key(key) { key.to_owned() } else { quoted(key) };
    format!("{key}={}", quoted(value))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
