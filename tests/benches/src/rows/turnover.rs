//! From an idle worker to a job.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::farm::{Farm, NO_KEYS, create, create_with_key, folder, set_state};
use crate::stats::{median, ms, rank};
use crate::table::{Goal, Line, Table};

const WORKERS: u64 = 10_000;
/// Of these, the ones that become idle one by one.
const MEASURED: u64 = 500;

/// One worker after the other becomes idle, and somebody has waited for it.
pub(super) fn idle_to_job(table: &mut Table) -> Result<()> {
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    farm.register(0..WORKERS, "{}")?;
    farm.make_idle(MEASURED..WORKERS)?;
    let waiting: Vec<_> =
        (MEASURED..WORKERS).map(|number| create("board", &format!("none{number}"))).collect();
    farm.all(&waiting)?;
    let wanted: Vec<_> = (0..MEASURED).map(|number| create_with_key(number, "")).collect();
    farm.all(&wanted)?;
    let (workers, requests) = (farm.events("worker.state")?, farm.events("request.state")?);
    let mut took = Vec::new();
    for number in 0..MEASURED {
        farm.ask(&set_state(number, "IDLE"))?;
        let idle = workers.until(|heard| heard.after == "idle")?;
        let open = requests.until(|heard| heard.after == "in_progress")?;
        took.push((open.at - idle.at) * 1e3 + ms(open.late));
        // Each alone: what is measured is how long one waits, not how many there can be.
        std::thread::sleep(Duration::from_millis(5));
    }
    let line = |work, ours, goal, peer| Line { work, unit: "ms", ours, twin: None, goal, peer };
    let work = "worker idle -> request IN PROGRESS, 10,000 workers and waiting, median";
    table.line(line(work, median(&took), Goal::AtMost(5.0), ""));
    let work = "worker idle -> request IN PROGRESS, p99";
    table.line(line(work, rank(&took, 0.99), Goal::AtMost(5.0), "413"));
    farm.stop()
}

const DRAINED: u64 = 1000;
const ROUNDS: usize = 5;

/// Behind requests that nothing can serve, as many that something can: all become due at one moment.
pub(super) fn drain(table: &mut Table) -> Result<()> {
    let (mut matched, mut opened) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let state = folder()?;
        let farm = Farm::start(state.path(), NO_KEYS)?;
        farm.register(0..DRAINED, "{}")?;
        farm.make_idle(0..DRAINED)?;
        let ahead: Vec<_> = (0..DRAINED).map(|number| create("board", &format!("none{number}"))).collect();
        farm.all(&ahead)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let due = i64::try_from(now.as_millis())? + 1500;
        let at = grove_domain::moment::Timestamp::from_millisecond(due).context("a time")?;
        let valid = format!(r#","valid_after":"{at}""#);
        let wanted: Vec<_> = (0..DRAINED).map(|number| create_with_key(number, &valid)).collect();
        let (workers, requests) = (farm.events("worker.state")?, farm.events("request.state")?);
        farm.all(&wanted)?;
        let since_due = |heard: &crate::events::Heard| (heard.at * 1e3 - due as f64) + ms(heard.late);
        let last = workers.count(1000, |heard| heard.after == "running")?;
        matched.push(last.as_ref().map_or(f64::NAN, since_due));
        let last = requests.count(1000, |heard| heard.after == "in_progress")?;
        opened.push(last.as_ref().map_or(f64::NAN, since_due));
        farm.stop()?;
    }
    let line = |work, ours: &[f64], goal, peer| Line {
        work,
        unit: "ms",
        ours: median(ours),
        twin: None,
        goal,
        peer,
    };
    let work = "drain 1,000 idle workers, 1,000 unmatchable requests ahead";
    table.line(line(work, &matched, Goal::AtMost(200.0), "84,800"));
    table.line(line("  ... until all 1,000 jobs are open", &opened, Goal::None, ""));
    Ok(())
}
