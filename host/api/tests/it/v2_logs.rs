//! The logs of tasks over HTTP.

use std::time::Duration;

use grove_domain::id::WorkerId;
use grove_objects::Kind;
use insta::assert_snapshot;

use crate::kit::{Kit, uuid};

/// A worker whose task hangs; the task's id.
async fn running_task(kit: &Kit) -> String {
    kit.fakes.drivers.behave(None, "prepare", grove_control::fakes::Behaviour::Hang);
    kit.worker(1, "{}").await;
    kit.post(&format!("/api/v2/workers/{}/state", uuid(1)), r#"{"state":"idle"}"#).await;
    kit.until("a task", |farm| farm.worker(WorkerId(uuid(1))).is_some_and(|worker| worker.task.is_some()))
        .await;
    let farm = kit.controller.farm();
    farm.worker(WorkerId(uuid(1))).unwrap().task.unwrap().0.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_log_is_text_or_json_and_follows_until_the_end() {
    let kit = Kit::new().await;
    let task = running_task(&kit).await;
    let path = format!("/api/v2/tasks/{task}/log");
    let now = kit.controller.clock().now();
    let log = kit.storage.logs.begin(task.parse().unwrap());
    log.say(now, Kind::Step, "info", "prepare");
    log.say(now, Kind::Log, "warn", "it is warm");
    let answer = kit.get(&path).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_snapshot!(answer.text(), @r"
    2026-01-01T00:00:00.000Z  step      prepare
    2026-01-01T00:00:00.000Z  warn      it is warm
    ");
    let json = kit.ask(&format!("GET {path}?after=1"), &[("accept", "application/x-ndjson")], "").await;
    assert_snapshot!(json.text(), @r#"{"n":2,"at":"2026-01-01T00:00:00Z","kind":"log","level":"warn","text":"it is warm"}"#);

    let follow = format!("{path}?after=1&follow=true");
    let events = [("accept", "text/event-stream"), ("last-event-id", "1")];
    let end = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        log.say(now, Kind::End, "info", "done");
        log.close();
        kit.controller.cancel_task("test", task.parse().unwrap()).await.unwrap();
    };
    let stream = format!("GET {path}");
    let (text, stream, ()) = tokio::join!(kit.get(&follow), kit.ask(&stream, &events, ""), end);
    assert_snapshot!(text.text(), @r"
    2026-01-01T00:00:00.000Z  warn      it is warm
    2026-01-01T00:00:00.000Z  end       done
    ");
    assert_snapshot!(stream.text(), @r#"
    id: 2
    data: {"n":2,"at":"2026-01-01T00:00:00Z","kind":"log","level":"warn","text":"it is warm"}

    : still here

    : still here

    id: 3
    data: {"n":3,"at":"2026-01-01T00:00:00Z","kind":"end","level":"info","text":"done"}

    event: end
    data:
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_log_has_an_empty_one() {
    let kit = Kit::new().await;
    let task = running_task(&kit).await;
    assert_eq!(kit.get(&format!("/api/v2/tasks/{task}/log")).await.text(), "");
    let unknown = kit.get(&format!("/api/v2/tasks/{}/log", uuid(9))).await;
    assert_eq!(unknown.json()["code"], "task_not_found");
}
