//! One round of matching: demands in queue order, each worker at most once, the best score wins.

use std::cmp::Reverse;

use super::ranking::{NONE, Ranking};
use super::{Assignment, Demand, Farm, Plan, Policy, RequestId, Score, TimestampMs, Wait, WorkerId};

/// Sets of at most this many candidates are cheaper to scan for every demand than to index.
const SCAN_AT_MOST: usize = 64;

const UNSUITABLE: &str = "the policy finds none of the idle workers suitable";
const UNKNOWN: &str = "the policy was never told of it";

/// What the controller asks: which of these demands should get which worker, now?
#[derive(Debug)]
pub struct Round<'a> {
    /// The time of this round.
    pub now: TimestampMs,
    /// All that the policy was told.
    pub farm: &'a Farm,
    /// Idle workers that may serve some demand.
    pub candidate_sets: &'a [Vec<WorkerId>],
    /// In queue order.
    pub demands: &'a [Demand],
    pub(super) ranking: &'a mut Ranking,
}

impl Round<'_> {
    /// The idle workers that may serve a demand.
    pub fn candidates(&self, demand: &Demand) -> &[WorkerId] {
        self.candidate_sets.get(demand.candidate_set as usize).map_or(&[], Vec::as_slice)
    }

    /// The plan by score: each demand in turn gets the best worker that is left, ties the lowest uuid. Demands that
    /// the policy would not serve with any worker wait with that reason. Those that are merely too late are left
    /// out: that others came first is nothing the controller needs to be told, and there may be very many of them.
    pub fn by_score<P: Policy>(self, policy: &P) -> Plan {
        if P::scores_depend_on_request() { self.scoring_each(policy) } else { self.by_rank(policy) }
    }

    fn scoring_each<P: Policy>(self, policy: &P) -> Plan {
        let mut taken = vec![false; self.farm.worker_numbers()];
        let mut plan = empty_plan(self.demands.len().min(taken.len()));
        for demand in self.demands {
            let candidates = self.candidates(demand);
            let Some(request) = self.farm.request(demand.request) else {
                plan.waits.push(wait(demand.request, UNKNOWN));
                continue;
            };
            let mut passed_over = false;
            let suitable = candidates.iter().filter_map(|id| {
                let worker = self.farm.worker(*id)?;
                if taken.get(*id as usize).is_some_and(|taken| *taken) {
                    passed_over = true;
                    return None;
                }
                policy.score(request, worker).map(|score| (score, worker))
            });
            let best = suitable.min_by(|(a, of_a), (b, of_b)| {
                Reverse(a.value).cmp(&Reverse(b.value)).then_with(|| of_a.uuid.cmp(&of_b.uuid))
            });
            match best {
                Some((score, worker)) => {
                    if let Some(taken) = taken.get_mut(worker.id as usize) {
                        *taken = true;
                    }
                    plan.assignments.push(assignment(demand.request, worker.id, &score));
                }
                None if candidates.is_empty() || passed_over => {}
                None => plan.waits.push(wait(demand.request, UNSUITABLE)),
            }
        }
        plan
    }

    fn by_rank<P: Policy>(self, policy: &P) -> Plan {
        self.ranking.refresh(policy, self.farm);
        let mut uses = vec![0_u32; self.candidate_sets.len()];
        for demand in self.demands {
            if let Some(uses) = uses.get_mut(demand.candidate_set as usize) {
                *uses += 1;
            }
        }
        let mut queues: Vec<Option<Queue>> = Vec::new();
        queues.resize_with(self.candidate_sets.len(), || None);

        let mut plan = empty_plan(self.demands.len().min(self.ranking.len()));
        let mut taken = Vec::with_capacity(plan.assignments.capacity());
        for demand in self.demands {
            let at = demand.candidate_set as usize;
            let candidates = self.candidate_sets.get(at).map_or(&[][..], Vec::as_slice);
            let often = uses.get(at).is_some_and(|uses| *uses > 1);
            let best = match queues.get_mut(at) {
                Some(queue) if often && candidates.len() > SCAN_AT_MOST => {
                    queue.get_or_insert_with(|| Queue::new(candidates, self.ranking)).next(self.ranking)
                }
                _ => best_of(candidates, self.ranking),
            };
            let found = best.and_then(|rank| {
                let id = self.ranking.worker(rank)?;
                Some((rank, id, self.ranking.score(id)?))
            });
            match found {
                Some((rank, id, score)) => {
                    plan.assignments.push(assignment(demand.request, id, score));
                    self.ranking.take(id);
                    taken.push((id, rank));
                }
                None if candidates.is_empty() => {}
                None => {
                    let passed_over = match queues.get(at) {
                        Some(Some(queue)) => queue.any_suitable,
                        _ => any_suitable(candidates, self.ranking),
                    };
                    if !passed_over {
                        plan.waits.push(wait(demand.request, UNSUITABLE));
                    }
                }
            }
        }
        for (id, rank) in taken {
            self.ranking.give_back(id, rank);
        }
        plan
    }
}

/// The candidates of one set by rank, for sets that many demands share: a bit per rank, consumed from the best on.
#[derive(Debug)]
struct Queue {
    words: Vec<u64>,
    at: usize,
    any_suitable: bool,
}

impl Queue {
    fn new(candidates: &[WorkerId], ranking: &Ranking) -> Self {
        let mut words = vec![0_u64; ranking.len().div_ceil(64)];
        for id in candidates {
            let rank = ranking.rank(*id);
            if let Some(word) = words.get_mut((rank / 64) as usize) {
                *word |= 1 << (rank % 64);
            }
        }
        Self { words, at: 0, any_suitable: any_suitable(candidates, ranking) }
    }

    /// The best rank that is still free.
    fn next(&mut self, ranking: &Ranking) -> Option<u32> {
        loop {
            let word = self.words.get_mut(self.at)?;
            if *word == 0 {
                self.at += 1;
                continue;
            }
            let rank = u32::try_from(self.at).ok()? * 64 + word.trailing_zeros();
            *word &= *word - 1;
            if ranking.worker(rank).is_some_and(|id| ranking.rank(id) == rank) {
                return Some(rank);
            }
        }
    }
}

fn best_of(candidates: &[WorkerId], ranking: &Ranking) -> Option<u32> {
    candidates.iter().map(|id| ranking.rank(*id)).min().filter(|rank| *rank != NONE)
}

/// Whether the policy would use some of them, taken or not.
fn any_suitable(candidates: &[WorkerId], ranking: &Ranking) -> bool {
    candidates.iter().any(|id| ranking.score(*id).is_some())
}

fn empty_plan(assignments: usize) -> Plan {
    Plan { assignments: Vec::with_capacity(assignments), waits: Vec::new(), wake_at: None }
}

fn assignment(request: RequestId, worker: WorkerId, score: &Score) -> Assignment {
    Assignment { request, worker, score: score.value, reason: score.reason.as_ref().to_owned() }
}

fn wait(request: RequestId, reason: &str) -> Wait {
    Wait { request, reason: reason.to_owned(), until: None }
}
