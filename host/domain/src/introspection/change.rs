//! What inspectors and rules conclude from an inventory.

use std::sync::Arc;

use crate::capability::Map;
use crate::id::WorkerId;
use crate::worker::Worker;

/// One conclusion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The board has this capability.
    SetCapability(String, String),
    /// Whatever was concluded before: the board does not have this capability.
    UnsetCapability(String),
    /// A remark on the board that nobody is matched by.
    Label(String, String),
    /// The board is not what it should be: the run fails, for this reason.
    Fail(String),
}

/// A worker as inspectors and rules see it: what it would be without any introspection, so that the same inventory always
/// leads to the same conclusions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Identity.
    pub worker: WorkerId,
    /// Name of its driver.
    pub driver: String,
    /// Where it stands.
    pub host: Option<String>,
    /// Groups, sorted.
    pub groups: Vec<String>,
    /// What its board registered, under what its admin says.
    pub capabilities: Arc<Map>,
}

impl View {
    /// Of this worker.
    pub fn of(worker: &Worker) -> Self {
        Self {
            worker: worker.id,
            driver: worker.registration.driver.clone(),
            host: worker.host.clone(),
            groups: worker.groups().to_vec(),
            capabilities: worker.capabilities.without_introspected(worker.id).effective().clone(),
        }
    }
}
