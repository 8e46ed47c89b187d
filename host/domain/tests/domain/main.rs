//! The rules of a farm, tested from outside.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

mod fixtures;
mod values;

mod findings;
mod introspection;
mod inventory;
mod machines_together;
mod matching;
mod matching_model;
mod plugin;
mod plugin_properties;
mod request;
mod request_properties;
mod rule;
mod rule_conditions;
mod rule_properties;
mod task;
mod wants;
mod worker;
mod worker_properties;
