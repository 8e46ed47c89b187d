//! Introspections, their inventories and rules: what is kept, what goes, and what is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use grove_domain::history::IntrospectionQuery;
use grove_domain::id::{IntrospectionId, RuleId, Uuid};
use grove_domain::introspection::{Ending, Event, Findings, Introspection, Kind, State, Way};
use grove_domain::task::TaskKind;
use grove_store::{Change, CommitError, Pruned, Retention, Store};

use crate::farm::{
    self, at, batch, commit, lived, moved, put_rule, put_run, put_task, put_worker, rule, run, task, worker,
};

fn id(number: u128) -> IntrospectionId {
    IntrospectionId(Uuid::from_u128(number))
}

fn numbers(runs: &[Introspection]) -> Vec<u128> {
    runs.iter().map(|run| run.id.0.as_u128()).collect()
}

fn put(store: &Store, changes: impl IntoIterator<Item = Change>) {
    let epoch = store.load().unwrap().epoch;
    commit(store, batch(epoch, changes)).unwrap();
}

fn raw(run: &Introspection, text: &str) -> Change {
    Change::PutInventory(run.id, Kind::Raw, text.into())
}

/// Workers 1 and 2 with runs: 1 and 2 ended well, 3 failed after its inventory had come, 4 before; 5 is under way.
fn with_runs() -> (tempfile::TempDir, Store) {
    let (folder, store) = farm::new();
    let mut changes = vec![put_worker(&worker(1)), put_worker(&worker(2))];
    for number in 1..=4 {
        let first = run(number, &worker(1));
        let lives = match number {
            4 => moved(&first, 4, [Event::Wait, Event::Timeout]),
            number => lived(&first, number.try_into().unwrap(), number < 3),
        };
        changes.extend(lives.iter().map(put_run));
        changes.push(raw(&first, "{}"));
    }
    changes.push(put_run(&run(5, &worker(2))));
    put(&store, changes);
    (folder, store)
}

#[test]
fn a_controller_is_told_of_what_something_may_still_become_of() {
    let (folder, store) = with_runs();
    drop(store);
    let store = farm::open(folder.path());
    let loaded = store.load().unwrap().introspections;
    assert_eq!(
        numbers(&loaded),
        [2, 3, 4, 5],
        "the last that ended well, with an inventory, at all; and what lives"
    );
    assert_eq!(store.introspection(id(1)).unwrap().unwrap().state, State::Finished);
    assert_eq!(store.introspection(id(6)).unwrap(), None);
}

