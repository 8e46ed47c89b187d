//! Events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry of the farm's history. Over SSE `seq` is the id and `kind` the event's name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Place in the sequence, from 1, without gaps but the one that an import leaves.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: `core`, `policy`, `board`, or `user:NAME`.
    pub actor: String,
    /// What, in dotted words: `worker.state`, `request.created` …
    pub kind: String,
    /// About what: `worker/UUID`, `request/42`, `task/UUID`, `plugin/NAME`, `farm`.
    pub subject: String,
    /// What was before.
    pub before: Option<String>,
    /// What is now.
    pub after: Option<String>,
    /// Why, in a sentence.
    pub note: Option<String>,
}
