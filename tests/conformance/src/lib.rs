//! Plugins, good and hostile, against the runtime
