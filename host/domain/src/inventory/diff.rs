//! What is different between two inventories.

use std::collections::BTreeSet;

use super::{Path, Value};

/// Differences that are worth telling people.
pub const MAX_DIFFERENCES: usize = 1000;

/// One difference: `before` and `after` are not equal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference<'a> {
    /// Where.
    pub path: Path,
    /// What was there; none where nothing was.
    pub before: Option<&'a Value>,
    /// What is there; none where nothing is.
    pub after: Option<&'a Value>,
}

/// What must change in `before` to make it `after`, as far down as it can be told, in the order of names and places; at
/// most `most` differences. Lists are compared place by place.
pub fn diff<'a>(before: &'a Value, after: &'a Value, most: usize) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    compare(Path::default(), Some(before), Some(after), most, &mut found);
    found
}

fn compare<'a>(
    path: Path,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    most: usize,
    found: &mut Vec<Difference<'a>>,
) {
    if found.len() >= most || before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Map(before)), Some(Value::Map(after))) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(path.below(name), before.get(name), after.get(name), most, found);
            }
        }
        (Some(Value::List(before)), Some(Value::List(after))) => {
            for place in 0..before.len().max(after.len()) {
                compare(path.below(&place.to_string()), before.get(place), after.get(place), most, found);
            }
        }
        (before, after) => found.push(Difference { path, before, after }),
    }
}
