//! Project chores, for people and for CI: build the guests and the host, run the demo, run every check and test.
//!
//! Must never happen here: something that the controller needs at run time, or a chore that works only on one
//! machine. Whatever is missing is named, with the command that installs it.

pub mod bench;
pub mod bundle;
pub mod checks;
pub mod demo;
pub mod deny;
pub mod floors;
pub mod guests;
pub mod metadata;
pub mod project;
mod setup;
pub mod spdx;
pub mod tally;
