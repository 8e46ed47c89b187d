//! `grove request`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use grove_client::wire::request::{
    NewRequest, PatchRequest, Prolong as Longer, Request as Shown, RequestState,
};
use grove_client::wire::{Span, Timestamp, Uuid};
use grove_client::{Client, Order, RequestsQuery};

use super::newest;
use crate::cli::args::{self, RequestId, Wish, wire_word};
use crate::cli::human::{or_dash, relative};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{clock, config, hold};

/// Wishes for boards
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// Ask for a board; the job goes on until it is closed or its time is up
    Create(Create),
    /// Show requests, newest first
    List(List),
    /// Show one request
    Show(Show),
    /// Take the wish back, or end the job
    Close(Close),
    /// Let the job run longer
    Prolong(Prolong),
    /// Change a request that waits
    Update(Update),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    wish: Wish,
    /// Not to be given a board after this: a time, or a length from now [default: in a month]
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    deadline: Option<Timestamp>,
    /// Not to be given a board before this: a time, or a length from now [default: now]
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    valid_after: Option<Timestamp>,
    /// Public key to get in with [default: the farm makes a pair]
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Promise a heartbeat this often: the farm closes the request after three silences
    #[arg(long, value_name = "TIME")]
    heartbeat: Option<Span>,
    /// Keep the job so long after the last heartbeat [default: until three are missed]
    #[arg(long, value_name = "TIME", requires = "heartbeat")]
    away: Option<Span>,
    /// Let the job run longer by itself for as long as it is used, up to the farm's limit
    #[arg(long)]
    extend: bool,
    /// End the job when nothing went to or from its board for so long, at least 1m [default: never]
    #[arg(long, value_name = "TIME")]
    idle: Option<Span>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those in this state: waiting, in_progress, cancelled, timeout, invalid, done, failed
    #[arg(long, value_parser = args::word::<RequestState>)]
    state: Option<RequestState>,
    /// Only those of this owner
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only those whose job is, or was, on this worker
    #[arg(long, env = "GROVE_WORKER", hide_env_values = true)]
    worker: Option<Uuid>,
    /// How many of the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Every one
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    id: RequestId,
    /// Wait until it has a board, or never will
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Close {
    #[command(flatten)]
    id: RequestId,
    /// Why, for those who read it later
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Prolong {
    #[command(flatten)]
    id: RequestId,
    /// How long it may run from now [default: as long as it was asked for, else the farm's]
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// Also when it ends earlier by that than it would
    #[arg(long)]
    shorten: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    #[command(flatten)]
    id: RequestId,
    /// New place in the queue: 1 (first) to 16
    #[arg(long, value_name = "N", group = "change", value_parser = clap::value_parser!(u8).range(1..=16))]
    priority: Option<u8>,
    /// New latest time
    #[arg(long, value_name = "TIME", group = "change", value_parser = args::time)]
    deadline: Option<Timestamp>,
    /// New earliest time
    #[arg(long, value_name = "TIME", group = "change", value_parser = args::time)]
    valid_after: Option<Timestamp>,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Request) -> anyhow::Result<()> {
    match command {
        Request::Create(args) => create(farm, out, args).await,
        Request::List(args) => list(farm, out, args).await,
        Request::Show(args) => show(farm, out, args).await,
        Request::Close(args) => {
            let request = farm.close_request(args.id.request, args.reason.as_deref()).await?;
            changed(out, &request)
        }
        Request::Prolong(args) => prolong(farm, out, &args).await,
        Request::Update(args) => {
            let Update { id, priority, deadline, valid_after } = args;
            let body = PatchRequest { priority, valid_after, deadline };
            changed(out, &farm.patch_request(id.request, &body, None).await?)
        }
    }
}

pub(crate) async fn prolong(farm: &Client, out: &Output, args: &Prolong) -> anyhow::Result<()> {
    let body = Longer { length: args.length, shorten: args.shorten };
    changed(out, &farm.prolong(args.id.request, &body, None).await?)
}

async fn create(farm: &Client, out: &Output, args: Create) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    for file in &args.keys {
        keys.extend(public_keys(file)?);
    }
    let wish = NewRequest {
        wants: args.wish.terms,
        priority: args.wish.priority,
        length: args.wish.length,
        valid_after: args.valid_after,
        deadline: args.deadline,
        keys,
        heartbeat: args.heartbeat,
        away: args.away,
        idle: args.idle,
        extend: args.extend,
        hints: config::map(&args.wish.hints),
    };
    let request = farm.create_request(&wish, Some(&Uuid::new_v4().to_string())).await?;
    if out.is_json() {
        return Ok(out.json(&request)?);
    }
    out.remark(&hold::describe(&request));
    Ok(out.line(&request.id.to_string())?)
}

