//! The worker machine, state by state and event by event.

use grove_domain::id::RequestId;
use grove_domain::task::TaskKind;
use grove_domain::worker::{
    Access, Context, Effect, Event, Failure, FailureKind, Health, Occupation, Outcome, Recovery, Refusal,
    Rules, State, Transition, Worker, step,
};

use crate::fixtures::{at, registration, task_id, worker_id};

/// The task that is live before an event, and the one that the event may start.
pub(crate) const LIVE: u128 = 0x11;
pub(crate) const NEXT: u128 = 0x22;

/// Where a worker can be: its state, and what the state alone does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    Maintenance,
    Prepare,
    Idle,
    /// IDLE while a check runs.
    IdleChecked,
    /// RUNNING, the job not yet open.
    Reserved,
    /// RUNNING with an open job.
    Open,
    Busy,
    Failed,
    /// FAILED while a re-check runs.
    FailedRechecked,
    /// FAILED until somebody does something about it.
    Quarantined,
    /// MAINTENANCE while an introspection reads the board.
    Introspected,
}

pub(crate) const EVERYWHERE: [At; 11] = [
    At::Maintenance,
    At::Prepare,
    At::Idle,
    At::IdleChecked,
    At::Reserved,
    At::Open,
    At::Busy,
    At::Failed,
    At::FailedRechecked,
    At::Quarantined,
    At::Introspected,
];

impl At {
    /// A worker that has come here by a way that could have happened.
    pub(crate) fn worker(self) -> Worker {
        let mut worker = Worker::register(worker_id(1), registration(&[("board", "x")]), at(0));
        worker.since = at(10);
        worker.generation = 7;
        worker.revision = 9;
        let request = RequestId(5);
        let task = |kind| Some((task_id(LIVE), kind));
        let failed = Recovery { relapses: 2, attempts: 1, recheck_at: Some(at(90)), quarantined: false };
        (worker.state, worker.task) = match self {
            Self::Maintenance => (State::Maintenance, None),
            Self::Introspected => (State::Maintenance, task(TaskKind::Introspect)),
            Self::Prepare => (State::Prepare, task(TaskKind::Prepare)),
            Self::Idle => (State::Idle, None),
            Self::IdleChecked => (State::Idle, task(TaskKind::Check)),
            Self::Reserved => (State::Running, task(TaskKind::Open)),
            Self::Open => (State::Running, None),
            Self::Busy => (State::Busy, task(TaskKind::Maintain)),
            Self::Failed | Self::Quarantined => (State::Failed, None),
            Self::FailedRechecked => (State::Failed, task(TaskKind::Recheck)),
        };
        match self {
            Self::Reserved => {
                worker.occupation = Some(Occupation { request, opened: false });
                worker.recovery.relapses = 2;
            }
            Self::Open => worker.occupation = Some(Occupation { request, opened: true }),
            Self::Failed | Self::FailedRechecked | Self::Quarantined => {
                worker.reason = Some("it broke".to_owned());
                worker.recovery = failed;
            }
            _ => worker.recovery.relapses = 2,
        }
        if self == Self::Quarantined {
            worker.recovery = Recovery { relapses: 6, attempts: 0, recheck_at: None, quarantined: true };
        }
        worker
    }
}

pub(crate) fn access() -> Access {
    Access { host: "10.0.0.7".to_owned(), port: 22, user: "user".to_owned(), host_keys: Vec::new() }
}

fn health(ok: bool) -> Health {
    Health { ok, checked_at: Some(at(99)), note: "37 degrees".to_owned() }
}

fn ended(outcome: Outcome) -> Event {
    Event::TaskEnded { task: task_id(LIVE), generation: 7, outcome }
}

fn done(health: Option<Health>) -> Event {
    ended(Outcome::Done { access: Some(access()), health })
}

fn failed(kind: FailureKind) -> Event {
    ended(Outcome::Failed(Failure { kind, reason: "no answer".to_owned() }))
}

