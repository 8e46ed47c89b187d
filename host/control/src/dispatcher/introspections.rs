//! Decisions about introspections.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use grove_domain::capability::{DRIFT_KEY, Map};
use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::{IntrospectionId, TaskId, WorkerId};
use grove_domain::introspection::{
    self, Drift, Effect, Event, Findings, Introspection, Kind, State, TokenDigest, Way, drift,
};
use grove_domain::task::{Task, TaskKind};
use grove_domain::worker::{self, Edit, Failure, Worker};

use super::Dispatcher;
use super::events::{CORE, Happened};
use crate::controller::Begin;
use crate::ports::Enrolment;
use crate::processor::{Made, Processed};
use crate::publisher;
use crate::refusal::Refused;
use crate::timers::{Due, Now};

/// Who sends inventories.
const BOARD: &str = "board";

impl Dispatcher {
    pub(super) fn start_introspection(
        &mut self,
        actor: &str,
        worker: WorkerId,
        begin: Begin,
        expected: Option<u64>,
    ) -> Result<Arc<Introspection>, Refused> {
        let before = self.check_worker_revision(worker, expected)?;
        if before.state != worker::State::Maintenance {
            return Err(worker::Refusal::NotInMaintenance.into());
        }
        if let Some(disabled) = self.driver_disabled(&before.registration.driver) {
            return Err(disabled);
        }
        // What a driver can that is not there now shows when it is asked.
        let abilities =
            self.drivers.abilities(&before.registration.driver, self.driver_version(&before).as_ref());
        let (way, token) = match begin {
            Begin::Pull if abilities.is_some_and(|abilities| !abilities.introspect) => {
                return Err(Refused::CannotIntrospect(before.registration.driver.clone()));
            }
            Begin::Pull => (Way::Pull, None),
            Begin::Push(token) => (Way::Push, Some(token)),
        };
        if let Some(earlier) = self.farm.live_introspection(worker).cloned() {
            // Only one that waits for its board makes way.
            self.apply_introspection(actor, earlier.id, Event::Start)
                .map_err(|_| Refused::UnderWay(earlier.id))?;
        }
        let id = self.new_introspection(actor, worker, way, token);
        if way == Way::Push && abilities.is_some_and(|abilities| !abilities.power) {
            // Nothing is to be done with the board. What read it for an earlier run is not needed.
            self.dismiss(worker, "a newer introspection was started");
            self.apply_introspection(actor, id, Event::Wait)?;
        } else {
            self.apply_worker(actor, worker, worker::Event::Introspect, None)?;
        }
        self.farm.introspection(id).cloned().ok_or(Refused::NoSuchIntrospection)
    }

    fn new_introspection(
        &mut self,
        actor: &str,
        worker: WorkerId,
        way: Way,
        token: Option<TokenDigest>,
    ) -> IntrospectionId {
        let now = self.clock.now();
        let id = self.new_introspection_id();
        let run = Arc::new(Introspection::start(id, worker, way, token, now));
        self.put_introspection(actor, None, run);
        id
    }

    fn new_introspection_id(&mut self) -> IntrospectionId {
        IntrospectionId((self.new_task_id)(self.clock.now()).0)
    }

    /// A board sends its inventory.
    pub(super) fn pushed(
        &mut self,
        id: IntrospectionId,
        token: TokenDigest,
        inventory: Arc<str>,
    ) -> Result<Arc<Introspection>, Refused> {
        self.farm.introspection(id).ok_or(Refused::NoSuchIntrospection)?.admit(token)?;
        self.take_inventory(BOARD, id, inventory)
    }

    /// A task has read a board's inventory, or found out that it cannot be read.
    pub(super) fn pulled(
        &mut self,
        id: IntrospectionId,
        task: TaskId,
        inventory: Result<Arc<str>, String>,
    ) -> Result<(), Refused> {
        let live = self.farm.tasks().get(&task).filter(|task| task.spec.introspection == Some(id));
        live.and_then(|task| self.worker_of(task)).ok_or(Refused::TaskEnded)?;
        match inventory {
            Ok(inventory) => self.take_inventory(CORE, id, inventory).map(drop),
            Err(reason) => self.apply_introspection(CORE, id, Event::Error { reason }).map(drop),
        }
    }

    fn take_inventory(
        &mut self,
        actor: &str,
        id: IntrospectionId,
        inventory: Arc<str>,
    ) -> Result<Arc<Introspection>, Refused> {
        let run = self.apply_introspection(actor, id, Event::Process { enrolled: None })?;
        self.turn.change(Change::PutInventory(id, Kind::Raw, inventory));
        Ok(run)
    }

