//! The farm as a whole: exported, imported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an import changed, or would change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FarmImport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// When the export was made.
    pub created: String,
    /// Version of the Grove that made it.
    pub version: String,
    /// Schema of its rows.
    pub schema: u32,
    /// Components of plugins in it.
    pub components: u64,
    /// Versions of plugins whose components it lacks, because the farm that it was made of had lost them.
    #[serde(default)]
    pub missing: Vec<MissingComponent>,
    /// Rows by table, as they are after the import.
    pub tables: BTreeMap<String, TableImport>,
    /// What was going on in the export, and was ended.
    pub ended: Ended,
    /// The event that says so; null = nothing was changed.
    pub event: Option<u64>,
}

/// A version of a plugin without its component; also in the last line of an export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MissingComponent {
    /// The plugin.
    pub plugin: String,
    /// Its version, for people.
    pub version: String,
    /// SHA-256 of what is missing, in hexadecimal.
    pub digest: String,
}

/// Rows of one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TableImport {
    /// Rows that the farm did not have.
    pub added: u64,
    /// Rows that it has no longer.
    pub removed: u64,
    /// Rows that are not the same.
    pub changed: u64,
}

/// What was going on in an export: tasks are failed, jobs ended, and workers left to their admin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    /// Tasks that had not ended.
    pub tasks: u64,
    /// Requests that had a running job or a reserved worker.
    pub requests: u64,
    /// Workers that were at something.
    pub workers: u64,
}
