//! `grove farm backup`.

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::output::Output;
use crate::serve::backup::{Wanted, make};
use crate::serve::config::Config;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to: a folder that is new or empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Folder of everything durable [default: $XDG_STATE_HOME/grove]
    #[arg(long, env = "GROVE_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file of the controller
    #[arg(long, env = "GROVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave out the secrets
    #[arg(long)]
    no_secrets: bool,
    /// Copy the artifacts, too
    #[arg(long)]
    artifacts: bool,
    /// Also when the farm has lost something, which is then not in it
    #[arg(long)]
    incomplete: bool,
}

/// Asks no controller: who may read the state folder may copy it.
pub(crate) fn run(out: &Output, args: &Args) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    config.state = args.state.clone().or(config.state);
    if args.artifacts && config.is_in_a_bucket() {
        bail!("the artifacts are in a bucket (objects.kind): copy that bucket, and leave out --artifacts");
    }
    let Args { no_secrets, artifacts, incomplete, .. } = *args;
    let wanted = Wanted { secrets: !no_secrets, artifacts, incomplete };
    let made = make(&config.state()?, &args.folder, wanted)?;
    for lost in &made.lost {
        out.warning(&format!("the farm has lost {lost}, and the backup lacks it"));
    }
    if out.is_json() {
        return Ok(out.json(&made)?);
    }
    let bytes: u64 = made.files.iter().map(|file| file.size).sum();
    Ok(out.line(&format!("{}: {} files, {bytes} bytes", args.folder.display(), made.files.len()))?)
}
