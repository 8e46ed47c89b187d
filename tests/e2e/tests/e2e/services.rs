//! Parts of the controller that are missing for a while: the rest goes on, and says what is missing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{uuid, wish};
use grove_tests_kit::{Grove, Setup, built, compiled, grove, wait};
use serde_json::json;
use tokio::time::Instant;

/// Status and text of a page.
async fn page(base: &str, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let log = folder.path().join("log");
    compiled::give(&folder.path().join("state"));
    let mut command = grove::grove_command(folder.path());
    command.args(["serve", "--listen", &address, "--state"]).arg(folder.path().join("state"));
    command.stderr(std::fs::File::create(&log).unwrap());
    let said = log.clone();
    let starting = tokio::task::spawn_blocking(move || {
        grove::ready(&mut command, || std::fs::read_to_string(&said).unwrap_or_default())
    });
    let told = || async { std::fs::read_to_string(&log).unwrap_or_default() };
    let wanted = format!("failed to listen on {address}");
    let said = wait::until_is("a word about the port", told, |log| log.contains(&wanted)).await;
    assert!(said.contains("--listen"), "{said}");
    assert!(!starting.is_finished(), "it says that it is ready");
    drop(taken);
    let (_process, base) = starting.await.unwrap();
    assert_eq!(page(&base, "/readyz").await, (200, "ready\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_comes_back() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "rpi4")]).await;
    let (running, access) = farm.get(&wish(&["board=rpi4"])).await;
    let waiting = farm.create_request(&wish(&["board=none"]), None).await.unwrap();

    let (here, away) = (grove.state().join("grove.db"), grove.state().join("grove.away"));
    std::fs::rename(&here, &away).unwrap();
    let ready = || page(grove.base(), "/readyz");
    let told = |said: &str| said.contains("put it back") && said.contains("controller waits for store");
    wait::until_is("to be told", ready, |(status, said)| *status == 503 && told(said)).await;
    assert_eq!(page(grove.base(), "/healthz").await.0, 200);
    let (status, services) = page(grove.base(), "/api/v2/services").await;
    assert!(status == 200 && services.contains("grove.db is gone"), "{services}");
    let refused = reqwest::get(format!("{}/api/v2/workers", grove.base())).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("store"), "nobody says what is missing: {refused}");
    // However long it is away, it is looked for every two seconds.
    let mut looks = BTreeSet::new();
    while looks.len() < 7 {
        let next = || async { farm.service("store").await.unwrap().next_start };
        let next = wait::until_is("it to be looked for again", next, |next| {
            next.is_some_and(|next| !looks.contains(&next))
        });
        let next = next.await.unwrap();
        assert!(next <= wait::now() + Duration::from_secs(2), "{next} is late");
        looks.insert(next);
    }
    // Nothing is begun anew in its place.
    assert!(!here.exists(), "a new farm in the place of the old");

    std::fs::rename(&away, &here).unwrap();
    wait::until_is("the farm", ready, |(status, _)| *status == 200).await;
    let after = farm.until_request(running, RequestState::InProgress).await;
    assert_eq!(after.job.and_then(|job| job.access).map(|access| access.port), Some(access.port));
    assert_eq!(farm.request(waiting.id).await.unwrap().state, RequestState::Waiting);
    farm.close_request(running, None).await.unwrap();
    let (next, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(next, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_without_its_store_stops_in_time() {
    const DRAIN: Duration = Duration::from_secs(10);
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let (running, _) = farm.get(&wish(&["board=rpi4"])).await;
    // A task is under way that does not end by itself, and somebody waits for an answer.
    let slow = json!({ "prepare": { "delay_ms": 600_000 } });
    farm.register(uuid(9), "simulated", slow, &[("board", "slow")]).await;
    farm.want_idle(uuid(9)).await;
    farm.until_worker(uuid(9), WorkerState::Prepare).await;
    let waiting = farm.create_request(&wish(&["board=none"]), None).await.unwrap();
    let patient = farm.clone();
    let poll = tokio::spawn(async move {
        let wait = Duration::from_secs(60);
        patient.request_newer_than(waiting.id, waiting.revision, wait).await.map(drop)
    });

    let (here, away) = (grove.state().join("grove.db"), grove.state().join("grove.away"));
    std::fs::rename(&here, &away).unwrap();
    let began = Instant::now();
    let status = tokio::task::block_in_place(|| grove.terminate());
    let took = began.elapsed();
    assert!(status.success(), "{status}: {}", grove.log());
    assert!(took < DRAIN, "it took {took:?}");
    let _ = wait::ends("the long poll", poll).await.unwrap();
    assert!(!here.exists(), "a new farm in the place of the old");

    std::fs::rename(&away, &here).unwrap();
    grove.start_again();
    let farm = grove.farm();
    farm.until_request(running, RequestState::InProgress).await;
    assert_eq!(farm.request(waiting.id).await.unwrap().state, RequestState::Waiting);
    farm.until_worker(uuid(9), WorkerState::Prepare).await;
}

#[tokio::test]
async fn a_policy_that_does_not_start_leaves_the_rest_at_work() {
    let grove = Grove::start(Setup::config("[policy.settings]\nshoe_size = 43\n"));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
    let event = farm.until_event("policy.failed", "plugin/least-capable").await;
    assert!(event.note.as_ref().is_some_and(|note| note.contains("settings")), "{event:?}");
    let (status, said) = page(grove.base(), "/readyz").await;
    let told = said.lines().any(|line| line.starts_with("degraded: policy ") && line.contains("settings"));
    assert!(status == 200 && told, "{said}");
}

#[tokio::test]
async fn a_policy_that_is_not_there_is_missed_until_it_comes() {
    let grove = Grove::start(Setup::config("[policy]\nname = \"first\"\n"));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let ready = || page(grove.base(), "/readyz");
    let told = |said: &str| said.contains("no policy is named \"first\"");
    wait::until_is("to be told", ready, |(status, said)| *status == 200 && told(said)).await;
    assert!(farm.service("policy").await.unwrap().last_error.is_some_and(|error| told(&error)));
    // The built-in rule decides meanwhile.
    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
    let component = std::fs::read(built::guests().join("policy-first.wasm")).unwrap();
    let (manifest, _) = built::plugin("policy-least-capable");
    let manifest = manifest.replace("least-capable", "first").replace("policy-first.wasm", "it.wasm");
    farm.install_plugin(manifest, component, true, None).await.unwrap();
    wait::until_is("the policy", ready, |(_, said)| said == "ready\n").await;
    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
}
