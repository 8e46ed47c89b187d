//! Pages, and forgetting.

use grove_domain::event::Subject;
use grove_domain::id::{RequestId, TaskId, Uuid};
use grove_domain::task::{End, Phase, TaskKind};
use grove_store::{Batch, EventQuery, Pruned, Retention, Store, StoreError, TaskQuery};

use crate::farm::{self, at, batch, commit, event, put_request, put_task, request, task, worker};

/// Tasks 1..=60: workers 1..=3, kinds in turn, every fourth still waiting, the others ended at their number.
fn with_tasks() -> (tempfile::TempDir, Store) {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let mut changes = Vec::new();
    for number in 1..=60_u64 {
        let kind = TaskKind::ALL[number as usize % 5];
        let work = task(number.into(), kind, &worker(u128::from(number % 3 + 1)), Some(number / 10));
        changes.push(put_task(&work));
        if number % 4 != 0 {
            let end = if number % 2 == 0 { End::Succeeded } else { End::Failed };
            changes.push(put_task(&farm::over(&work, end, at(number.cast_signed()))));
        }
    }
    commit(&store, batch(epoch, changes)).unwrap();
    (folder, store)
}

fn numbers(store: &Store, query: &TaskQuery) -> Vec<u128> {
    store.tasks(query).unwrap().iter().map(|task| task.id.0.as_u128()).collect()
}

#[test]
fn tasks_are_found_newest_first_page_by_page() {
    let (_folder, store) = with_tasks();
    let all = TaskQuery { limit: 100, ..TaskQuery::default() };
    assert_eq!(numbers(&store, &all), (1..=60).rev().collect::<Vec<_>>());
    type Holds = fn(u128) -> bool;
    let queries: [(TaskQuery, Holds); 5] = [
        (TaskQuery { worker: Some(worker(2).id), ..all.clone() }, |n| n % 3 == 1),
        (TaskQuery { request: Some(RequestId(3)), ..all.clone() }, |n| n / 10 == 3),
        (TaskQuery { kind: Some(TaskKind::Open), ..all.clone() }, |n| n % 5 == 2),
        (TaskQuery { phase: Some(Phase::Waiting), ..all.clone() }, |n| n % 4 == 0),
        (TaskQuery { worker: Some(worker(1).id), phase: Some(Phase::Failed), ..all.clone() }, |n| {
            n % 3 == 0 && n % 2 == 1
        }),
    ];
    for (query, holds) in queries {
        let expected: Vec<u128> = (1..=60).rev().filter(|&number| holds(number)).collect();
        assert_eq!(numbers(&store, &query), expected, "{query:?}");
        let mut paged = Vec::new();
        let mut page = TaskQuery { limit: 4, ..query };
        loop {
            let found = numbers(&store, &page);
            let Some(&last) = found.last() else { break };
            paged.extend(found);
            page.before = Some(TaskId(Uuid::from_u128(last)));
        }
        assert_eq!(paged, expected, "{page:?}");
    }
    assert_eq!(store.task(TaskId(Uuid::from_u128(61))).unwrap(), None);
}

#[test]
fn lists_come_from_indexes() {
    let (folder, _store) = with_tasks();
    let connection = farm::intrude(folder.path());
    let plan = |sql: &str| -> String {
        connection.query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get("detail")).unwrap()
    };
    let cases = [
        ("SELECT * FROM tasks WHERE worker = x'' AND id < x'' ORDER BY id DESC LIMIT 9", "tasks_by_worker"),
        ("SELECT * FROM tasks WHERE request = 1 ORDER BY id DESC LIMIT 9", "tasks_by_request"),
        ("SELECT * FROM tasks WHERE phase = 'failed' ORDER BY id DESC LIMIT 9", "tasks_by_phase"),
        ("SELECT * FROM tasks WHERE kind = 'open' ORDER BY id DESC LIMIT 9", "tasks_by_kind"),
        ("SELECT * FROM tasks WHERE ended IS NULL ORDER BY id", "live_tasks"),
        ("SELECT id FROM tasks WHERE ended < '2' ORDER BY ended LIMIT 9", "tasks_by_end"),
        ("SELECT * FROM events WHERE subject = 'farm' AND seq > 5 ORDER BY seq LIMIT 9", "events_by_subject"),
        ("SELECT * FROM events WHERE kind = 'x' AND seq > 5 ORDER BY seq LIMIT 9", "events_by_kind"),
    ];
    for (sql, index) in cases {
        let plan = plan(sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[test]
fn events_are_found_by_subject_and_kind() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let events: Vec<_> = (1..=40)
        .map(|seq| {
            let mut event = event(seq, Subject::Request(RequestId(seq % 4)));
            event.kind = if seq % 10 == 0 { "request.state" } else { "request.created" }.to_owned();
            event
        })
        .collect();
    commit(&store, Batch { epoch, changes: vec![], events: events.clone() }).unwrap();
    let all = EventQuery { limit: 100, ..EventQuery::default() };
    assert_eq!(store.events(&all).unwrap(), events);
    let seqs = |query| -> Vec<u64> { store.events(&query).unwrap().iter().map(|event| event.seq).collect() };
    assert_eq!(seqs(EventQuery { after: 37, ..all.clone() }), [38, 39, 40]);
    assert_eq!(seqs(EventQuery { after: 3, limit: 2, ..all.clone() }), [4, 5]);
    let newest = EventQuery { newest_first: true, ..all.clone() };
    assert_eq!(seqs(EventQuery { limit: 3, ..newest.clone() }), [40, 39, 38]);
    assert_eq!(seqs(EventQuery { before: Some(38), limit: 2, ..newest.clone() }), [37, 36]);
    assert_eq!(seqs(EventQuery { after: 35, before: Some(38), ..newest }), [37, 36]);
    let state = Some("request.state".to_owned());
    assert_eq!(seqs(EventQuery { kind: state.clone(), ..all.clone() }), [10, 20, 30, 40]);
    let subject = Some(Subject::Request(RequestId(2)));
    assert_eq!(seqs(EventQuery { kind: state, subject, after: 10, ..all }), [30]);
}

#[test]
fn reads_do_not_wait_for_writes() {
    let (folder, store) = with_tasks();
    let intruder = farm::intrude(folder.path());
    intruder.execute_batch("BEGIN IMMEDIATE; DELETE FROM tasks").unwrap();
    assert_eq!(numbers(&store, &TaskQuery { limit: 100, ..TaskQuery::default() }).len(), 60);
    intruder.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn more_readers_than_connections_take_turns() {
    let (_folder, store) = with_tasks();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(
                        store.tasks(&TaskQuery { limit: 7, ..TaskQuery::default() }).unwrap().len(),
                        7
                    );
                }
            });
        }
    });
}

