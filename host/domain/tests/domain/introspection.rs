//! The introspection machine, state by state and event by event.

use grove_domain::id::{IntrospectionId, Uuid, WorkerId};
use grove_domain::introspection::{
    Effect, Ending, Event, Introspection, Kind, NotAdmitted, Refusal, Rules, State, TokenDigest, Transition,
    Way, next,
};
use grove_domain::moment::SignedDuration;
use proptest::prelude::*;

use crate::fixtures::{at, worker_id};

/// A run that has come to `state` by a way that could have happened.
fn run(state: State) -> Introspection {
    let id = IntrospectionId(Uuid::from_u128(7));
    let mut run = Introspection::start(id, worker_id(1), Way::Push, None, at(0));
    run.state = state;
    run.since = at(10);
    run.revision = 4;
    run.has_raw = !matches!(state, State::Starting | State::Waiting);
    match state {
        State::Finished => (run.finished, run.has_processed) = (Some(at(10)), true),
        State::Error => (run.finished, run.error) = (Some(at(10)), Some("it broke".to_owned())),
        State::Aborting => {
            run.ending = Some(Ending { reason: "aborted by user:ann".to_owned(), switch_off: true });
        }
        State::Enrolling => (run.worker, run.way) = (None, Way::Enrol),
        _ => {}
    }
    run
}

fn stepped(run: &Introspection, event: Event) -> Result<Transition, Refusal> {
    run.step(event, at(20), &Rules::default())
}