fn public_keys(file: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let keys: Vec<String> = text.lines().filter_map(hold::first_key).collect();
    anyhow::ensure!(!keys.is_empty(), "{} holds no public key; --key takes a .pub file", file.display());
    Ok(keys)
}

async fn list(farm: &Client, out: &Output, args: List) -> anyhow::Result<()> {
    let List { state, owner, worker, limit, all } = args;
    let query = RequestsQuery { state, owner, worker, order: Some(Order::Descending) };
    let requests = newest(out, farm.requests(&query), limit, all).await?;
    if out.is_json() {
        return Ok(out.items(&requests)?);
    }
    let now = clock::now();
    let row = |request: &Shown| {
        [
            request.id.to_string(),
            wire_word(&request.state),
            relative(request.since, now),
            request.priority.to_string(),
            request.position.map_or_else(|| "-".to_owned(), |position| position.to_string()),
            request.owner.clone(),
            request.job.as_ref().map_or_else(|| "-".to_owned(), |job| job.worker.to_string()),
            or_dash(Some(&request.wants.join(" "))),
        ]
    };
    let rows = requests.iter().map(row).collect();
    let header = ["REQUEST", "STATE", "SINCE", "PRIORITY", "PLACE", "OWNER", "WORKER", "WANTS"];
    Ok(out.table(header, rows, "no requests")?)
}

async fn show(farm: &Client, out: &Output, args: Show) -> anyhow::Result<()> {
    let mut request = farm.request(args.id.request).await?;
    if args.wait {
        let mut progress = Progress::new(out);
        request = hold::settled(farm, request, &mut progress).await?;
    }
    if out.is_json() {
        return Ok(out.json(&request)?);
    }
    print(out, &request)
}

fn print(out: &Output, request: &Shown) -> anyhow::Result<()> {
    let now = clock::now();
    let waits = request.state == RequestState::Waiting;
    let why = request.why.iter().flatten().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("\n");
    let hints =
        request.hints.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
    let job = request.job.as_ref();
    out.fields([
        ("request", request.id.to_string()),
        ("state", wire_word(&request.state)),
        ("since", relative(request.since, now)),
        ("reason", request.reason.clone().unwrap_or_default()),
        ("why", why),
        ("owner", request.owner.clone()),
        ("wants", request.wants.join("\n")),
        ("priority", request.priority.to_string()),
        ("place", request.position.map_or_else(String::new, |position| position.to_string())),
        ("for", request.length.map_or_else(String::new, |length| length.to_string())),
        ("heartbeat", request.heartbeat.map_or_else(String::new, |every| format!("every {every}"))),
        ("away", request.away.map_or_else(String::new, |away| format!("{away} at most"))),
        ("idle", request.idle.map_or_else(String::new, |idle| format!("{idle} at most"))),
        ("hints", hints),
        ("created", relative(request.created, now)),
        (
            "valid",
            if waits && request.valid_after > now {
                relative(request.valid_after, now)
            } else {
                String::new()
            },
        ),
        ("deadline", if waits { relative(request.deadline, now) } else { String::new() }),
        ("worker", job.map_or_else(String::new, |job| job.worker.to_string())),
        (
            "ends",
            job.filter(|job| job.ended.is_none()).map_or_else(String::new, |job| relative(job.timeout, now)),
        ),
        ("access", job.and_then(super::job::address).unwrap_or_default()),
    ])?;
    Ok(())
}

pub(crate) fn changed(out: &Output, request: &Shown) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(request)?);
    }
    let running = request.job.as_ref().filter(|job| job.ended.is_none());
    let ends =
        running.map_or_else(String::new, |job| format!(", ends {}", relative(job.timeout, clock::now())));
    Ok(out.line(&format!("{}{ends}", hold::describe(request)))?)
}
