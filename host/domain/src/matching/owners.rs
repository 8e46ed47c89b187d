//! Whom owners reach.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::slab::Slab;
use super::workers::Workers;
use crate::group::OwnerGroups;

/// Number of a set of groups that some owner has.
pub(super) type OwnersId = u32;

#[derive(Debug)]
struct Reach {
    groups: OwnerGroups,
    /// Registered workers that owners with these groups may use.
    workers: RoaringBitmap,
    /// Classes that refer to it.
    users: usize,
}

/// For each set of groups in use, the registered workers it reaches.
#[derive(Debug, Default)]
pub(super) struct Owners {
    reaches: Slab<Reach>,
    numbers: HashMap<OwnerGroups, OwnersId>,
}

impl Owners {
    pub(super) fn acquire(&mut self, groups: &OwnerGroups, workers: &Workers) -> OwnersId {
        if let Some(number) = self.numbers.get(groups)
            && let Some(reach) = self.reaches.get_mut(*number)
        {
            reach.users += 1;
            return *number;
        }
        let reached =
            workers.iter().filter(|(_, worker)| groups.may_use(&worker.groups)).map(|(dense, _)| dense);
        let mut reached: RoaringBitmap = reached.collect();
        reached.optimize();
        let number = self.reaches.insert(Reach { groups: groups.clone(), workers: reached, users: 1 });
        self.numbers.insert(groups.clone(), number);
        number
    }

    pub(super) fn release(&mut self, owners: OwnersId) {
        let Some(reach) = self.reaches.get_mut(owners) else { return };
        reach.users -= 1;
        if reach.users == 0
            && let Some(reach) = self.reaches.remove(owners)
        {
            self.numbers.remove(&reach.groups);
        }
    }

    /// A worker's groups are now these.
    pub(super) fn update(&mut self, dense: u32, groups: &[String]) {
        for reach in self.reaches.iter_mut() {
            if reach.groups.may_use(groups) {
                reach.workers.insert(dense);
            } else {
                reach.workers.remove(dense);
            }
        }
    }

    pub(super) fn remove(&mut self, dense: u32) {
        for reach in self.reaches.iter_mut() {
            reach.workers.remove(dense);
        }
    }

    pub(super) fn reach(&self, owners: OwnersId, dense: u32) -> bool {
        self.reaches.get(owners).is_some_and(|reach| reach.workers.contains(dense))
    }

    pub(super) fn reached(&self, owners: OwnersId) -> Option<&RoaringBitmap> {
        self.reaches.get(owners).map(|reach| &reach.workers)
    }
}
