//! Which tasks may start: what is taken of the limits, who waits, and who is next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use grove_domain::id::{TaskId, WorkerId};
use grove_domain::limit::{Limit, Scope};
use grove_domain::moment::Timestamp;
use grove_domain::task::{Phase, Task, TaskKind, TaskSpec};

/// Derived from the farm's rows, but for tasks that are over on record while their drivers are still ending: these
/// count until they are really gone.
#[derive(Default)]
pub(super) struct Slots {
    /// Limits that limit.
    limits: HashMap<Scope, Arc<Limit>>,
    farm: u32,
    drivers: HashMap<String, u32>,
    hosts: HashMap<String, u32>,
    winding: HashMap<WorkerId, (TaskId, Arc<TaskSpec>)>,
    waiting: BTreeMap<Group, BTreeSet<Place>>,
    /// Jobs that are to be opened and wait, by what they will count for.
    promised: HashMap<Scope, u32>,
    /// What nothing is begun in, because the farm is short of something; for the farm: no job.
    held: BTreeSet<Scope>,
    /// Where no job can be opened, as matching knows.
    shut: BTreeSet<Scope>,
    /// Where that may have changed.
    dirty: BTreeSet<Scope>,
    /// Something changed since nobody could start.
    changed: bool,
}

/// Tasks that the same limits and modes hold back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    winds_down: bool,
    driver: String,
    host: Option<String>,
}

/// Who goes first: users.
const OPEN: u8 = 0;

/// Class, then age.
type Place = (u8, Timestamp, TaskId);

fn place_of(task: &Task) -> (Group, Place) {
    let spec = &task.spec;
    let group = Group { winds_down: spec.winds_down(), driver: spec.driver.clone(), host: spec.host.clone() };
    (group, (spec.kind.class(), spec.queued, task.id))
}

impl Slots {
    pub(super) fn put_limit(&mut self, limit: &Arc<Limit>) {
        self.changed = true;
        match limit.value {
            Some(_) => self.limits.insert(limit.scope.clone(), limit.clone()),
            None => self.limits.remove(&limit.scope),
        };
        self.dirty.insert(limit.scope.clone());
    }

    /// Nothing is begun there because of a shortage, or everything again.
    pub(super) fn hold(&mut self, scope: &Scope, held: bool) {
        if held {
            self.held.insert(scope.clone());
        } else {
            self.held.remove(scope);
        }
        self.changed = true;
        self.dirty.insert(scope.clone());
    }

    /// Whether nothing of this driver is begun because of a shortage.
    pub(super) fn is_held(&self, driver: &str) -> bool {
        !self.held.is_empty() && self.held.contains(&Scope::Driver(driver.to_owned()))
    }

    /// Where no job can be opened any more (true) or can again (false), since this was last asked.
    pub(super) fn shut_changes(&mut self) -> Vec<(Scope, bool)> {
        let mut changes = Vec::new();
        for scope in std::mem::take(&mut self.dirty) {
            let promised = self.promised.get(&scope).copied().unwrap_or_default();
            let counted = self.taken(&scope).saturating_add(promised);
            let full = self.limits.get(&scope).is_some_and(|limit| !limit.allows(counted));
            let shut = full || self.held.contains(&scope);
            let changed = if shut { self.shut.insert(scope.clone()) } else { self.shut.remove(&scope) };
            if changed {
                changes.push((scope, shut));
            }
        }
        changes
    }

    /// How many more jobs may be opened at once, as far as the limit of the farm tells.
    pub(super) fn room(&self) -> Option<u32> {
        let left = |limit: &Arc<Limit>| {
            let promised = self.promised.get(&limit.scope).copied().unwrap_or_default();
            let counted = self.taken(&limit.scope).saturating_add(promised);
            limit.value.map(|most| most.saturating_sub(counted))
        };
        self.limits.get(&Scope::Farm).and_then(left)
    }

    /// Jobs that were to be opened, and cannot be for now.
    pub(super) fn stuck(&self) -> Vec<TaskId> {
        let full = |group: &Group| {
            self.is_held(&group.driver) || self.full(&group.driver, group.host.as_deref()).is_some()
        };
        let groups = self.waiting.iter().filter(|(group, _)| full(group));
        let opens = groups.flat_map(|(_, places)| places.iter().take_while(|place| place.0 == OPEN));
        opens.map(|place| place.2).collect()
    }

    /// Who was held back may be let go.
    pub(super) fn look_again(&mut self) {
        self.changed = true;
    }

