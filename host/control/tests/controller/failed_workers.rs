//! Failed workers: how they come back, and when they do not.

use std::time::Duration;

use grove_control::Settings;
use grove_control::fakes::Behaviour;
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request;
use grove_domain::worker::{Edit, FailureKind, Rules, State};

use crate::support::{Farm, failure, id, registration};

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_failed_worker_is_looked_at_ever_less_often() {
    let rules = Rules { recheck_first: seconds(30), recheck_max: seconds(100), relapses: 5 };
    let farm = Farm::with(Settings { rules, ..Settings::default() }).await;
    farm.idle(1, &[]).await;
    farm.behave("check", failure("still dark"));
    let fell = farm.now();
    farm.report_failure(1, "smoke").await;
    let mut looks = Vec::new();
    for _ in 0..40 {
        let seen = farm.calls(1).len();
        farm.pass(Duration::from_secs(10)).await;
        if farm.calls(1).len() > seen {
            looks.push(farm.now().duration_since(fell).as_secs());
        }
    }
    assert_eq!(looks, [30, 90, 190, 290, 390], "30, then 60, then 100 s at most");
    assert_eq!(farm.worker(1).reason.as_deref(), Some("still dark"));
    assert_eq!(farm.worker(1).recovery.relapses, 1, "it fell once");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_board_that_mended_is_prepared_and_idle_again() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.report_failure(1, "smoke").await;
    assert_eq!(farm.worker(1).recovery.recheck_at, Some(after(farm.now(), seconds(30))));
    let waiting = farm.ask(&[]).await;
    farm.fakes.drivers.forget_calls();
    farm.pass(Duration::from_secs(31)).await;
    assert_eq!(farm.calls(1)[..2], ["check", "prepare"]);
    assert_eq!(farm.request(waiting).state, request::State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_too_often_is_quarantined_until_the_admin_says_otherwise() {
    let rules = Rules { relapses: 2, ..Rules::default() };
    let farm = Farm::with(Settings { rules, ..Settings::default() }).await;
    farm.behave("prepare", failure("bad card"));
    farm.idle_soon(1, &[]).await;
    farm.pass(Duration::from_secs(3600)).await;
    let worker = farm.worker(1);
    assert!(worker.recovery.quarantined);
    assert_eq!((worker.state, worker.recovery.recheck_at), (State::Failed, None));
    assert_eq!(farm.events("worker.quarantined").len(), 1);
    let again = farm.controller.register("board", id(1), registration(&[]), Edit::default(), None).await;
    assert_eq!(again.unwrap().0.state, State::Failed, "its own word does not count any more");
    farm.behave("prepare", Behaviour::Instant);
    farm.pass(Duration::from_secs(7200)).await;
    assert_eq!(farm.worker(1).state, State::Failed);
    let force = grove_control::Want::Idle { force: true };
    farm.controller.move_worker("admin", id(1), force, None).await.unwrap();
    farm.worker_is(1, State::Idle).await;
    assert_eq!(farm.worker(1).recovery.relapses, 0);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_opened_proves_the_board_good() {
    let rules = Rules { relapses: 2, ..Rules::default() };
    let farm = Farm::with(Settings { rules, ..Settings::default() }).await;
    farm.idle(1, &[]).await;
    for _ in 0..6 {
        let request = farm.ask(&[]).await;
        farm.request_is(request, request::State::InProgress).await;
        assert_eq!(farm.worker(1).recovery.relapses, 0);
        farm.report_failure(1, "smoke").await;
        farm.pass(Duration::from_secs(31)).await;
        assert_eq!(farm.worker(1).state, State::Idle);
    }
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_mend_by_waiting_is_not_looked_at() {
    // What the farm is short of fails no board.
    for kind in FailureKind::ALL.into_iter().filter(|kind| *kind != FailureKind::Shortage) {
        let farm = Farm::new().await;
        farm.behave("prepare", Behaviour::Fail(kind, "no".to_owned()));
        farm.idle_soon(1, &[]).await;
        farm.worker_is(1, State::Failed).await;
        farm.behave("prepare", Behaviour::Instant);
        farm.pass(Duration::from_secs(40)).await;
        let mends = if kind.may_mend() { State::Idle } else { State::Failed };
        assert_eq!(farm.worker(1).state, mends, "{kind:?}");
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn idle_workers_are_checked_from_time_to_time() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.pass(Duration::from_secs(1000)).await;
    assert_eq!(farm.calls(1), ["prepare", "check", "check", "check"]);
    assert_eq!(farm.worker(1).state, State::Idle);
    farm.behave("check", Behaviour::Unwell("fever".to_owned()));
    farm.pass(Duration::from_secs(250)).await;
    assert_eq!(farm.worker(1).state, State::Failed);
    assert!(!farm.worker(1).health.ok);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_check_does_not_keep_a_board_from_its_job() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.fakes.drivers.behave(None, "check", Behaviour::Hang);
    farm.pass(Duration::from_secs(301)).await;
    let (check, _) = farm.worker(1).task.expect("it is being checked");
    farm.behave("check", Behaviour::Instant);
    let request = farm.ask(&[]).await;
    farm.request_is(request, request::State::InProgress).await;
    let check = farm.controller.task(check).await.unwrap();
    assert_eq!(check.status.phase, grove_domain::task::Phase::Cancelled);
    assert_eq!(farm.calls(1), ["prepare", "check", "cleanup", "check", "authorize"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn due_checks_of_many_workers_are_all_made() {
    let farm = Farm::new().await;
    for number in 1..=1500 {
        farm.idle_soon(number, &[]).await;
    }
    farm.settle().await;
    farm.fakes.drivers.forget_calls();
    farm.pass(Duration::from_secs(301)).await;
    assert_eq!(farm.fakes.drivers.calls().len(), 1500);
    farm.check_settled();
}
