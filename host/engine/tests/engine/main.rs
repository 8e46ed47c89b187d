//! What the engine promises, on paused time.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod kit;

mod installs;

mod inputs;

mod restarts;

mod bounces;

mod uninstalls;

mod stops;

mod fatal;

mod misuse;

mod reports;

mod configs;

mod leaks;

mod anything;
