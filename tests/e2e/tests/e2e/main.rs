//! The whole of Grove, from outside.
//!
//! `GROVE_LOAD_SECONDS` says how long the mixed load of `load` lasts (30 by default), `GROVE_KILLS` how often `killed` kills
//! (25 by default).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod demo;
mod disks;
mod hostile;
mod inspectors;
mod introspection;
mod kill9;
mod killed;
mod ledger;
mod load;
mod objects;
mod once;
mod real_ssh;
mod recreate;
mod serve;
mod services;
mod swap;
mod user;
