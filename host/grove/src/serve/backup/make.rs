//! Making a backup, while a controller may be at work on the farm.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use grove_control::clock::{Clock, SystemClock};
use grove_objects::OnDisk;
use grove_store::{Copied, DATABASE};

use super::super::plugins::{found, shelf::Shelf};
use super::{Entry, FORMAT, MANIFEST, Manifest, OBJECTS, PLUGINS, SECRETS, copy, look};

/// How often an artifact is looked at that is changed again and again.
const TRIES: usize = 10;

/// What is to be in a backup, beside the store and the plugins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) secrets: bool,
    pub(crate) artifacts: bool,
    /// Also without what the farm has lost.
    pub(crate) incomplete: bool,
}

/// Makes a backup of the farm in the folder `state`, in a folder that is new or empty. What is there when it fails is no
/// backup, and is removed.
pub(crate) fn make(state: &Path, folder: &Path, wanted: Wanted) -> anyhow::Result<Manifest> {
    let mut backup = Backup::begin(state, folder)?;
    let copied = backup.store()?;
    backup.plugins(&copied)?;
    if wanted.secrets {
        backup.secrets()?;
    }
    if wanted.artifacts {
        backup.artifacts()?;
    }
    if !backup.lost.is_empty() && !wanted.incomplete {
        bail!(
            "the farm has lost {}: install or bring that again, or remove it; or say --incomplete",
            backup.lost.join(", ")
        );
    }
    backup.finish(&copied, wanted)
}

/// A backup in the making; gone unless it is finished.
struct Backup<'a> {
    state: &'a Path,
    folder: &'a Path,
    /// The folder was made for it.
    made: bool,
    finished: bool,
    files: Vec<Entry>,
    lost: Vec<String>,
}

impl<'a> Backup<'a> {
    fn begin(state: &'a Path, folder: &'a Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to make {}", folder.display());
        let made = match fs::read_dir(folder) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    bail!("{} is not empty: name a new or an empty folder", folder.display());
                }
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(folder).with_context(failed)?;
                true
            }
            Err(error) => return Err(error).with_context(failed),
        };
        Ok(Self { state, folder, made, finished: false, files: Vec::new(), lost: Vec::new() })
    }

    fn store(&mut self) -> anyhow::Result<Copied> {
        let copy = self.folder.join(DATABASE);
        let copied = grove_store::copy(self.state, &copy)?;
        let (size, sha256) = look(&copy).with_context(|| format!("failed to read {}", copy.display()))?;
        self.files.push(Entry { path: DATABASE.to_owned(), size, sha256 });
        Ok(copied)
    }

    /// Components, but for those that every program of this version brings along.
    fn plugins(&mut self, copied: &Copied) -> anyhow::Result<()> {
        let own = found::components();
        let shelf = Shelf::new(self.state.join(PLUGINS), found::components());
        let mut done = BTreeSet::new();
        for version in &copied.versions {
            let digest = version.digest.parse().context("the store names no digest")?;
            if own.contains_key(&digest) || !done.insert(digest) {
                continue;
            }
            let what =
                format!("the component of {} {} ({})", version.plugin, version.version, digest.short());
            match shelf.open(&digest).with_context(|| format!("failed to read {what}"))? {
                Some(mut component) => self.keep(&mut *component, &format!("{PLUGINS}/{digest}.wasm"))?,
                None => self.lost.push(what),
            }
        }
        Ok(())
    }

    fn secrets(&mut self) -> anyhow::Result<()> {
        let folder = self.state.join(SECRETS);
        let failed = || format!("failed to read {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(failed)?,
        };
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().with_context(failed)?;
        paths.sort();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
            let mut file = File::open(&path).with_context(|| format!("failed to read {}", path.display()))?;
            self.keep(&mut file, &format!("{SECRETS}/{name}"))?;
        }
        Ok(())
    }

    fn artifacts(&mut self) -> anyhow::Result<()> {
        let objects = self.state.join(OBJECTS);
        for note in
            OnDisk::notes(&objects).with_context(|| format!("failed to read {}", objects.display()))?
        {
            self.artifact(&objects, &note).with_context(|| format!("failed to copy {}", note.display()))?;
        }
        Ok(())
    }

    /// One artifact, which may be replaced or removed at this moment.
    fn artifact(&mut self, objects: &Path, note: &Path) -> anyhow::Result<()> {
        let mut before = None;
        for _ in 0..TRIES {
            let Some(found) = OnDisk::read(note)? else { return Ok(()) };
            let place = |path: &Path| -> anyhow::Result<String> {
                let below = path.strip_prefix(objects).context("it is not below its folder")?;
                Ok(format!("{OBJECTS}/{}", below.to_str().context("its name is not UTF-8")?))
            };
            let (data, about) = (place(&found.data)?, place(note)?);
            let whole = match File::open(&found.data) {
                Ok(mut file) => {
                    let entry = copy(&mut file, self.folder, &data)?;
                    if (entry.size, &entry.sha256) == (found.size, &found.sha256) {
                        self.files.push(entry);
                        self.keep(&mut found.said.as_slice(), &about)?;
                        return Ok(());
                    }
                    fs::remove_file(self.folder.join(&data))?;
                    found.data.clone()
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => found.data.clone(),
                Err(error) => return Err(error.into()),
            };
            // Another file in its place was brought meanwhile; the same one is damaged.
            if before.replace(whole.clone()) == Some(whole) {
                let name = found.name;
                self.lost.push(format!("the artifact {} {}", name.group(), name.key()));
                return Ok(());
            }
        }
        bail!("it is changed all the time: try again")
    }

    fn keep(&mut self, from: &mut dyn io::Read, path: &str) -> anyhow::Result<()> {
        let entry = copy(from, self.folder, path).with_context(|| format!("failed to write {path}"))?;
        self.files.push(entry);
        Ok(())
    }

    fn finish(mut self, copied: &Copied, wanted: Wanted) -> anyhow::Result<Manifest> {
        let manifest = Manifest {
            grove_backup: FORMAT,
            created: SystemClock.now().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: copied.schema,
            epoch: copied.epoch,
            secrets: wanted.secrets,
            artifacts: wanted.artifacts,
            lost: std::mem::take(&mut self.lost),
            files: std::mem::take(&mut self.files),
        };
        manifest.write(self.folder).with_context(|| format!("failed to write {MANIFEST}"))?;
        self.finished = true;
        Ok(manifest)
    }
}

impl Drop for Backup<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // It was empty. What stays behind has no manifest, which says what it is.
        for folder in [PLUGINS, SECRETS, OBJECTS] {
            let _ = fs::remove_dir_all(self.folder.join(folder));
        }
        for file in [DATABASE.to_owned(), MANIFEST.to_owned(), format!("{MANIFEST}.part")] {
            let _ = fs::remove_file(self.folder.join(file));
        }
        if self.made {
            let _ = fs::remove_dir(self.folder);
        }
    }
}
