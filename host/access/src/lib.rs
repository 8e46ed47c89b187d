//! The way to a board: session keys, tunnels, and ssh.
//!
//! - [`tunnel`]: the TCP way from a user to the board of their job, open exactly as long as the job.
//! - [`keypool`]: RSA session key pairs, made ahead of time, each handed out once.
//! - [`keys`]: what users give as their own public key, checked.
//! - [`ssh`]: commands and files on a board's supervisor; [`secrets`]: the identities for that.
//! - [`board`]: a real ssh server on this host that stands for a board, for the demo and for tests.
//!
//! This is the only room that knows an ssh library. What must never happen here: a byte through a tunnel whose closing
//! was reported; a session key handed out twice; a private key in a log line; a host key accepted that nobody pinned
//! without the admin saying so; a word of requests, workers or policies: this room knows ids, addresses and keys only.

pub mod board;
pub mod keypool;
pub mod keys;
pub mod secrets;
pub mod ssh;
pub mod tunnel;
