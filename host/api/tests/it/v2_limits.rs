//! Limits on running tasks, as they are told and set.

use grove_control::fakes::Behaviour;
use grove_domain::id::WorkerId;
use serde_json::json;

use crate::kit::{Kit, uuid};

#[tokio::test(start_paused = true)]
async fn limits_are_set_and_told() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/api/v2/limits").await.json(), json!({"items": [], "next": null}));
    let never = kit.get("/api/v2/limits/host/rack2").await;
    assert_eq!(never.header("etag"), Some("\"0\""));
    let none = json!({"scope": "host", "name": "rack2", "value": null, "running": 0, "revision": 0});
    assert_eq!(never.json(), none);

    for (path, body) in [("farm", r#"{"value":3}"#), ("driver/fake", r#"{"value":0}"#)] {
        let set = kit.ask(&format!("PUT /api/v2/limits/{path}"), &[("if-match", "\"0\"")], body).await;
        assert_eq!((set.status.as_u16(), set.header("etag")), (200, Some("\"1\"")), "{}", set.text());
    }
    // A name may hold what a path may not.
    let odd = kit.ask("PUT /api/v2/limits/host/rack%202%2Fleft", &[], r#"{"value":7}"#).await;
    assert_eq!(odd.json()["name"], "rack 2/left");
    // The same again changes nothing.
    let again = kit.ask("PUT /api/v2/limits/farm", &[("if-match", "*")], r#"{"value":3}"#).await;
    assert_eq!(again.header("etag"), Some("\"1\""));
    let taken = kit.ask("PUT /api/v2/limits/farm", &[("if-match", "\"1\"")], r#"{"value":null}"#).await;
    assert_eq!((&taken.json()["value"], &taken.json()["revision"]), (&json!(null), &json!(2)));
    insta::assert_snapshot!(kit.get("/api/v2/limits").await.text(), @r#"{"items":[{"scope":"farm","name":"","value":null,"running":0,"revision":2},{"scope":"driver","name":"fake","value":0,"running":0,"revision":1},{"scope":"host","name":"rack 2/left","value":7,"running":0,"revision":1}],"next":null}"#);
}

#[tokio::test(start_paused = true)]
async fn limits_are_refused() {
    let kit = Kit::new().await;
    let long = |n: usize| "x".repeat(n);
    for (path, headers, body, status, code) in [
        ("farm".to_owned(), &[][..], "{}", 422, "invalid_field"),
        ("farm".to_owned(), &[], r#"{"value":-1}"#, 422, "invalid_field"),
        ("farm".to_owned(), &[], r#"{"value":1.5}"#, 422, "invalid_field"),
        ("farm".to_owned(), &[], r#"{"value":5000000000}"#, 422, "invalid_field"),
        ("farm".to_owned(), &[], r#"{"value":1,"most":2}"#, 422, "unknown_field"),
        ("farm".to_owned(), &[], "", 400, "bad_json"),
        ("farm".to_owned(), &[("if-match", "1")], r#"{"value":1}"#, 400, "invalid_header"),
        ("farm".to_owned(), &[("if-match", "\"4\"")], r#"{"value":1}"#, 412, "revision_mismatch"),
        (format!("driver/{}", long(65)), &[], r#"{"value":1}"#, 422, "too_long"),
        (format!("host/{}", long(256)), &[], r#"{"value":1}"#, 422, "too_long"),
        ("host/a%0Ab".to_owned(), &[], r#"{"value":1}"#, 422, "invalid_field"),
        ("worker/x".to_owned(), &[], r#"{"value":1}"#, 404, "no_route"),
    ] {
        let answer = kit.ask(&format!("PUT /api/v2/limits/{path}"), headers, body).await;
        let told = (answer.status.as_u16(), answer.json()["code"].clone());
        assert_eq!(told, (status, json!(code)), "{path} {body}");
        assert!(answer.json()["hint"].is_string(), "{path} {body}");
    }
    assert_eq!(kit.get("/api/v2/limits?scope=farm").await.status, 400);
    assert_eq!(kit.post("/api/v2/limits/farm", "{}").await.status, 405);
    assert_eq!(kit.get("/api/v2/limits").await.json()["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_nothing_start_and_running_tasks_are_counted() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.fakes.drivers.behave(None, "prepare", Behaviour::Hang);
    for path in ["farm", "driver/fake"] {
        kit.ask(&format!("PUT /api/v2/limits/{path}"), &[], r#"{"value":0}"#).await;
    }
    kit.post(&format!("/api/v2/workers/{}/state", uuid(1)), r#"{"state":"idle"}"#).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let task = kit.controller.farm().worker(WorkerId(uuid(1))).unwrap().task.unwrap().0;
    let path = format!("/api/v2/tasks/{task}");
    assert_eq!(kit.get(&path).await.json()["phase"], "waiting");
    for path in ["farm", "driver/fake"] {
        kit.ask(&format!("PUT /api/v2/limits/{path}"), &[], r#"{"value":1}"#).await;
    }
    kit.until("it runs", |farm| farm.running_in(&grove_domain::limit::Scope::Farm) == 1).await;
    assert_eq!(kit.get("/api/v2/limits/driver/fake").await.json()["running"], 1);
    let limits = kit.get("/api/v2/limits").await.json();
    assert_eq!((&limits["items"][0]["running"], &limits["items"][1]["running"]), (&json!(1), &json!(1)));
    assert_eq!(kit.get("/api/v2/farm").await.json()["tasks"], 1);
}
