//! The farm as last committed: a consistent snapshot that costs nothing to take and never waits for a write.

mod places;
mod runs;

use std::sync::Arc;

use grove_domain::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use grove_domain::introspection::Introspection;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::FarmMode;
use grove_domain::plugin::{Digest, Plugin, PluginKind, PluginVersion};
use grove_domain::request::{self, Priority, Request};
use grove_domain::rule::Rule;
use grove_domain::task::{Phase, Task};
use grove_domain::worker::Worker;
pub use places::Places;
use runs::Runs;

/// A snapshot. Clones share all structure.
#[derive(Clone, Debug, Default)]
pub struct Farm {
    workers: imbl::OrdMap<WorkerId, Arc<Worker>>,
    /// By number, ascending: ranks and pages come from places in the vector.
    requests: imbl::Vector<Arc<Request>>,
    /// Waiting requests of each priority as (place, number), ascending.
    queue: [imbl::Vector<(u64, RequestId)>; Priority::MAX as usize],
    tasks: imbl::HashMap<TaskId, Arc<Task>>,
    plugins: imbl::OrdMap<String, Arc<Plugin>>,
    plugin_versions: imbl::OrdMap<(String, Digest), Arc<PluginVersion>>,
    runs: Runs,
    /// By place.
    rules: imbl::OrdMap<u64, Arc<Rule>>,
    limits: imbl::OrdMap<Scope, Arc<Limit>>,
    mode: Arc<FarmMode>,
    last_event: u64,
}

impl Farm {
    /// Workers by uuid.
    pub fn workers(&self) -> &imbl::OrdMap<WorkerId, Arc<Worker>> {
        &self.workers
    }

    /// One worker.
    pub fn worker(&self, id: WorkerId) -> Option<&Arc<Worker>> {
        self.workers.get(&id)
    }

    /// Requests by number, ascending.
    pub fn requests(&self) -> &imbl::Vector<Arc<Request>> {
        &self.requests
    }

    /// One request.
    pub fn request(&self, id: RequestId) -> Option<&Arc<Request>> {
        self.rank(id).ok().and_then(|rank| self.requests.get(rank))
    }

    /// Place of a request in [`Self::requests`], or where it would be.
    pub fn rank(&self, id: RequestId) -> Result<usize, usize> {
        // Numbers are dense but for what retention took away: mostly the distance to the first one is the place, and
        // a new one comes after the last.
        let Some((first, last)) = self.requests.front().zip(self.requests.back()) else { return Err(0) };
        if id > last.id {
            return Err(self.requests.len());
        }
        let distance = id.0.checked_sub(first.id.0).and_then(|distance| usize::try_from(distance).ok());
        match distance.and_then(|place| Some((place, self.requests.get(place)?))) {
            Some((place, request)) if request.id == id => Ok(place),
            _ => self.requests.binary_search_by_key(&id, |request| request.id),
        }
    }

    /// Place in the whole queue, from 1; none when it does not wait.
    pub fn position(&self, request: &Request) -> Option<usize> {
        if request.state != request::State::Waiting || request.reserved.is_some() {
            return None;
        }
        let lane = lane_of(request.priority);
        let before: usize = self.queue.iter().take(lane).map(imbl::Vector::len).sum();
        let place = self.queue.get(lane)?.binary_search(&(request.place, request.id)).ok()?;
        Some(before + place + 1)
    }

    /// How many requests wait for a match.
    pub fn waiting(&self) -> usize {
        self.queue.iter().map(imbl::Vector::len).sum()
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> &imbl::HashMap<TaskId, Arc<Task>> {
        &self.tasks
    }

    /// Plugins by name.
    pub fn plugins(&self) -> &imbl::OrdMap<String, Arc<Plugin>> {
        &self.plugins
    }

    /// One plugin.
    pub fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.get(name)
    }

    /// The policy that is enabled; none = the built-in rule decides.
    pub fn policy(&self) -> Option<&Arc<Plugin>> {
        self.plugins.values().find(|plugin| plugin.kind == PluginKind::Policy && plugin.enabled)
    }

    /// Installed versions by name and digest.
    pub fn plugin_versions(&self) -> &imbl::OrdMap<(String, Digest), Arc<PluginVersion>> {
        &self.plugin_versions
    }

