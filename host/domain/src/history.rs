//! What one asks of a farm's history.

use crate::event::Subject;
use crate::id::{IntrospectionId, RequestId, TaskId, WorkerId};
use crate::introspection;
use crate::task::{Phase, TaskKind};

/// Which tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskQuery {
    /// Of this worker.
    pub worker: Option<WorkerId>,
    /// Of this request.
    pub request: Option<RequestId>,
    /// Of this kind.
    pub kind: Option<TaskKind>,
    /// In this phase.
    pub phase: Option<Phase>,
    /// Older than this one.
    pub before: Option<TaskId>,
    /// At most so many.
    pub limit: usize,
}

/// Which runs of introspection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IntrospectionQuery {
    /// Of this worker.
    pub worker: Option<WorkerId>,
    /// In this state.
    pub state: Option<introspection::State>,
    /// Older than this one.
    pub before: Option<IntrospectionId>,
    /// At most so many.
    pub limit: usize,
}

/// Which events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventQuery {
    /// After this place in the sequence.
    pub after: u64,
    /// Before this place in the sequence.
    pub before: Option<u64>,
    /// Whether the newest come first.
    pub newest_first: bool,
    /// About this.
    pub subject: Option<Subject>,
    /// Of this kind.
    pub kind: Option<String>,
    /// At most so many.
    pub limit: usize,
}
