//! The farm as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the farm does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its work.
    Normal,
    /// Nothing new; what runs is wound down.
    Maintenance,
}

/// What becomes of jobs when the farm goes into maintenance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunningJobs {
    /// They are left to their end.
    #[default]
    Drain,
    /// They end now.
    Cut,
}

/// The farm's mode.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FarmMode {
    /// Which.
    pub mode: Mode,
    /// Since when; null where it never was another.
    pub since: Option<Timestamp>,
    /// Why it is in maintenance.
    pub reason: Option<String>,
    /// When maintenance is expected to be over.
    pub until: Option<Timestamp>,
    /// Changes with every write; also its ETag. 0 = never set.
    pub revision: u64,
}

/// The farm: its mode, and how much of what there is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Farm {
    /// What it does.
    pub mode: FarmMode,
    /// Registered workers.
    pub workers: u64,
    /// Requests in the queue.
    pub waiting: u64,
    /// Workers that a job occupies, or one that is being opened.
    pub jobs: u64,
    /// Tasks that run.
    pub tasks: u64,
}

/// `PUT /api/v2/farm/mode`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMode {
    /// Which.
    pub mode: Mode,
    /// What becomes of jobs; only for maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningJobs>,
    /// Why; everybody who is refused is told. Only for maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is expected to be over. Only for maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
