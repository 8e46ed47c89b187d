//! `grove limit`.

use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::limit::{Limit as Shown, LimitScope};

use crate::cli::args::wire_word;
use crate::cli::human::or_dash;
use crate::cli::output::Output;

/// How many tasks may run at the same time
#[derive(Debug, Subcommand)]
pub(crate) enum Limit {
    /// Show the limits that were ever set
    List,
    /// Set a limit, or take it away
    #[command(subcommand)]
    Set(Set),
}

/// On what.
#[derive(Debug, Subcommand)]
pub(crate) enum Set {
    /// On all tasks
    Farm {
        #[command(flatten)]
        value: Value,
    },
    /// On tasks of a driver
    Driver(Named),
    /// On tasks on workers of a host
    Host(Named),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Name of the driver or the host
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    value: Value,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Value {
    /// How many at most; none = any number, drain = nothing starts
    #[arg(value_name = "VALUE", value_parser = most)]
    value: Most,
}

/// At most so many.
#[derive(Clone, Copy, Debug)]
struct Most(Option<u32>);

fn most(text: &str) -> Result<Most, String> {
    match text {
        "none" => Ok(Most(None)),
        "drain" => Ok(Most(Some(0))),
        number => {
            let number = number.parse().map_err(|_| "expected a number, none or drain".to_owned())?;
            Ok(Most(Some(number)))
        }
    }
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Limit) -> anyhow::Result<()> {
    let (scope, name, value) = match command {
        Limit::List => return list(farm, out).await,
        Limit::Set(Set::Farm { value }) => (LimitScope::Farm, String::new(), value),
        Limit::Set(Set::Driver(Named { name, value })) => (LimitScope::Driver, name, value),
        Limit::Set(Set::Host(Named { name, value })) => (LimitScope::Host, name, value),
    };
    let limit = farm.set_limit(scope, &name, value.value.0, None).await?;
    if out.is_json() {
        return Ok(out.json(&limit)?);
    }
    let running = limit.running;
    let who = format!("{} {}", wire_word(&limit.scope), limit.name);
    Ok(out.line(&format!("{}: {}; {running} running", who.trim_end(), words(limit.value)))?)
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let limits = farm.limits().all().await?;
    if out.is_json() {
        return Ok(out.items(&limits)?);
    }
    let row = |limit: &Shown| {
        let value = limit.value.map_or_else(|| "none".to_owned(), word);
        [wire_word(&limit.scope), or_dash(Some(&limit.name)), value, limit.running.to_string()]
    };
    let rows = limits.iter().map(row).collect();
    Ok(out.table(["SCOPE", "NAME", "LIMIT", "RUNNING"], rows, "no limits")?)
}

fn word(value: u32) -> String {
    if value == 0 { "drain".to_owned() } else { value.to_string() }
}

fn words(value: Option<u32>) -> String {
    match value {
        None => "any number of tasks".to_owned(),
        Some(0) => "no task starts".to_owned(),
        Some(1) => "at most 1 task".to_owned(),
        Some(most) => format!("at most {most} tasks"),
    }
}
