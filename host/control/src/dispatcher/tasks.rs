//! Decisions about tasks.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::moment::{SignedDuration, after};
use grove_domain::task::{End, Phase, Report, StepKind, Task, TaskKind, TaskSpec};
use grove_domain::worker::{self, Event, Failure, FailureKind, Outcome, Worker};

use super::Dispatcher;
use super::events::{CORE, Happened};
use super::plugins::blame;
use crate::publisher::Effect;
use crate::refusal::Refused;
use crate::runner::{Lack, Start, TaskResult};
use crate::timers::Due;

impl Dispatcher {
    /// Queues the task that `worker` names as its live one; it starts at once where nothing holds it back.
    pub(super) fn start_task(&mut self, worker: &Arc<Worker>, kind: TaskKind, request: Option<RequestId>) {
        let Some((id, _)) = worker.task else { return };
        let timeout =
            SignedDuration::try_from(self.settings.timeouts.of(kind)).unwrap_or(SignedDuration::MAX);
        let introspection = self.introspection_for(worker, kind);
        let spec = TaskSpec {
            kind,
            worker: worker.id,
            generation: worker.generation,
            request,
            introspection,
            driver: worker.registration.driver.clone(),
            host: worker.host.clone(),
            driver_version: self.driver_version(worker),
            timeout,
            queued: self.clock.now(),
        };
        let task = Task::queued(id, spec);
        let held = self.stopping || self.farm.mode().mode.is_maintenance() && !task.spec.winds_down();
        let free = self.slots.are_free() && !self.slots.is_held(&task.spec.driver);
        if !held && free && !self.slots.is_winding(worker.id) {
            // Its first row says that it runs.
            return self.begin(Task { revision: 0, ..task }, worker.clone());
        }
        let task = Arc::new(task);
        self.put_task(task.clone(), false);
        self.wait(&task);
    }

    /// It starts when its turn has come; behind one that is still ending, its turn comes with that one's end.
    pub(super) fn wait(&mut self, task: &Task) {
        if !self.slots.is_winding(task.spec.worker) {
            self.slots.wait(task);
        }
    }

    /// Starts what waits, as far as limits and mode let it, in order.
    pub(super) fn start_waiting(&mut self) {
        let only_winding_down = self.farm.mode().mode.is_maintenance();
        if !self.slots.are_free() && self.policy.round.as_ref().is_some_and(|round| !round.demands.is_empty())
        {
            // Users go first: what the policy's answer leaves of the limits is given away right after it.
            return;
        }
        while !self.stopping
            && let Some(id) = self.slots.next(only_winding_down)
        {
            let Some(task) = self.farm.tasks().get(&id).cloned() else { continue };
            if let Some(worker) = self.worker_of(&task) {
                self.begin(Task::clone(&task), worker);
            }
        }
        // A board that cannot be opened for want of a place is nobody's: another may be there for who waits.
        if !only_winding_down && !self.stopping {
            for id in self.slots.stuck() {
                self.take_back(id);
            }
        }
    }

    /// A job that was to be opened, and has not begun to be, is not.
    fn take_back(&mut self, id: TaskId) {
        let Some(task) = self.farm.tasks().get(&id).cloned() else { return };
        let reason = match self.slots.full(&task.spec.driver, task.spec.host.as_deref()) {
            Some(limit) => format!("the limit of {} lets no task start", limit.scope),
            None => format!("the farm is short of driver {}", task.spec.driver),
        };
        let ended = self.write_end(CORE, &task, End::Cancelled, Some(format!("{reason}; it never ran")));
        self.index_task(ended, false);
        let outcome = Outcome::Short { reason, untouched: true };
        let event = Event::TaskEnded { task: id, generation: task.spec.generation, outcome };
        if let Err(refused) = self.apply_worker(CORE, task.spec.worker, event, None) {
            tracing::error!(task = %id, %refused, "a reservation could not be given back");
        }
    }

    /// Its row says that it runs; once that is stored, it does.
    fn begin(&mut self, task: Task, worker: Arc<Worker>) {
        let now = self.clock.now();
        let request = task.spec.request.and_then(|id| self.farm.request(id)).cloned();
        let checked = worker.health.checked_at;
        // Also of one that the wall clock puts into the future nobody knows how old it is.
        let fresh = SignedDuration::ZERO..=self.settings.check_max_age;
        let check = checked.is_none_or(|at| !fresh.contains(&now.duration_since(at)));
        let take_key = request.as_ref().is_some_and(|request| request.spec.keys.is_empty());
        let begun = Report::Begun {
            at: now,
            deadline: after(now, task.spec.timeout),
            instance: self.instance.id,
            plan: task.spec.plan(check, take_key, self.run_of(&task).map(Arc::as_ref)),
        };
        let Some(task) = task.reported(begun).map(Arc::new) else { return };
        self.put_task(task.clone(), false);
        self.begins_with(&Lack::Driver(task.spec.driver.clone()));
        let run = self.introspection_begins(&task);
        let refused = self.driver_disabled(&task.spec.driver).map(|refused| refused.to_string());
        self.turn.effect(Effect::Start(Box::new(Start { task, worker, request, run, refused })));
    }

