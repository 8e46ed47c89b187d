//! Introspections: started, sent, followed, ended, and compared; and whatever boards send.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grove_api::{Limits, Options, token_digest};
use grove_control::Settings;
use grove_control::fakes::Inspection;
use grove_control::ports::Abilities;
use grove_domain::id::WorkerId;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::kit::{Answer, Kit, uuid};

/// A run in the words of the API.
async fn start(kit: &Kit, worker: u8, way: &str) -> Value {
    let body = json!({"worker": uuid(worker), "way": way}).to_string();
    let answer = kit.post("/api/v2/introspections", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("etag").map(str::to_owned), Some(format!("\"{}\"", answer.json()["revision"])));
    answer.json()
}

fn path(run: &Value) -> String {
    format!("/api/v2/introspections/{}", run["id"].as_str().unwrap())
}

async fn run_until(kit: &Kit, run: &Value, state: &str) -> Value {
    for _ in 0..1000 {
        let now = kit.get(&path(run)).await.json();
        if now["state"] == state {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never was {state}: {}", kit.get(&path(run)).await.text());
}

async fn send(kit: &Kit, run: &Value, token: &str, body: impl Into<Body>) -> Answer {
    let bearer = format!("Bearer {token}");
    kit.ask(&format!("POST {}/data", path(run)), &[("authorization", &bearer)], body).await
}

/// A run that waits for its board, and its token.
async fn waiting(kit: &Kit, worker: u8) -> (Value, String) {
    let run = start(kit, worker, "push").await;
    let token = run["token"].as_str().unwrap().to_owned();
    (run_until(kit, &run, "waiting").await, token)
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_the_driver_reads_becomes_capabilities() {
    let kit = Kit::new().await;
    kit.worker(1, r#"{"board":"rpi4"}"#).await;
    kit.fakes.drivers.inventory(WorkerId(uuid(1)), r#"{"uart":4,"site":"lab"}"#);
    let begun = start(&kit, 1, "pull").await;
    assert_eq!((&begun["way"], &begun["worker"]), (&json!("pull"), &json!(uuid(1))));
    assert!(begun.get("token").is_none() && begun.get("data_url").is_none(), "{begun}");
    let run = run_until(&kit, &begun, "finished").await;
    assert_eq!(run["has_data"], json!({"raw": true, "processed": true}));
    assert!(run["finished"].is_string() && run["error"].is_null());
    let worker = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json();
    assert_eq!(worker["introspection"], json!({"id": run["id"], "state": "finished"}));
    assert_eq!(worker["sources"]["introspected"], json!({"site": "lab", "uart": "4"}));
    assert_eq!(worker["capabilities"]["uart"], "4");
    let found = kit.get("/api/v2/workers?wants=uart%3E%3D2").await.json();
    assert_eq!(found["items"][0]["uuid"], json!(uuid(1)));

    for query in ["", "?kind=raw", "?kind=processed"] {
        let data = kit.get(&format!("{}/data{query}", path(&run))).await;
        assert_eq!((data.status.as_u16(), data.header("content-type")), (200, Some("application/json")));
        assert_eq!(data.json(), json!({"uart": 4, "site": "lab"}));
    }
    let findings = kit.get(&format!("{}/findings", path(&run))).await.json();
    assert_eq!(findings["capabilities"], json!({"site": "lab", "uart": "4"}));
    assert_eq!(findings["by"]["uart"], "inspector/fake-inspector");
    let metrics = kit.get("/metrics").await.text();
    assert!(metrics.contains("grove_introspections{state=\"finished\"} 1"), "{metrics}");
    assert!(metrics.contains("grove_introspections{state=\"waiting\"} 0"), "{metrics}");
    let events =
        kit.get(&format!("/api/v2/events?subject=introspection/{}", run["id"].as_str().unwrap())).await;
    assert!(events.json()["items"].as_array().is_some_and(|events| !events.is_empty()), "{}", events.text());
}

#[tokio::test(start_paused = true)]
async fn a_board_sends_its_inventory_once() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let (run, token) = waiting(&kit, 1).await;
    assert!(run.get("token").is_none(), "it is told once");
    assert!(
        token.len() >= 43 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    );
    let sent = send(&kit, &run, &token, r#"{"uart":2}"#).await;
    assert_eq!((sent.status.as_u16(), &sent.json()["state"]), (202, &json!("processing")), "{}", sent.text());
    run_until(&kit, &run, "finished").await;
    let again = send(&kit, &run, &token, r#"{"uart":9}"#).await;
    assert_eq!(told(&again), refused(409, "introspection_state"), "{}", again.text());
    assert!(again.json()["detail"].as_str().unwrap().contains("used"), "{}", again.text());
    assert_eq!(kit.get(&format!("{}/data", path(&run))).await.json(), json!({"uart": 2}));
    assert_eq!(kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json()["capabilities"]["uart"], "2");
}

#[tokio::test(start_paused = true)]
async fn nobody_else_sends_an_inventory() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.worker(2, "{}").await;
    let (run, token) = waiting(&kit, 1).await;
    let (other, others) = waiting(&kit, 2).await;
    let data = format!("POST {}/data", path(&run));
    for headers in [
        &[][..],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", &token)],
        &[("authorization", &format!("Basic {token}"))],
        &[("authorization", &format!("Bearer {token}")), ("authorization", &format!("Bearer {token}"))],
    ] {
        let answer = kit.ask(&data, headers, "{}").await;
        assert_eq!(told(&answer), refused(401, "missing_token"), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for wrong in [&others, &token[1..], "x", &format!("{token}x")] {
        assert_eq!(told(&send(&kit, &run, wrong, "{}").await), refused(403, "wrong_token"));
    }
    let nobody = json!({"id": uuid(0xff)});
    assert_eq!(told(&send(&kit, &nobody, &token, "{}").await), refused(404, "introspection_not_found"));
    kit.worker(3, "{}").await;
    let pulled = run_until(&kit, &start(&kit, 3, "pull").await, "finished").await;
    assert_eq!(told(&send(&kit, &pulled, &token, "{}").await), refused(403, "wrong_token"));
    for run in [run, other] {
        assert_eq!(run_until(&kit, &run, "waiting").await["has_data"]["raw"], false);
    }
}

#[tokio::test(start_paused = true)]
async fn too_late_is_too_late() {
    let kit = Kit::new().await;
    for number in 1..=3 {
        kit.worker(number, "{}").await;
    }
    let (aborted, token) = waiting(&kit, 1).await;
    let answer = kit.post(&format!("{}/abort", path(&aborted)), "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["state"]), (202, &json!("aborting")));
    let ended = run_until(&kit, &aborted, "error").await;
    assert!(ended["error"].as_str().unwrap().contains("aborted by user:local"), "{ended}");
    let late = send(&kit, &aborted, &token, "{}").await;
    assert_eq!(told(&late), refused(409, "introspection_state"));
    assert!(late.json()["detail"].as_str().unwrap().contains("aborted"), "{}", late.text());
    // Once more changes nothing.
    let again = kit.post(&format!("{}/abort", path(&aborted)), "").await;
    assert_eq!((again.status.as_u16(), &again.json()["revision"]), (202, &ended["revision"]));

    let (superseded, token) = waiting(&kit, 2).await;
    let newer = start(&kit, 2, "push").await;
    assert_ne!(newer["id"], superseded["id"]);
    assert_eq!(told(&send(&kit, &superseded, &token, "{}").await), refused(409, "introspection_state"));
    assert_eq!(told(&send(&kit, &newer, &token, "{}").await), refused(403, "wrong_token"));

    let (slow, token) = waiting(&kit, 3).await;
    tokio::time::sleep(std::time::Duration::from_secs(3601)).await;
    let ended = run_until(&kit, &slow, "error").await;
    assert!(ended["error"].as_str().unwrap().contains("no inventory came"), "{ended}");
    assert_eq!(told(&send(&kit, &slow, &token, "{}").await), refused(409, "introspection_state"));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_refused_with_what_to_do() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.idle_worker(2, "{}").await;
    kit.worker(3, "{}").await;
    let ask = async |body: Value| kit.post("/api/v2/introspections", &body.to_string()).await;
    assert_eq!(told(&ask(json!({"worker": uuid(9)})).await), refused(404, "worker_not_found"));
    assert_eq!(told(&ask(json!({"worker": uuid(2)})).await), refused(409, "worker_state"));
    assert_eq!(told(&ask(json!({"worker": "7"})).await), refused(422, "invalid_field"));
    assert_eq!(told(&ask(json!({"worker": uuid(1), "way": "enrol"})).await), refused(422, "invalid_field"));
    assert_eq!(told(&ask(json!({"worker": uuid(1), "why": 1})).await), refused(422, "unknown_field"));
    assert_eq!(told(&ask(json!({})).await), refused(422, "invalid_field"));
    let stale = json!({"worker": uuid(1)}).to_string();
    let stale = kit.ask("POST /api/v2/introspections", &[("if-match", "\"99\"")], stale).await;
    assert_eq!(told(&stale), refused(412, "revision_mismatch"));

    kit.fakes.inspectors.behave(Inspection::Hang);
    let live = run_until(&kit, &start(&kit, 1, "pull").await, "processing").await;
    let second = ask(json!({"worker": uuid(1)})).await;
    assert_eq!(told(&second), refused(409, "introspection_state"));
    assert!(
        second.json()["hint"].as_str().unwrap().contains(live["id"].as_str().unwrap()),
        "{}",
        second.text()
    );
    let early = kit.post(&format!("{}/reapply", path(&live)), "").await;
    assert_eq!(told(&early), refused(409, "introspection_state"));

    kit.fakes.drivers.can(Abilities { power: false, introspect: false });
    let cannot = ask(json!({"worker": uuid(3)})).await;
    assert_eq!(told(&cannot), refused(422, "cannot_introspect"));
    assert_eq!(start(&kit, 3, "push").await["way"], "push", "a board needs no driver to send");
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_and_followed() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.worker(2, "{}").await;
    let mut runs = Vec::new();
    for worker in [1, 2, 1, 1] {
        runs.push(run_until(&kit, &start(&kit, worker, "pull").await, "finished").await);
    }
    runs.reverse();
    let ids = |answer: &Answer| -> Vec<Value> {
        answer.json()["items"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect()
    };
    let all: Vec<Value> = runs.iter().map(|run| run["id"].clone()).collect();
    assert_eq!(ids(&kit.get("/api/v2/introspections").await), all);
    let mine = kit.get(&format!("/api/v2/introspections?worker={}&state=finished", uuid(1))).await;
    assert_eq!(ids(&mine), [all[0].clone(), all[1].clone(), all[3].clone()]);
    let first = kit.get("/api/v2/introspections?limit=3").await;
    assert_eq!(ids(&first), all[..3]);
    let next = first.json()["next"].as_str().unwrap().to_owned();
    let last = kit.get(&format!("/api/v2/introspections?limit=3&cursor={next}")).await;
    assert_eq!((ids(&last), last.json()["next"].clone()), (all[3..].to_vec(), Value::Null));
    assert_eq!(kit.get("/api/v2/introspections?state=error").await.json()["items"], json!([]));
    for query in ["state=asleep", "worker=7", "cursor=x", "limit=0", "colour=red"] {
        assert_eq!(kit.get(&format!("/api/v2/introspections?{query}")).await.status, 400, "{query}");
    }

    let (run, token) = waiting(&kit, 1).await;
    let long = format!("{}?wait=60s", path(&run));
    let poll = kit.get(&long);
    let (polled, _) = tokio::join!(poll, async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        send(&kit, &run, &token, "{}").await
    });
    assert_ne!(polled.json()["state"], "waiting", "{}", polled.text());
    let done = run_until(&kit, &run, "finished").await;
    let same = kit.get(&format!("{}?wait=60s&revision={}", path(&run), done["revision"])).await;
    assert_eq!(same.json(), done, "nothing new came within a minute");
}

#[tokio::test(start_paused = true)]
async fn inventories_are_compared_and_processed_again() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let worker = WorkerId(uuid(1));
    let nothing = kit.get(&format!("/api/v2/introspections/{}/diff", uuid(5))).await;
    assert_eq!(told(&nothing), refused(404, "introspection_not_found"));
    kit.fakes.drivers.inventory(worker, r#"{"uart":4,"disks":["a","b"],"same":{"x":[1,2]}}"#);
    let first = run_until(&kit, &start(&kit, 1, "pull").await, "finished").await;
    assert_eq!(told(&kit.get(&format!("{}/diff", path(&first))).await), refused(404, "no_inventory"));
    kit.fakes.drivers.inventory(worker, r#"{"uart":null,"disks":["a"],"same":{"x":[1,2]},"new/~*":{}}"#);
    let second = run_until(&kit, &start(&kit, 1, "pull").await, "finished").await;
    let diff = kit.get(&format!("{}/diff", path(&second))).await.json();
    assert_eq!(
        diff,
        json!({
            "id": second["id"], "with": first["id"], "more": false, "differences": [
                {"path": "/disks/1", "before": "b"},
                {"path": "/new~1~0*", "after": {}},
                {"path": "/uart", "before": 4, "after": null},
            ]
        })
    );
    let back = format!("{}/diff?with={}", path(&first), second["id"].as_str().unwrap());
    assert_eq!(
        kit.get(&back).await.json()["differences"][2],
        json!({"path": "/uart", "before": null, "after": 4})
    );
    let itself = format!("{}/diff?with={}", path(&first), first["id"].as_str().unwrap());
    assert_eq!(kit.get(&itself).await.json()["differences"], json!([]));

    // Drift says what was promised and is not there.
    let capabilities = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json()["capabilities"].clone();
    assert_eq!(capabilities["DRIFT"], "uart");

    let claimed = r#"{"driver":"fake","capabilities":{"DRIFT":"nothing"}}"#;
    let claimed = kit.ask(&format!("PUT /api/v2/workers/{}", uuid(2)), &[], claimed).await;
    assert_eq!(
        claimed.json()["field"],
        "capabilities.DRIFT",
        "nobody else speaks of drift: {}",
        claimed.text()
    );

    let rule = r#"{"actions":[{"action":"add-trait","name":"ruled"}]}"#;
    assert_eq!(kit.post("/api/v2/rules", rule).await.status, 201);
    let again = kit.post(&format!("{}/reapply", path(&second)), "").await;
    assert_eq!((again.status.as_u16(), &again.json()["finished"]), (202, &Value::Null), "{}", again.text());
    run_until(&kit, &second, "finished").await;
    let worker = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json();
    assert_eq!(
        (&worker["capabilities"]["ruled"], &worker["capabilities"]["DRIFT"]),
        (&json!("true"), &json!("uart"))
    );
    let outdated = kit.post(&format!("{}/reapply", path(&first)), "").await;
    assert_eq!(told(&outdated), refused(409, "introspection_state"), "{}", outdated.text());
    let all = kit.post("/api/v2/introspections/reapply", "").await;
    assert_eq!((all.status.as_u16(), all.json()), (202, json!({"count": 1})));
    assert_eq!(kit.post("/api/v2/introspections/reapply?x=1", "").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_differences_are_told() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    for start_at in [0, 5000] {
        let list: Vec<u32> = (start_at..start_at + 3000).collect();
        kit.fakes.drivers.inventory(WorkerId(uuid(1)), &json!({"list": list}).to_string());
        run_until(&kit, &start(&kit, 1, "pull").await, "finished").await;
    }
    let newest = kit.get("/api/v2/introspections?limit=1").await.json()["items"][0].clone();
    let diff = kit.get(&format!("{}/diff", path(&newest))).await.json();
    assert_eq!((diff["differences"].as_array().unwrap().len(), &diff["more"]), (1000, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_broken_inspector_is_named() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.fakes.inspectors.behave(Inspection::Fail("it has no disk".to_owned()));
    let run = run_until(&kit, &start(&kit, 1, "pull").await, "error").await;
    assert!(run["error"].as_str().unwrap().contains("inspector/fake-inspector: it has no disk"), "{run}");
    assert_eq!(run["has_data"], json!({"raw": true, "processed": false}));
    assert_eq!(told(&kit.get(&format!("{}/data", path(&run))).await), refused(404, "no_inventory"));
    assert_eq!(told(&kit.get(&format!("{}/findings", path(&run))).await), refused(404, "no_inventory"));
    assert_eq!(kit.get(&format!("{}/data?kind=raw", path(&run))).await.status, 200);
    assert_eq!(kit.get(&format!("{}/data?kind=cooked", path(&run))).await.status, 400);
    let tested = json!({"worker": uuid(1), "rule": {"actions": [{"action": "add-trait", "name": "x"}]}});
    assert_eq!(
        told(&kit.post("/api/v2/rules/test", &tested.to_string()).await),
        refused(404, "no_inventory")
    );
}

/// Hostile inventories: each refused with the place, and the run goes on waiting for a good one.
#[tokio::test(start_paused = true)]
async fn what_is_no_inventory_is_refused_and_may_be_sent_again() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let (run, token) = waiting(&kit, 1).await;
    let deep =
        |open: &str, close: &str, levels: usize| format!("{}{}", open.repeat(levels), close.repeat(levels));
    let mut refusals = Vec::new();
    for (name, body) in [
        ("nothing", Vec::new()),
        ("no JSON", b"hello".to_vec()),
        ("half of it", br#"{"cpu":{"count":"#.to_vec()),
        ("two of them", b"{}{}".to_vec()),
        ("a list", b"[{}]".to_vec()),
        ("text", b"\"{}\"".to_vec()),
        ("null", b"null".to_vec()),
        ("no UTF-8", b"{\"a\":\"\xff\"}".to_vec()),
        ("half a character", b"{\"a\":\"\xe2\x82\"}".to_vec()),
        ("half a pair", br#"{"a":"\ud800"}"#.to_vec()),
        ("a name twice", b"{\"a\":1,\n\"b\":{\"c\":1,\"c\":2}}".to_vec()),
        ("a long name", format!("{{{:?}:1}}", "n".repeat(257)).into_bytes()),
        ("too large a number", br#"{"a":1e999}"#.to_vec()),
        ("10,000 lists", format!("{{\"a\":{}}}", deep("[", "]", 10_000)).into_bytes()),
        ("10,000 objects", deep("{\"a\":", "}", 10_000).into_bytes()),
    ] {
        let answer = send(&kit, &run, &token, body).await;
        assert_eq!(told(&answer), refused(400, "bad_inventory"), "{name}: {}", answer.text());
        refusals.push(format!("{name}: {}", answer.json()["detail"].as_str().unwrap()));
    }
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    nothing: the body is empty
    no JSON: expected value at line 1 column 1
    half of it: EOF while parsing a value at line 1 column 16
    two of them: trailing characters at line 1 column 3
    a list: an inventory is a JSON object, this is a list
    text: an inventory is a JSON object, this is text
    null: an inventory is a JSON object, this is null
    no UTF-8: the text is not UTF-8: look at byte 6
    half a character: the text is not UTF-8: look at byte 6
    half a pair: unexpected end of hex escape at line 1 column 13
    a name twice: "c" is there twice in one object at line 2 column 14
    a long name: a name has 257 bytes: at most 256 are accepted at line 1 column 260
    too large a number: number out of range at line 1 column 10
    10,000 lists: lists and objects are nested deeper than 64 levels at line 1 column 69
    10,000 objects: lists and objects are nested deeper than 64 levels at line 1 column 324
    "#);
    assert_eq!(run_until(&kit, &run, "waiting").await["has_data"]["raw"], false);
    assert_eq!(send(&kit, &run, &token, r#"{"uart":1}"#).await.status, 202);
    run_until(&kit, &run, "finished").await;
}

/// A hundred megabytes, and how much of them was taken.
fn endless() -> (Body, Arc<Mutex<usize>>) {
    let taken = Arc::new(Mutex::new(0));
    let counted = taken.clone();
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let pieces = stream::iter(0..1600).map(move |_| {
        *counted.lock() += piece.len();
        Ok::<_, std::io::Error>(piece.clone())
    });
    (Body::from_stream(pieces), taken)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_megabytes_are_not_read() {
    let limits = Limits { inventory: 256 << 10, ..Limits::default() };
    let kit = Kit::with(Settings::default(), Options::default(), limits).await;
    kit.worker(1, "{}").await;
    let (run, token) = waiting(&kit, 1).await;
    let (body, taken) = endless();
    let answer = send(&kit, &run, &token, body).await;
    assert_eq!(told(&answer), refused(413, "body_too_large"), "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("262144 bytes"), "{}", answer.text());
    assert!(*taken.lock() <= 512 << 10, "{} bytes were read", taken.lock());

    // One that says beforehand how large it is, and one that comes with a wrong token, are not read at all.
    let (body, taken) = endless();
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-length", "104857600")];
    let answer = kit.ask(&format!("POST {}/data", path(&run)), &headers, body).await;
    assert_eq!((told(&answer), *taken.lock()), (refused(413, "body_too_large"), 0));
    let (body, taken) = endless();
    assert_eq!(told(&send(&kit, &run, "wrong", body).await), refused(403, "wrong_token"));
    assert_eq!(*taken.lock(), 0);
    assert_eq!(send(&kit, &run, &token, "{}").await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn unknown_boards_are_taken_in_with_the_secret_only() {
    let closed = Kit::new().await;
    let bearer = [("authorization", "Bearer sixteen-letters-or-more")];
    let answer = closed.ask("POST /api/v2/introspections/data", &bearer, "{}").await;
    assert_eq!(told(&answer), refused(403, "enrolment_off"));

    let options = Options { enrolment: Some(token_digest("sixteen-letters-or-more")), ..Options::default() };
    let kit = Kit::with(Settings::default(), options, Limits::default()).await;
    let enrol = async |headers: &[(&str, &str)], body: String| {
        kit.ask("POST /api/v2/introspections/data", headers, body).await
    };
    assert_eq!(told(&enrol(&[], "{}".to_owned()).await), refused(401, "missing_token"));
    let wrong = [("authorization", "Bearer sixteen-letters-or-less")];
    assert_eq!(told(&enrol(&wrong, "{}".to_owned()).await), refused(403, "wrong_token"));
    assert_eq!(told(&enrol(&bearer, "[]".to_owned()).await), refused(400, "bad_inventory"));

    let board = json!({"uuid": uuid(7), "driver": "fake", "uart": 3}).to_string();
    let taken = enrol(&bearer, board.clone()).await;
    assert_eq!((taken.status.as_u16(), &taken.json()["way"]), (202, &json!("enrol")), "{}", taken.text());
    let run = run_until(&kit, &taken.json(), "finished").await;
    assert_eq!(run["worker"], json!(uuid(7)));
    let worker = kit.get(&format!("/api/v2/workers/{}", uuid(7))).await.json();
    assert_eq!((&worker["state"], &worker["capabilities"]["uart"]), (&json!("maintenance"), &json!("3")));
    let twice = run_until(&kit, &enrol(&bearer, board).await.json(), "error").await;
    assert!(twice["error"].as_str().unwrap().contains("registered already"), "{twice}");
    let nobody = run_until(&kit, &enrol(&bearer, "{}".to_owned()).await.json(), "error").await;
    assert!(nobody["error"].as_str().unwrap().contains("no inspector knows"), "{nobody}");
    assert_eq!(told(&kit.get(&format!("{}/diff", path(&nobody))).await), refused(404, "no_inventory"));
}

#[tokio::test(start_paused = true)]
async fn in_maintenance_of_the_farm_nothing_begins_and_everything_is_read() {
    let options = Options { enrolment: Some(token_digest("sixteen-letters-or-more")), ..Options::default() };
    let kit = Kit::with(Settings::default(), options, Limits::default()).await;
    kit.worker(1, "{}").await;
    kit.worker(2, "{}").await;
    let run = run_until(&kit, &start(&kit, 1, "pull").await, "finished").await;
    let (expecting, token) = waiting(&kit, 2).await;
    let rule = kit.post("/api/v2/rules", r#"{"actions":[{"action":"add-trait","name":"x"}]}"#).await.json();
    kit.ask("PUT /api/v2/farm/mode", &[], r#"{"mode":"maintenance","reason":"a new switch"}"#).await;
    let secret = [("authorization", "Bearer sixteen-letters-or-more")];
    for answer in [
        kit.post("/api/v2/introspections", &json!({"worker": uuid(1)}).to_string()).await,
        kit.post(&format!("{}/reapply", path(&run)), "").await,
        kit.post("/api/v2/introspections/reapply", "").await,
        kit.ask("POST /api/v2/introspections/data", &secret, "{}").await,
        kit.post("/api/v2/rules", r#"{"actions":[{"action":"add-trait","name":"y"}]}"#).await,
        kit.ask("DELETE /api/v2/rules", &[], "").await,
        kit.ask(&format!("DELETE /api/v2/rules/{}", rule["id"].as_str().unwrap()), &[], "").await,
    ] {
        assert_eq!(told(&answer), refused(503, "farm_maintenance"), "{}", answer.text());
    }
    // What was begun before goes on.
    assert_eq!(send(&kit, &expecting, &token, "{}").await.status, 202);
    run_until(&kit, &expecting, "finished").await;
    let tested = json!({"worker": uuid(1), "rule": {"actions": [{"action": "add-trait", "name": "x"}]}});
    assert_eq!(kit.post("/api/v2/rules/test", &tested.to_string()).await.status, 200);
    for read in ["", "/data", "/findings"] {
        assert_eq!(kit.get(&format!("{}{read}", path(&run))).await.status, 200, "{read}");
    }
    assert_eq!(kit.get("/api/v2/rules").await.json()["items"].as_array().unwrap().len(), 1);
}
