//! A store that cannot be written says why, loses nothing, and works again once it can.

use std::sync::Arc;

use grove_domain::event::Subject;
use grove_domain::request::State;
use grove_store::{Batch, Change, CommitError, EventQuery, Retention, Settings, Store, StoreError};

use crate::farm::{self, batch, commit, ended, event, put_request, request};

#[test]
fn a_full_store_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let small = Settings { max_bytes: Some(1 << 20), ..Settings::default() };
    let store = Store::open(folder.path(), small).unwrap();
    let epoch = store.load().unwrap().epoch;
    let fill = |seq: u64| {
        let mut event = event(seq, Subject::Farm);
        event.note = Some("x".repeat(10_000));
        Batch { epoch, changes: vec![], events: vec![event] }
    };
    let mut stored = 0;
    let error = loop {
        match commit(&store, fill(stored + 1)) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "the limit is not kept");
    };
    assert!(matches!(error, CommitError::Store(StoreError::Full(_))), "{error}");
    assert!(stored > 10, "{stored}");
    let later = commit(&store, batch(epoch, [put_request(&request(1))]));
    assert!(matches!(later, Err(CommitError::Void { .. })), "{later:?}");

    // Everything that was acknowledged is there, and can be read.
    let loaded = store.load().unwrap();
    assert_eq!(loaded.last_event, stored);
    let kept = store.events(&EventQuery { limit: 1000, ..EventQuery::default() }).unwrap();
    assert_eq!(kept.len() as u64, stored);

    // Room is made: it goes on.
    let old = Retention {
        events_before: Some(farm::at(1000)),
        tasks_before: None,
        introspections_before: None,
        limit: 50,
    };
    assert!(store.prune(old).unwrap().events > 0);
    commit(&store, batch(loaded.epoch, [put_request(&request(1))])).unwrap();
}

#[test]
fn a_store_that_broke_under_us_refuses_until_it_is_whole() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_request(&request(1))])).unwrap();
    let intruder = farm::intrude(folder.path());
    intruder
        .execute_batch(
            "CREATE TRIGGER broken BEFORE UPDATE ON farm BEGIN SELECT RAISE(FAIL, 'no'); END;
             CREATE TRIGGER worse BEFORE INSERT ON requests BEGIN SELECT RAISE(ROLLBACK, 'no'); END;",
        )
        .unwrap();
    // RAISE(ROLLBACK) ends the transaction under the writer.
    assert!(commit(&store, batch(epoch, [put_request(&request(2))])).is_err());
    assert!(store.load().is_err());
    let refused = commit(&store, batch(epoch, [put_request(&request(2))]));
    assert!(matches!(refused, Err(CommitError::Void { .. })), "{refused:?}");
    intruder.execute_batch("DROP TRIGGER broken; DROP TRIGGER worse").unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.requests, [request(1)]);
    commit(&store, batch(loaded.epoch, [put_request(&request(2))])).unwrap();
}

#[test]
fn the_private_key_of_an_ended_job_leaves_no_trace_in_the_database() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let board = farm::worker(1);
    let key = "a-private-key-that-nobody-may-find";
    let mut running = farm::opened(&request(1), &board);
    let job = running.job.as_mut().map(Arc::make_mut).unwrap();
    Arc::make_mut(&mut job.access).private_key = Some(key.repeat(100));
    let changes = [
        farm::put_worker(&board),
        farm::put_worker(&farm::held(&board, 1)),
        put_request(&request(1)),
        put_request(&running),
        put_request(&ended(&running, State::Done)),
    ];
    for change in changes.chunks(4) {
        commit(&store, batch(epoch, change.iter().cloned())).unwrap();
    }
    drop(store);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "{}", path.display());
    }
}

#[test]
fn rows_go_and_room_is_used_again() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    for number in 1..=300 {
        let wish = request(number);
        let changes = [
            put_request(&wish),
            put_request(&ended(&wish, State::Cancelled)),
            Change::RemoveRequest(wish.id),
        ];
        store.commit(batch(epoch, changes), |answer| answer.unwrap());
    }
    let loaded = store.load().unwrap();
    assert_eq!((loaded.requests.len(), loaded.last_request), (0, 300));
}
