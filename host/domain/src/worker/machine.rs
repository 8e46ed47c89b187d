//! The worker machine: a table of pure functions from (worker, event) to a new worker and effects as data.

use super::{Access, Health, Occupation, Recovery, Registration, State, Worker};
use crate::id::{RequestId, TaskId};
use crate::moment::{SignedDuration, Timestamp, after};
use crate::task::TaskKind;
use std::sync::Arc;

/// What can happen to a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Its board registered again.
    Register(Registration),
    /// Its board, or somebody who knows, reports that it is broken.
    ReportFailure {
        /// Why.
        reason: String,
        /// It stays out until its admin says otherwise: a person has looked at it, and no check knows better.
        stays: bool,
    },
    /// The admin wants it in IDLE.
    WantIdle {
        /// Also from FAILED.
        force: bool,
    },
    /// The admin wants it in MAINTENANCE.
    WantMaintenance {
        /// Run the task again where the worker is there already, or on its way.
        rerun: bool,
        /// End a job that runs on it.
        interrupt: bool,
    },
    /// The admin wants it in MAINTENANCE as soon as no job runs on it.
    Drain,
    /// The admin wants it gone.
    Deregister {
        /// From every state; a job ends with it.
        force: bool,
    },
    /// A match took it.
    Matched {
        /// For this request.
        request: RequestId,
    },
    /// Its request ended: the job is closed, or is not opened after all.
    Released,
    /// It is time to look whether it is well (IDLE) or has recovered (FAILED).
    CheckDue,
    /// Somebody wants to know what the board is made of.
    Introspect,
    /// Its introspection was aborted: the board is to be switched off.
    PowerOff,
    /// Nobody needs what the live task does for an introspection.
    Dismiss {
        /// Why.
        why: &'static str,
    },
    /// A task ended.
    TaskEnded {
        /// Which.
        task: TaskId,
        /// Generation it was started from.
        generation: u64,
        /// How.
        outcome: Outcome,
    },
    /// The controller started again, and whatever task was live is lost.
    Restarted,
}

/// What a task found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It did what it should.
    Done {
        /// How users reach the board (prepare, open).
        access: Option<Access>,
        /// What a check said.
        health: Option<Health>,
    },
    /// It did not.
    Failed(Failure),
    /// It could not, because the farm is short of something: that says nothing about the board.
    Short {
        /// Of what.
        reason: String,
        /// Whether the board is as it was before: nobody was let in.
        untouched: bool,
    },
}

/// Why a task failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which kind decides whether trying again makes sense.
    pub kind: FailureKind,
    /// In a sentence.
    pub reason: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FailureKind {
    /// The board: may recover.
    Device,
    /// The configuration: will not mend by waiting.
    Config,
    /// What is around the board: will probably mend.
    Environment,
    /// The farm: it is short of something that the task needs. No board fails because of it.
    Shortage,
    /// The driver cannot do that.
    Unsupported,
    /// The plugin: trapped, ran out of a limit, or its deadline passed.
    Plugin,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Device, Self::Config, Self::Environment, Self::Shortage, Self::Unsupported, Self::Plugin];

    /// Whether a later check may find the worker well without anybody's doing.
    pub fn may_mend(self) -> bool {
        matches!(self, Self::Device | Self::Environment | Self::Shortage | Self::Plugin)
    }
}

/// What must be done once the new worker is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// End the live task with this reason; its result no longer counts.
    CancelTask(TaskId, &'static str),
    /// Start the task that the new worker names.
    StartTask(TaskKind),
    /// The open job ended with the worker: the request FAILED.
    FailRequest(RequestId, String),
    /// The job was never opened: the request waits again, in its old place.
    RequeueRequest(RequestId, String),
    /// The job is open: the request is IN PROGRESS.
    OpenJob(RequestId),
    /// It may be matched now.
    BecameIdle,
    /// It no longer exists.
    Removed,
}

/// A step of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The worker afterwards. Equal to the one before when nothing changed.
    pub worker: Worker,
    /// In the order in which they take place.
    pub effects: Vec<Effect>,
}

