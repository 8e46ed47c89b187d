//! What stays true of a worker whatever happens to it.

use grove_domain::id::RequestId;
use grove_domain::task::TaskKind;
use grove_domain::worker::{
    Context, Effect, Event, Failure, FailureKind, Health, Outcome, Rules, State, Transition, Worker, step,
};
use proptest::prelude::*;

use crate::fixtures::{at, registration, task_id, worker_id};
use crate::worker::{EVERYWHERE, access, events, stepped};

/// An event to come, before it is known which task is live.
#[derive(Clone, Debug)]
enum Coming {
    Plain(Event),
    /// The live task ends.
    Ended(Outcome),
    /// A task ends that is live no more.
    Late(Outcome),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let health = prop::option::of(any::<bool>())
        .prop_map(|ok| ok.map(|ok| Health { ok, checked_at: Some(at(1)), note: "measured".to_owned() }));
    let access = prop::option::of(Just(access()));
    let done = (access, health).prop_map(|(access, health)| Outcome::Done { access, health });
    let failed = prop::sample::select(FailureKind::ALL.to_vec())
        .prop_map(|kind| Outcome::Failed(Failure { kind, reason: "no answer".to_owned() }));
    let short =
        any::<bool>().prop_map(|untouched| Outcome::Short { reason: "no free port".to_owned(), untouched });
    prop_oneof![3 => done, 1 => failed, 1 => short]
}

fn coming() -> impl Strategy<Value = Coming> {
    let plain = events().into_iter().map(|(_, event)| event);
    let plain: Vec<_> = plain.filter(|event| !matches!(event, Event::TaskEnded { .. })).collect();
    prop_oneof![
        4 => prop::sample::select(plain).prop_map(Coming::Plain),
        4 => outcome().prop_map(Coming::Ended),
        1 => outcome().prop_map(Coming::Late),
    ]
}

/// What is true of every worker.
fn check(worker: &Worker) {
    assert_eq!(worker.occupation.is_some(), worker.state == State::Running, "occupied exactly when RUNNING");
    assert!(worker.state != State::Failed || worker.reason.is_some(), "FAILED has a reason");
    let opened = worker.occupation.is_some_and(|occupation| occupation.opened);
    let kind = worker.task.map(|(_, kind)| kind);
    let expected: &[Option<TaskKind>] = match worker.state {
        State::Maintenance => &[None, Some(TaskKind::Introspect), Some(TaskKind::PowerOff)],
        State::Prepare => &[Some(TaskKind::Prepare)],
        State::Idle => &[None, Some(TaskKind::Check)],
        State::Running if opened => &[None],
        State::Running => &[Some(TaskKind::Open)],
        State::Busy => &[Some(TaskKind::Maintain)],
        State::Failed => &[None, Some(TaskKind::Recheck)],
    };
    assert!(expected.contains(&kind), "{kind:?} in {:?}", worker.state);
    let recovery = worker.recovery;
    if worker.state != State::Failed {
        assert_eq!((recovery.recheck_at, recovery.attempts, recovery.quarantined), (None, 0, false));
    }
    assert!(
        !recovery.quarantined || (recovery.recheck_at.is_none() && kind.is_none()),
        "quarantined is left alone"
    );
}

