//! What is kept of tasks, limits, the mode and instances: and what is refused.

use std::sync::Arc;

use grove_domain::id::{InstanceId, Uuid};
use grove_domain::instance::Instance;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode};
use grove_domain::task::{End, StepKind, Task, TaskKind};
use grove_store::{Change, CommitError, Store};

use crate::farm::{self, at, batch, begun, commit, over, put_task, task, worker};

fn limit(scope: Scope, value: Option<u32>, revision: u64) -> Change {
    Change::PutLimit(Arc::new(Limit { scope, value, revision }))
}

fn instance(number: u128) -> Instance {
    Instance::starting(InstanceId(Uuid::from_u128(number)), at(number.try_into().unwrap()))
}

fn placed(number: u128, driver: &str, host: Option<&str>) -> Task {
    let mut task = task(number, TaskKind::Prepare, &worker(number), None);
    let spec = Arc::make_mut(&mut task.spec);
    spec.driver = driver.to_owned();
    spec.host = host.map(str::to_owned);
    task
}

#[test]
fn a_task_starts_only_within_every_limit() {
    let rule = "running_tasks_within_limits".to_owned();
    for scope in [Scope::Farm, Scope::Driver("ssh".to_owned()), Scope::Host("rack".to_owned())] {
        let (_folder, store) = farm::new();
        let first = [placed(1, "ssh", Some("rack")), placed(2, "ssh", Some("rack"))];
        let mut changes = vec![limit(scope.clone(), Some(2), 1)];
        changes.extend(first.iter().flat_map(|task| [put_task(task), put_task(&begun(task, 1))]));
        commit(&store, batch(store.load().unwrap().epoch, changes)).unwrap();
        let third = placed(3, "ssh", Some("rack"));
        let waits = [put_task(&third)];
        commit(&store, batch(store.load().unwrap().epoch, waits)).unwrap();
        let starts = batch(store.load().unwrap().epoch, [put_task(&begun(&third, 1))]);
        let what = format!("task {} at revision 2", third.id);
        assert_eq!(commit(&store, starts), Err(CommitError::Forbidden { what, rule: rule.clone() }));
        // One that is written as running is counted, too.
        let whole = Task { revision: 1, ..begun(&placed(4, "ssh", Some("rack")), 1) };
        let refused = commit(&store, batch(store.load().unwrap().epoch, [put_task(&whole)]));
        assert!(matches!(refused, Err(CommitError::Forbidden { .. })), "{refused:?}");
        // Another driver, on another host, is bound only by the farm's.
        let other = placed(5, "serial", None);
        let elsewhere = [put_task(&other), put_task(&begun(&other, 1))];
        let answer = commit(&store, batch(store.load().unwrap().epoch, elsewhere));
        assert_eq!(answer.is_ok(), scope != Scope::Farm, "{answer:?}");
        // What ends in the same batch makes room, and nothing is ended by a lower limit.
        let epoch = store.load().unwrap().epoch;
        let ended = over(&begun(&first[0], 1), End::Succeeded, at(5));
        let changes = [put_task(&ended), put_task(&begun(&third, 1)), limit(scope.clone(), Some(0), 2)];
        commit(&store, batch(epoch, changes)).unwrap();
        commit(&store, batch(epoch, [limit(scope, None, 3)])).unwrap();
        assert_eq!(store.load().unwrap().limits[0].value, None);
    }
}

#[test]
fn limits_and_mode_follow_on_what_is_stored() {
    let (folder, store) = farm::new();
    assert_eq!(store.load().unwrap().mode, FarmMode::default());
    let epoch = store.load().unwrap().epoch;
    let driver = Scope::Driver(String::new());
    let until = Some(at(9));
    let mode = Mode::Maintenance { reason: "new rack".to_owned(), until };
    let mode = FarmMode { mode, since: Some(at(3)), revision: 1 };
    let changes = [limit(driver.clone(), Some(u32::MAX), 1), Change::PutMode(Arc::new(mode.clone()))];
    commit(&store, batch(epoch, changes)).unwrap();
    drop(store);
    let store = farm::open(folder.path());
    let loaded = store.load().unwrap();
    assert_eq!(loaded.mode, mode);
    assert_eq!(loaded.limits, [Limit { scope: driver.clone(), value: Some(u32::MAX), revision: 1 }]);
    for wrong in [limit(driver.clone(), None, 3), limit(driver, None, 1), Change::PutMode(Arc::new(mode))] {
        let answer = commit(&store, batch(store.load().unwrap().epoch, [wrong]));
        assert!(matches!(answer, Err(CommitError::Conflict { .. })), "{answer:?}");
    }
    let back = FarmMode { mode: Mode::Normal, since: Some(at(4)), revision: 2 };
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [Change::PutMode(Arc::new(back.clone()))])).unwrap();
    assert_eq!(store.load().unwrap().mode, back);
}

