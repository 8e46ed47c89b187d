//! A newer state ends whatever an older one had begun.

use std::time::Duration;

use grove_control::Want;
use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_domain::request;
use grove_domain::task::Phase;
use grove_domain::worker::State;

use crate::support::{Farm, failure, id};

#[tokio::test(start_paused = true)]
async fn a_hanging_call_is_cancelled_by_a_newer_state() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (task, _) = farm.worker(1).task.unwrap();
    let began = farm.now();
    farm.want_maintenance(1).await;
    farm.worker_is(1, State::Maintenance).await;
    assert!(farm.now().duration_since(began).as_secs() < 1, "nobody waited for the deadline");
    assert_eq!(farm.calls(1), ["prepare", "cleanup", "maintain"]);
    let ended = farm.controller.task(task).await.unwrap();
    assert_eq!(ended.status.phase, Phase::Cancelled);
    assert_eq!(ended.status.steps.len(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn the_next_task_waits_until_the_earlier_has_cleaned_up() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("cleanup", Behaviour::After(Duration::from_secs(3)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.want_maintenance(1).await;
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!((farm.worker(1).state, farm.calls(1).len()), (State::Busy, 2));
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(farm.worker(1).state, State::Maintenance);
    assert_eq!(farm.fakes.drivers.most_active(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn even_a_clean_up_that_hangs_has_an_end() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("cleanup", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.want_maintenance(1).await;
    farm.pass(Duration::from_secs(6)).await;
    assert_eq!(farm.worker(1).state, State::Maintenance);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_superseded_task_never_counts() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::After(Duration::from_millis(10)));
    farm.idle_soon(1, &[]).await;
    // Around the very moment in which the first ends.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_micros(500)).await;
        let rerun = Want::Maintenance { rerun: true, interrupt: true };
        farm.controller.move_worker("admin", id(1), rerun, None).await.unwrap();
        farm.check_invariants();
    }
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.worker(1).state, State::Maintenance);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_takes_too_long_fails_by_its_deadline() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.pass(Duration::from_secs(599)).await;
    assert_eq!(farm.worker(1).state, State::Prepare);
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(
        (farm.worker(1).state, farm.worker(1).reason.clone()),
        (State::Failed, Some("deadline passed".to_owned()))
    );
    assert_eq!(farm.calls(1), ["prepare", "cleanup"]);
    assert_eq!(farm.events("plugin.failed").len(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_dies_is_named_and_a_fresh_instance_cleans_up() {
    for (behaviour, reason) in [
        (Behaviour::Die("stack overflow".to_owned()), "stack overflow"),
        (Behaviour::Panic, "the driver's side of the controller broke"),
    ] {
        let farm = Farm::new().await;
        farm.behave("prepare", behaviour.clone());
        farm.idle_soon(1, &[]).await;
        farm.worker_is(1, State::Failed).await;
        assert!(farm.worker(1).reason.as_ref().unwrap().contains(reason));
        let events = farm.events("plugin.failed");
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].subject.to_string(), "plugin/fake");
        if behaviour != Behaviour::Panic {
            assert_eq!(farm.calls(1), ["prepare", "cleanup"]);
        }
        farm.behave("prepare", Behaviour::Instant);
        farm.pass(Duration::from_secs(31)).await;
        assert_eq!(farm.worker(1).state, State::Idle, "nothing of it is stuck");
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_changes_while_drivers_hang_freeze_nothing() {
    let farm = Farm::new().await;
    for call in ["prepare", "maintain", "check"] {
        farm.behave(call, Behaviour::Hang);
    }
    farm.behave("cleanup", Behaviour::After(Duration::from_millis(1)));
    farm.fakes.policies.keep_no_questions();
    for number in 1..=10 {
        farm.add(number, &[]).await;
    }
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..10_000u128 {
        let controller = farm.controller.clone();
        answers.spawn(async move {
            let worker = id(number % 10 + 1);
            match number / 10 % 3 {
                0 => {
                    controller.move_worker("admin", worker, Want::Idle { force: true }, None).await.map(drop)
                }
                1 => controller
                    .report_failure("board", worker, "smoke".to_owned(), false, None)
                    .await
                    .map(drop),
                _ => {
                    let want = Want::Maintenance { rerun: true, interrupt: true };
                    controller.move_worker("admin", worker, want, None).await.map(drop)
                }
            }
        });
    }
    let answers = tokio::time::timeout(Duration::from_secs(60), answers.join_all()).await.unwrap();
    assert_eq!(answers.len(), 10_000);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(Refused::Worker(_)))));
    assert!(farm.controller.running_tasks() <= 10, "one for each worker at most");
    for call in ["prepare", "maintain", "check"] {
        farm.behave(call, Behaviour::Instant);
    }
    for number in 1..=10 {
        let want = Want::Maintenance { rerun: true, interrupt: true };
        farm.controller.move_worker("admin", id(number), want, None).await.unwrap();
        farm.worker_is(number, State::Maintenance).await;
    }
    assert_eq!(farm.fakes.drivers.most_active(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn an_admin_stops_a_task() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.controller.cancel_task("admin", task).await.unwrap();
    assert_eq!(
        (farm.worker(1).state, farm.worker(1).reason.clone()),
        (State::Failed, Some("task cancelled by admin".to_owned()))
    );
    farm.settle().await;
    assert_eq!(farm.calls(1), ["prepare", "cleanup"]);
    assert_eq!(farm.controller.cancel_task("admin", task).await, Err(Refused::TaskEnded));
    farm.pass(Duration::from_secs(10_000)).await;
    assert_eq!(farm.worker(1).state, State::Failed, "who stops a task wants no machine to begin it again");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn stopping_the_opening_of_a_job_lets_the_request_wait() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::Hang);
    let request = farm.ask(&[]).await;
    farm.worker_is(1, State::Running).await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.controller.cancel_task("admin", task).await.unwrap();
    assert_eq!(farm.request(request).state, request::State::Waiting);
    assert_eq!(farm.worker(1).state, State::Failed);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_check_that_was_stopped_does_not_begin_again_at_once() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("check", Behaviour::Hang);
    farm.pass(Duration::from_secs(301)).await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.controller.cancel_task("admin", task).await.unwrap();
    farm.pass(Duration::from_secs(10)).await;
    assert_eq!((farm.worker(1).state, farm.worker(1).task), (State::Idle, None));
    farm.behave("check", Behaviour::Instant);
    farm.pass(Duration::from_secs(300)).await;
    assert_eq!(farm.calls(1), ["prepare", "check", "cleanup", "check"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_tasks_but_no_jobs() {
    let mut farm = Farm::new().await;
    let running = farm.running(1).await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(2, &[]).await;
    farm.settle().await;
    farm.controller.stop().await;
    assert_eq!(farm.calls(2), ["prepare", "cleanup"]);
    assert_eq!(
        farm.controller.create_request("ann", crate::support::wish(&[])).await,
        Err(Refused::Stopping)
    );
    farm.controller.stop().await;
    let rows = farm.fakes.store.requests();
    assert_eq!(rows[0].state, request::State::InProgress);
    farm.behave("prepare", Behaviour::Instant);
    farm.crash_and_restart().await;
    farm.worker_is(2, State::Idle).await;
    assert_eq!(farm.request(running).state, request::State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_failed_cleanup_is_not_a_second_failure() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Die("trap".to_owned()));
    farm.behave("cleanup", failure("no"));
    farm.idle_soon(1, &[]).await;
    farm.worker_is(1, State::Failed).await;
    assert_eq!(farm.worker(1).reason.as_deref(), Some("trap"));
    assert_eq!(farm.worker(1).recovery.relapses, 1);
    farm.check_settled();
}
