//! What plugins say outside of tasks, in the controller's own log.

use grove_runtime::{Level, LogSink};

/// The log of a plugin, by name.
pub(crate) struct PluginLog(pub(crate) String);

impl LogSink for PluginLog {
    fn log(&self, level: Level, line: &str) {
        match level {
            Level::Error | Level::Warn => tracing::warn!(plugin = self.0, "{line}"),
            Level::Info => tracing::info!(plugin = self.0, "{line}"),
            Level::Debug | Level::Trace => tracing::debug!(plugin = self.0, "{line}"),
        }
    }
}
