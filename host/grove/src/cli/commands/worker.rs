//! `grove worker`.

use clap::{Subcommand, ValueEnum};
use grove_client::wire::Uuid;
use grove_client::wire::plugin::{PickError, PluginVersion, VersionChoice};
use grove_client::wire::worker::{
    MoveWorker, PatchWorker, PutWorker, WantedState, Worker as Shown, WorkerState,
};
use grove_client::{Client, WorkersQuery};

use crate::cli::args::{self, WorkerId, wire_word};
use crate::cli::failure::Hinted;
use crate::cli::human::{capabilities, or_dash, relative, short};
use crate::cli::output::Output;
use crate::cli::{clock, config};

/// How often an edit is tried on what a worker is now.
const EDITS: u32 = 10;

/// Boards and what supervises them
#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Show workers
    List(List),
    /// Show one worker
    Show(WorkerId),
    /// Register a worker, or register it anew; prints its UUID
    Add(Add),
    /// Change the admin's part: no state changes
    Edit(Edit),
    /// Say who may use it
    Groups(Groups),
    /// Take it to idle or maintenance
    State(State),
    /// Report that it is broken: it stays out until it is wanted idle, with --force
    Fail(Fail),
    /// Take it out of the farm
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those in this state: maintenance, prepare, idle, running, busy, failed
    #[arg(long, value_parser = args::word::<WorkerState>)]
    state: Option<WorkerState>,
    /// Only those that fit this term, like board=rpi4 or uart=2..
    #[arg(long, value_name = "TERM")]
    wants: Option<String>,
    /// Only those that this group may use
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only those that stand here
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only those of this driver
    #[arg(long, value_name = "NAME")]
    driver: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// UUID of the worker [default: a new one]
    #[arg(env = "GROVE_WORKER", hide_env_values = true, value_name = "WORKER")]
    worker: Option<Uuid>,
    /// Driver for this kind of board
    #[arg(long, value_name = "NAME")]
    driver: String,
    /// The driver's configuration: KEY=VALUE (value: JSON, else text), @FILE.json or a JSON object; later ones win
    #[arg(long, value_name = "CONFIG")]
    config: Vec<String>,
    /// What the board can do [default: nothing, or as it was]
    #[arg(long = "cap", value_name = "KEY=VALUE", value_parser = config::pair)]
    capabilities: Vec<(String, String)>,
    /// The board can do nothing, whatever was said before
    #[arg(long, conflicts_with = "capabilities")]
    no_caps: bool,
    /// Who may use it [default: everyone, or as it was]
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Where it stands: tasks of one host share a limit
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Edit {
    #[command(flatten)]
    id: WorkerId,
    /// Set a capability: it wins over what the board says of itself
    #[arg(long = "cap", value_name = "KEY=VALUE", group = "change", value_parser = config::pair)]
    set: Vec<(String, String)>,
    /// Take back a capability that was set so
    #[arg(long = "no-cap", value_name = "KEY", group = "change")]
    unset: Vec<String>,
    /// Where it stands; empty = nowhere
    #[arg(long, value_name = "HOST", group = "change")]
    host: Option<String>,
    /// Remarks; empty = none
    #[arg(long, value_name = "TEXT", group = "change")]
    notes: Option<String>,
    /// Pin it to a version of its driver: a digest, 6 characters or more of that, or a number; empty = whichever
    /// is active
    #[arg(long, value_name = "VERSION", group = "change")]
    driver_version: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("who").required(true).multiple(false))]
