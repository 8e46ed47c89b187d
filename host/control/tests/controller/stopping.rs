//! The end of a controller: asked for, and not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_control::fakes::{Behaviour, Fakes};
use grove_control::ports::Tunnels;
use grove_control::refusal::Refused;
use grove_control::{Controller, Settings};
use grove_domain::id::{RequestId, TaskId};
use grove_domain::moment::Timestamp;
use grove_domain::request;
use grove_domain::task::{Phase, StepOutcome, TaskKind};
use grove_domain::worker::State;

use crate::support::{Farm, id, wish};

#[tokio::test(start_paused = true)]
async fn what_a_stop_cuts_off_is_on_record_and_begins_again() {
    let mut farm = Farm::new().await;
    farm.idle(3, &[]).await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("check", Behaviour::Hang);
    farm.pass(Duration::from_secs(301)).await;
    farm.idle_soon(1, &[]).await;
    farm.pass(Duration::from_secs(2)).await;
    let began = farm.controller.task(farm.worker(1).task.unwrap().0).await.unwrap().status.started;
    let cut_off = [farm.worker(1).task.unwrap(), farm.worker(3).task.unwrap()];
    farm.controller.stop().await;
    farm.check_invariants();
    let ended = farm.fakes.store.ended_tasks();
    for (task, kind) in cut_off {
        let row = ended.iter().find(|row| row.id == task).unwrap();
        assert_eq!((row.status.phase, row.spec.kind), (Phase::Cancelled, kind));
        assert_eq!(row.status.error.as_deref(), Some("the controller stopped"));
        assert!(row.status.started.is_some() && row.status.deadline.is_some(), "{row:?}");
        let steps: Vec<_> =
            row.status.steps.iter().map(|step| (step.kind.to_string(), step.outcome)).collect();
        let first = if kind == TaskKind::Check { "check" } else { "prepare" }.to_owned();
        let cancelled = Some(StepOutcome::Cancelled);
        assert_eq!(steps, [(first, cancelled), ("clean up".to_owned(), cancelled)]);
    }
    let row = ended.iter().find(|row| row.id == cut_off[0].0).unwrap();
    assert_eq!(row.status.started, began);
    let waiting = farm.fakes.store.live_tasks();
    assert_eq!((waiting.len(), waiting[0].spec.kind), (1, TaskKind::Prepare), "a mere look is not");
    assert_eq!(waiting[0].status.phase, Phase::Waiting);

    let before = farm.fakes.store.ended_tasks().len();
    farm.behave("prepare", Behaviour::Instant);
    farm.behave("check", Behaviour::Instant);
    farm.fakes.drivers.forget_calls();
    farm.crash_and_restart().await;
    assert_eq!(farm.fakes.store.ended_tasks().len(), before, "nothing is cancelled that never ran");
    farm.worker_is(1, State::Idle).await;
    let done = farm.controller.task(waiting[0].id).await.unwrap();
    assert_eq!(done.status.phase, Phase::Succeeded);
    farm.settle().await;
    assert_eq!((farm.calls(1), farm.calls(3)), (vec!["prepare"], vec!["check"]));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_another_task_is_not_cancelled() {
    let mut farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("cleanup", Behaviour::After(Duration::from_secs(3)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.want_maintenance(1).await;
    farm.settle().await;
    let (waiting, _) = farm.worker(1).task.unwrap();
    farm.controller.stop().await;
    let live = farm.fakes.store.live_tasks();
    assert_eq!(live.iter().map(|task| task.id).collect::<Vec<_>>(), [waiting]);
    farm.crash_and_restart().await;
    farm.worker_is(1, State::Maintenance).await;
    assert_eq!(farm.fakes.store.ended_tasks().len(), 2);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_even_what_a_stop_left_waiting_may_have_run() {
    let mut farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.controller.stop().await;
    farm.crash_and_restart().await;
    farm.settle().await;
    assert_eq!(farm.fakes.store.ended_tasks().len(), 1);
    // This life is killed: what it began is recorded by the next.
    farm.crash_and_restart().await;
    let ended = farm.fakes.store.ended_tasks();
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[1].status.error.as_deref(), Some("its instance died"));
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_the_last_moment_counts() {
    for moment in 0..12 {
        let mut farm = Farm::new().await;
        farm.idle(1, &[]).await;
        farm.behave("authorize", Behaviour::After(Duration::from_millis(5)));
        farm.behave("check", Behaviour::After(Duration::from_millis(3)));
        let request = farm.ask(&[]).await;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let asking = {
            let controller = farm.controller.clone();
            tokio::spawn(async move { controller.create_request("ann", wish(&["laser"])).await })
        };
        farm.controller.stop().await;
        farm.check_invariants();
        let answer = asking.await.unwrap();
        assert!(answer.is_ok() || answer == Err(Refused::Stopping), "{answer:?}");
        let opened = farm.fakes.store.requests()[0].running_job().is_some();
        assert_eq!(farm.fakes.store.live_tasks().is_empty(), opened, "it runs, or is opened again");
        farm.behave("authorize", Behaviour::Instant);
        farm.crash_and_restart().await;
        farm.request_is(request, request::State::InProgress).await;
        farm.settle().await;
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_nobody_left_to_ask_is_the_same() {
    let mut farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.controller = Controller::start(Fakes::new().parts(Settings::default())).await.unwrap();
    farm.settle().await;
    let ended = farm.fakes.store.ended_tasks();
    assert_eq!(ended.iter().map(|task| task.id).collect::<Vec<_>>(), [task]);
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_for_a_stop_learn_when_it_is_over() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.behave("cleanup", Behaviour::After(Duration::from_secs(3)));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let began = farm.now();
    let ended = farm.controller.ended();
    tokio::join!(farm.controller.stop(), farm.controller.stop());
    assert!(farm.now().duration_since(began).as_secs() >= 3);
    assert_eq!(farm.fakes.store.ended_tasks().len(), 1);
    assert_eq!(ended.now_or_never(), None, "it was asked for");
    let late = tokio::time::timeout(Duration::from_secs(9), farm.controller.ended()).await;
    assert!(late.is_err());
}

/// Breaks when it is told to.
#[derive(Clone, Default)]
struct Breaks(Arc<AtomicBool>);

impl Breaks {
    fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self, what: &str) {
        assert!(!self.0.load(Ordering::Relaxed), "{what}");
    }
}

struct BrokenTunnels(Arc<dyn Tunnels>, Breaks);

impl Tunnels for BrokenTunnels {
    fn claim(&self, job: RequestId) -> BoxFuture<'static, Result<(), String>> {
        self.0.claim(job)
    }

    fn open(
        &self,
        job: RequestId,
        target: (String, u16),
        had: Option<u16>,
    ) -> BoxFuture<'static, Result<u16, String>> {
        self.0.open(job, target, had)
    }

    fn reach(&self, target: (String, u16)) -> BoxFuture<'static, bool> {
        self.0.reach(target)
    }

    fn carried(&self, job: RequestId) -> u64 {
        self.0.carried(job)
    }

    fn close(&self, job: RequestId) -> BoxFuture<'static, ()> {
        self.1.check("no tunnel can be closed");
        self.0.close(job)
    }
}

/// A farm whose dispatcher breaks with the next task, or whose publisher breaks with the next job that ends.
async fn brittle() -> (Farm, Breaks, Breaks) {
    let fakes = Fakes::new();
    let settings = Settings::default();
    let (decides, publishes) = (Breaks::default(), Breaks::default());
    let mut parts = fakes.parts(settings.clone());
    let mut new_task_id = parts.new_task_id;
    let breaks = decides.clone();
    parts.new_task_id = Box::new(move |now: Timestamp| -> TaskId {
        breaks.check("out of ids");
        new_task_id(now)
    });
    parts.tunnels = Arc::new(BrokenTunnels(parts.tunnels, publishes.clone()));
    let controller = Controller::start(parts).await.unwrap();
    (Farm { fakes, controller, settings }, decides, publishes)
}

#[tokio::test(start_paused = true)]
async fn when_a_part_breaks_nothing_of_the_controller_lives_on() {
    for dispatcher in [true, false] {
        let (mut farm, decides, publishes) = brittle().await;
        let running = farm.running(1).await;
        farm.behave("prepare", Behaviour::Hang);
        farm.idle_soon(2, &[]).await;
        farm.settle().await;
        let ended = farm.controller.ended();
        let waiting = {
            let controller = farm.controller.clone();
            if dispatcher {
                decides.now()
            } else {
                publishes.now()
            }
            tokio::spawn(async move { controller.close_request("ann", running, None, None).await })
        };
        let reason = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
        let expected = if dispatcher {
            "the dispatcher broke: out of ids"
        } else {
            "the publisher broke: no tunnel can be closed"
        };
        assert_eq!(reason, expected);
        assert_eq!(waiting.await.unwrap(), Err(Refused::Stopping));
        assert_eq!(farm.calls(2), ["prepare", "cleanup"], "its tasks have ended");
        assert_eq!(farm.controller.create_request("ann", wish(&[])).await, Err(Refused::Stopping));
        assert_eq!(farm.controller.trouble().as_deref(), Some(expected));
        farm.controller.stop().await;
        let commits = farm.fakes.store.commits();
        farm.pass(Duration::from_secs(3600)).await;
        assert_eq!(farm.fakes.store.commits(), commits, "nothing is decided any more");
        // Who learns of it late learns it, too.
        assert_eq!(farm.controller.ended().await, expected);

        farm.behave("prepare", Behaviour::Instant);
        farm.crash_and_restart().await;
        farm.worker_is(2, State::Idle).await;
        farm.pass(Duration::from_secs(3)).await;
        farm.check_settled();
        assert!(farm.controller.farm().worker(id(1)).is_some());
    }
}
