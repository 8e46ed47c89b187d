//! Laying out what was built: `TARGET/plugins/FOLDER/{plugin.toml, COMPONENT}`, `TARGET/guests/NAME.wasm`, and the
//! host with the plugins in it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::guests::{self, Guest};
use crate::project::{self, Project};

/// Where the host's build looks for the plugins to embed.
pub const BUNDLE: &str = "GROVE_BUNDLE";
/// Where tests look for the test guests.
pub const GUESTS: &str = "GROVE_GUESTS";
/// Where tests look for the binary, with the plugins in it.
pub const BIN: &str = "GROVE_BIN";

/// The ending of a file that is being written.
const UNFINISHED: &str = "unfinished";

/// Policies and inspectors must give the same answer to the same question: nothing else may be reached from there.
const PURE_IMPORTS: [&str; 3] =
    ["grove:plugin/log@0.1.0", "grove:plugin/types@0.1.0", "grove:plugin/driver-types@0.1.0"];

#[derive(Deserialize)]
struct Manifest {
    plugin: Identity,
    #[serde(default)]
    wants: Wants,
}

/// What of `[wants]` is an interface of the contract.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wants {
    ssh: bool,
    serial: Vec<String>,
    secrets: Vec<String>,
    storage: Vec<String>,
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
        check(guest, &manifest, &guests::imports(&component)?)?;
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

fn check(guest: &Guest, manifest: &Manifest, imports: &[String]) -> Result<()> {
    let Guest { package, version, .. } = guest;
    let Identity { name, kind, component: file, version: stated } = &manifest.plugin;
    ensure!(
        matches!(kind.as_str(), "policy" | "driver" | "inspector"),
        "{package}: the manifest's kind is `{kind}`; say policy, driver or inspector"
    );
    ensure!(
        *package == format!("{kind}-{name}"),
        "{package}: by its manifest it should be called {kind}-{name}"
    );
    ensure!(version == stated, "{package}: version {version} in Cargo.toml, {stated} in plugin.toml");
    ensure!(
        *file == format!("{package}.wasm"),
        "{package}: call the component {package}.wasm in plugin.toml, not {file}"
    );
    let foreign: Vec<_> =
        imports.iter().map(String::as_str).filter(|import| !PURE_IMPORTS.contains(import)).collect();
    ensure!(
        kind == "driver" || foreign.is_empty(),
        "{package} imports {}: a {kind} may import nothing but the log",
        foreign.join(", ")
    );
    let Wants { ssh, serial, secrets, storage } = &manifest.wants;
    for (what, wanted) in [
        ("ssh", *ssh),
        ("serial", !serial.is_empty()),
        ("secrets", !secrets.is_empty()),
        ("storage", !storage.is_empty()),
    ] {
        let interface = format!("grove:plugin/{what}@0.1.0");
        ensure!(
            wanted == imports.contains(&interface),
            "{package}: what it imports and what [wants] says of {what} differ: say in plugin.toml what it uses"
        );
    }
    Ok(())
}

/// Keeps the file's time when nothing changed, so that what embeds it is not built again.
fn write_if_changed(project: &Project, path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // Written beside and renamed: whoever reads meanwhile sees the old file or the new one, also when several test
    // programs build at once.
    let unfinished = path.with_extension(format!("{}.{UNFINISHED}", std::process::id()));
    fs::write(&unfinished, bytes).with_context(|| format!("failed to write {}", unfinished.display()))?;
    fs::rename(&unfinished, path).with_context(|| format!("failed to write {}", path.display()))?;
    eprintln!("xtask: wrote {} ({} bytes)", project.shown(path), bytes.len());
    Ok(())
}

/// What was renamed or removed in the sources must not linger in what is laid out.
fn remove_others(folder: &Path, keep: &BTreeSet<OsString>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_unfinished = entry.path().extension().is_some_and(|extension| extension == UNFINISHED);
        if is_unfinished || keep.contains(&entry.file_name()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(manifest: &str, imports: &[&str]) -> String {
        let guest = Guest::named("driver-x", "0.1.0");
        let manifest = toml::from_str(manifest).unwrap();
        let imports: Vec<_> = imports.iter().map(|import| (*import).to_owned()).collect();
        check(&guest, &manifest, &imports).map_or_else(|error| error.to_string(), |()| "nothing".to_owned())
    }

    const GOOD: &str =
        "[plugin]\nname = 'x'\nkind = 'driver'\nversion = '0.1.0'\ncomponent = 'driver-x.wasm'\n";

    #[test]
    fn a_manifest_must_say_what_is_so() {
        let log = "grove:plugin/log@0.1.0";
        let ssh = "grove:plugin/ssh@0.1.0";
        assert_eq!(refused(GOOD, &[log]), "nothing");
        assert_eq!(refused(&format!("{GOOD}[wants]\nssh = true"), &[log, ssh]), "nothing");
        for (manifest, imports, word) in [
            (GOOD.to_owned(), &[ssh][..], "ssh differ"),
            (format!("{GOOD}[wants]\nserial = ['tty']"), &[log], "serial differ"),
            (GOOD.replace("0.1.0", "0.2.0"), &[log], "version 0.1.0"),
            (GOOD.replace("'x'", "'y'"), &[log], "driver-y"),
            (GOOD.replace("'driver'", "'plugin'"), &[log], "say policy, driver or inspector"),
            (GOOD.replace("driver-x.wasm", "x.wasm"), &[log], "driver-x.wasm"),
        ] {
            let error = refused(&manifest, imports);
            assert!(error.contains(word), "{manifest}: {error}");
        }
    }

    #[test]
    fn a_policy_that_reaches_out_is_refused() {
        let mut guest = Guest::named("policy-x", "0.1.0");
        let manifest = GOOD.replace("'driver'", "'policy'").replace("driver-x.wasm", "policy-x.wasm");
        let manifest = toml::from_str(&manifest).unwrap();
        let clock = ["wasi:clocks/wall-clock@0.2.6".to_owned()];
        assert!(check(&guest, &manifest, &clock).unwrap_err().to_string().contains("nothing but the log"));
        guest.version = "0.2.0".into();
        assert!(check(&guest, &manifest, &[]).is_err());
    }

    #[test]
    fn unchanged_files_keep_their_time_and_others_go() {
        let folder = tempfile::TempDir::new().unwrap();
        let project = Project { root: folder.path().to_owned(), target: folder.path().to_owned() };
        let (kept, gone) = (folder.path().join("kept.wasm"), folder.path().join("gone.wasm"));
        write_if_changed(&project, &kept, b"1").unwrap();
        let before = fs::metadata(&kept).unwrap().modified().unwrap();
        write_if_changed(&project, &kept, b"1").unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);
        write_if_changed(&project, &kept, b"2").unwrap();
        write_if_changed(&project, &gone, b"3").unwrap();
        remove_others(folder.path(), &BTreeSet::from([OsString::from("kept.wasm")])).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
