//! Lines for the controller's log. The controller bounds their length and number.

use std::fmt::Display;

use crate::bindings::policy::grove::plugin::log::Level;

/// What only someone who debugs this plugin wants to see.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// What an admin may like to know.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// What an admin should look at one day.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// What went wrong.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::bindings::policy::grove::plugin::log::log(level, message);
}

/// Outside of a controller (in a plugin's own tests) the log is stderr.
#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?} {message}");
}