#[test]
fn the_newest_instance_decides_and_the_one_before_is_refused() {
    let (_folder, store) = farm::new();
    let first = store.load_as(instance(1)).unwrap();
    assert_eq!(first.instances, [Instance { incarnation: 1, ..instance(1) }]);
    // Loading again is the same life.
    let again = store.load_as(instance(1)).unwrap();
    assert_eq!((again.epoch, again.instances.len()), (first.epoch + 1, 1));
    let second = store.load_as(instance(2)).unwrap();
    assert_eq!(second.instances.last().unwrap().incarnation, 2);
    // Its commits are fenced off by the epoch, and it is told who took over.
    let late = commit(&store, batch(again.epoch, [limit(Scope::Farm, Some(1), 1)]));
    assert!(matches!(late, Err(CommitError::Epoch { .. })), "{late:?}");
    let told = store.load_as(instance(1)).unwrap();
    assert_eq!(told.superseded_by, Some(second.instances[1]));
    // The newer one goes on undisturbed.
    let alive = Instance { heartbeat: at(50), ended: Some(at(51)), ..second.instances[1] };
    commit(&store, batch(second.epoch, [Change::PutInstance(Arc::new(alive))])).unwrap();
    assert_eq!(store.load().unwrap().instances[1], alive);
    let unknown = Change::PutInstance(Arc::new(Instance { incarnation: 7, ..instance(7) }));
    let answer = commit(&store, batch(store.load().unwrap().epoch, [unknown]));
    assert!(matches!(answer, Err(CommitError::Conflict { .. })), "{answer:?}");
}

#[test]
fn not_all_instances_are_remembered() {
    let (_folder, store) = farm::new();
    for number in 1..=150 {
        store.load_as(instance(number)).unwrap();
    }
    let known = store.load().unwrap().instances;
    assert_eq!((known.len(), known.last().unwrap().incarnation), (100, 150));
}

#[test]
fn steps_of_other_versions_are_read() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let kept = task(1, TaskKind::Prepare, &worker(1), None);
    commit(&store, batch(epoch, [put_task(&kept)])).unwrap();
    let steps = r#"[{"name":"open tunnel","started":"2026-01-01T00:00:00Z"},
        {"name":"flash","started":"2026-01-01T00:00:00Z"},{"kind":"beam:up","started":null}]"#;
    farm::intrude(folder.path()).execute("UPDATE tasks SET steps = ?", [steps]).unwrap();
    let read = store.task(kept.id).unwrap().unwrap();
    let kinds: Vec<_> = read.status.steps.iter().map(|step| step.kind.clone()).collect();
    let expected =
        [StepKind::OpenTunnel, StepKind::Driver("flash".to_owned()), StepKind::Unknown("beam:up".to_owned())];
    assert_eq!(kinds, expected);
    // What is not known is written as it was read.
    let next = over(&read, End::Succeeded, at(9));
    commit(&store, batch(store.load().unwrap().epoch, [put_task(&next)])).unwrap();
    assert_eq!(store.task(kept.id).unwrap().unwrap(), next);
}

#[test]
fn what_has_ended_stays_as_it_is() {
    let (_folder, store): (_, Store) = farm::new();
    let first = task(1, TaskKind::Prepare, &worker(1), None);
    let ended = over(&first, End::Succeeded, at(9));
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_task(&first), put_task(&ended)])).unwrap();
    let mut late = Task { revision: 3, ..ended.clone() };
    late.status.ended = Some(at(10));
    let answer = commit(&store, batch(epoch, [put_task(&late)]));
    assert!(
        matches!(&answer, Err(CommitError::Forbidden { rule, .. }) if rule == "ended_task_stays"),
        "{answer:?}"
    );
    assert_eq!(store.task(ended.id).unwrap(), Some(ended));
}
