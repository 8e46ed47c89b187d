//! A farm leaves as lines and comes back as the same farm, or not at all.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grove_domain::capability::Map;
use grove_domain::event::Subject;
use grove_domain::id::{InstanceId, IntrospectionId, TaskId, Uuid};
use grove_domain::instance::Instance;
use grove_domain::introspection::{self, Findings, Introspection, Kind};
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode};
use grove_domain::plugin::Digest;
use grove_domain::request::State;
use grove_domain::task::{End, Phase, TaskKind};
use grove_domain::worker::{self, Recovery, Worker};
use grove_store::{
    About, Admitted, Batch, Change, Components, Contents, EventQuery, Export, ImportError, MAX_LINE,
    Settings, Staged, Store, TableChange,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::farm::{
    self, at, batch, commit, ended, event, held, opened, plugin, put_plugin, put_request, put_task,
    put_version, put_worker, request, reserved, task, version,
};

/// A shelf in memory.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Components for Shelf {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read>>> {
        let component = self.0.lock().unwrap().get(digest).cloned();
        Ok(component.map(|component| Box::new(io::Cursor::new(component)) as Box<dyn Read>))
    }

    fn keep(&self, digest: &Digest, component: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        component.read_to_end(&mut bytes)?;
        self.0.lock().unwrap().insert(*digest, bytes);
        Ok(())
    }
}

fn component() -> (Digest, Vec<u8>) {
    // More than two pieces.
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    (Digest::new(Sha256::digest(&bytes).into()), bytes)
}

fn shelf() -> Shelf {
    Shelf(Mutex::new(BTreeMap::from([component()])))
}

fn about() -> About {
    About { created: at(9), version: "0.1.0".to_owned() }
}

fn export(store: &Store, shelf: &Shelf) -> Vec<u8> {
    let mut file = Vec::new();
    store.export().unwrap().write(&about(), shelf, &mut file).unwrap();
    file
}

fn stage(folder: &Path, mut file: &[u8]) -> Result<Staged, ImportError> {
    Staged::read(folder, &mut file, true, &Admitted, at(500))
}

/// Takes it in; the number of its event.
fn import(folder: &Path, store: &Store, file: &[u8], shelf: &Shelf) -> u64 {
    let staged = stage(folder, file).unwrap();
    staged.keep_components(shelf).unwrap();
    store.replace(&staged, "user:ann", at(500), |_| true).unwrap().unwrap().event
}

/// What an import must not change: every line but those of the export and of the store itself.
fn body(file: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(file).unwrap().lines().map(str::to_owned);
    lines
        .filter(|line| {
            let own = ["{\"grove_export\"", "{\"end\"", "{\"table\":\"farm\""];
            !own.iter().any(|own| line.starts_with(own)) && !line.contains("\"farm.imported\"")
        })
        .collect()
}

/// A farm with nothing going on in it, and with rows in all tables.
fn quiet(store: &Store) {
    let epoch = store.load().unwrap().epoch;
    let (digest, _) = component();
    let mut first = version("simulated", 1);
    first.digest = digest;
    let mut pinned = farm::worker(2);
    pinned.driver_version = Some(digest);
    pinned.groups = Some(vec!["lab, \"west\"\u{1f332}".to_owned()].into());
    pinned.notes = Some("one\ntwo\u{0}".to_owned());
    let worker = farm::worker(1);
    let done = ended(&opened(&reserved(&request(1), &worker), &worker), State::Done);
    let old = task(1, TaskKind::Prepare, &worker, None);
    let run = farm::lived(&farm::run(1, &worker), 3, true);
    let findings = Findings { capabilities: Map::from([("cpus".into(), "4".into())]), ..Findings::default() };
    let changes = [
        put_worker(&worker),
        put_worker(&pinned),
        put_request(&request(1)),
        put_request(&reserved(&request(1), &worker)),
        put_worker(&held(&worker, 1)),
        put_request(&opened(&reserved(&request(1), &worker), &worker)),
        put_request(&done),
        put_worker(&idle(&held(&worker, 1))),
        put_request(&request(2)),
        put_task(&old),
        put_task(&farm::over(&old, End::Succeeded, at(3))),
        put_plugin(&plugin(&first)),
        put_version(&first),
        put_version(&version("simulated", 2)),
        limit(Scope::Farm, Some(8), 1),
        limit(Scope::Driver("simulated".to_owned()), None, 1),
        Change::PutInventory(run[0].id, Kind::Raw, "{\"cpus\": \"4\u{1f332}\"}".into()),
        Change::PutInventory(run[0].id, Kind::Processed, "{}".into()),
        Change::PutFindings(run[0].id, Arc::new(findings)),
        farm::put_rule(&farm::rule(1, 1)),
    ];
    let changes = changes.into_iter().chain(run.iter().map(farm::put_run)).collect();
    let mut second = event(2, Subject::Farm);
    second.note = Some("{\"a\": [1, 2]}".to_owned());
    let events = vec![event(1, Subject::Farm), second];
    commit(store, Batch { epoch, changes, events }).unwrap();
}

