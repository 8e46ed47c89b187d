//! The server as clients meet it: a real controller on surroundings in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here is a failed test"
)]

mod kit;

mod bad_clients;
mod front;
mod fuzz;
mod golden;
mod pages;
mod v1;
mod v2;
mod v2_artifacts;
mod v2_events;
mod v2_farm;
mod v2_introspections;
mod v2_limits;
mod v2_logs;
mod v2_mode;
mod v2_plugins;
mod v2_refusals;
mod v2_revisions;
mod v2_rules;
mod v2_services;
