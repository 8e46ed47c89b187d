//! Artifacts as they lie in a folder, for whoever copies them while they are in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Kept, NOTE, PLACE};
use crate::Name;

/// An artifact as its note tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnDisk {
    /// Its name.
    pub name: Name,
    /// The note, byte by byte.
    pub said: Vec<u8>,
    /// The file that holds what it holds.
    pub data: PathBuf,
    /// Bytes that it must have.
    pub size: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
}

impl OnDisk {
    /// The notes of all artifacts in a folder of objects, in order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn notes(folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut notes = Vec::new();
        for group in entries(&folder.join(PLACE))? {
            for key in entries(&group)? {
                notes.extend(Some(key.join(NOTE)).filter(|note| note.is_file()));
            }
        }
        Ok(notes)
    }

    /// What the note at this path tells of; none = it is gone, or none of ours.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(note: &Path) -> io::Result<Option<Self>> {
        let said = match fs::read(note) {
            Ok(said) => said,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(kept) = Kept::read(&said) else { return Ok(None) };
        let data = note.with_file_name(kept.data.simple().to_string());
        let artifact = kept.artifact;
        Ok(Some(Self { name: artifact.name, said, data, size: artifact.size, sha256: artifact.sha256 }))
    }
}

/// Folders in a folder, in order; none in one that is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}
