//! What a worker can do: text keys and values, by source.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::WorkerId;

/// Text key -> text value.
pub type Map = BTreeMap<String, String>;

/// Key under which every worker offers its own identity.
pub const UUID_KEY: &str = "UUID";

/// Key under which a worker offers the keys that its newest introspection contradicted, between commas. Only the core sets
/// it, among what introspection found.
pub const DRIFT_KEY: &str = "DRIFT";

/// Bytes of a key.
pub const MAX_KEY: usize = 128;
/// Bytes of a value.
pub const MAX_VALUE: usize = 1024;
/// Capabilities of one worker from one source.
pub const MAX_CAPABILITIES: usize = 256;

/// Whether a key is the core's own: nobody else says anything under it.
pub fn is_reserved(key: &str) -> bool {
    key == UUID_KEY || key == DRIFT_KEY
}

/// Capabilities of one worker by source. Effective = admin over introspected over agent, plus `UUID`; `DRIFT`
/// is only ever what introspection says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    agent: Arc<Map>,
    introspected: Arc<Map>,
    admin: Arc<Map>,
    effective: Arc<Map>,
}

impl Capabilities {
    /// Capabilities of `worker` from its three sources.
    pub fn new(worker: WorkerId, agent: Arc<Map>, introspected: Arc<Map>, admin: Arc<Map>) -> Self {
        let mut effective = Map::clone(&agent);
        for source in [&introspected, &admin] {
            effective.extend(source.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        effective.insert(UUID_KEY.to_owned(), worker.to_string());
        // Whoever else speaks of drift does not know of it.
        match introspected.get(DRIFT_KEY) {
            Some(drift) => drop(effective.insert(DRIFT_KEY.to_owned(), drift.clone())),
            None => drop(effective.remove(DRIFT_KEY)),
        }
        Self { agent, introspected, admin, effective: Arc::new(effective) }
    }

    /// What the board's registration says.
    pub fn agent(&self) -> &Arc<Map> {
        &self.agent
    }

    /// What introspection found.
    pub fn introspected(&self) -> &Arc<Map> {
        &self.introspected
    }

    /// What the admin says.
    pub fn admin(&self) -> &Arc<Map> {
        &self.admin
    }

    /// What requests are matched against.
    pub fn effective(&self) -> &Arc<Map> {
        &self.effective
    }

    /// The same with another agent source.
    pub fn with_agent(&self, worker: WorkerId, agent: Arc<Map>) -> Self {
        Self::new(worker, agent, self.introspected.clone(), self.admin.clone())
    }

    /// The same with another admin source.
    pub fn with_admin(&self, worker: WorkerId, admin: Arc<Map>) -> Self {
        Self::new(worker, self.agent.clone(), self.introspected.clone(), admin)
    }
    /// The same with another introspected source.
    pub fn with_introspected(&self, worker: WorkerId, introspected: Arc<Map>) -> Self {
        Self::new(worker, self.agent.clone(), introspected, self.admin.clone())
    }

    /// The same without what introspection found.
    pub fn without_introspected(&self, worker: WorkerId) -> Self {
        self.with_introspected(worker, Arc::default())
    }
}
