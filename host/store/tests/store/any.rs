//! Any entity that the farm's rules allow, with any text, number and time in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use grove_domain::capability::{Capabilities, Map};
use grove_domain::event::{Event, Subject};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{InstanceId, IntrospectionId, RequestId, RuleId, TaskId, Uuid, WorkerId};
use grove_domain::introspection::{self, Ending, Findings, Introspection, TokenDigest, Way};
use grove_domain::inventory::{Number, Path, Value};
use grove_domain::moment::{Moment, SignedDuration, Timestamp};
use grove_domain::plugin::{Digest, Origin, Plugin, PluginKind, PluginVersion, Probation};
use grove_domain::request::{self, Idempotency, Job, JobAccess, Priority, Request, Spec};
use grove_domain::rule::{Action, Condition, Multiple, Rule, Source, Template, Test};
use grove_domain::task::{
    LogLevel, LogLine, LogTail, Phase, Step, StepKind, StepOutcome, Task, TaskKind, TaskSpec, TaskStatus,
};
use grove_domain::wants::Wants;
use grove_domain::worker::{self, Access, Health, Occupation, Recovery, Registration, Worker};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", any::<String>()]
}

/// Any instant there is, the ends of time among them.
pub(crate) fn instant() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let whole = (first + 1..last, 0..1_000_000_000_i32);
    prop_oneof![
        8 => whole.prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap()),
        1 => Just(Timestamp::MAX),
        1 => Just(Timestamp::MIN),
    ]
}

fn span() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![
        8 => (0..1_000_000_000_i64, 0..1_000_000_000_i32).prop_map(|(second, nano)| SignedDuration::new(second, nano)),
        1 => Just(SignedDuration::MAX),
        1 => Just(SignedDuration::MIN),
    ]
}

/// As far as SQLite counts.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![1..1000_u64, 1..=i64::MAX.cast_unsigned()]
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; Digest::BYTES]>().prop_map(Digest::new)
}

/// A plugin with the versions that it names.
pub(crate) fn plugin() -> impl Strategy<Value = (Plugin, Vec<PluginVersion>)> {
    let kind = select(&PluginKind::ALL[..]);
    let version = (digest(), text(), text(), select(&Origin::ALL[..]), instant());
    let probation = of((instant(), 0..=9_u32, 9..=u32::MAX));
    let how = (any::<bool>(), any::<bool>(), any::<bool>(), instant(), probation, of(text()));
    (text(), kind, vec(version, 2..4), how).prop_map(|(name, kind, found, how)| {
        let (enabled, active, previous, since, probation, trouble) = how;
        let mut versions: Vec<_> = found
            .into_iter()
            .map(|(digest, version, manifest, origin, installed)| PluginVersion {
                name: name.clone(),
                digest,
                kind,
                version,
                manifest,
                origin,
                installed,
            })
            .collect();
        versions.sort_by_key(|version| version.digest);
        versions.dedup_by_key(|version| version.digest);
        let active = (enabled || active).then(|| versions[0].digest);
        let previous =
            previous.then(|| versions[versions.len() - 1].digest).filter(|last| active != Some(*last));
        let probation = probation
            .filter(|_| active.is_some() && previous.is_some())
            .map(|(until, failures, outcomes)| Probation { until, outcomes, failures });
        let plugin = Plugin { name, kind, enabled, active, previous, since, probation, trouble, revision: 1 };
        (plugin, versions)
    })
}

