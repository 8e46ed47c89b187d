//! `grove plugin`.

use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::plugin::Plugin as Shown;

use super::MAX_LIST;
use crate::cli::args::wire_word;
use crate::cli::human::or_dash;
use crate::cli::output::Output;

/// Policies, drivers and inspectors
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Show the plugins that the farm knows
    List,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Plugin) -> anyhow::Result<()> {
    match command {
        Plugin::List => list(farm, out).await,
    }
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let plugins = farm.plugins().take(MAX_LIST).await?;
    if out.is_json() {
        return Ok(out.items(&plugins)?);
    }
    let rows = plugins.iter().map(row).collect();
    Ok(out.table(["NAME", "KIND", "VERSION", "WORLD", "ACTIVE", "SUMMARY"], rows, "no plugins")?)
}

fn row(plugin: &Shown) -> [String; 6] {
    let active = if plugin.active { "yes" } else { "no" };
    [
        plugin.name.clone(),
        wire_word(&plugin.kind),
        plugin.version.clone(),
        plugin.world.clone(),
        active.to_owned(),
        or_dash(plugin.trouble.as_deref().or(Some(&plugin.summary))),
    ]
}
