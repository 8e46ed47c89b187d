//! How long it takes to export a large farm while it is written, and to import it, beside copying its database.
//!
//! `cargo run --release -p grove-store --example export_figures -- FOLDER [EVENTS]`
//!
//! The folder decides what the disk costs: take one on the disk that matters. A farm of 10k workers, 100k requests and 1M
//! events (or as many as are said) is made; about a thousand batches a second are committed to it meanwhile. Peak memory
//! is what the process took at most during the step beyond what it had before it; the twins are SQLite's own
//! `VACUUM INTO`, and a copy of the file. The ratio is ours / twin. It is imported into an empty store, then into one that
//! was made with the first schema.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should say why and stop")]

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grove_domain::capability::Map;
use grove_domain::event::{Event, Subject};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::moment::{Moment, Timestamp};
use grove_domain::plugin::Digest;
use grove_domain::request::{Priority, Request, Spec, State};
use grove_domain::wants::Wants;
use grove_domain::worker::{Registration, Worker};
use grove_store::{About, Admitted, Batch, Change, Components, Settings, Staged, Store};

const WORKERS: u64 = 10_000;
const REQUESTS: u64 = 100_000;
const EVENTS: u64 = 1_000_000;
/// Rows of one batch while the farm is made.
const AT_ONCE: u64 = 5_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| {
        eprintln!("name a folder on the disk to measure");
        std::process::exit(2);
    });
    let events = args.next().map_or(EVENTS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir_in(&folder).unwrap();
    let live = folder.path().join("live");
    let store = Store::open(&live, Settings::default()).unwrap();
    let epoch = store.load().unwrap().epoch;
    make(&store, epoch, events);
    let size = std::fs::metadata(live.join(grove_store::DATABASE)).unwrap().len();
    println!(
        "{WORKERS} workers, {REQUESTS} requests, {events} events: a database of {} MB",
        size / 1_000_000
    );
    println!("{:<24} {:>8} {:>11} {:>9} {:>9} {:>9}", "", "s", "rows/s", "peak MB", "writes/s", "slowest ms");

    let file = folder.path().join("farm.jsonl");
    let (next, stop) = (AtomicU64::new(events + 1), AtomicBool::new(false));
    let written = Written::default();
    let (exported, vacuumed) = std::thread::scope(|scope| {
        scope.spawn(|| write(&store, epoch, &next, &written, &stop));
        // The writer gets going.
        std::thread::sleep(Duration::from_secs(1));
        let exported = step("export", &written, || {
            let about = About { created: now(1), version: "0.1.0".to_owned() };
            let mut out = File::create(&file).unwrap();
            let contents = store.export().unwrap().write(&about, &NoComponents, &mut out).unwrap();
            out.sync_all().unwrap();
            contents.rows.values().sum()
        });
        let vacuumed = step("VACUUM INTO", &written, || {
            grove_store::copy(&live, &folder.path().join("copy.db")).unwrap();
            WORKERS + REQUESTS + events
        });
        stop.store(true, Ordering::Relaxed);
        (exported, vacuumed)
    });
    let log = std::fs::metadata(live.join("grove.db-wal")).map_or(0, |log| log.len());
    println!("write-ahead log after that: {} MB", log / 1_000_000);
    println!(
        "export of {} MB: {:.2} x VACUUM INTO",
        file.metadata().unwrap().len() / 1_000_000,
        exported / vacuumed
    );
    drop(store);

    let target = folder.path().join("target");
    let store = Store::open(&target, Settings::default()).unwrap();
    let idle = Written::default();
    let mut staged = None;
    let read = step("import: read, check", &idle, || {
        let read = Staged::read(&target, &mut File::open(&file).unwrap(), true, &Admitted, now(2)).unwrap();
        staged.insert(read).contents().rows.values().sum()
    });
    let staged = staged.unwrap();
    let replaced = step("import: replace", &idle, || {
        store.replace(&staged, "bench", now(3), |_| true).unwrap().unwrap();
        staged.contents().rows.values().sum()
    });
    drop((staged, store));
    let old = folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    let first = rusqlite::Connection::open(old.join(grove_store::DATABASE)).unwrap();
    first.execute_batch(include_str!("../tests/store/schema_1.sql")).unwrap();
    drop(first);
    let store = Store::open(&old, Settings::default()).unwrap();
    step("  into the first schema", &idle, || {
        let staged = Staged::read(&old, &mut File::open(&file).unwrap(), true, &Admitted, now(2)).unwrap();
        store.replace(&staged, "bench", now(3), |_| true).unwrap().unwrap();
        staged.contents().rows.values().sum()
    });
    let copied = step("copy of the database", &idle, || {
        let copy = folder.path().join("plain.db");
        std::fs::copy(live.join(grove_store::DATABASE), &copy).unwrap();
        File::open(copy).unwrap().sync_all().unwrap();
        WORKERS + REQUESTS + events
    });
    println!("import: {:.2} x copy of the database", (read + replaced) / copied);
    println!("import: {:.2} x VACUUM INTO", (read + replaced) / vacuumed);
}

