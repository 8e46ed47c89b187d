//! Building guests: crates to core modules with cargo, modules to components here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::metadata::Package;
use crate::project::{self, Project};

/// The target of guests that need nothing of WASI. Cargo builds core modules for it.
const WITHOUT_WASI: &str = "wasm32-unknown-unknown";
/// The target of guests that do. Cargo builds components for it.
const WITH_WASI: &str = "wasm32-wasip2";

/// A crate that becomes a component.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The crate.
    pub package: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its version.
    pub version: String,
    target: &'static str,
    library: String,
}

/// The guests of a workspace: its crates that build a `cdylib`.
///
/// # Errors
/// When cargo cannot read the workspace, or a guest names a target that there is not.
pub fn of_workspace(folder: &Path) -> Result<Vec<Guest>> {
    let metadata = crate::metadata::load(folder, &["--no-deps"])?;
    let mut guests = Vec::new();
    for package in metadata.members() {
        let is_library = |kind: &[String]| kind.iter().any(|kind| kind == "cdylib");
        if let Some(library) = package.targets.iter().find(|target| is_library(&target.kind)) {
            guests.push(Guest {
                package: package.name.clone(),
                folder: package.folder().to_owned(),
                version: package.version.clone(),
                target: wanted_target(package)?,
                library: library.name.replace('-', "_"),
            });
        }
    }
    Ok(guests)
}

fn wanted_target(package: &Package) -> Result<&'static str> {
    let wanted = package.metadata.as_ref().and_then(|all| all.pointer("/grove/target"));
    match wanted.map(|target| target.as_str().unwrap_or_default()) {
        None | Some(WITHOUT_WASI) => Ok(WITHOUT_WASI),
        Some(WITH_WASI) => Ok(WITH_WASI),
        Some(other) => bail!(
            "{} wants target `{other}` in [package.metadata.grove]: only {WITHOUT_WASI} and {WITH_WASI} make guests",
            package.name
        ),
    }
}

/// Builds guests of one workspace, always for release, and returns their components.
///
/// # Errors
/// When a target is missing and cannot be added, when a crate does not build, and when what it builds is no component.
pub fn build(project: &Project, workspace: &Path, guests: &[Guest]) -> Result<Vec<Vec<u8>>> {
    for (target, guests) in by_target(guests) {
        ensure_target(target)?;
        let mut cargo = cargo_for_guests(project, workspace);
        cargo.args(["build", "--release", "--target", target]);
        cargo.args(guests.iter().flat_map(|guest| ["--package", guest.package.as_str()]));
        project::run(&mut cargo)?;
    }
    guests.iter().map(|guest| component(project, guest)).collect()
}

/// Guests that are built together.
pub fn by_target(guests: &[Guest]) -> BTreeMap<&'static str, Vec<&Guest>> {
    let mut by_target: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for guest in guests {
        by_target.entry(guest.target).or_default().push(guest);
    }
    by_target
}

/// Cargo for a workspace of guests, which builds beside the host and not under its lock. The host's instrumentation
/// and flags are not for guests.
pub fn cargo_for_guests(project: &Project, workspace: &Path) -> Command {
    let mut cargo = project::cargo(workspace);
    cargo.env("CARGO_TARGET_DIR", project.guest_target());
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// Adds a wasm target where it is missing.
///
/// # Errors
/// What to install when that cannot be done from here.
pub fn ensure_target(target: &str) -> Result<()> {
    let rustc = std::env::var_os("RUSTC");
    let rustc = rustc.as_deref().unwrap_or_else(|| OsStr::new("rustc"));
    let libraries =
        project::output(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))?;
    if Path::new(String::from_utf8_lossy(&libraries).trim()).is_dir() {
        return Ok(());
    }
    eprintln!("xtask: adding target {target}");
    project::run(Command::new("rustup").args(["target", "add", target])).with_context(|| {
        format!("rust has no target {target}; install rustup (https://rustup.rs) and run `rustup target add {target}`, or install your distribution's package with that target")
    })
}

fn component(project: &Project, guest: &Guest) -> Result<Vec<u8>> {
    let built =
        project.guest_target().join(guest.target).join("release").join(&guest.library).with_extension("wasm");
    let bytes = std::fs::read(&built).with_context(|| format!("cargo did not build {}", built.display()))?;
    let component = match guest.target {
        WITHOUT_WASI => ComponentEncoder::default()
            .validate(true)
            .module(&bytes)
            .and_then(|encoder| encoder.encode())
            .map_err(|error| anyhow::anyhow!("{} makes no component: {error:#}", guest.package))?,
        _ => bytes,
    };
    imports(&component).with_context(|| format!("{} made no component", guest.package))?;
    Ok(component)
}

/// The names of the interfaces that a component imports.
///
/// # Errors
/// When it is no valid component.
pub fn imports(component: &[u8]) -> Result<Vec<String>> {
    let decoded = wit_component::decode(component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        bail!("it is a WIT package");
    };
    let world = resolve.worlds.get(world).context("it has no world")?;
    Ok(world.imports.keys().map(|key| resolve.name_world_key(key)).collect())
}

#[cfg(test)]
impl Guest {
    pub(crate) fn named(package: &str, version: &str) -> Self {
        Self {
            package: package.to_owned(),
            folder: PathBuf::new(),
            version: version.to_owned(),
            target: WITHOUT_WASI,
            library: package.replace('-', "_"),
        }
    }
}
