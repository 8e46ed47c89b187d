//! The request machine, state by state and event by event.

use std::sync::Arc;

use grove_domain::group::OwnerGroups;
use grove_domain::id::RequestId;
use grove_domain::moment::{Moment, SignedDuration};
use grove_domain::request::{
    Bounds, Context, Create, Effect, Event, Job, JobAccess, Priority, Refusal, Request, State, Transition,
    create, step,
};
use grove_domain::wants::Wants;

use crate::fixtures::{at, spec, worker_id};

/// Where a request can be: its state, and whether a worker is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    Waiting,
    /// WAITING with a worker that is being opened.
    Reserved,
    InProgress,
    Cancelled,
    Timeout,
    Invalid,
    Done,
    Failed,
}

pub(crate) const EVERYWHERE: [At; 8] = [
    At::Waiting,
    At::Reserved,
    At::InProgress,
    At::Cancelled,
    At::Timeout,
    At::Invalid,
    At::Done,
    At::Failed,
];

/// The deadline and the end of the job before an event; events come at 100.
const DEADLINE: i64 = 100;
const TAIL: u64 = 77;

pub(crate) fn access(port: u16) -> Arc<JobAccess> {
    Arc::new(JobAccess {
        port,
        target_host: "10.0.0.7".to_owned(),
        target_port: 22,
        user: "user".to_owned(),
        host_keys: Vec::new(),
        private_key: Some("secret".to_owned()),
        authorized_keys: vec!["ssh-rsa AAAA".to_owned()],
    })
}

impl At {
    pub(crate) fn request(self) -> Request {
        let wish = Create {
            spec: spec(OwnerGroups::All, Wants::Exact(None)),
            priority: 8,
            valid_after: None,
            deadline: Some(Moment::utc(at(DEADLINE))),
        };
        let context = Context { now: at(0), actor: "ann", tail: 3, bounds: &Bounds::default() };
        let mut request = create(RequestId(5), wish, context).unwrap();
        request.since = at(10);
        request.revision = 9;
        let job =
            |ended| Job { prolongs: 1, ended, ..Job::new(worker_id(1), at(20), at(DEADLINE), access(20000)) };
        request.state = match self {
            Self::Waiting | Self::Reserved => State::Waiting,
            Self::InProgress => State::InProgress,
            Self::Cancelled => State::Cancelled,
            Self::Timeout => State::Timeout,
            Self::Invalid => State::Invalid,
            Self::Done => State::Done,
            Self::Failed => State::Failed,
        };
        match self {
            Self::Reserved => request.reserved = Some(worker_id(1)),
            Self::InProgress => request.job = Some(Arc::new(job(None))),
            Self::Done | Self::Failed => request.job = Some(Arc::new(job(Some(at(50))))),
            _ => {}
        }
        request.ended_by = request.state.is_terminal().then(|| "ann".to_owned());
        if matches!(self, Self::Invalid | Self::Failed) {
            request.reason = Some("it had to be".to_owned());
        }
        request
    }
}

fn update(priority: Option<u8>, valid_after: Option<i64>, deadline: Option<i64>) -> Event {
    let moment = |seconds: Option<i64>| seconds.map(|seconds| Moment::utc(at(seconds)));
    Event::Update { priority, valid_after: moment(valid_after), deadline: moment(deadline) }
}

/// Every event.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let reason = || "no answer".to_owned();
    vec![
        ("update nothing", update(None, None, None)),
        ("update to the same", update(Some(8), Some(0), Some(DEADLINE))),
        ("update the priority", update(Some(1), None, None)),
        ("update the deadline", update(None, None, Some(200))),
        ("update, priority unknown", update(Some(17), None, None)),
        ("update, deadline past", update(None, None, Some(99))),
        ("update, range empty", update(None, Some(101), None)),
        ("close", Event::Close { reason: Some("enough".to_owned()) }),
        ("deadline due", Event::DeadlineDue),
        ("reserve", Event::Reserve(worker_id(2))),
        ("requeue", Event::Requeue { reason: reason() }),
        ("open", Event::Open { timeout: at(500), access: access(20001) }),
        ("moved", Event::Moved { access: access(20002) }),
        ("prolong", Event::Prolong { timeout: at(600), shorten: false }),
        ("prolong, earlier", Event::Prolong { timeout: at(DEADLINE - 1), shorten: false }),
        ("shorten", Event::Prolong { timeout: at(DEADLINE - 1), shorten: true }),
        ("extend", Event::Extend { timeout: at(600) }),
        ("extend to earlier", Event::Extend { timeout: at(DEADLINE) }),
        ("warn too often", Event::Warn),
        ("away", Event::Away { since: at(70) }),
        ("back, never away", Event::Back),
        ("keep", Event::Keep),
        ("unreachable", Event::Unreachable { since: at(70) }),
        ("reachable, as before", Event::Reachable),
        ("timeout due", Event::TimeoutDue),
        ("fail", Event::Fail { reason: reason() }),
        ("invalidate", Event::Invalidate { reason: reason() }),
    ]
}

