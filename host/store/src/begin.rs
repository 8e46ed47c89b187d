//! Whether a farm may be begun in a folder. A store that is missing beside the rest of a farm was lost; nobody knows yet
//! whether for good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{OpenError, StoreError};
use crate::open::DATABASE;

/// Where a restore puts together what it brings; removed when all of it is in its place.
pub const RESTORING: &str = "restore.part";

/// Folders that a farm fills. What is compiled is made again by itself, and secrets are put there before the first start.
const FILLED: [&str; 3] = ["plugins", "objects", "keys"];
/// What SQLite keeps beside a database that was not closed.
const LOGS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// Bytes of the smallest database. SQLite would begin a new one in a file that has fewer.
const SHORTEST: u64 = 512;

/// Whether a farm may be begun where there is no store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Begin {
    /// In a folder that holds nothing of a farm.
    #[default]
    Fresh,
    /// Also beside what a lost farm left, which stays as it is; but never over a store.
    Anew,
    /// Nowhere: there was a store a moment ago.
    Never,
}

/// Refuses a folder in which a farm was lost, and one in which there is a farm when another shall be begun.
pub(crate) fn check(folder: &Path, begin: Begin) -> Result<(), OpenError> {
    let at = |path: PathBuf| move |error| OpenError::File { path, error };
    let database = folder.join(DATABASE);
    let length = match fs::metadata(&database) {
        Ok(about) => Some(about.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // SQLite says better what is wrong with it.
        Err(_) => return Ok(()),
    };
    match length {
        None | Some(0) => {}
        Some(_) if begin == Begin::Anew => return Err(OpenError::Begun(folder.to_owned())),
        Some(1..SHORTEST) => {
            let error = StoreError::Corrupt("its file was cut short".to_owned());
            return Err(OpenError::Store { path: database, error });
        }
        Some(_) => return Ok(()),
    }
    if folder.join(RESTORING).exists() {
        return Err(OpenError::HalfRestored(folder.to_owned()));
    }
    let left = left(folder).map_err(at(folder.to_owned()))?;
    let empty = length.is_some();
    match begin {
        Begin::Fresh if left.is_empty() => Ok(()),
        Begin::Fresh | Begin::Never => Err(OpenError::Lost { folder: folder.to_owned(), empty, left }),
        Begin::Anew => set_aside(&database).map_err(at(database)),
    }
}

/// What of a farm is in the folder beside its store, for people.
fn left(folder: &Path) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    for name in FILLED {
        let filled = match fs::read_dir(folder.join(name)) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if filled {
            left.push(format!("{name}/"));
        }
    }
    for ending in LOGS {
        let log = format!("{DATABASE}{ending}");
        if fs::metadata(folder.join(&log)).is_ok_and(|about| about.len() > 0) {
            left.push(log);
        }
    }
    Ok(left)
}

/// SQLite would take the log of the lost store for one of the new: it gets another name.
fn set_aside(database: &Path) -> io::Result<()> {
    for ending in LOGS {
        let mut log = database.as_os_str().to_owned();
        log.push(ending);
        let log = PathBuf::from(log);
        if !log.exists() {
            continue;
        }
        let aside = |number: u32| {
            let mut name = log.as_os_str().to_owned();
            name.push(format!(".lost-{number}"));
            PathBuf::from(name)
        };
        let free = (1..=u32::MAX).map(aside).find(|aside| !aside.exists());
        fs::rename(&log, free.ok_or(io::ErrorKind::AlreadyExists)?)?;
    }
    Ok(())
}
