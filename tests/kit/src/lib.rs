//! What tests across rooms stand on: a real `grove serve` as a child process, a real OpenSSH server as a board, a real
//! `ssh` as a user, and ways to wait for what they do.
//!
//! What must never happen here: a fake of any of them; a change to the machine; a process or a file that outlives its
//! test (what is built goes where cargo builds); a wait without an end; a test that passes because something was missing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is there for tests, which say by a panic what went wrong"
)]

pub mod built;
pub mod compiled;
pub mod disk;
pub mod farm;
pub mod grove;
pub mod history;
pub mod slow;
pub mod ssh;
pub mod sshd;
pub mod terminal;
pub mod tools;
pub mod v1;
pub mod wait;

pub use disk::Disk;
pub use farm::Farm;
pub use grove::{Grove, Process, Setup};
pub use grove_client as client;
pub use ssh::Ssh;
pub use sshd::Sshd;
pub use terminal::Terminal;
pub use v1::V1;
