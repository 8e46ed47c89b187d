//! The farm, its mode, and what it refuses in maintenance.

use grove_api::PluginRefused;
use serde_json::json;

use crate::kit::{Kit, uuid};

const MODE: &str = "PUT /api/v2/farm/mode";

async fn maintain(kit: &Kit) {
    let body = r#"{"mode":"maintenance","running":"drain","reason":"a new switch"}"#;
    let answer = kit.ask(MODE, &[], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn the_mode_is_set_and_told() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.running_job("{}").await;
    kit.post("/api/v2/requests", "{}").await;
    let farm = kit.get("/api/v2/farm").await;
    assert_eq!(farm.header("etag"), Some("\"0\""));
    let normal = json!({"mode": "normal", "since": null, "reason": null, "until": null, "revision": 0});
    assert_eq!(farm.json(), json!({"mode": normal, "workers": 1, "waiting": 1, "jobs": 1, "tasks": 0}));

    let body = r#"{"mode":"maintenance","reason":"a new switch","until":"2027-01-01T00:00:00Z"}"#;
    let set = kit.ask(MODE, &[("if-match", "\"0\"")], body).await;
    assert_eq!((set.status.as_u16(), set.header("etag")), (200, Some("\"1\"")));
    let set = set.json();
    assert_eq!(kit.get("/api/v2/farm").await.json()["mode"], set);
    assert_eq!(
        (&set["mode"], &set["reason"], &set["until"]),
        (&json!("maintenance"), &json!("a new switch"), &json!("2027-01-01T00:00:00Z"))
    );
    assert!(set["since"].is_string());
    // The job is left to its end, until somebody cuts it.
    assert_eq!(kit.get("/api/v2/requests/1").await.json()["state"], "in_progress");
    kit.ask(MODE, &[], r#"{"mode":"maintenance","running":"cut"}"#).await;
    kit.until_request(1, "done").await;
    assert_eq!(kit.get("/api/v2/requests/2").await.json()["state"], "waiting");
    let normal = kit.ask(MODE, &[], r#"{"mode":"normal"}"#).await.json();
    assert_eq!((&normal["mode"], &normal["reason"]), (&json!("normal"), &json!(null)));
    kit.until_request(2, "in_progress").await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_mode_are_refused() {
    let kit = Kit::new().await;
    for (headers, body, status, code, field) in [
        (&[][..], "{}".to_owned(), 422, "invalid_field", json!("mode")),
        (&[], r#"{"mode":"asleep"}"#.to_owned(), 422, "invalid_field", json!("mode")),
        (
            &[],
            r#"{"mode":"maintenance","running":"kill"}"#.to_owned(),
            422,
            "invalid_field",
            json!("running"),
        ),
        (&[], r#"{"mode":"normal","running":"cut"}"#.to_owned(), 422, "invalid_field", json!("running")),
        (&[], r#"{"mode":"normal","reason":"x"}"#.to_owned(), 422, "invalid_field", json!("reason")),
        (&[], r#"{"mode":"maintenance","until":"soon"}"#.to_owned(), 422, "invalid_field", json!("until")),
        (&[], r#"{"mode":"normal","by":"me"}"#.to_owned(), 422, "unknown_field", json!("by")),
        (
            &[],
            format!(r#"{{"mode":"maintenance","reason":"{}"}}"#, "x".repeat(1025)),
            422,
            "too_long",
            json!("reason"),
        ),
        (
            &[("if-match", "\"7\"")],
            r#"{"mode":"maintenance"}"#.to_owned(),
            412,
            "revision_mismatch",
            json!("If-Match"),
        ),
    ] {
        let answer = kit.ask(MODE, headers, body.clone()).await;
        let told = (answer.status.as_u16(), answer.json()["code"].clone(), answer.json()["field"].clone());
        assert_eq!(told, (status, json!(code), field), "{body}");
    }
    assert_eq!(kit.get("/api/v2/farm").await.json()["mode"]["revision"], 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_taken_in_maintenance() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.running_job("{}").await;
    kit.post("/api/v2/requests", "{}").await;
    let worker = format!("/api/v2/workers/{}", uuid(1));
    maintain(&kit).await;
    for (call, body) in [
        (format!("PUT /api/v2/workers/{}", uuid(2)), r#"{"driver":"fake"}"#),
        (format!("PUT {worker}"), r#"{"driver":"fake","capabilities":{"a":"b"}}"#),
        (format!("PATCH {worker}"), r#"{"notes":"x"}"#),
        (format!("DELETE {worker}?force=true"), ""),
        (format!("POST {worker}/state"), r#"{"state":"maintenance","force":true}"#),
        ("POST /api/v2/requests".to_owned(), "{}"),
        ("PATCH /api/v2/requests/2".to_owned(), r#"{"priority":1}"#),
        ("POST /api/v2/requests/1/prolong".to_owned(), "{}"),
    ] {
        let refused = kit.ask(&call, &[], body).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("60")), "{call}");
        let problem = refused.json();
        assert_eq!(problem["code"], "farm_maintenance", "{call}");
        assert!(problem["detail"].as_str().unwrap().contains("a new switch"), "{call}");
    }
    for (call, body) in [
        ("POST /api/v2/plugins/fake/enable", ""),
        ("POST /api/v2/plugins/fake/disable", ""),
        ("POST /api/v2/plugins/fake/swap", r#"{"to":"1.1.0"}"#),
        ("DELETE /api/v2/plugins/fake", ""),
    ] {
        *kit.plugins.refuse.lock() =
            Some(PluginRefused::Maintenance("the farm is in maintenance".to_owned()));
        let refused = kit.ask(call, &[], body).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("60")), "{call}");
        assert_eq!(refused.json()["code"], "farm_maintenance", "{call}");
    }
    // v1 says so in its own form.
    let old = kit.post("/api/v1/reqs/", r#"{"Priority":8,"Caps":{}}"#).await;
    assert!(old.json()["message"].as_str().unwrap().contains("in maintenance"), "{}", old.text());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_told_and_wound_down_in_maintenance() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.running_job("{}").await;
    kit.post("/api/v2/requests", "{}").await;
    maintain(&kit).await;
    let worker = format!("/api/v2/workers/{}", uuid(1));
    for path in [
        "/api/v2/workers",
        &worker,
        "/api/v2/requests",
        "/api/v2/requests/1",
        "/api/v2/jobs",
        "/api/v2/jobs/1",
        "/api/v2/tasks",
        "/api/v2/plugins",
        "/api/v2/limits",
        "/api/v2/farm",
        "/api/v2/events",
        "/api/v1/reqs/1",
        "/readyz",
    ] {
        assert_eq!(kit.get(path).await.status, 200, "{path}");
    }
    let why = kit.get("/api/v2/requests/2/why").await.json();
    assert_eq!(why[0]["code"], "farm_maintenance", "{why}");
    for (call, body) in [
        ("POST /api/v2/requests/1/heartbeat".to_owned(), ""),
        ("PUT /api/v2/limits/farm".to_owned(), r#"{"value":5}"#),
        ("POST /api/v2/requests/2/close".to_owned(), "{}"),
        ("POST /api/v2/requests/1/close".to_owned(), "{}"),
        (format!("POST {worker}/failure"), r#"{"reason":"smoke"}"#),
    ] {
        let answer = kit.ask(&call, &[], body).await;
        assert!(answer.status.is_success(), "{call}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_tells_its_steps() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.running_job("{}").await;
    let tasks = kit.get("/api/v2/tasks?kind=open").await.json();
    let task = &tasks["items"][0];
    assert_eq!(task.get("log"), None);
    let steps: Vec<_> = task["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} ({}): {}", step["kind"], step["name"], step["outcome"]))
        .collect();
    insta::assert_snapshot!(steps.join("\n"), @r#"
    "take_key" ("take session key"): "success"
    "authorize" ("authorize"): "success"
    "open_tunnel" ("open tunnel"): "success"
    "#);
    let one = kit.get(&format!("/api/v2/tasks/{}", task["id"].as_str().unwrap())).await.json();
    assert_eq!((&one["log"], &one["steps"]), (&json!([]), &task["steps"]));
}