/// Every event, with every flag.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let want = |rerun, interrupt| Event::WantMaintenance { rerun, interrupt };
    let stale = |task, generation| Event::TaskEnded {
        task: task_id(task),
        generation,
        outcome: Outcome::Done { access: None, health: None },
    };
    vec![
        ("register, the same", Event::Register(registration(&[("board", "x")]))),
        ("register, changed", Event::Register(registration(&[("board", "y")]))),
        ("report failure", Event::ReportFailure { reason: "smoke".to_owned(), stays: false }),
        ("report failure, for good", Event::ReportFailure { reason: "smoke".to_owned(), stays: true }),
        ("drain", Event::Drain),
        ("want idle", Event::WantIdle { force: false }),
        ("want idle, force", Event::WantIdle { force: true }),
        ("want maintenance", want(false, false)),
        ("want maintenance, rerun", want(true, false)),
        ("want maintenance, interrupt", want(false, true)),
        ("want maintenance, rerun, interrupt", want(true, true)),
        ("deregister", Event::Deregister { force: false }),
        ("deregister, force", Event::Deregister { force: true }),
        ("matched", Event::Matched { request: RequestId(6) }),
        ("released", Event::Released),
        ("check due", Event::CheckDue),
        ("introspect", Event::Introspect),
        ("power off", Event::PowerOff),
        ("dismiss", Event::Dismiss { why: "the introspection is over" }),
        ("task done", done(None)),
        ("task done, board well", done(Some(health(true)))),
        ("task done, board unwell", done(Some(health(false)))),
        ("task failed: device", failed(FailureKind::Device)),
        ("task failed: config", failed(FailureKind::Config)),
        ("task failed: environment", failed(FailureKind::Environment)),
        ("task failed: unsupported", failed(FailureKind::Unsupported)),
        ("task failed: plugin", failed(FailureKind::Plugin)),
        ("another task ended", stale(0x33, 7)),
        ("task of another generation ended", stale(LIVE, 6)),
        ("restarted", Event::Restarted),
    ]
}

pub(crate) fn stepped(worker: &Worker, event: Event) -> Result<Transition, Refusal> {
    step(worker, event, Context { now: at(100), task: task_id(NEXT), rules: &Rules::default() })
}

/// Which state follows: `=` the same, `x` refused, `-` removed.
///
/// The table of Boruta with our corrections: a changed registration in BUSY restarts its task; IDLE may be wanted in
/// IDLE; MAINTENANCE is left alone unless a rerun is asked for; a job is interrupted only when that is asked for; a
/// quarantined worker is not revived by registering as before; removal may be forced; tasks are fenced.
const NEXT_STATES: &str = "
                                   | maint prep  idle  idle+c reserv open  busy  fail  fail+r quar   intro
register, the same                 | =     =     =     =      =      =     =     PREP  PREP   =      =
register, changed                  | BUSY  BUSY  BUSY  BUSY   BUSY   BUSY  BUSY  BUSY  BUSY   BUSY   BUSY
report failure                     | x     FAIL  FAIL  FAIL   FAIL   FAIL  x     FAIL  FAIL   =      x
report failure, for good           | x     FAIL  FAIL  FAIL   FAIL   FAIL  x     FAIL  FAIL   FAIL   x
drain                              | =     BUSY  BUSY  BUSY   RUN    RUN   =     BUSY  BUSY   BUSY   =
want idle                          | PREP  =     =     =      x      x     x     x     x      x      PREP
want idle, force                   | PREP  =     =     =      x      x     x     PREP  PREP   PREP   PREP
want maintenance                   | =     BUSY  BUSY  BUSY   x      x     =     BUSY  BUSY   BUSY   =
want maintenance, rerun            | BUSY  BUSY  BUSY  BUSY   x      x     BUSY  BUSY  BUSY   BUSY   BUSY
want maintenance, interrupt        | =     BUSY  BUSY  BUSY   BUSY   BUSY  =     BUSY  BUSY   BUSY   =
want maintenance, rerun, interrupt | BUSY  BUSY  BUSY  BUSY   BUSY   BUSY  BUSY  BUSY  BUSY   BUSY   BUSY
deregister                         | -     x     x     x      x      x     x     -     -      -      -
deregister, force                  | -     -     -     -      -      -     -     -     -      -      -
matched                            | x     x     RUN   RUN    x      x     x     x     x      x      x
released                           | x     x     x     x      PREP   PREP  x     x     x      x      x
check due                          | x     x     IDLE  x      x      x     x     FAIL  x      x      x
introspect                         | MAINT x     x     x      x      x     x     x     x      x      MAINT
power off                          | MAINT x     x     x      x      x     x     x     x      x      MAINT
dismiss                            | x     x     x     x      x      x     x     x     x      x      MAINT
task done                          | x     IDLE  x     IDLE   RUN    x     MAINT x     PREP   x      MAINT
task done, board well              | x     IDLE  x     IDLE   RUN    x     MAINT x     PREP   x      MAINT
task done, board unwell            | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
task failed: device                | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
task failed: config                | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
task failed: environment           | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
task failed: unsupported           | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
task failed: plugin                | x     FAIL  x     FAIL   FAIL   x     FAIL  x     FAIL   x      MAINT
another task ended                 | x     x     x     x      x      x     x     x     x      x      x
task of another generation ended   | x     x     x     x      x      x     x     x     x      x      x
restarted                          | =     PREP  =     IDLE   RUN    =     BUSY  =     FAIL   =      MAINT
";

