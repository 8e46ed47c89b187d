//! Jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// State of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its user has access.
    Running,
    /// Over.
    Ended,
}

/// The time-bounded occupation of one worker by one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Number of the request.
    pub id: u64,
    /// On which worker.
    pub worker: Uuid,
    /// State.
    pub state: JobState,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ends by itself.
    pub timeout: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How often it was prolonged.
    pub prolongs: u32,
    /// Since when its client has been silent; null while it is heard of.
    #[serde(default)]
    pub away_since: Option<Timestamp>,
    /// Since when its board has not answered; null while it does.
    #[serde(default)]
    pub unreachable_since: Option<Timestamp>,
    /// Whether it outlives its client: heartbeats are no longer needed.
    #[serde(default)]
    pub kept: bool,
    /// Who ended it; null while it runs.
    #[serde(default)]
    pub ended_by: Option<String>,
    /// Why it ended, where that is worth telling; null while it runs.
    #[serde(default)]
    pub reason: Option<String>,
    /// How the user gets in; null once it has ended.
    pub access: Option<Access>,
}

/// How the user of a job gets to its worker: an ssh server behind this address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// Host to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: u16,
    /// Account.
    pub user: String,
    /// The board's OpenSSH host keys; empty = its driver knows none.
    pub host_keys: Vec<String>,
    /// The private key (PKCS#1 PEM) when the farm made the pair; only in the answer about this one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
}
