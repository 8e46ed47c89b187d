//! Introspection: finding out what a board is made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// State of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntrospectionState {
    /// Accepted; its task waits for its turn, or gets the board ready.
    Starting,
    /// Its inventory is expected.
    Waiting,
    /// An inventory is there; inspectors and rules are at work.
    Processing,
    /// Done.
    Finished,
    /// Failed, aborted or timed out; `error` says which.
    Error,
    /// Today's inspectors and rules are at work on the stored inventory.
    Reapplying,
    /// An inventory came from a board that nobody registered; it is decided whether it becomes a worker.
    Enrolling,
    /// To be ended; the board is being switched off.
    Aborting,
}

impl IntrospectionState {
    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Error)
    }
}

/// How the inventory comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntrospectionWay {
    /// The driver reads it.
    Pull,
    /// The board sends it, with a one-time token.
    Push,
    /// A board that nobody registered sent it.
    Enrol,
}

/// A run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Introspection {
    /// Identity; ids order by the time the runs were started.
    pub id: Uuid,
    /// Of which worker; null while it is not decided whether an unknown board becomes one.
    pub worker: Option<Uuid>,
    /// How the inventory comes.
    pub way: IntrospectionWay,
    /// State.
    pub state: IntrospectionState,
    /// When it came into this state.
    pub since: Timestamp,
    /// When it was started, or was last reapplied.
    pub started: Timestamp,
    /// When it ended; null while it goes on.
    pub finished: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// What is stored of it.
    pub has_data: HasData,
    /// Changes with every write; also its ETag.
    pub revision: u64,
    /// What the board must show with its inventory: told once, to whoever started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where the board sends its inventory, from the root of this server: told with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_url: Option<String>,
}

/// What is stored of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HasData {
    /// The inventory as it came.
    pub raw: bool,
    /// The inventory as inspectors brought it into form.
    pub processed: bool,
}

/// The newest run of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewestIntrospection {
    /// Identity.
    pub id: Uuid,
    /// Where it is.
    pub state: IntrospectionState,
}

/// How an inventory shall come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedWay {
    /// The driver reads it.
    #[default]
    Pull,
    /// The board sends it.
    Push,
}

/// `POST /api/v2/introspections`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartIntrospection {
    /// Of which worker.
    pub worker: Uuid,
    /// How the inventory shall come.
    #[serde(default)]
    pub way: WantedWay,
}

/// Which of the inventories of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryKind {
    /// As it came.
    Raw,
    /// As inspectors brought it into form.
    #[default]
    Processed,
}

/// What a run found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Capabilities.
    pub capabilities: BTreeMap<String, String>,
    /// Remarks that nobody is matched by.
    pub labels: BTreeMap<String, String>,
    /// Who found each capability: `inspector/NAME` or `rule/UUID`.
    pub by: BTreeMap<String, String>,
}

/// What is different between the inventories of two runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InventoryDiff {
    /// The run with the inventory afterwards.
    pub id: Uuid,
    /// The run with the inventory before.
    pub with: Uuid,
    /// In the order of the inventory.
    pub differences: Vec<Difference>,
    /// Whether there are more than are told.
    pub more: bool,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// Where: a JSON pointer.
    pub path: String,
    /// What was there; left out where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub before: Option<serde_json::Value>,
    /// What is there; left out where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub after: Option<serde_json::Value>,
}

/// `POST /api/v2/introspections/reapply`: what was begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reapplying {
    /// Of how many workers the stored inventories are processed again.
    pub count: u64,
}

/// Keeps "null is there" and "nothing is there" apart.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}
