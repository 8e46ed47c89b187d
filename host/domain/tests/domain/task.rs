//! Tasks: reports move them forward, or change nothing.

use grove_domain::id::{InstanceId, IntrospectionId, RequestId, Uuid};
use grove_domain::instance::Instance;
use grove_domain::introspection::{self, Introspection, Way};
use grove_domain::limit::{Limit, Scope};
use grove_domain::moment::SignedDuration;
use grove_domain::task::{
    End, LogLevel, LogLine, LogTail, Phase, Report, StepKind, StepOutcome, Task, TaskKind, TaskSpec,
    TaskStatus,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fixtures::{at, task_id, worker_id};

fn instance(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number))
}

fn spec(kind: TaskKind, request: Option<u64>) -> TaskSpec {
    TaskSpec {
        kind,
        worker: worker_id(1),
        generation: 7,
        request: request.map(RequestId),
        introspection: None,
        driver: "ssh".to_owned(),
        host: None,
        driver_version: None,
        timeout: SignedDuration::from_secs(60),
        queued: at(0),
    }
}

fn begun(second: i64) -> Report {
    let plan = vec![StepKind::Revoke, StepKind::Prepare];
    Report::Begun { at: at(second), deadline: at(second + 60), instance: instance(1), plan }
}

fn step(kind: StepKind, second: i64) -> Report {
    Report::Step { kind, at: at(second), before: StepOutcome::Success }
}

fn line(second: i64, text: &str) -> LogLine {
    LogLine { at: at(second), level: LogLevel::Info, text: text.to_owned() }
}

fn over(end: End, second: i64) -> Report {
    Report::Ended { end, error: (end != End::Succeeded).then(|| "why".to_owned()), at: at(second) }
}

/// One report of each kind, and whether a task takes it while it waits, and while it runs. One that has ended takes none.
fn reports(second: i64) -> Vec<(Report, bool, bool)> {
    let progress = Report::Progress { percent: 50, note: "half".to_owned() };
    let mut all = vec![
        (begun(second), true, false),
        (step(StepKind::Prepare, second), false, true),
        (step(StepKind::Driver("flash".to_owned()), second), false, true),
        (progress, false, true),
        (Report::Log(line(second, "hello")), false, true),
    ];
    all.extend(End::ALL.map(|end| (over(end, second), true, true)));
    all
}

fn status(phase: Phase) -> TaskStatus {
    let waiting = TaskStatus::waiting();
    let running = || waiting.report(begun(1)).unwrap();
    match phase {
        Phase::Waiting => waiting,
        Phase::Running => running(),
        Phase::Succeeded => running().report(over(End::Succeeded, 2)).unwrap(),
        Phase::Failed => running().report(over(End::Failed, 2)).unwrap(),
        Phase::Cancelled => running().report(over(End::Cancelled, 2)).unwrap(),
    }
}

#[test]
fn every_phase_takes_the_reports_that_move_it_forward_and_no_others() {
    for phase in Phase::ALL {
        let before = status(phase);
        assert_eq!(before.phase, phase);
        for (report, waiting, running) in reports(9) {
            let taken = match phase {
                Phase::Waiting => waiting,
                Phase::Running => running,
                Phase::Succeeded | Phase::Failed | Phase::Cancelled => false,
            };
            let after = before.report(report.clone());
            assert_eq!(after.is_some(), taken, "{phase:?} {report:?}");
            let mut in_place = before.clone();
            assert_eq!(in_place.advance(report), taken);
            assert_eq!(in_place, after.unwrap_or(before.clone()), "nothing changes, no time either");
        }
    }
}

#[test]
fn a_task_ends_once_with_one_time_for_all_its_steps() {
    for end in End::ALL {
        let mut status = status(Phase::Running);
        assert!(status.advance(step(StepKind::Driver("flash".to_owned()), 3)));
        assert!(status.advance(over(end, 9)));
        let steps: Vec<_> =
            status.steps.iter().map(|step| (step.started, step.ended, step.outcome.unwrap())).collect();
        let outcome = match end {
            End::Succeeded => StepOutcome::Success,
            End::Failed => StepOutcome::Failed,
            End::Cancelled => StepOutcome::Cancelled,
        };
        let expected = [
            (Some(at(1)), Some(at(3)), StepOutcome::Success),
            (Some(at(3)), Some(at(9)), outcome),
            (None, Some(at(9)), StepOutcome::Skipped),
        ];
        assert_eq!(steps, expected);
        assert_eq!((status.phase, status.ended), (end.phase(), Some(at(9))));
        assert_eq!(status.progress, if end == End::Succeeded { 100 } else { 0 });
    }
    let task = Task::queued(task_id(1), spec(TaskKind::Prepare, None));
    let ended = task.reported(over(End::Cancelled, 9)).unwrap();
    assert_eq!((ended.revision, ended.status.started), (2, None), "it never ran");
    assert_eq!(ended.reported(over(End::Failed, 10)), None);
}

