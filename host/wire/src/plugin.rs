//! Plugins.

use serde::{Deserialize, Serialize};

/// The three kinds of plugin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    /// Decides who gets which board.
    Policy,
    /// Knows how to handle one kind of board.
    Driver,
    /// Turns an inventory into capabilities.
    Inspector,
}

/// A plugin that the farm knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plugin {
    /// How workers and configuration refer to it.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// Its own version.
    pub version: String,
    /// The version of the plugin contract it was built for.
    pub world: String,
    /// One line for people.
    pub summary: String,
    /// SHA-256 of the component, in hex; null when it could not be read.
    pub digest: Option<String>,
    /// Whether the farm uses it now.
    pub active: bool,
    /// What it was granted, one line each.
    pub grants: Vec<String>,
    /// Why it is not in use, or what it last did wrong.
    pub trouble: Option<String>,
    /// JSON schema of its settings.
    pub config_schema: Option<serde_json::Value>,
}
