//! Opening: the folder is locked, the file is private, sound, and of a schema that this version knows.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::begin::{self, Begin};
use crate::error::{OpenError, StoreError};
use crate::{schema, transfer};

/// The database in the state folder.
pub const DATABASE: &str = "grove.db";
/// Locked as long as a process uses the folder.
const LOCK: &str = "grove.lock";
/// Pages of the log that are copied into the database at once: fewer fsyncs than SQLite's own 1000.
const CHECKPOINT_PAGES: u32 = 4_000;
/// The log is cut to this when it starts over, in bytes.
const LOG_LIMIT: u32 = 64 << 20;
/// Statements of the writer, all of them kept prepared.
const STATEMENTS: usize = 64;

/// How to open a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Most bytes that the database may take; none = what the disk has.
    pub max_bytes: Option<u64>,
    /// Most connections that read at the same time.
    pub readers: usize,
    /// Whether a farm may be begun where there is none.
    pub begin: Begin,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_bytes: None, readers: 4, begin: Begin::default() }
    }
}

/// An open store before anything serves it.
pub(crate) struct Opened {
    pub(crate) lock: File,
    pub(crate) writer: Connection,
    pub(crate) database: PathBuf,
}

pub(crate) fn open(folder: &Path, settings: &Settings) -> Result<Opened, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::File { path, error }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let lock = lock(folder)?;
    begin::check(folder, settings.begin)?;
    // What an import left that was killed.
    transfer::clear(folder).map_err(at(folder))?;
    let database = folder.join(DATABASE);
    let failed = |error| OpenError::Store { path: database.clone(), error };
    // SQLite gives the files beside the database the mode of the database.
    match private_file(&database) {
        Ok(_) => {}
        // SQLite says better what is wrong with a file that cannot be written.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && database.exists() => {}
        Err(error) => return Err(failed(error.into())),
    }
    let mut writer = connect(&database).map_err(|error| failed(error.into()))?;
    let version = version(&writer, &database)?;
    if writer.is_readonly("main").map_err(|error| failed(error.into()))? {
        return Err(failed(StoreError::ReadOnly("its file or folder cannot be written".to_owned())));
    }
    prepare(&mut writer, version, settings).map_err(failed)?;
    Ok(Opened { lock, writer, database })
}

/// Keeps every other process out of the folder, as long as the file is open.
///
/// # Errors
/// Another one is in it, or the lock cannot be made.
pub fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK);
    let file = private_file(&path)
        .map_err(|error| OpenError::Store { path: path.clone(), error: StoreError::from(error) })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::File { path, error }),
    }
}

/// Opens a file for writing, made for its owner alone.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn connect(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The schema of the database; 0 = it is new.
pub(crate) fn version(connection: &Connection, database: &Path) -> Result<u32, OpenError> {
    let read = || -> rusqlite::Result<(u32, i32, u32)> {
        let number = |sql| connection.query_row(sql, [], |row| row.get(0));
        Ok((
            number("PRAGMA user_version")?,
            connection.query_row("PRAGMA application_id", [], |row| row.get(0))?,
            number("SELECT count(*) FROM sqlite_schema")?,
        ))
    };
    let path = || database.to_owned();
    let (found, application, objects) =
        read().map_err(|error| OpenError::Store { path: path(), error: error.into() })?;
    let known = schema::newest();
    match (application, found) {
        (schema::APPLICATION, found) if found > known => Err(OpenError::Newer { path: path(), found, known }),
        (schema::APPLICATION, found) => Ok(found),
        (0, 0) if objects == 0 => Ok(0),
        _ => Err(OpenError::Foreign(path())),
    }
}

fn prepare(connection: &mut Connection, version: u32, settings: &Settings) -> Result<(), StoreError> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         -- private keys of ended jobs must not linger in freed space
         PRAGMA secure_delete = FAST;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -32000;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_LIMIT};"
    ))?;
    if let Some(bytes) = settings.max_bytes {
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        connection
            .execute_batch(&format!("PRAGMA max_page_count = {}", (bytes / u64::from(page.max(1))).max(1)))?;
    }
    if version > 0 {
        check_after_crash(connection)?;
    }
    if version < schema::newest() {
        schema::migrate(connection, version)?;
    }
    Ok(connection.execute_batch("UPDATE farm SET clean = 0")?)
}

/// A store that was not closed is looked through before it is trusted.
fn check_after_crash(connection: &Connection) -> Result<(), StoreError> {
    let clean: bool = connection.query_row("SELECT clean FROM farm", [], |row| row.get(0))?;
    if clean {
        return Ok(());
    }
    check(connection)
}

/// Looks through everything.
pub(crate) fn check(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt(found)) }
}
