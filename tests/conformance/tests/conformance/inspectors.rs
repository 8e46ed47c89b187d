//! Inspectors, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use grove_runtime::{
    CallError, CallLimits, CancellationToken, Cause, Finding, InspectorPlugin, InspectorSession,
    MAX_FINDINGS, MAX_INVENTORY, MAX_KEY, MAX_VALUE, Registration, WorkerView,
};
use grove_tests_conformance::{PATIENCE, Recorder, load, patient, short_run};

async fn inspector(name: &str) -> InspectorPlugin {
    load(name, "").await.unwrap().into_inspector().unwrap()
}

async fn open(name: &str, limits: CallLimits, log: &Arc<Recorder>) -> InspectorSession {
    let inspector = inspector(name).await;
    inspector.open("{}".into(), limits, log.clone(), CancellationToken::new()).await.unwrap()
}

/// A patient session whose log nobody reads.
async fn session(name: &str) -> InspectorSession {
    open(name, patient(), &Recorder::new()).await
}

fn view(uuid: &str) -> WorkerView {
    WorkerView { uuid: uuid.into(), ..worker() }
}

/// It is named, and its instance is never entered again.
async fn dead(error: &CallError, mut session: InspectorSession, name: &str) {
    assert!(error.to_string().starts_with(&format!("inspector `{name}`: ")), "{error}");
    assert!(error.is_misbehaviour(), "{error:?}");
    assert!(!session.is_alive());
    assert_eq!(session.normalize("{}".into()).await.unwrap_err().cause, Cause::Ended);
}

fn worker() -> WorkerView {
    WorkerView { uuid: "w1".into(), capabilities: Vec::new(), groups: Vec::new() }
}

#[tokio::test]
async fn inspector_counts_answers_every_call() {
    let inspector = inspector("inspector-counts").await;
    let mut session =
        inspector.open("{}".into(), patient(), Recorder::new(), Default::default()).await.unwrap();
    assert_eq!(session.info().name, "inspector-counts");
    assert_eq!(session.normalize("[1,\"B\"]".into()).await.unwrap(), "[1,\"b\"]");
    let error = session.normalize(String::new()).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| failure.text.as_str()), Some("there is nothing"));
    assert_eq!(
        session.derive("a,b".into(), worker()).await.unwrap(),
        [
            Finding::SetCapability("commas".into(), "1".into()),
            Finding::UnsetCapability("old".into()),
            Finding::Label("worker".into(), "w1".into()),
            Finding::Fail("for the sake of it".into()),
        ]
    );
    assert_eq!(session.unknown_device("nothing".into()).await.unwrap(), None);
    let found = session.unknown_device("driver=ssh".into()).await.unwrap();
    assert_eq!(
        found,
        Some(Registration {
            uuid: "0198c0de-0000-7000-8000-000000000009".into(),
            capabilities: Vec::new(),
            driver: "ssh".into(),
            config: "{}".into(),
        })
    );
}

#[tokio::test]
async fn inspector_loop_is_ended() {
    let log = Recorder::new();
    let mut session = open("inspector-loop", short_run(), &log).await;
    let error = session.derive("{}".into(), worker()).await.unwrap_err();
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(50)));
    assert!(error.to_string().starts_with("inspector `inspector-loop`: derive: "), "{error}");
    dead(&error, session, "inspector-loop").await;
    assert_eq!(Arc::strong_count(&log), 1, "the store is gone");

    let limits = CallLimits { deadline: Duration::from_millis(50), running: PATIENCE };
    let mut session = open("inspector-loop", limits, &log).await;
    let error = session.derive("{}".into(), worker()).await.unwrap_err();
    assert_eq!(error.cause, Cause::DeadlineExceeded(limits.deadline));
    assert!(!session.is_alive());
    assert_eq!(Arc::strong_count(&log), 1, "the store is gone");
}