    /// Whether no limit holds anything back.
    pub(super) fn are_free(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether an earlier task of this worker is still ending.
    pub(super) fn is_winding(&self, worker: WorkerId) -> bool {
        self.winding.contains_key(&worker)
    }

    /// Follows a task's row from one phase to the next. `ending`: its driver is still at work.
    pub(super) fn follow(&mut self, before: Option<Phase>, task: &Task, ending: bool) {
        let after = task.status.phase;
        let waits = |phase: Phase| phase == Phase::Waiting && task.spec.kind == TaskKind::Open;
        match (before.is_some_and(waits), waits(after)) {
            (false, true) => self.count_promised(&task.spec, true),
            (true, false) => self.count_promised(&task.spec, false),
            _ => {}
        }
        if before == Some(Phase::Waiting) && after != Phase::Waiting {
            self.leave(task);
        }
        if before != Some(Phase::Running) && after == Phase::Running {
            self.take(&task.spec);
        }
        if before == Some(Phase::Running) && after.is_terminal() {
            if ending {
                self.winding_down(task.id, task.spec.clone());
            } else {
                self.release(&task.spec);
            }
        }
    }

    /// A task that nobody counts yet is still ending.
    pub(super) fn count_winding(&mut self, task: TaskId, spec: Arc<TaskSpec>) {
        self.take(&spec);
        self.winding_down(task, spec);
    }

    fn count_promised(&mut self, spec: &TaskSpec, more: bool) {
        for scope in scopes_of(spec) {
            let count = self.promised.entry(scope.clone()).or_default();
            *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
            if *count == 0 {
                self.promised.remove(&scope);
            }
        }
        self.touch(spec);
    }

    /// Without a limit nothing depends on what is counted.
    fn touch(&mut self, spec: &TaskSpec) {
        if !self.limits.is_empty() {
            self.dirty.extend(scopes_of(spec));
        }
    }

    fn winding_down(&mut self, task: TaskId, spec: Arc<TaskSpec>) {
        if let Some((_, earlier)) = self.winding.insert(spec.worker, (task, spec)) {
            self.release(&earlier);
        }
    }

    /// A task has really ended; whether it was still counted.
    pub(super) fn gone(&mut self, worker: WorkerId, task: TaskId) -> bool {
        if self.winding.get(&worker).is_none_or(|(winding, _)| *winding != task) {
            return false;
        }
        if let Some((_, spec)) = self.winding.remove(&worker) {
            self.release(&spec);
        }
        true
    }

    pub(super) fn wait(&mut self, task: &Task) {
        let (group, place) = place_of(task);
        self.waiting.entry(group).or_default().insert(place);
        self.changed = true;
    }

    fn leave(&mut self, task: &Task) {
        if self.waiting.is_empty() {
            return;
        }
        let (group, place) = place_of(task);
        self.remove(&group, &place);
    }

    fn remove(&mut self, group: &Group, place: &Place) {
        if let Some(places) = self.waiting.get_mut(group) {
            places.remove(place);
            if places.is_empty() {
                self.waiting.remove(group);
            }
        }
    }

    /// The next that may start: it waits no more.
    pub(super) fn next(&mut self, only_winding_down: bool) -> Option<TaskId> {
        if !self.changed {
            return None;
        }
        let open = |group: &Group| {
            (group.winds_down || !only_winding_down)
                && !self.is_held(&group.driver)
                && self.full(&group.driver, group.host.as_deref()).is_none()
        };
        let heads = self.waiting.iter().filter(|(group, _)| open(group));
        let first = heads.filter_map(|(group, places)| Some((*places.first()?, group))).min();
        let Some((place, group)) = first.map(|(place, group)| (place, group.clone())) else {
            self.changed = false;
            return None;
        };
        self.remove(&group, &place);
        Some(place.2)
    }

    /// The limit that lets no more such tasks start.
    pub(super) fn full(&self, driver: &str, host: Option<&str>) -> Option<&Arc<Limit>> {
        if self.limits.is_empty() {
            return None;
        }
        let full =
            |scope: Scope, running: u32| self.limits.get(&scope).filter(|limit| !limit.allows(running));
        let count = |of: &HashMap<String, u32>, name: &str| of.get(name).copied().unwrap_or(0);
        full(Scope::Farm, self.farm)
            .or_else(|| full(Scope::Driver(driver.to_owned()), count(&self.drivers, driver)))
            .or_else(|| host.and_then(|host| full(Scope::Host(host.to_owned()), count(&self.hosts, host))))
    }

    /// How many count for a scope.
    pub(super) fn taken(&self, scope: &Scope) -> u32 {
        match scope {
            Scope::Farm => self.farm,
            Scope::Driver(name) => self.drivers.get(name).copied().unwrap_or(0),
            Scope::Host(name) => self.hosts.get(name).copied().unwrap_or(0),
        }
    }

    fn take(&mut self, spec: &TaskSpec) {
        self.farm += 1;
        add(&mut self.drivers, &spec.driver);
        if let Some(host) = &spec.host {
            add(&mut self.hosts, host);
        }
        self.touch(spec);
    }

    fn release(&mut self, spec: &TaskSpec) {
        self.farm = self.farm.saturating_sub(1);
        subtract(&mut self.drivers, &spec.driver);
        if let Some(host) = &spec.host {
            subtract(&mut self.hosts, host);
        }
        self.changed = true;
        self.touch(spec);
    }
}

/// What a task counts for.
fn scopes_of(spec: &TaskSpec) -> impl Iterator<Item = Scope> {
    let host = spec.host.clone().map(Scope::Host);
    [Scope::Farm, Scope::Driver(spec.driver.clone())].into_iter().chain(host)
}

fn add(counts: &mut HashMap<String, u32>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

/// Names stay at 0: there are as many as drivers and hosts.
fn subtract(counts: &mut HashMap<String, u32>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_sub(1);
    }
}
