//! Starting: from the first instruction of the process to its listening.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::farm::{Farm, create_with_key, folder};
use crate::stats::{median, ms};
use crate::table::{Goal, Line, Table};

const ROUNDS: usize = 9;
const WORKERS: u64 = 10_000;
const RUNNING: u64 = 1_000;
/// Generated pairs that a farm keeps, unless told otherwise.
const KEYS: usize = 16;

/// Empty, and with a farm at work.
pub(super) fn start(table: &mut Table) -> Result<()> {
    let state = folder()?;
    // The first start compiles the plugins, and fills the stock of keys.
    let first = Farm::start(state.path(), "")?;
    let end = Instant::now() + Duration::from_secs(120);
    while std::fs::read_dir(state.path().join("keys"))?.count() < KEYS {
        ensure!(Instant::now() < end, "the stock of keys is not filled");
        std::thread::sleep(Duration::from_millis(100));
    }
    first.stop()?;
    let empty = starts(state.path())?;

    let farm = Farm::start(state.path(), "")?;
    farm.register(0..WORKERS, "{}")?;
    farm.make_idle(0..RUNNING)?;
    let events = farm.events("request.state")?;
    let requests: Vec<_> = (0..RUNNING).map(|number| create_with_key(number, "")).collect();
    farm.all(&requests)?;
    events.count(requests.len(), |heard| heard.after == "in_progress")?;
    farm.stop()?;
    let full = starts(state.path())?;
    // Killed: the store is checked, and everything is taken up as it was.
    drop(Farm::start(state.path(), "")?);
    let killed = Farm::start(state.path(), "")?;
    let after_kill = ms(killed.started_in);
    killed.stop()?;

    let line =
        |work, ours, goal| Line { work, unit: "ms", ours, twin: None, goal: Goal::AtMost(goal), peer: "" };
    table.line(line("start, empty farm, compiled plugins in the cache", empty, 100.0));
    table.line(line("start, 10,000 workers and 1,000 running jobs", full, 2000.0));
    table.line(line("  ... after kill -9", after_kill, 2000.0));
    Ok(())
}

fn starts(state: &std::path::Path) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let farm = Farm::start(state, "")?;
        took.push(ms(farm.started_in));
        farm.stop()?;
    }
    Ok(median(&took))
}
