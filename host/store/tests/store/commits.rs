//! Batches: all or nothing, in order, on what is stored and on nothing else.

use std::sync::{Arc, Mutex, mpsc};

use grove_domain::event::Subject;
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::request::State;
use grove_domain::task::{End, TaskKind};
use grove_store::{Batch, Change, CommitError, EventQuery, Loaded, Store, StoreError};

use crate::farm::{
    self, batch, commit, ended, event, put_request, put_task, put_worker, request, task, worker,
};

/// Keeps the writer in a callback, so that what follows is one group; it goes on when the answer is dropped.
fn hold(store: &Store, epoch: u64) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    store.commit(batch(epoch, []), move |_| {
        tell.send(()).unwrap();
        assert!(wait.recv().is_err());
    });
    told.recv().unwrap();
    go
}

type Answers = Arc<Mutex<Vec<(u64, Result<(), CommitError>)>>>;

fn commit_noting(store: &Store, answers: &Answers, number: u64, batch: Batch) {
    let answers = answers.clone();
    store.commit(batch, move |answer| answers.lock().unwrap().push((number, answer)));
}

#[test]
fn what_was_committed_is_loaded() {
    let (folder, store) = farm::new();
    let loaded = store.load().unwrap();
    assert_eq!(loaded, Loaded { epoch: 1, ..Loaded::default() });
    let (board, wish) = (worker(1), request(1));
    let work = task(1, TaskKind::Prepare, &board, None);
    let over = farm::over(&work, End::Succeeded, farm::at(9));
    let live = task(2, TaskKind::Check, &board, None);
    let changes =
        vec![put_worker(&board), put_request(&wish), put_task(&work), put_task(&over), put_task(&live)];
    let events = vec![event(1, Subject::Worker(board.id)), event(2, Subject::Request(wish.id))];
    commit(&store, Batch { epoch: 1, changes, events }).unwrap();
    drop(store);
    let loaded = farm::open(folder.path()).load().unwrap();
    let expected = Loaded {
        epoch: 2,
        workers: vec![board],
        requests: vec![wish],
        live_tasks: vec![live],
        plugins: Vec::new(),
        plugin_versions: Vec::new(),
        introspections: vec![],
        rules: vec![],
        limits: vec![],
        mode: Default::default(),
        instances: vec![],
        superseded_by: None,
        stopped: false,
        last_request: 1,
        last_place: 1,
        last_event: 2,
    };
    assert_eq!(loaded, expected);
}

#[test]
fn a_failed_batch_takes_its_group_and_its_epoch_with_it() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    let answers = Answers::default();
    let held = hold(&store, epoch);
    commit_noting(&store, &answers, 1, batch(epoch, [put_request(&request(2))]));
    // Its second row conflicts: its first must not stay either.
    commit_noting(&store, &answers, 2, batch(epoch, [put_request(&request(3)), put_request(&request(1))]));
    commit_noting(&store, &answers, 3, batch(epoch, [put_request(&request(4))]));
    drop(held);
    let later = commit(&store, batch(epoch, [put_request(&request(5))]));

    let answers = answers.lock().unwrap().clone();
    let because = "request 1 at revision 1 does not follow on what is stored: load again".to_owned();
    let void = Err(CommitError::Void { because: because.clone() });
    let conflict = Err(CommitError::Conflict { what: "request 1 at revision 1".to_owned() });
    assert_eq!(answers, [(1, void.clone()), (2, conflict), (3, void.clone())]);
    assert_eq!(later, void);

    let loaded = store.load().unwrap();
    assert_eq!(loaded.requests, [request(1)]);
    commit(&store, batch(loaded.epoch, [put_request(&request(2))])).unwrap();
}

#[test]
fn answers_come_in_order() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let answers = Answers::default();
    let held = hold(&store, epoch);
    for number in 1..=500 {
        let epoch = if number % 7 == 0 { epoch + 1 } else { epoch };
        commit_noting(&store, &answers, number, batch(epoch, [put_request(&request(number))]));
    }
    drop(held);
    let loaded = store.load().unwrap();
    let answers = answers.lock().unwrap();
    assert_eq!(answers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    for (number, answer) in answers.iter() {
        assert_eq!(answer.is_ok(), number % 7 != 0, "{number}: {answer:?}");
    }
    assert_eq!(loaded.requests.len(), 500 - 500 / 7);
}

#[test]
fn only_the_newest_load_may_write() {
    let (folder, store) = farm::new();
    let early = commit(&store, batch(0, [put_request(&request(1))]));
    assert!(matches!(early, Err(CommitError::Void { .. })), "{early:?}");
    let first = store.load().unwrap().epoch;
    let second = store.load().unwrap().epoch;
    assert!(second > first);
    let stale = commit(&store, batch(first, [put_request(&request(1))]));
    assert_eq!(stale, Err(CommitError::Epoch { batch: first, current: second }));
    // A stale batch harms nobody else.
    commit(&store, batch(second, [put_request(&request(1))])).unwrap();
    drop(store);
    let store = farm::open(folder.path());
    assert!(store.load().unwrap().epoch > second);
}

