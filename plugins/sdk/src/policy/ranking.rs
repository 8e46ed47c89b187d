//! The order of all workers, for policies whose scores do not depend on the request. It is kept from plan to plan:
//! only workers that were put anew are scored again.

use std::cmp::{Ordering, Reverse};

use super::{Farm, Policy, Request, Score, WorkerId};

/// The rank of a worker that may not be used: not there, not suitable, or taken in this round.
pub(super) const NONE: u32 = u32::MAX;

/// Every usable worker's place, best first.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// By worker number.
    scored: Vec<Option<Scored>>,
    /// Usable workers, best first.
    order: Vec<WorkerId>,
    /// By worker number: the place in `order`, or [`NONE`].
    ranks: Vec<u32>,
    /// Workers that changed since the last plan.
    stale: Vec<WorkerId>,
}

#[derive(Debug, Clone)]
struct Scored {
    score: Score,
    uuid: String,
    /// The uuid as a number, when it is written so that numbers order as texts do.
    number: Option<u128>,
}

impl Ranking {
    /// Remembers that a worker came, changed or went.
    pub(super) fn touch(&mut self, id: WorkerId) {
        self.stale.push(id);
    }

    /// Scores what changed and puts it in its place.
    pub(super) fn refresh<P: Policy>(&mut self, policy: &P, farm: &Farm) {
        if self.stale.is_empty() {
            return;
        }
        self.scored.resize(farm.worker_numbers(), None);
        let blank = Request::blank();
        let mut moved = Vec::new();
        for id in std::mem::take(&mut self.stale) {
            let new = farm.worker(id).and_then(|worker| {
                let score = policy.score(&blank, worker)?;
                Some(Scored { score, uuid: worker.uuid.clone(), number: uuid_number(&worker.uuid) })
            });
            let Some(place) = self.scored.get_mut(id as usize) else { continue };
            let same_place = match (&*place, &new) {
                (Some(old), Some(new)) => old.score.value == new.score.value && old.uuid == new.uuid,
                (None, None) => true,
                _ => false,
            };
            *place = new;
            if !same_place {
                moved.push(id);
            }
        }
        if !moved.is_empty() {
            self.reorder(moved);
        }
    }

    /// The best order is nearly the old one: what moved is taken out, put at the end, and the sort finds a long
    /// sorted run.
    fn reorder(&mut self, mut moved: Vec<WorkerId>) {
        moved.sort_unstable();
        moved.dedup();
        self.order.retain(|id| moved.binary_search(id).is_err());
        let scored = &self.scored;
        let get = |id: WorkerId| scored.get(id as usize).and_then(Option::as_ref);
        self.order.extend(moved.into_iter().filter(|id| get(*id).is_some()));
        self.order.sort_by(|a, b| match (get(*a), get(*b)) {
            (Some(a), Some(b)) => a.better_first(b),
            _ => Ordering::Equal,
        });
        self.ranks.clear();
        self.ranks.resize(self.scored.len(), NONE);
        for (rank, id) in (0..NONE).zip(&self.order) {
            if let Some(place) = self.ranks.get_mut(*id as usize) {
                *place = rank;
            }
        }
    }

    /// A worker's rank: smaller is better.
    pub(super) fn rank(&self, id: WorkerId) -> u32 {
        self.ranks.get(id as usize).copied().unwrap_or(NONE)
    }

    /// The worker of a rank.
    pub(super) fn worker(&self, rank: u32) -> Option<WorkerId> {
        self.order.get(rank as usize).copied()
    }

    /// How many ranks there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// What a worker was scored.
    pub(super) fn score(&self, id: WorkerId) -> Option<&Score> {
        Some(&self.scored.get(id as usize)?.as_ref()?.score)
    }

    /// Takes a worker out until it is [given back](Self::give_back).
    pub(super) fn take(&mut self, id: WorkerId) {
        if let Some(rank) = self.ranks.get_mut(id as usize) {
            *rank = NONE;
        }
    }

    /// Puts a taken worker back in its place.
    pub(super) fn give_back(&mut self, id: WorkerId, rank: u32) {
        if let Some(place) = self.ranks.get_mut(id as usize) {
            *place = rank;
        }
    }
}

impl Scored {
    fn better_first(&self, other: &Self) -> Ordering {
        let by_uuid = match (self.number, other.number) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.uuid.cmp(&other.uuid),
        };
        Reverse(self.score.value).cmp(&Reverse(other.score.value)).then(by_uuid)
    }
}

/// The 128 bits of a uuid in its usual lower-case form. Uuids of that one form order the same as text and as numbers.
fn uuid_number(uuid: &str) -> Option<u128> {
    if uuid.len() != 36 {
        return None;
    }
    uuid.bytes().enumerate().try_fold(0_u128, |number, (at, byte)| match (at, byte) {
        (8 | 13 | 18 | 23, b'-') => Some(number),
        (8 | 13 | 18 | 23, _) => None,
        (_, b'0'..=b'9') => Some(number << 4 | u128::from(byte - b'0')),
        (_, b'a'..=b'f') => Some(number << 4 | u128::from(byte - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::uuid_number;

    #[test]
    fn only_the_usual_form_is_a_number() {
        assert_eq!(uuid_number("00000000-0000-0000-0000-0000000000ff"), Some(255));
        assert_eq!(uuid_number("00000000-0000-0000-0000-0000000000FF"), None);
        assert_eq!(uuid_number("000000000000-0000-0000-0000-00000000ff"), None);
        assert_eq!(uuid_number("board-7"), None);
    }
}
