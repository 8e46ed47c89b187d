//! `grove run`.

use std::process::ExitCode;

use grove_client::Client;

use crate::cli::hold::{self, Hold, Session};
use crate::cli::output::Output;

/// Get a board, run one command on it, give it back
#[derive(Debug, clap::Args)]
#[command(after_help = hold::CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    hold: Hold,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Program and arguments; they reach the board as they are
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<ExitCode> {
    let session = Session::Command { argv: args.command, tty: args.tty };
    hold::hold(farm, out, args.hold, session).await
}