/// What is true of every step from `before`.
fn check_step(before: &Worker, next: &Transition, now: i64, task: u128) {
    let Transition { worker, effects } = next;
    let changed = Worker { revision: before.revision, ..worker.clone() } != *before;
    assert_eq!(worker.revision, before.revision + u64::from(changed), "the revision counts changes");
    assert!(changed || effects.is_empty() || *effects == [Effect::Removed], "{effects:?} without a change");
    assert_eq!(worker.since, if worker.state == before.state { before.since } else { at(now) });

    let refenced = worker.state != before.state || worker.registration != before.registration;
    assert!(worker.generation >= before.generation);
    assert!(!refenced || worker.generation > before.generation, "a new state or registration fences tasks");

    // Of tasks, each that was live and is not is cancelled or was the one that ended; each new one is started.
    let started = effects.iter().filter_map(|effect| match effect {
        Effect::StartTask(kind) => Some(*kind),
        _ => None,
    });
    let started = started.collect::<Vec<_>>();
    assert!(started.len() <= 1);
    let new = worker.task.filter(|live| Some(*live) != before.task);
    assert_eq!(new, started.first().map(|kind| (task_id(task), *kind)));
    for effect in effects {
        if let Effect::CancelTask(task, _) = effect {
            assert_eq!(Some(*task), before.task.map(|(task, _)| task), "only the live task is cancelled");
        }
    }

    // An occupation ends with exactly one word to its request, unless the request itself ended it.
    let said: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::FailRequest(request, _) => Some((*request, true)),
            Effect::RequeueRequest(request, _) => Some((*request, false)),
            _ => None,
        })
        .collect();
    match (before.occupation, worker.occupation) {
        // A drained worker goes where its admin wants it when its request lets it go.
        (Some(_), None) if worker.state == State::Busy && before.drain && said.is_empty() => {}
        (Some(was), None) if worker.state == State::Prepare => {
            // Or the farm was short of something when it was to be opened.
            let short = !was.opened && said == [(was.request, false)];
            assert!(said.is_empty() || short, "{was:?} was released");
        }
        (Some(was), None) => assert_eq!(said, [(was.request, was.opened)]),
        (Some(was), Some(is)) => {
            assert_eq!(was.request, is.request, "one job at a time");
            assert_eq!(effects.contains(&Effect::OpenJob(is.request)), !was.opened && is.opened);
            assert!(!was.opened || is.opened);
            assert!(said.is_empty());
        }
        (None, _) => assert!(said.is_empty()),
    }
    let became_idle = worker.state == State::Idle && before.state != State::Idle;
    assert_eq!(effects.contains(&Effect::BecameIdle), became_idle);
}

#[test]
fn the_places_of_the_table_are_sound() {
    EVERYWHERE.iter().for_each(|place| check(&place.worker()));
}

#[test]
fn every_step_of_the_table_is_sound() {
    for place in EVERYWHERE {
        for (_, event) in events() {
            let before = place.worker();
            let restarted = event == Event::Restarted;
            if let Ok(next) = stepped(&before, event) {
                check_step(&before, &next, 100, 0x22);
                assert!(
                    !restarted || !next.effects.iter().any(|effect| matches!(effect, Effect::CancelTask(..)))
                );
                if !next.effects.contains(&Effect::Removed) {
                    check(&next.worker);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_worker_stays_sound(events in prop::collection::vec(coming(), 1..60), relapses in 0u32..4) {
        let rules = Rules { relapses, ..Rules::default() };
        let mut worker = Worker::register(worker_id(1), registration(&[("board", "x")]), at(0));
        let mut last = None;
        for (turn, event) in events.into_iter().enumerate() {
            let (now, task) = (turn as i64 + 1, turn as u128 + 1);
            let context = Context { now: at(now), task: task_id(task), rules: &rules };
            let event = match event {
                Coming::Plain(Event::Matched { .. }) => Event::Matched { request: RequestId(turn as u64 + 1) },
                Coming::Plain(event) => event,
                Coming::Ended(outcome) => {
                    let Some((task, _)) = worker.task else { continue };
                    Event::TaskEnded { task, generation: worker.generation, outcome }
                }
                Coming::Late(outcome) => {
                    let Some((task, generation)) = last else { continue };
                    if worker.task.is_some_and(|(live, _)| live == task) {
                        continue;
                    }
                    let event = Event::TaskEnded { task, generation, outcome };
                    prop_assert!(step(&worker, event, context).is_err(), "a late result counts for nothing");
                    continue;
                }
            };
            let late = matches!(event, Event::TaskEnded { .. });
            let Ok(next) = step(&worker, event, context) else {
                prop_assert!(!late, "the live task of this generation is heard");
                continue;
            };
            if next.effects.contains(&Effect::Removed) {
                prop_assert!(next.worker.task.is_none());
                worker = Worker::register(worker_id(1), registration(&[("board", "x")]), at(now));
                last = None;
                continue;
            }
            check_step(&worker, &next, now, task);
            check(&next.worker);
            if let Some((task, _)) = worker.task {
                last = Some((task, worker.generation));
            }
            worker = next.worker;
        }
    }
}
