//! The HTTP server: the old API exactly as its clients know it (`/api/v1`), ours (`/api/v2`), events, and a few plain
//! pages.
//!
//! The [`Front`] listens, and answers as long as the process lives: whether the farm is served, and what is missing. The
//! [`App`] of a controller is attached to it while that controller runs.
//!
//! A handler reads the farm from its last committed snapshot, or asks the controller for a decision and waits for its
//! answer. Whatever a client sends, the answer is a clear 4xx; a 5xx means that the farm cannot, never that the client
//! was odd.
//!
//! What must never happen here: a decision; a lock held while waiting; an unbounded body, list, wait or number of
//! connections; an owner taken from a body; a type of the domain on the wire, or a wire type past a handler.

pub mod server;

mod app;
mod body;
mod front;
mod metrics;
mod pages;
mod plugins;
mod router;
mod services;
mod stopping;
mod transfer;

mod v1;
mod v2;

pub use app::{App, CheckKey, Options, Storage};
pub use front::{Attached, Front, Limits};
pub use plugins::{PluginRefused, Plugins};
pub use server::serve;
pub use services::Services;
pub use transfer::{Feed, Sink, Transfer, Write};
pub use v2::token::digest as token_digest;