pub(crate) fn stepped(request: &Request, event: Event) -> Result<Transition, Refusal> {
    stepped_at(request, event, 100, &Bounds::default())
}

fn stepped_at(request: &Request, event: Event, now: i64, bounds: &Bounds) -> Result<Transition, Refusal> {
    step(request, event, Context { now: at(now), actor: "ann", tail: TAIL, bounds })
}

/// Which state follows: `=` nothing changed, `x` refused, `!` the worker is released.
const NEXT_STATES: &str = "
                         | waiting   reserved   progress canc  time inv done fail
update nothing           | =         =          x        x     x    x   x    x
update to the same       | =         =          x        x     x    x   x    x
update the priority      | WAIT      WAIT       x        x     x    x   x    x
update the deadline      | WAIT      WAIT       x        x     x    x   x    x
update, priority unknown | x         x          x        x     x    x   x    x
update, deadline past    | x         x          x        x     x    x   x    x
update, range empty      | x         x          x        x     x    x   x    x
close                    | CANCEL    CANCEL!    DONE!    x     x    x   x    x
deadline due             | TIMEOUT   x          x        x     x    x   x    x
reserve                  | WAIT      x          x        x     x    x   x    x
requeue                  | x         WAIT       x        x     x    x   x    x
open                     | x         PROGRESS   x        x     x    x   x    x
moved                    | x         x          PROGRESS x     x    x   x    x
prolong                  | x         x          PROGRESS x     x    x   x    x
prolong, earlier         | x         x          x        x     x    x   x    x
shorten                  | x         x          PROGRESS x     x    x   x    x
extend                   | x         x          PROGRESS x     x    x   x    x
extend to earlier        | x         x          =        x     x    x   x    x
warn too often           | x         x          x        x     x    x   x    x
away                     | x         x          PROGRESS x     x    x   x    x
back, never away         | x         x          =        x     x    x   x    x
keep                     | x         x          PROGRESS x     x    x   x    x
unreachable              | x         x          PROGRESS x     x    x   x    x
reachable, as before     | x         x          =        x     x    x   x    x
timeout due              | x         x          DONE!    x     x    x   x    x
fail                     | x         x          FAILED   x     x    x   x    x
invalidate               | INVALID   x          x        x     x    x   x    x
";

