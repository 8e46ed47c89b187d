//! Limits on running tasks.

use serde::{Deserialize, Serialize};

/// What a limit is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Every task.
    Farm,
    /// Tasks of one driver.
    Driver,
    /// Tasks on workers of one host.
    Host,
}

/// How many tasks may run at the same time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// On what.
    pub scope: LimitScope,
    /// Of which driver or host; empty for the farm.
    pub name: String,
    /// At most so many; null = any number, 0 = nothing starts: a drain.
    pub value: Option<u32>,
    /// How many run there now.
    pub running: u64,
    /// Changes with every write; also its ETag. 0 = never set.
    pub revision: u64,
}

/// `PUT /api/v2/limits/farm`, `/limits/driver/{name}`, `/limits/host/{name}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// At most so many; null = any number, 0 = nothing starts.
    #[serde(deserialize_with = "value")]
    pub value: Option<u32>,
}

/// Null must be said: nothing said is no wish.
fn value<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(deserializer)
}
