//! A task: one durable, cancellable long operation on one worker.
//!
//! Its row holds what must be done (the spec, written once) and what has been done (the status, which only moves
//! forward). Nothing large and nothing secret is in it: a driver's configuration and a job's keys stay in the rows of
//! worker and request, and are looked up when the task starts.

mod log;
mod status;
mod step;

pub use log::{LogLevel, LogLine, LogTail};
pub use status::{End, Report, TaskStatus};
pub use step::{Step, StepKind, StepOutcome, UnknownStep};

use std::sync::Arc;

use crate::id::{IntrospectionId, RequestId, TaskId, WorkerId};
use crate::introspection::{self, Introspection, Way};
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
    /// Find out what the board is made of (worker in MAINTENANCE).
    Introspect,
    /// Switch the board off after an introspection that was aborted (worker in MAINTENANCE).
    PowerOff,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Prepare,
        Self::Maintain,
        Self::Open,
        Self::Check,
        Self::Recheck,
        Self::Introspect,
        Self::PowerOff,
    ];

    /// The field's word for it, as stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Maintain => "maintain",
            Self::Open => "open",
            Self::Check => "check",
            Self::Recheck => "recheck",
            Self::Introspect => "introspect",
            Self::PowerOff => "power_off",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Who goes first where not all may run: users who wait, then boards for the next ones, then the admin, then mere
    /// looks.
    pub fn class(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Prepare => 1,
            Self::Maintain | Self::Introspect | Self::PowerOff => 2,
            Self::Check | Self::Recheck => 3,
        }
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
    /// Run of introspection that it works for, alone (introspect, power off) or on its way (the first prepare).
    pub introspection: Option<IntrospectionId>,
    /// Name of the driver.
    pub driver: String,
    /// Where the worker stood when it was queued: what it counts for, also when the worker is moved meanwhile.
    pub host: Option<String>,
    /// Version of the driver that it is to run on; none where none is known.
    pub driver_version: Option<Digest>,
    /// Longest time from start to end.
    pub timeout: SignedDuration,
    /// When it was queued.
    pub queued: Timestamp,
}

impl TaskSpec {
    /// Whether it undoes what a job left: such tasks run also while the farm is in maintenance.
    pub fn winds_down(&self) -> bool {
        match self.kind {
            TaskKind::Maintain | TaskKind::PowerOff => true,
            TaskKind::Prepare => self.request.is_some(),
            TaskKind::Open | TaskKind::Check | TaskKind::Recheck | TaskKind::Introspect => false,
        }
    }

    /// The core's steps of this task, in their order. To open a job, the board is looked at when `check`, and a key
    /// pair is taken when the user gave no key of their own. `run` is the introspection that it works for, as it is now.
    pub fn plan(&self, check: bool, take_key: bool, run: Option<&Introspection>) -> Vec<StepKind> {
        use introspection::State;
        let expects = run.is_some_and(|run| matches!(run.state, State::Starting | State::Waiting));
        let pushed = run.is_some_and(|run| run.way == Way::Push);
        let steps = match self.kind {
            TaskKind::Prepare => vec![
                (self.request.is_some(), StepKind::Revoke),
                (expects, StepKind::Introspect),
                (expects || run.is_some_and(|run| run.state == State::Processing), StepKind::Process),
                (true, StepKind::Prepare),
            ],
            TaskKind::Introspect => vec![
                (pushed, StepKind::PowerCycle),
                (!pushed && expects, StepKind::Introspect),
                (!pushed, StepKind::Process),
            ],
            TaskKind::PowerOff => vec![(true, StepKind::PowerOff)],
            TaskKind::Maintain => {
                vec![(self.request.is_some(), StepKind::Revoke), (true, StepKind::Maintain)]
            }
            TaskKind::Check | TaskKind::Recheck => vec![(true, StepKind::Check)],
            TaskKind::Open => vec![
                (check, StepKind::Check),
                (take_key, StepKind::TakeKey),
                (true, StepKind::Authorize),
                (true, StepKind::OpenTunnel),
            ],
        };
        steps.into_iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| kind).collect()
    }
}

/// How far a task is. Moves forward only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Queued: behind the task it supersedes, or until the farm's limits and mode let it start.
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
        Self { id, spec: Arc::new(spec), status: TaskStatus::waiting(), revision: 1 }
    }

    /// This task after the report; none when that comes too late and changes nothing.
    pub fn reported(&self, report: Report) -> Option<Self> {
        let status = self.status.report(report)?;
        Some(Self { status, revision: self.revision + 1, ..self.clone() })
    }

    /// Whether this step is planned, or was begun.
    pub fn has_step(&self, kind: &StepKind) -> bool {
        self.status.steps.iter().any(|step| step.kind == *kind)
    }
}
