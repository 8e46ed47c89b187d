//! The whole of Grove, from outside.
//!
//! `GROVE_LOAD_SECONDS` says how long the mixed load of `load` lasts (30 by default).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod demo;
mod hostile;
mod kill9;
mod load;
mod objects;
mod once;
mod real_ssh;
mod recreate;
mod serve;
mod services;
mod swap;
mod user;
