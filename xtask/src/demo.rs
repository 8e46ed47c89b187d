//! The demo, from a checkout.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::bundle;
use crate::project::Project;
use crate::setup;

/// Installs what is missing on the machine, builds all (unless `GROVE_BIN` says where the binary already is), then is `grove demo` until it ends.
///
/// # Errors
/// When something does not build or start.
pub fn run(project: &Project, arguments: &[OsString]) -> Result<ExitCode> {
    setup::ensure_programs(setup::FOR_DEMO)?;
    let grove = match std::env::var_os(bundle::BIN) {
        Some(built) => built.into(),
        None => {
            bundle::plugins(project)?;
            bundle::host(project, false)?;
            project.binary()
        }
    };
    // In our place: Ctrl-C is then the demo's alone, and the prompt comes back when it has ended.
    let error = Command::new(&grove).arg("demo").args(arguments).exec();
    Err(error).with_context(|| format!("failed to start {}", grove.display()))
}
