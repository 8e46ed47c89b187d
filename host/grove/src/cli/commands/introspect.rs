//! `grove introspect`.

use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use grove_client::wire::Uuid;
use grove_client::wire::introspection::{
    Difference, Findings, Introspection as Run, IntrospectionState, InventoryKind, StartIntrospection,
    WantedWay,
};
use grove_client::{Client, IntrospectionsQuery};

use crate::cli::args::{self, WorkerId, wire_word};
use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::hold::wait::patiently;
use crate::cli::human::{or_dash, relative};
use crate::cli::output::Output;

/// Long polls while a run goes on.
const POLL: Duration = Duration::from_secs(10);

/// Find out what a board is made of
#[derive(Debug, Subcommand)]
pub(crate) enum Introspect {
    /// Begin, on a worker in maintenance
    Start(Start),
    /// Show where it is, and what it found
    Status(Which),
    /// Show runs, newest first
    List(List),
    /// End it; the board is switched off where its driver can
    Abort(Which),
    /// Print an inventory, as JSON
    Data(Data),
    /// Show what changed in the inventory since the run before
    Diff(Diff),
    /// Process what is stored again, by today's inspectors and rules
    Reapply(Reapply),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// UUID of a worker, whose newest run is meant, or of a run
    #[arg(env = "GROVE_WORKER", hide_env_values = true, value_name = "UUID")]
    uuid: Uuid,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Start {
    #[command(flatten)]
    id: WorkerId,
    /// The board sends its inventory itself: prints how, with a token that is good for once
    #[arg(long)]
    push: bool,
    /// Wait until it ends; fails if it does
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this worker
    #[arg(long, env = "GROVE_WORKER", hide_env_values = true)]
    worker: Option<Uuid>,
    /// Only those in this state: starting, waiting, processing, finished, error, reapplying, enrolling, aborting
    #[arg(long, value_parser = args::word::<IntrospectionState>)]
    state: Option<IntrospectionState>,
    /// How many of the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Every one
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Data {
    #[command(flatten)]
    which: Which,
    /// As it came from the board, before inspectors brought it into form
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    which: Which,
    /// The run to compare with [default: the worker's one before]
    #[arg(long, value_name = "RUN")]
    with: Option<Uuid>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub(crate) struct Reapply {
    /// UUID of a worker, whose newest stored inventory is meant, or of a run
    #[arg(value_name = "UUID", group = "what")]
    uuid: Option<Uuid>,
    /// Of every worker
    #[arg(long, group = "what")]
    all: bool,
    /// Wait until it ends; fails if it does
    #[arg(long, conflicts_with = "all")]
    wait: bool,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Introspect) -> anyhow::Result<()> {
    match command {
        Introspect::Start(args) => start(farm, out, &args).await,
        Introspect::Status(which) => {
            let run = newest(farm, which.uuid, |_| true).await?;
            status(farm, out, &run).await
        }
        Introspect::List(args) => list(farm, out, args).await,
        Introspect::Abort(which) => {
            let run = newest(farm, which.uuid, |_| true).await?;
            told(out, &farm.abort_introspection(run.id, None).await?)
        }
        Introspect::Data(args) => {
            let kind = if args.raw { InventoryKind::Raw } else { InventoryKind::Processed };
            let run = newest(farm, args.which.uuid, |run| stored(run, kind)).await?;
            Ok(out.json(&farm.inventory(run.id, kind).await?)?)
        }
        Introspect::Diff(args) => diff(farm, out, &args).await,
        Introspect::Reapply(args) => reapply(farm, out, &args).await,
    }
}

fn stored(run: &Run, kind: InventoryKind) -> bool {
    match kind {
        InventoryKind::Raw => run.has_data.raw,
        InventoryKind::Processed => run.has_data.processed,
    }
}

/// The run of that id, or the worker's newest that is `wanted`, or else its newest.
async fn newest(farm: &Client, uuid: Uuid, wanted: impl Fn(&Run) -> bool) -> anyhow::Result<Run> {
    let mut runs = farm.introspections(&IntrospectionsQuery { worker: Some(uuid), state: None });
    let mut first = None;
    // A worker has few: they go with the farm's history.
    while let Some(run) = runs.next().await? {
        if wanted(&run) {
            return Ok(run);
        }
        first.get_or_insert(run);
    }
    if let Some(first) = first {
        return Ok(first);
    }
    match farm.introspection(uuid).await {
        Err(error) if error.is_not_found() => Err(Hinted::new(
            format!("{uuid} is no introspection, and no worker that was ever introspected"),
            format!("begin one: grove introspect start {uuid}"),
        )
        .into()),
        run => Ok(run?),
    }
}

async fn start(farm: &Client, out: &Output, args: &Start) -> anyhow::Result<()> {
    let way = if args.push { WantedWay::Push } else { WantedWay::Pull };
    let run = farm.start_introspection(&StartIntrospection { worker: args.id.worker, way }, None).await?;
    match (&run.token, &run.data_url) {
        _ if out.is_json() && (args.push || !args.wait) => out.json(&run)?,
        (Some(token), Some(path)) => {
            out.remark(&format!("introspection {} waits for the board: run this there, once", run.id));
            let url = format!("{}{path}", farm.base_url());
            out.line(&format!(
                "curl --fail-with-body -H 'Authorization: Bearer {token}' --data-binary @inventory.json {url}"
            ))?;
        }
        _ if args.wait => out.remark(&sentence(&run)),
        _ => out.line(&sentence(&run))?,
    }
    if args.wait { ended(farm, out, run).await } else { Ok(()) }
}

/// Waits for the end of a run, and tells it.
async fn ended(farm: &Client, out: &Output, mut run: Run) -> anyhow::Result<()> {
    while !run.state.is_terminal() {
        run = patiently(|| farm.introspection_newer_than(run.id, run.revision, POLL)).await?;
    }
    if run.state == IntrospectionState::Error {
        if out.is_json() {
            out.json(&run)?;
        }
        bail!("introspection {} failed: {}", run.id, or_dash(run.error.as_deref()));
    }
    status(farm, out, &run).await
}

async fn status(farm: &Client, out: &Output, run: &Run) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(run)?);
    }
    let now = clock::now();
    out.fields([
        ("introspection", run.id.to_string()),
        ("worker", run.worker.map_or_else(String::new, |worker| worker.to_string())),
        ("way", wire_word(&run.way)),
        ("state", wire_word(&run.state)),
        ("since", relative(run.since, now)),
        ("error", run.error.clone().unwrap_or_default()),
        ("started", relative(run.started, now)),
        ("finished", run.finished.map_or_else(String::new, |time| relative(time, now))),
        ("stored", stored_words(run).to_owned()),
    ])?;
    if run.has_data.processed {
        found(out, &farm.findings(run.id).await?)?;
    }
    Ok(())
}

