//! Whatever was acknowledged is there after the process was killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_store::{Batch, EventQuery};

use crate::farm::{self, commit, event, put_request, request};

/// How many acknowledgements the parent waits for before it kills.
const ENOUGH: usize = 300;

#[test]
fn every_acknowledged_write_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::commit_as_child", "--ignored", "--nocapture"])
            .env("GROVE_STORE_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(number) = line.strip_prefix("stored ") else { continue };
            acknowledged = number.parse().unwrap();
            told += 1;
            if told == ENOUGH {
                // SIGKILL, in the middle of its work; what it still managed to say counts, too.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(told >= ENOUGH, "round {round}: the child ended by itself after {told}");
        check(folder.path(), acknowledged);
    }
}

fn check(folder: &Path, acknowledged: u64) {
    let store = farm::open(folder);
    let loaded = store.load().unwrap();
    assert!(loaded.last_request >= acknowledged, "{} of {acknowledged}", loaded.last_request);
    let numbers: Vec<u64> = loaded.requests.iter().map(|request| request.id.0).collect();
    assert_eq!(numbers, (1..=loaded.last_request).collect::<Vec<_>>());
    // Each request came with its event: neither without the other.
    assert_eq!(loaded.last_event, loaded.last_request);
    let query = EventQuery { after: loaded.last_event - 1, limit: 1, ..EventQuery::default() };
    let last = store.events(&query).unwrap();
    assert_eq!(
        last.first().map(|event| event.subject.clone()),
        Some(Subject::Request(RequestId(loaded.last_request)))
    );
}

#[test]
#[ignore = "run as a child by every_acknowledged_write_survives_a_kill"]
fn commit_as_child() {
    let folder = std::env::var_os("GROVE_STORE_FOLDER").expect("the parent names a folder");
    let store = farm::open(Path::new(&folder));
    let loaded = store.load().unwrap();
    let mut next = loaded.last_request + 1;
    loop {
        // Some alone, some many in one group.
        for number in next..next + next % 40 {
            store.commit(one(loaded.epoch, number), move |answer| {
                answer.unwrap();
                say(number);
            });
        }
        next += next % 40;
        commit(&store, one(loaded.epoch, next)).unwrap();
        say(next);
        next += 1;
    }
}

fn one(epoch: u64, number: u64) -> Batch {
    let events = vec![event(number, Subject::Request(RequestId(number)))];
    Batch { epoch, changes: vec![put_request(&request(number))], events }
}

fn say(number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "stored {number}").unwrap();
    out.flush().unwrap();
}
