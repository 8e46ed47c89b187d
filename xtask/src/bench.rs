//! The figures, from a checkout.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::bundle;
use crate::project::{self, Project};

/// The crate that measures.
pub(crate) const PACKAGE: &str = "grove-tests-benches";

/// Builds plugins, test guests and the host for release, then is the benches until they end.
///
/// # Errors
/// When something does not build or start.
pub fn run(project: &Project, rows: &[String]) -> Result<ExitCode> {
    bundle::plugins(project)?;
    bundle::guests(project)?;
    // Both at once: each alone would have other features of the same libraries, and build them twice.
    let mut build = project::cargo(&project.root);
    build.args(["build", "--release", "--package", "grove", "--package", PACKAGE]);
    project::run(build.env(bundle::BUNDLE, project.bundle()))?;
    let benches = project.target.join("release").join(PACKAGE);
    let mut command = Command::new(&benches);
    command.args(rows).env(bundle::BUNDLE, project.bundle()).env(bundle::GUESTS, project.built_guests());
    Err(command.exec()).with_context(|| format!("failed to start {}", benches.display()))
}
