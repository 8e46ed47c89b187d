//! Laying out what was built: `TARGET/plugins/FOLDER/{plugin.toml, COMPONENT}`, `TARGET/guests/NAME.wasm`, and the
//! host with the plugins in it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::guests::{self, Guest};
use crate::project::{self, Project};

/// Where the host's build looks for the plugins to embed.
pub const BUNDLE: &str = "GROVE_BUNDLE";
/// Where tests look for the test guests.
pub const GUESTS: &str = "GROVE_GUESTS";

/// Policies and inspectors must give the same answer to the same question: nothing else may be reached from there.
const PURE_IMPORTS: [&str; 3] =
    ["grove:plugin/log@0.1.0", "grove:plugin/types@0.1.0", "grove:plugin/driver-types@0.1.0"];

#[derive(Deserialize)]
struct Manifest {
    plugin: Identity,
}

#[derive(Deserialize)]
struct Identity {
    name: String,
    kind: String,
    version: String,
    component: String,
}

/// Builds the plugins and lays them out.
///
/// # Errors
/// What does not build, and what a manifest says that is not so.
pub fn plugins(project: &Project) -> Result<()> {
    let workspace = project.plugins();
    let guests = guests::of_workspace(&workspace)?;
    let components = guests::build(project, &workspace, &guests)?;
    let bundle = project.bundle();
    let mut folders = BTreeSet::new();
    for (guest, component) in guests.iter().zip(components) {
        let folder = guest.folder.file_name().context("a plugin lies in no folder")?.to_owned();
        let text = fs::read_to_string(guest.folder.join("plugin.toml"))
            .with_context(|| format!("{} has no plugin.toml", guest.package))?;
        let manifest: Manifest = toml::from_str(&text)
            .with_context(|| format!("failed to read the manifest of {}", guest.package))?;
        check(guest, &manifest.plugin, &component)?;
        let into = bundle.join(&folder);
        fs::create_dir_all(&into)?;
        write_if_changed(project, &into.join("plugin.toml"), text.as_bytes())?;
        write_if_changed(project, &into.join(&manifest.plugin.component), &component)?;
        folders.insert(folder);
    }
    remove_others(&bundle, &folders)
}

/// Builds the test guests and lays them out.
///
/// # Errors
/// What does not build.
pub fn guests(project: &Project) -> Result<()> {
    let workspace = project.guests();
    ensure!(workspace.join("Cargo.toml").is_file(), "there is no workspace in {}", project.shown(&workspace));
    let guests = guests::of_workspace(&workspace)?;
    let components = guests::build(project, &workspace, &guests)?;
    let into = project.built_guests();
    fs::create_dir_all(&into)?;
    let mut names = BTreeSet::new();
    for (guest, component) in guests.iter().zip(components) {
        let name = format!("{}.wasm", guest.package);
        write_if_changed(project, &into.join(&name), &component)?;
        names.insert(OsString::from(name));
    }
    remove_others(&into, &names)
}

/// Builds the host, with the plugins in it.
///
/// # Errors
/// When it does not build.
pub fn host(project: &Project, release: bool) -> Result<()> {
    let mut cargo = project::cargo(&project.root);
    cargo.args(["build", "--package", "grove"]).args(release.then_some("--release"));
    project::run(cargo.env(BUNDLE, project.bundle()))
}

fn check(guest: &Guest, manifest: &Identity, component: &[u8]) -> Result<()> {
    let Guest { package, version, .. } = guest;
    let Identity { name, kind, component: file, .. } = manifest;
    ensure!(
        matches!(kind.as_str(), "policy" | "driver" | "inspector"),
        "{package}: the manifest's kind is `{kind}`; say policy, driver or inspector"
    );
    ensure!(
        *package == format!("{kind}-{name}"),
        "{package}: by its manifest it should be called {kind}-{name}"
    );
    ensure!(
        *version == manifest.version,
        "{package}: version {version} in Cargo.toml, {} in plugin.toml",
        manifest.version
    );
    ensure!(
        *file == format!("{package}.wasm"),
        "{package}: call the component {package}.wasm in plugin.toml, not {file}"
    );
    let foreign: Vec<_> = guests::imports(component)?
        .into_iter()
        .filter(|name| !PURE_IMPORTS.contains(&name.as_str()))
        .collect();
    if kind != "driver" && !foreign.is_empty() {
        bail!("{package} imports {}: a {kind} may import nothing but the log", foreign.join(", "));
    }
    Ok(())
}

/// Keeps the file's time when nothing changed, so that what embeds it is not built again.
fn write_if_changed(project: &Project, path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // Written beside and renamed: a test that runs meanwhile sees the old file or the new one.
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes).with_context(|| format!("failed to write {}", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("failed to write {}", path.display()))?;
    eprintln!("xtask: wrote {} ({} bytes)", project.shown(path), bytes.len());
    Ok(())
}

/// What was renamed or removed in the sources must not linger in what is laid out.
fn remove_others(folder: &Path, keep: &BTreeSet<OsString>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if keep.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
