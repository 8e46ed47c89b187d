//! v2 as a client uses it.

use std::time::Duration;

use grove_api::Options;
use grove_control::Settings;
use grove_control::fakes::Behaviour;
use serde_json::json;

use crate::kit::{Kit, uuid};

#[tokio::test(start_paused = true)]
async fn a_worker_registers_and_is_administered() {
    let kit = Kit::new().await;
    let path = format!("/api/v2/workers/{}", uuid(1));
    let put = format!("PUT {path}");
    let body = r#"{"driver":"fake","driver_config":{"b":1,"a":{"d":1,"c":2}},"capabilities":{"board":"rpi4"},"groups":["b","a"],"host":"rack2"}"#;
    let created = kit.ask(&put, &[], body).await;
    assert_eq!((created.status.as_u16(), created.header("etag")), (201, Some("\"1\"")));
    insta::assert_snapshot!(created.text());

    // The same again changes nothing, also with the members of its configuration in another order.
    let again =
        kit.ask(&put, &[], body.replace(r#""b":1,"a":{"d":1,"c":2}"#, r#""a":{"c":2,"d":1},"b":1"#)).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (200, Some("\"1\"")));

    // Either now, by force, or when it is free.
    let state = format!("POST {path}/state");
    for body in
        [r#"{"state":"maintenance","force":true,"when_free":true}"#, r#"{"state":"idle","when_free":true}"#]
    {
        let refused = kit.ask(&state, &[], body).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (422, &json!("when_free")), "{body}");
    }
    let there = kit.ask(&state, &[], r#"{"state":"maintenance","when_free":true}"#).await;
    assert_eq!((there.status.as_u16(), &there.json()["drain"]), (200, &json!(false)));

    // What nothing is said of stays as it was; what is said to be empty is.
    let same = r#"{"driver":"fake","driver_config":{"b":1,"a":{"d":1,"c":2}}}"#;
    let again = kit.ask(&put, &[], same).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (200, Some("\"1\"")));
    let other = format!("/api/v2/workers/{}", uuid(2));
    let first = r#"{"driver":"fake","capabilities":{"board":"rpi4"}}"#;
    kit.ask(&format!("PUT {other}"), &[], first).await;
    let emptied = kit.ask(&format!("PUT {other}"), &[], r#"{"driver":"fake","capabilities":{}}"#).await;
    assert_eq!(emptied.json()["capabilities"], json!({"UUID":uuid(2)}));
    kit.ask(&format!("DELETE {other}"), &[], "").await;

    let patch = format!("PATCH {path}");
    let patched =
        kit.ask(&patch, &[("if-match", "\"1\"")], r#"{"capabilities":{"lab":"b"},"notes":"x"}"#).await;
    assert_eq!((patched.status.as_u16(), patched.header("etag")), (200, Some("\"2\"")));
    assert_eq!(patched.json()["capabilities"], json!({"board":"rpi4","lab":"b","UUID":uuid(1)}));
    assert_eq!(patched.json()["groups"], json!(["a", "b"]));

    let stale = kit.ask(&patch, &[("if-match", "\"1\"")], "{}").await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.json()["code"], "revision_mismatch");

    let cleared =
        kit.ask(&patch, &[("if-match", "*")], r#"{"groups":null,"host":null,"capabilities":null}"#).await;
    let cleared = cleared.json();
    assert_eq!(
        (&cleared["groups"], &cleared["host"], &cleared["notes"]),
        (&json!([]), &json!(null), &json!("x"))
    );

    let moved = kit.post(&format!("{path}/state"), r#"{"state":"idle"}"#).await;
    assert_eq!((moved.status.as_u16(), &moved.json()["state"]), (202, &json!("prepare")));
    kit.until_worker(1, "idle").await;
    let there = kit.post(&format!("{path}/state"), r#"{"state":"idle"}"#).await;
    assert_eq!((there.status.as_u16(), &there.json()["state"]), (200, &json!("idle")));

    let failed = kit.post(&format!("{path}/failure"), r#"{"reason":"smoke"}"#).await;
    assert_eq!((&failed.json()["state"], &failed.json()["reason"]), (&json!("failed"), &json!("smoke")));
    let gone = kit.ask(&format!("DELETE {path}?force"), &[], "").await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    assert_eq!(kit.get(&path).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn workers_are_listed_in_pages_and_filtered() {
    let kit = Kit::new().await;
    for number in 1..=7 {
        kit.worker(number, &format!(r#"{{"n":"{number}"}}"#)).await;
    }
    kit.make_idle(3).await;
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = kit.get(&format!("/api/v2/workers?limit=3{next}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|worker| worker["uuid"].clone()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    let all: Vec<_> = (1..=7).map(|number| json!(uuid(number))).collect();
    assert_eq!(seen, all);

    for (filter, numbers) in [
        ("state=idle", vec![3]),
        ("wants=n%3D4..5", vec![4, 5]),
        ("driver=other", vec![]),
        ("group=x", vec![]),
        ("host=x", vec![]),
        ("driver=fake&state=maintenance&wants=n%3D3..4", vec![4]),
    ] {
        let page = kit.get(&format!("/api/v2/workers?{filter}")).await.json();
        let found: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|worker| worker["uuid"].clone()).collect();
        let wanted: Vec<_> = numbers.into_iter().map(|number| json!(uuid(number))).collect();
        assert_eq!((found, &page["next"]), (wanted, &json!(null)), "{filter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_runs_its_course() {
    let kit = Kit::new().await;
    kit.worker(1, r#"{"board":"rpi4","uart":"2"}"#).await;
    let body = r#"{"wants":["board=rpi4","uart=2.."],"for":"1h30m","heartbeat":"30s","hints":{"a":"b"}}"#;
    let created = kit.post("/api/v2/requests", body).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some("/api/v2/requests/1")));
    insta::assert_snapshot!("request_created", created.text());

    let why = kit.get("/api/v2/requests/1/why").await.json();
    assert_eq!(why[0]["code"], "no_idle_worker");
    assert_eq!(kit.get("/api/v2/requests/1?why").await.json()["why"], why);
    assert_eq!(kit.get("/api/v2/requests/1").await.json().get("why"), None);

    let patched = kit.ask("PATCH /api/v2/requests/1", &[("if-match", "\"1\"")], r#"{"priority":3}"#).await;
    assert_eq!(
        (patched.status.as_u16(), patched.header("etag"), &patched.json()["priority"]),
        (200, Some("\"2\""), &json!(3))
    );

    kit.make_idle(1).await;
    kit.until_request(1, "in_progress").await;
    insta::assert_snapshot!("request_in_progress", kit.get("/api/v2/requests/1").await.text());
    assert_eq!(kit.post("/api/v2/requests/1/heartbeat", "").await.status, 200);

    // The private key is in the answer about the one job, and nowhere else.
    let job = kit.get("/api/v2/jobs/1").await;
    insta::assert_snapshot!("job_running", job.text());
    for path in ["/api/v2/jobs", "/api/v2/requests/1", "/api/v2/requests", "/api/v2/events"] {
        let text = kit.get(path).await.text();
        assert!(!text.contains("PRIVATE"), "{path}: {text}");
    }
    assert_eq!(kit.get("/api/v2/jobs").await.json()["items"][0]["id"], 1);

    let longer = kit.post("/api/v2/requests/1/prolong", r#"{"for":"2h"}"#).await.json();
    assert_eq!(
        (&longer["job"]["timeout"], &longer["job"]["prolongs"]),
        (&json!("2026-01-01T02:00:00Z"), &json!(1))
    );
    let closed = kit.post("/api/v2/requests/1/close", r#"{"reason":"had enough"}"#).await.json();
    assert_eq!((&closed["state"], &closed["reason"]), (&json!("done"), &json!("had enough")));
    assert_eq!((&closed["job"]["state"], &closed["job"]["access"]), (&json!("ended"), &json!(null)));
    assert!(!kit.get("/api/v2/jobs/1").await.text().contains("PRIVATE"));
    assert_eq!(kit.get("/api/v2/jobs").await.json(), json!({"items":[],"next":null}));
}

#[tokio::test(start_paused = true)]
async fn requests_are_listed_in_pages_and_filtered() {
    let kit = Kit::new().await;
    for _ in 1..=5 {
        assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 201);
    }
    assert_eq!(kit.post("/api/v2/requests/2/close", "").await.status, 200);
    let ids = async |query: &str| {
        let page = kit.get(&format!("/api/v2/requests?{query}")).await.json();
        let ids: Vec<u64> =
            page["items"].as_array().unwrap().iter().map(|request| request["id"].as_u64().unwrap()).collect();
        (ids, page["next"].as_str().map(str::to_owned))
    };
    let next = |cursor: &str| Some(cursor.to_owned());
    assert_eq!(ids("").await, (vec![1, 2, 3, 4, 5], None));
    assert_eq!(ids("limit=2").await, (vec![1, 2], next("2")));
    assert_eq!(ids("limit=2&cursor=2").await, (vec![3, 4], next("4")));
    assert_eq!(ids("limit=2&cursor=4").await, (vec![5], None));
    assert_eq!(ids("limit=2&order=desc").await, (vec![5, 4], next("4")));
    assert_eq!(ids("limit=3&order=desc&cursor=4").await, (vec![3, 2, 1], None));
    assert_eq!(ids("state=waiting&limit=2").await, (vec![1, 3], next("3")));
    assert_eq!(ids("state=cancelled").await, (vec![2], None));
    assert_eq!(ids("owner=nobody").await, (vec![], None));
    assert_eq!(ids("owner=local&cursor=99").await, (vec![], None));
    assert_eq!(ids(&format!("worker={}", uuid(1))).await, (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_answers_on_the_next_change() {
    let kit = std::sync::Arc::new(Kit::new().await);
    kit.worker(1, "{}").await;
    assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 201);
    let waiting = tokio::spawn({
        let kit = kit.clone();
        async move { kit.get("/api/v2/requests/1?wait=60s").await.json() }
    });
    tokio::task::yield_now().await;
    kit.make_idle(1).await;
    let first = waiting.await.unwrap();
    // Reserved, then running: either is a change.
    assert!(first["state"] == "in_progress" || first["reserved"] == json!(uuid(1)), "{first}");
    kit.until_request(1, "in_progress").await;

    // Nothing happens: after the time, what is.
    let started = tokio::time::Instant::now();
    let same = kit.get("/api/v2/requests/1?wait=20s").await.json();
    assert_eq!(same["state"], "in_progress");
    assert!(started.elapsed() >= Duration::from_secs(20));

    // What is newer than the caller saw is answered at once.
    let started = tokio::time::Instant::now();
    kit.get("/api/v2/requests/1?wait=20s&revision=1").await;
    assert!(started.elapsed() < Duration::from_secs(20));

    // An ended request has nothing to wait for.
    kit.post("/api/v2/requests/1/close", "").await;
    let started = tokio::time::Instant::now();
    assert_eq!(kit.get("/api/v2/requests/1?wait=20s").await.json()["state"], "done");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_worker_can_be_waited_for() {
    let kit = std::sync::Arc::new(Kit::new().await);
    kit.worker(1, "{}").await;
    let path = format!("/api/v2/workers/{}", uuid(1));
    let waiting = tokio::spawn({
        let (kit, path) = (kit.clone(), path.clone());
        async move { kit.get(&format!("{path}?wait=60s")).await.json() }
    });
    tokio::task::yield_now().await;
    kit.make_idle(1).await;
    assert_ne!(waiting.await.unwrap()["state"], "maintenance");
    let started = tokio::time::Instant::now();
    assert_eq!(kit.get(&format!("{path}?wait=20s&revision=1")).await.json()["state"], "idle");
    assert!(started.elapsed() < Duration::from_secs(20));
    // One that leaves the farm is told as gone.
    let waiting = tokio::spawn({
        let (kit, path) = (kit.clone(), path.clone());
        async move { kit.get(&format!("{path}?wait=60s&revision=1000")).await.status }
    });
    tokio::task::yield_now().await;
    kit.post(&format!("{path}/failure"), r#"{"reason":"smoke"}"#).await;
    assert_eq!(kit.ask(&format!("DELETE {path}"), &[], "").await.status, 204);
    assert_eq!(waiting.await.unwrap(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_creation_makes_nothing_new() {
    let kit = Kit::new().await;
    let key = [("idempotency-key", "0190-abc")];
    let first = kit.ask("POST /api/v2/requests", &key, r#"{"priority":4}"#).await;
    let again = kit.ask("POST /api/v2/requests", &key, r#"{"priority":4}"#).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!((&first.json()["id"], &again.json()["id"]), (&json!(1), &json!(1)));
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    let other = kit.ask("POST /api/v2/requests", &key, r#"{"priority":5}"#).await;
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (422, &json!("idempotency_mismatch")));
    // A refused one leaves its key free.
    let key = [("idempotency-key", "second")];
    assert_eq!(kit.ask("POST /api/v2/requests", &key, r#"{"priority":17}"#).await.status, 422);
    assert_eq!(kit.ask("POST /api/v2/requests", &key, r#"{"priority":7}"#).await.json()["id"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_users_own_keys_are_checked_and_used() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    let id = kit.running_job(r#"{"keys":["ssh-ed25519 AAAA me \n"]}"#).await;
    let job = kit.get(&format!("/api/v2/jobs/{id}")).await.json();
    assert_eq!(job["access"].get("private_key"), None);
    let request = kit.controller.farm().request(grove_domain::id::RequestId(id)).unwrap().clone();
    assert_eq!(request.spec.keys, ["ssh-ed25519 AAAA me"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_are_told_and_can_be_stopped() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.fakes.drivers.behave(None, "maintain", Behaviour::Hang);
    let path = format!("/api/v2/workers/{}/state", uuid(1));
    assert_eq!(kit.post(&path, r#"{"state":"maintenance"}"#).await.status, 202);
    let worker = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json();
    assert_eq!((&worker["state"], &worker["task"]["kind"]), (&json!("busy"), &json!("maintain")));
    let id = worker["task"]["id"].as_str().unwrap().to_owned();
    let task = kit.get(&format!("/api/v2/tasks/{id}")).await.json();
    assert_eq!((&task["kind"], &task["worker"]), (&json!("maintain"), &json!(uuid(1))));

    let newest = kit.get("/api/v2/tasks?limit=1").await.json();
    assert_eq!((&newest["items"][0]["id"], newest["next"].as_str()), (&json!(id), Some(id.as_str())));
    let older = kit.get(&format!("/api/v2/tasks?cursor={id}")).await.json();
    assert_eq!(older["items"][0]["kind"], "prepare");
    let none = kit.get("/api/v2/tasks?phase=failed").await.json();
    assert_eq!(none["items"], json!([]));
    let prepared =
        kit.get(&format!("/api/v2/tasks?worker={}&kind=prepare&phase=succeeded", uuid(1))).await.json();
    assert_eq!(prepared["items"].as_array().unwrap().len(), 1);

    let cancelled = kit.post(&format!("/api/v2/tasks/{id}/cancel"), "").await;
    assert_eq!(cancelled.status, 202);
    kit.until_worker(1, "failed").await;
    assert_eq!(kit.post(&format!("/api/v2/tasks/{id}/cancel"), "").await.status, 409);
}

#[tokio::test(start_paused = true)]
async fn plugins_are_told() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/api/v2/plugins").await.json()["items"][0]["name"], "fake");
    assert_eq!(kit.get("/api/v2/plugins/fake").await.json()["kind"], "driver");
    assert_eq!(kit.get("/api/v2/plugins/other").await.json()["code"], "plugin_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_body_cannot_name_its_owner() {
    let options = Options {
        owner: grove_domain::group::Owner {
            name: "ann".to_owned(),
            groups: grove_domain::group::OwnerGroups::Some(vec!["lab".to_owned()]),
        },
        ..Options::default()
    };
    let kit = Kit::with(Settings::default(), options, Default::default()).await;
    kit.post("/api/v1/reqs/", r#"{"Priority":8,"Owner":{"Groups":["admins"]}}"#).await;
    assert_eq!(kit.get("/api/v2/requests/1").await.json()["owner"], "ann");
    let refused = kit.post("/api/v2/requests", r#"{"owner":"root"}"#).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (422, &json!("owner")));
    let events = kit.get("/api/v2/events").await.json();
    assert_eq!(events["items"][0]["actor"], "user:ann");
}

#[tokio::test(start_paused = true)]
async fn a_farm_that_cannot_store_says_so() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.fakes.store.break_with(Some("the disk is full"));
    let refused = kit.post("/api/v2/requests", "{}").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("5")));
    assert_eq!(refused.json()["code"], "unavailable");
    let path = format!("/api/v2/workers/{}", uuid(1));
    assert_eq!(kit.get(&path).await.status, 200);
    assert_eq!(kit.get("/readyz").await.status, 503);
    kit.fakes.store.break_with(None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kit.get("/readyz").await.status, 200);
    assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 201);
}
