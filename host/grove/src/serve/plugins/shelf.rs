//! Where components are kept: one file for each, named by its digest and never changed.

use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use anyhow::{Context, bail};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use grove_domain::plugin::Digest;
use sha2::{Digest as _, Sha256};

/// The folder of components. Its calls block on the disk.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Dir>);

/// The digest of a component.
pub(crate) fn digest(component: &[u8]) -> Digest {
    Digest::new(Sha256::digest(component).into())
}

fn file(digest: &Digest) -> String {
    format!("{digest}.wasm")
}

impl Shelf {
    pub(crate) fn new(folder: Dir) -> Self {
        Self(Arc::new(folder))
    }

    /// Keeps a component; it is on disk when this returns.
    pub(crate) fn keep(&self, digest: &Digest, component: &[u8]) -> anyhow::Result<()> {
        let name = file(digest);
        if self.0.exists(&name) && self.take(digest).is_ok() {
            return Ok(());
        }
        let draft = format!("{name}.new");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut out =
                self.0.open_with(&draft, options.write(true).create(true).truncate(true).mode(0o600))?;
            out.write_all(component)?;
            out.sync_all()?;
            self.0.rename(&draft, &self.0, &name)?;
            self.0.open(".")?.sync_all()
        };
        write().with_context(|| format!("failed to keep component {}", digest.short()))
    }

    /// A component, which is what its digest says.
    pub(crate) fn take(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        let mut component = Vec::new();
        self.0
            .open(file(digest))
            .and_then(|mut file| file.read_to_end(&mut component))
            .with_context(|| format!("failed to read component {}; install it again", digest.short()))?;
        if self::digest(&component) != *digest {
            bail!("component {} has changed on disk; install it again", digest.short());
        }
        Ok(component)
    }

    /// A component as a file, read from its beginning, which is what its digest says; none = it is not here, or changed.
    pub(crate) fn open(&self, digest: &Digest) -> io::Result<Option<std::fs::File>> {
        let mut component = match self.0.open(file(digest)) {
            Ok(component) => component.into_std(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut sha = Sha256::new();
        io::copy(&mut component, &mut sha)?;
        component.seek(io::SeekFrom::Start(0))?;
        Ok((Digest::new(sha.finalize().into()) == *digest).then_some(component))
    }

    /// Throws away every component but these.
    pub(crate) fn retain(&self, keep: impl Fn(&Digest) -> bool) -> anyhow::Result<()> {
        for entry in self.0.entries().context("failed to look through the components")? {
            let name = entry.context("failed to look through the components")?.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm")?.parse().ok());
            if digest.is_some_and(|digest| !keep(&digest)) {
                self.0.remove_file(&name).with_context(|| format!("failed to remove {}", name.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn what_is_taken_is_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap());
        let (one, two) = (digest(b"one"), digest(b"two"));
        assert!(shelf.take(&one).unwrap_err().to_string().contains("install it again"));
        shelf.keep(&one, b"one").unwrap();
        shelf.keep(&two, b"two").unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one");
        std::fs::write(folder.path().join(file(&one)), b"other").unwrap();
        assert!(shelf.take(&one).unwrap_err().to_string().contains("changed on disk"));
        shelf.keep(&one, b"one").unwrap();
        assert_eq!(shelf.take(&one).unwrap(), b"one", "keeping it again mends it");
        shelf.retain(|digest| *digest == two).unwrap();
        assert!(shelf.take(&one).is_err());
        assert_eq!(shelf.take(&two).unwrap(), b"two");
    }
}
