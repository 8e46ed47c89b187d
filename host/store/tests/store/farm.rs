//! A small farm to store.

use std::path::Path;
use std::sync::{Arc, mpsc};

use grove_domain::capability::Map;
use grove_domain::event::{Event, Subject};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{InstanceId, IntrospectionId, RequestId, RuleId, TaskId, Uuid, WorkerId};
use grove_domain::introspection::{Event as Moves, Introspection, Rules, Way};
use grove_domain::moment::{Moment, SignedDuration, Timestamp};
use grove_domain::plugin::{Digest, Origin, Plugin, PluginKind, PluginVersion};
use grove_domain::request::{Job, JobAccess, Priority, Request, Spec, State};
use grove_domain::rule::{Action, Condition, Multiple, Rule, Source, Template, Test};
use grove_domain::task::{End, Report, Task, TaskKind, TaskSpec};
use grove_domain::wants::Wants;
use grove_domain::worker::{self, Occupation, Registration, Worker};
use grove_store::{Batch, Change, CommitError, OpenError, Settings, Store};
use tempfile::TempDir;

/// A new store in a folder of its own.
pub(crate) fn new() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

pub(crate) fn open(folder: &Path) -> Store {
    // A child that another test starts holds whatever is open until it is another program.
    for _ in 0..500 {
        match Store::open(folder, Settings::default()) {
            Err(OpenError::InUse(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays in use", folder.display())
}

/// A second way in, for what the store itself would never do.
pub(crate) fn intrude(folder: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.join("grove.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn batch(epoch: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { epoch, changes: changes.into_iter().collect(), events: Vec::new() }
}

/// Commits and waits.
pub(crate) fn commit(store: &Store, batch: Batch) -> Result<(), CommitError> {
    let (tell, told) = mpsc::channel();
    store.commit(batch, move |answer| tell.send(answer).unwrap());
    told.recv().unwrap()
}

pub(crate) fn worker(number: u128) -> Worker {
    let registration = Registration {
        driver: "simulated".to_owned(),
        driver_config: "{}".to_owned(),
        capabilities: Arc::new(Map::from([("board".to_owned(), "rpi4".to_owned())])),
    };
    Worker::register(WorkerId(Uuid::from_u128(number)), registration, at(0))
}

/// The worker's next revision, held by a request.
pub(crate) fn held(worker: &Worker, by: u64) -> Worker {
    let mut next = worker.clone();
    next.state = worker::State::Running;
    next.occupation = Some(Occupation { request: RequestId(by), opened: false });
    next.revision += 1;
    next
}

pub(crate) fn request(number: u64) -> Request {
    Request {
        id: RequestId(number),
        spec: Arc::new(Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::parse(&["board=rpi4", "uart=2.."]).unwrap(),
            length: None,
            keys: Vec::new(),
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: Map::new(),
            idempotency: None,
        }),
        state: State::Waiting,
        since: at(0),
        created: at(0),
        priority: Priority::new(8).unwrap(),
        place: number,
        valid_after: Moment::utc(at(0)),
        deadline: Moment::utc(at(3600)),
        reserved: None,
        job: None,
        reason: None,
        ended_by: None,
        revision: 1,
    }
}

/// The request's next revision, reserved for a worker.
pub(crate) fn reserved(request: &Request, worker: &Worker) -> Request {
    let mut next = request.clone();
    next.reserved = Some(worker.id);
    next.revision += 1;
    next
}

/// The request's next revision, with a running job.
pub(crate) fn opened(request: &Request, worker: &Worker) -> Request {
    let access = JobAccess {
        port: 2222,
        target_host: "board".to_owned(),
        target_port: 22,
        user: "ann".to_owned(),
        host_keys: Vec::new(),
        private_key: Some("-----BEGIN RSA PRIVATE KEY-----".to_owned()),
        authorized_keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
    };
    let mut next = request.clone();
    next.state = State::InProgress;
    next.reserved = None;
    next.job = Some(Arc::new(Job::new(worker.id, at(1), at(100), Arc::new(access))));
    next.revision += 1;
    next
}

/// The request's next revision: over, its job too.
pub(crate) fn ended(request: &Request, state: State) -> Request {
    let mut next = request.clone();
    next.state = state;
    next.reserved = None;
    next.reason = Some("it is over".to_owned());
    next.ended_by = Some("user:ann".to_owned());
    next.revision += 1;
    if let Some(job) = &request.job {
        let access = JobAccess { private_key: None, ..JobAccess::clone(&job.access) };
        next.job = Some(Arc::new(Job { ended: Some(at(50)), access: Arc::new(access), ..Job::clone(job) }));
    }
    next
}

pub(crate) fn task(number: u128, kind: TaskKind, worker: &Worker, request: Option<u64>) -> Task {
    let spec = TaskSpec {
        kind,
        worker: worker.id,
        generation: worker.generation,
        request: request.map(RequestId),
        introspection: None,
        driver: "simulated".to_owned(),
        host: None,
        driver_version: None,
        timeout: SignedDuration::from_secs(60),
        queued: at(0),
    };
    Task::queued(TaskId(Uuid::from_u128(number)), spec)
}

/// The task's next revision: over.
pub(crate) fn over(task: &Task, end: End, at: Timestamp) -> Task {
    let error = (end != End::Succeeded).then(|| "so".to_owned());
    task.reported(Report::Ended { end, error, at }).unwrap()
}

/// The task's next revision: it runs.
pub(crate) fn begun(task: &Task, instance: u128) -> Task {
    let instance = InstanceId(Uuid::from_u128(instance));
    let begun =
        Report::Begun { at: at(1), deadline: at(61), instance, plan: task.spec.plan(true, true, None) };
    task.reported(begun).unwrap()
}

/// A run that was just begun.
pub(crate) fn run(number: u128, worker: &Worker) -> Introspection {
    let id = IntrospectionId(Uuid::from_u128(number));
    Introspection::start(id, worker.id, Way::Push, None, at(0))
}

/// The run's next revisions, up to what these events lead to.
pub(crate) fn moved(
    run: &Introspection,
    second: i64,
    events: impl IntoIterator<Item = Moves>,
) -> Vec<Introspection> {
    let mut all = vec![run.clone()];
    for event in events {
        let last = all[all.len() - 1].clone();
        all.push(last.step(event, at(second), &Rules::default()).unwrap().run);
    }
    all
}

/// Through all of its life: well, or not.
pub(crate) fn lived(run: &Introspection, second: i64, well: bool) -> Vec<Introspection> {
    let middle = [Moves::Wait, Moves::Process { enrolled: None }];
    let last = if well { Moves::Finish } else { Moves::Error { reason: "it broke".to_owned() } };
    moved(run, second, middle.into_iter().chain([last]))
}

pub(crate) fn rule(number: u128, place: u64) -> Rule {
    Rule {
        id: RuleId(Uuid::from_u128(number)),
        place,
        description: "what it is for".to_owned(),
        scope: Some("lab".to_owned()),
        conditions: vec![Condition {
            source: Source::Data,
            path: grove_domain::inventory::Path::parse("/cpu/count").unwrap(),
            test: Test::parse("ge", Some(grove_domain::inventory::Value::Number(4_u64.into()))).unwrap(),
            multiple: Multiple::Any,
            invert: false,
        }],
        actions: vec![Action::SetCapability {
            name: "cores".to_owned(),
            value: Some(Template::parse("{data[cpu][count]}").unwrap()),
        }],
        created: at(0),
        revision: 1,
    }
}

/// A version whose digest is this byte, over and over.
pub(crate) fn version(name: &str, byte: u8) -> PluginVersion {
    PluginVersion {
        name: name.to_owned(),
        digest: Digest::new([byte; Digest::BYTES]),
        kind: PluginKind::Driver,
        version: format!("1.{byte}"),
        manifest: "name = \"simulated\"\n".to_owned(),
        origin: Origin::Installed,
        installed: at(0),
    }
}

/// A plugin that uses this version.
pub(crate) fn plugin(version: &PluginVersion) -> Plugin {
    Plugin {
        name: version.name.clone(),
        kind: version.kind,
        enabled: true,
        active: Some(version.digest),
        previous: None,
        since: at(0),
        probation: None,
        trouble: None,
        revision: 1,
    }
}

pub(crate) fn event(seq: u64, subject: Subject) -> Event {
    Event {
        seq,
        at: at(seq.cast_signed()),
        actor: "core".to_owned(),
        kind: "request.created".to_owned(),
        subject,
        before: None,
        after: Some("waiting".to_owned()),
        note: None,
    }
}

pub(crate) fn put_worker(worker: &Worker) -> Change {
    Change::PutWorker(Arc::new(worker.clone()))
}

pub(crate) fn put_request(request: &Request) -> Change {
    Change::PutRequest(Arc::new(request.clone()))
}

pub(crate) fn put_plugin(plugin: &Plugin) -> Change {
    Change::PutPlugin(Arc::new(plugin.clone()))
}

pub(crate) fn put_version(version: &PluginVersion) -> Change {
    Change::PutPluginVersion(Arc::new(version.clone()))
}

pub(crate) fn put_run(run: &Introspection) -> Change {
    Change::PutIntrospection(Arc::new(run.clone()))
}

pub(crate) fn put_rule(rule: &Rule) -> Change {
    Change::PutRule(Arc::new(rule.clone()))
}

pub(crate) fn put_task(task: &Task) -> Change {
    Change::PutTask(Arc::new(task.clone()))
}
