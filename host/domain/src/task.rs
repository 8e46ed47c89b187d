//! A task: one durable, cancellable long operation on one worker.

use std::sync::Arc;

use crate::id::{RequestId, TaskId, WorkerId};
use crate::moment::{SignedDuration, Timestamp};
use crate::plugin::Digest;

/// What a task does. Each kind says by itself what its worker's state must be and what its end means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TaskKind {
    /// Clean and make ready (worker in PREPARE).
    Prepare,
    /// Put in maintenance (worker in BUSY).
    Maintain,
    /// Check when the last check is old, authorize keys, open the tunnel (worker in RUNNING).
    Open,
    /// See whether an idle worker is still healthy (worker in IDLE).
    Check,
    /// See whether a failed worker has recovered (worker in FAILED).
    Recheck,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Prepare, Self::Maintain, Self::Open, Self::Check, Self::Recheck];

    /// The field's word for it, as stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Maintain => "maintain",
            Self::Open => "open",
            Self::Check => "check",
            Self::Recheck => "recheck",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What must be done. Written once, never changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSpec {
    /// What kind of work.
    pub kind: TaskKind,
    /// On which worker.
    pub worker: WorkerId,
    /// Generation of the worker that the task belongs to.
    pub generation: u64,
    /// Request that the task opens a job for.
    pub request: Option<RequestId>,
    /// Name of the driver.
    pub driver: String,
    /// Version of the driver that it is to run on; none where none is known.
    pub driver_version: Option<Digest>,
    /// Longest time from start to end.
    pub timeout: SignedDuration,
    /// When it was queued.
    pub queued: Timestamp,
}

/// How far a task is. Moves forward only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Queued behind the task it supersedes, or not yet taken up.
    Waiting,
    /// Being carried out.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Superseded or stopped before its end.
    Cancelled,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The phase of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether nothing will happen any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StepOutcome {
    /// The next step began, or the task ended well.
    Success,
    /// The task failed in it.
    Failed,
    /// The task was cancelled in it.
    Cancelled,
}

impl StepOutcome {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Success, Self::Failed, Self::Cancelled].into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A named part of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The driver's name for it.
    pub name: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; set exactly when `outcome` is.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<StepOutcome>,
}

/// What has been done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskStatus {
    /// How far.
    pub phase: Phase,
    /// Steps in the order they began.
    pub steps: Vec<Step>,
    /// Percent, 0..=100, by the driver's own account.
    pub progress: u8,
    /// The driver's last word about it.
    pub note: String,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// When it was taken up.
    pub started: Option<Timestamp>,
    /// When it ended; set exactly when the phase is terminal.
    pub ended: Option<Timestamp>,
    /// When it will be stopped.
    pub deadline: Option<Timestamp>,
}

/// A task: what must be done, and what has been done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Identity.
    pub id: TaskId,
    /// What must be done.
    pub spec: Arc<TaskSpec>,
    /// What has been done.
    pub status: TaskStatus,
    /// Changes with every write, from 1.
    pub revision: u64,
}

impl Task {
    /// A task that was just queued.
    pub fn queued(id: TaskId, spec: TaskSpec) -> Self {
        let status = TaskStatus {
            phase: Phase::Waiting,
            steps: Vec::new(),
            progress: 0,
            note: String::new(),
            error: None,
            started: None,
            ended: None,
            deadline: None,
        };
        Self { id, spec: Arc::new(spec), status, revision: 1 }
    }

    /// This task ended as `phase` at `now`; its running step ends with it. A task that has ended stays as it is.
    pub fn ended(&self, phase: Phase, error: Option<String>, now: Timestamp) -> Self {
        if self.status.phase.is_terminal() {
            return self.clone();
        }
        let mut task = self.clone();
        let outcome = match phase {
            Phase::Succeeded => StepOutcome::Success,
            Phase::Cancelled => StepOutcome::Cancelled,
            _ => StepOutcome::Failed,
        };
        for step in task.status.steps.iter_mut().filter(|step| step.ended.is_none()) {
            step.ended = Some(now);
            step.outcome = Some(outcome);
        }
        if phase == Phase::Succeeded {
            task.status.progress = 100;
        }
        task.status.phase = phase;
        task.status.error = error;
        task.status.ended = Some(now);
        task.revision += 1;
        task
    }
}
