//! The built-in rule: the least capable worker first.

use std::collections::BTreeSet;

use super::{Matcher, Round};
use crate::id::RequestId;

/// A worker for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The request.
    pub request: RequestId,
    /// Dense number of the worker.
    pub worker: u32,
    /// Higher is better: by the built-in rule, minus the worker's [`Matcher::weight`].
    pub score: i64,
}

/// Serves the demands of `round` in their order, each with the least capable of its candidates that is left, ties by
/// the lowest uuid. Each worker is given once.
pub fn builtin(matcher: &Matcher, round: &Round) -> Vec<Assignment> {
    // The sets are in this very order, so what was passed over in a set once need not be looked at again.
    let mut left: Vec<_> = round.candidate_sets.iter().map(|set| set.iter().copied()).collect();
    let mut taken = BTreeSet::new();
    let mut assignments = Vec::new();
    for demand in &round.demands {
        let Some(candidates) = left.get_mut(demand.set as usize) else { continue };
        if let Some(worker) = candidates.find(|candidate| taken.insert(*candidate)) {
            let score = -i64::from(matcher.weight(worker).unwrap_or_default());
            assignments.push(Assignment { request: demand.request, worker, score });
        }
    }
    assignments
}
