//! Plugins that do harm, given to a real controller: each is named in an event, and nobody else notices.

use std::cell::Cell;
use std::path::Path;

use futures_util::future::join_all;
use grove_tests_kit::client::wire::Span;
use grove_tests_kit::client::wire::plugin::{Plugin, PluginState};
use grove_tests_kit::client::wire::request::{NewRequest, RequestState};
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, built, history, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Drivers that break while they prepare, and a word of what is told about it.
const BREAKING: [(&str, &str); 6] = [
    ("driver-loop", "computed"),
    ("driver-memory-bomb", "memory"),
    ("driver-stack-bomb", "dive"),
    ("driver-panic", "on fire"),
    ("driver-huge-answer", ""),
    ("driver-hang", "no answer"),
];
/// Drivers that cannot even be loaded without what nobody granted them.
const UNGRANTED: [(&str, &str); 3] =
    [("driver-tcp", "tcp"), ("driver-granted", "ssh"), ("driver-serial", "serial")];

/// Guests that do no harm, or whose harm is not for a controller's ears.
const OTHERS: [&str; 4] = ["driver-echo", "driver-slow", "driver-storage", "policy-first"];

#[test]
fn every_hostile_guest_is_looked_at() {
    for entry in std::fs::read_dir(built::guests()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let quoted = format!("\"{name}\"");
        assert!(
            OTHERS.contains(&name)
                || [include_str!("hostile.rs"), include_str!("inspectors.rs")].concat().contains(&quoted),
            "nobody looks at {name}"
        );
    }
}

/// A plugin folder with these guests in it. None is granted anything but a short time to run.
fn folder(guests: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for guest in guests {
        let own = folder.path().join(guest);
        std::fs::create_dir(&own).unwrap();
        let component = format!("{guest}.wasm");
        let from = built::guests().join(&component);
        std::fs::copy(&from, own.join(&component)).unwrap_or_else(|error| {
            panic!("{}: {error}; run `cargo xtask plugins --guests`", from.display())
        });
        let kind = guest.split('-').next().unwrap();
        let manifest = format!(
            "[plugin]\nname = \"{guest}\"\nkind = \"{kind}\"\nversion = \"0.1.0\"\nworld = \"0.1.0\"\n\
             component = \"{component}\"\n[wants]\ncall_ms = 500\n"
        );
        std::fs::write(own.join("plugin.toml"), manifest).unwrap();
    }
    folder
}

fn start(plugins: &Path, config: &str) -> Grove {
    Grove::start(Setup::config(config).plugins(plugins))
}

/// The plugins that the farm knows, once everything in the folder was taken in or refused. Nobody waits for that.
async fn all_known(farm: &Farm, names: &[&str]) -> Vec<Plugin> {
    let look = || async { farm.plugins().take(100).await.unwrap() };
    let is_known = |plugins: &Vec<Plugin>| {
        let settled = |name: &&str| {
            let plugin = plugins.iter().find(|plugin| plugin.name == **name);
            plugin.is_some_and(|plugin| plugin.state != PluginState::Loading)
        };
        names.iter().all(settled)
    };
    wait::until_is("the plugin folder", look, is_known).await
}

/// A good worker serves jobs one after the other, and the controller answers, until the harm is done.
async fn goes_on_while(farm: &Farm, harm: impl Future<Output = ()>) {
    let done = Cell::new(false);
    let serve = async {
        // And at least once more afterwards.
        let mut after = false;
        while !after {
            after = done.get();
            let (request, _) = farm.get(&wish(&["board=good"])).await;
            farm.health().await.unwrap();
            farm.close_request(request, None).await.unwrap();
            farm.until_request(request, RequestState::Done).await;
        }
    };
    let harm = async {
        harm.await;
        done.set(true);
    };
    tokio::join!(serve, harm);
    farm.ready().await.unwrap();
}

async fn put(farm: &Farm, number: u64, driver: &str, config: Value) {
    farm.register(uuid(number), driver, config, &[("board", driver)]).await;
    farm.want_idle(uuid(number)).await;
}