fn stored_words(run: &Run) -> &'static str {
    match (run.has_data.raw, run.has_data.processed) {
        (_, true) => "raw and processed inventory",
        (true, false) => "raw inventory",
        (false, false) => "",
    }
}

fn found(out: &Output, findings: &Findings) -> std::io::Result<()> {
    let capabilities = findings
        .capabilities
        .iter()
        .map(|(key, value)| [key.clone(), value.clone(), or_dash(findings.by.get(key).map(String::as_str))]);
    out.line("")?;
    out.table(["CAPABILITY", "VALUE", "FOUND BY"], capabilities.collect(), "no capabilities were found")?;
    if !findings.labels.is_empty() {
        let labels = findings.labels.iter().map(|(key, value)| [key.clone(), value.clone()]);
        out.line("")?;
        out.table(["LABEL", "VALUE"], labels.collect(), "")?;
    }
    Ok(())
}

async fn list(farm: &Client, out: &Output, args: List) -> anyhow::Result<()> {
    let query = IntrospectionsQuery { worker: args.worker, state: args.state };
    let runs = super::newest(out, farm.introspections(&query), args.limit, args.all).await?;
    if out.is_json() {
        return Ok(out.items(&runs)?);
    }
    let now = clock::now();
    let row = |run: &Run| {
        [
            run.id.to_string(),
            run.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()),
            wire_word(&run.way),
            wire_word(&run.state),
            relative(run.since, now),
            or_dash(run.error.as_deref()),
        ]
    };
    let rows = runs.iter().map(row).collect();
    Ok(out.table(["INTROSPECTION", "WORKER", "WAY", "STATE", "SINCE", "ERROR"], rows, "no introspections")?)
}

async fn diff(farm: &Client, out: &Output, args: &Diff) -> anyhow::Result<()> {
    let run = newest(farm, args.which.uuid, |run| run.has_data.processed).await?;
    let diff = farm.inventory_diff(run.id, args.with).await?;
    if out.is_json() {
        return Ok(out.json(&diff)?);
    }
    for Difference { path, before, after } in &diff.differences {
        let path = if path.is_empty() { "/" } else { path };
        out.line(&match (before, after) {
            (Some(before), Some(after)) => format!("~ {path}: {before} -> {after}"),
            (None, Some(after)) => format!("+ {path}: {after}"),
            (Some(before), None) => format!("- {path}: {before}"),
            (None, None) => continue,
        })?;
    }
    if diff.differences.is_empty() {
        out.remark(&format!("nothing changed since introspection {}", diff.with));
    }
    if diff.more {
        out.remark("there are more differences: compare what `grove introspect data` prints");
    }
    Ok(())
}

async fn reapply(farm: &Client, out: &Output, args: &Reapply) -> anyhow::Result<()> {
    let Some(uuid) = args.uuid else {
        let begun = farm.reapply_introspections().await?;
        if out.is_json() {
            return Ok(out.json(&begun)?);
        }
        return Ok(out.line(&format!("{} inventories are processed again", begun.count))?);
    };
    let run = newest(farm, uuid, |run| run.has_data.raw).await?;
    let run = farm.reapply_introspection(run.id, None).await?;
    if args.wait { ended(farm, out, run).await } else { told(out, &run) }
}

fn told(out: &Output, run: &Run) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(run)?);
    }
    Ok(out.line(&sentence(run))?)
}

fn sentence(run: &Run) -> String {
    let of = run.worker.map_or_else(String::new, |worker| format!(" of worker {worker}"));
    let error = run.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    format!("introspection {}{of} is {}{error}", run.id, state_word(run.state))
}

/// A run is in error; otherwise it is what its state says.
fn state_word(state: IntrospectionState) -> String {
    match state {
        IntrospectionState::Error => "in error".to_owned(),
        state => wire_word(&state),
    }
}
