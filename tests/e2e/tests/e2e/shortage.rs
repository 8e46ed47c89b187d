//! What the farm is short of costs no board, and comes back by itself.

use std::time::Duration;

use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::wish;
use grove_tests_kit::{Grove, Setup, wait};
use serde_json::json;

#[tokio::test]
async fn two_ports_carry_two_jobs_and_no_board_fails_for_the_third() {
    let grove = Grove::start(Setup { ports: Some(2), ..Setup::default() });
    let farm = grove.farm();
    farm.simulated(6, json!({}), &[("board", "pi")]).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(farm.create_request(&wish(&["board"]), None).await.unwrap().id);
    }
    let look = || async { farm.all_requests().await };
    let two_run = |requests: &Vec<grove_tests_kit::client::wire::request::Request>| {
        requests.iter().filter(|request| request.state == RequestState::InProgress).count() == 2
    };
    let seen = wait::until_is("two jobs", look, two_run).await;
    let told = farm.until_event("farm.shortage", "farm").await;
    assert_eq!(told.after.as_deref(), Some("tunnels"));
    let waiting = seen.iter().find(|request| request.state == RequestState::Waiting).unwrap().id;
    let running = seen.iter().find(|request| request.state == RequestState::InProgress).unwrap().id;
    let short = || async { farm.why(waiting).await.unwrap() };
    let why =
        wait::until_is("the reason", short, |why| why.iter().any(|reason| reason.code == "shortage")).await;
    let shortage = why.iter().find(|reason| reason.code == "shortage").unwrap();
    assert!(shortage.text.contains("no free port in"), "{shortage:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for worker in farm.all_workers().await {
        assert!(matches!(worker.state, WorkerState::Idle | WorkerState::Running), "{worker:?}");
    }
    farm.close_request(running, None).await.unwrap();
    farm.until_request(waiting, RequestState::InProgress).await;
}