/// Why an event is refused; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// IDLE was wanted where there is no way to it.
    #[error("the worker cannot be made idle from its state")]
    NoWayToIdle,
    /// A job runs on it.
    #[error("the worker is running a job")]
    RunsJob(RequestId),
    /// A failure was reported of a worker in the admin's hands.
    #[error("the worker is in maintenance")]
    InMaintenance,
    /// It may be removed in MAINTENANCE and FAILED only, unless by force.
    #[error("the worker is neither in maintenance nor failed")]
    NotRemovable,
    /// Only an IDLE worker can be matched.
    #[error("the worker is not idle")]
    NotIdle,
    /// Only a RUNNING worker can be released.
    #[error("the worker is not running")]
    NotRunning,
    /// No check is due in this state, or a task is live.
    #[error("no check is due")]
    NoCheckDue,
    /// Only a worker in MAINTENANCE is introspected.
    #[error("the worker is not in maintenance")]
    NotInMaintenance,
    /// No task is live that works for an introspection alone.
    #[error("no task works for an introspection")]
    NothingToDismiss,
    /// The result of a task that no longer counts.
    #[error("the task was superseded")]
    Stale,
}

/// What a step needs to know besides the worker and the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Timestamp,
    /// Id for the task that the step starts, if it starts one.
    pub task: TaskId,
    /// The admin's rules.
    pub rules: &'a Rules,
}

/// The admin's rules on failed workers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Time to the first re-check of a failed worker; doubles with each that fails.
    pub recheck_first: SignedDuration,
    /// Longest time between re-checks.
    pub recheck_max: SignedDuration,
    /// A worker that fell into FAILED more often than this without having opened a job in between stays there.
    pub relapses: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            recheck_first: SignedDuration::from_secs(30),
            recheck_max: SignedDuration::from_secs(3600),
            relapses: 5,
        }
    }
}

/// Moves `worker` by `event`, or says why not.
pub fn step(worker: &Worker, event: Event, context: Context<'_>) -> Result<Transition, Refusal> {
    let mut next = Next { worker: worker.clone(), effects: Vec::new(), context };
    match event {
        Event::Register(registration) => next.register(registration),
        Event::ReportFailure { reason, stays } => match worker.state {
            State::Maintenance | State::Busy => return Err(Refusal::InMaintenance),
            State::Failed => next.fails_again(reason, stays),
            State::Prepare | State::Idle | State::Running => {
                next.fail(Failure { kind: FailureKind::Device, reason });
                if stays {
                    next.quarantine();
                }
            }
        },
        Event::WantIdle { force } => match worker.state {
            State::Maintenance => next.start(State::Prepare, TaskKind::Prepare),
            State::Failed if force => {
                next.worker.recovery = Recovery::default();
                next.start(State::Prepare, TaskKind::Prepare);
            }
            State::Prepare | State::Idle => next.worker.drain = false,
            State::Running if worker.drain => next.worker.drain = false,
            State::Failed | State::Running | State::Busy => return Err(Refusal::NoWayToIdle),
        },
        Event::Drain => match worker.state {
            State::Running => next.worker.drain = true,
            State::Maintenance | State::Busy => {}
            State::Prepare | State::Idle | State::Failed => next.maintain("taken into maintenance"),
        },
        Event::WantMaintenance { rerun, interrupt } => match (worker.state, worker.occupation) {
            (State::Running, Some(occupation)) if !interrupt => {
                return Err(Refusal::RunsJob(occupation.request));
            }
            (State::Maintenance | State::Busy, _) if !rerun => {}
            _ => next.maintain("taken into maintenance"),
        },
        Event::Deregister { force } => match worker.state {
            State::Maintenance | State::Failed => next.remove(),
            _ if force => next.remove(),
            State::Running | State::Idle | State::Busy | State::Prepare => return Err(Refusal::NotRemovable),
        },
        Event::Matched { request } => match worker.state {
            State::Idle => {
                next.worker.occupation = Some(Occupation { request, opened: false });
                next.start(State::Running, TaskKind::Open);
            }
            _ => return Err(Refusal::NotIdle),
        },
        Event::Released => match worker.state {
            State::Running => {
                next.worker.occupation = None;
                next.prepare();
            }
            _ => return Err(Refusal::NotRunning),
        },
        Event::CheckDue => match (worker.state, worker.task) {
            (State::Idle, None) => next.start_task(TaskKind::Check),
            (State::Failed, None) if !worker.recovery.quarantined => next.start_task(TaskKind::Recheck),
            _ => return Err(Refusal::NoCheckDue),
        },
        Event::Introspect => match worker.state {
            State::Maintenance => next.start_task(TaskKind::Introspect),
            _ => return Err(Refusal::NotInMaintenance),
        },
        Event::PowerOff => match worker.state {
            State::Maintenance => next.start_task(TaskKind::PowerOff),
            _ => return Err(Refusal::NotInMaintenance),
        },
        Event::Dismiss { why } => match worker.task {
            Some((_, TaskKind::Introspect | TaskKind::PowerOff)) => next.drop_task(why),
            _ => return Err(Refusal::NothingToDismiss),
        },
        Event::TaskEnded { task, generation, outcome } => match worker.task {
            Some((live, kind)) if live == task && worker.generation == generation => {
                next.worker.task = None;
                next.task_ended(kind, outcome);
            }
            _ => return Err(Refusal::Stale),
        },
        Event::Restarted => next.restarted(),
    }
    Ok(next.finish(worker))
}