#[test]
fn a_put_replaces_the_revision_before_and_nothing_else() {
    let mut second = request(1);
    second.revision = 2;
    let mut third = request(1);
    third.revision = 3;
    let mut board = worker(1);
    board.revision = 5;
    let mut work = task(1, TaskKind::Check, &worker(1), None);
    work.revision = 2;
    let cases: [(Vec<Change>, &str); 5] = [
        (vec![put_request(&request(1))], "request 1 at revision 1"),
        (vec![put_request(&third)], "request 1 at revision 3"),
        (vec![put_request(&second), put_request(&second)], "request 1 at revision 2"),
        (vec![put_worker(&board)], "worker 00000000-0000-0000-0000-000000000001 at revision 5"),
        (vec![put_task(&work)], "task 00000000-0000-0000-0000-000000000001 at revision 2"),
    ];
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    for (changes, what) in cases {
        let epoch = store.load().unwrap().epoch;
        let answer = commit(&store, batch(epoch, changes));
        assert_eq!(answer, Err(CommitError::Conflict { what: what.to_owned() }));
    }
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&second), put_request(&third)])).unwrap();
    assert_eq!(store.load().unwrap().requests, [third]);
}

#[test]
fn events_have_no_gaps() {
    let (_folder, store) = farm::new();
    for (wrong, expected) in [(2, 1), (3, 2), (1, 2)] {
        let epoch = store.load().unwrap().epoch;
        let first =
            commit(&store, Batch { epoch, changes: vec![], events: vec![event(wrong, Subject::Farm)] });
        assert_eq!(first, Err(CommitError::Gap { expected, found: wrong }));
        let epoch = store.load().unwrap().epoch;
        if expected == 1 {
            commit(&store, Batch { epoch, changes: vec![], events: vec![event(1, Subject::Farm)] }).unwrap();
        }
    }
    let epoch = store.load().unwrap().epoch;
    // The gap may lie between two batches of one group, or within one.
    let events = vec![event(2, Subject::Farm), event(4, Subject::Farm)];
    let answer = commit(&store, Batch { epoch, changes: vec![], events });
    assert_eq!(answer, Err(CommitError::Gap { expected: 3, found: 4 }));
    let kept = store.events(&EventQuery { limit: 9, ..Default::default() }).unwrap();
    assert_eq!(kept, [event(1, Subject::Farm)]);
}

#[test]
fn what_lives_is_not_removed_and_what_is_gone_is_not_removed_twice() {
    let (_folder, store) = farm::new();
    let board = worker(1);
    let live = task(1, TaskKind::Check, &board, None);
    let gone = RequestId(9);
    let nobody = WorkerId(Uuid::from_u128(9));
    let epoch = store.load().unwrap().epoch;
    let kept = [put_worker(&board), put_request(&request(1)), put_task(&live)];
    commit(&store, batch(epoch, kept)).unwrap();
    let refused = [
        Change::RemoveRequest(RequestId(1)),
        Change::RemoveRequest(gone),
        Change::RemoveTask(live.id),
        Change::RemoveWorker(nobody),
    ];
    for change in refused {
        let epoch = store.load().unwrap().epoch;
        let answer = commit(&store, batch(epoch, [change.clone()]));
        assert!(matches!(answer, Err(CommitError::Conflict { .. })), "{change:?}: {answer:?}");
    }
    let epoch = store.load().unwrap().epoch;
    let over = farm::over(&live, End::Cancelled, farm::at(5));
    let changes = [
        put_request(&ended(&request(1), State::Cancelled)),
        Change::RemoveRequest(RequestId(1)),
        put_task(&over),
        Change::RemoveTask(over.id),
        Change::RemoveWorker(board.id),
    ];
    commit(&store, batch(epoch, changes)).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.workers.len(), loaded.requests.len(), loaded.live_tasks.len()), (0, 0, 0));
    assert_eq!((loaded.last_request, loaded.last_place), (1, 1), "numbers outlive their rows");
}

#[test]
fn a_callback_may_commit_drop_the_store_or_panic() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let (tell, told) = mpsc::channel();
    store.commit(batch(epoch, [put_request(&request(1))]), |_| panic!("a caller's mistake"));
    let again = store.clone();
    store.commit(batch(epoch, [put_request(&request(2))]), move |_| {
        again.commit(batch(epoch, [put_request(&request(3))]), move |answer| tell.send(answer).unwrap());
        drop(again);
    });
    drop(store);
    told.recv().unwrap().unwrap();
    // The writer itself dropped the last handle, perhaps: wait until it has let the folder go.
    let store = loop {
        match Store::open(folder.path(), grove_store::Settings::default()) {
            Ok(store) => break store,
            Err(grove_store::OpenError::InUse(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(store.load().unwrap().requests.len(), 3);
}

#[test]
fn more_than_the_queue_holds_is_stored_all_the_same() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let (tell, told) = mpsc::channel();
    for number in 1..=10_000 {
        let tell = tell.clone();
        store.commit(batch(epoch, [put_request(&request(number))]), move |answer| tell.send(answer).unwrap());
    }
    drop(tell);
    assert!(told.iter().all(|answer| answer.is_ok()));
    assert_eq!(store.load().unwrap().requests.len(), 10_000);
}

#[tokio::test]
async fn a_commit_can_be_awaited() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    store.commit_async(batch(epoch, [put_request(&request(1))])).await.unwrap();
    let answer = store.commit_async(batch(epoch, [put_request(&request(1))])).await;
    assert!(matches!(answer, Err(CommitError::Conflict { .. })), "{answer:?}");
}

#[test]
fn a_number_that_sqlite_cannot_count_to_is_refused() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let mut wish = request(1);
    wish.place = u64::MAX;
    let answer = commit(&store, batch(epoch, [put_request(&wish)]));
    let Err(CommitError::Store(StoreError::Row { row, .. })) = answer else { panic!("{answer:?}") };
    assert_eq!(row, "request 1 at revision 1");
}
