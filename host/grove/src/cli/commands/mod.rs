//! One file per verb; its twin in `tests/test_VERB_command.rs` shows what it prints.

pub(crate) mod artifact;
pub(crate) mod completions;
pub(crate) mod events;
pub(crate) mod farm;
pub(crate) mod introspect;
pub(crate) mod job;
pub(crate) mod limit;
pub(crate) mod plugin;
pub(crate) mod request;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod services;
pub(crate) mod ssh;
pub(crate) mod task;
pub(crate) mod why;
pub(crate) mod worker;

/// Longest list that is shown.
const MAX_LIST: usize = 100_000;
