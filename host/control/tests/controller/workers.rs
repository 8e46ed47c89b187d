//! Workers: registration, the admin's wishes, reports of failure.

use std::time::Duration;

use grove_control::Settings;
use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_control::settings::Caps;
use grove_control::{Created, Want};
use grove_domain::request;
use grove_domain::worker::{Edit, Refusal, State};

use crate::support::{Farm, id, kinds_of, registration};

/// Brings worker `number` into `state` and leaves it there.
async fn put(farm: &Farm, number: u128, state: State) {
    match state {
        State::Maintenance => drop(farm.add(number, &[("a", "1")]).await),
        State::Idle => farm.idle(number, &[("a", "1")]).await,
        State::Running => {
            farm.idle(number, &[("a", "1")]).await;
            let request = farm.ask(&[&format!("UUID={}", id(number))]).await;
            farm.request_is(request, request::State::InProgress).await;
        }
        State::Failed => {
            farm.idle(number, &[("a", "1")]).await;
            farm.report_failure(number, "smoke").await;
        }
        State::Prepare => {
            farm.fakes.drivers.behave(Some(id(number)), "prepare", Behaviour::Hang);
            farm.add(number, &[("a", "1")]).await;
            farm.want_idle(number).await;
        }
        State::Busy => {
            farm.fakes.drivers.behave(Some(id(number)), "maintain", Behaviour::Hang);
            farm.idle(number, &[("a", "1")]).await;
            farm.want_maintenance(number).await;
        }
    }
    farm.worker_is(number, state).await;
}

fn states() -> impl Iterator<Item = (u128, State)> {
    State::ALL.into_iter().enumerate().map(|(number, state)| (number as u128 + 1, state))
}

