//! `grove job`.

use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::job::Job as Shown;

use super::request;
use crate::cli::args::{RequestId, wire_word};
use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::hold::alias;
use crate::cli::human::relative;
use crate::cli::output::Output;

/// Boards in the hands of users
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show the jobs that run
    List,
    /// Show one job and how to get in
    Show(RequestId),
    /// Print the private key that the farm has made for a job
    Key(RequestId),
    /// Let a job outlive its terminal: it goes on until it is closed or its time is up
    Keep(RequestId),
    /// Let a job run longer
    Prolong(request::Prolong),
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Job) -> anyhow::Result<()> {
    match command {
        Job::List => list(farm, out).await,
        Job::Show(args) => show(farm, out, &args).await,
        Job::Key(args) => key(farm, out, &args).await,
        Job::Keep(args) => keep(farm, out, &args).await,
        Job::Prolong(args) => request::prolong(farm, out, &args).await,
    }
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let jobs = farm.jobs().all().await?;
    if out.is_json() {
        return Ok(out.items(&jobs)?);
    }
    let now = clock::now();
    let row = |job: &Shown| {
        [
            job.id.to_string(),
            job.worker.to_string(),
            relative(job.opened, now),
            relative(job.timeout, now),
            job.away_since.map_or_else(|| "-".to_owned(), |since| relative(since, now)),
            job.access.as_ref().map_or_else(|| "-".to_owned(), |_| format!("grove ssh --job {}", job.id)),
        ]
    };
    let rows = jobs.iter().map(row).collect();
    Ok(out.table(["JOB", "WORKER", "OPENED", "ENDS", "AWAY", "ACCESS"], rows, "no job runs")?)
}

async fn show(farm: &Client, out: &Output, args: &RequestId) -> anyhow::Result<()> {
    let job = farm.job(args.request).await?;
    if out.is_json() {
        return Ok(out.json(&job)?);
    }
    let now = clock::now();
    let ended = job.ended.map_or_else(String::new, |ended| relative(ended, now));
    let access = job.access.as_ref();
    let has_key = access.is_some_and(|access| access.private_key.is_some());
    out.fields([
        ("job", job.id.to_string()),
        ("state", wire_word(&job.state)),
        ("worker", job.worker.to_string()),
        ("opened", relative(job.opened, now)),
        ("ends", if job.ended.is_none() { relative(job.timeout, now) } else { String::new() }),
        ("ended", ended),
        ("ended by", job.ended_by.clone().unwrap_or_default()),
        ("reason", job.reason.clone().unwrap_or_default()),
        ("away since", job.away_since.map_or_else(String::new, |since| relative(since, now))),
        ("unreachable", job.unreachable_since.map_or_else(String::new, |since| relative(since, now))),
        ("kept", if job.kept { "until it is closed or its time is up".to_owned() } else { String::new() }),
        ("prolonged", if job.prolongs == 0 { String::new() } else { format!("{} times", job.prolongs) }),
        ("access", address(&job).unwrap_or_default()),
        ("host keys", access.map(|access| access.host_keys.join("\n")).unwrap_or_default()),
        (
            "private key",
            if has_key { format!("`grove job key {}` prints it", job.id) } else { String::new() },
        ),
    ])?;
    Ok(())
}

async fn key(farm: &Client, out: &Output, args: &RequestId) -> anyhow::Result<()> {
    let id = args.request;
    let job = farm.job(id).await?;
    let Some(key) = job.access.and_then(|access| access.private_key) else {
        let what = format!("the farm has made no key for job {id}, or the job has ended");
        let hint = "`grove request create` without --key lets the farm make one";
        return Err(Hinted::new(what, hint).into());
    };
    out.remark("ssh takes it from a file that only you can read: (umask 077; grove job key … > job.key)");
    Ok(out.text(key.trim_end())?)
}

async fn keep(farm: &Client, out: &Output, args: &RequestId) -> anyhow::Result<()> {
    let request = farm.keep(args.request, None).await?;
    if out.is_json() {
        return Ok(out.json(&request)?);
    }
    let id = request.id;
    let ends = request.job.map_or_else(String::new, |job| relative(job.timeout, clock::now()));
    Ok(out.line(&format!("job {id} outlives its terminal, ends {ends}: `grove ssh --job {id}` goes there"))?)
}

/// What a user types to get in. Boards take turns at a port: each is known by its own name.
pub(crate) fn address(job: &Shown) -> Option<String> {
    let access = job.access.as_ref()?;
    let alias = alias(job.worker);
    Some(format!("ssh -p {} -o HostKeyAlias={alias} {}@{}", access.port, access.user, access.host))
}
