//! How many requests per second reach the disk, each with its event, and how that compares with bare SQLite.
//!
//! `cargo run --release -p grove-store --example store_bench -- FOLDER`
//!
//! The folder decides what an fsync costs: take one on the disk that matters. For each number of decisions in flight,
//! the store commits one batch per request (what the dispatcher does), and a bare connection with the same tables and
//! settings inserts the same rows, that many requests to a transaction. The ratio is store / bare. Processor time per
//! request (of all threads; for the store also that of making the batches) tells more where the machine is busy.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should say why and stop")]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use grove_domain::capability::Map;
use grove_domain::event::{Event, Subject};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::RequestId;
use grove_domain::moment::{Moment, Timestamp};
use grove_domain::request::{Priority, Request, Spec, State};
use grove_domain::wants::Wants;
use grove_store::{Batch, Change, Settings, Store};
use rusqlite::{Connection, params};

const FOR: Duration = Duration::from_secs(3);

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| {
        eprintln!("name a folder on the disk to measure");
        std::process::exit(2);
    });
    println!(
        "{:>9} {:>12} {:>12} {:>6} {:>12} {:>12}",
        "in flight", "store/s", "bare/s", "ratio", "store cpu us", "bare cpu us"
    );
    for in_flight in [1, 16, 64, 1024] {
        let folder = tempfile::tempdir_in(&folder).unwrap();
        let bare = bare(&folder.path().join("bare"), in_flight);
        let store = through_store(&folder.path().join("store"), in_flight);
        println!(
            "{in_flight:>9} {:>12.0} {:>12.0} {:>6.2} {:>12.1} {:>12.1}",
            store.rate,
            bare.rate,
            store.rate / bare.rate,
            store.processor_us,
            bare.processor_us
        );
    }
}

/// What one loop reached.
struct Measured {
    /// Requests per second.
    rate: f64,
    /// Processor time per request, in microseconds.
    processor_us: f64,
}

/// A measurement that is going on.
struct Measuring {
    began: Instant,
    processor: f64,
}

impl Measuring {
    fn begin() -> Self {
        Self { began: Instant::now(), processor: processor_seconds() }
    }

    fn goes_on(&self) -> bool {
        self.began.elapsed() < FOR
    }

    fn end(self, requests: u32) -> Measured {
        Measured {
            rate: f64::from(requests) / self.began.elapsed().as_secs_f64(),
            processor_us: (processor_seconds() - self.processor) / f64::from(requests) * 1e6,
        }
    }
}

/// Time on a processor of the threads that there are.
fn processor_seconds() -> f64 {
    let nanoseconds = |thread: std::io::Result<std::fs::DirEntry>| -> u64 {
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().and_then(|first| first.parse().ok()).unwrap()
    };
    let total: u64 = std::fs::read_dir("/proc/self/task").unwrap().map(nanoseconds).sum();
    Duration::from_nanos(total).as_secs_f64()
}

/// Requests per second with so many batches waiting for their commit at any time.
fn through_store(folder: &Path, in_flight: u64) -> Measured {
    let store = Store::open(folder, Settings::default()).unwrap();
    let epoch = store.load().unwrap().epoch;
    let (tell, told) = mpsc::channel();
    let submit = |number| {
        let tell = tell.clone();
        store.commit(decision(epoch, number), move |answer| tell.send(answer).unwrap());
    };
    let measuring = Measuring::begin();
    (1..=in_flight).for_each(submit);
    let mut number = in_flight;
    let mut stored = 0;
    while measuring.goes_on() {
        told.recv().unwrap().unwrap();
        stored += 1;
        number += 1;
        submit(number);
    }
    let measured = measuring.end(stored);
    (0..in_flight).for_each(|_| told.recv().unwrap().unwrap());
    measured
}

/// What a request of a real farm looks like.
fn decision(epoch: u64, number: u64) -> Batch {
    let now = Timestamp::from_millisecond(1_700_000_000_000 + number.cast_signed()).unwrap();
    let id = RequestId(number);
    let request = Request {
        id,
        spec: Arc::new(Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::Some(vec!["lab".to_owned()]) },
            wants: Wants::parse(&["board=rpi4", "uart=2.."]).unwrap(),
            length: None,
            keys: vec![KEY.to_owned()],
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: Map::new(),
            idempotency: None,
        }),
        state: State::Waiting,
        since: now,
        created: now,
        priority: Priority::new(8).unwrap(),
        place: number,
        valid_after: Moment::utc(now),
        deadline: Moment::utc(now),
        reserved: None,
        job: None,
        reason: None,
        ended_by: None,
        revision: 1,
    };
    let event = Event {
        seq: number,
        at: now,
        actor: "user:ann".to_owned(),
        kind: "request.created".to_owned(),
        subject: Subject::Request(id),
        before: None,
        after: Some("waiting".to_owned()),
        note: None,
    };
    Batch { epoch, changes: vec![Change::PutRequest(Arc::new(request))], events: vec![event] }
}

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0000000000000000000000000000000000000000000 ann@desk";

/// Requests per second by one loop around SQLite: the same tables and settings, ready-made values.
fn bare(folder: &Path, batch: u64) -> Measured {
    drop(Store::open(folder, Settings::default()).unwrap());
    let connection = Connection::open(folder.join("grove.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST;
             PRAGMA cache_size = -32000; PRAGMA wal_autocheckpoint = 4000;",
        )
        .unwrap();
    let mut requests = connection
        .prepare(
            "INSERT INTO requests (state, since, priority, place, valid_after, valid_after_offset, deadline,
                deadline_offset, revision, id, created, spec) VALUES ('waiting', ?2, 8, ?1, ?2, 0, ?2, 0, 1, ?1, ?2, ?3)",
        )
        .unwrap();
    let mut events = connection.prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)").unwrap();
    let spec = format!(
        r#"{{"owner":"ann","groups":["lab"],"wants":{{"terms":["board=rpi4","uart=2.."]}},"length":null,"keys":["{KEY}"],"heartbeat":null,"hints":{{}}}}"#
    );
    let at = "2023-11-14T22:13:20.000000000Z";
    let none = None::<&str>;
    let measuring = Measuring::begin();
    let mut number = 0_u32;
    while measuring.goes_on() {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..batch {
            number += 1;
            requests.execute(params![number, at, spec]).unwrap();
            let subject = format!("request/{number}");
            let row = params![number, at, "user:ann", "request.created", subject, none, "waiting", none];
            events.execute(row).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    measuring.end(number)
}
