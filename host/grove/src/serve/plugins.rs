//! Plugins of a farm that runs: found, kept, loaded, tried out, and handed to whoever runs on them.
//!
//! ```text
//! found (binary, folder) ─┐                        ┌─ rows of the farm: installed, enabled, active, on probation
//! admin (install, swap …) ─┴─ tried out ─ shelf ──▶ controller
//!                                                  └──▶ follow: a service for each version that is needed
//!                                                              └──▶ registry ──▶ tasks, registrations, policy
//! ```
//!
//! What must never happen here: a version used that was not tried out; one taken away from a task that runs on it.

pub(crate) mod admin;
pub(crate) mod found;
pub(crate) mod intake;
pub(crate) mod load;
pub(crate) mod registry;
pub(crate) mod shelf;