#[tokio::test(start_paused = true)]
async fn a_worker_begins_in_maintenance() {
    let farm = Farm::new().await;
    let answer =
        farm.controller.register("board", id(1), registration(&[("a", "1")]), Edit::default(), None).await;
    let (worker, created) = answer.unwrap();
    assert_eq!((worker.state, worker.revision, created), (State::Maintenance, 1, Created::Yes));
    assert_eq!(worker.capabilities.effective().get("UUID").unwrap(), &id(1).to_string());
    assert!(farm.calls(1).is_empty());
    assert_eq!(kinds_of(&farm, &format!("worker/{}", id(1))), ["worker.registered"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn registering_again_unchanged_changes_nothing_but_leads_out_of_failed() {
    let farm = Farm::new().await;
    for (number, state) in states() {
        put(&farm, number, state).await;
        let before = farm.worker(number);
        let same = farm
            .controller
            .register("board", id(number), registration(&[("a", "1")]), Edit::default(), None)
            .await
            .unwrap();
        assert_eq!(same.1, Created::No);
        if state == State::Failed {
            assert_eq!(same.0.state, State::Prepare);
            farm.worker_is(number, State::Idle).await;
        } else {
            assert_eq!(same.0, before);
        }
    }
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_changed_registration_goes_through_busy_in_every_state() {
    let farm = Farm::new().await;
    for (number, state) in states() {
        put(&farm, number, state).await;
        let before = farm.worker(number);
        let changed = farm
            .controller
            .register("board", id(number), registration(&[("a", "2")]), Edit::default(), None)
            .await
            .unwrap()
            .0;
        assert_eq!(changed.state, State::Busy, "{state:?}");
        assert!(changed.generation > before.generation);
        assert_ne!(changed.task, before.task);
        assert_eq!(changed.capabilities.effective().get("a").unwrap(), "2");
        farm.fakes.drivers.behave(Some(id(number)), "maintain", Behaviour::Instant);
        // The one of the old registration may hang in the driver; it was cancelled.
        if state != State::Busy {
            farm.worker_is(number, State::Maintenance).await;
        }
    }
    farm.settle().await;
    farm.check_invariants();
    let failed =
        farm.controller.farm().requests().iter().all(|request| request.state == request::State::Failed);
    assert!(failed, "the job of the running worker ended with it");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_with_its_reason() {
    let farm = Farm::new().await;
    for (number, state) in states() {
        put(&farm, number, state).await;
        let answer =
            farm.controller.report_failure("board", id(number), "smoke rises".to_owned(), false, None).await;
        match state {
            State::Maintenance | State::Busy => {
                assert_eq!(answer, Err(Refused::Worker(Refusal::InMaintenance)), "{state:?}");
            }
            _ => {
                let failed = answer.unwrap();
                assert_eq!((failed.state, failed.reason.as_deref()), (State::Failed, Some("smoke rises")));
            }
        }
    }
    farm.check_invariants();
    let unknown = farm.controller.report_failure("board", id(99), String::new(), false, None).await;
    assert_eq!(unknown, Err(Refused::NoSuchWorker));
}

#[tokio::test(start_paused = true)]
async fn a_second_reason_replaces_the_first_and_is_told() {
    let farm = Farm::new().await;
    put(&farm, 1, State::Failed).await;
    let worker = farm.report_failure(1, "flames").await;
    assert_eq!(worker.reason.as_deref(), Some("flames"));
    assert_eq!(farm.events("worker.failure").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn wishes_of_the_admin_in_every_state() {
    let farm = Farm::new().await;
    for (number, state) in states() {
        put(&farm, number, state).await;
        let idle = farm.controller.move_worker("admin", id(number), Want::Idle { force: false }, None).await;
        match state {
            State::Maintenance => assert_eq!(idle.unwrap().state, State::Prepare),
            State::Prepare | State::Idle => assert_eq!(idle.unwrap().state, state),
            _ => assert_eq!(idle, Err(Refused::Worker(Refusal::NoWayToIdle)), "{state:?}"),
        }
    }
    let forced = farm.controller.move_worker("admin", id(6), Want::Idle { force: true }, None).await;
    assert_eq!(forced.unwrap().state, State::Prepare);
    farm.settle().await;
    for (number, state) in states() {
        let gentle = Want::Maintenance { rerun: false, interrupt: false };
        let answer = farm.controller.move_worker("admin", id(number), gentle, None).await;
        if state == State::Running {
            assert!(matches!(answer, Err(Refused::Worker(Refusal::RunsJob(_)))));
            assert_eq!(farm.want_maintenance(number).await.state, State::Busy);
        } else {
            assert_eq!(answer.unwrap().state, State::Busy, "{state:?}");
        }
    }
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn maintenance_runs_again_only_when_asked_to() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.want_maintenance(1).await;
    farm.settle().await;
    assert!(farm.calls(1).is_empty());
    let rerun = Want::Maintenance { rerun: true, interrupt: false };
    farm.controller.move_worker("admin", id(1), rerun, None).await.unwrap();
    farm.worker_is(1, State::Maintenance).await;
    assert_eq!(farm.calls(1), ["maintain"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_leaves_from_maintenance_and_failed_or_by_force_from_everywhere() {
    let farm = Farm::new().await;
    for (number, state) in states() {
        put(&farm, number, state).await;
        let answer = farm.controller.deregister("admin", id(number), false, None).await;
        if matches!(state, State::Maintenance | State::Failed) {
            answer.unwrap();
            assert!(farm.controller.farm().worker(id(number)).is_none());
            continue;
        }
        assert_eq!(answer, Err(Refused::Worker(Refusal::NotRemovable)), "{state:?}");
        let job = farm.worker(number).occupation.map(|occupation| occupation.request);
        farm.controller.deregister("admin", id(number), true, None).await.unwrap();
        assert!(farm.controller.farm().worker(id(number)).is_none(), "{state:?}");
        if let Some(job) = job {
            let request = farm.request(job);
            assert_eq!((request.state, request.ended_by.as_deref()), (request::State::Failed, Some("admin")));
            assert!(request.reason.as_ref().unwrap().ends_with(": removed"), "{request:?}");
        }
    }
    farm.settle().await;
    farm.check_settled();
    assert_eq!(farm.controller.running_tasks(), 0);
    // The same board comes back, and its first life is forgotten.
    put(&farm, 2, State::Prepare).await;
    farm.fakes.drivers.behave(Some(id(2)), "prepare", Behaviour::Instant);
    farm.controller.deregister("admin", id(2), true, None).await.unwrap();
    assert_eq!(farm.add(2, &[]).await.revision, 1);
    farm.want_idle(2).await;
    farm.worker_is(2, State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn edits_change_no_state_and_say_what_changed() {
    let farm = Farm::new().await;
    farm.idle(1, &[("a", "1")]).await;
    let before = farm.worker(1);
    let edit = Edit {
        groups: Some(Some(vec!["z".to_owned(), "b".to_owned()])),
        capabilities: Some([("a".to_owned(), "2".to_owned())].into()),
        host: Some(Some("rack".to_owned())),
        notes: None,
        driver_version: None,
    };
    let after =
        farm.controller.edit_worker("admin", id(1), edit.clone(), Some(before.revision)).await.unwrap();
    assert_eq!((after.state, after.generation), (State::Idle, before.generation));
    assert_eq!(after.groups(), ["b", "z"]);
    assert_eq!(after.capabilities.effective().get("a").unwrap(), "2");
    assert_eq!(farm.events("worker.edited")[0].note.as_deref(), Some("groups, capabilities, host"));
    let again = farm.controller.edit_worker("admin", id(1), edit, None).await.unwrap();
    assert_eq!(again.revision, after.revision, "the same edit is none");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn whoever_saw_an_older_revision_is_refused() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let current = farm.worker(1).revision;
    let refused = Refused::Revision { current };
    let old = Some(current + 1);
    let want = Want::Idle { force: false };
    assert_eq!(farm.controller.move_worker("admin", id(1), want, old).await, Err(refused.clone()));
    let edit = farm.controller.edit_worker("admin", id(1), Edit::default(), old).await;
    assert_eq!(edit, Err(refused.clone()));
    assert_eq!(farm.controller.deregister("admin", id(1), false, old).await, Err(refused.clone()));
    let again = farm.controller.register("board", id(1), registration(&[]), Edit::default(), old).await;
    assert_eq!(again, Err(refused));
    let unknown = farm.controller.register("board", id(2), registration(&[]), Edit::default(), Some(1)).await;
    assert_eq!(unknown, Err(Refused::NoSuchWorker));
    farm.controller.move_worker("admin", id(1), want, Some(current)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drivers_and_caps_are_checked_at_the_door() {
    let caps = Caps { workers: 2, ..Caps::default() };
    let farm = Farm::with(Settings { caps, ..Settings::default() }).await;
    let mut unknown = registration(&[]);
    unknown.driver = "nobody".to_owned();
    let answer = farm.controller.register("board", id(1), unknown, Edit::default(), None).await;
    let known = vec!["fake".to_owned()];
    assert_eq!(answer, Err(Refused::UnknownDriver { name: "nobody".to_owned(), known }));
    let mut bad = registration(&[]);
    bad.driver_config = r#"{"bad":1}"#.to_owned();
    let answer = farm.controller.register("board", id(1), bad, Edit::default(), None).await;
    assert_eq!(answer, Err(Refused::DriverConfig("field bad: not wanted".to_owned())));
    farm.add(1, &[]).await;
    farm.add(2, &[]).await;
    let third = farm.controller.register("board", id(3), registration(&[]), Edit::default(), None).await;
    assert_eq!(third, Err(Refused::Full { what: "workers", limit: 2 }));
    farm.add(2, &[]).await;
    farm.controller.deregister("admin", id(1), false, None).await.unwrap();
    farm.add(3, &[]).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn the_admins_remarks_travel_with_a_registration() {
    let farm = Farm::new().await;
    let edit = Edit { groups: Some(Some(vec!["lab".to_owned()])), ..Edit::default() };
    let (worker, _) =
        farm.controller.register("board", id(1), registration(&[]), edit.clone(), None).await.unwrap();
    assert_eq!((worker.revision, worker.groups()), (1, &["lab".to_owned()][..]));
    let (again, _) = farm.controller.register("board", id(1), registration(&[]), edit, None).await.unwrap();
    assert_eq!(again.revision, 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_drained_and_that_is_called_off() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    let drain = async |farm: &Farm| {
        farm.controller.move_worker("admin", id(1), Want::MaintenanceWhenFree, None).await
    };
    assert!(drain(&farm).await.unwrap().drain);
    assert!(drain(&farm).await.unwrap().drain, "it may be said twice");
    assert_eq!(farm.events("worker.drain").len(), 1);
    farm.want_idle(1).await;
    assert!(!farm.worker(1).drain);
    drain(&farm).await.unwrap();
    farm.crash_and_restart().await;
    assert_eq!(farm.request(request).state, request::State::InProgress, "its user notices nothing");
    let next = farm.ask(&[]).await;
    farm.close(request).await;
    farm.worker_is(1, State::Maintenance).await;
    assert_eq!(farm.request(next).state, request::State::Waiting);
    assert!(!farm.worker(1).drain);
    farm.want_idle(1).await;
    farm.request_is(next, request::State::InProgress).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_a_person_reports_broken_stays_out() {
    let mut farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let broken =
        farm.controller.report_failure("user:ann", id(1), "its fan fell off".to_owned(), true, None).await;
    assert_eq!(broken.unwrap().state, State::Failed);
    farm.pass(Duration::from_secs(7200)).await;
    farm.crash_and_restart().await;
    farm.report_failure(1, "no answer").await;
    farm.add(1, &[]).await;
    farm.pass(Duration::from_secs(7200)).await;
    let worker = farm.worker(1);
    assert_eq!((worker.state, worker.reason.as_deref()), (State::Failed, Some("its fan fell off")));
    assert_eq!(farm.events("worker.quarantined").len(), 0, "it has not failed often");
    farm.controller.move_worker("admin", id(1), Want::Idle { force: true }, None).await.unwrap();
    farm.worker_is(1, State::Idle).await;
    farm.check_settled();
}
