//! A copy of the store, made while a controller may be at work on it, and a store made of a copy.

use std::fs::File;
use std::io;
use std::path::Path;

use grove_domain::moment::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::export::{Export, components};
use super::staged::Folder;
use super::{About, Admitted, FORMAT, Header, ImportError, MissingComponent, Origin, Settled, Staged};
use super::{check, settle};
use crate::error::StoreError;
use crate::open::{self, DATABASE, Settings, private_file};
use crate::schema;
use crate::store::Store;

/// What a copy of a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Schema of its rows.
    pub schema: u32,
    /// Epoch of the store that it was made of.
    pub epoch: u64,
    /// The versions of plugins that it names.
    pub versions: Vec<MissingComponent>,
}

/// Writes a consistent copy of the database in the folder `state` to a new file for its owner alone, whether or not a
/// controller is at work on it; neither waits for the other.
///
/// # Errors
/// There is no store of this version, it cannot be read, or the file exists or cannot be written.
pub fn copy(state: &Path, file: &Path) -> Result<Copied, StoreError> {
    let database = state.join(DATABASE);
    if !database.is_file() {
        let missing = format!("there is no {}: no farm is kept in this folder", database.display());
        return Err(StoreError::Other(missing));
    }
    let wrong = |error: io::Error| StoreError::Io(format!("{}: {error}", file.display()));
    let name = file.to_str().ok_or_else(|| wrong(io::ErrorKind::InvalidFilename.into()))?;
    if file.exists() {
        return Err(wrong(io::ErrorKind::AlreadyExists.into()));
    }
    private_file(file).map_err(wrong)?;
    let copied = vacuum(&database, name).and_then(|()| {
        File::open(file).and_then(|file| file.sync_all()).map_err(wrong)?;
        look(file)
    });
    copied.inspect_err(|_| drop(std::fs::remove_file(file)))
}

fn vacuum(database: &Path, file: &str) -> Result<(), StoreError> {
    // Who only reads would leave files of SQLite behind, where no controller is at work.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.execute("VACUUM INTO ?", [file])?;
    Ok(())
}

/// What a copy is.
///
/// # Errors
/// It is none of this version, or cannot be read.
fn look(file: &Path) -> Result<Copied, StoreError> {
    let export = Export::open(file)?;
    let versions = components(&export.connection)?.into_values().flatten().collect();
    Ok(Copied { schema: export.schema, epoch: export.epoch, versions })
}

/// Makes a store in the folder `into`, which holds none, of a copy. What was going on in it is ended, as after an import:
/// nobody knows what state those boards are in; and the farm is in maintenance.
///
/// # Errors
/// The copy is damaged or of a newer version; the store cannot be written.
pub fn restore(copy: &Path, into: &Path, about: &About, now: Timestamp) -> Result<Settled, ImportError> {
    // Whoever opens a store clears its folder of what imports left.
    let beside = into.join("staged");
    std::fs::create_dir_all(&beside).map_err(ImportError::Put)?;
    let staged = Staged::of_copy(copy, &beside, about, now)?;
    let store = Store::open(into, Settings::default())?;
    store.load()?;
    store.replace(&staged, "core", now, |_| true)?;
    let settled = staged.settled();
    drop(staged);
    std::fs::remove_dir(&beside).map_err(ImportError::Put)?;
    Ok(settled)
}

impl Staged {
    /// A copy of a store, looked through, brought up to date, and settled.
    fn of_copy(copy: &Path, beside: &Path, about: &About, now: Timestamp) -> Result<Self, ImportError> {
        let folder = Folder::new(beside).map_err(ImportError::Put)?;
        let database = folder.database();
        std::fs::copy(copy, &database).map_err(ImportError::Put)?;
        let mut connection = Connection::open(&database)?;
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;")?;
        let schema = open::version(&connection, copy)?;
        let epoch: i64 = connection.query_row("SELECT epoch FROM farm", [], |row| row.get(0))?;
        let epoch = u64::try_from(epoch).unwrap_or(0);
        open::check(&connection)?;
        schema::migrate(&mut connection, schema)?;
        check::sound(&connection, &Default::default(), &Admitted)?;
        super::quiet(&connection)?;
        let settled = settle::settle(&mut connection, Origin::Backup, now)?;
        connection.close().map_err(|(_, error)| error)?;
        let created = about.created.to_string();
        let header = Header { grove_export: FORMAT, schema, created, version: about.version.clone(), epoch };
        Ok(Self::new(folder, header, settled, Origin::Backup))
    }
}
