//! A store in memory, which can be told to refuse.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use grove_domain::change::{Batch, Change, Loaded};
use grove_domain::event::Event;
use grove_domain::id::{IntrospectionId, RequestId, TaskId, WorkerId};
use grove_domain::instance::Instance;
use grove_domain::introspection::{self, Findings, Introspection, Kind};
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::FarmMode;
use grove_domain::moment::Timestamp;
use grove_domain::plugin::{Digest, Plugin, PluginKind, PluginVersion};
use grove_domain::request::Request;
use grove_domain::rule::Rule;
use grove_domain::task::{Phase, Task};
use grove_domain::worker::Worker;
use parking_lot::Mutex;

use crate::ports::{Committed, EventQuery, IntrospectionQuery, Store, StoreError, TaskQuery};

/// Rows in memory, seen by one life of a controller.
#[derive(Clone, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    life: u64,
}

#[derive(Default)]
struct Rows {
    epoch: u64,
    life: u64,
    broken: Option<String>,
    /// Why batches of this epoch are refused, once one was.
    void: Option<String>,
    /// Batches on their way to disk, oldest first.
    queued: VecDeque<Queued>,
    last_queued: u64,
    latency: Duration,
    /// Commits that still succeed before the disk hangs; none = it never does.
    before_stall: Option<u64>,
    /// Whether the last commit before it hangs is stored without an answer.
    loses_answer: bool,
    lost: Vec<Committed>,
    commits: u64,
    keep_no_history: bool,
    last_event: u64,
    workers: BTreeMap<WorkerId, Arc<Worker>>,
    requests: BTreeMap<RequestId, Arc<Request>>,
    live: BTreeMap<TaskId, Arc<Task>>,
    ended: BTreeMap<TaskId, Arc<Task>>,
    plugins: BTreeMap<String, Arc<Plugin>>,
    versions: BTreeMap<(String, Digest), Arc<PluginVersion>>,
    introspections: BTreeMap<IntrospectionId, Arc<Introspection>>,
    inventories: BTreeMap<(IntrospectionId, Kind), Arc<str>>,
    findings: BTreeMap<IntrospectionId, Arc<Findings>>,
    rules: BTreeMap<u64, Arc<Rule>>,
    limits: BTreeMap<Scope, Arc<Limit>>,
    mode: Arc<FarmMode>,
    instances: Vec<Instance>,
    stopped: bool,
    events: Vec<Event>,
    last_request: u64,
    last_place: u64,
}

struct Queued {
    number: u64,
    life: u64,
    batch: Batch,
    committed: Committed,
}

impl MemoryStore {
    /// From now on every load and commit is refused with this text; none = works again.
    pub fn break_with(&self, error: Option<&str>) {
        self.rows.lock().broken = error.map(str::to_owned);
    }

    /// From now on a commit takes so long.
    pub fn take(&self, latency: Duration) {
        self.rows.lock().latency = latency;
    }

    /// After so many more commits the disk hangs: batches are neither stored nor refused until the next life. With
    /// `loses_answer`, the last of those commits is stored, but nobody learns of it.
    pub fn stall_after(&self, commits: u64, loses_answer: bool) {
        let mut rows = self.rows.lock();
        rows.before_stall = Some(commits);
        rows.loses_answer = loses_answer;
    }

    /// Whether a batch hangs.
    pub fn is_stalled(&self) -> bool {
        let rows = self.rows.lock();
        rows.before_stall == Some(0) && !(rows.queued.is_empty() && rows.lost.is_empty())
    }

    /// How often its rows were loaded.
    pub fn loads(&self) -> u64 {
        self.rows.lock().epoch
    }

    /// Batches that were stored.
    pub fn commits(&self) -> u64 {
        self.rows.lock().commits
    }

    /// From now on ended tasks and events are not kept: for measurements.
    pub fn keep_no_history(&self) {
        self.rows.lock().keep_no_history = true;
    }

    /// The same rows for the next life; the lives before it are refused everything.
    pub(super) fn next_life(&self) -> Self {
        let mut rows = self.rows.lock();
        rows.life += 1;
        rows.before_stall = None;
        Self { rows: self.rows.clone(), life: rows.life }
    }

    /// The same rows for somebody who lives at the same time.
    pub(super) fn same_life(&self) -> Self {
        let life = self.rows.lock().life;
        Self { rows: self.rows.clone(), life }
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Every stored worker.
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.rows.lock().workers.values().cloned().collect()
    }