    /// A board that nobody registered sends its inventory.
    pub(super) fn enrol(&mut self, actor: &str, inventory: Arc<str>) -> Result<Arc<Introspection>, Refused> {
        let limit = self.settings.introspection.enrolling;
        if self.farm.enrolling() >= limit {
            return Err(Refused::Full { what: "boards that may become workers", limit });
        }
        let run = Introspection::enrol(self.new_introspection_id(), self.clock.now());
        let run = Arc::new(run);
        self.put_introspection(actor, None, run.clone());
        self.turn.change(Change::PutInventory(run.id, Kind::Raw, inventory));
        self.turn.effect(publisher::Effect::Process(run.clone()));
        Ok(run)
    }

    /// Somebody wants it ended, or processed again.
    pub(super) fn move_introspection(
        &mut self,
        actor: &str,
        id: IntrospectionId,
        event: Event,
        expected: Option<u64>,
    ) -> Result<Arc<Introspection>, Refused> {
        let run = self.farm.introspection(id).ok_or(Refused::NoSuchIntrospection)?;
        if expected.is_some_and(|expected| expected != run.revision) {
            return Err(Refused::Revision { current: run.revision });
        }
        if event == Event::Reapply
            && let Some(worker) = run.worker
        {
            if let Some(latest) =
                self.farm.latest_inventory(worker).filter(|latest| latest.id > id && run.has_raw)
            {
                return Err(Refused::Outdated(latest.id));
            }
            if let Some(live) = self.farm.live_introspection(worker).filter(|live| live.id != id) {
                return Err(Refused::UnderWay(live.id));
            }
        }
        self.apply_introspection(actor, id, event)
    }

    /// The latest inventory of every worker is processed again, but for those that an introspection is under way of.
    pub(super) fn reapply_all(&mut self, actor: &str) -> Vec<IntrospectionId> {
        let free = |worker: &WorkerId| {
            let none = self.farm.live_introspection(*worker).is_none();
            self.farm.latest_inventory(*worker).filter(|_| none).map(|run| run.id)
        };
        let ids: Vec<_> = self.farm.workers().keys().filter_map(free).collect();
        let reapplied = |id: &IntrospectionId| self.apply_introspection(actor, *id, Event::Reapply).is_ok();
        ids.into_iter().filter(reapplied).collect()
    }

    /// Moves a run and everything that hangs on it.
    fn apply_introspection(
        &mut self,
        actor: &str,
        id: IntrospectionId,
        event: Event,
    ) -> Result<Arc<Introspection>, Refused> {
        let before = self.farm.introspection(id).ok_or(Refused::NoSuchIntrospection)?.clone();
        let transition = before.step(event, self.clock.now(), &self.settings.introspection.rules)?;
        let mut run = Arc::new(transition.run);
        if run.revision != before.revision {
            self.put_introspection(actor, Some(&before), run.clone());
        }
        for effect in transition.effects {
            match effect {
                Effect::Stop => self.stop_introspection(&before),
                Effect::Process => self.turn.effect(publisher::Effect::Process(run.clone())),
                Effect::SwitchOff => self.switch_off(actor, &run)?,
                Effect::EndAbort => {
                    run = self.apply_introspection(actor, id, Event::AbortEnd { trouble: None })?;
                }
            }
        }
        Ok(self.farm.introspection(id).cloned().unwrap_or(run))
    }

    /// Whatever works for a run is to stop.
    fn stop_introspection(&mut self, before: &Introspection) {
        self.turn.effect(publisher::Effect::StopProcessing(before.id));
        // A task that waits for what inspectors say hears of the end by itself, and tells why.
        if before.state != State::Processing
            && let Some(task) = self.task_for(before)
            && matches!(task.spec.kind, TaskKind::Introspect | TaskKind::PowerOff)
        {
            self.dismiss(task.spec.worker, "the introspection is over");
        }
    }

    fn dismiss(&mut self, worker: WorkerId, why: &'static str) {
        // A refusal means that no task works for an introspection.
        let _ = self.apply_worker(CORE, worker, worker::Event::Dismiss { why }, None);
    }

    /// The live task that works for this run.
    fn task_for(&self, run: &Introspection) -> Option<Arc<Task>> {
        let (task, _) = self.farm.worker(run.worker?)?.task?;
        self.farm.tasks().get(&task).filter(|task| task.spec.introspection == Some(run.id)).cloned()
    }