fn short(state: State) -> &'static str {
    match state {
        State::Maintenance => "MAINT",
        State::Prepare => "PREP",
        State::Idle => "IDLE",
        State::Running => "RUN",
        State::Busy => "BUSY",
        State::Failed => "FAIL",
    }
}

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
            let before = place.worker();
            let found = match stepped(&before, event.clone()) {
                Err(_) => "x",
                Ok(next) if next.effects.contains(&Effect::Removed) => "-",
                Ok(next) if next.worker == before => "=",
                Ok(next) => short(next.worker.state),
            };
            assert_eq!(found, expected, "{name} in {place:?}");
        }
    }
}

/// Everything that an event does, in a line.
fn told(place: At, event: &Event) -> String {
    let before = place.worker();
    let Transition { worker, effects } = match stepped(&before, event.clone()) {
        Err(refusal) => return format!("refused: {refusal}"),
        Ok(next) if next.worker == before && next.effects.is_empty() => return "=".to_owned(),
        Ok(next) => next,
    };
    let mut words = vec![worker.state.name().to_owned()];
    for effect in effects {
        words.push(match effect {
            Effect::CancelTask(task, why) => {
                assert_eq!(task, task_id(LIVE));
                format!("cancel({why})")
            }
            Effect::StartTask(kind) => {
                assert_eq!(worker.task, Some((task_id(NEXT), kind)), "the started task is the live one");
                format!("start({})", kind.name())
            }
            Effect::FailRequest(request, why) => format!("fail request {request} ({why})"),
            Effect::RequeueRequest(request, why) => format!("requeue request {request} ({why})"),
            Effect::OpenJob(request) => format!("open job {request}"),
            Effect::BecameIdle => "became idle".to_owned(),
            Effect::Removed => "removed".to_owned(),
        });
    }
    words.extend(worker.reason.map(|reason| format!("reason={reason:?}")));
    words.extend((worker.recovery != before.recovery).then(|| {
        let Recovery { relapses, attempts, recheck_at, quarantined } = worker.recovery;
        let recheck = recheck_at.map_or("never".to_owned(), |time| format!("at {}", time.as_second()));
        let quarantined = if quarantined { ", quarantined" } else { "" };
        format!("recovery=[{relapses} relapses, {attempts} attempts, re-check {recheck}{quarantined}]")
    }));
    words.extend((worker.health != before.health).then(|| format!("health={:?}", worker.health.note)));
    words.extend((worker.generation != before.generation).then(|| "new generation".to_owned()));
    words.join("; ")
}