    /// Every stored request.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.rows.lock().requests.values().cloned().collect()
    }

    /// Stored tasks that have not ended.
    pub fn live_tasks(&self) -> Vec<Arc<Task>> {
        self.rows.lock().live.values().cloned().collect()
    }

    /// Stored tasks that have ended.
    pub fn ended_tasks(&self) -> Vec<Arc<Task>> {
        self.rows.lock().ended.values().cloned().collect()
    }

    /// Every stored plugin.
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.rows.lock().plugins.values().cloned().collect()
    }

    /// Every stored version of a plugin.
    pub fn plugin_versions(&self) -> Vec<Arc<PluginVersion>> {
        self.rows.lock().versions.values().cloned().collect()
    }

    /// Every stored run of introspection.
    pub fn introspections(&self) -> Vec<Arc<Introspection>> {
        self.rows.lock().introspections.values().cloned().collect()
    }

    /// What is stored of the inventory of a run.
    pub fn inventory_of(&self, run: IntrospectionId, kind: Kind) -> Option<Arc<str>> {
        self.rows.lock().inventories.get(&(run, kind)).cloned()
    }

    /// Every stored rule.
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        self.rows.lock().rules.values().cloned().collect()
    }

    /// Every stored limit.
    pub fn limits(&self) -> Vec<Arc<Limit>> {
        self.rows.lock().limits.values().cloned().collect()
    }

    /// The stored mode.
    pub fn mode(&self) -> Arc<FarmMode> {
        self.rows.lock().mode.clone()
    }

    /// Every stored instance, by incarnation.
    pub fn instances(&self) -> Vec<Instance> {
        self.rows.lock().instances.clone()
    }

    /// Every stored event.
    pub fn all_events(&self) -> Vec<Event> {
        self.rows.lock().events.clone()
    }
}

impl Rows {
    fn ready(&self, life: u64) -> Result<(), StoreError> {
        if life != self.life {
            return Err(StoreError("this controller is dead".to_owned()));
        }
        self.broken.clone().map_or(Ok(()), |error| Err(StoreError(error)))
    }

    fn commit(&mut self, batch: Batch, life: u64) -> Result<(), StoreError> {
        self.ready(life)?;
        if batch.epoch != self.epoch {
            return Err(StoreError("a batch of an older load".to_owned()));
        }
        if let Some(void) = &self.void {
            return Err(StoreError(void.clone()));
        }
        for event in batch.events {
            assert_eq!(event.seq, self.last_event + 1, "events are a sequence");
            self.last_event = event.seq;
            if !self.keep_no_history {
                self.events.push(event);
            }
        }
        self.check_found(&batch.changes);
        for change in batch.changes {
            self.change(change);
        }
        self.check_plugins();
        self.commits += 1;
        Ok(())
    }