    /// Writes a task and every index derived from it. `ending`: it is over, and its driver is still at work.
    fn put_task(&mut self, task: Arc<Task>, ending: bool) {
        self.turn.change(Change::PutTask(task.clone()));
        self.index_task(task, ending);
    }

    /// Everything in memory that follows a task's row.
    pub(super) fn index_task(&mut self, task: Arc<Task>, ending: bool) {
        let before = self.farm.tasks().get(&task.id).map(|before| before.status.phase);
        self.slots.follow(before, &task, ending);
        self.farm.put_task(task);
    }

    /// A task was superseded: it is recorded as cancelled at once, whenever its driver really ends.
    pub(super) fn end_cancelled(&mut self, id: TaskId, why: &str) {
        if let Some(task) = self.farm.tasks().get(&id).cloned() {
            self.cut_off(CORE, &task, why);
        }
    }

    fn cut_off(&mut self, actor: &str, task: &Task, why: &str) {
        let runs = task.status.phase == Phase::Running;
        let why = if runs { why.to_owned() } else { format!("{why}; it never ran") };
        if runs {
            self.turn.effect(Effect::Cancel(task.spec.worker, task.id));
        }
        let ended = self.write_end(actor, task, End::Cancelled, Some(why));
        self.index_task(ended, runs);
    }

    /// A task that was cut off has really ended: what waits behind it may start, and its place is free.
    pub(super) fn task_gone(&mut self, worker: WorkerId, task: TaskId) {
        if !self.slots.gone(worker, task) {
            return;
        }
        let next = self.farm.worker(worker).and_then(|worker| worker.task);
        let next = next.and_then(|(next, _)| self.farm.tasks().get(&next)).cloned();
        if let Some(next) = next.filter(|next| next.status.phase == Phase::Waiting) {
            self.slots.wait(&next);
        }
    }

    pub(super) fn cancel_task(&mut self, actor: &str, id: TaskId) -> Result<(), Refused> {
        let task = self.farm.tasks().get(&id).cloned().ok_or(Refused::TaskEnded)?;
        let reason = format!("task cancelled by {actor}");
        self.cut_off(actor, &task, &reason);
        let event = match task.spec.kind {
            // Not having looked says nothing about the board.
            TaskKind::Check | TaskKind::Recheck => Event::Restarted,
            TaskKind::Prepare
            | TaskKind::Maintain
            | TaskKind::Open
            | TaskKind::Introspect
            | TaskKind::PowerOff => Event::TaskEnded {
                task: id,
                generation: task.spec.generation,
                outcome: Outcome::Failed(Failure { kind: FailureKind::Config, reason: reason.clone() }),
            },
        };
        self.apply_worker(actor, task.spec.worker, event, None)?;
        self.introspection_task_ended(actor, &task, Err(&Failure { kind: FailureKind::Config, reason }));
        // Its row calls for a look at once, which is not what was asked for.
        self.look_later(&task);
        Ok(())
    }

