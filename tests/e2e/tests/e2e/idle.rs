//! A farm at which nothing happens.

use std::time::Duration;

use grove_tests_kit::farm::wish;
use grove_tests_kit::{Grove, Setup, wait};
use serde_json::json;

/// Long enough for what happens many times a second.
const SPAN: Duration = Duration::from_millis(1500);
/// Threads that are there for plugins.
const OF_PLUGINS: [&str; 4] = ["grove-tick", "grove-tick-watch", "grove-guest", "grove-policy"];

/// How often threads of plugins, and others, waited within a span.
async fn waits(grove: &Grove) -> (u64, u64) {
    let before = grove.waits();
    tokio::time::sleep(SPAN).await;
    let mut waits = (0, 0);
    for (thread, after) in grove.waits() {
        let of_plugins = OF_PLUGINS.contains(&thread.1.as_str());
        let waited = after - before.get(&thread).copied().unwrap_or(0);
        *(if of_plugins { &mut waits.0 } else { &mut waits.1 }) += waited;
    }
    waits
}

/// Wakeups are counted, not time: a machine that is busy elsewhere makes them fewer, never more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_thread_of_plugins_wakes_while_nothing_runs() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let quiet = |what: &'static str| {
        let waits = || waits(&grove);
        async move { wait::until_is(what, waits, |(of_plugins, _)| *of_plugins == 0).await }
    };
    let (_, others) = quiet("quiet after the start").await;
    eprintln!("all other threads waited {others} times in {SPAN:?}");

    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
    quiet("quiet after a job").await;
}
