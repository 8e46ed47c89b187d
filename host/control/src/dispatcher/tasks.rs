//! Decisions about tasks.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, TaskId};
use grove_domain::moment::{SignedDuration, after};
use grove_domain::task::{Phase, Task, TaskKind, TaskSpec};
use grove_domain::worker::{self, Event, Failure, FailureKind, Outcome, Worker};

use super::Dispatcher;
use super::events::{CORE, Happened};
use super::plugins::blame;
use crate::publisher::Effect;
use crate::refusal::Refused;
use crate::runner::{Start, TaskResult};
use crate::timers::Due;

impl Dispatcher {
    /// Queues the task that `worker` names as its live one.
    pub(super) fn start_task(&mut self, worker: &Arc<Worker>, kind: TaskKind, request: Option<RequestId>) {
        let Some((id, _)) = worker.task else { return };
        let timeout =
            SignedDuration::try_from(self.settings.timeouts.of(kind)).unwrap_or(SignedDuration::MAX);
        let spec = TaskSpec {
            kind,
            worker: worker.id,
            generation: worker.generation,
            request,
            driver: worker.registration.driver.clone(),
            driver_version: self.driver_version(worker),
            timeout,
            queued: self.clock.now(),
        };
        let task = Arc::new(Task::queued(id, spec));
        self.farm.put_task(task.clone());
        self.turn.change(Change::PutTask(task.clone()));
        self.launch(task, worker.clone());
    }

    /// Hands a task to the runner, once this turn is stored.
    pub(super) fn launch(&mut self, task: Arc<Task>, worker: Arc<Worker>) {
        let request = task.spec.request.and_then(|id| self.farm.request(id)).cloned();
        let refused = self.driver_disabled(&task.spec.driver).map(|refused| refused.to_string());
        self.turn.effect(Effect::Start(Box::new(Start { task, worker, request, refused })));
    }

    /// A task was superseded: it is recorded as cancelled at once, whenever its driver really ends.
    pub(super) fn end_cancelled(&mut self, id: TaskId, why: &str) {
        if let Some(task) = self.farm.tasks().get(&id).cloned() {
            self.turn.effect(Effect::Cancel(task.spec.worker, id));
            self.end_task(CORE, &task, Phase::Cancelled, Some(why.to_owned()));
        }
    }

    pub(super) fn cancel_task(&mut self, actor: &str, id: TaskId) -> Result<(), Refused> {
        let task = self.farm.tasks().get(&id).cloned().ok_or(Refused::TaskEnded)?;
        let reason = format!("task cancelled by {actor}");
        self.turn.effect(Effect::Cancel(task.spec.worker, id));
        self.end_task(actor, &task, Phase::Cancelled, Some(reason.clone()));
        let event = match task.spec.kind {
            // Not having looked says nothing about the board.
            TaskKind::Check | TaskKind::Recheck => Event::Restarted,
            TaskKind::Prepare | TaskKind::Maintain | TaskKind::Open => Event::TaskEnded {
                task: id,
                generation: task.spec.generation,
                outcome: Outcome::Failed(Failure { kind: FailureKind::Config, reason }),
            },
        };
        let worker = self.apply_worker(actor, task.spec.worker, event, None)?;
        let again = match task.spec.kind {
            TaskKind::Check => self.settings.check_interval,
            TaskKind::Recheck => self.settings.rules.recheck_first,
            TaskKind::Prepare | TaskKind::Maintain | TaskKind::Open => return Ok(()),
        };
        // Its row calls for a look at once, which is not what was asked for.
        self.timers.replace_worker(Some(&worker), None, self.settings.check_interval);
        self.timers.add(after(self.clock.now(), again), Due::Check(worker.id));
        Ok(())
    }

    pub(super) fn task_ended(&mut self, result: TaskResult) {
        let Some(task) = self.farm.tasks().get(&result.task).cloned() else {
            // It was superseded while it ended; what it opened must not stay open.
            self.turn.effect(Effect::Forget(result.task));
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
        let (outcome, opened) = match result.outcome {
            Ok(found) => (Outcome::Done { access: found.access, health: found.health }, found.opened),
            Err(failure) => (Outcome::Failed(failure), None),
        };
        let (phase, error) = match &outcome {
            Outcome::Failed(failure) => (Phase::Failed, Some(failure.reason.clone())),
            Outcome::Done { health: Some(health), .. } if !health.ok => {
                (Phase::Failed, Some(health.note.clone()))
            }
            Outcome::Done { .. } => (Phase::Succeeded, None),
        };
        self.turn.effect(Effect::Forget(task.id));
        self.end_task(CORE, &task, phase, error);
        // A look that finds nothing proves little: it must not outweigh the work that fails between such looks.
        let mere_look = matches!(task.spec.kind, TaskKind::Check | TaskKind::Recheck);
        if !mere_look || blame(&outcome).is_some() {
            self.plugin_outcome(&task.spec.driver, task.spec.driver_version, blame(&outcome));
        }
        let request = opened.as_ref().map(|opened| opened.request);
        let event = Event::TaskEnded { task: task.id, generation: task.spec.generation, outcome };
        match self.apply_worker(CORE, task.spec.worker, event, opened) {
            Ok(_) => {}
            Err(Refused::Worker(worker::Refusal::Stale)) | Err(Refused::NoSuchWorker) => {}
            Err(refused) => tracing::error!(task = %task.id, %refused, "a task's end was refused"),
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

    fn end_task(&mut self, actor: &str, task: &Task, phase: Phase, error: Option<String>) {
        let seen = self.live.overlay(task);
        let ended = Arc::new(seen.ended(phase, error.clone(), self.clock.now()));
        self.farm.put_task(ended.clone());
        self.turn.change(Change::PutTask(ended));
        // A good end shows in the worker's next state; what needs a line of its own is the other kind.
        if phase != Phase::Succeeded {
            self.happened(Happened {
                actor,
                kind: "task.ended",
                subject: Subject::Task(task.id),
                before: None,
                after: Some(phase.name().to_owned()),
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
