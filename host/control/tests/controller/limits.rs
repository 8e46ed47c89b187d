//! Limits on running tasks, the farm's mode, and who waits for what.

use std::time::Duration;

use futures_util::FutureExt;
use grove_control::Want;
use grove_control::fakes::Behaviour;
use grove_control::refusal::Refused;
use grove_domain::id::RequestId;
use grove_domain::limit::Scope;
use grove_domain::mode::{Mode, RunningJobs};
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request::State;
use grove_domain::task::{Phase, TaskKind};
use grove_domain::worker::{self, Edit};

use crate::support::{Farm, id, registration, version, wish};

impl Farm {
    async fn limit(&self, scope: Scope, value: Option<u32>) {
        self.controller.set_limit("admin", scope, value, None).await.unwrap();
    }

    async fn maintenance(&self, running: RunningJobs) {
        let until = Some(after(self.now(), SignedDuration::from_hours(1)));
        let mode = Mode::Maintenance { reason: "new rack".to_owned(), until };
        self.controller.set_mode("admin", mode, running, None).await.unwrap();
    }

    async fn normal(&self) {
        self.controller.set_mode("admin", Mode::Normal, RunningJobs::Drain, None).await.unwrap();
    }

    fn running_now(&self) -> usize {
        let live = self.fakes.store.live_tasks();
        live.iter().filter(|task| task.status.phase == Phase::Running).count()
    }