#[test]
fn history_is_forgotten_piece_by_piece_and_numbers_are_not() {
    let (folder, store) = with_tasks();
    let epoch = store.load().unwrap().epoch;
    let events = (1..=30).map(|seq| event(seq, Subject::Farm)).collect();
    commit(&store, Batch { epoch, changes: vec![], events }).unwrap();
    let retention = Retention {
        events_before: Some(at(26)),
        tasks_before: Some(at(21)),
        introspections_before: None,
        limit: 10,
    };
    let mut counts = Vec::new();
    loop {
        let pruned = store.prune(retention.clone()).unwrap();
        counts.push((pruned.events, pruned.tasks));
        if pruned == Pruned::default() {
            break;
        }
    }
    // 15 of the first 20 tasks had ended.
    assert_eq!(counts, [(10, 10), (10, 5), (5, 0), (0, 0)]);
    let kept = store.events(&EventQuery { limit: 99, ..EventQuery::default() }).unwrap();
    assert_eq!(kept.iter().map(|event| event.seq).collect::<Vec<_>>(), (26..=30).collect::<Vec<_>>());
    let all = Retention {
        events_before: Some(at(1000)),
        tasks_before: None,
        introspections_before: None,
        limit: 100,
    };
    assert_eq!(store.prune(all).unwrap(), Pruned { events: 5, tasks: 0, introspections: 0 });
    // Pruning is no decision: the epoch goes on, and so do the numbers, also over a restart.
    commit(&store, Batch { epoch, changes: vec![], events: vec![event(31, Subject::Farm)] }).unwrap();
    let all = Retention {
        events_before: Some(at(1000)),
        tasks_before: None,
        introspections_before: None,
        limit: 100,
    };
    assert_eq!(store.prune(all).unwrap(), Pruned { events: 1, tasks: 0, introspections: 0 });
    drop(store);
    assert_eq!(farm::open(folder.path()).load().unwrap().last_event, 31);
}

#[test]
fn a_row_of_a_newer_vocabulary_is_named() {
    let (folder, store) = with_tasks();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(4))])).unwrap();
    let intruder = farm::intrude(folder.path());
    let spoil = "PRAGMA ignore_check_constraints = ON;
        UPDATE requests SET state = 'dreaming';
        UPDATE tasks SET kind = 'polish' WHERE id = x'00000000000000000000000000000004';";
    intruder.execute_batch(spoil).unwrap();
    assert_eq!(
        store.load().unwrap_err().to_string(),
        "request 4 cannot be read: state: this version knows no \"dreaming\""
    );
    assert_eq!(
        store.task(TaskId(Uuid::from_u128(4))).unwrap_err().to_string(),
        "task 00000000-0000-0000-0000-000000000004 cannot be read: kind: this version knows no \"polish\""
    );
}

#[test]
fn a_backup_is_a_store_and_private() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, store) = with_tasks();
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("grove.db");
    let copied = grove_store::copy(folder.path(), &file).unwrap();
    assert_eq!(copied.schema, 5);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(grove_store::copy(folder.path(), &file), Err(StoreError::Io(_))));
    let query = TaskQuery { limit: 100, ..TaskQuery::default() };
    assert_eq!(farm::open(other.path()).tasks(&query).unwrap(), store.tasks(&query).unwrap());
}