    /// Installed versions of one plugin, by digest.
    pub fn versions_of(&self, name: &str) -> impl Iterator<Item = &Arc<PluginVersion>> {
        let first = (name.to_owned(), Digest::new([0; Digest::BYTES]));
        let last = (name.to_owned(), Digest::new([u8::MAX; Digest::BYTES]));
        self.plugin_versions.range(first..=last).map(|(_, version)| version)
    }

    /// Runs of introspection that something may still become of, by id: those that have not ended, and of each worker the
    /// newest, the newest with an inventory, and the newest with a processed one.
    pub fn introspections(&self) -> &imbl::OrdMap<IntrospectionId, Arc<Introspection>> {
        self.runs.by_id()
    }

    /// One of these runs. What is not among them is in the store, or nowhere.
    pub fn introspection(&self, id: IntrospectionId) -> Option<&Arc<Introspection>> {
        self.runs.by_id().get(&id)
    }

    /// The newest run of a worker.
    pub fn newest_introspection(&self, worker: WorkerId) -> Option<&Arc<Introspection>> {
        self.runs.of(worker).next()
    }

    /// The run of a worker that has not ended. There is one at most.
    pub fn live_introspection(&self, worker: WorkerId) -> Option<&Arc<Introspection>> {
        self.runs.of(worker).find(|run| !run.state.is_terminal())
    }

    /// The newest run of a worker that has an inventory.
    pub fn latest_inventory(&self, worker: WorkerId) -> Option<&Arc<Introspection>> {
        self.runs.of(worker).find(|run| run.has_raw)
    }

    /// Whether a run of the worker ever ended well.
    pub fn was_introspected(&self, worker: WorkerId) -> bool {
        self.runs.of(worker).any(|run| run.has_processed)
    }

    /// Of how many boards it is not decided whether they become workers.
    pub fn enrolling(&self) -> usize {
        self.runs.unknown()
    }

    /// Rules in their order.
    pub fn rules(&self) -> impl DoubleEndedIterator<Item = &Arc<Rule>> + ExactSizeIterator {
        self.rules.values()
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.rules.values().find(|rule| rule.id == id)
    }

    /// Limits on running tasks that were ever set, by scope.
    pub fn limits(&self) -> &imbl::OrdMap<Scope, Arc<Limit>> {
        &self.limits
    }

    /// One limit; none = unlimited, and never set.
    pub fn limit(&self, scope: &Scope) -> Option<&Arc<Limit>> {
        self.limits.get(scope)
    }

    /// How many tasks run in a scope. Looks at every live task.
    pub fn running_in(&self, scope: &Scope) -> usize {
        let counts = |task: &&Arc<Task>| match scope {
            Scope::Farm => true,
            Scope::Driver(name) => task.spec.driver == *name,
            Scope::Host(name) => task.spec.host.as_ref() == Some(name),
        };
        self.tasks.values().filter(|task| task.status.phase == Phase::Running).filter(counts).count()
    }

    /// The farm's mode.
    pub fn mode(&self) -> &Arc<FarmMode> {
        &self.mode
    }

    pub(crate) fn put_introspection(&mut self, run: Arc<Introspection>) {
        self.runs.put(run);
    }

    pub(crate) fn put_rule(&mut self, rule: Arc<Rule>) {
        self.rules.insert(rule.place, rule);
    }

    pub(crate) fn remove_rule(&mut self, rule: &Rule) {
        self.rules.remove(&rule.place);
    }

    pub(crate) fn put_limit(&mut self, limit: Arc<Limit>) {
        self.limits.insert(limit.scope.clone(), limit);
    }

    pub(crate) fn set_mode(&mut self, mode: Arc<FarmMode>) {
        self.mode = mode;
    }

    /// The last event of this snapshot.
    pub fn last_event(&self) -> u64 {
        self.last_event
    }

    pub(crate) fn set_last_event(&mut self, seq: u64) {
        self.last_event = seq;
    }

    pub(crate) fn put_worker(&mut self, worker: Arc<Worker>) {
        self.workers.insert(worker.id, worker);
    }

