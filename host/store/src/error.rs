//! What can go wrong, by what one can do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// The store cannot be read or written now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the configured limit. Writing works again once there is room.
    #[error("the store is full ({0}): free space on its disk, or raise its limit")]
    Full(String),
    /// The file or its file system does not take writes. Writing works again once it does.
    #[error("the store cannot be written ({0}): make its folder and files writable")]
    ReadOnly(String),
    /// The disk refused.
    #[error("the disk of the store failed ({0}): look at the system's log")]
    Io(String),
    /// The file is no sound database.
    #[error(
        "the store is damaged ({0}): put the last backup in its place, and remove the files -wal and -shm beside it"
    )]
    Corrupt(String),
    /// A row that this version does not understand.
    #[error("{row} cannot be read: {problem}")]
    Row {
        /// Which.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Anything else that SQLite says.
    #[error("the store did not do it: {0}")]
    Other(String),
    /// The last handle was dropped, or the writer died.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// A row that cannot be understood.
    pub(crate) fn row(row: impl Into<String>, problem: impl ToString) -> Self {
        Self::Row { row: row.into(), problem: problem.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly(text),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Io(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            _ => Self::Other(text),
        }
    }
}

/// Of the system, about a file of the store.
impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let text = error.to_string();
        match error.kind() {
            StorageFull | QuotaExceeded => Self::Full(text),
            ReadOnlyFilesystem | PermissionDenied => Self::ReadOnly(text),
            _ => Self::Io(text),
        }
    }
}

/// A batch was not stored; nothing of it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// It was decided on an older load.
    #[error("decided in epoch {batch}, and now is {current}: load again")]
    Epoch {
        /// The batch's epoch.
        batch: u64,
        /// The store's.
        current: u64,
    },
    /// It was decided on something that was refused itself.
    #[error("decided on what was not stored ({because}): load again")]
    Void {
        /// Why that was refused.
        because: String,
    },
    /// The stored row is not the one before.
    #[error("{what} does not follow on what is stored: load again")]
    Conflict {
        /// The row and its revision.
        what: String,
    },
    /// An event that is not the next one.
    #[error("event {found} where {expected} is next: load again")]
    Gap {
        /// The next number.
        expected: u64,
        /// The event's.
        found: u64,
    },
    /// A row that must never exist.
    #[error("{what} breaks a rule of the farm: {rule}")]
    Forbidden {
        /// The row.
        what: String,
        /// The rule, as the schema names it.
        rule: String,
    },
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A controller runs on this folder.
    #[error("the state folder {} is in use by another process: stop it first, or name another folder", .0.display())]
    InUse(PathBuf),
    /// The store is gone, and the rest of its farm is there.
    #[error(
        "{} holds a farm whose store is {}: its grove.db {}, beside {}. Put grove.db back, or restore a backup into an empty \
         folder with `grove serve --restore`; `grove serve --new` begins a new farm here and leaves the rest as it is",
        folder.display(),
        if *empty { "empty" } else { "gone" },
        if *empty { "has no bytes" } else { "is not there" },
        left.join(", ")
    )]
    Lost {
        /// Where.
        folder: PathBuf,
        /// Whether its file is there, without anything in it.
        empty: bool,
        /// What is there of it.
        left: Vec<String>,
    },
    /// A new farm was to be begun in the place of another.
    #[error("{} holds a farm already: leave out what begins a new one, or name another folder", .0.display())]
    Begun(PathBuf),
    /// A restore was killed in this folder.
    #[error(
        "a restore into {} was broken off: restore again with `grove serve --restore`, which begins anew, or name another \
         folder",
        .0.display()
    )]
    HalfRestored(PathBuf),
    /// The folder or a file in it.
    #[error("{} cannot be opened: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Written by a newer Grove.
    #[error(
        "{} has schema {found} and this version knows {known}: run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// Another program's database.
    #[error("{} is no Grove store: move it away, or name another folder", .0.display())]
    Foreign(PathBuf),
    /// The database itself.
    #[error("{}: {error}", path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: StoreError,
    },
}
