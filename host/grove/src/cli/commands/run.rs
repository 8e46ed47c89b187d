//! `grove run`.

use std::ffi::OsString;
use std::process::ExitCode;

use grove_client::Client;

use crate::cli::hold::{self, Hold, Patience, Session, Visit};
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
    /// Run the command on this machine instead, with the board's address in GROVE_BOARD_HOST, GROVE_BOARD_PORT,
    /// GROVE_BOARD_USER, and a configuration for `ssh -F` in GROVE_SSH_CONFIG, in which the board is called `board`
    #[arg(long, conflicts_with = "tty")]
    local: bool,
    /// Program and arguments; they reach the board as they are
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<ExitCode> {
    let session = if args.local {
        Session::Local(args.command)
    } else {
        Session::Remote(Visit::command(&args.command, args.tty))
    };
    hold::hold(farm, out, args.hold, session, Patience::Command).await
}
