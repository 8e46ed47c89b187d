//! What the user of a running job should know.

use grove_domain::moment::Timestamp;

/// One thing, for programs (`code`, `at`) and people (`text`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Stable word: `ending` (its time is soon up), `idle` (it is soon given back, because nothing moves), `unreachable` (its
    /// board does not answer).
    pub code: &'static str,
    /// A sentence.
    pub text: String,
    /// When what it warns of happens; of `unreachable`, since when it is so.
    pub at: Timestamp,
}
