//! Matching: rounds with the policy, and why a request waits.

pub(crate) mod session;
pub(crate) mod told;
pub(crate) mod why;
