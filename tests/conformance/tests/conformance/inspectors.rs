//! Inspectors, good and hostile.

use std::time::Duration;

use grove_runtime::{Cause, Finding, InspectorPlugin, Registration, WorkerView};
use grove_tests_conformance::{Recorder, load, patient, short_run};

async fn inspector(name: &str) -> InspectorPlugin {
    load(name, "").await.unwrap().into_inspector().unwrap()
}

fn worker() -> WorkerView {
    WorkerView { uuid: "w1".into(), capabilities: Vec::new(), groups: Vec::new() }
}

#[tokio::test]
async fn inspector_counts_answers_every_call() {
    let inspector = inspector("inspector-counts").await;
    let mut session = inspector.open("{}".into(), patient(), Recorder::new()).await.unwrap();
    assert_eq!(session.info().name, "inspector-counts");
    assert_eq!(session.normalize("A,B".into()).await.unwrap(), "a,b");
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
    let mut session =
        inspector("inspector-loop").await.open("{}".into(), short_run(), log.clone()).await.unwrap();
    let error = session.derive("{}".into(), worker()).await.unwrap_err();
    assert_eq!(error.cause, Cause::RanTooLong(Duration::from_millis(50)));
    assert!(error.to_string().starts_with("inspector `inspector-loop`: derive: "), "{error}");
    assert!(!session.is_alive());
    assert_eq!(session.normalize("{}".into()).await.unwrap_err().cause, Cause::Ended);
    assert_eq!(std::sync::Arc::strong_count(&log), 1, "the store is gone");
}
