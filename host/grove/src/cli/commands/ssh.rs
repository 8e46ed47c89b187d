//! `grove ssh`.

use std::ffi::OsString;
use std::process::ExitCode;

use grove_client::Client;

use crate::cli::hold::{self, Hold, Patience, Session, Visit};
use crate::cli::output::Output;

/// Get a board, open a shell on it, give it back
#[derive(Debug, clap::Args)]
#[command(after_help = hold::CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    hold: Hold,
    /// Go to the board of this job, which goes on when this session ends, instead of asking for one
    #[arg(
        long,
        value_name = "REQUEST",
        conflicts_with_all = ["terms", "length", "priority", "hints", "wait", "extend", "idle"]
    )]
    job: Option<u64>,
    /// Options for ssh, like -L 8080:localhost:80, then perhaps a command for the board's shell
    #[arg(last = true, value_name = "SSH ARGUMENT")]
    args: Vec<OsString>,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<ExitCode> {
    let visit = Visit::of_words(&args.args)?;
    match args.job {
        Some(job) => hold::join(farm, out, job, args.hold.line, visit).await,
        None => hold::hold(farm, out, args.hold, Session::Remote(visit), Patience::Shell).await,
    }
}
