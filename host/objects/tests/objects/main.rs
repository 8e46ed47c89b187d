//! The room from outside: on a folder, as a farm uses it, and on places that fail.

// Lints know tests by this.
#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod logs;