#[test]
fn what_every_event_does_in_every_state() {
    let mut text = String::new();
    for (name, event) in events() {
        text.push_str(&format!("{name}\n"));
        for place in EVERYWHERE {
            let place_name = format!("{place:?}");
            text.push_str(&format!("    {place_name:<16} {}\n", told(place, &event)));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_changed_registration_is_taken_over_whole() {
    let mut before = At::Busy.worker();
    before.access = Some(std::sync::Arc::new(access()));
    let after = stepped(&before, Event::Register(registration(&[("board", "y")]))).unwrap().worker;
    assert_eq!(after.registration.capabilities["board"], "y");
    assert_eq!(after.capabilities.effective()["board"], "y");
    assert_eq!(after.access, None, "the old way in may lead elsewhere");
    assert_eq!(after.recovery, Recovery::default());
    let mut driver = registration(&[("board", "x")]);
    driver.driver_config = "{\"port\":23}".to_owned();
    let after = stepped(&At::Idle.worker(), Event::Register(driver)).unwrap().worker;
    assert_eq!(after.state, State::Busy, "so does a changed driver configuration");
}

#[test]
fn the_time_of_a_state_is_that_of_its_beginning() {
    let since = |place: At, event| stepped(&place.worker(), event).unwrap().worker.since;
    assert_eq!(since(At::Idle, Event::CheckDue), at(10));
    assert_eq!(since(At::Busy, Event::WantMaintenance { rerun: true, interrupt: false }), at(10));
    assert_eq!(since(At::Failed, Event::ReportFailure { reason: "again".to_owned(), stays: false }), at(10));
    assert_eq!(since(At::Idle, Event::Matched { request: RequestId(6) }), at(100));
}

#[test]
fn what_a_task_found_is_kept() {
    let opened = stepped(&At::Reserved.worker(), done(Some(health(true)))).unwrap().worker;
    assert_eq!(opened.access.as_deref(), Some(&access()));
    assert_eq!(opened.health, health(true));
    assert_eq!(opened.occupation, Some(Occupation { request: RequestId(5), opened: true }));
    assert_eq!(opened.recovery, Recovery::default(), "a worker that opened a job proved good");
    let unwell = stepped(&At::IdleChecked.worker(), done(Some(health(false)))).unwrap().worker;
    assert_eq!(unwell.health, health(false));
    assert_eq!(unwell.access, None, "nothing else of an unwell board is believed");
    // Who looked and has nothing to say found it well: else the next check would be due at once.
    for place in [At::Prepare, At::IdleChecked, At::FailedRechecked] {
        let mut before = place.worker();
        before.health = health(false);
        let after = stepped(&before, done(None)).unwrap().worker;
        assert_eq!((after.health.ok, after.health.checked_at), (true, Some(at(100))), "{place:?}");
        let after = stepped(&before, done(Some(health(true)))).unwrap().worker;
        assert_eq!(after.health, health(true), "{place:?}");
    }
}

#[test]
fn what_a_person_said_is_not_undone_by_a_check_or_the_board() {
    let report = |reason: &str, stays| Event::ReportFailure { reason: reason.to_owned(), stays };
    for place in [At::Idle, At::Open, At::Failed, At::FailedRechecked] {
        let broken = stepped(&place.worker(), report("smoke", true)).unwrap().worker;
        assert_eq!((broken.state, broken.task), (State::Failed, None), "{place:?}");
        assert_eq!((broken.recovery.recheck_at, broken.reason.as_deref()), (None, Some("smoke")));
        assert_eq!(stepped(&broken, Event::CheckDue).unwrap_err(), Refusal::NoCheckDue);
        let again = Event::Register(registration(&[("board", "x")]));
        assert_eq!(stepped(&broken, again).unwrap().worker, broken);
        assert_eq!(stepped(&broken, report("no answer", false)).unwrap().worker, broken);
        assert_eq!(stepped(&broken, Event::WantIdle { force: false }).unwrap_err(), Refusal::NoWayToIdle);
        let mended = stepped(&broken, Event::WantIdle { force: true }).unwrap().worker;
        assert_eq!((mended.state, mended.recovery), (State::Prepare, Recovery::default()));
    }
}

#[test]
fn a_failed_worker_is_not_well_whatever_a_check_said_before() {
    let mut idle = At::Idle.worker();
    idle.health = health(true);
    let report = Event::ReportFailure { reason: "smoke".to_owned(), stays: false };
    let failed = stepped(&idle, report).unwrap().worker;
    assert_eq!((failed.health.ok, failed.health.checked_at), (false, Some(at(99))));
}

#[test]
fn a_drained_worker_goes_to_maintenance_when_it_is_free() {
    let drained = stepped(&At::Open.worker(), Event::Drain).unwrap().worker;
    assert!(drained.drain);
    assert_eq!(drained.task, At::Open.worker().task, "nothing happens to its job");
    let free = stepped(&drained, Event::Released).unwrap().worker;
    assert_eq!((free.state, free.drain), (State::Busy, false));
    // One that fails meanwhile does not come back into use.
    let report = Event::ReportFailure { reason: "smoke".to_owned(), stays: false };
    let mut failed = stepped(&drained, report).unwrap().worker;
    assert!(failed.drain);
    failed.recovery.recheck_at = Some(at(1));
    let looked = stepped(&failed, Event::CheckDue).unwrap().worker;
    let (task, _) = looked.task.unwrap();
    let well = Event::TaskEnded {
        task,
        generation: looked.generation,
        outcome: Outcome::Done { access: None, health: None },
    };
    let after =
        step(&looked, well, Context { now: at(100), task: task_id(NEXT + 1), rules: &Rules::default() });
    assert_eq!(after.unwrap().worker.state, State::Busy);
    // It can be called off.
    let called_off = stepped(&drained, Event::WantIdle { force: false }).unwrap().worker;
    assert_eq!((called_off.state, called_off.drain), (State::Running, false));
    assert_eq!(stepped(&called_off, Event::Released).unwrap().worker.state, State::Prepare);
}

#[test]
fn rechecks_back_off_and_relapses_end_in_quarantine() {
    let rules = Rules::default();
    let mut worker = At::Idle.worker();
    worker.recovery = Recovery::default();
    let mut task = 0x100;
    let mut go = |worker: &Worker, event| {
        task += 1;
        step(worker, event, Context { now: at(0), task: task_id(task), rules: &rules }).unwrap().worker
    };
    let end = |worker: &Worker, outcome| {
        let (task, _) = worker.task.unwrap();
        Event::TaskEnded { task, generation: worker.generation, outcome }
    };
    let bad = || Outcome::Failed(Failure { kind: FailureKind::Device, reason: "no answer".to_owned() });
    let good = || Outcome::Done { access: None, health: None };
    for fall in 1..=6 {
        worker = go(&worker, Event::ReportFailure { reason: "smoke".to_owned(), stays: false });
        assert_eq!(worker.recovery.relapses, fall);
        if fall == 6 {
            break;
        }
        for wait in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert_eq!(worker.recovery.recheck_at, Some(at(wait)));
            worker = go(&worker, Event::CheckDue);
            worker = go(&worker, end(&worker, bad()));
            assert_eq!(worker.state, State::Failed);
        }
        worker = go(&worker, Event::CheckDue);
        worker = go(&worker, end(&worker, good()));
        worker = go(&worker, end(&worker, good()));
        assert_eq!(worker.state, State::Idle);
        assert_eq!((worker.recovery.attempts, worker.recovery.recheck_at), (0, None));
    }
    assert!(worker.recovery.quarantined);
    assert_eq!(worker.recovery.recheck_at, None);
    worker = go(&worker, Event::WantIdle { force: true });
    assert_eq!(worker.recovery, Recovery::default());
}

#[test]
fn a_failure_that_will_not_mend_is_not_rechecked() {
    for kind in FailureKind::ALL {
        let worker = stepped(&At::Prepare.worker(), failed(kind)).unwrap().worker;
        let mends = !matches!(kind, FailureKind::Config | FailureKind::Unsupported);
        assert_eq!(worker.recovery.recheck_at.is_some(), mends, "{kind:?}");
    }
}

#[test]
fn what_the_farm_is_short_of_is_held_against_no_board() {
    let short = |untouched| Outcome::Short { reason: "no free port".to_owned(), untouched };
    let requeued = |request| Effect::RequeueRequest(request, "no free port".to_owned());
    for (untouched, state, task) in
        [(true, State::Idle, None), (false, State::Prepare, Some(TaskKind::Prepare))]
    {
        let opening = At::Reserved.worker();
        let request = opening.occupation.unwrap().request;
        let Transition { worker, effects } = stepped(&opening, ended(short(untouched))).unwrap();
        assert_eq!((worker.state, worker.task.map(|(_, kind)| kind)), (state, task));
        assert_eq!((worker.occupation, worker.recovery), (None, opening.recovery));
        let follows = task.map_or(Effect::BecameIdle, Effect::StartTask);
        assert_eq!(effects, [requeued(request), follows]);
    }
    for at in [At::Prepare, At::Busy] {
        let before = at.worker();
        let (_, kind) = before.task.unwrap();
        let Transition { worker, effects } = stepped(&before, ended(short(true))).unwrap();
        assert_eq!((worker.state, worker.generation), (before.state, before.generation));
        assert_eq!(effects, [Effect::StartTask(kind)], "it is queued again");
    }
    for at in [At::IdleChecked, At::FailedRechecked] {
        let before = at.worker();
        let Transition { worker, effects } = stepped(&before, ended(short(true))).unwrap();
        assert_eq!((worker.state, worker.task, worker.recovery), (before.state, None, before.recovery));
        assert_eq!(effects, []);
    }
}

#[test]
fn an_edit_changes_no_state() {
    use grove_domain::worker::Edit;
    let before = At::Idle.worker();
    assert_eq!(before.edited(Edit::default()), before);
    let groups = Some(Some(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]));
    let admin = [("board".to_owned(), "z".to_owned())].into();
    let after = before.edited(Edit { groups, capabilities: Some(admin), ..Edit::default() });
    assert_eq!(after.groups(), ["a", "b", "b"], "sorted, doubles kept");
    assert_eq!(after.capabilities.effective()["board"], "z");
    assert_eq!((after.state, after.generation, after.revision), (State::Idle, 7, 10));
    let none = after.edited(Edit { groups: Some(None), ..Edit::default() });
    assert_eq!((none.groups, none.revision), (None, 11));
}

#[test]
fn names_of_states_are_read_back() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
    }
    assert_eq!(State::from_name("IDLE"), None);
}