#[test]
fn steps_follow_the_plan_and_the_driver() {
    let names = |status: &TaskStatus| -> Vec<String> {
        let outcome = |outcome: Option<StepOutcome>| outcome.map_or("", StepOutcome::name);
        status.steps.iter().map(|step| format!("{} {}", step.kind, outcome(step.outcome))).collect()
    };
    let mut status = status(Phase::Running);
    // The first began with the task.
    assert!(status.advance(step(StepKind::Revoke, 2)));
    assert_eq!(status.steps[0].started, Some(at(1)));
    assert!(status.advance(step(StepKind::Prepare, 2)));
    assert!(status.advance(step(StepKind::Driver("wipe".to_owned()), 3)));
    assert!(status.advance(step(StepKind::Driver("wipe".to_owned()), 4)));
    assert_eq!(names(&status), ["revoke success", "prepare success", "wipe success", "wipe "]);
    let clean = Report::Step { kind: StepKind::CleanUp, at: at(5), before: StepOutcome::Failed };
    assert!(status.advance(clean));
    assert!(status.advance(over(End::Failed, 6)));
    let all = ["revoke success", "prepare success", "wipe success", "wipe failed", "clean up failed"];
    assert_eq!(names(&status), all);

    // A step that is left out is skipped.
    let plan = spec(TaskKind::Open, Some(1)).plan(true, true, None);
    let begun = Report::Begun { at: at(1), deadline: at(2), instance: instance(1), plan };
    let mut status = TaskStatus::waiting().report(begun).unwrap();
    assert!(status.advance(step(StepKind::Authorize, 2)));
    assert_eq!(names(&status), ["check success", "take session key skipped", "authorize ", "open tunnel "]);
}

#[test]
fn plans_by_kind() {
    use StepKind::{Authorize, Check, Maintain, OpenTunnel, Prepare, Revoke, TakeKey};
    for (kind, request, check, key, plan) in [
        (TaskKind::Prepare, None, true, true, vec![Prepare]),
        (TaskKind::Prepare, Some(1), true, true, vec![Revoke, Prepare]),
        (TaskKind::Maintain, None, false, false, vec![Maintain]),
        (TaskKind::Maintain, Some(1), false, false, vec![Revoke, Maintain]),
        (TaskKind::Check, None, false, false, vec![Check]),
        (TaskKind::Recheck, None, false, false, vec![Check]),
        (TaskKind::PowerOff, None, false, false, vec![StepKind::PowerOff]),
        (TaskKind::Open, Some(1), false, false, vec![Authorize, OpenTunnel]),
        (TaskKind::Open, Some(1), true, true, vec![Check, TakeKey, Authorize, OpenTunnel]),
    ] {
        let spec = spec(kind, request);
        assert_eq!(spec.plan(check, key, None), plan, "{kind:?}");
        let winds_down = matches!(kind, TaskKind::Maintain | TaskKind::PowerOff)
            || (kind == TaskKind::Prepare && request.is_some());
        assert_eq!(spec.winds_down(), winds_down, "{kind:?}");
    }
    let classes = TaskKind::ALL.map(TaskKind::class);
    assert_eq!(classes, [1, 2, 0, 3, 3, 2, 2]);
}

#[test]
fn plans_for_an_introspection_by_where_it_is() {
    use StepKind::{Introspect, PowerCycle, Prepare, Process, Revoke};
    let id = IntrospectionId(Uuid::from_u128(1));
    let plan = |kind, way, state| {
        let run = Introspection { state, ..Introspection::start(id, worker_id(1), way, None, at(0)) };
        spec(kind, Some(1)).plan(true, true, Some(&run))
    };
    for state in introspection::State::ALL {
        let expects = matches!(state, introspection::State::Starting | introspection::State::Waiting);
        let works = expects || state == introspection::State::Processing;
        let read = if expects { vec![Introspect, Process] } else { vec![Process] };
        assert_eq!(plan(TaskKind::Introspect, Way::Pull, state), read, "{state:?}");
        assert_eq!(plan(TaskKind::Introspect, Way::Push, state), [PowerCycle], "{state:?}");
        let first = [vec![Revoke], if works { read } else { vec![] }, vec![Prepare]].concat();
        assert_eq!(plan(TaskKind::Prepare, Way::Pull, state), first, "{state:?}");
        assert_eq!(plan(TaskKind::PowerOff, Way::Pull, state), [StepKind::PowerOff], "{state:?}");
    }
}

