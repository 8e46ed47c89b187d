//! Why nothing was found: what stands between some wants and the registered workers.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::Matcher;
use crate::group::OwnerGroups;
use crate::id::WorkerId;
use crate::limit::Scope;
use crate::wants::{Clause, Wants};
use crate::worker::State;

/// How some wants stand against the registered workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explanation {
    /// Workers that satisfy the wants and that the owner may use, in whatever state.
    pub matching: usize,
    /// The same by state; states without any are left out.
    pub by_state: BTreeMap<State, usize>,
    /// Those of them that are idle, and on which no task can start: by what is shut.
    pub held: BTreeMap<Scope, usize>,
    /// Workers that satisfy the wants but are for other groups.
    pub blocked_by_groups: usize,
    /// When nothing matches: the one term without which most workers would.
    pub best_unmet: Option<Unmet>,
}

/// A term that stands in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unmet {
    /// As [`Wants::describe`] gives it.
    pub term: String,
    /// Workers within the owner's reach that satisfy all other terms; at least one.
    pub others_met_by: usize,
}

impl Matcher {
    /// How `wants` of an owner with these groups stand against the registered workers. Terms on capabilities that the
    /// policy matches itself are not looked at, so a match here may still be none to the policy.
    pub fn explain(&self, owner_groups: &OwnerGroups, wants: &Wants) -> Explanation {
        let all: RoaringBitmap = self.workers.iter().map(|(dense, _)| dense).collect();
        let clauses = wants.clauses().into_iter().zip(wants.describe());
        let (met, texts): (Vec<_>, Vec<_>) = clauses
            .filter(|(clause, _)| !self.own_keys.contains(&*clause.condition.key))
            .map(|(clause, text)| (self.met(&clause, &all), text))
            .unzip();

        let mut explanation = Explanation::default();
        for dense in met.iter().fold(all.clone(), |left, met| left & met) {
            let Some(worker) = self.workers.get(dense) else { continue };
            if owner_groups.may_use(&worker.groups) {
                explanation.matching += 1;
                *explanation.by_state.entry(worker.state).or_default() += 1;
                let farm = self.farm_is_shut.then_some(&Scope::Farm);
                if worker.state == State::Idle
                    && let Some(shut) = farm.or_else(|| self.workers.shut_by(dense))
                {
                    *explanation.held.entry(shut.clone()).or_default() += 1;
                }
            } else {
                explanation.blocked_by_groups += 1;
            }
        }
        if explanation.matching == 0 && !met.is_empty() {
            let reached = |dense: &u32| {
                self.workers.get(*dense).is_some_and(|worker| owner_groups.may_use(&worker.groups))
            };
            let reached: RoaringBitmap = all.iter().filter(reached).collect();
            explanation.best_unmet = best_unmet(reached, &met, &texts);
        }
        explanation
    }

    /// Workers that satisfy the wants and that the owner may use, in whatever state; the same terms as in
    /// [`Self::explain`] are not looked at.
    pub fn matching(&self, owner_groups: &OwnerGroups, wants: &Wants) -> Vec<WorkerId> {
        let all: RoaringBitmap = self.workers.iter().map(|(dense, _)| dense).collect();
        let clauses = wants.clauses();
        let clauses = clauses.iter().filter(|clause| !self.own_keys.contains(&*clause.condition.key));
        let met = clauses.fold(all.clone(), |left, clause| left & self.met(clause, &all));
        let workers = met.iter().filter_map(|dense| self.workers.get(dense));
        workers.filter(|worker| owner_groups.may_use(&worker.groups)).map(|worker| worker.id).collect()
    }

    fn met(&self, clause: &Clause, all: &RoaringBitmap) -> RoaringBitmap {
        let meeting = self.offers.meeting(&clause.condition);
        if clause.negated { all - meeting } else { meeting }
    }
}

/// The term without which most of `reached` would match; the first of several.
fn best_unmet(reached: RoaringBitmap, met: &[RoaringBitmap], texts: &[String]) -> Option<Unmet> {
    // after[i] = meets the terms from i on.
    let mut after = vec![reached.clone()];
    for met in met.iter().rev() {
        let last = after.last()? & met;
        after.push(last);
    }
    after.reverse();
    let mut before = reached;
    let mut best: Option<Unmet> = None;
    for (at, (met, text)) in met.iter().zip(texts).enumerate() {
        let others = before.intersection_len(after.get(at + 1)?) as usize;
        if others > best.as_ref().map_or(0, |best| best.others_met_by) {
            best = Some(Unmet { term: text.clone(), others_met_by: others });
        }
        before &= met;
    }
    best
}