#[test]
fn a_pin_is_an_edit_and_goes_with_the_driver() {
    use grove_domain::plugin::Digest;
    use grove_domain::worker::Edit;
    let pin = Some(Digest::new([7; Digest::BYTES]));
    let before = At::Idle.worker();
    let after = before.edited(Edit { driver_version: Some(pin), ..Edit::default() });
    assert_eq!((after.driver_version, after.revision, after.generation), (pin, 10, 7));
    assert_eq!(after.edited(Edit { driver_version: Some(pin), ..Edit::default() }), after);
    let mut config = registration(&[("board", "x")]);
    config.driver_config = r#"{"a":1}"#.to_owned();
    assert_eq!(stepped(&after, Event::Register(config)).unwrap().worker.driver_version, pin);
    let mut other = registration(&[("board", "x")]);
    other.driver = "qemu".to_owned();
    assert_eq!(stepped(&after, Event::Register(other)).unwrap().worker.driver_version, None);
    let unpinned = after.edited(Edit { driver_version: Some(None), ..Edit::default() });
    assert_eq!((unpinned.driver_version, unpinned.revision), (None, 11));
}

#[test]
fn what_an_introspection_found_replaces_what_was_found_before_and_nothing_else() {
    use grove_domain::capability::Map;
    use grove_domain::introspection::View;
    let map = |pairs: &[(&str, &str)]| -> Map {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for place in EVERYWHERE {
        let before = place.worker();
        let first = before.introspected(map(&[("board", "y"), ("uart", "4")]));
        assert_eq!(first.capabilities.effective()["uart"], "4");
        assert_eq!(first.capabilities.effective()["board"], "y", "over what the board registered");
        assert_eq!(first.revision, before.revision + 1);
        let second = first.introspected(map(&[("usb", "2")]));
        assert!(!second.capabilities.effective().contains_key("uart"));
        assert_eq!(second.capabilities.effective()["board"], "x");
        assert_eq!(second.introspected(map(&[("usb", "2")])), second, "the same changes nothing");
        let rest =
            Worker { capabilities: before.capabilities.clone(), revision: before.revision, ..second.clone() };
        assert_eq!(rest, before, "no state, no generation, no task");
        assert_eq!(
            View::of(&second),
            View::of(&before),
            "what inspectors see is what it would be without any"
        );
        assert!(!View::of(&second).capabilities.contains_key("usb"));
        // Registering as before is no change.
        let again = stepped(&second, Event::Register(registration(&[("board", "x")])));
        assert_eq!(again.unwrap().worker.capabilities, second.capabilities);
    }
}
