//! Where components are kept: one file for each, named by its digest and never changed. Those of the plugins in the binary
//! are always there.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use grove_domain::plugin::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

/// Components of plugins in the binary, by digest.
pub(crate) type Bundled = BTreeMap<Digest, &'static [u8]>;

/// The folder of components, which is looked up for each call: it may be away for a while, and another one then. Its calls
/// block on the disk.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    bundled: Bundled,
    changing: Mutex<()>,
}

/// The digest of a component.
pub(crate) fn digest(component: &[u8]) -> Digest {
    Digest::new(Sha256::digest(component).into())
}

fn file(digest: &Digest) -> String {
    format!("{digest}.wasm")
}

impl Shelf {
    pub(crate) fn new(folder: PathBuf, bundled: Bundled) -> Self {
        Self(Arc::new(Inner { folder, bundled, changing: Mutex::default() }))
    }

    /// Held by whoever keeps or throws away a component until its rows say so, too: nobody's component is thrown away by
    /// somebody else.
    pub(crate) async fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().await
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.folder.join(file(digest))
    }

    /// Keeps a component; it is on disk when this returns.
    pub(crate) fn keep(&self, digest: &Digest, component: &[u8]) -> anyhow::Result<()> {
        let path = self.path(digest);
        if whole(&path, digest).is_ok_and(|file| file.is_some()) {
            return Ok(());
        }
        let draft = path.with_extension("wasm.new");
        let write = || -> io::Result<()> {
            // Not the folders above: where these are away, so is the farm.
            match DirBuilder::new().mode(0o700).create(&self.0.folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            out.write_all(component)?;
            out.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(&self.0.folder)?.sync_all()
        };
        write().with_context(|| format!("failed to keep component {}", digest.short()))
    }

    /// A component, which is what its digest says.
    pub(crate) fn take(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        let short = digest.short();
        let mut component = match self.open(digest) {
            Ok(Some(component)) => component,
            Ok(None) if self.path(digest).exists() => bail!("component {short} has changed on disk"),
            Ok(None) => bail!("component {short} is lost"),
            Err(error) => return Err(error).with_context(|| format!("failed to read component {short}")),
        };
        let mut bytes = Vec::new();
        component.read_to_end(&mut bytes).with_context(|| format!("failed to read component {short}"))?;
        Ok(bytes)
    }

    /// A component, read from its beginning, which is what its digest says; none = it is not here, or changed.
    pub(crate) fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read>>> {
        let kept = whole(&self.path(digest), digest)?.map(|file| Box::new(file) as Box<dyn Read>);
        let bundled = || self.0.bundled.get(digest).map(|bytes| Box::new(*bytes) as Box<dyn Read>);
        Ok(kept.or_else(bundled))
    }

    /// Throws a component away that no row names any more.
    pub(crate) fn remove(&self, digest: &Digest) -> io::Result<()> {
        match std::fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// How many components are kept that this farm does not name, and their bytes.
    pub(crate) fn strangers(&self, names: impl Fn(&Digest) -> bool) -> io::Result<(usize, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(&self.0.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let digest: Option<Digest> =
                name.to_str().and_then(|name| name.strip_suffix(".wasm")?.parse().ok());
            if digest.is_some_and(|digest| !names(&digest)) {
                count += 1;
                bytes += entry.metadata()?.len();
            }
        }
        Ok((count, bytes))
    }
}

/// A file from its beginning, if it is there and what this digest says.
fn whole(path: &Path, digest: &Digest) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut sha = Sha256::new();
    io::copy(&mut file, &mut sha)?;
    file.seek(io::SeekFrom::Start(0))?;
    Ok((Digest::new(sha.finalize().into()) == *digest).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_kept() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("plugins");
        let shelf = Shelf::new(folder.clone(), Bundled::new());
        let (one, two) = (digest(b"one"), digest(b"two"));
        assert!(shelf.take(&one).unwrap_err().to_string().contains("is lost"));
        shelf.keep(&one, b"one").unwrap();
        shelf.keep(&two, b"two").unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one");
        std::fs::write(folder.join(file(&one)), b"other").unwrap();
        assert!(shelf.take(&one).unwrap_err().to_string().contains("changed on disk"));
        assert!(shelf.open(&one).unwrap().is_none());
        shelf.keep(&one, b"one").unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one", "keeping it again mends it");
        assert_eq!(shelf.strangers(|digest| *digest == two).unwrap(), (1, 3));
        shelf.remove(&one).unwrap();
        shelf.remove(&one).unwrap();
        assert!(shelf.take(&one).is_err());
        assert_eq!(shelf.take(&two).unwrap(), b"two");
    }

    #[test]
    fn its_folder_is_found_again_and_made_again_but_not_the_one_above() {
        let parent = tempfile::tempdir().unwrap();
        let (state, away) = (parent.path().join("state"), parent.path().join("away"));
        std::fs::create_dir(&state).unwrap();
        let shelf = Shelf::new(state.join("plugins"), Bundled::from([(digest(b"own"), &b"own"[..])]));
        let one = digest(b"one");
        shelf.keep(&one, b"one").unwrap();
        std::fs::rename(&state, &away).unwrap();
        assert!(shelf.keep(&one, b"one").is_err() && !state.exists(), "a folder in the place of the other");
        assert!(shelf.take(&one).is_err());
        assert_eq!(shelf.take(&digest(b"own")).unwrap(), b"own");
        // Back as a copy: another folder, as far as the system can tell.
        std::fs::create_dir_all(state.join("plugins")).unwrap();
        std::fs::copy(away.join("plugins").join(file(&one)), state.join("plugins").join(file(&one))).unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one");
        std::fs::remove_dir_all(state.join("plugins")).unwrap();
        shelf.keep(&one, b"one").unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one");
    }
}
