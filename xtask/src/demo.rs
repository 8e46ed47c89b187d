//! The demo, from a checkout.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::bundle;
use crate::project::Project;

/// Builds all, then is `grove demo` until it ends.
///
/// # Errors
/// When something does not build or start.
pub fn run(project: &Project, arguments: &[OsString]) -> Result<ExitCode> {
    bundle::plugins(project)?;
    bundle::host(project, false)?;
    let grove = project.binary();
    // In our place: Ctrl-C is then the demo's alone, and the prompt comes back when it has ended.
    let error = Command::new(&grove).arg("demo").args(arguments).exec();
    Err(error).with_context(|| format!("failed to start {}", grove.display()))
}