    /// Commits what is queued, up to this number; what to tell whom.
    fn commit_queued(&mut self, up_to: u64) -> Vec<(Committed, Result<(), StoreError>)> {
        let mut done = Vec::new();
        while self.queued.front().is_some_and(|queued| queued.number <= up_to) && self.before_stall != Some(0)
        {
            let Some(Queued { life, batch, committed, .. }) = self.queued.pop_front() else { break };
            let epoch = batch.epoch;
            let result = self.commit(batch, life);
            if let (Err(error), true) = (&result, epoch == self.epoch && life == self.life) {
                self.void = Some(error.0.clone());
            }
            if let (Ok(()), Some(left)) = (&result, &mut self.before_stall) {
                *left -= 1;
                if *left == 0 && self.loses_answer {
                    self.lost.push(committed);
                    break;
                }
            }
            done.push((committed, result));
        }
        done
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::PutWorker(worker) => {
                let before = self.workers.insert(worker.id, worker.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, worker.revision, "{worker:?}");
            }
            Change::RemoveWorker(id) => self.remove_worker(id),
            Change::PutIntrospection(run) => self.put_introspection(run),
            Change::PutInventory(run, kind, inventory) => {
                assert!(self.introspections.contains_key(&run), "{run}");
                self.inventories.insert((run, kind), inventory);
            }
            Change::PutFindings(run, findings) => {
                assert!(self.introspections.contains_key(&run), "{run}");
                self.findings.insert(run, findings);
            }
            Change::PutRule(rule) => assert_eq!(self.rules.insert(rule.place, rule), None, "written once"),
            Change::RemoveRule(id) => self.rules.retain(|_, rule| rule.id != id),
            Change::PutRequest(request) => {
                self.last_request = self.last_request.max(request.id.0);
                self.last_place = self.last_place.max(request.place);
                let before = self.requests.insert(request.id, request.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, request.revision, "{request:?}");
            }
            Change::RemoveRequest(id) => drop(self.requests.remove(&id)),
            Change::PutTask(task) => self.put_task(task),
            Change::RemoveTask(id) => drop(self.ended.remove(&id)),
            Change::PutPlugin(plugin) => {
                let before = self.plugins.insert(plugin.name.clone(), plugin.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, plugin.revision, "{plugin:?}");
                let policies = self.plugins.values().filter(|plugin| plugin.kind == PluginKind::Policy);
                assert!(policies.filter(|policy| policy.enabled).count() <= 1, "{plugin:?}");
            }
            Change::RemovePlugin(name) => assert!(self.plugins.remove(&name).is_some(), "{name}"),
            Change::PutPluginVersion(version) => {
                let before = self.versions.insert((version.name.clone(), version.digest), version);
                assert_eq!(before, None, "written once");
            }
            Change::RemovePluginVersion(name, digest) => {
                let pinned = |worker: &&Arc<Worker>| {
                    worker.registration.driver == name && worker.driver_version == Some(digest)
                };
                assert_eq!(self.workers.values().find(pinned), None, "pinned to what is removed");
                assert!(self.versions.remove(&(name, digest)).is_some());
            }
            Change::PutLimit(limit) => {
                let before = self.limits.insert(limit.scope.clone(), limit.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, limit.revision, "{limit:?}");
            }
            Change::PutMode(mode) => {
                assert_eq!(self.mode.revision + 1, mode.revision, "{mode:?}");
                self.mode = mode;
            }
            Change::PutInstance(instance) => {
                let known = self.instances.iter_mut().find(|known| known.id == instance.id);
                if let Some(known) = known {
                    *known = *instance;
                }
            }
            Change::Stopped => self.stopped = true,
        }
    }
}

impl Rows {
    /// As the schema does at the end of each transaction.
    fn check_plugins(&self) {
        for plugin in self.plugins.values() {
            for used in plugin.active.into_iter().chain(plugin.previous) {
                assert!(self.versions.contains_key(&(plugin.name.clone(), used)), "{plugin:?}");
            }
        }
        assert!(self.versions.keys().all(|(name, _)| self.plugins.contains_key(name)));
    }

    /// What introspection found changes only in one batch with the end of the run that found it.
    fn check_found(&self, changes: &[Change]) {
        let mut found: BTreeMap<WorkerId, _> = BTreeMap::new();
        for change in changes {
            if let Change::RemoveWorker(id) = change {
                found.insert(*id, Arc::default());
            }
            let Change::PutWorker(worker) = change else { continue };
            let stored =
                self.workers.get(&worker.id).map(|stored| stored.capabilities.introspected().clone());
            let before = found.get(&worker.id).cloned().or(stored).unwrap_or_default();
            let now = worker.capabilities.introspected();
            let finished = |change: &Change| {
                matches!(change, Change::PutIntrospection(run)
                    if run.worker == Some(worker.id) && run.state == introspection::State::Finished)
            };
            assert!(before == *now || changes.iter().any(finished), "{worker:?}");
            found.insert(worker.id, now.clone());
        }
    }

    /// As the schema does where a task that starts is written.
    fn check_start(&self, before: Option<&Task>, task: &Task) {
        let runs = |task: &Task| task.status.phase == Phase::Running;
        if !runs(task) || before.is_some_and(runs) {
            return;
        }
        let others = || self.live.values().filter(|other| runs(other));
        assert!(
            others().all(|other| other.spec.worker != task.spec.worker),
            "two run on one worker: {task:?}"
        );
        for limit in self.limits.values().filter(|limit| limit.value.is_some()) {
            let counts = |other: &Task| match &limit.scope {
                Scope::Farm => true,
                Scope::Driver(name) => other.spec.driver == *name,
                Scope::Host(name) => other.spec.host.as_ref() == Some(name),
            };
            let running = others().filter(|other| counts(other)).count();
            // Counted here once more, not by the rule that is tested.
            let most = limit.value.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let allowed = !counts(task) || running < most;
            assert!(allowed, "{running} run, and {limit:?}: {task:?}");
        }
    }