    /// Has the board of an aborted run switched off, where that can be done; else the run ends at once.
    fn switch_off(&mut self, actor: &str, run: &Introspection) -> Result<(), Refused> {
        let worker = run.worker.and_then(|worker| self.farm.worker(worker)).cloned();
        let can = |worker: &Arc<Worker>| {
            let version = self.driver_version(worker);
            let abilities = self.drivers.abilities(&worker.registration.driver, version.as_ref());
            worker.state == worker::State::Maintenance && abilities.is_none_or(|abilities| abilities.power)
        };
        match worker.filter(can) {
            Some(worker) => self.apply_worker(actor, worker.id, worker::Event::PowerOff, None).map(drop),
            None => self.apply_introspection(actor, run.id, Event::AbortEnd { trouble: None }).map(drop),
        }
    }

    /// The run that a task works for which is about to be queued. The first preparation begins one.
    pub(super) fn introspection_for(&mut self, worker: &Worker, kind: TaskKind) -> Option<IntrospectionId> {
        let live = self.farm.live_introspection(worker.id);
        match kind {
            TaskKind::Introspect | TaskKind::PowerOff => live.map(|run| run.id),
            TaskKind::Prepare => match live {
                Some(run) => (run.state != State::Reapplying).then_some(run.id),
                None if self.is_first_preparation(worker) => {
                    Some(self.new_introspection(CORE, worker.id, Way::Pull, None))
                }
                None => None,
            },
            TaskKind::Maintain | TaskKind::Open | TaskKind::Check | TaskKind::Recheck => None,
        }
    }

    fn is_first_preparation(&self, worker: &Worker) -> bool {
        let driver = &worker.registration.driver;
        let can = || self.drivers.abilities(driver, self.driver_version(worker).as_ref());
        self.settings.introspection.first
            && !self.farm.was_introspected(worker.id)
            && can().is_none_or(|abilities| abilities.introspect)
    }

    /// The run that a task works for.
    pub(super) fn run_of(&self, task: &Task) -> Option<&Arc<Introspection>> {
        task.spec.introspection.and_then(|id| self.farm.introspection(id))
    }

    /// A task begins that works for a run: a board that a driver reads is expected to tell now.
    pub(super) fn introspection_begins(&mut self, task: &Task) -> Option<Arc<Introspection>> {
        let run = self.run_of(task)?.clone();
        if run.state == State::Starting && run.way == Way::Pull {
            return self.apply_introspection(CORE, run.id, Event::Wait).ok();
        }
        if run.state == State::Starting {
            let longest = self.settings.introspection.rules.starting;
            self.timers.after(self.times(), longest, Due::Introspection(run.id));
        }
        Some(run)
    }

    /// A task has ended that works for a run.
    pub(super) fn introspection_task_ended(
        &mut self,
        actor: &str,
        task: &Task,
        outcome: Result<(), &Failure>,
    ) {
        let Some(run) = self.run_of(task).filter(|run| !run.state.is_terminal()).cloned() else { return };
        let event = match (task.spec.kind, outcome) {
            (TaskKind::Introspect, Ok(())) if run.way == Way::Push && run.state == State::Starting => {
                Event::Wait
            }
            (TaskKind::Introspect, Err(failure)) if run.state != State::Aborting => {
                Event::Error { reason: failure.reason.clone() }
            }
            (TaskKind::PowerOff, outcome) if run.state == State::Aborting => {
                let trouble = outcome.err().map(|failure| failure.reason.clone());
                Event::AbortEnd { trouble }
            }
            // It was reapplied meanwhile; or the worker's new state has ended it.
            _ => return,
        };
        if let Err(refused) = self.apply_introspection(actor, run.id, event) {
            tracing::error!(run = %run.id, %refused, "an introspection could not follow its task");
        }
    }

    /// The worker is about to become `worker`, or to go: what was begun to find out about it as it was is over. Its tasks
    /// are the worker machine's.
    pub(super) fn supersede_introspection(&mut self, worker: &Worker, removed: bool) {
        let Some(run) = self.farm.live_introspection(worker.id).cloned() else { return };
        if run.state == State::Reapplying && !removed {
            return;
        }
        let why = match (&worker.reason, removed) {
            (_, true) => "superseded: the worker was removed".to_owned(),
            (Some(reason), _) => format!("superseded: the worker is {}: {reason}", worker.state.name()),
            (None, _) => format!("superseded: the worker is in {}", worker.state.name()),
        };
        let event = match run.state {
            State::Aborting => Event::AbortEnd { trouble: Some(why) },
            _ => Event::Error { reason: why },
        };
        match run.step(event, self.clock.now(), &self.settings.introspection.rules) {
            Ok(transition) => {
                self.put_introspection(CORE, Some(&run), Arc::new(transition.run));
                self.turn.effect(publisher::Effect::StopProcessing(run.id));
            }
            Err(refused) => {
                tracing::error!(run = %run.id, %refused, "an introspection could not be superseded")
            }
        }
    }