pub(crate) struct Groups {
    #[command(flatten)]
    id: WorkerId,
    /// A group that may use it
    #[arg(long = "group", value_name = "GROUP", group = "who")]
    groups: Vec<String>,
    /// Everyone may use it
    #[arg(long, group = "who")]
    everyone: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct State {
    /// Where it shall go: ready for jobs, or in the admin's hands
    #[arg(value_name = "STATE")]
    state: Wanted,
    /// UUID of the worker
    #[arg(
        env = "GROVE_WORKER",
        hide_env_values = true,
        value_name = "WORKER",
        required_unless_present = "host",
        conflicts_with = "host"
    )]
    worker: Option<Uuid>,
    /// All that stand here
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// idle: also from failed; maintenance: also when a job runs on it, which ends
    #[arg(long)]
    force: bool,
    /// maintenance: when no job runs on it any more; `grove worker state idle` calls that off
    #[arg(long, conflicts_with = "force")]
    when_free: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Wanted {
    Idle,
    Maintenance,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Fail {
    #[command(flatten)]
    id: WorkerId,
    /// What is wrong with it
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    id: WorkerId,
    /// From every state; a job that runs on it ends
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Worker) -> anyhow::Result<()> {
    match command {
        Worker::List(args) => list(farm, out, args).await,
        Worker::Show(id) => show(farm, out, &id).await,
        Worker::Add(args) => add(farm, out, args).await,
        Worker::Edit(args) => edit(farm, out, args).await,
        Worker::Groups(args) => {
            changed(out, &farm.set_worker_groups(args.id.worker, args.groups, None).await?)
        }
        Worker::State(args) => {
            let state = match args.state {
                Wanted::Idle => WantedState::Idle,
                Wanted::Maintenance => WantedState::Maintenance,
            };
            let body = MoveWorker { state, force: args.force, when_free: args.when_free };
            let workers = match (args.worker, args.host) {
                (_, Some(host)) => {
                    let query = WorkersQuery { host: Some(host.clone()), ..WorkersQuery::default() };
                    let workers = farm.workers(&query).all().await?;
                    if workers.is_empty() {
                        let hint = "`grove worker list` shows where workers stand";
                        return Err(Hinted::new(format!("no worker stands at {host}"), hint).into());
                    }
                    workers.iter().map(|worker| worker.uuid).collect()
                }
                (worker, None) => Vec::from_iter(worker),
            };
            for worker in workers {
                changed(out, &farm.move_worker(worker, &body, None).await?)?;
            }
            Ok(())
        }
        Worker::Fail(args) => changed(out, &farm.report_failure(args.id.worker, &args.reason, None).await?),
        Worker::Remove(args) => {
            farm.delete_worker(args.id.worker, args.force, None).await?;
            out.remark(&format!("worker {} is removed", args.id.worker));
            Ok(())
        }
    }
}

async fn list(farm: &Client, out: &Output, args: List) -> anyhow::Result<()> {
    let List { state, wants, group, host, driver } = args;
    let query = WorkersQuery { state, group, wants, host, driver };
    let workers = farm.workers(&query).all().await?;
    if out.is_json() {
        return Ok(out.items(&workers)?);
    }
    let now = clock::now();
    let row = |worker: &Shown| {
        [
            worker.uuid.to_string(),
            wire_word(&worker.state),
            relative(worker.since, now),
            worker.driver.clone(),
            or_dash(worker.host.as_deref()),
            or_dash(Some(&worker.groups.join(" "))),
            worker.job.map_or_else(|| "-".to_owned(), |job| job.id.to_string()),
            or_dash(Some(&capabilities(&worker.capabilities))),
        ]
    };
    let rows = workers.iter().map(row).collect();
    let header = ["WORKER", "STATE", "SINCE", "DRIVER", "HOST", "GROUPS", "JOB", "CAPABILITIES"];
    Ok(out.table(header, rows, "no workers")?)
}

async fn show(farm: &Client, out: &Output, id: &WorkerId) -> anyhow::Result<()> {
    let worker = farm.worker(id.worker).await?;
    if out.is_json() {
        return Ok(out.json(&worker)?);
    }
    let now = clock::now();
    let health = &worker.health;
    let checked = health.checked_at.map_or_else(
        || "never checked".to_owned(),
        |at| format!("{}, checked {}", if health.ok { "well" } else { "not well" }, relative(at, now)),
    );
    let note = if health.note.is_empty() { String::new() } else { format!(": {}", health.note) };
    let sources = &worker.sources;
    out.fields([
        ("worker", worker.uuid.to_string()),
        ("state", wire_word(&worker.state)),
        ("since", relative(worker.since, now)),
        ("reason", worker.reason.clone().unwrap_or_default()),
        ("wanted", if worker.drain { "maintenance, when its job ends".to_owned() } else { String::new() }),
        ("recovery", recovery(&worker)),
        ("job", worker.job.map_or_else(String::new, |job| job.id.to_string())),
        (
            "task",
            worker.task.map_or_else(String::new, |task| format!("{} {}", wire_word(&task.kind), task.id)),
        ),
        (
            "introspection",
            worker
                .introspection
                .map_or_else(String::new, |run| format!("{} {}", wire_word(&run.state), run.id)),
        ),
        ("drift", worker.capabilities.get("DRIFT").cloned().unwrap_or_default()),
        ("health", format!("{checked}{note}")),
        ("driver", worker.driver.clone()),
        ("  pinned to", worker.driver_version.as_deref().map(short).unwrap_or_default().to_owned()),
        ("configuration", worker.driver_config.to_string()),
        ("host", worker.host.clone().unwrap_or_default()),
        ("groups", if worker.groups.is_empty() { "everyone".to_owned() } else { worker.groups.join(" ") }),
        ("capabilities", capabilities(&worker.capabilities)),
        ("  of the board", capabilities(&sources.agent)),
        ("  introspected", capabilities(&sources.introspected)),
        ("  of the admin", capabilities(&sources.admin)),
        ("notes", worker.notes.clone().unwrap_or_default()),
    ])?;
    Ok(())
}

fn recovery(worker: &Shown) -> String {
    match &worker.recovery {
        Some(recovery) if recovery.quarantined => {
            format!("none until `grove worker state idle --force {}`", worker.uuid)
        }
        Some(recovery) => match recovery.recheck_at {
            Some(at) => format!("checked again {}", relative(at, clock::now())),
            None => String::new(),
        },
        None => String::new(),
    }
}

async fn add(farm: &Client, out: &Output, args: Add) -> anyhow::Result<()> {
    let uuid = args.worker.unwrap_or_else(Uuid::new_v4);
    let body = PutWorker {
        driver: args.driver,
        driver_config: config::merge(&args.config)?,
        capabilities: (args.no_caps || !args.capabilities.is_empty())
            .then(|| config::map(&args.capabilities)),
        groups: (!args.groups.is_empty()).then_some(args.groups),
        host: args.host.map(Some),
    };
    let worker = farm.put_worker(uuid, &body, None).await?;
    if out.is_json() {
        return Ok(out.json(&worker)?);
    }
    out.remark(&sentence(&worker));
    if worker.state == WorkerState::Maintenance {
        out.remark(&format!("`grove worker state idle {uuid}` makes it ready for jobs"));
    }
    Ok(out.line(&worker.uuid.to_string())?)
}

async fn edit(farm: &Client, out: &Output, args: Edit) -> anyhow::Result<()> {
    let uuid = args.id.worker;
    let mut body = PatchWorker {
        host: args.host.map(|host| Some(host).filter(|host| !host.is_empty())),
        notes: args.notes.map(|notes| Some(notes).filter(|notes| !notes.is_empty())),
        ..PatchWorker::default()
    };
    if let Some(version) = args.driver_version {
        body.driver_version = Some(match version.as_str() {
            "" => None,
            version => Some(pin(farm, uuid, version.parse()?).await?),
        });
    }
    if args.set.is_empty() && args.unset.is_empty() {
        return changed(out, &farm.patch_worker(uuid, &body, None).await?);
    }
    let mut attempts = 1;
    loop {
        // The farm takes the admin's capabilities as a whole: these come on top of what is there now, and only if
        // that is still what is there.
        let worker = farm.worker(uuid).await?;
        let mut admin = worker.sources.admin;
        admin.retain(|key, _| !args.unset.contains(key));
        admin.extend(args.set.clone());
        body.capabilities = Some(Some(admin));
        match farm.patch_worker(uuid, &body, Some(worker.revision)).await {
            // A worker changes whenever something happens on it.
            Err(error) if error.is_precondition_failed() && attempts < EDITS => attempts += 1,
            edited => return changed(out, &edited?),
        }
    }
}

/// The digest of the version that is meant.
async fn pin(farm: &Client, uuid: Uuid, version: VersionChoice) -> anyhow::Result<String> {
    if let Some(digest) = version.digest() {
        return Ok(digest.to_owned());
    }
    let driver = farm.worker(uuid).await?.driver;
    let plugin = farm.plugin(&driver).await?;
    let name = |version: &PluginVersion| format!("{} ({})", version.version, short(&version.digest));
    let picked = version.pick(&plugin.versions, |version| (&version.digest, &version.version));
    picked.map(|version| version.digest.clone()).map_err(|error| {
        let has = plugin.versions.iter().map(name).collect::<Vec<_>>().join(", ");
        let what = match error {
            PickError::None => format!("driver {driver} has no version {:?}", version.as_str()),
            PickError::Several => {
                format!("{:?} names more than one version of driver {driver}", version.as_str())
            }
        };
        Hinted::new(what, format!("it has {has}")).into()
    })
}

fn changed(out: &Output, worker: &Shown) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(worker)?);
    }
    Ok(out.line(&sentence(worker))?)
}

fn sentence(worker: &Shown) -> String {
    let reason = worker.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let wanted = if worker.drain { ", and goes to maintenance when its job ends" } else { "" };
    format!("worker {} is in {}{reason}{wanted}", worker.uuid, wire_word(&worker.state))
}
