//! Instances: signs of life, and another one that takes over.

use std::time::Duration;

use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_control::{Controller, Settings};
use grove_domain::task::{Phase, StepOutcome};
use grove_domain::worker::State;

use crate::support::{Farm, wish};

#[tokio::test(start_paused = true)]
async fn each_start_is_an_instance_that_shows_that_it_lives() {
    let mut farm = Farm::new().await;
    farm.pass(Duration::from_secs(100)).await;
    let first = farm.fakes.store.instances()[0];
    assert_eq!((first.incarnation, first.ended), (1, None));
    assert!(farm.now().duration_since(first.heartbeat).as_secs() <= 16);
    farm.crash_and_restart().await;
    assert_eq!(farm.controller.instance().incarnation, 2);
    farm.controller.stop().await;
    let known = farm.fakes.store.instances();
    assert_eq!((known[0].ended, known[1].ended.is_some()), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_dead_instances_task_fails_with_one_time_for_all_of_it() {
    let mut farm = Farm::new().await;
    let running = farm.running(1).await;
    farm.behave("revoke", Behaviour::Hang);
    farm.close(running).await;
    farm.settle().await;
    let (lost, _) = farm.worker(1).task.unwrap();
    let dead = farm.controller.instance().id;
    farm.behave("revoke", Behaviour::Instant);
    farm.crash_and_restart().await;
    let row = farm.controller.task(lost).await.unwrap();
    assert_eq!((row.status.phase, row.status.instance), (Phase::Failed, Some(dead)));
    assert_eq!(row.status.error.as_deref(), Some("its instance died"));
    let outcomes: Vec<_> = row.status.steps.iter().map(|step| step.outcome.unwrap()).collect();
    assert_eq!(outcomes, [StepOutcome::Failed, StepOutcome::Skipped]);
    assert!(row.status.steps.iter().all(|step| step.ended == row.status.ended));
    farm.worker_is(1, State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn when_another_instance_takes_over_this_one_ends_and_says_so() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (lost, _) = farm.worker(1).task.unwrap();
    let ended = farm.controller.ended();
    let parts = farm.fakes.rival_parts(Settings::default());
    farm.behave("prepare", Behaviour::Instant);
    let rival = Controller::start(parts).await.unwrap();
    assert_eq!(rival.instance().incarnation, 2);
    let late = farm.controller.create_request("ann", wish(&["laser"])).await;
    assert!(matches!(late, Err(Refused::Unavailable(_) | Refused::Stopping)), "{late:?}");
    let reason = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert!(reason.contains("took over: it is number 2, and this is number 1"), "{reason}");
    assert_eq!(farm.controller.create_request("ann", wish(&[])).await, Err(Refused::Stopping));
    // The other one was never disturbed.
    let events = farm.events("farm.reloaded");
    assert!(events.is_empty(), "{events:?}");
    let row = rival.task(lost).await.unwrap();
    assert_eq!((row.status.phase, row.status.error.as_deref()), (Phase::Failed, Some("its instance died")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rival.farm().worker(crate::support::id(1)).unwrap().state, State::Idle);
    assert!(rival.create_request("ann", wish(&["laser"])).await.is_ok());
}
