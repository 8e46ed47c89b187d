//! Services: the long-lived parts of the controller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a service is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// It does not run, and will not before something changes.
    Stopped,
    /// It waits for an input, or for the time of its next start.
    Waiting,
    /// It is being started.
    Starting,
    /// It does its work.
    Started,
    /// It is being stopped.
    Stopping,
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its name; may hold slashes: `plugin/ssh@0123456789ab`.
    pub name: String,
    /// What it is doing.
    pub state: ServiceState,
    /// The services whose outputs it needs.
    pub inputs: Vec<ServiceInput>,
    /// The inputs that keep it from starting.
    pub waits_for: Vec<String>,
    /// How often it has started.
    pub starts: u64,
    /// How often it was started again after an error.
    pub restarts: u64,
    /// How often it was started again because an input had changed.
    pub bounces: u64,
    /// Why it last ended badly.
    pub last_error: Option<String>,
    /// When it last started.
    pub last_start: Option<Timestamp>,
    /// When it starts next, where that is known.
    pub next_start: Option<Timestamp>,
    /// What it tells of itself.
    pub detail: BTreeMap<String, String>,
}

/// An input of a service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceInput {
    /// Name of the service.
    pub name: String,
    /// What that is doing; null = there is none of this name.
    pub state: Option<ServiceState>,
}