    pub(crate) fn remove_worker(&mut self, id: WorkerId) {
        self.workers.remove(&id);
        self.runs.remove_of(id);
    }

    pub(crate) fn put_plugin(&mut self, plugin: Arc<Plugin>) {
        self.plugins.insert(plugin.name.clone(), plugin);
    }

    pub(crate) fn remove_plugin(&mut self, name: &str) {
        self.plugins.remove(name);
    }

    pub(crate) fn put_version(&mut self, version: Arc<PluginVersion>) {
        self.plugin_versions.insert((version.name.clone(), version.digest), version);
    }

    pub(crate) fn remove_version(&mut self, name: &str, digest: Digest) {
        self.plugin_versions.remove(&(name.to_owned(), digest));
    }

    pub(crate) fn put_task(&mut self, task: Arc<Task>) {
        if task.status.phase.is_terminal() {
            self.tasks.remove(&task.id);
        } else {
            self.tasks.insert(task.id, task);
        }
    }

    pub(crate) fn put_request(&mut self, request: Arc<Request>) {
        match self.rank(request.id) {
            Ok(rank) => {
                let before = self.requests.set(rank, request.clone());
                self.leave_queue(&before);
            }
            Err(rank) if rank == self.requests.len() => self.requests.push_back(request.clone()),
            Err(rank) => self.requests.insert(rank, request.clone()),
        }
        self.join_queue(&request);
    }

    pub(crate) fn remove_request(&mut self, id: RequestId) {
        if let Ok(rank) = self.rank(id) {
            let request = self.requests.remove(rank);
            self.leave_queue(&request);
        }
    }

    fn join_queue(&mut self, request: &Request) {
        if request.state != request::State::Waiting || request.reserved.is_some() {
            return;
        }
        let key = (request.place, request.id);
        let Some(lane) = self.queue.get_mut(lane_of(request.priority)) else { return };
        if lane.back().is_none_or(|last| *last < key) {
            return lane.push_back(key);
        }
        if let Err(place) = lane.binary_search(&key) {
            lane.insert(place, key);
        }
    }

    fn leave_queue(&mut self, request: &Request) {
        let Some(lane) = self.queue.get_mut(lane_of(request.priority)) else { return };
        if let Ok(place) = lane.binary_search(&(request.place, request.id)) {
            lane.remove(place);
        }
    }
}

fn lane_of(priority: Priority) -> usize {
    usize::from(priority.get() - Priority::MIN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grove_domain::group::{Owner, OwnerGroups};
    use grove_domain::moment::Timestamp;
    use grove_domain::request::{Bounds, Context, Create, Spec};
    use grove_domain::wants::Wants;

    use super::*;

    fn request(id: u64) -> Arc<Request> {
        let spec = Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::Exact(None),
            length: None,
            keys: Vec::new(),
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
            idempotency: None,
        };
        let wish = Create { spec, priority: 8, valid_after: None, deadline: None };
        let bounds = Bounds::default();
        let context = Context { now: Timestamp::UNIX_EPOCH, actor: "ann", tail: id, bounds: &bounds };
        Arc::new(request::create(RequestId(id), wish, context).unwrap())
    }

    #[test]
    fn places_are_those_of_a_sorted_list_with_and_without_gaps() {
        for ids in [vec![], vec![7], (5..30).collect::<Vec<u64>>(), vec![5, 6, 9, 10, 30]] {
            let mut farm = Farm::default();
            // Also in an order in which they do not come.
            for id in ids.iter().rev().step_by(2).chain(ids.iter().rev().skip(1).step_by(2)) {
                farm.put_request(request(*id));
            }
            let mut kept = ids.clone();
            loop {
                for id in 0..40 {
                    assert_eq!(farm.rank(RequestId(id)), kept.binary_search(&id), "{id} of {kept:?}");
                }
                for (place, id) in kept.iter().enumerate() {
                    assert_eq!(farm.position(farm.request(RequestId(*id)).unwrap()), Some(place + 1));
                }
                if kept.is_empty() {
                    break;
                }
                farm.remove_request(RequestId(kept.remove(kept.len() / 2)));
            }
            assert_eq!(farm.waiting(), 0);
        }
    }
}
