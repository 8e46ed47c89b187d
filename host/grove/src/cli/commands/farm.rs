//! `grove farm`.

mod mode;

use clap::Subcommand;
use grove_client::Client;

use crate::cli::output::Output;

/// The farm as a whole
#[derive(Debug, Subcommand)]
pub(crate) enum Farm {
    /// Show whether the farm is in maintenance, or change that
    Mode(mode::Args),
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Farm) -> anyhow::Result<()> {
    match command {
        Farm::Mode(args) => mode::run(farm, out, args).await,
    }
}
