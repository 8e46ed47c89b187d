//! Which waiting requests could be served by which idle workers: an index, kept up to date by small changes.
//!
//! ```text
//! put_worker, put_request, …  ──> Matcher ── round() ──> demands and candidates ──> policy, or builtin()
//!                                    ^                                                  │
//!                                    └── put_worker, remove_request, declined() ────────┘
//! ```
//!
//! Requests of owners with the same groups that want the same form one **class**. What they want is made of
//! **conditions** on capabilities, shared by all classes, each with the set of registered workers that meet it. A class
//! hangs on the most selective of its conditions, its anchor: a worker that becomes idle is led by its own values to
//! the anchors it meets, and by these to the few classes that it might serve. Nothing here ever walks over requests
//! times workers.
//!
//! Workers on which no task can start, because a limit is reached or something is short, are **shut** by their driver or
//! host, and no candidates until that **opens** again.
//!
//! A class is **due a look** when something new concerns it: a request came, or a worker that serves it became idle.
//! A round looks at due classes in the order of their first requests. A request that the policy declines is parked
//! until there is news for its class, so that the next ones of its class get their turn at the same candidates.
//!
//! What must never happen here: a worker offered to a request whose owner's groups do not reach it, or to one whose
//! wants (but for the keys that the policy claimed) it does not satisfy; an answer that depends on the order of a hash
//! table.

mod builtin;
mod classes;
mod explain;
mod offers;
mod order;
mod owners;
mod round;
mod slab;
mod workers;

pub use builtin::{Assignment, builtin};
pub use explain::{Explanation, Unmet};
pub use round::{Demand, Round, RoundLimits};

use std::collections::BTreeSet;

use crate::id::{RequestId, WorkerId};
use crate::limit::Scope;
use crate::request::{Request, Spec};
use crate::wants::Clause;
use crate::worker::Worker;
use roaring::RoaringBitmap;

use classes::{Class, Classes, Filter, Rank};
use offers::Offers;
use owners::Owners;
use workers::Workers;

/// The index of registered workers and of requests that are due, waiting and not reserved.
///
/// Workers are named by dense numbers, which candidate sets and policies use: stable while a worker is registered,
/// and given again, the longest unused first, only after it was removed.
#[derive(Debug, Default)]
pub struct Matcher {
    workers: Workers,
    offers: Offers,
    owners: Owners,
    classes: Classes,
    /// Capabilities that the policy matches itself.
    own_keys: BTreeSet<String>,
    /// Counts news and rounds, to tell which came later.
    epoch: u64,
    /// Rounds that were held.
    rounds: u64,
    /// No task can start at all.
    farm_is_shut: bool,
}

impl Matcher {
    /// A matcher without workers and requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a registered worker, or what has changed of it: its capabilities, its groups, and whether it is IDLE.
    pub fn put_worker(&mut self, worker: &Worker) {
        let put = self.workers.put(worker);
        let (dense, offers) = (put.dense, worker.capabilities.effective());
        if put.offers_changed {
            self.offers.update(dense, put.former_offers.as_deref(), offers);
        }
        if put.groups_changed {
            self.owners.update(dense, worker.groups());
        }
        if put.left_free {
            self.classes.candidate_left();
        }
        if self.workers.free().contains(dense)
            && (put.became_free || put.offers_changed || put.groups_changed)
        {
            self.look_again(dense);
        }
    }

    /// Forgets a worker.
    pub fn remove_worker(&mut self, worker: WorkerId) {
        let Some((dense, offers)) = self.workers.remove(worker) else { return };
        self.offers.update(dense, Some(&offers), &Default::default());
        self.owners.remove(dense);
        self.classes.candidate_left();
    }

    /// Takes in a request that is due, waiting and not reserved, or its changed priority and place.
    pub fn put_request(&mut self, request: &Request) {
        let rank = Rank::of(request);
        if let Some(slot) = self.classes.slot(request.id) {
            if slot.rank == rank && self.classes.find(request) == Some(slot.class) {
                return;
            }
            self.remove_request(request.id);
        }
        let class = match self.classes.find(request) {
            Some(class) => class,
            None => {
                let filter = self.resolve(&request.spec);
                self.classes.add(request.spec.clone(), filter, &mut self.offers)
            }
        };
        self.classes.put(class, rank);
    }

    /// Forgets a request: it is reserved, ended, or no longer due.
    pub fn remove_request(&mut self, request: RequestId) {
        if let Some(empty) = self.classes.remove(request) {
            let filter = self.classes.retire(empty, &mut self.offers);
            self.release(filter);
        }
    }

    /// Names the capabilities that the policy matches itself: terms on them no longer filter.
    pub fn set_own_keys(&mut self, keys: BTreeSet<String>) {
        if keys == self.own_keys {
            return;
        }
        self.own_keys = keys;
        self.epoch += 1;
        for id in self.classes.ids() {
            let Some(spec) = self.classes.spec(id) else { continue };
            let filter = self.resolve(&spec);
            let former = self.classes.refilter(id, filter, &mut self.offers);
            self.release(former);
            self.classes.news(id, self.epoch);
        }
    }

