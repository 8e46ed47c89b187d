//! What a request wants of a worker.

use std::collections::BTreeMap;

/// Wanted capabilities.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Wants {
    /// v1: every key must be there with exactly this value. None and empty are kept apart, as sent; both fit all.
    Exact(Option<BTreeMap<String, String>>),
    /// v2 and the command line: every term must hold. Kept as written; parsed by [`Term`].
    Terms(Vec<Term>),
}

/// One term of the grammar, e.g. `uart=2..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    text: String,
}
