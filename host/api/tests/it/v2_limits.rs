//! Limits on running tasks, as they are told and set, and as they hold while many ask.

use std::sync::Arc;
use std::time::Duration;

use grove_control::fakes::Behaviour;
use grove_domain::id::WorkerId;
use grove_domain::moment::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kit::{Kit, uuid};
use crate::v2_events::Reader;

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
    tokio::time::sleep(Duration::from_secs(1)).await;
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

/// Clients that ask at the same time.
const CLIENTS: u8 = 50;

/// One board of its own for each client, a request for it, its end, and all over again.
async fn client(kit: Arc<Kit>, number: u8) {
    let host = if number.is_multiple_of(2) { "rack1" } else { "rack2" };
    let body = json!({"driver": "fake", "host": host, "capabilities": {"n": number.to_string()}});
    let worker = format!("/api/v2/workers/{}", uuid(number));
    assert_eq!(kit.ask(&format!("PUT {worker}"), &[], body.to_string()).await.status, 201);
    assert!(kit.post(&format!("{worker}/state"), r#"{"state":"idle"}"#).await.status.is_success());
    for _ in 0..3 {
        let wish = json!({"wants": [format!("n={number}")]}).to_string();
        let id = kit.post("/api/v2/requests", &wish).await.json()["id"].as_u64().unwrap();
        let path = format!("/api/v2/requests/{id}");
        while kit.get(&format!("{path}?wait=5s")).await.json()["state"] != "in_progress" {}
        assert_eq!(kit.post(&format!("{path}/close"), "").await.status, 200);
    }
}

/// Sees every event, and with each of them how many tasks run where: never more than was ever allowed there.
async fn watch(kit: Arc<Kit>) {
    let mut events = Reader::open(&kit, "/api/v2/events?after=0", None).await;
    loop {
        events.next().await;
        for limit in kit.get("/api/v2/limits").await.json()["items"].as_array().unwrap() {
            let most = if limit["name"] == "rack1" { 2 } else { 3 };
            assert!(limit["running"].as_u64().unwrap() <= most, "{limit}");
        }
    }
}

async fn set(kit: &Kit, scope: &str, value: u32) {
    let answer =
        kit.ask(&format!("PUT /api/v2/limits/{scope}"), &[], format!(r#"{{"value":{value}}}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn all(kit: &Kit, path: &str) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let page = kit.get(&format!("{path}limit=1000{next}")).await.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return items,
        }
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_clients_never_exceed_a_limit_also_while_it_changes() {
    let kit = Arc::new(Kit::new().await);
    for call in ["prepare", "authorize"] {
        kit.fakes.drivers.behave(None, call, Behaviour::After(Duration::from_millis(2)));
    }
    for (scope, value) in [("farm", 3), ("driver/fake", 3), ("host/rack1", 2)] {
        set(&kit, scope, value).await;
    }
    let watching = tokio::spawn(watch(kit.clone()));
    let mut clients: JoinSet<()> = (1..=CLIENTS).map(|number| client(kit.clone(), number)).collect();
    let running = async || kit.get("/api/v2/limits/farm").await.json()["running"].as_u64().unwrap();

    // Nothing starts, what runs ends, and many wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    set(&kit, "farm", 0).await;
    while running().await > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ended = all(&kit, "/api/v2/tasks?phase=succeeded&").await.len();
    assert!(ended > 0, "nothing ran before");
    for _ in 0..100 {
        assert_eq!(running().await, 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(all(&kit, "/api/v2/tasks?phase=succeeded&").await.len(), ended);
    assert!(!all(&kit, "/api/v2/tasks?phase=waiting&").await.is_empty());

    // Fewer, then more again, while all go on.
    for (scope, value) in
        [("farm", 1), ("driver/fake", 2), ("farm", 3), ("host/rack1", 1), ("driver/fake", 3)]
    {
        set(&kit, scope, value).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    while !kit.controller.farm().tasks().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!watching.is_finished(), "{:?}", watching.await);
    watching.abort();

    // And every start of a task, held against what the history says of its moment.
    let tasks = all(&kit, "/api/v2/tasks?").await;
    let changes = all(&kit, "/api/v2/events?kind=limit.changed&").await;
    let hosts = all(&kit, "/api/v2/workers?").await;
    assert!(tasks.len() >= 7 * usize::from(CLIENTS), "{}", tasks.len());
    let host =
        |task: &Value| hosts.iter().find(|worker| worker["uuid"] == task["worker"]).unwrap()["host"].clone();
    for (scope, only_on) in [("farm", None), ("driver fake", None), ("host rack1", Some("rack1"))] {
        let is_in = |task: &Value| only_on.is_none_or(|only| host(task) == only);
        let limits: Vec<_> =
            changes.iter().filter(|change| change["note"] == format!("running tasks of {scope}")).collect();
        assert!(limits.len() >= 2, "{scope}: {changes:?}");
        let spans: Vec<_> = tasks
            .iter()
            .filter(|task| task["started"].is_string() && is_in(task))
            .map(|task| (time(&task["started"]), time(&task["ended"])))
            .collect();
        let mut most = 0;
        for (start, _) in &spans {
            let at_once = spans.iter().filter(|(from, to)| from <= start && start < to).count();
            let allowed = limits.iter().rfind(|change| time(&change["at"]) <= *start).unwrap();
            let allowed: usize = allowed["after"].as_str().unwrap().parse().unwrap();
            assert!(at_once <= allowed, "{scope}: {at_once} ran at {start}, of {allowed}");
            most = most.max(at_once);
        }
        assert!(most >= 2, "{scope}: nothing ever ran beside another");
    }
}
