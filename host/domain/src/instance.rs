//! Instances: each start of a controller is one. What an instance ran ends with it.

use crate::id::InstanceId;
use crate::moment::{SignedDuration, Timestamp};

/// One start of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Identity.
    pub id: InstanceId,
    /// Counts the starts, from 1: of two instances the higher is the one that decides. Given by the store.
    pub incarnation: u64,
    /// When it started.
    pub started: Timestamp,
    /// When it was last known to be alive.
    pub heartbeat: Timestamp,
    /// When it stopped by itself, leaving nothing that runs.
    pub ended: Option<Timestamp>,
}

impl Instance {
    /// An instance that starts; its incarnation is still to be given.
    pub fn starting(id: InstanceId, now: Timestamp) -> Self {
        Self { id, incarnation: 0, started: now, heartbeat: now, ended: None }
    }

    /// Whether nothing that it ran runs any more, though it never said so: a newer one took over, or it was silent for
    /// longer than `silence`.
    pub fn has_died(&self, newest: u64, now: Timestamp, silence: SignedDuration) -> bool {
        let silent = now.duration_since(self.heartbeat) > silence;
        self.ended.is_none() && (self.incarnation < newest || silent)
    }
}