    fn remove_worker(&mut self, id: WorkerId) {
        self.workers.remove(&id);
        self.introspections.retain(|_, run| run.worker != Some(id));
        let kept = &self.introspections;
        self.inventories.retain(|(run, _), _| kept.contains_key(run));
        self.findings.retain(|run, _| kept.contains_key(run));
    }

    /// As the schema does where a run is written.
    fn put_introspection(&mut self, run: Arc<Introspection>) {
        let before = self.introspections.insert(run.id, run.clone());
        assert_eq!(before.map_or(0, |before| before.revision) + 1, run.revision, "{run:?}");
        assert_eq!(run.finished.is_some(), run.state.is_terminal(), "{run:?}");
        assert!(run.state != introspection::State::Error || run.error.is_some(), "{run:?}");
        assert!(run.worker.is_none_or(|worker| self.workers.contains_key(&worker)), "{run:?}");
        let live = |other: &&Arc<Introspection>| !other.state.is_terminal() && other.worker == run.worker;
        let of_worker = self.introspections.values().filter(live).count();
        assert!(run.worker.is_none() || of_worker <= 1, "two runs of one worker: {run:?}");
    }

    /// As [`Loaded::introspections`] says.
    fn kept_introspections(&self) -> Vec<Introspection> {
        let newest = |run: &Introspection, wanted: fn(&Introspection) -> bool| {
            let of_worker = |other: &&Arc<Introspection>| other.worker == run.worker && wanted(other);
            self.introspections.values().rev().find(of_worker).is_some_and(|newest| newest.id == run.id)
        };
        let kept = |run: &&Arc<Introspection>| {
            let some = newest(run, |_| true)
                || newest(run, |run| run.has_raw)
                || newest(run, |run| run.has_processed);
            !run.state.is_terminal() || run.worker.is_some() && some
        };
        self.introspections.values().filter(kept).map(|run| Introspection::clone(run)).collect()
    }

    fn put_task(&mut self, task: Arc<Task>) {
        let before = self.live.remove(&task.id);
        self.check_start(before.as_deref(), &task);
        assert!(!self.ended.contains_key(&task.id), "it has ended: {task:?}");
        assert_eq!(before.map_or(0, |before| before.revision) + 1, task.revision, "{task:?}");
        if !task.status.phase.is_terminal() {
            self.live.insert(task.id, task);
        } else if !self.keep_no_history {
            self.ended.insert(task.id, task);
        }
    }
}