#[test]
fn every_event_in_every_state_leads_where_the_table_says() {
    let mut rows: Vec<_> = NEXT_STATES.lines().filter(|line| !line.trim().is_empty()).collect();
    rows.remove(0);
    let events = events();
    assert_eq!(rows.len(), events.len(), "one row for each event");
    for (row, (name, event)) in rows.iter().zip(events) {
        let (title, cells) = row.split_once('|').unwrap();
        assert_eq!(title.trim(), name);
        let cells: Vec<_> = cells.split_whitespace().collect();
        assert_eq!(cells.len(), EVERYWHERE.len(), "one cell for each state: {row}");
        for (place, expected) in EVERYWHERE.into_iter().zip(cells) {
            let before = place.request();
            let found = match stepped(&before, event.clone()) {
                Err(_) => "x".to_owned(),
                Ok(next) if next.request == before && next.effects.is_empty() => "=".to_owned(),
                Ok(next) => {
                    let state = match next.request.state {
                        State::Waiting => "WAIT",
                        State::InProgress => "PROGRESS",
                        State::Cancelled => "CANCEL",
                        State::Timeout => "TIMEOUT",
                        State::Invalid => "INVALID",
                        State::Done => "DONE",
                        State::Failed => "FAILED",
                    };
                    match next.effects.as_slice() {
                        [] => state.to_owned(),
                        effects => {
                            assert_eq!(effects, [Effect::ReleaseWorker(worker_id(1))]);
                            format!("{state}!")
                        }
                    }
                }
            };
            assert_eq!(found, expected, "{name} in {place:?}");
        }
    }
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let mut text = String::new();
    for (name, event) in events() {
        for place in EVERYWHERE {
            if let Err(refusal) = stepped(&place.request(), event.clone()) {
                text.push_str(&format!("{name:<26}{:<12} {refusal}\n", format!("{place:?}")));
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_wish_becomes_a_request_with_defaults() {
    let wish = |priority, valid_after: Option<i64>, deadline: Option<i64>| {
        let moment = |seconds: Option<i64>| seconds.map(|seconds| Moment::utc(at(seconds)));
        let wish = Create {
            spec: spec(OwnerGroups::All, Wants::Exact(None)),
            priority,
            valid_after: moment(valid_after),
            deadline: moment(deadline),
        };
        create(
            RequestId(1),
            wish,
            Context { now: at(100), actor: "ann", tail: 7, bounds: &Bounds::default() },
        )
    };
    let request = wish(16, None, None).unwrap();
    assert_eq!((request.state, request.place, request.revision), (State::Waiting, 7, 1));
    assert_eq!(request.valid_after, Moment::utc(at(100)));
    assert_eq!(request.deadline.at.to_string(), "1970-02-01T00:01:40Z", "a calendar month later");
    assert!(request.is_due(at(100)));

    assert!(wish(1, None, Some(100)).is_ok(), "a deadline of now has not passed");
    assert_eq!(wish(1, None, Some(99)), Err(Refusal::DeadlinePast));
    assert_eq!(wish(1, Some(201), Some(200)), Err(Refusal::EmptyRange));
    assert_eq!(
        wish(1, Some(100 * 86_400), None),
        Err(Refusal::EmptyRange),
        "also against the default deadline"
    );
    assert_eq!((wish(0, None, None), wish(17, None, None)), (Err(Refusal::Priority), Err(Refusal::Priority)));
    // The order of checks is what v1 clients see.
    assert_eq!(wish(0, Some(99), Some(98)), Err(Refusal::DeadlinePast));
    assert_eq!(wish(0, Some(201), Some(200)), Err(Refusal::EmptyRange));
}

#[test]
fn due_is_between_its_two_times_and_only_while_nobody_is_reserved() {
    let mut request = At::Waiting.request();
    request.valid_after = Moment::utc(at(40));
    assert_eq!([39, 40, 99, 100].map(|now| request.is_due(at(now))), [false, true, true, false]);
    for place in EVERYWHERE {
        assert_eq!(place.request().is_due(at(50)), place == At::Waiting, "{place:?}");
    }
}

#[test]
fn only_a_given_priority_moves_a_request_to_the_tail() {
    let after = |event| stepped(&At::Waiting.request(), event).unwrap().request;
    assert_eq!(after(update(Some(1), None, None)).place, TAIL);
    assert_eq!(
        after(update(Some(8), None, Some(200))).place,
        TAIL,
        "also the same one, when something changes"
    );
    assert_eq!(after(update(None, None, Some(200))).place, 3);
    assert_eq!(after(update(Some(8), None, None)).place, 3, "nothing changes");
}

#[test]
fn an_update_is_checked_against_what_stays() {
    let mut request = At::Waiting.request();
    request.valid_after = Moment::utc(at(90));
    request.deadline = Moment::utc(at(200));
    let refused = |event| stepped_at(&request, event, 50, &Bounds::default()).unwrap_err();
    assert_eq!(
        refused(update(None, None, Some(80))),
        Refusal::EmptyRange,
        "earlier than the stored earliest time"
    );
    assert_eq!(refused(update(None, Some(201), None)), Refusal::EmptyRange);
    assert_eq!(refused(update(Some(0), None, Some(40))), Refusal::Priority, "the priority is checked first");
    assert_eq!(refused(update(None, Some(300), Some(40))), Refusal::DeadlinePast, "then the deadline");
}

#[test]
fn a_requeued_request_keeps_its_place_and_says_why() {
    let before = At::Waiting.request();
    let reserved = stepped(&before, Event::Reserve(worker_id(1))).unwrap().request;
    let back = stepped(&reserved, Event::Requeue { reason: "no answer".to_owned() }).unwrap().request;
    assert_eq!((back.priority, back.place, back.state), (before.priority, before.place, before.state));
    assert_eq!((back.reserved, back.reason.as_deref()), (None, Some("no answer")));
    let again = stepped(&back, Event::Reserve(worker_id(2))).unwrap().request;
    assert_eq!(again.reason, None);
}

#[test]
fn a_deadline_does_not_interrupt_an_opening_but_counts_once_it_failed() {
    let reserved = At::Reserved.request();
    assert_eq!(stepped(&reserved, Event::DeadlineDue).unwrap_err(), Refusal::NotDue);
    let back = stepped(&reserved, Event::Requeue { reason: "no answer".to_owned() }).unwrap().request;
    assert_eq!(stepped(&back, Event::DeadlineDue).unwrap().request.state, State::Timeout);
    let early = stepped_at(&back, Event::DeadlineDue, 99, &Bounds::default());
    assert_eq!(early.unwrap_err(), Refusal::NotDue);
}

#[test]
fn a_job_is_what_its_events_make_of_it() {
    let opened = stepped(&At::Reserved.request(), Event::Open { timeout: at(500), access: access(1) })
        .unwrap()
        .request;
    let job = opened.running_job().unwrap();
    assert_eq!((job.worker, job.opened, job.timeout, job.prolongs), (worker_id(1), at(100), at(500), 0));
    assert_eq!((opened.reserved, opened.since), (None, at(100)));

    let moved = stepped(&opened, Event::Moved { access: access(2) }).unwrap().request;
    assert_eq!(moved.running_job().unwrap().access.port, 2);

    let bounds = Bounds { prolongs: Some(1) };
    let longer = stepped_at(&moved, Event::Prolong { timeout: at(600), shorten: false }, 100, &bounds)
        .unwrap()
        .request;
    let job = longer.running_job().unwrap();
    assert_eq!((job.timeout, job.prolongs, job.access.port), (at(600), 1, 2));
    let more = stepped_at(&longer, Event::Prolong { timeout: at(700), shorten: false }, 100, &bounds);
    assert_eq!(more.unwrap_err(), Refusal::ProlongLimit);
    // Whatever the wall clock says by then.
    let done = stepped_at(&longer, Event::TimeoutDue, -600, &bounds).unwrap().request;
    assert_eq!((done.state, done.reason.as_deref()), (State::Done, Some("the job's time is up")));
}

#[test]
fn a_client_is_away_until_it_is_back_or_no_longer_needed() {
    let running = At::InProgress.request();
    let away = stepped(&running, Event::Away { since: at(70) }).unwrap().request;
    assert_eq!(away.running_job().unwrap().away, Some(at(70)));
    let still = stepped(&away, Event::Away { since: at(90) }).unwrap().request;
    assert_eq!(still, away, "since the first time");
    let back = stepped(&away, Event::Back).unwrap().request;
    assert_eq!(back.running_job().unwrap().away, None);
    let kept = stepped(&away, Event::Keep).unwrap().request;
    let job = kept.running_job().unwrap();
    assert_eq!((job.kept, job.away), (true, None));
    assert_eq!(
        stepped(&kept, Event::Away { since: at(90) }).unwrap().request,
        kept,
        "it need not be heard of"
    );
    let over = stepped(&away, Event::TimeoutDue).unwrap().request;
    assert_eq!(over.job.unwrap().away, Some(at(70)), "it ended like that");
}

#[test]
fn a_job_has_as_many_warnings_as_it_is_long() {
    let job = |length| Job::new(worker_id(1), at(0), at(length), access(1));
    let next = |job: &Job| job.next_warning().map(|at| at.as_second() - job.timeout.as_second());
    assert_eq!(next(&job(601)), Some(-600));
    assert_eq!(next(&job(600)), Some(-120));
    assert_eq!(next(&job(121)), Some(-120));
    assert_eq!(next(&job(120)), None);
    assert_eq!(next(&Job { warned: 1, ..job(3600) }), Some(-120));
    assert_eq!(next(&Job { warned: 2, ..job(3600) }), None);
    let ending = |length, left| job(length).is_ending(SignedDuration::from_secs(left));
    assert!(
        ending(3600, 600) && ending(300, 120) && !ending(3600, 601) && !ending(300, 121) && !ending(100, 5)
    );

    // Another end is one of which nobody was warned.
    let mut request = At::InProgress.request();
    request.job = Some(Arc::new(Job { warned: 1, ..job(3600) }));
    let warned = stepped(&request, Event::Warn).unwrap().request;
    assert_eq!(warned.running_job().unwrap().warned, 2);
    for event in [Event::Prolong { timeout: at(4000), shorten: false }, Event::Extend { timeout: at(4000) }] {
        assert_eq!(stepped(&warned, event).unwrap().request.running_job().unwrap().warned, 0);
    }
}

#[test]
fn an_ended_job_is_kept_without_its_private_key() {
    let close = Event::Close { reason: None };
    for event in [close, Event::Fail { reason: "smoke".to_owned() }, Event::TimeoutDue] {
        let after = stepped(&At::InProgress.request(), event).unwrap().request;
        let job = after.job.as_ref().unwrap();
        assert_eq!((job.ended, job.access.private_key.as_deref()), (Some(at(100)), None));
        assert_eq!(job.access.authorized_keys.len(), 1);
        assert!(after.running_job().is_none());
    }
}

#[test]
fn names_and_priorities_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
    }
    assert_eq!(State::from_name("IN PROGRESS"), None);
    let accepted: Vec<_> = (0..=u8::MAX).filter_map(Priority::new).map(Priority::get).collect();
    assert_eq!(accepted, (1..=16).collect::<Vec<_>>());
}