    /// A run may have been in its state for too long. What waits for its turn is not late; of what is processed the
    /// processor says when it is.
    pub(super) fn introspection_due(&mut self, id: IntrospectionId) {
        let Some(run) = self.farm.introspection(id).cloned() else { return };
        let late = match run.state {
            // Its task will say when it begins.
            State::Starting => self.task_for(&run).is_some_and(|task| task.status.started.is_some()),
            State::Waiting | State::Aborting => true,
            _ => false,
        };
        if late && let Err(refused) = self.apply_introspection(CORE, id, Event::Timeout) {
            tracing::error!(run = %id, %refused, "an introspection could not be timed out");
        }
    }

    /// Inspectors and rules are done with an inventory.
    pub(super) fn processed(&mut self, processed: Processed) {
        let run = self.farm.introspection(processed.run);
        // Of another revision: it was stopped, or begun again.
        let Some(run) = run.filter(|run| run.revision == processed.revision).cloned() else { return };
        let done = match processed.outcome {
            Ok(Ok(Made::Findings { inventory, findings, by })) => {
                for (inspector, version) in by {
                    self.plugin_outcome(&inspector, Some(version), None);
                }
                self.found(&run, inventory, findings)
            }
            Ok(Ok(Made::Board(enrolment))) => self.identified(&run, enrolment),
            Err(_) => self.apply_introspection(CORE, run.id, Event::Timeout).map(drop),
            Ok(Err(trouble)) => {
                for blame in trouble.blames {
                    // What strangers send tells nothing against a version.
                    if run.state != State::Enrolling {
                        self.plugin_outcome(&blame.inspector, blame.version, Some(&blame.reason));
                    }
                    let note = format!("introspection {}{}: {}", run.id, of_worker(&run), blame.reason);
                    self.note(CORE, "plugin.failed", Subject::Plugin(blame.inspector), note);
                }
                self.apply_introspection(CORE, run.id, Event::Error { reason: trouble.reason }).map(drop)
            }
        };
        if let Err(refused) = done {
            tracing::error!(run = %run.id, %refused, "what was found was refused");
        }
    }

    /// All that was found, as one: with the end of the run.
    fn found(
        &mut self,
        run: &Introspection,
        inventory: Arc<str>,
        findings: Arc<Findings>,
    ) -> Result<(), Refused> {
        let worker = run.worker.and_then(|id| self.farm.worker(id)).ok_or(Refused::NoSuchWorker)?.clone();
        let mut found = findings.capabilities.clone();
        let drifted = match run.state {
            // Other conclusions from what is known are not news of the board.
            State::Reapplying => {
                let before = worker.capabilities.introspected().get(DRIFT_KEY).cloned();
                found.extend(before.map(|before| (DRIFT_KEY.to_owned(), before)));
                Vec::new()
            }
            _ => drift(&worker.capabilities, &found),
        };
        found.extend(introspection::named(&drifted).map(|keys| (DRIFT_KEY.to_owned(), keys)));
        self.apply_introspection(CORE, run.id, Event::Finish)?;
        self.turn.change(Change::PutInventory(run.id, Kind::Processed, inventory));
        self.turn.change(Change::PutFindings(run.id, findings));
        let after = Arc::new(worker.introspected(found));
        if after.revision != worker.revision {
            self.put_worker(Some(&worker), after.clone());
            self.tell_capabilities(run, &worker, &after);
        }
        if !drifted.is_empty() {
            self.tell_drift(run, worker.id, &drifted);
        }
        Ok(())
    }

    /// It is decided whether an unknown board becomes a worker.
    fn identified(&mut self, run: &Introspection, enrolment: Option<Enrolment>) -> Result<(), Refused> {
        let reason = match enrolment {
            None => "no inspector knows this board".to_owned(),
            Some(Enrolment { worker, .. }) if self.farm.worker(worker).is_some() => {
                format!("worker {worker} is registered already: introspect it instead")
            }
            Some(Enrolment { inspector, worker, registration }) => {
                let actor = format!("inspector:{inspector}");
                match self.register(&actor, worker, registration.into(), Edit::default(), None) {
                    Ok(_) => {
                        let event = Event::Process { enrolled: Some(worker) };
                        return self.apply_introspection(&actor, run.id, event).map(drop);
                    }
                    Err(refused) => format!("inspector/{inspector} has it be worker {worker}: {refused}"),
                }
            }
        };
        self.apply_introspection(CORE, run.id, Event::Error { reason }).map(drop)
    }

