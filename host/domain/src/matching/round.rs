//! A round: the demands that somebody must decide on, with their candidates.

use super::Matcher;
use super::classes::{Filter, Seat};
use crate::id::RequestId;

/// Bounds of one round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoundLimits {
    /// Most demands; 0 = all.
    pub max_demands: usize,
    /// Most candidates in a set; 0 = all. Kept are the least capable, ties by uuid.
    pub max_candidates: usize,
}

/// Most candidates that the sets of one round hold together, unless the first set alone holds more.
const MAX_TOTAL_CANDIDATES: usize = 4_000_000;

/// What is to be decided on. What did not fit is left for the next round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Round {
    /// Idle workers, on which a task can start, by dense number, least capable first, ties by uuid. No set is empty.
    pub candidate_sets: Vec<Vec<u32>>,
    /// In queue order: priority, place, id.
    pub demands: Vec<Demand>,
}

/// A request that could be served now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// The request.
    pub request: RequestId,
    /// Index of its candidates in [`Round::candidate_sets`].
    pub set: u32,
}

impl Matcher {
    /// Looks at what is due, in queue order.
    ///
    /// A class has no more demands than candidates in one round. Demands come back in the next round until they are
    /// removed or declined, or have no candidates any more.
    pub fn round(&mut self, limits: RoundLimits) -> Round {
        if self.farm_is_shut {
            return Round::default();
        }
        self.rounds += 1;
        let bound = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let (max_demands, max_candidates) = (bound(limits.max_demands), bound(limits.max_candidates));
        self.epoch += 1;
        self.classes.recheck_cut(self.workers.free(), self.epoch);
        // What happens from here on is later than those news.
        self.epoch += 1;
        self.workers.refresh_order();

        let mut round = Round::default();
        let mut seated = Vec::new();
        let mut total = 0usize;
        while round.demands.len() < max_demands {
            let Some((rank, id)) = self.classes.take_due() else { break };
            let Some(class) = self.classes.get(id) else { continue };
            if class.seat.round != self.epoch {
                let mut candidates = self.candidates(&class.filter);
                let few = candidates.len().min(max_candidates);
                if candidates.is_empty() {
                    // Due again with its next news.
                    continue;
                }
                if total.saturating_add(few) > MAX_TOTAL_CANDIDATES && !round.demands.is_empty() {
                    seated.push(id);
                    break;
                }
                self.workers.sort(&mut candidates);
                let cut = few < candidates.len();
                candidates.truncate(few);
                let seat = Seat { round: self.epoch, set: round.candidate_sets.len() as u32, left: few };
                self.classes.seat(id, seat, cut.then_some(&*candidates));
                total += few;
                seated.push(id);
                round.candidate_sets.push(candidates);
            }
            let Some(class) = self.classes.get(id) else { continue };
            round.demands.push(Demand { request: rank.request, set: class.seat.set });
            self.classes.demand(id, rank, self.epoch);
        }
        for id in seated {
            self.classes.file(id);
        }
        round
    }

    /// Free workers that pass `filter`, by dense number.
    fn candidates(&self, filter: &Filter) -> Vec<u32> {
        let free = self.workers.free();
        let sets = filter.positive.iter().map(|number| self.offers.workers(*number));
        let sets = sets.chain([self.owners.reached(filter.owners)]).collect::<Option<Vec<_>>>();
        let Some(mut sets) = sets else { return Vec::new() };
        sets.push(free);
        sets.sort_by_key(|set| set.len());
        let excluded = || filter.negative.iter().filter_map(|number| self.offers.workers(*number));
        let Some((smallest, others)) = sets.split_first() else { return Vec::new() };
        if smallest.len() <= FEW {
            let passes = |worker: &u32| {
                others.iter().all(|set| set.contains(*worker)) && !excluded().any(|set| set.contains(*worker))
            };
            return smallest.iter().filter(passes).collect();
        }
        let Some((second, others)) = others.split_first() else { return smallest.iter().collect() };
        let mut candidates = *smallest & *second;
        for set in others {
            candidates &= *set;
        }
        for set in excluded() {
            candidates -= set;
        }
        candidates.iter().collect()
    }
}

/// Up to here, trying workers one by one is quicker than intersecting sets.
const FEW: u64 = 32;
