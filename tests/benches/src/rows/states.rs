//! Taking workers from MAINTENANCE to IDLE with a driver that needs no time.

use std::time::Instant;

use anyhow::{Context, Result};
use grove_runtime::{CallLimits, DriverCall};

use crate::farm::{Farm, NO_KEYS, folder, set_state};
use crate::guests::{context, plugin, runtime, target};
use crate::stats::{median, ms, rank};
use crate::table::{Goal, Line, Table};
use crate::twin::Database;

const ONE_BY_ONE: u64 = 200;
const AT_ONCE: u64 = 100;
const ROUNDS: u64 = 10;

/// One by one, and a hundred at once.
pub(super) fn idle(table: &mut Table) -> Result<()> {
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    let all = ONE_BY_ONE + AT_ONCE * ROUNDS;
    farm.register(0..all, "{}")?;
    let events = farm.events("worker.state")?;
    let twin = Twin::new()?;
    let (mut took, mut twins) = (Vec::new(), Vec::new());
    for number in 0..ONE_BY_ONE {
        let request = set_state(number, "IDLE");
        let begin = Instant::now();
        farm.ask(&request)?;
        let idle = events.until(|heard| heard.after == "idle")?;
        took.push(ms(idle.heard.duration_since(begin)));
        twins.push(twin.once(number)?);
    }
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let first = ONE_BY_ONE + round * AT_ONCE;
        let requests: Vec<_> = (first..first + AT_ONCE).map(|number| set_state(number, "IDLE")).collect();
        let begin = Instant::now();
        farm.all(&requests)?;
        let last = events.count(requests.len(), |heard| heard.after == "idle")?.context("no worker")?;
        rates.push(AT_ONCE as f64 / last.heard.duration_since(begin).as_secs_f64());
    }
    let line = |work, unit, ours, twin, goal, peer| Line { work, unit, ours, twin, goal, peer };
    let (at_most, at_least) = (Goal::AtMost(5.0), Goal::AtLeast(1000.0));
    let work = "MAINTENANCE -> IDLE, instant driver, median";
    table.line(line(work, "ms", median(&took), Some(median(&twins)), at_most, "48"));
    table.line(line(
        "MAINTENANCE -> IDLE, p99",
        "ms",
        rank(&took, 0.99),
        Some(rank(&twins, 0.99)),
        at_most,
        "",
    ));
    table.line(line("MAINTENANCE -> IDLE, 100 workers at once", "/s", median(&rates), None, at_least, "46"));
    farm.stop()
}

/// Two commits and one call into a fresh instance of the driver.
struct Twin {
    threads: tokio::runtime::Runtime,
    driver: grove_runtime::DriverPlugin,
    database: Database,
    _runtime: grove_runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Twin {
    fn new() -> Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let runtime = runtime(64)?;
        let driver = threads.block_on(plugin(&runtime, "driver-simulated"))?.into_driver()?;
        let folder = folder()?;
        let database = Database::open(folder.path())?;
        Ok(Self { threads, driver, database, _runtime: runtime, _folder: folder })
    }

    fn once(&self, number: u64) -> Result<f64> {
        let begin = Instant::now();
        self.database.commit(2 * number + 1..=2 * number + 1)?;
        let context = context(CallLimits::default());
        self.threads.block_on(self.driver.call(DriverCall::Prepare(target("{}")), context))?;
        self.database.commit(2 * number + 2..=2 * number + 2)?;
        Ok(ms(begin.elapsed()))
    }
}