#[tokio::test]
async fn drivers_harm_only_their_own_workers() {
    let mut guests: Vec<_> = BREAKING.iter().chain(&UNGRANTED).map(|(name, _)| *name).collect();
    guests.push("driver-log-flood");
    let plugins = folder(&guests);
    // Hanging in a call of the controller's or of WASI ends only by the task's own deadline.
    let grove = start(
        plugins.path(),
        "[timeouts]\nprepare = \"8s\"\ncleanup = \"1s\"\n[checks]\nrecheck_first = \"1h\"\n",
    );
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "good")]).await;
    let known = all_known(&farm, &guests).await;
    for (name, word) in UNGRANTED {
        let plugin = known.iter().find(|plugin| plugin.name == name).unwrap();
        let trouble = plugin.trouble.clone().unwrap_or_default();
        assert!(!plugin.active && trouble.contains(word), "{plugin:?}");
        let body = serde_json::from_value(json!({ "driver": name })).unwrap();
        let refused = farm.put_worker(uuid(1000), &body, None).await;
        assert!(refused.is_err(), "{name} got a worker");
    }

    let harm = async {
        let breaking = BREAKING.iter().zip(10..).map(|((driver, word), number)| {
            let farm = farm.clone();
            async move {
                put(&farm, number, driver, json!({})).await;
                let event = farm.until_event("plugin.failed", &format!("plugin/{driver}")).await;
                let note = event.note.unwrap_or_default();
                assert!(note.contains(&uuid(number).to_string()) && note.contains(word), "{driver}: {note}");
                let worker = farm.until_worker(uuid(number), WorkerState::Failed).await;
                assert!(worker.reason.is_some_and(|reason| reason.len() < 10_000), "{driver}");
            }
        });
        let hangs = ["wasm", "host"].iter().zip(50..).map(|(place, number)| {
            let farm = farm.clone();
            async move {
                put(&farm, number, "simulated", json!({ "prepare": { "hang": place } })).await;
                let worker = farm.until_worker(uuid(number), WorkerState::Failed).await;
                assert!(worker.reason.is_some(), "{worker:#?}");
            }
        });
        let flood = async {
            put(&farm, 90, "driver-log-flood", json!({})).await;
            farm.until_worker(uuid(90), WorkerState::Idle).await;
            // It floods once more, and without end, when its job is over.
            let (request, _) = farm.get(&wish(&["board=driver-log-flood"])).await;
            farm.close_request(request, None).await.unwrap();
            farm.until_event("plugin.failed", "plugin/driver-log-flood").await;
            farm.until_worker(uuid(90), WorkerState::Failed).await;
            assert_eq!(farm.request(request).await.unwrap().state, RequestState::Done);
        };
        tokio::join!(join_all(breaking), join_all(hangs), flood);
    };
    goes_on_while(&farm, harm).await;

    // Out of a hang at once, when the admin says so.
    put(&farm, 60, "simulated", json!({ "prepare": { "hang": "wasm" } })).await;
    let body = serde_json::from_value(json!({ "state": "maintenance", "force": true })).unwrap();
    farm.move_worker(uuid(60), &body, None).await.unwrap();
    farm.until_worker(uuid(60), WorkerState::Maintenance).await;
    assert!(grove.log().len() < 4 << 20, "a log of {} bytes", grove.log().len());
    history::check_when_settled(&farm).await;
}

/// A farm with this policy serves in spite of it, and says what was wrong with it.
async fn survives(policy: &str, settings: &str, kind: &str, word: &str) {
    let plugins = folder(&[policy]);
    let grove = start(plugins.path(), &format!("[policy]\nname = \"{policy}\"\nsettings = {settings}\n"));
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "good")]).await;
    let harm = async {
        let event = farm.until_event(kind, &format!("plugin/{policy}")).await;
        let note = event.note.unwrap_or_default();
        assert!(note.contains(word), "{policy}: {note}");
    };
    goes_on_while(&farm, harm).await;
    // A queue of jobs is worked off.
    let short = NewRequest { length: Span::from_secs(1), ..wish(&["board=good"]) };
    let mut queue = Vec::new();
    for _ in 0..6 {
        queue.push(farm.create_request(&short, None).await.unwrap().id);
    }
    for request in queue {
        farm.until_request(request, RequestState::Done).await;
    }
    history::check_when_settled(&farm).await;
}

#[tokio::test]
async fn a_policy_that_never_ends() {
    survives("policy-loop", "{}", "policy.failed", "computed").await;
}

#[tokio::test]
async fn a_policy_that_takes_all_memory() {
    survives("policy-memory-bomb", "{}", "policy.failed", "memory").await;
}

#[tokio::test]
async fn a_policy_that_traps() {
    survives("policy-nonsense", "{}", "policy.failed", "policy-nonsense").await;
}

#[tokio::test]
async fn a_policy_that_plans_what_was_not_asked() {
    survives("policy-nonsense", "{ mode = \"unknown\" }", "policy.refused", "refused").await;
}

#[tokio::test]
async fn a_policy_that_gives_everything_to_one() {
    survives("policy-nonsense", "{ mode = \"double\" }", "policy.refused", "refused").await;
}

#[tokio::test]
async fn a_policy_that_answers_too_much() {
    survives("policy-nonsense", "{ mode = \"huge\" }", "policy.failed", "policy-nonsense").await;
}

#[tokio::test]
async fn a_policy_that_does_not_start() {
    survives("policy-start-loop", "{}", "policy.failed", "policy-start-loop").await;
}

#[tokio::test]
async fn a_policy_that_may_not_be_loaded() {
    survives("policy-clock", "{}", "policy.failed", "policy-clock").await;
}

#[tokio::test]
async fn no_policy_at_all_is_no_trouble() {
    let grove = Grove::start(Setup::config("[policy]\nname = \"\"\n"));
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "good")]).await;
    goes_on_while(&farm, std::future::ready(())).await;
    let told = farm.all_events().await;
    assert!(told.iter().all(|event| !event.kind.starts_with("policy.")), "{told:#?}");
    history::check_when_settled(&farm).await;
}

#[tokio::test]
async fn a_broken_plugin_keeps_nobody_from_serving() {
    let plugins = folder(&["driver-echo"]);
    std::fs::write(plugins.path().join("driver-echo/driver-echo.wasm"), "no component").unwrap();
    let grove = start(plugins.path(), "");
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "good")]).await;
    let known = all_known(&farm, &["driver-echo"]).await;
    let broken = known.iter().find(|plugin| plugin.name == "driver-echo").unwrap();
    assert!(!broken.active && broken.trouble.is_some(), "{broken:?}");
    goes_on_while(&farm, std::future::ready(())).await;
}
