//! `grove services`.

use grove_client::Client;
use grove_client::wire::Timestamp;
use grove_client::wire::service::{Service, ServiceInput, ServiceState};

use crate::cli::args::wire_word;
use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::human::{or_dash, relative};
use crate::cli::output::Output;

/// Show what the controller is made of, and what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = "With -o dot it is drawn, in the language of graphviz.")]
pub(crate) struct Args {
    /// Only this one, in full
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<()> {
    match args.name {
        Some(_) if out.is_dot() => {
            Err(Hinted::new("-o dot draws all services together", "leave the name out").into())
        }
        Some(name) => show(farm, out, &name).await,
        None if out.is_dot() => Ok(out.text(farm.services_dot().await?.trim_end())?),
        None => list(farm, out).await,
    }
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let services = farm.services().all().await?;
    if out.is_json() {
        return Ok(out.items(&services)?);
    }
    let now = clock::now();
    let row = |service: &Service| {
        [
            service.name.clone(),
            wire_word(&service.state),
            service.last_start.map_or_else(|| "-".to_owned(), |at| relative(at, now)),
            service.starts.to_string(),
            or_dash(Some(&note(service, now))),
        ]
    };
    let rows = services.iter().map(row).collect();
    Ok(out.table(["SERVICE", "STATE", "STARTED", "STARTS", "NOTE"], rows, "no services")?)
}

/// Why it is not started.
fn note(service: &Service, now: Timestamp) -> String {
    if !service.waits_for.is_empty() {
        return format!("waits for {}", service.waits_for.join(", "));
    }
    if service.state == ServiceState::Started {
        return String::new();
    }
    let again = service.next_start.map(|at| format!("starts again {}", relative(at, now)));
    again.into_iter().chain(service.last_error.clone()).collect::<Vec<_>>().join(": ")
}

async fn show(farm: &Client, out: &Output, name: &str) -> anyhow::Result<()> {
    let service = farm.service(name).await?;
    if out.is_json() {
        return Ok(out.json(&service)?);
    }
    let now = clock::now();
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| relative(time, now));
    let input = |input: &ServiceInput| {
        let state = input.state.map_or_else(|| "not there".to_owned(), |state| wire_word(&state));
        format!("{} ({state})", input.name)
    };
    let inputs: Vec<String> = service.inputs.iter().map(input).collect();
    out.fields([
        ("service", service.name.clone()),
        ("state", wire_word(&service.state)),
        ("waits for", service.waits_for.join("\n")),
        ("inputs", inputs.join("\n")),
        ("started", time(service.last_start)),
        ("starts again", time(service.next_start)),
        ("starts", service.starts.to_string()),
        ("after errors", service.restarts.to_string()),
        ("after changes", service.bounces.to_string()),
        ("last error", service.last_error.clone().unwrap_or_default()),
    ])?;
    if service.detail.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let rows = service.detail.into_iter().map(|(name, value)| [name, value]);
    Ok(out.table(["DETAIL", "VALUE"], rows.collect(), "no details")?)
}
