//! `grove ssh`.

use std::process::ExitCode;

use grove_client::Client;

use crate::cli::hold::{self, Hold, Session};
use crate::cli::output::Output;

/// Get a board, open a shell on it, give it back
#[derive(Debug, clap::Args)]
#[command(after_help = hold::CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    hold: Hold,
    /// Options for ssh, like -L 8080:localhost:80, then perhaps a command for the board's shell
    #[arg(last = true, value_name = "SSH ARGUMENT")]
    args: Vec<String>,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<ExitCode> {
    hold::hold(farm, out, args.hold, Session::Shell { args: args.args }).await
}
