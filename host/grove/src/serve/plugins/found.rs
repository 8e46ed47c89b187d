//! Plugins that are there without anybody having installed them: those in the binary, and those in the plugin folder.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use bytes::Bytes;
use grove_domain::plugin::Origin;
use grove_runtime::{MAX_MANIFEST, Manifest};

use super::shelf::{self, Bundled};

/// First-party plugins: (manifest, component).
static BUNDLE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundle.rs"));

/// A plugin as it was found.
pub(crate) struct Found {
    /// Its manifest, as it is written.
    pub(crate) text: String,
    pub(crate) manifest: Manifest,
    pub(crate) component: Bytes,
    pub(crate) origin: Origin,
}

/// Those in the binary.
pub(crate) fn bundled() -> anyhow::Result<Vec<Found>> {
    let found = BUNDLE.iter().map(|(text, component)| {
        let manifest = Manifest::parse(text, "built-in plugin.toml")?;
        let (text, component) = ((*text).to_owned(), Bytes::from_static(component));
        Ok(Found { text, manifest, component, origin: Origin::BuiltIn })
    });
    found.collect()
}

/// Components of those in the binary.
pub(crate) fn components() -> Bundled {
    BUNDLE.iter().map(|(_, component)| (shelf::digest(component), *component)).collect()
}

/// Where those in a folder came from: of a binary that carries none, they are its own.
fn origin_of_folder() -> Origin {
    if BUNDLE.is_empty() { Origin::BuiltIn } else { Origin::Folder }
}

/// Folders of plugins in the plugin folder, in order. Blocks on the disk.
pub(crate) fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to read the plugin folder {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.join("plugin.toml").is_file());
    paths.sort();
    Ok(paths)
}

/// The plugin in this folder. Blocks on the disk.
pub(crate) fn in_folder(folder: &Path) -> anyhow::Result<Found> {
    let file = folder.join("plugin.toml");
    let shown = file.display().to_string();
    let size = file.metadata().with_context(|| format!("failed to read {shown}"))?.len();
    if size > MAX_MANIFEST as u64 {
        bail!("{shown} is {size} bytes long; a manifest has {MAX_MANIFEST} at most");
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {shown}"))?;
    let manifest = Manifest::parse(&text, &shown)?;
    let component = folder.join(&manifest.component);
    let component = std::fs::read(&component)
        .with_context(|| format!("failed to read {}, which {shown} names", component.display()))?;
    Ok(Found { text, manifest, component: component.into(), origin: origin_of_folder() })
}

/// What tells that a plugin in a folder is another one now: names, sizes and times of its files. Blocks on the disk.
pub(crate) fn look(folder: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            about.is_file().then(|| (entry.path(), about.len(), about.modified().ok()))
        })
        .collect();
    files.sort();
    files
}
