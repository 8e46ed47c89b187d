//! Artifacts: files that users bring for boards, by cache group and key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An artifact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// The cache group: who may use it.
    pub group: String,
    /// Its name in the group.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// What it holds: SHA-256 in hex. Also its ETag.
    pub sha256: String,
    /// When it came.
    pub created: Timestamp,
    /// When it was last brought, asked for or read. One that nobody uses is removed after a while.
    pub used: Timestamp,
    /// What is known to be wrong with its file: it cannot be read until it is brought again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}
