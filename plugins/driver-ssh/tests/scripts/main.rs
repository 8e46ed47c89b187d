//! Runs the driver's scripts as a board would, once with the machine's own tools and once with nothing but busybox.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may")]

mod board;
mod inventory;
mod other_user;
mod own_user;