fn map() -> impl Strategy<Value = Map> {
    btree_map(text(), text(), 0..4)
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

pub(crate) fn event(seq: u64) -> impl Strategy<Value = Event> {
    let subject = prop_oneof![
        uuid().prop_map(|id| Subject::Worker(WorkerId(id))),
        any::<u64>().prop_map(|id| Subject::Request(RequestId(id))),
        uuid().prop_map(|id| Subject::Task(TaskId(id))),
        uuid().prop_map(|id| Subject::Introspection(IntrospectionId(id))),
        uuid().prop_map(|id| Subject::Rule(RuleId(id))),
        text().prop_map(Subject::Plugin),
        Just(Subject::Farm),
    ];
    (instant(), text(), text(), subject, of(text()), of(text()), of(text())).prop_map(
        move |(at, actor, kind, subject, before, after, note)| Event {
            seq,
            at,
            actor,
            kind,
            subject,
            before,
            after,
            note,
        },
    )
}

/// A run of introspection, of `worker` where it has one.
pub(crate) fn introspection(worker: WorkerId) -> impl Strategy<Value = Introspection> {
    use introspection::State;
    let what = (select(&State::ALL[..]), select(&Way::ALL[..]), any::<bool>(), any::<bool>());
    let when = (instant(), instant(), instant());
    let told = (text(), any::<bool>(), of(any::<[u8; 32]>()));
    (uuid(), what, when, told).prop_map(move |(id, what, when, told)| {
        let ((state, way, has_raw, has_processed), (since, started, finished), (why, switch_off, token)) =
            (what, when, told);
        let enrols = state == State::Enrolling;
        Introspection {
            id: IntrospectionId(id),
            worker: (!enrols).then_some(worker),
            way: if enrols { Way::Enrol } else { way },
            state,
            since,
            started,
            finished: state.is_terminal().then_some(finished),
            error: (state == State::Error).then(|| why.clone()),
            ending: (state == State::Aborting).then_some(Ending { reason: why, switch_off }),
            token: token.map(TokenDigest),
            has_raw: has_raw || has_processed,
            has_processed,
            revision: 1,
        }
    })
}

pub(crate) fn findings() -> impl Strategy<Value = Findings> {
    (map(), map(), map()).prop_map(|(capabilities, labels, by)| Findings { capabilities, labels, by })
}

/// A rule of conditions and actions of every kind.
pub(crate) fn rule(place: u64) -> impl Strategy<Value = Rule> {
    let head = (uuid(), text(), of(text()), instant(), count());
    (head, vec(condition(), 0..6), vec(action(), 0..6)).prop_map(
        move |((id, description, scope, created, revision), conditions, actions)| Rule {
            id: RuleId(id),
            place,
            description,
            scope,
            conditions,
            actions,
            created,
            revision,
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    let plain = prop_oneof![
        text().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(|number| Value::Number(number.into())),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        prop::num::f64::NORMAL.prop_map(|number| Value::Number(Number::real(number).unwrap())),
    ];
    let texts = select(vec![("in-net", "10.0.0.0/8"), ("matches", "a+(b|c)"), ("contains", "\\d\"")]);
    let test = prop_oneof![
        (select(vec!["eq", "ne", "lt", "le", "gt", "ge"]), plain).prop_map(|(op, value)| (op, Some(value))),
        texts.prop_map(|(op, text)| (op, Some(Value::Text(text.to_owned())))),
        Just(("is-empty", None)),
    ];
    let path = select(vec!["", "/cpu/count", "/net/*/mac", "/a~1b/~0", "/\u{1f332}/0"]);
    (select(&Source::ALL[..]), path, test, select(&Multiple::ALL[..]), any::<bool>()).prop_map(
        |(source, path, (op, value), multiple, invert)| Condition {
            source,
            path: Path::parse(path).unwrap(),
            test: Test::parse(op, value).unwrap(),
            multiple,
            invert,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let template =
        || select(vec!["", "4", "{data[cpu][count]} cores"]).prop_map(|text| Template::parse(text).unwrap());
    prop_oneof![
        text().prop_map(|message| Action::Fail { message }),
        (text(), of(template())).prop_map(|(name, value)| Action::SetCapability { name, value }),
        (text(), template()).prop_map(|(name, value)| Action::ExtendCapability { name, value }),
        (text(), template()).prop_map(|(name, value)| Action::SetLabel { name, value }),
        text().prop_map(|name| Action::AddTrait { name }),
        text().prop_map(|name| Action::RemoveTrait { name }),
    ]
}

pub(crate) fn task() -> impl Strategy<Value = Task> {
    let spec = (
        select(&TaskKind::ALL[..]),
        uuid().prop_map(WorkerId),
        count(),
        (of(count().prop_map(RequestId)), of(uuid().prop_map(IntrospectionId))),
        (text(), of(digest()), of(text())),
        span(),
        instant(),
    )
        .prop_map(
            |(
                kind,
                worker,
                generation,
                (request, introspection),
                (driver, driver_version, host),
                timeout,
                queued,
            )| TaskSpec {
                kind,
                worker,
                generation,
                request,
                introspection,
                driver,
                host,
                driver_version,
                timeout,
                queued,
            },
        );
    (uuid(), spec, status()).prop_map(|(id, spec, status)| Task {
        id: TaskId(id),
        spec: Arc::new(spec),
        status,
        revision: 1,
    })
}

/// Any step: also one that only a newer version knows.
fn step_kind() -> impl Strategy<Value = StepKind> {
    prop_oneof![
        select(&StepKind::CORE[..]),
        text().prop_map(StepKind::Driver),
        text().prop_map(|raw| StepKind::stored(&raw)),
    ]
}

fn log() -> impl Strategy<Value = LogTail> {
    let line = (instant(), select(&LogLevel::ALL[..]), text());
    vec(line, 0..4)
        .prop_map(|lines| lines.into_iter().map(|(at, level, text)| LogLine { at, level, text }).collect())
}

fn status() -> impl Strategy<Value = TaskStatus> {
    let outcome = select(&StepOutcome::ALL[..]);
    let step = (step_kind(), of(instant()), of((instant(), outcome))).prop_map(|(kind, started, end)| Step {
        kind,
        started,
        ended: end.map(|(at, _)| at),
        outcome: end.map(|(_, outcome)| outcome),
    });
    let times = (instant(), of(instant()), instant(), of(instant()));
    let told = (text(), log(), text(), of(uuid().prop_map(InstanceId)));
    (select(&Phase::ALL[..]), vec(step, 0..3), 0..=100_u8, told, times).prop_map(
        |(phase, steps, progress, (note, log, error, instance), (begun, started, ended, deadline))| {
            TaskStatus {
                phase,
                steps,
                progress,
                note,
                log,
                error: matches!(phase, Phase::Failed | Phase::Cancelled).then_some(error),
                instance,
                started: started.or((phase == Phase::Running).then_some(begun)),
                ended: phase.is_terminal().then_some(ended),
                deadline,
            }
        },
    )
}

/// A worker; a RUNNING one is occupied by `occupant`.
pub(crate) fn worker(occupant: u64) -> impl Strategy<Value = Worker> {
    let access = (text(), any::<u16>(), text(), lines()).prop_map(|(host, port, user, host_keys)| Access {
        host,
        port,
        user,
        host_keys,
    });
    let health = (any::<bool>(), of(instant()), text()).prop_map(|(ok, checked_at, note)| Health {
        ok,
        checked_at,
        note,
    });
    let recovery = (any::<u32>(), any::<u32>(), of(instant()), any::<bool>()).prop_map(
        |(relapses, attempts, recheck_at, quarantined)| Recovery {
            relapses,
            attempts,
            recheck_at,
            quarantined,
        },
    );
    let who = (uuid(), text(), text(), map(), map(), map());
    let what = (of(lines()), of(text()), of(text()), of(digest()), health, of(access));
    let how = (
        select(&worker::State::ALL[..]),
        instant(),
        of(text()),
        any::<bool>(),
        of((uuid(), select(&TaskKind::ALL[..]))),
        recovery,
        count(),
    );
    (who, what, how).prop_map(move |(who, what, how)| {
        let (id, driver, driver_config, agent, introspected, admin) = who;
        let (groups, host, notes, driver_version, health, access) = what;
        let (state, since, reason, opened, task, mut recovery, generation) = how;
        if state != worker::State::Failed {
            recovery.recheck_at = None;
        }
        let (id, agent) = (WorkerId(id), Arc::new(agent));
        Worker {
            id,
            state,
            since,
            reason: if state == worker::State::Failed { Some(reason.unwrap_or_default()) } else { reason },
            registration: Arc::new(Registration { driver, driver_config, capabilities: agent.clone() }),
            capabilities: Capabilities::new(id, agent, introspected.into(), admin.into()),
            groups: groups.map(Arc::from),
            host,
            notes,
            driver_version,
            health,
            access: access.map(Arc::new),
            occupation: (state == worker::State::Running)
                .then_some(Occupation { request: RequestId(occupant), opened }),
            task: task.map(|(id, kind)| (TaskId(id), kind)),
            recovery,
            drain: opened,
            generation,
            revision: 1,
        }
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    let groups = prop_oneof![Just(OwnerGroups::All), lines().prop_map(OwnerGroups::Some)];
    let term =
        select(vec!["camera", "!camera", "board=rpi4", "uart=2..", "lab!=berlin", "name=\"a,b\"", "v>=2.9"]);
    let wants = prop_oneof![
        of(map()).prop_map(Wants::Exact),
        vec(term, 0..4).prop_map(|terms| Wants::parse(&terms).unwrap()),
    ];
    let idempotency = (text(), any::<[u8; Digest::BYTES]>());
    let idempotency = idempotency.prop_map(|(key, body)| Idempotency { key, body: Digest::new(body) });
    let hold = (of(span()), of(span()), of(span()), any::<bool>());
    (text(), groups, wants, of(span()), lines(), hold, map(), of(idempotency)).prop_map(
        |(name, groups, wants, length, keys, hold, hints, idempotency): (
            _,
            _,
            _,
            _,
            _,
            _,
            BTreeMap<_, _>,
            _,
        )| {
            let (owner, (heartbeat, away, idle, extend)) = (Owner { name, groups }, hold);
            Spec { owner, wants, length, keys, heartbeat, away, idle, extend, hints, idempotency }
        },
    )
}

fn job(worker: WorkerId) -> impl Strategy<Value = Job> {
    let access = (any::<u16>(), text(), any::<u16>(), text(), lines(), of(text()), lines()).prop_map(
        |(port, target_host, target_port, user, host_keys, private_key, authorized_keys)| JobAccess {
            port,
            target_host,
            target_port,
            user,
            host_keys,
            private_key,
            authorized_keys,
        },
    );
    let silence = (of(instant()), of(instant()), any::<bool>(), any::<u8>());
    (instant(), instant(), any::<u32>(), access, instant(), silence).prop_map(
        move |(opened, timeout, prolongs, access, ended, (away, unreachable, kept, warned))| Job {
            prolongs,
            ended: Some(ended),
            away,
            unreachable,
            kept,
            warned,
            ..Job::new(worker, opened, timeout, Arc::new(access))
        },
    )
}

/// A request; where it holds a worker, it is `worker`.
pub(crate) fn request(number: u64, worker: WorkerId) -> impl Strategy<Value = Request> {
    let moment = || (instant(), -93_599..=93_599_i32).prop_map(|(at, offset)| Moment { at, offset });
    let who = (spec(), 1..=16_u8, count(), instant(), moment(), moment());
    let how = (select(&request::State::ALL[..]), instant(), any::<bool>(), of(text()), job(worker));
    (who, how).prop_map(move |(who, how)| {
        let (spec, priority, place, created, valid_after, deadline) = who;
        let (state, since, reserve, reason, mut job) = how;
        let with_job =
            matches!(state, request::State::InProgress | request::State::Done | request::State::Failed);
        if state == request::State::InProgress {
            job.ended = None;
        } else {
            job.access = Arc::new(JobAccess { private_key: None, ..JobAccess::clone(&job.access) });
        }
        let must_say = matches!(state, request::State::Failed | request::State::Invalid);
        Request {
            id: RequestId(number),
            spec: Arc::new(spec),
            state,
            since,
            created,
            priority: Priority::new(priority).unwrap(),
            place,
            valid_after,
            deadline,
            reserved: (reserve && state == request::State::Waiting).then_some(worker),
            job: with_job.then(|| Arc::new(job)),
            ended_by: reason.clone().filter(|_| state.is_terminal()),
            reason: if must_say { Some(reason.unwrap_or_default()) } else { reason },
            revision: 1,
        }
    })
}
