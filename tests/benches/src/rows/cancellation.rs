//! Drivers that hang, and newer states that end them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use grove_runtime::{Cause, DriverCall};

use crate::farm::{Farm, NO_KEYS, folder, set_state};
use crate::guests::{context, hostile, patient, runtime, target};
use crate::http::{Load, request};
use crate::stats::{ms, rank};
use crate::table::{Goal, Line, Table};

/// Workers that wait in calls to the controller all the time.
const WAITING: u64 = 100;
/// Workers that compute without end all the time.
const SPINNING: u64 = 4;
/// Workers that are stopped one by one, of each kind.
const STOPPED: u64 = 100;
/// In calls to the controller: long sleeps, which end before the task's deadline would refuse them.
const IN_HOST: &str = r#"{"prepare":{"delay_ms":500000}}"#;
/// Also in maintenance, whose deadline is nearer.
const ALWAYS_IN_HOST: &str = r#"{"prepare":{"delay_ms":500000},"maintenance":{"delay_ms":100000}}"#;
const IN_WASM: &str = r#"{"prepare":{"hang":"wasm"}}"#;

/// In the runtime alone, with the hostile guests; then in a whole farm.
pub(super) fn cancellation(table: &mut Table) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let took = threads.block_on(in_runtime())?;
    let goal = Goal::AtMost(20.0);
    let line = |work, ours, goal| Line { work, unit: "ms", ours, twin: None, goal, peer: "" };
    let work = "cancel a driver that loops or hangs, 104 others hang, p99 (runtime)";
    table.line(line(work, rank(&took, 0.99), goal));

    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    let (hosts, spins) = (1000..1000 + WAITING, 2000..2000 + SPINNING);
    farm.register(hosts.clone(), ALWAYS_IN_HOST)?;
    farm.register(spins.clone(), IN_WASM)?;
    farm.register(0..STOPPED, IN_HOST)?;
    farm.register(STOPPED..2 * STOPPED, IN_WASM)?;
    let hang: Vec<_> = hosts.clone().chain(spins.clone()).map(|number| set_state(number, "IDLE")).collect();
    farm.all(&hang)?;
    let events = farm.events("worker.state")?;
    let mut took = Vec::new();
    for number in (0..STOPPED).flat_map(|number| [number, STOPPED + number]) {
        farm.ask(&set_state(number, "IDLE"))?;
        std::thread::sleep(Duration::from_millis(15));
        let stop = set_state(number, "MAINTENANCE");
        let begin = Instant::now();
        farm.ask(&stop)?;
        // The next task has run: it starts only when the earlier is really gone.
        let there = events.until(|heard| heard.after == "maintenance")?;
        took.push(ms(there.heard.duration_since(begin)));
    }
    let work = "newer state -> hanging driver gone, cleaned up, and the next task done, p99";
    table.line(line(work, rank(&took, 0.99), goal));
    queued(&farm, hosts, table)?;
    farm.stop()
}

const CHANGES: usize = 10_000;

/// Very many changes of state of workers whose drivers hang: each cancels a task and begins another, which hangs, too.
/// Others must be served as if there were none.
fn queued(farm: &Farm, hosts: std::ops::Range<u64>, table: &mut Table) -> Result<()> {
    let again = |number| {
        let path = format!("/api/v2/workers/{}/state", crate::farm::worker(number));
        request("POST", &path, r#"{"state":"maintenance","force":true}"#)
    };
    let changes: Vec<_> = hosts.clone().cycle().take(CHANGES).map(again).collect();
    let address = farm.address;
    let begin = Instant::now();
    let changing = std::thread::spawn(move || {
        Load { to: address, connections: 16, depth: 64 }.all(&changes).map(|done| done.took)
    });
    let version = request("GET", "/api/v1/version", "");
    let create = crate::farm::create("board", "none");
    let mut took = Vec::new();
    while !changing.is_finished() {
        let begin = Instant::now();
        crate::http::once(address, &version)?;
        crate::http::once(address, &create)?;
        took.push(ms(begin.elapsed()));
    }
    let all = changing.join().map_err(|_| anyhow::anyhow!("the changes broke off"))??;
    ensure!(!took.is_empty(), "the changes were over at once");
    let line = |work, unit, ours, goal| Line { work, unit, ours, twin: None, goal, peer: "" };
    let rate = CHANGES as f64 / all.as_secs_f64();
    let work = "10,000 state changes of 100 workers whose drivers hang";
    table.line(line(work, "/s", rate, Goal::AtLeast(1000.0)));
    let work = "  ... a read and a durable create by others meanwhile, p99";
    table.line(line(work, "ms", rank(&took, 0.99), Goal::AtMost(100.0)));
    // Superseded drivers are really gone: no more run than there are workers.
    loop {
        let shown = crate::http::once(address, &request("GET", "/metrics", ""))?;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let gauge = shown.lines().find_map(|line| line.strip_prefix("grove_tasks_running "));
        let live: u64 = gauge.context("no gauge of running tasks")?.trim().parse()?;
        if live <= WAITING + SPINNING {
            break;
        }
        ensure!(begin.elapsed() < Duration::from_secs(120), "{live} tasks run");
    }
    let work = "  ... until no driver runs that was superseded";
    table.line(line(work, "ms", ms(begin.elapsed()), Goal::AtMost(10_000.0)));
    Ok(())
}

/// From the token's firing to the end of the call, when its instance is gone, with others hanging beside.
async fn in_runtime() -> Result<Vec<f64>> {
    let runtime = runtime(300)?;
    let looping = hostile(&runtime, "driver-loop").await?.into_driver()?;
    let hanging = hostile(&runtime, "driver-hang").await?.into_driver()?;
    let mut others = Vec::new();
    for number in 0..WAITING + SPINNING {
        let driver = if number < WAITING { &hanging } else { &looping };
        others.push(hang(driver));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut took = Vec::new();
    for _ in 0..STOPPED {
        for driver in [&looping, &hanging] {
            let (token, call) = hang(driver);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let begin = Instant::now();
            token.cancel();
            ensure!(call.await? == Some(Cause::Cancelled), "a call ended otherwise");
            took.push(ms(begin.elapsed()));
        }
    }
    for (token, call) in others {
        token.cancel();
        call.await?;
    }
    Ok(took)
}

/// A call that never ends by itself: what ends it, and its end.
fn hang(
    driver: &grove_runtime::DriverPlugin,
) -> (grove_runtime::CancellationToken, tokio::task::JoinHandle<Option<Cause>>) {
    let context = context(patient());
    let token = context.cancel.clone();
    let driver = driver.clone();
    let call = async move {
        let ended = driver.call(DriverCall::Prepare(target("")), context).await;
        ended.err().map(|error| error.cause)
    };
    (token, tokio::spawn(call))
}
