//! Jobs: how they are opened, and every way in which they end.

use std::time::Duration;

use grove_control::Settings;
use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_domain::id::{TaskId, Uuid};
use grove_domain::moment::{Moment, SignedDuration, after};
use grove_domain::request::{Bounds, Refusal, State};
use grove_domain::task::{Phase, StepKind, TaskKind};
use grove_domain::worker;

use crate::support::{Farm, failure, id, wish};

#[tokio::test(start_paused = true)]
async fn a_match_opens_a_job_with_the_users_own_key() {
    let farm = Farm::new().await;
    let request = farm.running(1).await;
    let request = farm.request(request);
    let job = request.running_job().unwrap();
    assert_eq!((job.worker, job.prolongs), (id(1), 0));
    assert_eq!(job.timeout, after(job.opened, farm.settings.job_length));
    assert_eq!(job.access.private_key, None);
    assert_eq!(job.access.authorized_keys, ["ssh-ed25519 AAAA ann"]);
    assert_eq!((job.access.user.as_str(), job.access.target_port), ("boruta-user", 22));
    assert_eq!(farm.fakes.keys.taken(), 0);
    assert_eq!(farm.calls(1), ["prepare", "authorize"], "its last check is not old");
    assert_eq!(farm.controller.farm().position(&request), None);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_reserved_request_leaves_its_tunnel_open() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::After(Duration::from_millis(20)));
    let request = farm.ask(&[]).await;
    farm.eventually("a match", || farm.request(request).reserved.is_some()).await;
    // The change is on its way to disk while the job opens.
    farm.fakes.store.take(Duration::from_millis(50));
    let updated = farm.controller.update_request("ann", request, Some(3), None, None, None).await.unwrap();
    assert_eq!(updated.reserved, Some(id(1)));
    farm.request_is(request, State::InProgress).await;
    assert_eq!(farm.fakes.tunnels.open_now().len(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_driver_deaf_to_its_cancel_takes_no_tunnel_from_the_next_worker() {
    let farm = Farm::new().await;
    for number in 1..=2 {
        farm.idle(number, &[]).await;
    }
    let deaf = Behaviour::Stubborn(Duration::from_secs(2));
    farm.fakes.drivers.behave(Some(id(1)), "authorize", deaf);
    let request = farm.ask(&[]).await;
    farm.eventually("a match", || farm.request(request).reserved == Some(id(1))).await;
    farm.settle().await;
    assert_eq!(farm.calls(1), ["prepare", "authorize"]);
    farm.report_failure(1, "smoke").await;
    farm.request_is(request, State::InProgress).await;
    let job = farm.request(request).running_job().unwrap().clone();
    assert_eq!(job.worker, id(2));
    // The first driver ends well, and too late.
    farm.pass(Duration::from_secs(5)).await;
    assert_eq!(farm.fakes.tunnels.open_now()[&request], job.access.port);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn without_a_key_one_is_generated_and_forgotten_with_the_job() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut keyless = wish(&[]);
    keyless.spec.keys.clear();
    let request = farm.create(keyless).await.id;
    farm.request_is(request, State::InProgress).await;
    let access = farm.request(request).job.as_ref().unwrap().access.clone();
    assert!(access.private_key.as_ref().unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert_eq!(access.authorized_keys, ["ssh-rsa AAAA1 grove"]);
    farm.close(request).await;
    assert_eq!(farm.request(request).job.as_ref().unwrap().access.private_key, None);
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_board_is_checked_first_when_its_last_check_is_old() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.pass(Duration::from_secs(61)).await;
    let request = farm.ask(&[]).await;
    farm.request_is(request, State::InProgress).await;
    assert_eq!(farm.calls(1), ["prepare", "check", "authorize"]);
    assert!(farm.worker(1).health.checked_at.unwrap() >= farm.request(request).created);
}

#[tokio::test(start_paused = true)]
async fn an_unwell_board_fails_and_its_request_is_served_by_another_in_its_old_place() {
    let farm = Farm::new().await;
    farm.idle(1, &[("a", "1")]).await;
    farm.pass(Duration::from_secs(61)).await;
    farm.fakes.drivers.behave(Some(id(1)), "check", Behaviour::Unwell("fever".to_owned()));
    let first = farm.ask(&["a"]).await;
    let second = farm.ask(&["a"]).await;
    farm.worker_is(1, worker::State::Failed).await;
    assert_eq!(farm.worker(1).reason.as_deref(), Some("check found the board unwell: fever"));
    farm.request_is(first, State::Waiting).await;
    let request = farm.request(first);
    assert_eq!((request.reserved, farm.controller.farm().position(&request)), (None, Some(1)));
    let why = farm.controller.why(first).await.unwrap();
    assert!(why.iter().any(|reason| reason.code == "requeued" && reason.text.contains("fever")), "{why:?}");
    farm.idle_soon(2, &[("a", "1")]).await;
    farm.request_is(first, State::InProgress).await;
    assert_eq!(farm.request(second).state, State::Waiting);
    let open = farm.fakes.store.ended_tasks();
    let open: Vec<_> = open.iter().filter(|task| task.spec.kind == TaskKind::Open).collect();
    assert_eq!(open[0].status.phase, Phase::Failed);
    assert_eq!(open[0].status.error.as_deref(), Some("fever"));
    assert_eq!(open[0].status.steps[0].kind, StepKind::Check);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn when_a_board_fails_while_a_job_is_opened_the_request_waits_again() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", failure("no space"));
    let request = farm.ask(&[]).await;
    farm.worker_is(1, worker::State::Failed).await;
    assert!(farm.worker(1).reason.as_ref().unwrap().contains("no space"));
    assert_eq!(farm.request(request).state, State::Waiting);
    farm.check_settled();
    farm.behave("authorize", Behaviour::Instant);
    farm.pass(Duration::from_secs(31)).await;
    assert_eq!(farm.request(request).state, State::InProgress, "the board was looked at again");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_ends_when_its_length_is_over_and_the_board_is_cleaned() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut short = wish(&[]);
    short.spec.length = Some(SignedDuration::from_secs(90));
    let request = farm.create(short).await.id;
    farm.request_is(request, State::InProgress).await;
    farm.pass(Duration::from_secs(85)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.fakes.drivers.forget_calls();
    farm.pass(Duration::from_secs(6)).await;
    let request = farm.request(request);
    assert_eq!((request.state, request.reason.as_deref()), (State::Done, Some("the job's time is up")));
    assert_eq!(request.job.as_ref().unwrap().ended, Some(request.since));
    assert_eq!(farm.calls(1), ["revoke", "prepare"], "nobody is let in while it is prepared");
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_is_prolonged_from_now_within_the_limits() {
    let bounds = Bounds { prolongs: Some(2) };
    let max = SignedDuration::from_hours(2);
    let settings = Settings { bounds, job_length_max: max, ..Settings::default() };
    let farm = Farm::with(settings).await;
    let request = farm.running(1).await;
    farm.pass(Duration::from_secs(3000)).await;
    let prolonged = farm.controller.prolong("ann", request, None, false, None).await.unwrap();
    let job = prolonged.running_job().unwrap();
    assert_eq!((job.timeout, job.prolongs), (after(farm.now(), SignedDuration::from_hours(1)), 1));
    let long = Some(max + SignedDuration::from_secs(1));
    assert_eq!(
        farm.controller.prolong("ann", request, long, false, None).await,
        Err(Refused::TooLong { max })
    );
    let prolonged = farm.controller.prolong("ann", request, Some(max), false, None).await.unwrap();
    assert_eq!(prolonged.running_job().unwrap().timeout, after(farm.now(), max));
    let third = farm.controller.prolong("ann", request, None, false, None).await;
    assert_eq!(third, Err(Refused::Request(Refusal::ProlongLimit)));
    farm.pass(Duration::from_secs(7190)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.pass(Duration::from_secs(10)).await;
    assert_eq!(farm.request(request).state, State::Done);
    let over = farm.controller.prolong("ann", request, None, false, None).await;
    assert_eq!(over, Err(Refused::Request(Refusal::NoJob)));
    let waiting = farm.ask(&["laser"]).await;
    assert_eq!(farm.controller.prolong("ann", waiting, None, false, None).await, Err(Refusal::NoJob.into()));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_may_be_cut_short_too() {
    let farm = Farm::new().await;
    let request = farm.running(1).await;
    let length = Some(SignedDuration::from_secs(30));
    farm.controller.prolong("ann", request, length, true, None).await.unwrap();
    farm.pass(Duration::from_secs(31)).await;
    assert_eq!(farm.request(request).state, State::Done);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_fails_under_a_job_takes_it_along() {
    let farm = Farm::new().await;
    let request = farm.running(1).await;
    assert_eq!(farm.fakes.tunnels.open_now().len(), 1);
    farm.report_failure(1, "smoke").await;
    let request = farm.request(request);
    assert_eq!(request.state, State::Failed);
    assert!(request.reason.as_ref().unwrap().contains("smoke"));
    farm.settle().await;
    assert!(farm.fakes.tunnels.open_now().is_empty());
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn maintenance_under_a_job_revokes_first() {
    let farm = Farm::new().await;
    let request = farm.running(1).await;
    farm.fakes.drivers.forget_calls();
    farm.want_maintenance(1).await;
    assert_eq!(farm.request(request).state, State::Failed);
    farm.worker_is(1, worker::State::Maintenance).await;
    assert_eq!(farm.calls(1), ["revoke", "maintain"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn maintenance_soon_after_a_job_revokes_all_the_same() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    farm.behave("revoke", Behaviour::Hang);
    farm.close(request).await;
    farm.settle().await;
    farm.want_maintenance(1).await;
    farm.settle().await;
    farm.fakes.drivers.forget_calls();
    farm.behave("revoke", Behaviour::Instant);
    // Not even a crash makes it forget whom it let in.
    farm.crash_and_restart().await;
    farm.worker_is(1, worker::State::Maintenance).await;
    assert_eq!(farm.calls(1), ["revoke", "maintain"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn closing_a_reserved_request_cancels_it_and_prepares_the_board() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::Hang);
    let request = farm.ask(&[]).await;
    farm.worker_is(1, worker::State::Running).await;
    assert_eq!(farm.request(request).reserved, Some(id(1)));
    assert_eq!(farm.controller.why(request).await.unwrap()[0].code, "opening");
    farm.fakes.drivers.forget_calls();
    assert_eq!(farm.close(request).await.state, State::Cancelled);
    farm.worker_is(1, worker::State::Idle).await;
    assert_eq!(farm.calls(1), ["cleanup", "revoke", "prepare"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_does_not_end_a_request_that_is_being_opened_or_runs() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::After(Duration::from_secs(20)));
    let mut short = wish(&[]);
    let deadline = after(farm.now(), SignedDuration::from_secs(10));
    short.deadline = Some(Moment::utc(deadline));
    let request = farm.create(short).await.id;
    farm.pass(Duration::from_secs(21)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.check_settled();
    // But one that has to wait again has waited long enough.
    farm.close(request).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.behave("authorize", Behaviour::Hang);
    let mut short = wish(&[]);
    let deadline = after(farm.now(), SignedDuration::from_secs(10));
    short.deadline = Some(Moment::utc(deadline));
    let request = farm.create(short).await.id;
    farm.pass(Duration::from_secs(70)).await;
    assert_eq!(farm.request(request).state, State::Timeout);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_running_job_tells_its_tasks_steps_and_keeps_them() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave("authorize", Behaviour::After(Duration::from_secs(5)));
    farm.ask(&[]).await;
    farm.worker_is(1, worker::State::Running).await;
    farm.settle().await;
    let (task, kind) = farm.worker(1).task.unwrap();
    assert_eq!(kind, TaskKind::Open);
    let live = farm.controller.task(task).await.unwrap();
    assert_eq!((live.status.phase, live.status.steps.len()), (Phase::Running, 2));
    assert!(live.status.deadline.is_some());
    assert_eq!(farm.controller.running_tasks(), 1);
    farm.pass(Duration::from_secs(6)).await;
    let kept = farm.controller.task(task).await.unwrap();
    let names: Vec<_> = kept.status.steps.iter().map(|step| step.kind.to_string()).collect();
    assert_eq!(
        (kept.status.phase, names),
        (Phase::Succeeded, vec!["authorize".to_owned(), "open tunnel".to_owned()])
    );
    assert!(kept.status.started.is_some());
    assert_eq!(farm.controller.running_tasks(), 0);
    assert_eq!(farm.controller.task(TaskId(Uuid::nil())).await, Err(Refused::NoSuchTask));
}