#[test]
fn runs_are_found_newest_first_page_by_page() {
    let (folder, store) = with_runs();
    let all = IntrospectionQuery { limit: 9, ..IntrospectionQuery::default() };
    let found = |query: IntrospectionQuery| numbers(&store.introspections(&query).unwrap());
    assert_eq!(found(all.clone()), [5, 4, 3, 2, 1]);
    let first = IntrospectionQuery { worker: Some(worker(1).id), ..all.clone() };
    assert_eq!(found(first.clone()), [4, 3, 2, 1]);
    assert_eq!(found(IntrospectionQuery { before: Some(id(3)), limit: 1, ..first.clone() }), [2]);
    assert_eq!(found(IntrospectionQuery { state: Some(State::Error), ..first }), [4, 3]);
    assert_eq!(found(IntrospectionQuery { state: Some(State::Starting), ..all }), [5]);
    let connection = farm::intrude(folder.path());
    for (sql, index) in [
        (
            "SELECT * FROM introspections WHERE worker = x'' AND id < x'' ORDER BY id DESC",
            "introspections_by_worker",
        ),
        ("SELECT * FROM introspections WHERE state = 'error' ORDER BY id DESC", "introspections_by_state"),
        ("SELECT * FROM introspections WHERE finished < '2' ORDER BY finished", "introspections_by_end"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {sql} LIMIT 9");
        let plan: String = connection.query_row(&sql, [], |row| row.get("detail")).unwrap();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[test]
fn what_is_kept_of_an_inventory_is_replaced_and_goes_with_its_run() {
    let (folder, store) = with_runs();
    let found = Findings { labels: [("seen".to_owned(), "yes".to_owned())].into(), ..Findings::default() };
    let first = run(1, &worker(1));
    let last = Change::PutInventory(first.id, Kind::Processed, "{\"cpus\":4}".into());
    put(&store, [raw(&first, "{\"a\":1}"), Change::PutFindings(first.id, Arc::default()), last]);
    put(&store, [raw(&first, "{\"b\":2}"), Change::PutFindings(first.id, Arc::new(found.clone()))]);
    let kept = |kind| store.inventory(first.id, kind).unwrap();
    assert_eq!(kept(Kind::Raw).as_deref(), Some("{\"b\":2}"));
    assert_eq!(kept(Kind::Processed).as_deref(), Some("{\"cpus\":4}"));
    assert_eq!(store.findings(first.id).unwrap(), Some(found));
    assert_eq!(store.findings(id(2)).unwrap(), None);
    put(&store, [Change::RemoveWorker(worker(1).id)]);
    let all = IntrospectionQuery { limit: 9, ..IntrospectionQuery::default() };
    assert_eq!(numbers(&store.introspections(&all).unwrap()), [5], "with its worker");
    let rows: u32 = farm::intrude(folder.path())
        .query_row("SELECT count(*) FROM inventories", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn old_runs_are_forgotten_but_for_those_that_something_may_still_become_of() {
    let (_folder, store) = with_runs();
    // Enough boards that did not become workers.
    let refused = (1000..2010).flat_map(|number| {
        let first = Introspection::enrol(id(number), at(0));
        moved(&first, 9000, [Event::Error { reason: "no inspector knows this board".to_owned() }])
    });
    let refused: Vec<_> = refused.collect();
    put(&store, refused.iter().map(put_run));
    let prune = |second, limit| {
        let retention = Retention {
            events_before: None,
            tasks_before: None,
            introspections_before: Some(at(second)),
            limit,
        };
        store.prune(retention).unwrap()
    };
    let some = |introspections| Pruned { introspections, ..Pruned::default() };
    assert_eq!(prune(1, 5), some(5), "of those boards a thousand are kept; no other is old enough");
    assert_eq!(prune(1, 50), some(5));
    let reset = |store: &Store| store.load().unwrap().introspections;
    assert_eq!(prune(5000, 50), some(1));
    assert_eq!(prune(5000, 50), some(0));
    assert_eq!(numbers(&reset(&store)), [2, 3, 4, 5]);
    assert_eq!(store.inventory(id(1), Kind::Raw).unwrap(), None);
    let later = lived(&run(6, &worker(1)), 6, true);
    put(&store, later.iter().map(put_run).chain([raw(&later[0], "{}")]));
    assert_eq!(prune(5000, 2), some(2));
    assert_eq!(prune(5000, 2), some(1));
    assert_eq!(numbers(&reset(&store)), [5, 6]);
    assert_eq!(prune(9001, 5000), some(1000));
}

#[track_caller]
fn refused(store: &Store, what: &str, rule: &str, changes: impl IntoIterator<Item = Change>) {
    let before = store.load().unwrap();
    let answer = commit(store, batch(before.epoch, changes));
    assert_eq!(answer, Err(CommitError::Forbidden { what: what.to_owned(), rule: rule.to_owned() }));
    assert_eq!(store.load().unwrap().introspections, before.introspections);
}

#[test]
fn runs_that_must_never_be_are_refused() {
    let (_folder, store) = with_runs();
    let what = format!("introspection {} at revision 1", id(9));
    type Spoil = fn(&mut Introspection);
    let spoilt: [(&str, Spoil); 12] = [
        ("introspection_ends_when_terminal", |run| run.finished = Some(at(1))),
        ("introspection_ends_when_terminal", |run| run.state = State::Finished),
        ("introspection_in_error_says_why", |run| {
            (run.state, run.finished) = (State::Error, Some(at(1)));
        }),
        ("introspection_in_error_says_why", |run| run.error = Some("so".to_owned())),
        ("aborting_introspection_says_why", |run| run.state = State::Aborting),
        ("aborting_introspection_says_why", |run| {
            run.ending = Some(Ending { reason: "so".to_owned(), switch_off: true });
        }),
        ("only_unknown_boards_enrol", |run| run.worker = None),
        ("only_unknown_boards_enrol", |run| run.state = State::Enrolling),
        ("only_unknown_boards_enrol", |run| {
            (run.worker, run.way, run.state) = (None, Way::Enrol, State::Processing)
        }),
        ("processed_inventory_came", |run| run.has_processed = true),
        ("introspection_counts", |run| run.revision = 0),
        ("introspections.worker is unique", |run| run.worker = Some(worker(2).id)),
    ];
    for (rule, spoil) in spoilt {
        let mut wrong = run(9, &worker(1));
        spoil(&mut wrong);
        let what = format!("introspection {} at revision {}", id(9), wrong.revision);
        refused(&store, &what, rule, [put_run(&wrong)]);
    }
    // A worker's own live run must end first; then, in the same batch, another may begin.
    let ended = moved(&run(5, &worker(2)), 7, [Event::Timeout]);
    refused(
        &store,
        &what,
        "introspections.worker is unique",
        [put_run(&run(9, &worker(2))), put_run(&ended[1])],
    );
    put(&store, [put_run(&ended[1]), put_run(&run(9, &worker(2)))]);
    // Everything is about something that is there.
    let nobody = format!("introspection {:032X}", 8);
    refused(&store, &nobody, "introspected_worker_is_there", [put_run(&run(8, &worker(77)))]);
    let nothing = format!("the inventory of introspection {:032X}", 77);
    refused(&store, &nothing, "inventory_has_introspection", [raw(&run(77, &worker(1)), "{}")]);
    // A later revision over an earlier one, and nothing else.
    let epoch = store.load().unwrap().epoch;
    let stale = commit(&store, batch(epoch, [put_run(&ended[1])]));
    assert!(matches!(stale, Err(CommitError::Conflict { .. })), "{stale:?}");
}

#[test]
fn rules_are_written_once_and_come_in_their_order() {
    let (folder, store) = farm::new();
    put(&store, [put_rule(&rule(7, 2)), put_rule(&rule(9, 1)), put_rule(&rule(1, 3))]);
    let places = |store: &Store| {
        store.load().unwrap().rules.iter().map(|rule| rule.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(places(&store), [9, 7, 1]);
    for (again, conflict) in [(rule(7, 4), true), (rule(4, 3), false)] {
        let epoch = store.load().unwrap().epoch;
        let answer = commit(&store, batch(epoch, [put_rule(&again)]));
        assert_eq!(matches!(answer, Err(CommitError::Conflict { .. })), conflict, "{answer:?}");
        assert!(answer.is_err());
    }
    let changed = farm::intrude(folder.path()).execute("UPDATE rules SET place = 9", []).unwrap_err();
    assert!(changed.to_string().contains("rules_are_written_once"), "{changed}");
    put(&store, [Change::RemoveRule(RuleId(Uuid::from_u128(7)))]);
    assert_eq!(places(&store), [9, 1]);
    let epoch = store.load().unwrap().epoch;
    let gone = commit(&store, batch(epoch, [Change::RemoveRule(RuleId(Uuid::from_u128(7)))]));
    assert!(matches!(gone, Err(CommitError::Conflict { .. })), "{gone:?}");
    let spoil = "DROP TRIGGER rules_are_written_once; UPDATE rules SET actions = '[{\"kind\":\"dream\"}]'";
    farm::intrude(folder.path()).execute_batch(spoil).unwrap();
    let error = store.load().unwrap_err().to_string();
    assert!(error.contains("this version knows no action \"dream\""), "{error}");
}

#[test]
fn tasks_of_every_kind_are_kept() {
    let (_folder, store) = farm::new();
    let mut board = worker(1);
    let mut changes = Vec::new();
    for (number, kind) in (1..).zip(TaskKind::ALL) {
        let mut work = task(number, kind, &worker(number), None);
        Arc::make_mut(&mut work.spec).introspection = Some(id(number));
        changes.push(put_task(&work));
        board.task = Some((work.id, kind));
        changes.push(put_worker(&board));
        board.revision += 1;
    }
    put(&store, changes);
    let loaded = store.load().unwrap();
    let kinds: BTreeSet<_> = loaded.live_tasks.iter().map(|task| task.spec.kind).collect();
    assert_eq!(kinds, TaskKind::ALL.into());
    assert!(loaded.live_tasks.iter().all(|task| task.spec.introspection.is_some()));
    assert_eq!(loaded.workers[0].task.map(|(_, kind)| kind), Some(TaskKind::PowerOff));
}
