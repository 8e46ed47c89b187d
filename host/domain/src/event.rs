//! Events: what happened, in order, for good. Audit log, live stream and replay trace are this one sequence.

use std::fmt;

use crate::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use crate::moment::Timestamp;

/// What an event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// A worker.
    Worker(WorkerId),
    /// A request, or the job of that number.
    Request(RequestId),
    /// A task.
    Task(TaskId),
    /// A run of introspection.
    Introspection(IntrospectionId),
    /// A rule on inventories.
    Rule(RuleId),
    /// A plugin, by name.
    Plugin(String),
    /// The farm as a whole.
    Farm,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(id) => write!(f, "worker/{id}"),
            Self::Request(id) => write!(f, "request/{id}"),
            Self::Task(id) => write!(f, "task/{id}"),
            Self::Introspection(id) => write!(f, "introspection/{id}"),
            Self::Rule(id) => write!(f, "rule/{id}"),
            Self::Plugin(name) => write!(f, "plugin/{name}"),
            Self::Farm => f.write_str("farm"),
        }
    }
}

impl std::str::FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(text: &str) -> Result<Self, UnknownSubject> {
        let unknown = || UnknownSubject(text.to_owned());
        if text == "farm" {
            return Ok(Self::Farm);
        }
        let (kind, id) = text.split_once('/').ok_or_else(unknown)?;
        match kind {
            "worker" => id.parse().map(Self::Worker).map_err(|_| unknown()),
            "request" => id.parse().map(|id| Self::Request(RequestId(id))).map_err(|_| unknown()),
            "task" => id.parse().map(Self::Task).map_err(|_| unknown()),
            "introspection" => id.parse().map(Self::Introspection).map_err(|_| unknown()),
            "rule" => id.parse().map(Self::Rule).map_err(|_| unknown()),
            "plugin" => Ok(Self::Plugin(id.to_owned())),
            _ => Err(unknown()),
        }
    }
}

/// A subject that this version does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown event subject {0:?}")]
pub struct UnknownSubject(pub String);

/// One entry of the farm's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Place in the sequence, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: `core`, `policy`, `board`, or `user:NAME`.
    pub actor: String,
    /// What, in dotted words: `worker.state`, `request.created`, `task.ended`, `plugin.failed` …
    pub kind: String,
    /// About what.
    pub subject: Subject,
    /// What was before: a state or value, as people read it.
    pub before: Option<String>,
    /// What is now.
    pub after: Option<String>,
    /// Why, in a sentence.
    pub note: Option<String>,
}