/// What the writer did since it was last looked at.
#[derive(Default)]
struct Written {
    commits: AtomicU64,
    slowest_us: AtomicU64,
}

/// Does a step, and tells what it took: seconds.
fn step(name: &str, written: &Written, work: impl FnOnce() -> u64) -> f64 {
    written.commits.store(0, Ordering::Relaxed);
    written.slowest_us.store(0, Ordering::Relaxed);
    // The peak begins anew; where that is not allowed it is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS");
    let began = Instant::now();
    let rows = work();
    let took = began.elapsed().as_secs_f64();
    let peak = memory("VmHWM").saturating_sub(before);
    let commits = written.commits.load(Ordering::Relaxed);
    println!(
        "{name:<24} {took:>8.2} {:>11.0} {:>9.1} {:>9.0} {:>9.1}",
        f64::from(u32::try_from(rows).unwrap()) / took,
        f64::from(u32::try_from(peak).unwrap()) / 1024.0,
        f64::from(u32::try_from(commits).unwrap()) / took,
        f64::from(u32::try_from(written.slowest_us.load(Ordering::Relaxed)).unwrap()) / 1000.0,
    );
    took
}

/// KiB that the system counts under this name.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// About a thousand batches a second.
fn write(store: &Store, epoch: u64, next: &AtomicU64, written: &Written, stop: &AtomicBool) {
    let began = Instant::now();
    let mut sent = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis(u64::from(sent));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (tell, told) = std::sync::mpsc::channel();
        let asked = Instant::now();
        // Ten callers at a time, as a busy dispatcher has them.
        for _ in 0..10 {
            let tell = tell.clone();
            let seq = next.fetch_add(1, Ordering::Relaxed);
            let batch = Batch { epoch, changes: Vec::new(), events: vec![event(seq)] };
            store.commit(batch, move |answer| tell.send(answer).unwrap());
        }
        (0..10).for_each(|_| told.recv().unwrap().unwrap());
        let took = u64::try_from(asked.elapsed().as_micros()).unwrap();
        written.slowest_us.fetch_max(took, Ordering::Relaxed);
        written.commits.fetch_add(10, Ordering::Relaxed);
        sent += 10;
    }
}

fn make(store: &Store, epoch: u64, events: u64) {
    let workers = (1..=WORKERS).map(|number| Change::PutWorker(Arc::new(worker(number))));
    let requests = (1..=REQUESTS).map(|number| Change::PutRequest(Arc::new(request(number))));
    let mut changes = workers.chain(requests).peekable();
    while changes.peek().is_some() {
        let some = changes.by_ref().take(usize::try_from(AT_ONCE).unwrap()).collect();
        commit(store, Batch { epoch, changes: some, events: Vec::new() });
    }
    for first in (1..=events).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let some = (first..=events.min(first + AT_ONCE - 1)).map(event).collect();
        commit(store, Batch { epoch, changes: Vec::new(), events: some });
    }
}

fn commit(store: &Store, batch: Batch) {
    let (tell, told) = std::sync::mpsc::channel();
    store.commit(batch, move |answer| tell.send(answer).unwrap());
    told.recv().unwrap().unwrap();
}

fn now(second: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second.cast_signed()).unwrap()
}

fn worker(number: u64) -> Worker {
    let registration = Registration {
        driver: "ssh".to_owned(),
        driver_config: format!("{{\"host\":\"10.0.{}.{}\",\"port\":22}}", number / 256, number % 256),
        capabilities: Arc::new(Map::from([
            ("board".to_owned(), "rpi4".to_owned()),
            ("uart".to_owned(), (number % 4).to_string()),
        ])),
    };
    Worker::register(WorkerId(Uuid::from_u128(number.into())), registration, now(0))
}

fn request(number: u64) -> Request {
    Request {
        id: RequestId(number),
        spec: Arc::new(Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::Some(vec!["lab".to_owned()]) },
            wants: Wants::parse(&["board=rpi4", "uart=2.."]).unwrap(),
            length: None,
            keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ00000000000000000000000 ann@desk".to_owned()],
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: Map::new(),
            idempotency: None,
        }),
        state: State::Cancelled,
        since: now(number),
        created: now(number),
        priority: Priority::new(8).unwrap(),
        place: number,
        valid_after: Moment::utc(now(number)),
        deadline: Moment::utc(now(number + 3600)),
        reserved: None,
        job: None,
        reason: None,
        ended_by: None,
        revision: 1,
    }
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        at: now(seq),
        actor: "user:ann".to_owned(),
        kind: "request.created".to_owned(),
        subject: Subject::Request(RequestId(seq % REQUESTS + 1)),
        before: None,
        after: Some("waiting".to_owned()),
        note: None,
    }
}

/// A farm without plugins.
struct NoComponents;

impl Components for NoComponents {
    fn open(&self, _: &Digest) -> io::Result<Option<Box<dyn Read>>> {
        Ok(None)
    }

    fn keep(&self, _: &Digest, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}
