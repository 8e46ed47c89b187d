//! Our own API: resources, problems that say what to do next, ETags, cursors, long polls, events.

pub(crate) mod artifacts;
pub(crate) mod events;
pub(crate) mod farm;
pub(crate) mod input;
pub(crate) mod introspections;
pub(crate) mod jobs;
pub(crate) mod limits;
pub(crate) mod logs;
pub(crate) mod mode;
pub(crate) mod plugins;
pub(crate) mod refuse;
pub(crate) mod requests;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod tasks;
pub(crate) mod workers;

mod inventory;
mod revision;
mod show;
pub(crate) mod token;
mod upload;
