//! Backups: everything that a farm is, in a folder.
//!
//! ```text
//! DIR/grove.db            the store, as of one moment
//! DIR/plugins/            components that the program does not bring along
//! DIR/secrets/            unless they were left out
//! DIR/objects/artifacts/  if they were asked for
//! DIR/backup.json         what of it there must be, with sizes and digests; written last: without it the backup was broken off
//! ```
//!
//! It is made beside the controller, out of its folder, and asks nobody: who may read that folder may make a backup, and
//! secrets never travel over HTTP. Pairs that are ready for jobs (`keys/`) are left out: they would be given twice.
//!
//! What must never happen here: a backup taken for whole that is not; a farm that is partly restored, or restored over
//! another.

mod make;
mod restore;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use make::{Wanted, make};
pub(crate) use restore::restore;

/// What says that a backup is whole.
const MANIFEST: &str = "backup.json";
/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// Bytes of the largest manifest that is read.
const MAX_MANIFEST: u64 = 256 << 20;
/// Bytes that are copied at once.
const CHUNK: usize = 256 << 10;

/// Folders of a farm that a backup may hold, beside the store.
const PLUGINS: &str = "plugins";
const SECRETS: &str = "secrets";
const OBJECTS: &str = "objects";

/// What is in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    grove_backup: u32,
    /// When it was made, in RFC 3339.
    created: String,
    /// By which version of the program.
    version: String,
    schema: u32,
    epoch: u64,
    /// Whether secrets are in it.
    secrets: bool,
    /// Whether artifacts are in it.
    artifacts: bool,
    /// What the farm had lost when it was made, for people.
    pub(crate) lost: Vec<String>,
    pub(crate) files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Below the folder of the backup, and of the farm.
    path: String,
    pub(crate) size: u64,
    sha256: String,
}

impl Manifest {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(MANIFEST);
        let mut text = String::new();
        match File::open(&file) {
            Ok(open) => {
                let read = open.take(MAX_MANIFEST).read_to_string(&mut text);
                read.with_context(|| format!("failed to read {}", file.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} is no whole backup: it has no {MANIFEST}, which is written last; it was broken off, or is another folder. \
                 Make another one with `grove farm backup`",
                folder.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", file.display())),
        };
        let manifest: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: take another backup", file.display()))?;
        if manifest.grove_backup != FORMAT {
            bail!(
                "{} has format {}, and this version knows {FORMAT}: restore with the version that made it ({})",
                file.display(),
                manifest.grove_backup,
                manifest.version
            );
        }
        if let Some(entry) = manifest.files.iter().find(|entry| !entry.is_of_a_farm()) {
            bail!("{} is damaged: it names {:?}; take another backup", file.display(), entry.path);
        }
        if !manifest.files.iter().any(|entry| entry.path == grove_store::DATABASE) {
            bail!("{} is damaged: it names no store; take another backup", file.display());
        }
        Ok(manifest)
    }

    /// Writes it, whole or not at all.
    fn write(&self, folder: &Path) -> io::Result<()> {
        let part = folder.join(format!("{MANIFEST}.part"));
        let mut file = private(&part)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&part, folder.join(MANIFEST))?;
        File::open(folder)?.sync_all()
    }
}

impl Entry {
    /// A path that leads to where files of a farm are, and nowhere else.
    fn is_of_a_farm(&self) -> bool {
        let mut parts = Path::new(&self.path).components();
        let known = match parts.next() {
            Some(Component::Normal(first)) if first == grove_store::DATABASE => {
                return parts.next().is_none();
            }
            Some(Component::Normal(first)) => {
                [PLUGINS, SECRETS, OBJECTS].iter().any(|folder| first == *folder)
            }
            _ => false,
        };
        let below: Vec<_> = parts.collect();
        known && !below.is_empty() && below.iter().all(|part| matches!(part, Component::Normal(_)))
    }
}

/// Copies a file to a new one for its owner alone, below `to`; it is on disk when this returns.
fn copy(from: &mut dyn Read, to: &Path, path: &str) -> io::Result<Entry> {
    let target = to.join(path);
    if let Some(parent) = target.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = private(&target)?;
    let (mut sha, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = chunk.get(..read).unwrap_or_default();
        sha.update(bytes);
        file.write_all(bytes)?;
        size += read as u64;
    }
    file.sync_all()?;
    Ok(Entry { path: path.to_owned(), size, sha256: hex(&sha.finalize()) })
}

/// Size and digest of a file.
fn look(file: &Path) -> io::Result<(u64, String)> {
    let mut sha = Sha256::new();
    let size = io::copy(&mut File::open(file)?, &mut sha)?;
    Ok((size, hex(&sha.finalize())))
}

fn private(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_leads_nowhere_else() {
        let of = |path: &str| Entry { path: path.to_owned(), size: 0, sha256: String::new() }.is_of_a_farm();
        for path in ["grove.db", "plugins/aa.wasm", "secrets/lab", "objects/artifacts/lab/image/note"] {
            assert!(of(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../grove.db",
            "plugins",
            "plugins/../../x",
            "secrets/./../x",
            "grove.db/x",
            "keys/a.pem",
        ] {
            assert!(!of(path), "{path}");
        }
    }
}
