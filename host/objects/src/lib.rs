//! Files of any size, kept outside the store: what tasks said, and what requests bring.
//!
//! - [`Objects`]: where they are: a folder of this machine, or a bucket that speaks S3.
//! - [`Artifacts`]: files that users bring, by cache group and key; with quotas, and gone when nobody uses them.
//! - [`Logs`]: the lines of tasks, live while these run, and kept in pieces afterwards.
//!
//! This is the only room that knows an object-store library. What must never happen here: two names that meet in one
//! place, or a name that leads out of its place; a file that is seen before it is whole; a task that waits for its
//! log; a word of requests, workers or policies: this room knows names, bytes and lines only.

mod artifacts;
mod connector;
mod error;
mod logs;
mod name;
mod objects;

pub use artifacts::{Artifact, Artifacts, Body, Damage, Expected, OnDisk, Put, Quotas};
pub use error::Error;
pub use logs::{Keeping, Kind, Line, Logs, Read, TaskLog};
pub use name::{BadName, MAX_NAME, Name};
pub use objects::{Backend, Objects, S3};
