//! Introspections: how they begin, how they end, and what they leave alone.

use std::sync::Arc;
use std::time::Duration;

use grove_control::Begin;
use grove_control::fakes::{Behaviour, Inspection};
use grove_control::ports::Abilities;
use grove_control::refusal::Refused;
use grove_domain::capability::Map;
use grove_domain::id::{IntrospectionId, Uuid};
use grove_domain::introspection::{Kind, NotAdmitted, Refusal, State, Way};
use grove_domain::limit::Scope;
use grove_domain::moment::SignedDuration;
use grove_domain::request;
use grove_domain::task::{Phase, TaskKind};
use grove_domain::worker::{self, FailureKind};

use crate::support::introspections::{failing, found, map, send, settings, states};
use crate::support::{Farm, failure, id, token};

#[tokio::test(start_paused = true)]
async fn a_driver_reads_a_board_and_a_request_meets_what_nobody_typed() {
    let farm = Farm::new().await;
    farm.add(1, &[("board", "pi")]).await;
    let before = farm.worker(1);
    let wanted = farm.ask(&["cpus>=4"]).await;
    let run = farm.pull(1).await;
    let ended = farm.run_is(run, State::Finished).await;
    assert_eq!((ended.way, ended.worker), (Way::Pull, Some(id(1))));
    assert_eq!(ended.finished, Some(ended.since));
    assert_eq!(states(&farm, run), ["starting", "waiting", "processing", "finished"]);
    farm.settle().await;
    let after = farm.worker(1);
    assert_eq!(found(&farm, 1), map(&[("cpus", "4")]));
    assert_eq!((after.state, after.generation), (worker::State::Maintenance, before.generation));
    assert_eq!((after.since, after.task), (before.since, None), "it was nowhere else");
    assert_eq!(farm.calls(1), ["inventory"]);
    let task = farm.fakes.store.ended_tasks().pop().unwrap();
    assert_eq!((task.spec.kind, task.status.phase), (TaskKind::Introspect, Phase::Succeeded));
    let steps: Vec<_> = task.status.steps.iter().map(|step| step.kind.to_string()).collect();
    assert_eq!(steps, ["read the inventory", "process the inventory"]);
    assert_eq!(farm.controller.inventory(run, Kind::Raw).await.unwrap().as_deref(), Some("{\"cpus\":4}"));
    let findings = farm.controller.findings(run).await.unwrap().unwrap();
    assert_eq!(findings.by, map(&[("cpus", "inspector/fake-inspector")]));
    let told = farm.events("worker.capabilities").pop().unwrap();
    assert_eq!((told.before.as_deref(), told.after.as_deref()), (Some(""), Some("cpus=4")));
    farm.want_idle(1).await;
    farm.request_is(wanted, request::State::InProgress).await;
    // Registering as before is no change, whatever was found.
    farm.add(1, &[("board", "pi")]).await;
    assert_eq!(farm.worker(1).state, worker::State::Running);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_board_sends_its_inventory_once() {
    let mut farm = Farm::new().await;
    farm.add(1, &[]).await;
    let run = farm.push(1, 'a').await;
    farm.run_is(run, State::Waiting).await;
    assert_eq!(farm.calls(1), ["power"], "it was started anew");
    assert_eq!(farm.worker(1).task, None, "nothing runs while it is waited for");
    assert_eq!(
        send(&farm, run, 'b', "{\"usb\":1}").await,
        Err(Refused::NotAdmitted(NotAdmitted::WrongToken))
    );
    assert_eq!(farm.run(run).state, State::Waiting);
    // It waits on, whoever decides.
    farm.crash_and_restart().await;
    farm.pass(Duration::from_secs(1800)).await;
    assert_eq!(farm.run(run).state, State::Waiting);
    assert_eq!(farm.calls(1), ["power"]);
    assert_eq!(send(&farm, run, 'a', "{\"usb\":1}").await, Ok(State::Processing));
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1), map(&[("usb", "1")]));
    let again = send(&farm, run, 'a', "{\"usb\":2}").await;
    assert_eq!(again, Err(Refused::NotAdmitted(NotAdmitted::Used)));
    // Also when a later run is what memory holds.
    let later = farm.pull(1).await;
    farm.run_is(later, State::Finished).await;
    assert!(farm.controller.farm().introspection(run).is_none());
    let again = send(&farm, run, 'a', "{\"usb\":2}").await;
    assert_eq!(again, Err(Refused::NotAdmitted(NotAdmitted::Used)));
    assert_eq!(send(&farm, run, 'b', "{}").await, Err(Refused::NotAdmitted(NotAdmitted::WrongToken)));
    let nobody = IntrospectionId(Uuid::from_u128(99));
    assert_eq!(send(&farm, nobody, 'a', "{}").await, Err(Refused::NoSuchIntrospection));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_board_that_cannot_be_switched_is_just_waited_for() {
    let farm = Farm::new().await;
    farm.fakes.drivers.can(Abilities { power: false, introspect: false });
    farm.add(1, &[]).await;
    let cannot = farm.controller.start_introspection("admin", id(1), Begin::Pull, None).await;
    assert_eq!(cannot.unwrap_err(), Refused::CannotIntrospect("fake".to_owned()));
    let run = farm.push(1, 'a').await;
    assert_eq!(farm.run(run).state, State::Waiting, "when it is answered");
    assert!(farm.fakes.store.live_tasks().is_empty());
    // Nothing can be switched off either: it ends at once.
    let aborted = farm.controller.abort_introspection("admin", run, None).await.unwrap();
    assert_eq!((aborted.state, aborted.error.as_deref()), (State::Error, Some("aborted by admin")));
    assert_eq!(states(&farm, run), ["starting", "waiting", "aborting", "error"]);
    assert!(farm.calls(1).is_empty());
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn who_may_not_begin_is_told_so_at_once() {
    let farm = Farm::new().await;
    let begin = async |number, expected| {
        let begun = farm.controller.start_introspection("admin", id(number), Begin::Pull, expected).await;
        begun.map(|run| run.id)
    };
    assert_eq!(begin(1, None).await, Err(Refused::NoSuchWorker));
    farm.idle(1, &[]).await;
    assert_eq!(begin(1, None).await, Err(Refused::Worker(worker::Refusal::NotInMaintenance)));
    farm.add(2, &[]).await;
    assert_eq!(begin(2, Some(7)).await, Err(Refused::Revision { current: 1 }));
    farm.behave("inventory", Behaviour::Hang);
    let run = begin(2, Some(1)).await.unwrap();
    farm.settle().await;
    // A run that waits gives way to a newer one; one that works does not.
    let newer = begin(2, None).await.unwrap();
    assert_eq!(farm.run(run).error.as_deref(), Some("a newer introspection was started"));
    assert!(newer > run);
    farm.behave("inventory", Behaviour::Instant);
    farm.fakes.inspectors.behave(Inspection::Hang);
    farm.controller.abort_introspection("admin", newer, None).await.unwrap();
    farm.run_is(newer, State::Error).await;
    let last = begin(2, None).await.unwrap();
    farm.run_is(last, State::Processing).await;
    assert_eq!(begin(2, None).await, Err(Refused::UnderWay(last)));
    assert_eq!(farm.controller.farm().newest_introspection(id(2)).unwrap().id, last);
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn abort_switches_the_board_off_and_says_who() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.behave("inventory", Behaviour::Hang);
    farm.behave("power", Behaviour::After(Duration::from_millis(500)));
    let run = farm.pull(1).await;
    farm.run_is(run, State::Waiting).await;
    let wrong = farm.controller.abort_introspection("user:ann", run, Some(1)).await;
    assert_eq!(wrong.unwrap_err(), Refused::Revision { current: 2 });
    let aborting = farm.controller.abort_introspection("user:ann", run, Some(2)).await.unwrap();
    assert_eq!(aborting.state, State::Aborting);
    // Not twice.
    let twice = farm.controller.abort_introspection("user:bob", run, None).await;
    let refused = Refusal::NotNow { state: State::Aborting, event: "abort" };
    assert_eq!(twice.unwrap_err(), Refused::Introspection(refused));
    let ended = farm.run_is(run, State::Error).await;
    assert_eq!(ended.error.as_deref(), Some("aborted by user:ann"));
    farm.settle().await;
    assert_eq!(farm.calls(1), ["inventory", "cleanup", "power"]);
    let kinds: Vec<_> =
        farm.fakes.store.ended_tasks().iter().map(|task| (task.spec.kind, task.status.phase)).collect();
    assert_eq!(kinds, [(TaskKind::Introspect, Phase::Cancelled), (TaskKind::PowerOff, Phase::Succeeded)]);
    assert_eq!(farm.worker(1).state, worker::State::Maintenance);
    // Of one that failed, an abort changes nothing: not a revision, not the board.
    let again = farm.controller.abort_introspection("user:bob", run, None).await.unwrap();
    assert_eq!(again, farm.run(run));
    assert_eq!(again.error.as_deref(), Some("aborted by user:ann"));
    farm.settle().await;
    assert_eq!(farm.calls(1).len(), 3);
    // One that ended well has nothing to be aborted.
    farm.behave("inventory", Behaviour::Instant);
    let run = farm.pull(1).await;
    farm.run_is(run, State::Finished).await;
    let refused = farm.controller.abort_introspection("user:bob", run, None).await.unwrap_err();
    let expected = Refusal::NotNow { state: State::Finished, event: "abort" };
    assert_eq!(refused, Refused::Introspection(expected));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn abort_during_processing_leaves_everything_as_it_was() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let first = farm.pull(1).await;
    farm.run_is(first, State::Finished).await;
    farm.fakes.drivers.inventory(id(1), "{\"cpus\":8}");
    farm.fakes.inspectors.behave(Inspection::Hang);
    let run = farm.pull(1).await;
    farm.run_is(run, State::Processing).await;
    farm.settle().await;
    assert_eq!(farm.fakes.inspectors.active(), 1);
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    let ended = farm.run_is(run, State::Error).await;
    farm.settle().await;
    assert_eq!(ended.error.as_deref(), Some("aborted by admin"));
    assert_eq!(farm.fakes.inspectors.active(), 0, "it was stopped");
    assert_eq!(found(&farm, 1), map(&[("cpus", "4")]));
    assert_eq!(farm.calls(1).last(), Some(&"power"));
    assert!(ended.has_raw && !ended.has_processed);
    // What it had read can be processed another time.
    farm.fakes.inspectors.behave(Inspection::Instant);
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Finished).await;
    assert_eq!(found(&farm, 1), map(&[("cpus", "8")]));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn trouble_with_the_board_of_an_aborted_run_is_told() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.behave("inventory", Behaviour::Hang);
    farm.behave("power", failure("the relay sticks"));
    let run = farm.pull(1).await;
    farm.run_is(run, State::Waiting).await;
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    let ended = farm.run_is(run, State::Error).await;
    let error = "aborted by admin; the board could not be switched off: the relay sticks";
    assert_eq!(ended.error.as_deref(), Some(error));
    // A driver that turns out not to be able to is no trouble.
    let no = Behaviour::Fail(FailureKind::Unsupported, "no relay".to_owned());
    farm.behave("power", no);
    let run = farm.pull(1).await;
    farm.run_is(run, State::Waiting).await;
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    assert_eq!(farm.run_is(run, State::Error).await.error.as_deref(), Some("aborted by admin"));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_an_abort_is_refused() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let run = farm.push(1, 'a').await;
    farm.run_is(run, State::Waiting).await;
    farm.behave("power", Behaviour::Hang);
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    let late = || Err(Refused::NotAdmitted(NotAdmitted::Late("aborted by admin".to_owned())));
    assert_eq!(send(&farm, run, 'a', "{\"usb\":1}").await, late(), "while it is switched off");
    farm.behave("power", Behaviour::Instant);
    farm.pass(Duration::from_secs(70)).await;
    let error = farm.run_is(run, State::Error).await.error.clone().unwrap();
    assert_eq!(error, "aborted by admin; the board could not be switched off: deadline passed");
    assert_eq!(send(&farm, run, 'a', "{}").await, Err(Refused::NotAdmitted(NotAdmitted::Late(error))));
    assert_eq!(found(&farm, 1), Map::new());
    assert_eq!(farm.fakes.store.inventory_of(run, Kind::Raw), None);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn each_state_has_its_longest_time() {
    let minute = Duration::from_secs(60);
    let short = SignedDuration::from_secs(10);
    let farm = Farm::with(settings(|introspection| introspection.rules.aborting = short)).await;
    for number in 1..=4 {
        farm.add(number, &[]).await;
    }
    let finished = farm.pull(4).await;
    farm.run_is(finished, State::Finished).await;
    // STARTING: the board is being started.
    farm.fakes.drivers.behave(Some(id(1)), "power", Behaviour::Hang);
    let starting = farm.push(1, 'a').await;
    // WAITING: nothing comes.
    let waiting = farm.push(2, 'b').await;
    // PROCESSING and REAPPLYING: inspectors never end.
    farm.fakes.inspectors.behave(Inspection::Hang);
    let processing = farm.pull(3).await;
    farm.controller.reapply_introspection("admin", finished, None).await.unwrap();
    let enrolling = farm.controller.enrol("board", "{}".into()).await.unwrap().id;
    farm.settle().await;
    let now = || [starting, waiting, processing, finished, enrolling].map(|run| farm.run(run).state);
    let (s, w, p, r, e) =
        (State::Starting, State::Waiting, State::Processing, State::Reapplying, State::Enrolling);
    assert_eq!(now(), [s, w, p, r, e]);
    let early = send(&farm, starting, 'a', "{}").await;
    assert_eq!(early, Err(Refused::NotAdmitted(NotAdmitted::Early)));
    farm.pass(minute * 5 - Duration::from_secs(1)).await;
    assert_eq!(now(), [s, w, p, r, e], "not a second early");
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(now(), [State::Error, w, State::Error, State::Error, State::Error]);
    let errors = [starting, processing, finished, enrolling].map(|run| farm.run(run).error.clone().unwrap());
    assert_eq!(
        errors,
        [
            "the board's driver was not done within 5m",
            "inspectors were not done within 5m",
            "inspectors were not done within 5m",
            "it was not decided whether the board becomes a worker within 5m",
        ]
    );
    farm.settle().await;
    assert_eq!(farm.fakes.inspectors.active(), 0);
    assert!(farm.fakes.store.live_tasks().is_empty(), "the tasks that waited for them are over");
    assert_eq!(found(&farm, 4), map(&[("cpus", "4")]), "what was found before stays");
    farm.pass(minute * 55).await;
    assert_eq!(farm.run(waiting).error.as_deref(), Some("no inventory came within 1h"));
    let late = NotAdmitted::Late("no inventory came within 1h".to_owned());
    assert_eq!(send(&farm, waiting, 'b', "{}").await, Err(Refused::NotAdmitted(late)));
    // ABORTING: the relay does not answer.
    farm.fakes.drivers.behave(Some(id(2)), "power", Behaviour::Hang);
    farm.behave("inventory", Behaviour::Hang);
    let aborting = farm.pull(2).await;
    farm.run_is(aborting, State::Waiting).await;
    farm.controller.abort_introspection("admin", aborting, None).await.unwrap();
    farm.pass(Duration::from_secs(11)).await;
    let error = "aborted by admin; the board was not switched off within 10s";
    assert_eq!(farm.run(aborting).error.as_deref(), Some(error));
    farm.settle().await;
    assert!(farm.fakes.store.live_tasks().is_empty());
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_is_not_late() {
    let farm = Farm::with(settings(|introspection| introspection.at_once = 1)).await;
    farm.controller.set_limit("admin", Scope::Farm, Some(1), None).await.unwrap();
    for number in 1..=3 {
        farm.add(number, &[]).await;
    }
    farm.behave("inventory", Behaviour::After(Duration::from_secs(600)));
    let runs = [farm.pull(1).await, farm.pull(2).await, farm.push(3, 'a').await];
    farm.pass(Duration::from_secs(590)).await;
    assert_eq!(runs.map(|run| farm.run(run).state), [State::Waiting, State::Starting, State::Starting]);
    farm.pass(Duration::from_secs(620)).await;
    assert_eq!(runs.map(|run| farm.run(run).state), [State::Finished, State::Finished, State::Waiting]);
    // Of two inventories one waits for the other.
    farm.fakes.inspectors.behave(Inspection::After(Duration::from_secs(280)));
    let again = farm.controller.reapply_all("admin").await.unwrap();
    assert_eq!(again, [runs[0], runs[1]], "a run that waits for its board is left alone");
    farm.pass(Duration::from_secs(570)).await;
    assert_eq!(runs.map(|run| farm.run(run).state), [State::Finished, State::Finished, State::Waiting]);
    assert_eq!(farm.fakes.inspectors.most_active(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_of_the_worker_ends_what_was_begun() {
    let farm = Farm::new().await;
    // While the driver reads; while the board is waited for; while inspectors work.
    for (number, letter) in [(1, None), (2, Some('a')), (3, Some('b'))] {
        farm.add(number, &[]).await;
        farm.behave("inventory", Behaviour::Hang);
        farm.fakes.inspectors.behave(Inspection::Hang);
        let run = match letter {
            None => farm.pull(number).await,
            Some(letter) => farm.push(number, letter).await,
        };
        farm.run_is(run, State::Waiting).await;
        if number == 3 {
            send(&farm, run, 'b', "{\"usb\":1}").await.unwrap();
            farm.settle().await;
        }
        farm.want_idle(number).await;
        let ended = farm.run(run);
        let error = "superseded: the worker is in prepare";
        assert_eq!(
            (ended.state, ended.error.as_deref()),
            (State::Error, Some(error)),
            "with the same answer"
        );
        farm.worker_is(number, worker::State::Idle).await;
        assert_eq!(found(&farm, number), Map::new());
        assert_eq!(farm.fakes.inspectors.active(), 0);
        let power = farm.calls(number).iter().filter(|call| **call == "power").count();
        assert_eq!(power, usize::from(letter.is_some()), "it is not switched off");
    }
    // Another registration is another board.
    farm.add(4, &[]).await;
    let run = farm.pull(4).await;
    farm.run_is(run, State::Waiting).await;
    farm.add(4, &[("board", "other")]).await;
    assert_eq!(farm.run(run).error.as_deref(), Some("superseded: the worker is in busy"));
    // While it is being switched off.
    farm.worker_is(4, worker::State::Maintenance).await;
    let run = farm.pull(4).await;
    farm.run_is(run, State::Waiting).await;
    farm.behave("power", Behaviour::Hang);
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    farm.settle().await;
    farm.want_idle(4).await;
    let error = "aborted by admin; the board could not be switched off: superseded: the worker is in prepare";
    assert_eq!(farm.run(run).error.as_deref(), Some(error));
    farm.worker_is(4, worker::State::Idle).await;
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_removed_worker_takes_its_introspections_with_it() {
    let mut farm = Farm::new().await;
    farm.add(1, &[]).await;
    let first = farm.pull(1).await;
    farm.run_is(first, State::Finished).await;
    farm.behave("inventory", Behaviour::Hang);
    let run = farm.pull(1).await;
    farm.run_is(run, State::Waiting).await;
    farm.controller.deregister("admin", id(1), false, None).await.unwrap();
    assert_eq!(states(&farm, run).last().map(String::as_str), Some("error"));
    let told = farm.events("introspection.state").pop().unwrap();
    assert!(told.note.unwrap().ends_with("superseded: the worker was removed"));
    assert_eq!(farm.controller.introspection(first).await.unwrap(), None);
    assert_eq!(farm.controller.introspection(run).await.unwrap(), None);
    assert_eq!(farm.controller.inventory(first, Kind::Raw).await.unwrap(), None);
    // One of the same name is another one.
    farm.add(1, &[]).await;
    assert_eq!(found(&farm, 1), Map::new());
    assert_eq!(farm.controller.farm().newest_introspection(id(1)), None);
    farm.crash_and_restart().await;
    assert_eq!(farm.controller.farm().newest_introspection(id(1)), None);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_cannot_read_ends_the_run_and_nothing_else() {
    let farm = Farm::new().await;
    for (number, behaviour, error) in [
        (1, failure("no answer"), "no answer"),
        (2, Behaviour::Die("trap".to_owned()), "trap"),
        (3, Behaviour::Hang, "deadline passed"),
    ] {
        farm.add(number, &[]).await;
        farm.fakes.drivers.behave(Some(id(number)), "inventory", behaviour);
        let run = farm.pull(number).await;
        farm.pass(Duration::from_secs(901)).await;
        assert_eq!(farm.run(run).error.as_deref(), Some(error));
        let worker = farm.worker(number);
        assert_eq!((worker.state, worker.task), (worker::State::Maintenance, None), "{error}");
    }
    // So does the admin who stops the task.
    farm.add(4, &[]).await;
    farm.behave("inventory", Behaviour::Hang);
    let run = farm.pull(4).await;
    farm.run_is(run, State::Waiting).await;
    let (task, _) = farm.worker(4).task.unwrap();
    farm.controller.cancel_task("admin", task).await.unwrap();
    assert_eq!(farm.run(run).error.as_deref(), Some("task cancelled by admin"));
    assert_eq!(farm.worker(4).state, worker::State::Maintenance);
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_board_becomes_a_worker_in_maintenance_or_is_refused() {
    let farm = Farm::with(settings(|introspection| introspection.enrolling = 2)).await;
    let enrol = async |inventory: String| farm.controller.enrol("board", inventory.into()).await;
    let named = |number: u128, driver: &str| {
        format!("{{\"uuid\":\"{}\",\"driver\":\"{driver}\",\"cpus\":4}}", Uuid::from_u128(number))
    };
    let run = enrol(named(5, "fake")).await.unwrap();
    assert_eq!((run.state, run.worker, run.way), (State::Enrolling, None, Way::Enrol));
    let ended = farm.run_is(run.id, State::Finished).await;
    assert_eq!(ended.worker, Some(id(5)));
    assert_eq!(states(&farm, run.id), ["enrolling", "processing", "finished"]);
    farm.pass(Duration::from_secs(600)).await;
    assert_eq!(
        (farm.worker(5).state, farm.worker(5).task),
        (worker::State::Maintenance, None),
        "never further"
    );
    assert_eq!(found(&farm, 5), map(&[("cpus", "4")]));
    let told = farm.events("worker.registered").pop().unwrap();
    assert_eq!(told.actor, "inspector:fake-inspector");
    for (inventory, expected) in [
        ("{}".to_owned(), "no inspector knows this board".to_owned()),
        (named(5, "fake"), format!("worker {} is registered already: introspect it instead", id(5))),
        (named(6, "laser"), "inspector/fake-inspector: there is no driver \"laser\"".to_owned()),
    ] {
        let run = enrol(inventory).await.unwrap();
        let ended = farm.run_is(run.id, State::Error).await;
        assert_eq!((ended.worker, ended.error.clone()), (None, Some(expected)));
        let again = farm.controller.reapply_introspection("admin", run.id, None).await;
        assert_eq!(again.unwrap_err(), Refused::Introspection(Refusal::NoWorker));
        assert!(farm.controller.farm().introspection(run.id).is_none(), "memory forgets it");
    }
    farm.fakes.inspectors.behave(Inspection::Hang);
    let first = enrol("{}".to_owned()).await.unwrap();
    enrol("{}".to_owned()).await.unwrap();
    let third = enrol("{}".to_owned()).await.unwrap_err();
    assert_eq!(third, Refused::Full { what: "boards that may become workers", limit: 2 });
    let aborted = farm.controller.abort_introspection("admin", first.id, None).await.unwrap();
    assert_eq!((aborted.state, aborted.error.as_deref()), (State::Error, Some("aborted by admin")));
    enrol("{}".to_owned()).await.unwrap();
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_be_introspected_before_it_is_first_prepared() {
    let mut farm = Farm::with(settings(|introspection| introspection.first = true)).await;
    farm.idle(1, &[]).await;
    assert_eq!(farm.calls(1), ["inventory", "prepare"]);
    assert_eq!(found(&farm, 1), map(&[("cpus", "4")]));
    let task = farm.fakes.store.ended_tasks().pop().unwrap();
    let steps: Vec<_> = task.status.steps.iter().map(|step| step.kind.text().into_owned()).collect();
    assert_eq!(
        (task.spec.kind, steps),
        (TaskKind::Prepare, vec!["introspect".into(), "process".into(), "prepare".into()])
    );
    // Once.
    farm.want_maintenance(1).await;
    farm.worker_is(1, worker::State::Maintenance).await;
    farm.crash_and_restart().await;
    farm.want_idle(1).await;
    farm.worker_is(1, worker::State::Idle).await;
    assert_eq!(farm.calls(1), ["inventory", "prepare", "maintain", "prepare"]);
    // What it finds wrong fails the worker.
    farm.controller.add_rule("admin", failing(3, "this board is recalled")).await.unwrap();
    farm.add(2, &[]).await;
    farm.want_idle(2).await;
    farm.worker_is(2, worker::State::Failed).await;
    let reason = farm.worker(2).reason.clone().unwrap();
    assert!(reason.ends_with(": this board is recalled"), "{reason}");
    assert!(!farm.calls(2).contains(&"prepare"));
    farm.controller.remove_rules("admin").await.unwrap();
    // A driver that cannot is not asked; one that turns out not to be able to goes on.
    farm.fakes.drivers.can(Abilities { power: false, introspect: false });
    farm.idle(3, &[]).await;
    assert_eq!(farm.calls(3), ["prepare"]);
    farm.fakes.drivers.can(Abilities { power: false, introspect: true });
    farm.behave("inventory", Behaviour::Fail(FailureKind::Unsupported, "not this board".to_owned()));
    farm.idle(4, &[]).await;
    assert_eq!(farm.calls(4), ["inventory", "prepare"]);
    let run = farm.controller.farm().newest_introspection(id(4)).unwrap().clone();
    assert_eq!(run.error.as_deref(), Some("not this board"));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn the_first_preparation_ends_with_its_introspection() {
    let mut farm = Farm::with(settings(|introspection| introspection.first = true)).await;
    farm.behave("inventory", Behaviour::Hang);
    farm.add(1, &[]).await;
    farm.want_idle(1).await;
    farm.settle().await;
    let run = farm.controller.farm().newest_introspection(id(1)).unwrap().id;
    assert_eq!(farm.run(run).state, State::Waiting);
    // A crash begins both again.
    farm.crash_and_restart().await;
    farm.settle().await;
    assert_eq!((farm.run(run).state, farm.worker(1).state), (State::Waiting, worker::State::Prepare));
    assert_eq!(farm.calls(1), ["inventory", "inventory"]);
    // There is nothing to switch off: the board is not in its admin's hands.
    let aborted = farm.controller.abort_introspection("admin", run, None).await.unwrap();
    assert_eq!(aborted.state, State::Error);
    farm.worker_is(1, worker::State::Failed).await;
    assert_eq!(farm.worker(1).reason.as_deref(), Some("aborted by admin"));
    assert_eq!(farm.calls(1), ["inventory", "inventory", "cleanup"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_farm_in_maintenance_only_winds_down() {
    use grove_domain::mode::{Mode, RunningJobs};
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.add(2, &[]).await;
    farm.behave("inventory", Behaviour::Hang);
    let run = farm.pull(1).await;
    let pushed = farm.push(2, 'a').await;
    farm.run_is(pushed, State::Waiting).await;
    farm.run_is(run, State::Waiting).await;
    let mode = Mode::Maintenance { reason: "new rack".to_owned(), until: None };
    farm.controller.set_mode("admin", mode, RunningJobs::Drain, None).await.unwrap();
    let refused = farm.controller.start_introspection("admin", id(2), Begin::Pull, None).await;
    assert!(matches!(refused, Err(Refused::FarmMaintenance { .. })));
    assert!(matches!(farm.controller.reapply_all("admin").await, Err(Refused::FarmMaintenance { .. })));
    assert!(matches!(
        farm.controller.enrol("board", "{}".into()).await,
        Err(Refused::FarmMaintenance { .. })
    ));
    // What was begun is let end; what is aborted is switched off.
    assert_eq!(send(&farm, pushed, 'a', "{\"usb\":1}").await, Ok(State::Processing));
    farm.run_is(pushed, State::Finished).await;
    farm.controller.abort_introspection("admin", run, None).await.unwrap();
    farm.run_is(run, State::Error).await;
    assert_eq!(farm.calls(1).last(), Some(&"power"));
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_workers_at_most_twenty_at_once_and_none_is_forgotten() {
    let farm = Farm::new().await;
    farm.controller.set_limit("admin", Scope::Farm, Some(20), None).await.unwrap();
    for number in 1..=1000 {
        farm.add(number, &[]).await;
    }
    farm.behave("inventory", Behaviour::After(Duration::from_secs(5)));
    farm.fakes.inspectors.behave(Inspection::After(Duration::from_millis(100)));
    let mut runs = Vec::new();
    for number in 1..=1000 {
        runs.push(farm.pull(number).await);
    }
    let (mut most, mut seconds) = (0, 0);
    loop {
        let live = farm.fakes.store.live_tasks();
        most = most.max(live.iter().filter(|task| task.status.phase == Phase::Running).count());
        if live.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        seconds += 1;
        assert!(seconds < 1000, "{} tasks are left", live.len());
    }
    assert_eq!(most, 20, "and never more: the store itself refuses that");
    assert!(farm.fakes.inspectors.most_active() <= 4);
    let wrong: Vec<_> =
        runs.iter().map(|run| farm.run(*run)).filter(|run| run.state != State::Finished).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    farm.settle().await;
    farm.check_settled();
}

/// What a board sends stays whole however long it is, and one that is too long is refused.
#[tokio::test(start_paused = true)]
async fn an_inventory_has_its_longest() {
    use grove_domain::introspection::MAX_INVENTORY;
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    let sized = |bytes: usize| -> Arc<str> { format!("{{\"fail\":\"x\"{}}}", " ".repeat(bytes - 12)).into() };
    let run = farm.push(1, 'a').await;
    farm.run_is(run, State::Waiting).await;
    let bytes = MAX_INVENTORY + 1;
    let refused = farm.controller.introspection_data(run, token('a'), sized(bytes)).await.unwrap_err();
    assert_eq!(refused, Refused::InventoryTooLarge { bytes, limit: MAX_INVENTORY });
    let sent = farm.controller.introspection_data(run, token('a'), sized(MAX_INVENTORY)).await;
    assert_eq!(sent.unwrap().state, State::Processing);
    assert_eq!(farm.run_is(run, State::Error).await.error.as_deref(), Some("inspector/fake-inspector: x"));
    farm.fakes.drivers.inventory(id(1), &sized(bytes));
    let run = farm.pull(1).await;
    let error = farm.run_is(run, State::Error).await.error.clone().unwrap();
    assert_eq!(error, format!("the inventory has {bytes} bytes: at most {MAX_INVENTORY} are accepted"));
    farm.settle().await;
    farm.check_settled();
}
