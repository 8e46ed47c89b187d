//! Runs of introspection that something may still become of: those that have not ended, and of each worker the newest,
//! the newest with an inventory, and the newest with a processed one.

use std::sync::Arc;

use grove_domain::id::{IntrospectionId, WorkerId};
use grove_domain::introspection::Introspection;

/// Clones share all structure.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    by_id: imbl::OrdMap<IntrospectionId, Arc<Introspection>>,
    /// Ascending: a handful at most.
    of_worker: imbl::OrdMap<WorkerId, Arc<[IntrospectionId]>>,
    /// Of boards that may become workers.
    unknown: imbl::OrdSet<IntrospectionId>,
}

impl Runs {
    pub(super) fn by_id(&self) -> &imbl::OrdMap<IntrospectionId, Arc<Introspection>> {
        &self.by_id
    }

    /// Of this worker, the newest first.
    pub(super) fn of(&self, worker: WorkerId) -> impl Iterator<Item = &Arc<Introspection>> {
        let ids = self.of_worker.get(&worker);
        ids.into_iter().flat_map(|ids| ids.iter().rev()).filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    pub(super) fn put(&mut self, run: Arc<Introspection>) {
        let id = run.id;
        let Some(worker) = run.worker else {
            if run.state.is_terminal() {
                self.unknown.remove(&id);
                self.by_id.remove(&id);
            } else {
                self.unknown.insert(id);
                self.by_id.insert(id, run);
            }
            return;
        };
        self.unknown.remove(&id);
        self.by_id.insert(id, run);
        let mut ids = self.of_worker.get(&worker).map(|ids| ids.to_vec()).unwrap_or_default();
        if let Err(place) = ids.binary_search(&id) {
            ids.insert(place, id);
        }
        let kept = self.kept(&ids);
        for id in ids.iter().filter(|id| !kept.contains(id)) {
            self.by_id.remove(id);
        }
        self.of_worker.insert(worker, kept.into());
    }

    /// Those of one worker's runs that are kept, ascending.
    fn kept(&self, ids: &[IntrospectionId]) -> Vec<IntrospectionId> {
        let newest = |wanted: fn(&Introspection) -> bool| {
            ids.iter().rev().find(|id| self.by_id.get(*id).is_some_and(|run| wanted(run)))
        };
        let kept = [newest(|_| true), newest(|run| run.has_raw), newest(|run| run.has_processed)];
        let stays = |id: &&IntrospectionId| {
            kept.contains(&Some(*id)) || self.by_id.get(*id).is_some_and(|run| !run.state.is_terminal())
        };
        ids.iter().filter(stays).copied().collect()
    }

    pub(super) fn remove_of(&mut self, worker: WorkerId) {
        for id in self.of_worker.remove(&worker).iter().flat_map(|ids| ids.iter()) {
            self.by_id.remove(id);
        }
    }
}
