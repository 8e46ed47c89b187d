//! Policies, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use grove_runtime::policy::{Assignment, Change, Demand, Request, Worker};
use grove_runtime::{CallError, CallLimits, Cause, FailureKind, Grants, PolicyPlugin, PolicySession};
use grove_tests_conformance::{PATIENCE, Recorder, component, load, manifest, patient, runtime, short_run};

async fn policy(name: &str) -> PolicyPlugin {
    load(name, "").await.unwrap().into_policy().unwrap()
}

async fn session(name: &str, settings: &str, limits: CallLimits) -> PolicySession {
    policy(name).await.open(settings.to_owned(), limits, Recorder::new()).await.unwrap()
}

fn worker(id: u32) -> Worker {
    Worker {
        id,
        uuid: format!("0198c0de-0000-7000-8000-{id:012}"),
        capabilities: vec![("board".into(), "rpi4".into())],
        groups: vec!["lab".into()],
        state: "idle".into(),
        driver: "ssh".into(),
    }
}

fn request(id: u64) -> Request {
    Request {
        id,
        owner: "ann".into(),
        groups: vec!["lab".into()],
        wants: vec!["board=rpi4".into()],
        priority: 8,
        created: 1,
        valid_after: 2,
        deadline: 3,
        hints: Vec::new(),
    }
}

fn demands(number: u64) -> Vec<Demand> {
    (1..=number).map(|request| Demand { request, candidate_set: 0 }).collect()
}

/// A dead session is never entered again.
async fn dead(mut session: PolicySession) {
    assert!(!session.is_alive());
    assert_eq!(session.apply(Vec::new()).await.unwrap_err().cause, Cause::Ended);
    assert_eq!(session.plan(0, Vec::new(), Vec::new()).await.unwrap_err().cause, Cause::Ended);
}

fn named(error: &CallError, name: &str) {
    assert!(error.to_string().starts_with(&format!("policy `{name}`: ")), "{error}");
    assert!(error.is_misbehaviour(), "{error:?}");
}

#[tokio::test]
async fn policy_first_keeps_its_state_between_calls() {
    let log = Recorder::new();
    let mut session = policy("policy-first").await.open("{}".into(), patient(), log.clone()).await.unwrap();
    assert!(log.heard("policy starts"));
    let info = session.info();
    assert_eq!((info.info.name.as_str(), info.max_candidates), ("policy-first", 7));
    assert_eq!(info.own_keys, ["rack"]);

    let mut changes: Vec<_> = (1..=3).map(|id| Change::WorkerPut(worker(id))).collect();
    changes.push(Change::RequestPut(request(1)));
    session.apply(changes).await.unwrap();
    let plan = session.plan(5, vec![vec![2, 3]], demands(3)).await.unwrap();
    let given: Vec<_> = plan.assignments.iter().map(|a| (a.request, a.worker)).collect();
    assert_eq!(given, [(1, 2), (2, 3)]);
    assert_eq!(plan.assignments[0].reason, "the first");
    assert_eq!(
        plan.waits.iter().map(|w| (w.request, w.reason.as_str())).collect::<Vec<_>>(),
        [(3, "none left")]
    );
    assert_eq!(plan.wake_at, Some(1005));

    let started = Assignment { request: 1, worker: 2, score: 1, reason: String::new() };
    let plan = session.round(vec![Change::Started(started)], 5, vec![vec![2, 3]], demands(1)).await.unwrap();
    assert_eq!(plan.assignments[0].worker, 3, "the change came before the question");
}

#[tokio::test]
async fn policy_first_may_refuse_its_settings() {
    let opened = policy("policy-first").await.open("bad".into(), patient(), Recorder::new()).await;
    let error = opened.unwrap_err();
    assert_eq!(error.failure().map(|failure| failure.kind), Some(FailureKind::Config));
    assert!(error.to_string().contains("`bad` is not good"), "{error}");
}

#[tokio::test]
async fn policy_nonsense_is_handed_on_when_small_and_refused_when_big() {
    // Whether numbers exist, and are given out once, only the core can know.
    for settings in ["unknown", "double"] {
        let plan =
            session("policy-nonsense", settings, patient()).await.plan(0, vec![vec![1]], demands(5)).await;
        assert_eq!(plan.unwrap().assignments.len(), 5);
    }
    for settings in ["more", "waits", "huge"] {
        let mut session = session("policy-nonsense", settings, patient()).await;
        let error = session.plan(0, vec![vec![1]], demands(5)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooMuchData(_)), "{settings}: {error}");
        named(&error, "policy-nonsense");
        dead(session).await;
    }
    let plan = session("policy-nonsense", "reason", patient())
        .await
        .plan(0, vec![vec![1]], demands(5))
        .await
        .unwrap();
    assert!(plan.waits.iter().all(|wait| wait.reason.len() <= 2000), "reasons are cut");

    let mut session = session("policy-nonsense", "panic", patient()).await;
    let error = session.plan(0, vec![vec![1]], demands(5)).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Trap(_)), "{error}");
    named(&error, "policy-nonsense");
    dead(session).await;
}

#[tokio::test]
async fn policy_loop_is_ended_and_disturbs_no_other() {
    let mut good = session("policy-first", "{}", patient()).await;
    let mut bad = session("policy-loop", "{}", short_run()).await;
    let question = tokio::spawn(async move {
        let error = bad.plan(0, vec![vec![1]], demands(1)).await.unwrap_err();
        (error, bad)
    });
    for _ in 0..20 {
        good.plan(0, vec![vec![1]], demands(1)).await.unwrap();
    }
    let (error, bad) = question.await.unwrap();
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(50)));
    named(&error, "policy-loop");
    dead(bad).await;

    let limits = CallLimits { deadline: Duration::from_millis(50), running: PATIENCE };
    let mut late = session("policy-loop", "{}", patient()).await;
    late.set_limits(limits);
    let error = late.plan(0, vec![vec![1]], demands(1)).await.unwrap_err();
    assert_eq!(error.cause, Cause::DeadlineExceeded(limits.deadline));
    dead(late).await;
}

#[tokio::test]
async fn policy_memory_bomb_stops_at_its_limit() {
    let mut session = session("policy-memory-bomb", "{}", patient()).await;
    let error = session.apply(vec![Change::WorkerPut(worker(1))]).await.unwrap_err();
    assert_eq!(error.cause, Cause::MemoryLimit(64 << 20));
    named(&error, "policy-memory-bomb");
    dead(session).await;
}

#[tokio::test]
async fn policy_start_loop_does_not_open() {
    let log = Recorder::new();
    let opened = policy("policy-start-loop").await.open("{}".into(), short_run(), log.clone()).await;
    let error = opened.unwrap_err();
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(50)));
    named(&error, "policy-start-loop");
    assert_eq!(Arc::strong_count(&log), 1, "the store is gone");
}

#[tokio::test]
async fn a_dropped_session_ends_its_guest_even_with_the_runtime() {
    let runtime = runtime(1).unwrap();
    let (manifest, component) = (manifest("policy-loop", "").unwrap(), component("policy-loop").unwrap());
    let plugin = runtime.load(manifest, component, &Grants::default()).await.unwrap();
    let policy = plugin.into_policy().unwrap();
    let log = Recorder::new();
    let mut session = policy.open("{}".into(), patient(), log.clone()).await.unwrap();
    drop((runtime, policy));
    let question = session.plan(0, vec![vec![1]], demands(1));
    assert!(tokio::time::timeout(Duration::from_millis(30), question).await.is_err(), "it loops");
    drop(session);
    let gone = async {
        while Arc::strong_count(&log) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the store lives on");
}
