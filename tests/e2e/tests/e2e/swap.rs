//! Plugins are swapped while everybody works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grove_tests_kit::client::TasksQuery;
use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::task::{Task, TaskPhase};
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, built, history, wait};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::load::{Seen, look, make_wishes};

const WORKERS: u64 = 50;
/// Of the policy, and as many of the driver.
const SWAPS: usize = 100;
/// Versions of each that are swapped in turn.
const VERSIONS: u8 = 3;

/// Installs versions of a first-party plugin that are not used yet; their digests.
async fn versions(farm: &Farm, folder: &str) -> (String, Vec<String>) {
    let (manifest, component) = built::plugin(folder);
    let (mut name, mut digests) = (String::new(), Vec::new());
    for number in 0..VERSIONS {
        let variant = built::variant(&component, number);
        let (plugin, created) = farm.install_plugin(manifest.clone(), variant, false, None).await.unwrap();
        assert!(created, "{plugin:#?}");
        // The newest comes first.
        digests.push(plugin.versions.first().unwrap().digest.clone());
        name = plugin.name;
    }
    (name, digests)
}

/// No two tasks ran on a worker at the same time.
fn one_at_a_time(tasks: &[Task]) {
    let mut by_worker: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for task in tasks {
        if let (Some(started), Some(ended)) = (task.started, task.ended) {
            by_worker.entry(task.worker).or_default().push((started, ended, task.id));
        }
    }
    for (worker, mut tasks) in by_worker {
        tasks.sort();
        for (one, next) in tasks.iter().zip(tasks.iter().skip(1)) {
            assert!(one.1 <= next.0, "two tasks at once on {worker}: {one:?} and {next:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_and_a_driver_are_swapped_under_load() {
    let grove = Grove::start(Setup::config(
        "[plugins.grants.simulated]\nstorage = [\"demo\"]\n[plugins.grants.least-capable]\n[limits]\nrequests = 100000\n",
    ));
    let farm = grove.farm();
    farm.simulated(WORKERS, json!({ "prepare": { "delay_ms": 50 } }), &[("board", "rpi4"), ("camera", "1")])
        .await;
    farm.create_request(&wish(&["board=tpu"]), None).await.unwrap();
    let (policy, policies) = versions(&farm, "policy-least-capable").await;
    let (driver, drivers) = versions(&farm, "driver-simulated").await;

    let seen = Arc::new(Seen::default());
    let until = Instant::now() + Duration::from_secs(20);
    let load = [
        tokio::spawn(make_wishes(farm.clone(), seen.clone(), until)),
        tokio::spawn(look(farm.clone(), 1, seen.clone(), until)),
    ];
    let mut level = 0.0;
    for number in 0..SWAPS {
        for (name, digests) in [(&policy, &policies), (&driver, &drivers)] {
            let to = &digests[number % digests.len()];
            let swapped = farm.swap_plugin(name, to.parse().unwrap(), None).await.unwrap();
            assert_eq!(swapped.digest.as_ref(), Some(to), "{swapped:#?}");
        }
        if number == SWAPS / 4 {
            level = grove.resident_mb();
        }
        sleep(Duration::from_millis(100)).await;
    }
    for part in load {
        part.await.unwrap();
    }
    let end = grove.resident_mb();
    println!("{SWAPS} swaps of each: {level:.0} MB after a quarter of them, {end:.0} MB at the end");
    assert!(end < level + 60.0, "memory grows with swaps: from {level:.0} to {end:.0} MB");

    // All but the first one end without anybody's help: done, closed, or too late.
    let live =
        || async { farm.all_requests().await.iter().filter(|request| !request.state.is_terminal()).count() };
    wait::until_is("jobs to end", live, |live| *live == 1).await;
    history::check_when_settled(&farm).await;
    let (created, refused) = (seen.created.load(Ordering::Relaxed), seen.refused.load(Ordering::Relaxed));
    let requests = farm.all_requests().await;
    assert_eq!(refused, 0, "requests were refused");
    assert_eq!(requests.len() as u64, created + 1, "requests were lost");
    let dropped = requests.iter().filter(|request| request.state == RequestState::Failed).count();
    assert_eq!(dropped, 0, "jobs were dropped");
    let tasks = farm.tasks(&TasksQuery::default()).take(usize::MAX).await.unwrap();
    let broken: Vec<_> = tasks.iter().filter(|task| task.phase == TaskPhase::Failed).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    one_at_a_time(&tasks);
    let events = farm.all_events().await;
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    // The first swap of each may have been to the version that was there.
    assert!(count("plugin.swapped") >= 2 * SWAPS - 2, "{}", count("plugin.swapped"));
    for kind in ["plugin.failed", "policy.failed", "plugin.rolled_back", "plugin.refused"] {
        assert_eq!(count(kind), 0, "{kind}");
    }
    println!("{created} requests meanwhile, {} tasks, {} jobs done", tasks.len(), count("job.opened"));
}

#[tokio::test]
async fn a_version_that_fails_its_tasks_goes_back_by_itself() {
    let grove = Grove::start(Setup::config("[checks]\nrecheck_first = \"1s\"\n"));
    let farm = grove.farm();
    farm.simulated(4, json!({}), &[("board", "rpi4")]).await;
    let before = farm.plugin("simulated").await.unwrap();
    let component = std::fs::read(built::guests().join("driver-panic.wasm")).unwrap();
    let (manifest, _) = built::plugin("driver-simulated");
    let manifest = manifest.replace("driver-simulated.wasm", "driver-panic.wasm");
    let (plugin, _) = farm.install_plugin(manifest, component, true, None).await.unwrap();
    assert_ne!(plugin.digest, before.digest);
    assert!(plugin.probation.is_some(), "{plugin:#?}");
    for number in 1..=4 {
        let body = serde_json::from_value(json!({ "state": "maintenance" })).unwrap();
        farm.move_worker(uuid(number), &body, None).await.unwrap();
        farm.until_worker(uuid(number), WorkerState::Maintenance).await;
        farm.want_idle(uuid(number)).await;
    }
    let event = farm.until_event("plugin.rolled_back", "plugin/simulated").await;
    assert!(event.note.as_ref().is_some_and(|note| note.contains("on fire")), "{event:?}");
    let after = farm.plugin("simulated").await.unwrap();
    assert_eq!(after.digest, before.digest, "{after:#?}");
    assert!(after.trouble.is_some_and(|trouble| trouble.contains("rolled back")));
    // The old version mends what the new one broke.
    for number in 1..=4 {
        let body = serde_json::from_value(json!({ "state": "idle", "force": true })).unwrap();
        let _ = farm.move_worker(uuid(number), &body, None).await;
        farm.until_worker(uuid(number), WorkerState::Idle).await;
    }
}

#[tokio::test]
async fn what_does_not_pass_is_refused_and_changes_nothing() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({ "prepare": { "delay_ms": 1 } }), &[]).await;
    let before = farm.plugin("simulated").await.unwrap();
    let (manifest, component) = built::plugin("driver-simulated");
    let ungranted = std::fs::read(built::guests().join("driver-tcp.wasm")).unwrap();
    let policy = std::fs::read(built::guests().join("policy-first.wasm")).unwrap();
    for (manifest, component, words) in [
        (manifest.clone(), b"no component".to_vec(), "not a usable component"),
        (manifest.clone(), ungranted, "tcp"),
        (manifest.clone(), policy, ""),
        (manifest.replace("kind = \"driver\"", "kind = \"policy\""), component.clone(), ""),
        ("[plugin]".to_owned(), component, "plugin"),
    ] {
        let refused = farm.install_plugin(manifest, component, true, None).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(farm.plugin("simulated").await.unwrap(), before);
    farm.until_event("plugin.refused", "plugin/simulated").await;
    let (request, _) = farm.get(&wish(&[])).await;
    farm.close_request(request, None).await.unwrap();
}

#[tokio::test]
async fn what_is_put_into_the_plugin_folder_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let grants = "[plugins.grants.simulated]\nstorage = [\"demo\"]\n";
    let grove = Grove::start(Setup::config(grants).plugins(folder.path()));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[]).await;
    let before = farm.plugin("simulated").await.unwrap().digest;
    let (manifest, component) = built::plugin("driver-simulated");
    let own = folder.path().join("mine");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("driver-simulated.wasm"), built::variant(&component, 7)).unwrap();
    std::fs::write(own.join("plugin.toml"), &manifest).unwrap();
    let digest = || async { farm.plugin("simulated").await.unwrap().digest };
    let now = wait::until_is("the new version", digest, |digest| *digest != before).await;
    // A broken one is named, and leaves the other where it is.
    std::fs::write(own.join("driver-simulated.wasm"), b"broken").unwrap();
    farm.until_event("plugin.refused", "plugin/simulated").await;
    assert_eq!(farm.plugin("simulated").await.unwrap().digest, now);
    let (request, _) = farm.get(&wish(&[])).await;
    farm.close_request(request, None).await.unwrap();
}