#[test]
fn the_log_is_bounded() {
    let mut tail = LogTail::default();
    for number in 0..200 {
        tail.push(line(number, &format!("{number} {}", "ü".repeat(600))));
    }
    assert_eq!(tail.lines().len(), LogTail::LINES);
    assert!(tail.lines().all(|line| line.text.len() <= LogTail::BYTES));
    assert!(tail.lines().next().unwrap().text.starts_with("150 "));
}

#[test]
fn an_instance_dies_by_silence_or_by_another() {
    let silence = SignedDuration::from_secs(60);
    let one = Instance { incarnation: 3, ..Instance::starting(instance(1), at(0)) };
    for (newest, now, ended, died) in [
        (3, 60, false, false),
        (3, 61, false, true),
        (4, 1, false, true),
        (4, 1, true, false),
        (3, 1000, true, false),
        // A clock that steps back makes nobody dead.
        (3, -1000, false, false),
    ] {
        let one = Instance { ended: ended.then(|| at(1)), ..one };
        assert_eq!(one.has_died(newest, at(now), silence), died, "{newest} {now} {ended}");
    }
}

#[test]
fn limits_and_scopes() {
    for (value, running, allowed) in [
        (None, 0, true),
        (None, u32::MAX, true),
        (Some(0), 0, false),
        (Some(2), 1, true),
        (Some(2), 2, false),
    ] {
        assert_eq!(Limit { scope: Scope::Farm, value, revision: 1 }.allows(running), allowed);
    }
    for scope in [Scope::Farm, Scope::Driver("ssh".to_owned()), Scope::Host("rack 1".to_owned())] {
        assert_eq!(Scope::from_parts(scope.kind(), scope.name()), Some(scope));
    }
    assert_eq!(Scope::from_parts("farm", "x"), None);
    assert_eq!(Scope::from_parts("rack", ""), None);
}

fn any_report() -> impl Strategy<Value = Report> {
    (0..1000_i64).prop_flat_map(|second| select(reports(second)).prop_map(|(report, ..)| report))
}

proptest! {
    #[test]
    fn whatever_is_reported_a_status_only_moves_forward(told in vec(any_report(), 0..20)) {
        let mut status = TaskStatus::waiting();
        for report in told {
            let before = status.clone();
            let taken = status.advance(report);
            prop_assert!(taken || status == before);
            prop_assert!(status.phase >= before.phase);
            prop_assert!(!before.phase.is_terminal() || !taken);
            prop_assert!(before.started.is_none() || status.started == before.started);
            prop_assert!(before.instance.is_none() || status.instance == before.instance);
            prop_assert_eq!(status.phase.is_terminal(), status.ended.is_some());
            prop_assert!(status.phase != Phase::Running || status.started.is_some());
            prop_assert!(status.steps.iter().filter(|step| step.is_running()).count() <= 1);
            prop_assert!(status.steps.iter().all(|step| step.ended.is_some() == step.outcome.is_some()));
            prop_assert!(!status.phase.is_terminal() || status.steps.iter().all(|step| step.outcome.is_some()));
            // What is over stays as it was, in its order.
            let over = |status: &TaskStatus| -> Vec<_> {
                status.steps.iter().filter(|step| step.outcome.is_some()).cloned().collect()
            };
            let (was, is) = (over(&before), over(&status));
            prop_assert!(was.iter().all(|step| is.contains(step)));
        }
    }

    #[test]
    fn steps_are_read_back_also_those_of_newer_versions(text in "[a-z_:]{0,12}|driver:.{0,8}|.{0,8}") {
        let kind = StepKind::stored(&text);
        prop_assert_eq!(kind.text(), text.as_str());
        prop_assert_eq!(StepKind::stored(&kind.text()), kind.clone());
        let unknown = matches!(kind, StepKind::Unknown(_));
        prop_assert_eq!(StepKind::parse(&text).is_err(), unknown, "an error where somebody gives it");
    }

    #[test]
    fn known_steps_are_read_back(name in ".{0,12}", core in select(&StepKind::CORE[..])) {
        for kind in [StepKind::Driver(name), core] {
            prop_assert_eq!(StepKind::parse(&kind.text()), Ok(kind.clone()));
        }
    }
}