    async fn at_host(&self, number: u128, host: &str) {
        let edit = Edit { host: Some(Some(host.to_owned())), ..Edit::default() };
        let registered = self.controller.register("board", id(number), registration(&[]), edit, None).await;
        registered.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_limits_a_task_starts_in_the_batch_that_queues_it() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let before = farm.fakes.store.commits();
    farm.behave("prepare", Behaviour::Hang);
    farm.want_idle(1).await;
    farm.settle().await;
    assert_eq!(farm.fakes.store.commits(), before + 1);
    let task = farm.fakes.store.live_tasks()[0].clone();
    assert_eq!((task.status.phase, task.revision), (Phase::Running, 1));
    assert_eq!(task.status.instance, Some(farm.controller.instance().id));
    assert!(task.status.started.is_some() && task.status.deadline.is_some());
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_never_exceed_the_limits_and_all_get_their_turn() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let farm = Farm::new().await;
        farm.behave("prepare", Behaviour::After(Duration::from_millis(200)));
        let (whole, rack) = (rng.u32(1..6), rng.u32(1..4));
        farm.limit(Scope::Farm, Some(whole)).await;
        farm.limit(Scope::Host("h1".to_owned()), Some(rack)).await;
        farm.limit(Scope::Driver("fake".to_owned()), rng.bool().then_some(whole + 1)).await;
        let mut asks = tokio::task::JoinSet::new();
        for number in 1..=50_u128 {
            farm.at_host(number, if rng.bool() { "h1" } else { "h2" }).await;
            let controller = farm.controller.clone();
            let wait = Duration::from_millis(rng.u64(0..300));
            asks.spawn(async move {
                tokio::time::sleep(wait).await;
                controller.move_worker("admin", id(number), Want::Idle { force: false }, None).await
            });
        }
        // The store of these tests refuses a row that breaks a limit.
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(farm.running_now() <= whole as usize);
            let hosts = farm.controller.farm().running_in(&Scope::Host("h1".to_owned()));
            assert!(hosts <= rack as usize);
            farm.check_rows();
        }
        assert!(asks.join_all().await.iter().all(Result::is_ok));
        for number in 1..=50 {
            farm.worker_is(number, worker::State::Idle).await;
        }
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn freed_slots_go_by_class_then_age() {
    let farm = Farm::new().await;
    for number in 1..=5 {
        farm.idle(number, &[]).await;
    }
    farm.limit(Scope::Farm, Some(0)).await;
    farm.pass(Duration::from_secs(301)).await;
    // Looks wait, a board goes into maintenance, one is prepared, and a job is to be opened.
    farm.want_maintenance(1).await;
    farm.add(6, &[]).await;
    farm.want_idle(6).await;
    let wanted = format!("UUID={}", id(2));
    let request = farm.ask(&[&wanted]).await;
    farm.settle().await;
    assert_eq!(farm.running_now(), 0);
    let why = farm.controller.why(request).await.unwrap();
    assert_eq!((why[0].code, why[0].worker), ("limit", None));
    assert_eq!(why[0].text, "1 idle worker cannot be opened: the limit of farm is 0, nothing starts");
    farm.fakes.drivers.forget_calls();
    farm.limit(Scope::Farm, Some(1)).await;
    farm.pass(Duration::from_secs(1)).await;
    let order = farm.fakes.drivers.calls();
    let expected = [(id(2), "check"), (id(2), "authorize"), (id(6), "prepare"), (id(1), "maintain")];
    assert_eq!(order[..4], expected);
    assert!(order[4..].iter().all(|(_, call)| *call == "check"), "{order:?}");
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_board_that_cannot_be_opened_is_no_candidate() {
    for policy in ["fake", ""] {
        let farm = Farm::new().await;
        farm.fakes.policies.activate(policy, None);
        farm.controller.policy_changed().await;
        farm.at_host(1, "rackA").await;
        farm.add(2, &[("more", "1")]).await;
        for number in 1..=2 {
            farm.want_idle(number).await;
            farm.worker_is(number, worker::State::Idle).await;
        }
        farm.limit(Scope::Host("rackA".to_owned()), Some(0)).await;
        let first = farm.ask(&[]).await;
        farm.request_is(first, State::InProgress).await;
        assert_eq!(farm.request(first).running_job().unwrap().worker, id(2));
        let second = farm.ask(&[]).await;
        farm.settle().await;
        let why = farm.controller.why(second).await.unwrap();
        let limit = "1 idle worker cannot be opened: the limit of host rackA is 0, nothing starts";
        assert!(why.iter().any(|reason| reason.code == "limit" && reason.text == limit), "{why:?}");
        farm.limit(Scope::Host("rackA".to_owned()), None).await;
        farm.request_is(second, State::InProgress).await;
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn boards_wait_for_a_place_while_others_are_there() {
    let farm = Farm::new().await;
    farm.limit(Scope::Host("rackA".to_owned()), Some(1)).await;
    for number in 1..=2 {
        farm.at_host(number, "rackA").await;
    }
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(5)));
    farm.want_idle(2).await;
    farm.settle().await;
    let request = farm.ask(&[]).await;
    farm.settle().await;
    assert_eq!((farm.request(request).reserved, farm.worker(1).state), (None, worker::State::Idle));
    farm.pass(Duration::from_secs(5)).await;
    farm.request_is(request, State::InProgress).await;
    assert_eq!(farm.request(request).running_job().unwrap().worker, id(1));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_cannot_be_opened_goes_back() {
    let farm = Farm::new().await;
    farm.at_host(1, "rackA").await;
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.behave("check", Behaviour::Stubborn(Duration::from_secs(5)));
    farm.pass(Duration::from_secs(301)).await;
    let request = farm.ask(&[]).await;
    farm.settle().await;
    assert_eq!(farm.request(request).reserved, Some(id(1)), "it waits for the look to end");
    farm.limit(Scope::Host("rackA".to_owned()), Some(0)).await;
    farm.idle(2, &[("more", "1")]).await;
    farm.pass(Duration::from_secs(6)).await;
    farm.request_is(request, State::InProgress).await;
    assert_eq!(farm.request(request).running_job().unwrap().worker, id(2));
    let left = farm.worker(1);
    assert_eq!((left.state, left.recovery.relapses), (worker::State::Idle, 0));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_ends_nothing_and_a_superseded_task_never_ran() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(5)));
    for number in 1..=4 {
        farm.idle_soon(number, &[]).await;
    }
    farm.limit(Scope::Farm, Some(1)).await;
    assert_eq!(farm.running_now(), 4);
    farm.idle_soon(5, &[]).await;
    farm.settle().await;
    let (waiting, _) = farm.worker(5).task.unwrap();
    assert_eq!(farm.controller.task(waiting).await.unwrap().status.phase, Phase::Waiting);
    farm.want_maintenance(5).await;
    let ended = farm.controller.task(waiting).await.unwrap();
    assert_eq!((ended.status.phase, ended.status.started), (Phase::Cancelled, None));
    assert_eq!(ended.status.error.as_deref(), Some("a newer state of the worker; it never ran"));
    farm.pass(Duration::from_secs(6)).await;
    assert_eq!((farm.running_now(), farm.calls(5)), (0, vec!["maintain"]));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_when_a_cut_off_driver_has_really_ended() {
    let farm = Farm::new().await;
    farm.limit(Scope::Farm, Some(1)).await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("cleanup", Behaviour::After(Duration::from_secs(3)));
    farm.idle_soon(1, &[]).await;
    farm.idle_soon(2, &[]).await;
    farm.settle().await;
    farm.fakes.drivers.behave(Some(id(2)), "prepare", Behaviour::Instant);
    farm.controller.report_failure("board", id(1), "smoke".to_owned(), false, None).await.unwrap();
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(farm.calls(2), [] as [&str; 0], "the first is still cleaning up");
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(farm.worker(2).state, worker::State::Idle);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn running_and_waiting_tasks_survive_a_restart() {
    let mut farm = Farm::new().await;
    farm.limit(Scope::Farm, Some(1)).await;
    farm.behave("prepare", Behaviour::Hang);
    for number in 1..=3 {
        farm.idle_soon(number, &[]).await;
    }
    farm.settle().await;
    let waiting = farm.worker(3).task.unwrap().0;
    farm.behave("prepare", Behaviour::After(Duration::from_secs(1)));
    farm.crash_and_restart().await;
    farm.check_rows();
    assert_eq!(farm.controller.limits()[0].value, Some(1));
    let ended = farm.fakes.store.ended_tasks();
    assert_eq!((ended.len(), ended[0].status.phase), (1, Phase::Failed));
    assert_eq!(farm.worker(3).task.unwrap().0, waiting, "what never ran goes on waiting");
    for _ in 0..40 {
        assert!(farm.running_now() <= 1);
        farm.pass(Duration::from_millis(100)).await;
    }
    for number in 1..=3 {
        assert_eq!(farm.worker(number).state, worker::State::Idle);
    }
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn limits_have_revisions_and_events() {
    let farm = Farm::new().await;
    let set = |value, expected| farm.controller.set_limit("user:ann", Scope::Farm, value, expected);
    assert_eq!(set(None, Some(0)).await.unwrap().revision, 0, "nothing changed");
    assert_eq!(set(Some(3), Some(0)).await.unwrap().revision, 1);
    assert_eq!(set(Some(4), Some(0)).await, Err(Refused::Revision { current: 1 }));
    assert_eq!(set(Some(3), Some(1)).await.unwrap().revision, 1);
    assert_eq!(set(None, Some(1)).await.unwrap().value, None);
    let told: Vec<_> =
        farm.events("limit.changed").into_iter().map(|event| (event.before, event.after)).collect();
    let words = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(words("unlimited"), words("3")), (words("3"), words("unlimited"))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_in_maintenance_and_what_is_not() {
    let farm = Farm::new().await;
    let running = farm.running(1).await;
    let waiting = farm.ask(&["laser"]).await;
    farm.maintenance(RunningJobs::Drain).await;
    let farm_ = &farm.controller;
    let want = Want::Maintenance { rerun: false, interrupt: true };
    let refused = [
        farm_.create_request("ann", wish(&[])).await.map(drop),
        farm_.update_request("ann", waiting, Some(1), None, None, None).await.map(drop),
        farm_.prolong("ann", running, None, false, None).await.map(drop),
        farm_.register("board", id(2), registration(&[]), Edit::default(), None).await.map(drop),
        farm_.edit_worker("admin", id(1), Edit::default(), None).await.map(drop),
        farm_.move_worker("admin", id(1), want, None).await.map(drop),
        farm_.move_worker("admin", id(1), Want::Idle { force: true }, None).await.map(drop),
        farm_.deregister("admin", id(1), true, None).await.map(drop),
        farm_.install_plugin("admin", version('A'), true, None).await.map(drop),
        farm_.enable_plugin("admin", "fake", None).await.map(drop),
    ];
    for (nth, answer) in refused.into_iter().enumerate() {
        let refused = answer.unwrap_err();
        assert!(matches!(refused, Refused::FarmMaintenance { .. }), "{nth}: {refused:?}");
        assert!(refused.to_string().contains("new rack; try again after 2026"), "{refused}");
    }
    // Reads and what winds down.
    farm_.heartbeat(running, false).await.unwrap();
    let why = farm_.why(waiting).await.unwrap();
    assert_eq!(why[0].code, "farm_maintenance");
    farm_.set_limit("admin", Scope::Farm, Some(9), None).await.unwrap();
    farm_.plugin_refused("admin", "fake", "no".to_owned()).await.unwrap();
    farm_.close_request("ann", waiting, None, None).await.unwrap();
    farm_.close_request("ann", running, None, None).await.unwrap();
    farm.settle().await;
    assert_eq!(farm.worker(1).state, worker::State::Idle, "the board is cleaned after its user");
    farm_.report_failure("board", id(1), "smoke".to_owned(), false, None).await.unwrap();
    let gone = grove_domain::id::TaskId(grove_domain::id::Uuid::nil());
    assert_eq!(farm_.cancel_task("admin", gone).await, Err(Refused::TaskEnded));
    farm.normal().await;
    let told: Vec<_> = farm.events("farm.mode").into_iter().filter_map(|event| event.after).collect();
    assert_eq!(told, ["maintenance", "normal"]);
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn maintenance_drains_or_cuts_survives_and_everything_goes_on() {
    for running in [RunningJobs::Drain, RunningJobs::Cut] {
        let mut farm = Farm::new().await;
        let job = farm.running(1).await;
        farm.idle(2, &[]).await;
        farm.behave("authorize", Behaviour::After(Duration::from_secs(2)));
        let opening = farm.ask(&[]).await;
        farm.settle().await;
        farm.idle(3, &[]).await;
        farm.maintenance(running).await;
        farm.pass(Duration::from_secs(3)).await;
        let (first, second) = (farm.request(job), farm.request(opening));
        if running == RunningJobs::Drain {
            assert_eq!((first.state, second.state), (State::InProgress, State::InProgress));
        } else {
            assert_eq!((first.state, second.state), (State::Done, State::Waiting));
            assert!(first.reason.as_ref().unwrap().contains("new rack"));
            assert_eq!(farm.worker(1).state, worker::State::Idle);
        }
        // No rounds, no looks, also after a restart.
        let calls = farm.calls(3).len();
        farm.crash_and_restart().await;
        farm.pass(Duration::from_secs(1000)).await;
        assert_eq!(farm.calls(3).len(), calls);
        assert!(farm.controller.farm().mode().mode.is_maintenance());
        assert_eq!(farm.request(job).state == State::InProgress, running == RunningJobs::Drain);
        farm.normal().await;
        farm.pass(Duration::from_secs(3)).await;
        assert_eq!(farm.request(opening).state, State::InProgress);
        farm.pass(Duration::from_secs(301)).await;
        assert!(farm.calls(3).contains(&"check") || farm.request(opening).running_job().is_some());
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_turn_asked_for_nothing_and_after_it_is_told_the_truth() {
    let farm = Farm::new().await;
    let before = (farm.fakes.store.commits(), farm.fakes.store.all_events().len());
    {
        let mut asking = Box::pin(farm.controller.create_request("ann", wish(&["laser"])));
        // Handed in, and not yet taken: nobody else has run since.
        assert!((&mut asking).now_or_never().is_none());
    }
    farm.settle().await;
    assert_eq!((farm.fakes.store.commits(), farm.fakes.store.all_events().len()), before);
    assert!(farm.fakes.store.requests().is_empty());

    farm.fakes.store.take(Duration::from_millis(50));
    {
        let mut asking = Box::pin(farm.controller.create_request("ann", wish(&["laser"])));
        assert!((&mut asking).now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    farm.pass(Duration::from_millis(100)).await;
    assert_eq!(farm.request(RequestId(1)).state, State::Waiting, "it was taken, and is carried out");
    assert_eq!(farm.ask(&["laser"]).await, RequestId(2));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_stored_task_holds_neither_keys_nor_configuration() {
    let farm = Farm::new().await;
    let mut secret = registration(&[]);
    secret.driver_config = r#"{"password":"hunter2"}"#.to_owned();
    farm.controller.register("board", id(1), secret, Edit::default(), None).await.unwrap();
    farm.want_idle(1).await;
    let mut keyless = wish(&[]);
    keyless.spec.keys.clear();
    let request = farm.create(keyless).await.id;
    farm.request_is(request, State::InProgress).await;
    assert!(farm.request(request).running_job().unwrap().access.private_key.is_some());
    farm.close(request).await;
    farm.settle().await;
    let tasks = farm.fakes.store.ended_tasks();
    assert!(tasks.iter().any(|task| task.spec.kind == TaskKind::Open));
    let text = format!("{tasks:?}");
    assert!(
        !text.contains("PRIVATE KEY") && !text.contains("hunter2") && !text.contains("ssh-rsa"),
        "{text}"
    );
}
