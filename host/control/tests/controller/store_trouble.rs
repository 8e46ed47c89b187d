//! A store that refuses: callers are told, nothing is half done, and the farm goes on when it is back.

use std::time::Duration;

use grove_control::Want;
use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_domain::id::RequestId;
use grove_domain::moment::SignedDuration;
use grove_domain::request::State;
use grove_domain::worker::{self, Edit};

use crate::support::{Farm, id, registration, wish};

fn unavailable<T: std::fmt::Debug>(answer: Result<T, Refused>) -> bool {
    matches!(answer, Err(Refused::Unavailable(_)))
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_and_nothing_is_changed() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let waiting = farm.ask(&["laser"]).await;
    let before = (farm.worker(1), farm.request(waiting));
    let events = farm.fakes.store.all_events().len();
    farm.fakes.store.break_with(Some("disk full"));
    let full = farm.controller.create_request("ann", wish(&[])).await;
    assert!(full.unwrap_err().to_string().contains("disk full"));
    farm.settle().await;
    assert!(farm.controller.trouble().unwrap().contains("disk full"));
    assert!(unavailable(farm.controller.close_request("ann", waiting, None, None).await));
    assert!(unavailable(farm.controller.heartbeat(waiting, false).await));
    assert!(unavailable(farm.controller.why(waiting).await));
    assert!(unavailable(farm.controller.prolong("ann", waiting, None, false, None).await));
    let want = Want::Idle { force: false };
    assert!(unavailable(farm.controller.move_worker("admin", id(1), want, None).await));
    let registered = farm.controller.register("board", id(2), registration(&[]), Edit::default(), None).await;
    assert!(unavailable(registered));
    let task = grove_domain::id::TaskId(grove_domain::id::Uuid::nil());
    assert!(unavailable(farm.controller.cancel_task("admin", task).await));
    assert_eq!(farm.worker(1), before.0, "reads go on");
    assert_eq!(farm.request(waiting), before.1);
    assert_eq!(farm.fakes.store.all_events().len(), events);
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.controller.trouble(), None);
    assert_eq!(farm.events("farm.reloaded").len(), 1);
    assert_eq!(farm.ask(&[]).await, RequestId(2), "the number that was given in vain is given again");
    farm.request_is(RequestId(2), State::InProgress).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn many_callers_at_once_all_get_an_answer() {
    let farm = Farm::new().await;
    farm.fakes.store.take(Duration::from_millis(5));
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..500u64 {
        let controller = farm.controller.clone();
        asks.spawn(async move {
            tokio::time::sleep(Duration::from_micros(number * 100)).await;
            controller.create_request("ann", wish(&["laser"])).await
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    farm.fakes.store.break_with(Some("disk full"));
    tokio::time::sleep(Duration::from_millis(20)).await;
    farm.fakes.store.break_with(None);
    let answers = tokio::time::timeout(Duration::from_secs(60), asks.join_all()).await.unwrap();
    let accepted: Vec<_> = answers.iter().flatten().map(|request| request.id).collect();
    assert!(answers.iter().all(|answer| answer.is_ok() || unavailable(answer.clone())));
    assert!(!accepted.is_empty() && accepted.len() < 500, "{}", accepted.len());
    farm.pass(Duration::from_secs(1)).await;
    let stored: Vec<_> = farm.fakes.store.requests().iter().map(|request| request.id).collect();
    let mut sorted = accepted.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, stored, "stored is what was accepted, and nothing else");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn running_tasks_go_on_and_are_not_doubled() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(10)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.fakes.store.break_with(Some("disk full"));
    assert!(unavailable(farm.controller.create_request("ann", wish(&[])).await));
    farm.pass(Duration::from_secs(3)).await;
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(10)).await;
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    assert_eq!(farm.calls(1), ["prepare"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_while_the_store_is_away_counts_when_it_is_back() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(10)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.fakes.store.break_with(Some("disk full"));
    assert!(unavailable(farm.controller.create_request("ann", wish(&[])).await));
    farm.pass(Duration::from_secs(20)).await;
    assert_eq!(farm.worker(1).state, worker::State::Prepare);
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    assert_eq!(farm.calls(1), ["prepare"], "what took ten seconds is not done twice");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_end_could_not_be_stored_is_done_again() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(10)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.fakes.store.break_with(Some("disk full"));
    farm.pass(Duration::from_secs(11)).await;
    assert!(farm.controller.trouble().is_some(), "its end was what found it out");
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(11)).await;
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    assert_eq!(farm.fakes.drivers.most_active(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_opened_in_vain_is_opened_again_with_one_tunnel() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::After(Duration::from_secs(2)));
    let request = farm.ask(&[]).await;
    farm.worker_is(1, worker::State::Running).await;
    farm.fakes.store.break_with(Some("disk full"));
    farm.pass(Duration::from_secs(3)).await;
    assert_eq!(farm.request(request).state, State::Waiting);
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(3)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn running_jobs_keep_their_tunnels_and_due_times() {
    let farm = Farm::new().await;
    let running = farm.running(1).await;
    let before = farm.request(running);
    let mut promised = wish(&["laser"]);
    promised.spec.heartbeat = Some(SignedDuration::from_secs(10));
    let silent = farm.create(promised).await.id;
    farm.fakes.store.break_with(Some("disk full"));
    assert!(unavailable(farm.controller.create_request("ann", wish(&[])).await));
    farm.pass(Duration::from_secs(5)).await;
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.request(running), before);
    farm.check_settled();
    farm.pass(Duration::from_secs(31)).await;
    assert_eq!(farm.request(silent).state, State::Cancelled, "who is silent is still found out");
    farm.pass(Duration::from_secs(3600)).await;
    assert_eq!(farm.request(running).state, State::Done);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_decided_on_what_is_not_stored_is_no_answer() {
    let farm = Farm::new().await;
    farm.fakes.store.take(Duration::from_millis(50));
    farm.fakes.store.break_with(Some("disk full"));
    let waiting = {
        let controller = farm.controller.clone();
        tokio::spawn(async move { controller.create_request("ann", wish(&["laser"])).await })
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    // The dispatcher knows request 1 already; nobody else ever will.
    let why = farm.controller.why(RequestId(1)).await;
    assert!(unavailable(why));
    assert!(unavailable(waiting.await.unwrap()));
    assert!(farm.controller.farm().request(RequestId(1)).is_none());
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(1)).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn it_can_be_stopped_while_the_store_is_away() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.fakes.store.break_with(Some("disk full"));
    assert!(unavailable(farm.controller.create_request("ann", wish(&[])).await));
    farm.settle().await;
    tokio::time::timeout(Duration::from_secs(60), farm.controller.stop()).await.unwrap();
    assert_eq!(farm.calls(1), ["prepare", "cleanup"], "its tasks have ended");
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(5)).await;
    assert_eq!(farm.controller.create_request("ann", wish(&[])).await, Err(Refused::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_again_and_again_is_survived() {
    let farm = Farm::new().await;
    for round in 0..20 {
        farm.fakes.store.break_with(Some("disk full"));
        assert!(unavailable(farm.controller.create_request("ann", wish(&["laser"])).await));
        farm.pass(Duration::from_millis(700)).await;
        farm.fakes.store.break_with(None);
        farm.pass(Duration::from_millis(700)).await;
        assert_eq!(farm.ask(&["laser"]).await, RequestId(round + 1));
    }
    farm.check_settled();
}
