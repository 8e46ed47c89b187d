//! What stays true of a request whatever happens to it.

use grove_domain::moment::Moment;
use grove_domain::request::{Bounds, Context, Effect, Event, Request, State, Transition, step};
use proptest::prelude::*;

use crate::fixtures::{at, worker_id};
use crate::request::{At, EVERYWHERE, access, events, stepped};

fn event() -> impl Strategy<Value = Event> {
    let moment = || prop::option::of((0i64..120).prop_map(|seconds| Moment::utc(at(seconds))));
    let update = (prop::option::of(0u8..18), moment(), moment())
        .prop_map(|(priority, valid_after, deadline)| Event::Update { priority, valid_after, deadline });
    let plain: Vec<_> = events().into_iter().map(|(_, event)| event).collect();
    prop_oneof![
        4 => prop::sample::select(plain),
        2 => update,
        1 => (1u128..4).prop_map(|worker| Event::Reserve(worker_id(worker))),
        1 => (0i64..120).prop_map(|timeout| Event::Open { timeout: at(timeout), access: access(1) }),
        1 => (0i64..120, any::<bool>())
            .prop_map(|(timeout, shorten)| Event::Prolong { timeout: at(timeout), shorten }),
        1 => (0i64..120).prop_map(|timeout| Event::Extend { timeout: at(timeout) }),
        1 => Just(Event::Warn),
        1 => (0i64..120).prop_map(|since| Event::Away { since: at(since) }),
        1 => Just(Event::Back),
        1 => Just(Event::Keep),
    ]
}

/// What is true of every request.
fn check(request: &Request) {
    assert!(request.reserved.is_none() || request.state == State::Waiting, "reserved only while WAITING");
    assert_eq!(
        request.running_job().is_some(),
        request.state == State::InProgress,
        "IN PROGRESS has its job"
    );
    if let Some(job) = &request.job {
        assert_eq!(job.ended.is_some(), request.state.is_terminal(), "a job ends with its request");
    }
    assert_eq!(request.ended_by.is_some(), request.state.is_terminal(), "an end has somebody who ended it");
    assert!(request.valid_after.at <= request.deadline.at);
    assert!(request.state != State::Invalid || request.reason.is_some());
    assert!(request.state != State::Failed || request.reason.is_some());
}

/// What is true of every step from `before`.
fn check_step(before: &Request, next: &Transition, now: i64) {
    let Transition { request, effects } = next;
    let changed = Request { revision: before.revision, ..request.clone() } != *before;
    assert_eq!(request.revision, before.revision + u64::from(changed), "the revision counts changes");
    assert!(!before.state.is_terminal() || !changed, "what has ended stays as it is");
    assert_eq!(request.since, if request.state == before.state { before.since } else { at(now) });
    assert_eq!((&request.id, &request.spec, request.created), (&before.id, &before.spec, before.created));

    let held = before.reserved.or(before.running_job().map(|job| job.worker));
    let holds = request.reserved.or(request.running_job().map(|job| job.worker));
    match (held, holds) {
        (Some(held), None) if request.state == State::Failed || request.state == State::Waiting => {
            assert!(effects.is_empty(), "worker {held} itself let go");
        }
        (Some(held), None) => assert_eq!(*effects, [Effect::ReleaseWorker(held)]),
        (Some(held), Some(holds)) => {
            assert_eq!(held, holds, "one worker at a time");
            assert!(effects.is_empty());
        }
        (None, _) => assert!(effects.is_empty()),
    }
}

#[test]
fn every_step_of_the_table_is_sound() {
    for place in EVERYWHERE {
        check(&place.request());
        for (name, event) in events() {
            let before = place.request();
            match stepped(&before, event) {
                Ok(next) => {
                    check(&next.request);
                    check_step(&before, &next, 100);
                }
                Err(_) => continue,
            }
            assert!(!before.state.is_terminal(), "{name} in {place:?} was taken after the end");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_stays_sound(events in prop::collection::vec(event(), 1..60), prolongs in prop::option::of(0u32..3)) {
        let bounds = Bounds { prolongs };
        let mut request = At::Waiting.request();
        for (turn, event) in events.into_iter().enumerate() {
            let now = turn as i64 + 11;
            let tail = 100 + turn as u64;
            let keeps_place = !matches!(event, Event::Update { priority: Some(_), .. });
            let Ok(next) = step(&request, event, Context { now: at(now), actor: "ann", tail, bounds: &bounds }) else { continue };
            check(&next.request);
            check_step(&request, &next, now);
            if keeps_place {
                prop_assert_eq!((next.request.priority, next.request.place), (request.priority, request.place));
            }
            if let (Some(limit), Some(job)) = (prolongs, &next.request.job) {
                prop_assert!(job.prolongs <= limit);
            }
            request = next.request;
        }
    }
}
