//! A farm as a file that is read and written from front to end: JSON lines, which a newer version reads, too.
//!
//! ```text
//! header      {"grove_export":1,"schema":3,"created":"…","version":"…","epoch":7}
//! rows        {"table":"workers","row":{"id":"0190…","state":"idle",…}}
//! components  {"component":"<sha256>","piece":0,"last":true,"data":"<base64>"}
//! trailer     {"end":true,"rows":{"workers":3,…},"components":1,"missing":[],"sha256":"<of everything before this line>"}
//! ```
//!
//! Tables and columns are those of the schema, looked up and never named: what a migration adds is exported. Tables come
//! in the order of their references, then of their names; rows in the order of their primary keys.
//!
//! ```text
//! live store ──snapshot──▶ Export ──lines──▶ Staged (a store beside the live one) ──one transaction──▶ live store
//! ```
//!
//! What must never happen here: a farm that is partly replaced; a file taken for whole that is not; more than a line
//! of it in memory.

mod admission;
mod backup;
mod cell;
mod check;
mod compare;
mod export;
mod lines;
mod settle;
mod staged;
mod swap;
mod tables;

pub use admission::{Admission, Admitted};
pub use backup::{Copied, copy, restore};
pub use compare::TableChange;
pub use export::Export;
pub use lines::MAX_LINE;
pub use settle::Settled;
pub use staged::Staged;
pub(crate) use staged::clear;
pub use swap::Replaced;
pub(crate) use swap::{Replacement, replace_rows};

use std::collections::BTreeMap;
use std::io::{self, Read};

use grove_domain::moment::Timestamp;
use grove_domain::plugin::Digest;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde::{Deserialize, Serialize};

use crate::error::{OpenError, StoreError};

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// Bytes of a component in one line.
const PIECE: usize = 1 << 20;
/// Tables that tell who runs on this store; they are no part of the farm, and neither leave it nor enter it.
const OF_THE_PROCESS: [&str; 1] = ["instances"];
/// The table with one row that tells of the store itself. Of it only the highest numbers ever given are taken in
/// (columns `last_…`), and only where they are higher; its mode is maintenance after an import.
const FARM: &str = "farm";

/// Where a farm that takes the place of another came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Export,
    Backup,
}

impl Origin {
    /// What was done with it, for people.
    fn done(self) -> &'static str {
        match self {
            Self::Export => "imported",
            Self::Backup => "restored",
        }
    }

    /// The event that says so.
    fn event(self) -> &'static str {
        match self {
            Self::Export => "farm.imported",
            Self::Backup => "farm.restored",
        }
    }
}

/// Triggers are about changes of a farm, and this is another farm.
fn quiet(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).map(drop)
}

/// Where components are kept.
pub trait Components {
    /// A component that is what its digest says; none = it is not here, or has changed.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read>>>;

    /// Keeps a component whose digest was checked; it is on disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    fn keep(&self, digest: &Digest, component: &mut dyn Read) -> io::Result<()>;
}

/// What an export begins with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub grove_export: u32,
    /// Schema of the rows.
    pub schema: u32,
    /// When it was made.
    pub created: String,
    /// Version of the program that made it.
    pub version: String,
    /// Epoch of the store that it was made of.
    pub epoch: u64,
}

/// What is in an export.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Components.
    pub components: u64,
    /// Versions of plugins whose components it lacks, because the farm had lost them.
    pub missing: Vec<MissingComponent>,
}

/// A version of a plugin without its component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingComponent {
    /// The plugin.
    pub plugin: String,
    /// Its version, for people.
    pub version: String,
    /// SHA-256 of what is missing, in hexadecimal.
    pub digest: String,
}

/// Who makes an export, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// Now.
    pub created: Timestamp,
    /// Version of the program.
    pub version: String,
}

/// An export was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written where it goes, or a component cannot be read.
    #[error("the export was not written to its end: {0}")]
    Io(#[from] io::Error),
    /// A row that no import would take.
    #[error("a row of {table} takes {length} bytes as a line, more than {MAX_LINE}")]
    LongRow {
        /// Of this table.
        table: String,
        /// Bytes of its line.
        length: usize,
    },
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// An export was not taken in; the farm is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is wrong.
    #[error("line {line}: {problem}")]
    File {
        /// Where.
        line: u64,
        /// What is wrong there.
        problem: String,
    },
    /// Written by a newer Grove.
    #[error("it was made by Grove {version} with schema {found}, and this version knows {known}")]
    Newer {
        /// The version that wrote it.
        version: String,
        /// Its schema.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// It could not be read to its end.
    #[error("line {line}: the export could not be read: {error}")]
    Read {
        /// Where.
        line: u64,
        /// Why.
        error: io::Error,
    },
    /// It could not be put down here.
    #[error("the export could not be put beside the store: {0}")]
    Put(io::Error),
    /// The store, or the one that is made beside it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ImportError {
    fn file(line: u64, problem: impl Into<String>) -> Self {
        Self::File { line, problem: problem.into() }
    }
}

impl From<rusqlite::Error> for ImportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
