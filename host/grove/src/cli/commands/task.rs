//! `grove task`.

use clap::Subcommand;
use grove_client::wire::task::{Step, Task as Shown, TaskKind, TaskPhase};
use grove_client::wire::{Timestamp, Uuid};
use grove_client::{Client, TasksQuery};

use super::newest;
use crate::cli::args::{self, wire_word};
use crate::cli::clock;
use crate::cli::human::{length, or_dash, relative, short};
use crate::cli::output::Output;

/// So many of its last lines are shown with a task; `task logs` has all.
const SHOWN_LINES: usize = 10;

/// What the farm does on its workers
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Show tasks, newest first
    List(List),
    /// Show one task, step by step
    Show(Id),
    /// Show what a task said
    #[command(alias = "log")]
    Logs(Logs),
    /// Stop a task; to its worker that is a failure
    Cancel(Id),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this worker
    #[arg(long, env = "GROVE_WORKER", hide_env_values = true)]
    worker: Option<Uuid>,
    /// Only those that open the job of this request
    #[arg(long, value_name = "REQUEST")]
    request: Option<u64>,
    /// Only those that do this: prepare, maintain, open, check, recheck
    #[arg(long, value_parser = args::word::<TaskKind>)]
    kind: Option<TaskKind>,
    /// Only those that are so far: waiting, running, succeeded, failed, cancelled
    #[arg(long, value_parser = args::word::<TaskPhase>)]
    phase: Option<TaskPhase>,
    /// How many of the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Every one
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    id: Id,
    /// Go on until the task ends, or Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only lines after this one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    after: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// UUID of the task
    #[arg(value_name = "TASK")]
    task: Uuid,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Task) -> anyhow::Result<()> {
    match command {
        Task::List(args) => list(farm, out, args).await,
        Task::Show(id) => show(farm, out, &id).await,
        Task::Logs(args) => logs(farm, out, &args).await,
        Task::Cancel(id) => cancel(farm, out, &id).await,
    }
}

async fn list(farm: &Client, out: &Output, args: List) -> anyhow::Result<()> {
    let query = TasksQuery { worker: args.worker, request: args.request, kind: args.kind, phase: args.phase };
    let tasks = newest(out, farm.tasks(&query), args.limit, args.all).await?;
    if out.is_json() {
        return Ok(out.items(&tasks)?);
    }
    let now = clock::now();
    let row = |task: &Shown| {
        [
            task.id.to_string(),
            wire_word(&task.kind),
            wire_word(&task.phase),
            format!("{}%", task.progress),
            task.worker.to_string(),
            relative(task.queued, now),
            or_dash(task.error.as_deref().or(Some(&task.note))),
        ]
    };
    let rows = tasks.iter().map(row).collect();
    Ok(out.table(["TASK", "KIND", "PHASE", "DONE", "WORKER", "QUEUED", "NOTE"], rows, "no tasks")?)
}

async fn show(farm: &Client, out: &Output, id: &Id) -> anyhow::Result<()> {
    let task = farm.task(id.task).await?;
    if out.is_json() {
        return Ok(out.json(&task)?);
    }
    let now = clock::now();
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| relative(time, now));
    out.fields([
        ("task", task.id.to_string()),
        ("kind", wire_word(&task.kind)),
        ("phase", wire_word(&task.phase)),
        ("worker", task.worker.to_string()),
        ("request", task.request.map_or_else(String::new, |request| request.to_string())),
        ("driver", task.driver.clone()),
        ("version", task.driver_version.as_deref().map(short).unwrap_or_default().to_owned()),
        ("progress", format!("{}%", task.progress)),
        ("note", task.note.clone()),
        ("error", task.error.clone().unwrap_or_default()),
        ("queued", relative(task.queued, now)),
        ("started", time(task.started)),
        ("ended", time(task.ended)),
        ("deadline", if task.ended.is_none() { time(task.deadline) } else { String::new() }),
    ])?;
    if !task.steps.is_empty() {
        out.line("")?;
        steps(out, &task.steps, now)?;
    }
    let said = task.log.as_deref().unwrap_or_default();
    if !said.is_empty() {
        out.line("")?;
    }
    let cut = said.len().saturating_sub(SHOWN_LINES);
    if cut > 0 {
        out.remark(&format!("the last {SHOWN_LINES} lines; `grove task logs {}` shows every one", task.id));
    }
    for line in said.iter().skip(cut) {
        out.line(&format!("{:.3}  {:<8}  {}", line.at, line.level, line.text))?;
    }
    Ok(())
}

fn steps(out: &Output, steps: &[Step], now: Timestamp) -> std::io::Result<()> {
    let rows = steps.iter().map(|step| {
        let until = step.ended.unwrap_or(now);
        let goes_on = if step.started.is_some() { "running" } else { "to come" };
        let outcome = step.outcome.map_or_else(|| goes_on.to_owned(), |outcome| wire_word(&outcome));
        let took = step.started.map(|started| length(until.duration_since(started)));
        [step.name.clone(), outcome, or_dash(took.as_deref())]
    });
    out.table(["STEP", "OUTCOME", "TOOK"], rows.collect(), "no steps")
}

async fn logs(farm: &Client, out: &Output, args: &Logs) -> anyhow::Result<()> {
    let mut log = farm.task_log(args.id.task, args.after, args.follow).await?;
    let mut said = false;
    while let Some(line) = log.next().await? {
        said = true;
        if out.is_json() { out.json_line(&line) } else { out.line(&line.to_string()) }?;
    }
    if !said {
        out.remark("nothing was said");
    }
    Ok(())
}

async fn cancel(farm: &Client, out: &Output, id: &Id) -> anyhow::Result<()> {
    let task = farm.cancel_task(id.task).await?;
    if out.is_json() {
        return Ok(out.json(&task)?);
    }
    Ok(out.line(&format!("task {} is {}", task.id, wire_word(&task.phase)))?)
}
