//! `grove job`.

use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::job::Job as Shown;

use super::MAX_LIST;
use crate::cli::args::{RequestId, wire_word};
use crate::cli::clock;
use crate::cli::human::relative;
use crate::cli::output::Output;

/// Boards in the hands of users
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show the jobs that run
    List,
    /// Show one job and how to get in
    Show(RequestId),
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Job) -> anyhow::Result<()> {
    match command {
        Job::List => list(farm, out).await,
        Job::Show(args) => show(farm, out, &args).await,
    }
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let jobs = farm.jobs().take(MAX_LIST).await?;
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
            address(job).unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows = jobs.iter().map(row).collect();
    Ok(out.table(["JOB", "WORKER", "OPENED", "ENDS", "ACCESS"], rows, "no job runs")?)
}

async fn show(farm: &Client, out: &Output, args: &RequestId) -> anyhow::Result<()> {
    let job = farm.job(args.request).await?;
    if out.is_json() {
        return Ok(out.json(&job)?);
    }
    let now = clock::now();
    let ended = job.ended.map_or_else(String::new, |ended| relative(ended, now));
    let access = job.access.as_ref();
    out.fields([
        ("job", job.id.to_string()),
        ("state", wire_word(&job.state)),
        ("worker", job.worker.to_string()),
        ("opened", relative(job.opened, now)),
        ("ends", if job.ended.is_none() { relative(job.timeout, now) } else { String::new() }),
        ("ended", ended),
        ("prolonged", if job.prolongs == 0 { String::new() } else { format!("{} times", job.prolongs) }),
        ("access", address(&job).unwrap_or_default()),
        ("host keys", access.map(|access| access.host_keys.join("\n")).unwrap_or_default()),
        ("private key", access.and_then(|access| access.private_key.clone()).unwrap_or_default()),
    ])?;
    Ok(())
}

/// What a user types to get in.
fn address(job: &Shown) -> Option<String> {
    job.access.as_ref().map(|access| format!("ssh -p {} {}@{}", access.port, access.user, access.host))
}
