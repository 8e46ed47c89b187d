//! The controller against surroundings in memory, on paused time.

mod support;
