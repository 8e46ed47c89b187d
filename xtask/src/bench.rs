//! The figures, from a checkout.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::bundle;
use crate::project::{self, Project};

/// Builds plugins, test guests and the host for release, then is the benches until they end.
///
/// # Errors
/// When something does not build or start.
pub fn run(project: &Project, rows: &[String]) -> Result<ExitCode> {
    bundle::plugins(project)?;
    bundle::guests(project)?;
    bundle::host(project, true)?;
    let mut cargo = project::cargo(&project.root);
    cargo.args(["run", "--release", "--package", "grove-tests-benches", "--"]).args(rows);
    cargo.env(bundle::BUNDLE, project.bundle()).env(bundle::GUESTS, project.built_guests());
    Err(cargo.exec()).context("failed to start cargo")
}
