//! Groups, capabilities, moments, ids, tasks, subjects: the small values.

use std::sync::Arc;

use grove_domain::capability::{Capabilities, DRIFT_KEY, UUID_KEY};
use grove_domain::event::Subject;
use grove_domain::group::OwnerGroups;
use grove_domain::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use grove_domain::moment::{Moment, SignedDuration, Timestamp, after, one_month_after};
use grove_domain::task::{Phase, StepOutcome, TaskKind};
use proptest::prelude::*;

use crate::fixtures::{at, map, task_id, worker_id};

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn groups_must_meet_unless_one_side_is_open() {
    let some = |names| OwnerGroups::Some(groups(names));
    assert!(some(&[]).may_use(&[]), "a worker without groups is open to everyone");
    assert!(some(&["a"]).may_use(&[]));
    assert!(!some(&[]).may_use(&groups(&["a"])), "an owner without groups reaches only those");
    assert!(some(&["a", "b"]).may_use(&groups(&["b", "c"])));
    assert!(!some(&["a", "b"]).may_use(&groups(&["c"])));
    assert!(!some(&["A"]).may_use(&groups(&["a"])), "names are compared as they are");
    assert!(OwnerGroups::All.may_use(&groups(&["a"])));
    assert!(OwnerGroups::All.may_use(&[]));
    assert!(!some(&["*"]).may_use(&groups(&["a"])), "only the farm gives out `*`, not a name");
}

#[test]
fn admin_goes_over_introspected_goes_over_agent() {
    let agent = Arc::new(map(&[("a", "agent"), ("b", "agent"), ("c", "agent"), (UUID_KEY, "forged")]));
    let introspected = Arc::new(map(&[("b", "introspected"), ("c", "introspected")]));
    let admin = Arc::new(map(&[("c", "admin"), ("d", "admin")]));
    let all = Capabilities::new(worker_id(1), agent, introspected, admin);
    let uuid = "00000000-0000-0000-0000-000000000001";
    let expected = [("a", "agent"), ("b", "introspected"), ("c", "admin"), ("d", "admin"), (UUID_KEY, uuid)];
    assert_eq!(**all.effective(), map(&expected));

    let bare = all.with_agent(worker_id(1), Arc::new(map(&[("e", "agent")])));
    assert_eq!(bare.effective()["e"], "agent");
    assert!(!bare.effective().contains_key("a"));
    let bare = bare.with_admin(worker_id(1), Arc::new(map(&[])));
    assert_eq!(bare.effective()["c"], "introspected", "what the admin takes back shows what was below");
    assert_eq!((bare.admin().len(), bare.introspected().len(), bare.agent().len()), (0, 2, 1));
}

#[test]
fn only_introspection_speaks_of_drift() {
    let drift = |text: &str| Arc::new(map(&[(DRIFT_KEY, text)]));
    let none = || Arc::new(map(&[]));
    let told = Capabilities::new(worker_id(1), drift("agent"), drift("uart"), drift("admin"));
    assert_eq!(told.effective()[DRIFT_KEY], "uart");
    let told = Capabilities::new(worker_id(1), drift("agent"), none(), drift("admin"));
    assert!(!told.effective().contains_key(DRIFT_KEY));
}

#[test]
fn a_month_later_is_the_same_day_or_the_last() {
    let later = |text: &str| one_month_after(text.parse().unwrap()).to_string();
    assert_eq!(later("2026-11-21T02:44:44Z"), "2026-12-21T02:44:44Z");
    assert_eq!(later("2026-12-31T00:00:00Z"), "2027-01-31T00:00:00Z");
    assert_eq!(later("2027-01-31T12:00:00Z"), "2027-02-28T12:00:00Z");
    assert_eq!(later("2028-01-31T12:00:00Z"), "2028-02-29T12:00:00Z");
    assert_eq!(one_month_after(Timestamp::MAX), Timestamp::MAX);
}

#[test]
fn times_stay_within_what_can_be_written() {
    assert_eq!(after(at(5), SignedDuration::from_secs(7)), at(12));
    assert_eq!(after(at(5), SignedDuration::from_secs(-7)), at(-2));
    assert_eq!(after(Timestamp::MAX, SignedDuration::from_secs(1)), Timestamp::MAX);
    assert_eq!(after(at(0), SignedDuration::MAX), Timestamp::MAX);
    assert_eq!(after(at(0), SignedDuration::MIN), Timestamp::MIN);
    assert_eq!(Moment::utc(at(5)), Moment { at: at(5), offset: 0 });
}

#[test]
fn names_are_read_back() {
    for kind in TaskKind::ALL {
        assert_eq!(TaskKind::from_name(kind.name()), Some(kind));
    }
    for phase in Phase::ALL {
        assert_eq!(Phase::from_name(phase.name()), Some(phase));
        assert_eq!(phase.is_terminal(), !matches!(phase, Phase::Waiting | Phase::Running));
    }
    for outcome in StepOutcome::ALL {
        assert_eq!(StepOutcome::from_name(outcome.name()), Some(outcome));
    }
}

proptest! {
    #[test]
    fn ids_and_subjects_are_read_back(number in any::<u128>(), request in any::<u64>(), name in "[a-z/-]{1,12}") {
        let (worker, task) = (worker_id(number), task_id(number));
        prop_assert_eq!(worker.to_string().parse::<WorkerId>().unwrap(), worker);
        prop_assert_eq!(task.to_string().parse::<TaskId>().unwrap(), task);
        let subjects = [
            Subject::Worker(worker),
            Subject::Request(RequestId(request)),
            Subject::Task(task),
            Subject::Introspection(IntrospectionId(task.0)),
            Subject::Rule(RuleId(task.0)),
            Subject::Plugin(name),
            Subject::Farm,
        ];
        for subject in subjects {
            prop_assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }
    }

    #[test]
    fn what_is_no_subject_is_refused(text in "(worker|request|task|introspection|rule|rack)/[x-z]{0,4}|[a-e]{0,5}") {
        prop_assert!(text.parse::<Subject>().is_err());
    }
}
