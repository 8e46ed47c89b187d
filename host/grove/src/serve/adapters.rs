//! The real rooms behind the traits that the controller and the plugin runtime ask for.

pub(crate) mod access;
pub(crate) mod drivers;
pub(crate) mod inspectors;
pub(crate) mod log;
pub(crate) mod objects;
pub(crate) mod policies;
pub(crate) mod services;
pub(crate) mod store;
