//! `grove farm mode`.

use grove_client::Client;
use grove_client::wire::Timestamp;
use grove_client::wire::mode::{FarmMode, Mode, RunningJobs, SetMode};

use crate::cli::args::{self, wire_word};
use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::human::relative;
use crate::cli::output::Output;

/// Show whether the farm is in maintenance, or change that
#[derive(Debug, clap::Args)]
#[command(after_help = "In maintenance the farm takes nothing new; jobs that run are left to their end.")]
pub(crate) struct Args {
    /// What it shall be: normal, maintenance [default: as it is, which is shown]
    #[arg(value_name = "MODE", value_parser = args::word::<Mode>)]
    mode: Option<Mode>,
    /// End the jobs that run now
    #[arg(long)]
    cut: bool,
    /// Why, for everybody who is refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// When it is expected to be over: like 2026-01-31T12:00:00Z, or a length from now like 2h
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    until: Option<Timestamp>,
}

pub(super) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<()> {
    let Args { mode, cut, reason, until } = args;
    if mode != Some(Mode::Maintenance) && (cut || reason.is_some() || until.is_some()) {
        let hint = "write `grove farm mode maintenance` with them";
        return Err(Hinted::new("--cut, --reason and --until go with maintenance", hint).into());
    }
    let Some(mode) = mode else { return show(farm, out).await };
    let running = cut.then_some(RunningJobs::Cut);
    let mode = farm.set_mode(&SetMode { mode, running, reason, until }, None).await?;
    if out.is_json() {
        return Ok(out.json(&mode)?);
    }
    Ok(out.line(&sentence(&mode))?)
}

async fn show(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let shown = farm.farm().await?;
    if out.is_json() {
        return Ok(out.json(&shown)?);
    }
    let now = clock::now();
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| relative(time, now));
    Ok(out.fields([
        ("mode", wire_word(&shown.mode.mode)),
        ("since", time(shown.mode.since)),
        ("reason", shown.mode.reason.unwrap_or_default()),
        ("over", time(shown.mode.until)),
        ("workers", shown.workers.to_string()),
        ("waiting", shown.waiting.to_string()),
        ("jobs", shown.jobs.to_string()),
        ("tasks", shown.tasks.to_string()),
    ])?)
}

fn sentence(mode: &FarmMode) -> String {
    match mode.mode {
        Mode::Normal => "the farm does its work".to_owned(),
        Mode::Maintenance => {
            let reason = mode.reason.as_deref().unwrap_or_default();
            let until =
                mode.until.map(|until| format!("; expected to be over {}", relative(until, clock::now())));
            format!("the farm is in maintenance: {reason}{}", until.unwrap_or_default())
        }
    }
}
