//! Workers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::introspection::NewestIntrospection;
use crate::task::TaskKind;

/// State of a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// The admin owns it; every worker starts here.
    Maintenance,
    /// On its way to idle.
    Prepare,
    /// May be matched.
    Idle,
    /// Its job is being opened or runs.
    Running,
    /// On its way to maintenance.
    Busy,
    /// Broken.
    Failed,
}

/// A worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Identity.
    pub uuid: Uuid,
    /// State.
    pub state: WorkerState,
    /// When it came into this state.
    pub since: Timestamp,
    /// Why it is in this state, where that is worth telling.
    pub reason: Option<String>,
    /// Name of its driver.
    pub driver: String,
    /// Digest of the driver's version that it is pinned to; null = whichever is active.
    pub driver_version: Option<String>,
    /// The driver's configuration.
    pub driver_config: serde_json::Value,
    /// Where it stands.
    pub host: Option<String>,
    /// The admin's remarks.
    pub notes: Option<String>,
    /// Who may use it; empty = everyone.
    pub groups: Vec<String>,
    /// What requests are matched against.
    pub capabilities: BTreeMap<String, String>,
    /// Where the capabilities come from; admin wins over introspected wins over agent.
    pub sources: Sources,
    /// Result of the last check.
    pub health: Health,
    /// The job that it runs or opens.
    pub job: Option<WorkerJob>,
    /// Its live task.
    pub task: Option<WorkerTask>,
    /// Its newest introspection; null when there never was one.
    #[serde(default)]
    pub introspection: Option<NewestIntrospection>,
    /// Its way back from failed; null unless it failed lately.
    pub recovery: Option<Recovery>,
    /// Whether it goes to maintenance as soon as no job holds it.
    #[serde(default)]
    pub drain: bool,
    /// Changes with its state and its registration.
    pub generation: u64,
    /// Changes with every write; also its ETag.
    pub revision: u64,
}

/// Capabilities by source.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sources {
    /// From the board's registration.
    pub agent: BTreeMap<String, String>,
    /// From introspection.
    pub introspected: BTreeMap<String, String>,
    /// From the admin.
    pub admin: BTreeMap<String, String>,
}

/// Result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Health {
    /// Whether it was well.
    pub ok: bool,
    /// When that was; null = never checked.
    pub checked_at: Option<Timestamp>,
    /// The driver's remark.
    pub note: String,
}

/// The job on a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerJob {
    /// Number of the request and of its job.
    pub id: u64,
    /// Whether the job runs; until then it is being opened.
    pub open: bool,
}

/// The live task of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerTask {
    /// Identity.
    pub id: Uuid,
    /// What it does.
    pub kind: TaskKind,
}

/// The way of a worker back from failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// Falls into failed since it last proved good.
    pub relapses: u32,
    /// Re-checks that failed since the last fall.
    pub attempts: u32,
    /// When it is re-checked next.
    pub recheck_at: Option<Timestamp>,
    /// Whether it stays failed until its admin or a changed registration says otherwise.
    pub quarantined: bool,
}

/// `PUT /api/v2/workers/{uuid}`: the board registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutWorker {
    /// Name of its driver.
    pub driver: String,
    /// The driver's configuration: an object.
    #[serde(default = "empty_object")]
    pub driver_config: serde_json::Value,
    /// The agent's capabilities; left out = as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<BTreeMap<String, String>>,
    /// Who may use it; left out = as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Where it stands; left out = as it was, null = nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub host: Option<Option<String>>,
}

/// `PATCH /api/v2/workers/{uuid}`: the admin's part. What is left out stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchWorker {
    /// All capabilities that the admin says; null = none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub capabilities: Option<Option<BTreeMap<String, String>>>,
    /// Who may use it; null or empty = everyone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub groups: Option<Option<Vec<String>>>,
    /// Where it stands; null = nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub host: Option<Option<String>>,
    /// Remarks; null = none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub notes: Option<Option<String>>,
    /// Digest of the driver's version for its tasks; null = whichever is active.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub driver_version: Option<Option<String>>,
}

/// Where an admin can want a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedState {
    /// Ready for jobs.
    Idle,
    /// In the admin's hands.
    Maintenance,
}

/// `POST /api/v2/workers/{uuid}/state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveWorker {
    /// Where it shall go.
    pub state: WantedState,
    /// Idle: also from failed. Maintenance: also when a job runs on it (the job ends), and again when it is there.
    #[serde(default)]
    pub force: bool,
    /// Maintenance: when no job runs on it any more; until then it can be called off by wanting it idle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub when_free: bool,
}

/// `POST /api/v2/workers/{uuid}/failure`: somebody who knows reports that it is broken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportFailure {
    /// Why.
    pub reason: String,
    /// Whether later checks may find it well again, as when the board reports itself. Without it, it stays out until its admin
    /// wants it idle, with force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recheck: bool,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// Keeps "null was given" and "nothing was given" apart.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
