//! The whole of Grove, from outside.
//!
//! `GROVE_LOAD_SECONDS` says how long the mixed load of `load` lasts (30 by default), `GROVE_KILLS` how often `killed` kills
//! (25 by default), `GROVE_DAY_SECONDS` how long the day of `lab_day` is (60 by default).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod backup;
mod boards;
mod compiling;
mod demo;
mod descriptors;
mod disks;
mod hostile;
mod idle;
mod imports;
mod inspectors;
mod introspection;
mod kill9;
mod killed;
mod lab_day;
mod ledger;
mod load;
mod objects;
mod once;
mod real_ssh;
mod recreate;
mod serve;
mod services;
mod sessions;
mod shortage;
mod swap;
mod user;