    /// Writes a run, every index derived from it, and that it moved.
    fn put_introspection(&mut self, actor: &str, before: Option<&Introspection>, run: Arc<Introspection>) {
        self.index_introspection(before, &run);
        self.turn.change(Change::PutIntrospection(run.clone()));
        let mut note = of_worker(&run).trim_start().to_owned();
        if let Some(error) = run.error.as_ref().or(run.ending.as_ref().map(|ending| &ending.reason)) {
            note = if note.is_empty() { error.clone() } else { format!("{note}: {error}") };
        }
        self.happened(Happened {
            actor,
            kind: "introspection.state",
            subject: Subject::Introspection(run.id),
            before: before.map(|before| before.state.name().to_owned()),
            after: Some(run.state.name().to_owned()),
            note: Some(note).filter(|note| !note.is_empty()),
        });
    }

    /// Everything in memory that follows a run's row.
    pub(super) fn index_introspection(&mut self, before: Option<&Introspection>, run: &Arc<Introspection>) {
        let rules = &self.settings.introspection.rules;
        self.timers.replace_introspection(Now::of(&*self.clock), before, run, rules);
        self.farm.put_introspection(run.clone());
    }

    fn tell_capabilities(&mut self, run: &Introspection, before: &Worker, after: &Worker) {
        let (was, is) = (before.capabilities.introspected(), after.capabilities.introspected());
        let keys: BTreeSet<_> =
            was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)).collect();
        let shown = |map: &Map| listed(keys.iter().filter_map(|key| map.get_key_value(*key)));
        self.happened(Happened {
            actor: CORE,
            kind: "worker.capabilities",
            subject: Subject::Worker(after.id),
            before: Some(shown(was)),
            after: Some(shown(is)),
            note: Some(format!("found by introspection {}", run.id)),
        });
    }

    fn tell_drift(&mut self, run: &Introspection, worker: WorkerId, drifted: &[Drift]) {
        let keys: Vec<_> = drifted.iter().map(|drift| drift.key.as_str()).collect();
        let promised = drifted.iter().map(|drift| (&drift.key, &drift.promised));
        let found = drifted.iter().filter_map(|drift| Some((&drift.key, drift.found.as_ref()?)));
        self.happened(Happened {
            actor: CORE,
            kind: "worker.drift",
            subject: Subject::Worker(worker),
            before: Some(listed(promised)),
            after: Some(listed(found)),
            note: Some(format!("introspection {} contradicts {}", run.id, keys.join(", "))),
        });
    }

    /// Has what rows call for be done: at a start, and after the store refused. Tasks were taken up before.
    pub(super) fn take_up_introspections(&mut self) {
        let live = self.farm.introspections().values().filter(|run| !run.state.is_terminal());
        let live: Vec<_> = live.cloned().collect();
        let revisions: HashMap<_, _> = live.iter().map(|run| (run.id, run.revision)).collect();
        self.processor.retain(|id, revision| revisions.get(&id) == Some(&revision));
        for run in live {
            let task = self.task_for(&run);
            let done = match run.resumed() {
                Some(Effect::Process) => {
                    self.turn.effect(publisher::Effect::Process(run.clone()));
                    Ok(())
                }
                Some(Effect::SwitchOff) if task.is_none() => self.switch_off(CORE, &run),
                Some(Effect::EndAbort) => {
                    let event = Event::AbortEnd { trouble: None };
                    self.apply_introspection(CORE, run.id, event).map(drop)
                }
                None if task.is_none() && !(run.way == Way::Push && run.state == State::Waiting) => {
                    let reason = "the task that worked for it is gone".to_owned();
                    self.apply_introspection(CORE, run.id, Event::Error { reason }).map(drop)
                }
                _ => Ok(()),
            };
            if run.state == State::Starting && task.is_some_and(|task| task.status.started.is_some()) {
                let longest = self.settings.introspection.rules.starting;
                self.timers.after(self.times(), longest, Due::Introspection(run.id));
            }
            if let Err(refused) = done {
                tracing::error!(run = %run.id, %refused, "an introspection could not be taken up");
            }
        }
    }
}

/// ` of worker …`, where it is known.
fn of_worker(run: &Introspection) -> String {
    run.worker.map(|worker| format!(" of worker {worker}")).unwrap_or_default()
}

/// `a=1, b=2`, cut where it is long.
fn listed<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ").chars().take(2000).collect()
}
