//! The store as its callers meet it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod any;
mod farm;

mod commits;
mod constraints;
mod crash;
mod introspections;
mod limits;
mod opening;
mod plugins;
mod reads;
mod round_trip;
mod tasks;
mod transfer;
