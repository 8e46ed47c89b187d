//! What is tested: the binary with the plugins in it, and the guests.

use std::path::PathBuf;
use std::sync::OnceLock;

use xtask::bundle;
use xtask::project::Project;

/// The `grove` binary, with the plugins in it. Builds it (once per process; cargo knows what is stale), unless
/// `GROVE_BIN` says where it already is.
pub fn binary() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, bundle::BIN, |project| {
        bundle::plugins(project)?;
        bundle::host(project, false)?;
        Ok(project.binary())
    })
}

/// The folder of built test guests. Builds them first, unless `GROVE_GUESTS` says where they already are.
pub fn guests() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, bundle::GUESTS, |project| {
        bundle::guests(project)?;
        Ok(project.built_guests())
    })
}

fn built(
    once: &OnceLock<Result<PathBuf, String>>,
    variable: &str,
    build: impl Fn(&Project) -> Result<PathBuf, Box<dyn std::error::Error>>,
) -> PathBuf {
    let built = once.get_or_init(|| {
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
        let project = Project::find().map_err(|error| format!("{error:#}"))?;
        build(&project).map_err(|error| error.to_string())
    });
    match built {
        Ok(path) => path.clone(),
        Err(error) => panic!("there is nothing to test: {error}"),
    }
}