#[tokio::test]
async fn inspector_loop_is_cancelled_while_it_derives() {
    let (log, cancel) = (Recorder::new(), CancellationToken::new());
    let loops = inspector("inspector-loop").await;
    let mut session = loops.open("{}".into(), patient(), log.clone(), cancel.clone()).await.unwrap();
    let derives = tokio::spawn(async move { session.derive("{}".into(), worker()).await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!derives.is_finished(), "it loops");
    cancel.cancel();
    let ended = tokio::time::timeout(PATIENCE, derives).await.expect("it hangs").unwrap();
    assert_eq!(ended.unwrap_err().cause, Cause::Cancelled);
    assert_eq!(Arc::strong_count(&log), 1, "the store is gone when the call is");

    let opened = loops.open("{}".into(), patient(), log.clone(), cancel).await;
    assert_eq!(opened.unwrap_err().cause, Cause::Cancelled, "nothing is begun that is cancelled already");
}

#[tokio::test]
async fn inspector_memory_bomb_stops_at_its_limit() {
    let mut session = session("inspector-memory-bomb").await;
    let error = session.normalize("{}".into()).await.unwrap_err();
    assert_eq!(error.cause, Cause::MemoryLimit(64 << 20));
    dead(&error, session, "inspector-memory-bomb").await;
}

#[tokio::test]
async fn inspector_panic_is_told_with_where_it_was() {
    let mut session = session("inspector-panic").await;
    assert_eq!(session.normalize("{}".into()).await.unwrap(), "{}");
    let error = session.derive("{}".into(), worker()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Trap(_)), "{error}");
    dead(&error, session, "inspector-panic").await;
}

#[tokio::test]
async fn inspector_huge_answer_is_refused() {
    let name = "inspector-huge-answer";
    for bytes in [MAX_INVENTORY, 12 << 20] {
        let mut session = session(name).await;
        let error = session.normalize(bytes.to_string()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooMuchData(_)), "{error}");
        dead(&error, session, name).await;
    }
    for (what, number) in [
        ("changes", 1_000_000),
        ("changes", MAX_FINDINGS + 1),
        ("key", MAX_KEY + 1),
        ("value", MAX_VALUE + 1),
    ] {
        let mut session = session(name).await;
        let error = session.derive(number.to_string(), view(what)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TooMuchData(_)), "{what}: {error}");
        assert!(error.to_string().len() < 300, "{error}");
        dead(&error, session, name).await;
    }
    let mut session = session(name).await;
    assert_eq!(session.normalize((MAX_INVENTORY - 2).to_string()).await.unwrap().len(), MAX_INVENTORY);
    for (what, number) in [("changes", MAX_FINDINGS), ("key", MAX_KEY), ("value", MAX_VALUE)] {
        session.derive(number.to_string(), view(what)).await.unwrap();
    }
    let cut = session.derive((1 << 20).to_string(), view("failure")).await.unwrap();
    assert!(matches!(&cut[..], [Finding::Fail(text)] if text.len() <= 2000), "texts for people are cut");
}

#[tokio::test]
async fn inspector_nonsense_is_named_and_ends() {
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for nonsense in ["", "{", "NaN", "{} {}", "<inventory/>", deep.as_str()] {
        let mut one = session("inspector-nonsense").await;
        let error = one.normalize(nonsense.to_owned()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Nonsense(_)), "{nonsense}: {error}");
        dead(&error, one, "inspector-nonsense").await;
        let mut one = session("inspector-nonsense").await;
        let error = one.unknown_device(nonsense.to_owned()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Nonsense(_)), "{nonsense}: {error}");
        dead(&error, one, "inspector-nonsense").await;
    }
}

#[tokio::test]
async fn an_inventory_that_is_too_long_is_no_fault_of_the_inspector() {
    let mut session = session("inspector-counts").await;
    for _ in 0..2 {
        let error = session.normalize("7".repeat(MAX_INVENTORY + 1)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::NotAsked(_)) && !error.is_misbehaviour(), "{error}");
    }
    assert_eq!(session.normalize("{}".into()).await.unwrap(), "{}");
}
