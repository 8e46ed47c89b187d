//! Why a request waits.

use grove_domain::id::WorkerId;
use grove_domain::moment::Timestamp;

/// One reason, for programs (`code`) and people (`text`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// Stable word: `not_yet_valid`, `no_such_worker`, `no_idle_worker`, `opening`, `limit`, `shortage`, `ahead`,
    /// `job_ahead`, `recheck`, `farm_maintenance`, `policy`, `requeued`, `ended` …
    pub code: &'static str,
    /// A sentence.
    pub text: String,
    /// The worker that it is about.
    pub worker: Option<WorkerId>,
    /// Until when it surely holds.
    pub until: Option<Timestamp>,
}
