//! Drivers that hang, and newer states that end them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use grove_runtime::{CallLimits, Cause, DriverCall, DriverPlugin};
use grove_tests_conformance::{Recorder, component, manifest, patient, runtime, target};

use crate::farm::{Farm, NO_KEYS, folder, set_state};
use crate::http::{Load, request};
use crate::stats::{ms, rank};
use crate::table::{Goal, Line, Table};

/// Workers that wait in calls to the controller all the time.
const WAITING: u64 = 100;
/// Workers that compute without end all the time.
const SPINNING: u64 = 4;
/// Workers that are stopped one by one, of each kind.
const STOPPED: u64 = 100;
const IN_HOST: &str = r#"{"prepare":{"hang":"host"}}"#;
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
    farm.register(hosts.clone(), IN_HOST)?;
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

/// Very many state changes for workers whose drivers hang; others must be served as if there were none.
fn queued(farm: &Farm, hosts: std::ops::Range<u64>, table: &mut Table) -> Result<()> {
    let numbers = || hosts.clone().cycle().zip(0..CHANGES);
    let every = |at: usize| if (at / WAITING as usize).is_multiple_of(2) { "MAINTENANCE" } else { "IDLE" };
    let changes: Vec<_> = numbers().map(|(number, at)| set_state(number, every(at))).collect();
    let address = farm.address;
    let begin = Instant::now();
    // On one connection, so that they are decided in this order: a worker on its way is not asked to go back there.
    let changing = std::thread::spawn(move || {
        Load { to: address, connections: 1, depth: 256 }.all(&changes).map(|done| done.took)
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
    let work = "  ... until the last of them is in its last state";
    let mut settled = 0;
    while settled < WAITING {
        settled = 0;
        for number in hosts.clone() {
            let path = format!("/api/v1/workers/{}", crate::farm::worker(number));
            let shown = farm.ask(&request("GET", &path, ""))?;
            let state =
                shown.get("State").and_then(serde_json::Value::as_str).context("a worker without state")?;
            // The last hundred wanted IDLE: their drivers hang again in PREPARE.
            settled += u64::from(state == "PREPARE" || state == "MAINTENANCE");
        }
        ensure!(begin.elapsed() < Duration::from_secs(120), "workers do not settle");
    }
    table.line(line(work, "ms", ms(begin.elapsed()), Goal::AtMost(10_000.0)));
    Ok(())
}

/// From the token's firing to the end of the call, when its instance is gone, with others hanging beside.
async fn in_runtime() -> Result<Vec<f64>> {
    let runtime = runtime(300)?;
    let looping = guest(&runtime, "driver-loop").await?;
    let hanging = guest(&runtime, "driver-hang").await?;
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

async fn guest(runtime: &grove_runtime::Runtime, name: &str) -> Result<DriverPlugin> {
    let plugin = runtime.load(manifest(name, "")?, component(name)?, &Default::default()).await?;
    Ok(plugin.into_driver()?)
}

/// A call that never ends by itself: what ends it, and its end.
fn hang(driver: &DriverPlugin) -> (grove_runtime::CancellationToken, tokio::task::JoinHandle<Option<Cause>>) {
    let limits = CallLimits { deadline: Duration::from_secs(600), ..patient() };
    let context = Recorder::new().context(limits);
    let token = context.cancel.clone();
    let driver = driver.clone();
    let call = async move {
        let ended = driver.call(DriverCall::Prepare(target("")), context).await;
        ended.err().map(|error| error.cause)
    };
    (token, tokio::spawn(call))
}