fn limit(scope: Scope, value: Option<u32>, revision: u64) -> Change {
    Change::PutLimit(Arc::new(Limit { scope, value, revision }))
}

fn idle(worker: &Worker) -> Worker {
    let mut next = worker.clone();
    next.state = worker::State::Idle;
    next.occupation = None;
    next.revision += 1;
    next
}

/// The quiet farm with everything going on that can.
fn busy(store: &Store) {
    quiet(store);
    let loaded = store.load().unwrap();
    let running = task(12, TaskKind::Prepare, &farm::worker(12), None);
    let mut preparing = farm::worker(12);
    preparing.state = worker::State::Prepare;
    preparing.task = Some((running.id, TaskKind::Prepare));
    let mut failed = farm::worker(13);
    failed.state = worker::State::Failed;
    failed.reason = Some("the fan is loud".to_owned());
    failed.task = Some((TaskId(Uuid::from_u128(13)), TaskKind::Recheck));
    failed.recovery = Recovery { relapses: 1, ..Recovery::default() };
    let (tenth, eleventh) = (farm::worker(10), farm::worker(11));
    let changes = [
        put_worker(&tenth),
        put_worker(&eleventh),
        put_worker(&preparing),
        put_worker(&failed),
        put_request(&request(10)),
        put_request(&request(11)),
        put_request(&reserved(&request(10), &tenth)),
        put_worker(&held(&tenth, 10)),
        put_request(&opened(&reserved(&request(10), &tenth), &tenth)),
        put_worker(&held(&eleventh, 11)),
        put_request(&reserved(&request(11), &eleventh)),
        put_task(&running),
        put_task(&farm::begun(&running, 7)),
        // What runs goes on under a limit that is set later.
        limit(Scope::Farm, Some(0), 2),
        put_task(&task(13, TaskKind::Recheck, &failed, None)),
        farm::put_run(&farm::run(20, &farm::worker(2))),
        farm::put_run(&Introspection::enrol(IntrospectionId(Uuid::from_u128(21)), at(0))),
    ];
    commit(store, batch(loaded.epoch, changes)).unwrap();
}

#[test]
fn a_quiet_farm_comes_back_to_the_last_byte() {
    let (_first, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());
    assert_eq!(export(&store, &shelf()), file, "the same farm is the same file");

    let (folder, other) = farm::new();
    let theirs = Shelf::default();
    let seq = import(folder.path(), &other, &file, &theirs);
    assert_eq!(seq, 3);
    assert_eq!(body(&export(&other, &theirs)), body(&file));
    assert_eq!(theirs.0.into_inner().unwrap(), shelf().0.into_inner().unwrap());
    let before = store.load().unwrap();
    let after = other.load().unwrap();
    assert_eq!((before.workers, before.requests), (after.workers, after.requests));
    assert_eq!((before.plugins, before.plugin_versions), (after.plugins, after.plugin_versions));
    assert_eq!((before.limits.len(), &before.limits), (2, &after.limits));
    assert_eq!((before.introspections.len(), &before.introspections), (1, &after.introspections));
    assert_eq!((before.rules.len(), &before.rules), (1, &after.rules));
    let run = before.introspections[0].id;
    assert_eq!(store.findings(run).unwrap().unwrap(), other.findings(run).unwrap().unwrap());
    assert_eq!(store.inventory(run, Kind::Raw).unwrap(), other.inventory(run, Kind::Raw).unwrap());
    assert_eq!((before.last_request, before.last_event + 1), (after.last_request, after.last_event));
    let events = other.events(&EventQuery { after: 2, limit: 9, ..EventQuery::default() }).unwrap();
    let [imported] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*imported.kind, &*imported.actor), ("farm.imported", "user:ann"));
}