    pub(super) fn task_ended(&mut self, result: TaskResult) {
        let Some(task) = self.farm.tasks().get(&result.task).cloned() else {
            // It was superseded while it ended; what it opened must not stay open.
            self.turn.effect(Effect::Forget(result.task));
            self.task_gone(result.worker, result.task);
            if let Ok(Some(opened)) = result.outcome.map(|found| found.opened) {
                self.close_if_unused(opened.request);
            }
            return;
        };
        if result.plugin_died
            && let Err(failure) = &result.outcome
        {
            let note =
                format!("{} on worker {}: {}", task.spec.kind.name(), task.spec.worker, failure.reason);
            self.note(CORE, "plugin.failed", Subject::Plugin(result.driver.clone()), note);
        }
        self.follow_shortages(&task, &result);
        let (outcome, opened) = match result.outcome {
            Ok(found) => (Outcome::Done { access: found.access, health: found.health }, found.opened),
            Err(Failure { kind: FailureKind::Shortage, reason }) => {
                (Outcome::Short { reason, untouched: result.untouched }, None)
            }
            Err(failure) => (Outcome::Failed(failure), None),
        };
        let (end, error) = match &outcome {
            Outcome::Short { reason, .. } => (End::Failed, Some(reason.clone())),
            Outcome::Failed(failure) => (End::Failed, Some(failure.reason.clone())),
            Outcome::Done { health: Some(health), .. } if !health.ok => {
                (End::Failed, Some(health.note.clone()))
            }
            Outcome::Done { .. } => (End::Succeeded, None),
        };
        self.turn.effect(Effect::Forget(task.id));
        let short = matches!(outcome, Outcome::Short { .. });
        self.end_task(CORE, &task, end, error, short);
        // A look that finds nothing proves little: it must not outweigh the work that fails between such looks.
        let mere_look = matches!(task.spec.kind, TaskKind::Check | TaskKind::Recheck);
        if !mere_look || blame(&outcome).is_some() {
            self.plugin_outcome(&task.spec.driver, task.spec.driver_version, blame(&outcome));
        }
        let request = opened.as_ref().map(|opened| opened.request);
        let failure = if let Outcome::Failed(failure) = &outcome { Err(failure.clone()) } else { Ok(()) };
        let event = Event::TaskEnded { task: task.id, generation: task.spec.generation, outcome };
        match self.apply_worker(CORE, task.spec.worker, event, opened) {
            Ok(_) => {}
            Err(Refused::Worker(worker::Refusal::Stale)) | Err(Refused::NoSuchWorker) => {}
            Err(refused) => tracing::error!(task = %task.id, %refused, "a task's end was refused"),
        }
        if short {
            self.look_later(&task);
        } else {
            self.introspection_task_ended(CORE, &task, failure.as_ref().copied());
        }
        if let Some(request) = request {
            self.close_if_unused(request);
        }
    }

    /// Closes the tunnel of a request that has no job, and no task that is about to open one.
    fn close_if_unused(&mut self, id: RequestId) {
        let request = self.farm.request(id);
        let used =
            request.is_some_and(|request| request.reserved.is_some() || request.running_job().is_some());
        if !used {
            self.turn.effect(Effect::CloseTunnel(id));
        }
    }

    /// `told`: why it ended is in an event of its own.
    fn end_task(&mut self, actor: &str, task: &Task, end: End, error: Option<String>, told: bool) {
        let ended = self.record_end(task, end, error.clone());
        if !told {
            self.tell_end(actor, task, end, error);
        }
        self.index_task(ended, false);
    }

    /// What its end says about what the farm is short of.
    fn follow_shortages(&mut self, task: &Task, result: &TaskResult) {
        let driver = Lack::Driver(task.spec.driver.clone());
        match &result.outcome {
            Err(failure) if failure.kind == FailureKind::Shortage => {
                self.ran_short(&result.lack, &failure.reason);
            }
            outcome => {
                self.ended_with(&driver, true);
                if task.spec.kind == TaskKind::Open {
                    let opened = outcome.as_ref().is_ok_and(|found| found.opened.is_some());
                    self.ended_with(&Lack::Tunnels, opened);
                    self.ended_with(&Lack::Keys, opened && task.has_step(&StepKind::TakeKey));
                }
            }
        }
    }

    /// A look that could not be taken is not taken again at once.
    fn look_later(&mut self, task: &Task) {
        let again = match task.spec.kind {
            TaskKind::Check => self.settings.check_interval,
            TaskKind::Recheck => self.settings.rules.recheck_first,
            _ => return,
        };
        self.timers.after(self.times(), again, Due::Check(task.spec.worker));
    }

    /// Writes the end of a task, with one time for all of it; memory still knows it.
    pub(super) fn write_end(
        &mut self,
        actor: &str,
        task: &Task,
        end: End,
        error: Option<String>,
    ) -> Arc<Task> {
        let ended = self.record_end(task, end, error.clone());
        self.tell_end(actor, task, end, error);
        ended
    }

    fn record_end(&mut self, task: &Task, end: End, error: Option<String>) -> Arc<Task> {
        let seen = self.live.overlay(task);
        let over = Report::Ended { end, error, at: self.clock.now() };
        // Only live tasks are ended, and a live task takes its end.
        let ended = Arc::new(seen.reported(over).unwrap_or(seen));
        self.turn.change(Change::PutTask(ended.clone()));
        ended
    }

    fn tell_end(&mut self, actor: &str, task: &Task, end: End, error: Option<String>) {
        // A good end shows in the worker's next state; what needs a line of its own is the other kind.
        if end != End::Succeeded {
            self.happened(Happened {
                actor,
                kind: "task.ended",
                subject: Subject::Task(task.id),
                before: None,
                after: Some(end.phase().name().to_owned()),
                note: Some(format!(
                    "{} on worker {}{}",
                    task.spec.kind.name(),
                    task.spec.worker,
                    error.map(|error| format!(": {error}")).unwrap_or_default()
                )),
            });
        }
    }
}
