//! Tasks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Clean and make ready.
    Prepare,
    /// Put in maintenance.
    Maintain,
    /// Open a job.
    Open,
    /// See whether an idle worker is well.
    Check,
    /// See whether a failed worker has recovered.
    Recheck,
    /// Find out what a board is made of.
    Introspect,
    /// Switch a board off whose introspection was aborted.
    PowerOff,
}

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskPhase {
    /// Not yet taken up.
    Waiting,
    /// Being carried out.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Superseded or stopped.
    Cancelled,
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It went well.
    Success,
    /// The task failed in it.
    Failed,
    /// The task was cancelled in it.
    Cancelled,
    /// It was never begun.
    Skipped,
}

/// A named part of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What it does: `check`, `revoke`, `prepare`, `authorize`, `take_key`, `open_tunnel`, `maintain`, `clean_up`,
    /// `introspect`, `process`, `power_cycle`, `power_off`, or `driver` for one of the driver's own. Text, since a newer server may know more.
    pub kind: String,
    /// As people read it; the driver's name for its own.
    pub name: String,
    /// When it began; null where it is still to come, or was skipped.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<StepOutcome>,
}

/// A line that a task said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TailLine {
    /// When.
    pub at: Timestamp,
    /// How grave: debug, info, warn, error.
    pub level: String,
    /// What.
    pub text: String,
}

/// One long operation on one worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Identity; ids order by the time the tasks were queued.
    pub id: Uuid,
    /// On which worker.
    pub worker: Uuid,
    /// What it does.
    pub kind: TaskKind,
    /// Request whose job it opens.
    pub request: Option<u64>,
    /// Name of the driver.
    pub driver: String,
    /// Digest of the driver's version that it runs on, where that is known.
    pub driver_version: Option<String>,
    /// How far.
    pub phase: TaskPhase,
    /// In the order in which they began or are to come.
    pub steps: Vec<Step>,
    /// Percent, by the driver's own account.
    pub progress: u8,
    /// The driver's last word about it.
    pub note: String,
    /// What it said last, oldest first; lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<TailLine>>,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it was taken up.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When it will be stopped.
    pub deadline: Option<Timestamp>,
}