#[test]
fn the_file_is_readable() {
    let (_folder, store) = farm::new();
    quiet(&store);
    let file = String::from_utf8(export(&store, &shelf())).unwrap();
    let lines: Vec<&str> = file.lines().collect();
    let line = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    let header = lines[0];
    assert!(header.starts_with(r#"{"grove_export":1,"schema":"#), "{header}");
    assert!(header.contains(r#""created":"2023-11-14T22:13:29Z","version":"0.1.0","epoch":1}"#), "{header}");
    let worker = line(r#"{"table":"workers""#);
    assert!(worker.contains(r#""agent":{"board":"rpi4"}"#), "{worker}");
    assert!(worker.contains(r#""id":"00000000-0000-0000-0000-000000000001""#), "{worker}");
    let second = line(r#"{"table":"events","row":{"seq":2"#);
    assert!(second.contains(r#""note":{"a": [1, 2]}"#), "{second}");
    assert!(lines.last().unwrap().starts_with(r#"{"end":true,"rows":{"events":2,"#));
    let order: Vec<&str> = lines.iter().filter_map(|line| line.split('"').nth(3)).collect();
    let mut tables: Vec<&str> = order[1..order.len() - 1].to_vec();
    tables.dedup();
    let place = |table: &str| tables.iter().position(|other| *other == table).unwrap();
    assert!(place("workers") < place("requests"), "{tables:?}");
}

#[test]
fn what_was_going_on_is_ended() {
    let (_first, store) = farm::new();
    busy(&store);
    let (folder, other) = farm::new();
    let staged = stage(folder.path(), &export(&store, &shelf())).unwrap();
    let settled = staged.settled();
    assert_eq!((settled.tasks, settled.requests, settled.workers, settled.introspections), (2, 2, 4, 2));
    other.replace(&staged, "user:ann", at(500), |_| true).unwrap().unwrap();
    drop(staged);

    let loaded = other.load().unwrap();
    assert!(loaded.live_tasks.is_empty());
    let ended = other.task(TaskId(Uuid::from_u128(12))).unwrap().unwrap();
    assert_eq!((ended.status.phase, ended.status.error.as_deref()), (Phase::Failed, Some("imported")));
    assert_eq!(ended.status.ended, Some(at(500)));
    let request = |id| loaded.requests.iter().find(|request| request.id.0 == id).unwrap();
    let job = request(10).job.as_deref().unwrap();
    assert_eq!((request(10).state, request(10).reason.as_deref()), (State::Failed, Some("imported")));
    assert_eq!((job.ended, job.access.private_key.as_deref()), (Some(at(500)), None));
    assert_eq!((request(11).state, request(11).reserved), (State::Waiting, None));
    let worker = |number| {
        let worker = loaded.workers.iter().find(|worker| worker.id.0 == Uuid::from_u128(number)).unwrap();
        (worker.state, worker.reason.as_deref().unwrap_or_default())
    };
    assert_eq!(worker(10), (worker::State::Maintenance, "imported: was held by request 10"));
    assert_eq!(worker(11), (worker::State::Maintenance, "imported: was held by request 11"));
    assert_eq!(worker(12), (worker::State::Maintenance, "imported: its task prepare was cut off"));
    let why = "imported: its task recheck was cut off; before that: the fan is loud";
    assert_eq!(worker(13), (worker::State::Failed, why));
    assert_eq!(worker(1).0, worker::State::Idle, "what was at rest stays as it was");

    for run in [20, 21] {
        let run = other.introspection(IntrospectionId(Uuid::from_u128(run))).unwrap().unwrap();
        assert_eq!((run.finished, run.error.as_deref()), (Some(at(500)), Some("imported")));
    }
    let kept = other.introspection(IntrospectionId(Uuid::from_u128(1))).unwrap().unwrap();
    assert_eq!(kept.state, introspection::State::Finished, "what had ended stays as it was");
    assert_eq!(other.inventory(kept.id, Kind::Processed).unwrap().as_deref(), Some("{}"));

    // Once more, and nothing is left to end.
    let file = export(&other, &shelf());
    let (folder, third) = farm::new();
    let staged = stage(folder.path(), &file).unwrap();
    assert_eq!(staged.settled(), grove_store::Settled::default());
    third.replace(&staged, "user:ann", at(501), |_| true).unwrap().unwrap();
    assert_eq!(body(&export(&third, &shelf())), body(&file));
}

#[test]
fn another_farm_takes_the_place_of_all_that_was_there() {
    let (_first, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());

    let (folder, live) = farm::new();
    busy(&live);
    let epoch = live.load().unwrap().epoch;
    let staged = stage(folder.path(), &file).unwrap();
    let changes = live.compare(&staged).unwrap();
    let change = |table: &str| changes.iter().find(|change| change.table == table).unwrap().clone();
    let removed =
        |table: &str, removed| TableChange { table: table.to_owned(), added: 0, removed, changed: 0 };
    assert_eq!(change("workers"), removed("workers", 4));
    assert_eq!(change("requests"), removed("requests", 2));
    assert_eq!(change("plugins"), removed("plugins", 0));
    let before = export(&live, &shelf());
    drop(stage(folder.path(), &file).unwrap());
    assert_eq!(export(&live, &shelf()), before, "looking writes nothing");

    let replaced = live.replace(&staged, "user:ann", at(500), |_| true).unwrap().unwrap();
    assert!(replaced.epoch > epoch);
    assert_eq!(body(&export(&live, &shelf())), body(&file));
    // Whoever decided before decided on another farm.
    let refused = commit(&live, batch(epoch, [put_request(&request(50))]));
    assert!(matches!(refused, Err(grove_store::CommitError::Epoch { .. })), "{refused:?}");
    let loaded = live.load().unwrap();
    assert_eq!(loaded.epoch, replaced.epoch + 1);
    // Numbers are never given twice.
    assert_eq!(loaded.last_request, 11);
    let mut next = request(12);
    next.place = loaded.last_place + 1;
    let events = vec![event(loaded.last_event + 1, Subject::Farm)];
    commit(&live, Batch { epoch: loaded.epoch, changes: vec![put_request(&next)], events }).unwrap();
    // The rules hold as before.
    let old = farm::intrude(folder.path()).execute("UPDATE events SET kind = 'x'", []).unwrap_err();
    assert!(old.to_string().contains("events_are_written_once"), "{old}");
    drop(live);
    let again = farm::open(folder.path()).load().unwrap();
    assert_eq!((again.workers.len(), again.requests.len()), (2, 3));
}

#[test]
fn an_imported_farm_is_in_maintenance() {
    let (first, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());
    let (folder, other) = farm::new();
    import(folder.path(), &other, &file, &shelf());
    let loaded = other.load().unwrap();
    let mode = Mode::Maintenance { reason: "imported".to_owned(), until: None };
    assert_eq!(loaded.mode, FarmMode { mode, since: Some(at(500)), revision: 1 });

    // The mode of the export is not taken in; what the admin said here stays.
    let mode = Mode::Maintenance { reason: "moving".to_owned(), until: Some(at(900)) };
    let said = FarmMode { mode, since: Some(at(600)), revision: 2 };
    commit(&other, batch(loaded.epoch, [Change::PutMode(Arc::new(said.clone()))])).unwrap();
    import(folder.path(), &other, &file, &shelf());
    assert_eq!(other.load().unwrap().mode, said);
    let theirs = export(&other, &shelf());
    import(first.path(), &store, &theirs, &shelf());
    let Mode::Maintenance { reason, .. } = store.load().unwrap().mode.mode else { panic!("it is at work") };
    assert_eq!(reason, "imported");
}

#[test]
fn whether_it_may_is_asked_of_the_mode_that_is_stored_when_it_is_replaced() {
    let (_first, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());
    let (folder, other) = farm::new();
    let epoch = other.load().unwrap().epoch;
    let staged = stage(folder.path(), &file).unwrap();
    let replace = || other.replace(&staged, "user:ann", at(500), |mode| mode.mode.is_maintenance()).unwrap();
    assert_eq!(replace(), None);
    let mode = Mode::Maintenance { reason: "moving".to_owned(), until: None };
    let set = |mode, revision| {
        let mode = FarmMode { mode, since: Some(at(600)), revision };
        other.commit_async(batch(epoch, [Change::PutMode(Arc::new(mode))]))
    };
    // Queued before it is decided before it: nobody waits for either in between.
    let (there, back) = (set(mode, 1), set(Mode::Normal, 2));
    assert_eq!(replace(), None, "the farm went back to work meanwhile");
    let again = Mode::Maintenance { reason: "moving".to_owned(), until: None };
    let last = set(again, 3);
    assert!(replace().is_some());
    drop((there, back, last));
    assert_eq!(other.load().unwrap().workers.len(), store.load().unwrap().workers.len());
}

#[test]
fn who_ran_the_farm_neither_leaves_nor_enters() {
    let (_first, store) = farm::new();
    store.load_as(instance(1)).unwrap();
    let file = export(&store, &Shelf::default());
    assert!(!std::str::from_utf8(&file).unwrap().contains("instances"));
    let (folder, other) = farm::new();
    other.load_as(instance(2)).unwrap();
    import(folder.path(), &other, &file, &Shelf::default());
    let ids = "SELECT hex(id) FROM instances";
    let ids: String = farm::intrude(folder.path()).query_row(ids, [], |row| row.get(0)).unwrap();
    assert!(ids.ends_with("02"), "{ids}");
}

fn instance(number: u128) -> Instance {
    let id = InstanceId(Uuid::from_u128(number));
    Instance { id, incarnation: 0, started: at(0), heartbeat: at(0), ended: None }
}

/// The file with these lines in the place of its own, and with the digest that goes with them.
fn mended(file: &[u8], edit: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let mut lines: Vec<String> = std::str::from_utf8(file).unwrap().lines().map(str::to_owned).collect();
    let trailer = lines.pop().unwrap();
    edit(&mut lines);
    let mut file = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    let at = trailer.find("\"sha256\":\"").unwrap() + 10;
    file.extend_from_slice(format!("{}{digest}\"}}\n", &trailer[..at]).as_bytes());
    file
}

fn find(lines: &[String], start: &str) -> usize {
    lines.iter().position(|line| line.starts_with(start)).unwrap()
}

#[test]
fn what_is_not_whole_or_not_sound_is_refused_with_its_line() {
    let (_first, store) = farm::new();
    busy(&store);
    let file = export(&store, &shelf());
    let (folder, live) = farm::new();
    quiet(&live);
    let before = export(&live, &shelf());
    let lines = file.iter().filter(|byte| **byte == b'\n').count();
    let text = std::str::from_utf8(&file).unwrap();
    let worker = r#"{"table":"workers""#;
    let number = |start: &str| text.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let first_worker = number(worker);
    let edited = |start: &'static str, from: &'static str, to: &'static str| {
        mended(&file, move |lines| {
            let at = find(lines, start);
            assert!(lines[at].contains(from), "{}", lines[at]);
            lines[at] = lines[at].replacen(from, to, 1);
        })
    };
    let last_line = file[..file.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let mut flipped = file.clone();
    let place = text.find("rpi4").unwrap();
    flipped[place] ^= 1;
    let request = number(r#"{"table":"requests","row":{"state":"in_progress""#);
    let requests = number(r#"{"table":"requests""#);
    let piece = number(r#"{"component""#);
    let swapped = |one: &'static str| {
        mended(&file, move |lines| {
            let at = find(lines, one);
            lines.swap(at, at + 1);
        })
    };
    let cases: Vec<(&str, Vec<u8>, usize, &str)> = vec![
        ("nothing", Vec::new(), 1, "breaks off before this line"),
        ("not JSON", b"hello\n".to_vec(), 1, "this is no export of a farm"),
        ("a database", b"SQLite format 3\0".to_vec(), 1, "breaks off in this line"),
        ("cut at a line", file[..last_line].to_vec(), lines, "breaks off before this line"),
        ("cut in a line", file[..last_line - 9].to_vec(), lines - 1, "breaks off in this line"),
        ("without its last byte", file[..file.len() - 1].to_vec(), lines, "breaks off in this line"),
        ("something after it", [&file[..], b"\n"].concat(), lines + 1, "something follows"),
        ("a flipped bit", flipped, lines, "its digest is not that of the lines before it"),
        (
            "another format",
            edited("{\"grove_export\"", "\"grove_export\":1", "\"grove_export\":2"),
            1,
            "its format is 2",
        ),
        ("no JSON", edited(worker, "{\"table\"", "{table"), first_worker, "this is no line of an export"),
        (
            "an unknown table",
            edited(worker, "workers", "wrokers"),
            first_worker,
            "there is no table \"wrokers\"",
        ),
        ("a system table", edited(worker, "workers", "sqlite_schema"), first_worker, "there is no table"),
        (
            "an unknown column",
            edited(worker, "\"since\"", "\"snice\""),
            first_worker,
            "workers: there is no column \"snice\"",
        ),
        (
            "a missing column",
            edited(worker, "\"reason\":null,", ""),
            first_worker,
            "workers: column reason is missing",
        ),
        (
            "a column twice",
            edited(worker, "\"reason\":null,", "\"reason\":null,\"reason\":null,"),
            first_worker,
            "a column is given twice",
        ),
        (
            "a computed column",
            edited(r#"{"table":"requests""#, "\"reason\"", "\"holds\""),
            requests,
            "there is no column \"holds\"",
        ),
        (
            "a wrong type",
            edited(worker, "\"relapses\":0", "\"relapses\":0.5"),
            first_worker,
            "relapses: 0.5 is no whole number",
        ),
        (
            "no uuid",
            edited(worker, "00000000-0000-0000", "0000000x-0000-0000"),
            first_worker,
            "is neither a uuid nor",
        ),
        (
            "against a rule",
            edited(worker, "\"generation\":1", "\"generation\":0"),
            first_worker,
            "worker_counts",
        ),
        ("no value", edited(worker, "\"driver\":\"simulated\"", "\"driver\":null"), first_worker, "NOT NULL"),
        ("an unknown kind of line", edited(worker, "\"table\"", "\"tables\""), first_worker, "unknown field"),
        (
            "no row, no component",
            edited(worker, "{\"table\":\"workers\",", "{"),
            first_worker,
            "neither a row",
        ),
        (
            "tables out of order",
            mended(&file, |lines| {
                let at = find(lines, worker);
                let row = lines.remove(at);
                let end = lines.len();
                let first = lines.iter().position(|line| line.starts_with(r#"{"component""#)).unwrap_or(end);
                lines.insert(first, row);
            }),
            piece - 1,
            "rows of workers come too late",
        ),
        ("rows out of order", swapped(worker), first_worker + 1, "does not follow on the one before it"),
        (
            "a row twice",
            mended(&file, |lines| {
                let at = find(lines, worker);
                lines.insert(at, lines[at].clone());
            }),
            first_worker + 1,
            "does not follow",
        ),
        (
            "a row too few",
            mended(&file, |lines| {
                let at = find(lines, r#"{"table":"events""#);
                lines.remove(at);
            }),
            lines - 1,
            "1 rows of events were read, and it says 2",
        ),
        (
            "a reference to nothing",
            edited(
                r#"{"table":"requests","row":{"state":"in_progress""#,
                "\"job_worker\":\"00000000-0000-0000-0000-00000000000a\"",
                "\"job_worker\":\"00000000-0000-0000-0000-0000000000ff\"",
            ),
            request,
            "requests: the row refers to one of workers that is not there",
        ),
        (
            "what no version knows",
            edited(r#"{"table":"events""#, "\"subject\":\"farm\"", "\"subject\":\"moon\""),
            2,
            "event 1 cannot be read: subject",
        ),
        ("pieces out of order", swapped(r#"{"component""#), piece, "is not the next"),
        (
            "another component",
            edited(r#"{"component""#, "\"data\":\"", "\"data\":\"AAAA"),
            piece + 2,
            "is not what its digest says",
        ),
        ("no base64", edited(r#"{"component""#, "\"data\":\"", "\"data\":\"*"), piece, "data: "),
    ];
    for (what, file, line, reason) in cases {
        let error = match stage(folder.path(), &file) {
            Ok(_) => panic!("{what} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with(&format!("line {line}: ")), "{what}: {error}, not in line {line}");
        assert!(error.contains(reason), "{what}: {error}");
    }
    assert_eq!(export(&live, &shelf()), before, "the live farm is as it was");
    assert_eq!(left_behind(folder.path()), 0);
}

#[test]
fn a_newer_schema_is_refused_in_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{\"grove_export\":1,\"schema\":999,\"created\":\"x\",\"version\":\"9.0.0\",\"epoch\":1}\n";
    let error = stage(folder.path(), header.as_bytes()).unwrap_err().to_string();
    assert!(
        error.starts_with("it was made by Grove 9.0.0 with schema 999, and this version knows "),
        "{error}"
    );
}

#[test]
fn a_huge_line_is_refused_without_being_held() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{\"grove_export\":1,\"schema\":1,\"created\":\"x\",\"version\":\"1\",\"epoch\":1}\n";
    // Without end.
    let mut file = header.as_bytes().chain(io::repeat(b'x'));
    let error = Staged::read(folder.path(), &mut file, true, &Admitted, at(0)).unwrap_err().to_string();
    assert_eq!(error, format!("line 2: the line is longer than {MAX_LINE} bytes"));
}

#[test]
fn an_export_of_the_first_schema_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("old.db");
    let old = rusqlite::Connection::open(&database).unwrap();
    old.execute_batch(include_str!("schema_1.sql")).unwrap();
    let worker = "INSERT INTO workers (state, since, driver, driver_config, agent, introspected, admin, health_ok,
        health_note, relapses, attempts, quarantined, generation, revision, id)
        VALUES ('idle', '2026-01-01T00:00:00.000000000Z', 'ssh', '{}', '{}', '{}', '{}', 1, '', 0, 0, 0, 1, 1, ?)";
    old.execute(worker, [[7_u8; 16]]).unwrap();
    old.execute_batch("UPDATE farm SET last_request = 41").unwrap();
    drop(old);
    let mut file = Vec::new();
    let contents = Export::open(&database).unwrap().write(&about(), &Shelf::default(), &mut file).unwrap();
    assert_eq!(contents.rows["workers"], 3);
    assert!(!contents.rows.contains_key("plugins"), "there were none yet");

    let (folder, store) = farm::new();
    import(folder.path(), &store, &file, &Shelf::default());
    let loaded = store.load().unwrap();
    assert_eq!(loaded.workers.len(), 3);
    assert!(loaded.workers.iter().any(|worker| worker.id.0.as_bytes() == &[7; 16]));
    assert_eq!(loaded.last_request, 41);
}

#[test]
fn an_export_is_of_one_moment_while_writes_go_on() {
    let (_folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let events = vec![event(number, Subject::Farm)];
                let changes = vec![put_request(&request(number))];
                commit(&store, Batch { epoch, changes, events }).unwrap();
            }
            number
        });
        let mut last = 0;
        for _ in 0..20 {
            let mut file = Vec::new();
            let contents = store.export().unwrap().write(&about(), &Shelf::default(), &mut file).unwrap();
            assert_eq!(contents.rows["requests"], contents.rows["events"]);
            assert!(contents.rows["requests"] >= last);
            last = contents.rows["requests"];
            let (folder, other) = farm::new();
            import(folder.path(), &other, &file, &Shelf::default());
            assert_eq!(other.load().unwrap().requests.len() as u64, last);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() >= last);
    });
}

#[test]
fn a_component_that_is_not_there_is_left_out_and_told() {
    let (_folder, store) = farm::new();
    quiet(&store);
    let mut file = Vec::new();
    let contents = store.export().unwrap().write(&about(), &Shelf::default(), &mut file).unwrap();
    assert_eq!(contents.components, 0);
    // Of two versions the shelf of these tests has one; this one has none.
    let (here, never) = (component().0.to_string(), "02".repeat(32));
    let lacks = |contents: &Contents| -> Vec<(String, String)> {
        contents.missing.iter().map(|it| (it.plugin.clone(), it.digest.clone())).collect()
    };
    let of = |digest: &String| ("simulated".to_owned(), digest.clone());
    assert_eq!(lacks(&contents), [of(&never), of(&here)]);
    let (folder, other) = farm::new();
    assert_eq!(stage(folder.path(), &file).unwrap().contents(), &contents);
    import(folder.path(), &other, &file, &Shelf::default());
    // One of before said nothing of it.
    let file = String::from_utf8(export(&store, &shelf())).unwrap();
    assert_eq!(lacks(stage(folder.path(), file.as_bytes()).unwrap().contents()), [of(&never)]);
    let (before, after) = file.split_once(r#""missing":["#).unwrap();
    let older = before.to_owned() + after.split_once("],").unwrap().1;
    assert_eq!(lacks(stage(folder.path(), older.as_bytes()).unwrap().contents()), []);
}

#[test]
fn pieces_are_what_base64_says() {
    let (_folder, store) = farm::new();
    quiet(&store);
    let file = String::from_utf8(export(&store, &shelf())).unwrap();
    let mut component_bytes = Vec::new();
    for line in file.lines().filter(|line| line.starts_with("{\"component\"")) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        component_bytes.extend(STANDARD.decode(line["data"].as_str().unwrap()).unwrap());
    }
    assert_eq!(component_bytes, component().1);
}

/// Breaks in the middle: with an error, or in a panic.
struct Breaking<'a> {
    file: &'a [u8],
    panics: bool,
}

impl Read for Breaking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer)? {
            0 if self.panics => panic!("the reader breaks"),
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            length => Ok(length),
        }
    }
}

#[test]
fn an_import_that_breaks_leaves_the_farm_and_no_files() {
    let (_first, store) = farm::new();
    busy(&store);
    let file = export(&store, &shelf());
    let (folder, live) = farm::new();
    quiet(&live);
    let before = export(&live, &shelf());
    for length in [0, 10, 1000, 5000, file.len() / 2, file.len() - 10] {
        let mut breaking = Breaking { file: &file[..length], panics: false };
        let error = Staged::read(folder.path(), &mut breaking, true, &Admitted, at(0)).unwrap_err();
        assert!(matches!(error, ImportError::Read { .. }), "{error}");
        let mut breaking = Breaking { file: &file[..length], panics: true };
        let read = || drop(Staged::read(folder.path(), &mut breaking, true, &Admitted, at(0)));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).is_err());
    }
    assert_eq!(left_behind(folder.path()), 0);
    assert_eq!(export(&live, &shelf()), before);
}

#[test]
fn a_store_without_room_keeps_its_farm() {
    let (_first, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let changes = (1..2000).map(|number| put_request(&request(number)));
    commit(&store, batch(epoch, changes)).unwrap();
    let file = export(&store, &Shelf::default());
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { max_bytes: Some(600 << 10), ..Settings::default() };
    let live = Store::open(folder.path(), settings).unwrap();
    quiet(&live);
    let before = export(&live, &shelf());
    let staged = stage(folder.path(), &file).unwrap();
    let error = live.replace(&staged, "user:ann", at(1), |_| true).unwrap_err();
    assert!(matches!(error, grove_store::StoreError::Full(_)), "{error}");
    assert_eq!(export(&live, &shelf()), before);
    // And goes on with it.
    let loaded = live.load().unwrap();
    commit(&live, batch(loaded.epoch, [put_worker(&farm::worker(99))])).unwrap();
}

fn left_behind(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("import.")).count()
}

/// Farms of these sizes take turns in the child that is killed.
const SIZES: [u64; 2] = [3000, 5000];

fn farm_of(size: u64) -> (TempDir, Vec<u8>) {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let changes = (1..=size).map(|number| put_request(&request(number)));
    commit(&store, batch(epoch, changes)).unwrap();
    let file = export(&store, &Shelf::default());
    (folder, file)
}

#[test]
fn a_kill_in_the_middle_leaves_one_farm_or_the_other() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transfer::import_as_child", "--ignored", "--nocapture"])
            .env("GROVE_STORE_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(told.by_ref().any(|line| line.unwrap() == "took one in"), "the child ended by itself");
        // Somewhere in the next ones.
        std::thread::sleep(std::time::Duration::from_millis(17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = farm::open(folder.path());
        let size = store.load().unwrap().requests.len() as u64;
        assert!(SIZES.contains(&size), "{size}");
        assert_eq!(left_behind(folder.path()), 0);
        let sound: String =
            farm::intrude(folder.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }
}

#[test]
#[ignore = "run as a child by a_kill_in_the_middle_leaves_one_farm_or_the_other"]
fn import_as_child() {
    let folder = std::env::var_os("GROVE_STORE_FOLDER").expect("the parent names a folder");
    let folder = Path::new(&folder);
    let store = farm::open(folder);
    let farms = SIZES.map(farm_of);
    for (_, file) in farms.iter().cycle() {
        import(folder, &store, file, &Shelf::default());
        println!("took one in");
    }
}

#[test]
fn a_copy_becomes_a_farm_on_which_nothing_goes_on_by_itself() {
    let (folder, store) = farm::new();
    busy(&store);
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    let copied = grove_store::copy(folder.path(), &copy).unwrap();
    assert_eq!(
        copied.versions.iter().map(|version| version.plugin.as_str()).collect::<Vec<_>>(),
        ["simulated"; 2]
    );
    let file = export(&store, &shelf());

    let into = copies.path().join("state");
    let settled = grove_store::restore(&copy, &into, &about(), at(500)).unwrap();
    let names: Vec<_> = std::fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_str().unwrap().starts_with("import.")), "{names:?}");
    let restored = farm::open(&into);
    // All that an import of the same farm would have ended, in another word.
    let (beside, imported) = farm::new();
    import(beside.path(), &imported, &file, &shelf());
    assert_eq!(settled, stage(beside.path(), &file).unwrap().settled());
    let word = |lines: Vec<String>| -> Vec<_> {
        let other = |line: String| line.replace("\"restored", "\"imported");
        let lines = lines.into_iter().filter(|line| !line.contains("\"farm.restored\""));
        lines.map(other).collect()
    };
    assert_eq!(word(body(&export(&restored, &shelf()))), body(&export(&imported, &shelf())));
    let loaded = restored.load().unwrap();
    assert!(loaded.instances.is_empty() && loaded.epoch > copied.epoch);
    let mode = format!("{:?}", loaded.mode.mode);
    assert!(loaded.mode.mode.is_maintenance() && mode.contains("restored"), "{mode}");
    let last =
        restored.events(&EventQuery { newest_first: true, limit: 1, ..EventQuery::default() }).unwrap();
    assert_eq!(last[0].kind, "farm.restored");
}

#[test]
fn a_copy_that_is_damaged_or_newer_becomes_no_farm() {
    let (folder, store) = farm::new();
    quiet(&store);
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    grove_store::copy(folder.path(), &copy).unwrap();
    let whole = std::fs::read(&copy).unwrap();
    for length in [0, 100, whole.len() / 2 / 4096 * 4096] {
        std::fs::write(&copy, &whole[..length]).unwrap();
        let into = copies.path().join("state");
        assert!(grove_store::restore(&copy, &into, &about(), at(500)).is_err(), "{length}");
        assert!(!into.join("grove.db").exists(), "{length}");
    }
    let mut newer = whole;
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&copy, newer).unwrap();
    let error = grove_store::restore(&copy, &copies.path().join("state"), &about(), at(500)).unwrap_err();
    assert!(error.to_string().contains("has schema 99"), "{error}");
    let nowhere = tempfile::tempdir().unwrap();
    let error = grove_store::copy(nowhere.path(), &copies.path().join("none.db")).unwrap_err();
    assert!(error.to_string().contains("no farm is kept"), "{error}");
    assert!(!copies.path().join("none.db").exists());
}

/// A file whose digest is right again after a line was changed.
fn changed(file: &[u8], table: &str, change: impl Fn(&str) -> String) -> (Vec<u8>, usize) {
    let text = std::str::from_utf8(file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let begins = format!("{{\"table\":\"{table}\"");
    let at = lines.iter().position(|line| line.starts_with(&begins)).unwrap();
    let other = change(&lines[at]);
    assert_ne!(other, lines[at], "{table} was not changed");
    lines[at] = other;
    let trailer = lines.pop().unwrap();
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let (before, _) = trailer.rsplit_once("\"sha256\":").unwrap();
    bytes.extend_from_slice(format!("{before}\"sha256\":\"{digest}\"}}\n").as_bytes());
    (bytes, at + 1)
}

#[test]
fn numbers_without_room_for_the_next_are_refused_with_their_line() {
    let (folder, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());
    let tables: &[(&str, &[&str])] = &[
        ("requests", &["id", "place", "revision"]),
        ("workers", &["revision", "generation", "relapses", "attempts"]),
        ("events", &["seq"]),
        ("tasks", &["revision", "generation"]),
        ("introspections", &["revision"]),
        ("plugins", &["revision"]),
        ("farm", &["epoch", "last_request", "last_place", "last_event", "mode_revision"]),
    ];
    for (table, columns) in tables {
        for column in *columns {
            for number in [i64::MAX, i64::MAX - 1, (1 << 53) + 1] {
                let (edge, line) = changed(&file, table, |text| {
                    let (before, rest) = text.split_once(&format!("\"{column}\":")).unwrap();
                    let after = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                    format!("{before}\"{column}\":{number}{after}")
                });
                let error = stage(folder.path(), &edge).unwrap_err().to_string();
                let wanted = format!("line {line}: {table}: {column}: {number} is too large");
                assert!(error.starts_with(&wanted), "{table}.{column}: {error}");
            }
        }
    }
}

/// Admits nothing of a kind.
struct Refusing(&'static str);

impl Refusing {
    fn of(&self, kind: &str) -> Result<(), String> {
        if self.0 == kind { Err("not here".to_owned()) } else { Ok(()) }
    }
}

impl grove_store::Admission for Refusing {
    fn worker(&self, _: &Worker) -> Result<(), String> {
        self.of("workers")
    }

    fn request(&self, _: &grove_domain::request::Request) -> Result<(), String> {
        self.of("requests")
    }

    fn rule(&self, _: &grove_domain::rule::Rule) -> Result<(), String> {
        self.of("rules")
    }

    fn limit(&self, _: &Limit) -> Result<(), String> {
        self.of("limits")
    }
}

#[test]
fn what_is_not_admitted_is_refused_with_its_line() {
    let (folder, store) = farm::new();
    quiet(&store);
    let file = export(&store, &shelf());
    let text = std::str::from_utf8(&file).unwrap();
    for table in ["workers", "requests", "limits"] {
        let begins = format!("{{\"table\":\"{table}\"");
        let line = text.lines().position(|line| line.starts_with(&begins)).unwrap() + 1;
        let read = Staged::read(folder.path(), &mut &file[..], true, &Refusing(table), at(500));
        let error = read.unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: ")) && error.ends_with("not here"), "{error}");
    }
}