#[test]
fn the_table() {
    let mut table = String::new();
    for state in State::ALL {
        let cells = Event::each().map(|event| next(state, &event).map_or("-", State::name));
        table +=
            &format!("{:10} {}\n", state.name(), cells.map(|cell| format!("{cell:10}")).join(" ").trim_end());
    }
    let events = Event::each().map(|event| format!("{:10}", event.name())).join(" ");
    insta::assert_snapshot!(format!("{:10} {}\n{table}", "", events.trim_end()), @"
               start      wait       process    reapply    finish     abort      abort_end  error      timeout
    starting   -          waiting    -          -          -          aborting   -          error      error
    waiting    starting   -          processing -          -          aborting   -          error      error
    processing -          -          -          -          finished   aborting   -          error      error
    finished   starting   -          -          reapplying finished   -          -          -          -
    error      starting   -          -          reapplying -          error      -          error      -
    reapplying -          -          -          reapplying finished   aborting   -          error      error
    enrolling  -          -          processing -          -          aborting   -          error      error
    aborting   -          -          -          -          -          -          error      error      error
    ");
}

/// A run follows the table, keeps its end time exactly while it has ended, and counts its writes.
#[test]
fn every_event_in_every_state() {
    for state in State::ALL {
        for event in Event::each() {
            let before = run(state);
            let event = match event {
                Event::Process { .. } if state == State::Enrolling => {
                    Event::Process { enrolled: Some(worker_id(2)) }
                }
                event => event,
            };
            let name = event.name();
            let Some(to) = next(state, &event) else {
                assert_eq!(stepped(&before, event), Err(Refusal::NotNow { state, event: name }));
                continue;
            };
            let Transition { run: after, .. } = stepped(&before, event.clone()).unwrap();
            if event == Event::Start {
                let expected = if state == State::Waiting { State::Error } else { state };
                assert_eq!(after.state, expected, "{state:?}: the newer run is another row");
            } else {
                assert_eq!(after.state, to, "{state:?} {name}");
            }
            well(&after);
            assert_eq!(after.revision, before.revision + u64::from(after != before), "{state:?} {name}");
        }
    }
}

fn well(run: &Introspection) {
    assert_eq!(run.finished.is_some(), run.state.is_terminal(), "{run:?}");
    assert_eq!(run.error.is_some(), run.state == State::Error, "{run:?}");
    assert_eq!(run.ending.is_some(), run.state == State::Aborting, "{run:?}");
    assert!(run.worker.is_some() || run.way == Way::Enrol, "{run:?}");
    assert_eq!(run.due(&Rules::default()).is_none(), run.state.is_terminal());
}

#[test]
fn what_has_happened_already_changes_nothing() {
    for (state, event) in [
        (State::Finished, Event::Finish),
        (State::Error, Event::Abort { reason: "again".to_owned() }),
        (State::Error, Event::Error { reason: "again".to_owned() }),
        (State::Finished, Event::Start),
        (State::Error, Event::Start),
    ] {
        let before = run(state);
        assert_eq!(stepped(&before, event).unwrap(), Transition { run: before, effects: vec![] });
    }
}

#[test]
fn an_abort_stops_what_works_and_switches_off_a_board_that_was_asked() {
    let abort = || Event::Abort { reason: "aborted by user:ann".to_owned() };
    for (state, last) in [
        (State::Starting, Effect::SwitchOff),
        (State::Waiting, Effect::SwitchOff),
        (State::Processing, Effect::SwitchOff),
        (State::Reapplying, Effect::EndAbort),
        (State::Enrolling, Effect::EndAbort),
    ] {
        let Transition { run: after, effects } = stepped(&run(state), abort()).unwrap();
        assert_eq!(effects, [Effect::Stop, last], "{state:?}");
        assert_eq!(after.resumed(), Some(last), "after a restart too");
    }
    let aborting = run(State::Aborting);
    let twice = stepped(&aborting, abort());
    assert_eq!(twice, Err(Refusal::NotNow { state: State::Aborting, event: "abort" }));
    let error = |trouble: Option<&str>| {
        let event = Event::AbortEnd { trouble: trouble.map(str::to_owned) };
        stepped(&aborting, event).unwrap().run.error.unwrap()
    };
    assert_eq!(error(None), "aborted by user:ann");
    assert_eq!(
        error(Some("no answer")),
        "aborted by user:ann; the board could not be switched off: no answer"
    );
}

#[test]
fn each_state_has_its_time() {
    let rules = Rules { waiting: SignedDuration::from_mins(90), ..Rules::default() };
    let errors = State::ALL.map(|state| {
        let ended = run(state).step(Event::Timeout, at(9), &rules);
        ended.map_or("-".to_owned(), |ended| ended.run.error.unwrap())
    });
    insta::assert_snapshot!(errors.join("\n"), @"
    the board's driver was not done within 5m
    no inventory came within 1h 30m
    inspectors were not done within 5m
    -
    -
    inspectors were not done within 5m
    it was not decided whether the board becomes a worker within 5m
    aborted by user:ann; the board was not switched off within 2m
    ");
    let waiting = run(State::Waiting);
    assert_eq!(waiting.due(&rules), Some(at(10 + 90 * 60)), "from when it came into the state");
}

#[test]
fn what_is_stored_is_processed_again() {
    for state in [State::Finished, State::Error] {
        let Transition { run: after, effects } = stepped(&run(state), Event::Reapply).unwrap();
        assert_eq!((after.started, after.finished, after.error), (at(20), None, None));
        assert_eq!(effects, [Effect::Process]);
    }
    let again = stepped(&run(State::Reapplying), Event::Reapply).unwrap();
    assert_eq!(again.effects, [Effect::Stop, Effect::Process], "with what is there today");
    let nothing = Introspection { has_raw: false, ..run(State::Error) };
    assert_eq!(stepped(&nothing, Event::Reapply), Err(Refusal::NothingStored));
    let nobody = Introspection { worker: None, way: Way::Enrol, ..run(State::Error) };
    assert_eq!(stepped(&nobody, Event::Reapply), Err(Refusal::NoWorker));
}

#[test]
fn an_unknown_board_becomes_a_worker_before_it_is_processed() {
    let enrolling = Introspection::enrol(IntrospectionId(Uuid::from_u128(7)), at(0));
    assert_eq!(enrolling.resumed(), Some(Effect::Process));
    let undecided = Event::Process { enrolled: None };
    assert_eq!(stepped(&enrolling, undecided), Err(Refusal::NoWorker));
    let enrolled = Event::Process { enrolled: Some(worker_id(2)) };
    let Transition { run, effects } = stepped(&enrolling, enrolled).unwrap();
    assert_eq!((run.worker, run.state), (Some(worker_id(2)), State::Processing));
    assert_eq!(effects, [Effect::Process]);
}

#[test]
fn a_board_is_admitted_once_and_with_the_token_of_its_run() {
    let (right, wrong) = (TokenDigest([1; 32]), TokenDigest([2; 32]));
    for state in State::ALL {
        let pushed = Introspection { token: Some(right), has_raw: false, way: Way::Push, ..run(state) };
        let expected = match state {
            State::Waiting => Ok(()),
            State::Starting => Err(NotAdmitted::Early),
            State::Error => Err(NotAdmitted::Late("it broke".to_owned())),
            State::Aborting => Err(NotAdmitted::Late("aborted by user:ann".to_owned())),
            _ => Err(NotAdmitted::Late(String::new())),
        };
        assert_eq!(pushed.admit(right), expected, "{state:?}");
        assert_eq!(pushed.admit(wrong), Err(NotAdmitted::WrongToken), "{state:?}");
        let used = Introspection { has_raw: true, ..pushed.clone() };
        assert_eq!(used.admit(right), Err(NotAdmitted::Used), "{state:?}");
        for way in [Way::Pull, Way::Enrol] {
            assert_eq!(Introspection { way, ..pushed.clone() }.admit(right), Err(NotAdmitted::WrongToken));
        }
        let none = Introspection { token: None, ..pushed };
        assert_eq!(none.admit(right), Err(NotAdmitted::WrongToken), "{state:?}");
    }
}

#[test]
fn names_lead_back() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
    }
    for way in Way::ALL {
        assert_eq!(Way::from_name(way.name()), Some(way));
    }
    assert_eq!((State::from_name("done"), Way::from_name("")), (None, None));
}

proptest! {
    /// Whatever happens in whatever order, a run is well, and ends once unless it is reapplied.
    #[test]
    fn any_order_of_events(
        enrol in any::<bool>(),
        events in prop::collection::vec((prop::sample::select(Event::each().to_vec()), 1i64..500), 0..30),
    ) {
        let id = IntrospectionId(Uuid::from_u128(7));
        let mut run = if enrol {
            Introspection::enrol(id, at(0))
        } else {
            Introspection::start(id, worker_id(1), Way::Pull, None, at(0))
        };
        let mut now = 0;
        for (event, later) in events {
            now += later;
            let event = match event {
                Event::Process { .. } if run.worker.is_none() => {
                    Event::Process { enrolled: Some(WorkerId(Uuid::from_u128(2))) }
                }
                event => event,
            };
            let reapplied = event == Event::Reapply;
            let Ok(Transition { run: after, effects }) = run.step(event, at(now), &Rules::default()) else {
                continue;
            };
            well(&after);
            if run.state.is_terminal() && !reapplied {
                prop_assert_eq!(&after, &run, "what has ended stays as it is");
            }
            if after == run {
                prop_assert_eq!(effects, vec![]);
            } else if after.state.is_terminal() {
                prop_assert_eq!(after.finished, Some(at(now)));
            }
            run = after;
        }
    }
}