    /// Every request with a candidate is to be looked at again: the policy changed, or asked for it.
    pub fn wake(&mut self) {
        self.workers.miss_all();
        self.look_again_at(&self.workers.free().clone());
    }

    fn look_again_at(&mut self, free: &RoaringBitmap) {
        // From the side that is smaller; a worker leads to its classes in about the time of sixteen classes.
        if (free.len() as usize).saturating_mul(16) < self.classes.len() {
            for dense in free {
                self.look_again(dense);
            }
        } else if !free.is_empty() {
            self.epoch += 1;
            for id in self.classes.ids() {
                self.classes.news(id, self.epoch);
            }
        }
    }

    /// No task can start on workers of this driver or host, or on any: they are no candidates until [`Self::open`].
    pub fn shut(&mut self, scope: &Scope) {
        match scope {
            Scope::Farm => self.farm_is_shut = true,
            scope => {
                self.workers.shut(scope, self.rounds);
                self.classes.candidate_left();
            }
        }
    }

    /// Tasks can start there again.
    pub fn open(&mut self, scope: &Scope) {
        match scope {
            // No round was held meanwhile: what is due is due still.
            Scope::Farm => self.farm_is_shut = false,
            scope => {
                let left_out = self.workers.open(scope, self.rounds);
                self.look_again_at(&left_out);
            }
        }
    }

    /// Every request that this worker could serve is to be looked at again, e.g. because an assignment of it did not
    /// take place although it is idle still.
    pub fn look_again(&mut self, dense: u32) {
        let Some(offers) = self.workers.get(dense).map(|worker| worker.offers.clone()) else { return };
        self.epoch += 1;
        let mut reached = self.offers.anchored(dense, &offers);
        reached.extend(self.classes.unanchored());
        for id in reached {
            let serves = |class: &Class| {
                let Filter { owners, positive, negative, .. } = &class.filter;
                self.owners.reach(*owners, dense) && self.offers.satisfy(positive, negative, dense)
            };
            if self.classes.get(id).is_some_and(serves) {
                self.classes.news(id, self.epoch);
            }
        }
    }

    /// Whether [`Self::round`] is worth calling. Never false when it would find a demand; it may be true when a look
    /// will show that there is none.
    pub fn has_work(&self) -> bool {
        !self.farm_is_shut && !self.workers.free().is_empty() && self.classes.any_due()
    }

    /// The policy left this request, a demand of the latest round, waiting: it is parked until there is news for its
    /// class. Without effect when there has been some since that round, or the request was put anew.
    ///
    /// When an assignment of a round is refused while its worker stays idle, call [`Self::look_again`] for that
    /// worker: requests that were declined only because it seemed to be taken would otherwise stay parked.
    pub fn declined(&mut self, request: RequestId) {
        self.classes.park(request, false);
    }

    /// The same of a request that could have been served: [`Self::stir`] has it looked at again.
    pub fn declined_by_choice(&mut self, request: RequestId) {
        self.classes.park(request, true);
    }

    /// Something changed that may make the policy choose otherwise. Costs as much as there are classes with requests that
    /// it declined by choice.
    pub fn stir(&mut self) {
        self.epoch += 1;
        self.classes.stir(self.epoch);
    }

    /// Whether a worker, now, may be given to a request that it takes part for: idle, nothing shut, in reach of its owner, and all
    /// that it wants (but for the keys that the policy claimed). False for a request that is not here.
    pub fn fits(&self, request: RequestId, dense: u32) -> bool {
        let class = self.classes.slot(request).and_then(|slot| self.classes.get(slot.class));
        class.is_some_and(|class| {
            let Filter { owners, positive, negative, .. } = &class.filter;
            !self.farm_is_shut
                && self.workers.free().contains(dense)
                && self.owners.reach(*owners, dense)
                && self.offers.satisfy(positive, negative, dense)
        })
    }

    /// The dense number of a worker.
    pub fn dense(&self, worker: WorkerId) -> Option<u32> {
        self.workers.dense(worker)
    }

    /// The worker of a dense number.
    pub fn worker_of(&self, dense: u32) -> Option<WorkerId> {
        self.workers.get(dense).map(|worker| worker.id)
    }

    /// How capable a worker is by the built-in rule: capabilities and groups, counted together.
    pub fn weight(&self, dense: u32) -> Option<u32> {
        self.workers.get(dense).map(|worker| worker.weight)
    }

    /// Begins to use all that workers for `spec` are filtered by.
    fn resolve(&mut self, spec: &Spec) -> Filter {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for Clause { condition, negated } in spec.wants.clauses() {
            if !self.own_keys.contains(&*condition.key) {
                let condition = self.offers.acquire(condition);
                if negated { &mut negative } else { &mut positive }.push(condition);
            }
        }
        let anchor = self.offers.choose_anchor(&positive);
        positive.shrink_to_fit();
        negative.shrink_to_fit();
        Filter { owners: self.owners.acquire(&spec.owner.groups, &self.workers), positive, negative, anchor }
    }

    fn release(&mut self, filter: Option<Filter>) {
        if let Some(filter) = filter {
            self.offers.release(filter.positive.into_iter().chain(filter.negative));
            self.owners.release(filter.owners);
        }
    }
}