/// A transition in the making.
struct Next<'a> {
    worker: Worker,
    effects: Vec<Effect>,
    context: Context<'a>,
}

impl Next<'_> {
    fn register(&mut self, registration: Registration) {
        let changed = registration != *self.worker.registration;
        if changed {
            self.worker.generation += 1;
            if registration.driver != self.worker.registration.driver {
                // The pin was to a version of the driver before.
                self.worker.driver_version = None;
            }
            self.worker.capabilities =
                self.worker.capabilities.with_agent(self.worker.id, registration.capabilities.clone());
            self.worker.registration = Arc::new(registration);
            self.worker.access = None;
            self.maintain("its registration changed");
        } else if self.worker.state == State::Failed && !self.worker.recovery.quarantined {
            self.prepare();
        }
    }

    fn task_ended(&mut self, kind: TaskKind, outcome: Outcome) {
        let now = self.context.now;
        let (access, health) = match outcome {
            Outcome::Done { access, health } => (access, health),
            Outcome::Failed(failure) => return self.task_failed(kind, failure),
            Outcome::Short { reason, untouched } => return self.task_short(kind, reason, untouched),
        };
        // Preparation went through every part of the board that a check looks at; a check that has nothing to say is good.
        let looked = matches!(kind, TaskKind::Prepare | TaskKind::Check | TaskKind::Recheck);
        let well = || Health { ok: true, checked_at: Some(now), note: String::new() };
        if let Some(health) = health.or_else(|| looked.then(well)) {
            let sick = (!health.ok).then(|| health.note.clone());
            self.worker.health = health;
            if let Some(note) = sick {
                let reason = format!("check found the board unwell: {note}");
                return self.task_failed(kind, Failure { kind: FailureKind::Device, reason });
            }
        }
        if let Some(access) = access {
            self.worker.access = Some(Arc::new(access));
        }
        match kind {
            TaskKind::Prepare => {
                self.enter(State::Idle);
                self.effects.push(Effect::BecameIdle);
            }
            TaskKind::Maintain => self.enter(State::Maintenance),
            TaskKind::Open => {
                if let Some(occupation) = &mut self.worker.occupation {
                    occupation.opened = true;
                    self.effects.push(Effect::OpenJob(occupation.request));
                }
                self.worker.recovery = Recovery::default();
            }
            TaskKind::Recheck => self.prepare(),
            // What came of an introspection is the run's.
            TaskKind::Check | TaskKind::Introspect | TaskKind::PowerOff => {}
        }
    }

    fn task_failed(&mut self, kind: TaskKind, failure: Failure) {
        match kind {
            TaskKind::Recheck => {
                self.worker.recovery.attempts = self.worker.recovery.attempts.saturating_add(1);
                self.worker.recovery.recheck_at = self.next_recheck(failure.kind);
                self.worker.reason = Some(failure.reason);
            }
            TaskKind::Introspect | TaskKind::PowerOff => {}
            TaskKind::Prepare | TaskKind::Maintain | TaskKind::Open | TaskKind::Check => self.fail(failure),
        }
    }

    /// Nothing becomes of the task, and nothing is held against the board.
    fn task_short(&mut self, kind: TaskKind, reason: String, untouched: bool) {
        match kind {
            TaskKind::Open => {
                if let Some(occupation) = self.worker.occupation.take() {
                    self.effects.push(Effect::RequeueRequest(occupation.request, reason));
                }
                if untouched && !self.worker.drain {
                    self.enter(State::Idle);
                    self.effects.push(Effect::BecameIdle);
                } else {
                    self.prepare();
                }
            }
            // It is begun again when there is enough.
            TaskKind::Prepare | TaskKind::Maintain | TaskKind::Introspect | TaskKind::PowerOff => {
                self.start_task(kind);
            }
            TaskKind::Check | TaskKind::Recheck => {}
        }
    }

    /// Into FAILED, from any other state.
    fn fail(&mut self, failure: Failure) {
        let rules = self.context.rules;
        let recovery = &mut self.worker.recovery;
        recovery.relapses = recovery.relapses.saturating_add(1);
        recovery.attempts = 0;
        recovery.quarantined = recovery.relapses > rules.relapses;
        recovery.recheck_at = None;
        if !recovery.quarantined {
            self.worker.recovery.recheck_at = self.next_recheck(failure.kind);
        }
        self.drop_task("the worker failed");
        self.drop_occupation(&failure.reason);
        self.enter(State::Failed);
        // Whatever a check said before.
        if self.worker.health.ok {
            self.worker.health = Health { ok: false, note: String::new(), ..self.worker.health.clone() };
        }
        self.worker.reason = Some(failure.reason);
    }

    /// What a person said is the last word.
    fn fails_again(&mut self, reason: String, stays: bool) {
        if stays {
            self.drop_task("the worker is reported broken");
            self.quarantine();
        }
        if stays || !self.worker.recovery.quarantined {
            self.worker.reason = Some(reason);
        }
    }

    fn quarantine(&mut self) {
        self.worker.recovery.quarantined = true;
        self.worker.recovery.recheck_at = None;
    }

    /// On its way to IDLE, unless its admin waits for it.
    fn prepare(&mut self) {
        if self.worker.drain {
            self.maintain("taken into maintenance when it was free");
        } else {
            self.start(State::Prepare, TaskKind::Prepare);
        }
    }

    fn next_recheck(&self, kind: FailureKind) -> Option<Timestamp> {
        if !kind.may_mend() {
            return None;
        }
        let rules = self.context.rules;
        // Doubling beyond 2^20 only means "the longest time".
        let doubled = 1i32 << self.worker.recovery.attempts.min(20);
        let wait = rules.recheck_first.checked_mul(doubled).unwrap_or(rules.recheck_max);
        Some(after(self.context.now, wait.min(rules.recheck_max)))
    }

    /// Into BUSY, from any state: the admin's hands.
    fn maintain(&mut self, why: &'static str) {
        self.worker.recovery = Recovery::default();
        self.worker.drain = false;
        self.drop_occupation(why);
        self.start(State::Busy, TaskKind::Maintain);
    }

    fn remove(&mut self) {
        self.drop_task("the worker was removed");
        self.drop_occupation("removed");
        self.effects.push(Effect::Removed);
    }

    fn restarted(&mut self) {
        let Some((_, kind)) = self.worker.task.take() else { return };
        match kind {
            // What the state itself calls for is begun again; a mere look comes back by its own due time.
            TaskKind::Prepare
            | TaskKind::Maintain
            | TaskKind::Open
            | TaskKind::Introspect
            | TaskKind::PowerOff => self.start_task(kind),
            TaskKind::Check | TaskKind::Recheck => {}
        }
    }

    /// Into `state`, whose task is `kind`.
    fn start(&mut self, state: State, kind: TaskKind) {
        self.enter(state);
        self.start_task(kind);
    }

    fn start_task(&mut self, kind: TaskKind) {
        self.drop_task("a newer state of the worker");
        self.worker.task = Some((self.context.task, kind));
        self.effects.push(Effect::StartTask(kind));
    }

    fn drop_task(&mut self, why: &'static str) {
        if let Some((task, _)) = self.worker.task.take() {
            self.effects.push(Effect::CancelTask(task, why));
        }
    }

    fn drop_occupation(&mut self, reason: &str) {
        if let Some(occupation) = self.worker.occupation.take() {
            let reason = format!("worker {}: {reason}", self.worker.id);
            self.effects.push(if occupation.opened {
                Effect::FailRequest(occupation.request, reason)
            } else {
                Effect::RequeueRequest(occupation.request, reason)
            });
        }
    }

    fn enter(&mut self, state: State) {
        if self.worker.state != state {
            self.worker.since = self.context.now;
        }
        self.worker.state = state;
        self.worker.reason = None;
        self.worker.generation += 1;
        if state != State::Running {
            self.worker.occupation = None;
        }
        if state != State::Failed {
            self.worker.recovery.recheck_at = None;
            self.worker.recovery.attempts = 0;
        }
    }

    fn finish(mut self, before: &Worker) -> Transition {
        if self.worker != *before {
            self.worker.revision = before.revision + 1;
        }
        Transition { worker: self.worker, effects: self.effects }
    }
}