impl Store for MemoryStore {
    fn load(&self, instance: Instance) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let mut rows = self.rows.lock();
        if let Err(error) = rows.ready(self.life) {
            return ready(Err(error)).boxed();
        }
        let newest = rows.instances.last().map_or(0, |last| last.incarnation);
        match rows.instances.iter_mut().find(|known| known.id == instance.id) {
            Some(known) if known.incarnation < newest => {
                let superseded_by = rows.instances.last().copied();
                return ready(Ok(Loaded { superseded_by, ..Loaded::default() })).boxed();
            }
            Some(known) => *known = Instance { heartbeat: instance.heartbeat, ended: None, ..*known },
            None => rows.instances.push(Instance { incarnation: newest + 1, ..instance }),
        }
        rows.epoch += 1;
        rows.void = None;
        let loaded = Loaded {
            epoch: rows.epoch,
            workers: rows.workers.values().map(|worker| Worker::clone(worker)).collect(),
            requests: rows.requests.values().map(|request| Request::clone(request)).collect(),
            plugins: rows.plugins.values().map(|plugin| Plugin::clone(plugin)).collect(),
            plugin_versions: rows.versions.values().map(|version| PluginVersion::clone(version)).collect(),
            introspections: rows.kept_introspections(),
            rules: rows.rules.values().map(|rule| Rule::clone(rule)).collect(),
            limits: rows.limits.values().map(|limit| Limit::clone(limit)).collect(),
            mode: FarmMode::clone(&rows.mode),
            instances: rows.instances.clone(),
            superseded_by: None,
            stopped: std::mem::take(&mut rows.stopped),
            live_tasks: rows.live.values().map(|task| Task::clone(task)).collect(),
            last_request: rows.last_request,
            last_place: rows.last_place,
            last_event: rows.last_event,
        };
        ready(Ok(loaded)).boxed()
    }

    fn commit(&self, batch: Batch, committed: Committed) {
        let (number, latency) = {
            let mut rows = self.rows.lock();
            rows.last_queued += 1;
            let number = rows.last_queued;
            rows.queued.push_back(Queued { number, life: self.life, batch, committed });
            (number, rows.latency)
        };
        let rows = self.rows.clone();
        let commit = move || {
            let done = rows.lock().commit_queued(number);
            for (committed, result) in done {
                committed(result);
            }
        };
        if latency.is_zero() {
            commit();
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(latency).await;
                commit();
            });
        }
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'static, Result<Vec<Task>, StoreError>> {
        let rows = self.rows.lock();
        let mut tasks: Vec<&Arc<Task>> = rows.live.values().chain(rows.ended.values()).collect();
        tasks.sort_unstable_by_key(|task| std::cmp::Reverse(task.id));
        let tasks = tasks
            .into_iter()
            .filter(|task| query.before.is_none_or(|before| task.id < before))
            .filter(|task| query.worker.is_none_or(|worker| task.spec.worker == worker))
            .filter(|task| query.request.is_none_or(|request| task.spec.request == Some(request)))
            .filter(|task| query.kind.is_none_or(|kind| task.spec.kind == kind))
            .filter(|task| query.phase.is_none_or(|phase| task.status.phase == phase))
            .take(query.limit)
            .map(|task| Task::clone(task))
            .collect();
        ready(Ok(tasks)).boxed()
    }

    fn task(&self, id: TaskId) -> BoxFuture<'static, Result<Option<Task>, StoreError>> {
        let rows = self.rows.lock();
        let task = rows.live.get(&id).or_else(|| rows.ended.get(&id)).map(|task| Task::clone(task));
        ready(Ok(task)).boxed()
    }

    fn introspections(
        &self,
        query: IntrospectionQuery,
    ) -> BoxFuture<'static, Result<Vec<Introspection>, StoreError>> {
        let rows = self.rows.lock();
        let runs = rows.introspections.values().rev();
        let runs = runs
            .filter(|run| query.before.is_none_or(|before| run.id < before))
            .filter(|run| query.worker.is_none_or(|worker| run.worker == Some(worker)))
            .filter(|run| query.state.is_none_or(|state| run.state == state))
            .take(query.limit)
            .map(|run| Introspection::clone(run))
            .collect();
        ready(Ok(runs)).boxed()
    }

    fn introspection(
        &self,
        id: IntrospectionId,
    ) -> BoxFuture<'static, Result<Option<Introspection>, StoreError>> {
        let run = self.rows.lock().introspections.get(&id).map(|run| Introspection::clone(run));
        ready(Ok(run)).boxed()
    }

    fn inventory(
        &self,
        id: IntrospectionId,
        kind: Kind,
    ) -> BoxFuture<'static, Result<Option<Arc<str>>, StoreError>> {
        let rows = self.rows.lock();
        let answer = rows.ready(self.life).map(|()| rows.inventories.get(&(id, kind)).cloned());
        ready(answer).boxed()
    }

    fn findings(&self, id: IntrospectionId) -> BoxFuture<'static, Result<Option<Findings>, StoreError>> {
        let found = self.rows.lock().findings.get(&id).map(|found| Findings::clone(found));
        ready(Ok(found)).boxed()
    }

    fn events(&self, query: EventQuery) -> BoxFuture<'static, Result<Vec<Event>, StoreError>> {
        let rows = self.rows.lock();
        let mut all: Vec<&Event> = rows.events.iter().collect();
        if query.newest_first {
            all.reverse();
        }
        let events = all
            .into_iter()
            .filter(|event| event.seq > query.after)
            .filter(|event| query.before.is_none_or(|before| event.seq < before))
            .filter(|event| query.subject.as_ref().is_none_or(|subject| event.subject == *subject))
            .filter(|event| query.kind.as_ref().is_none_or(|kind| event.kind == *kind))
            .take(query.limit)
            .cloned()
            .collect();
        ready(Ok(events)).boxed()
    }

    fn prune(&self, _before: Timestamp) -> BoxFuture<'static, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }
}
