//! Where things are, and how cargo is called.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The project's folders.
#[derive(Clone, Debug)]
pub struct Project {
    /// The root of the project: the host's workspace.
    pub root: PathBuf,
    /// Where cargo builds the host, and where guests are laid out.
    pub target: PathBuf,
}

impl Project {
    /// The project that this program was built from.
    ///
    /// # Errors
    /// When cargo does not say where it builds.
    pub fn find() -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no folder")?.to_owned();
        let metadata = crate::metadata::load(&root, &["--no-deps"])?;
        Ok(Self { root, target: metadata.target_directory })
    }

    /// The workspace of the plugins that come with Grove.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The workspace of the test guests, good and hostile.
    pub fn guests(&self) -> PathBuf {
        self.root.join("tests/conformance/guests")
    }

    /// Where the plugins are laid out, a folder for each.
    pub fn bundle(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Where the test guests are laid out, a file for each.
    pub fn built_guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The binary, as it is built for people who work on it.
    pub fn binary(&self) -> PathBuf {
        self.target.join("debug").join("grove")
    }

    /// Where cargo builds everything that is not of the host's workspace.
    pub fn guest_target(&self) -> PathBuf {
        self.target.join("wasm")
    }

    /// A path as people like to read it.
    pub fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// A call of the cargo that runs us, in a folder.
pub fn cargo(folder: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(folder);
    command
}

/// Runs a command that must succeed.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command that must succeed, for what it prints.
///
/// # Errors
/// When it cannot be started, or fails: with what it said.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("failed to start {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(command), output.status, said.trim());
    }
    Ok(output.stdout)
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
