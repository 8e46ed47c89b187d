//! Nobody writes over what they have not seen: every route that changes something heeds `If-Match`, or refuses it.

use grove_api::PluginRefused;
use grove_control::fakes::Behaviour;
use grove_domain::id::WorkerId;
use serde_json::json;

use crate::kit::{Answer, Kit, uuid};
use crate::v2_plugins::{FORM, form};

/// Every method of every path that changes something.
const ROUTES: [(&str, Heeds); 33] = [
    ("PUT /api/v2/workers/W", Heeds::Revision),
    ("PATCH /api/v2/workers/W", Heeds::Revision),
    ("DELETE /api/v2/workers/W", Heeds::Revision),
    ("POST /api/v2/workers/W/state", Heeds::Revision),
    ("POST /api/v2/workers/W/failure", Heeds::Revision),
    ("PATCH /api/v2/requests/R", Heeds::Revision),
    ("POST /api/v2/requests/R/close", Heeds::Revision),
    ("POST /api/v2/requests/R/prolong", Heeds::Revision),
    ("PUT /api/v2/limits/farm", Heeds::Revision),
    ("PUT /api/v2/limits/driver/fake", Heeds::Revision),
    ("PUT /api/v2/limits/host/rack2", Heeds::Revision),
    ("PUT /api/v2/farm/mode", Heeds::Revision),
    ("POST /api/v2/plugins", Heeds::Plugin),
    ("DELETE /api/v2/plugins/fake", Heeds::Plugin),
    ("POST /api/v2/plugins/fake/enable", Heeds::Plugin),
    ("POST /api/v2/plugins/fake/disable", Heeds::Plugin),
    ("POST /api/v2/plugins/fake/swap", Heeds::Plugin),
    ("PUT /api/v2/artifacts/g/k", Heeds::Revision),
    ("DELETE /api/v2/artifacts/g/k", Heeds::Revision),
    ("POST /api/v2/introspections", Heeds::Revision),
    ("POST /api/v2/introspections/I/abort", Heeds::Revision),
    ("POST /api/v2/introspections/I/reapply", Heeds::Revision),
    ("DELETE /api/v2/rules/I", Heeds::Revision),
    ("POST /api/v2/introspections/reapply", Heeds::Nothing),
    ("POST /api/v2/introspections/data", Heeds::Nothing),
    ("POST /api/v2/introspections/I/data", Heeds::Nothing),
    ("POST /api/v2/rules", Heeds::Nothing),
    ("POST /api/v2/rules/test", Heeds::Nothing),
    ("DELETE /api/v2/rules", Heeds::Nothing),
    ("POST /api/v2/requests/R/heartbeat", Heeds::Nothing),
    ("POST /api/v2/tasks/T/cancel", Heeds::Nothing),
    ("POST /api/v2/requests", Heeds::Nothing),
    ("POST /api/v2/farm/import", Heeds::Nothing),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heeds {
    Revision,
    /// The keeper of the plugins is told.
    Plugin,
    /// It is refused.
    Nothing,
}

fn body(call: &str) -> &'static str {
    match call.rsplit_once('/').unwrap().1 {
        "W" if call.starts_with("PUT") => r#"{"driver":"fake"}"#,
        "state" => r#"{"state":"idle"}"#,
        "failure" => r#"{"reason":"smoke"}"#,
        "farm" | "fake" | "rack2" if call.starts_with("PUT") => r#"{"value":1}"#,
        "mode" => r#"{"mode":"maintenance"}"#,
        "swap" => r#"{"to":"1.1.0"}"#,
        "introspections" => r#"{"worker":"00000000-0000-4000-8000-000000000001"}"#,
        "W" | "R" | "close" | "prolong" | "requests" => "{}",
        _ => "",
    }
}

fn told(answer: &Answer) -> (u16, serde_json::Value) {
    (answer.status.as_u16(), answer.json()["code"].clone())
}

#[tokio::test(start_paused = true)]
async fn every_change_heeds_what_its_caller_saw() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let run = kit.post("/api/v2/introspections", &json!({"worker": uuid(1)}).to_string()).await.json();
    kit.until("it is introspected", |farm| farm.was_introspected(WorkerId(uuid(1)))).await;
    let run = run["id"].as_str().unwrap().to_owned();
    let rule = json!({"id": run, "actions": [{"action": "add-trait", "name": "x"}]});
    kit.post("/api/v2/rules", &rule.to_string()).await;
    kit.fakes.drivers.behave(None, "prepare", Behaviour::Hang);
    kit.post(&format!("/api/v2/workers/{}/state", uuid(1)), r#"{"state":"idle"}"#).await;
    kit.until_worker(1, "prepare").await;
    let worker = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json();
    let request = kit.post("/api/v2/requests", r#"{"wants":["none"]}"#).await.json()["id"].to_string();
    kit.ask("PUT /api/v2/artifacts/g/k", &[], "hello").await;
    let path = |call: &str| {
        let call = call.replace("/W", &format!("/{}", uuid(1))).replace("/R", &format!("/{request}"));
        let call = call.replace("/I", &format!("/{run}"));
        call.replace("/T", &format!("/{}", worker["task"]["id"].as_str().unwrap()))
    };
    for (call, heeds) in ROUTES {
        if heeds == Heeds::Plugin {
            *kit.plugins.refuse.lock() = Some(PluginRefused::RevisionMismatch { current: 3 });
        }
        let answer = if call == "POST /api/v2/plugins" {
            let sent = form(&[("manifest", "[plugin]"), ("component", "\0asm")]);
            kit.ask(call, &[("if-match", "\"999\""), ("content-type", FORM)], sent).await
        } else {
            kit.ask(&path(call), &[("if-match", "\"999\"")], body(call)).await
        };
        let expected = match heeds {
            Heeds::Nothing => (400, json!("invalid_header")),
            Heeds::Revision | Heeds::Plugin => (412, json!("revision_mismatch")),
        };
        assert_eq!(told(&answer), expected, "{call}: {}", answer.text());
        if heeds == Heeds::Plugin {
            let asked = kit.plugins.calls.lock().pop().unwrap();
            assert!(asked.ends_with("Some(999)"), "{call}: {asked}");
        }
    }
    // Nothing of it was done.
    let after = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.json();
    assert_eq!(after, worker);
    assert_eq!(kit.get(&format!("/api/v2/requests/{request}")).await.json()["state"], "waiting");
    assert_eq!(kit.get("/api/v2/farm").await.json()["mode"]["revision"], 0);
    assert_eq!(kit.get("/api/v2/artifacts/g/k").await.text(), "hello");
    assert_eq!(kit.get("/api/v2/rules").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_an_answer_is_what_the_next_change_expects() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.post("/api/v2/requests", r#"{"wants":["none"]}"#).await;
    kit.ask("PUT /api/v2/artifacts/g/k", &[], "hello").await;
    let worker = format!("/api/v2/workers/{}", uuid(1));
    for (read, call, sent) in [
        (&*worker, &*format!("PATCH {worker}"), r#"{"notes":"red cable"}"#),
        (&*worker, &*format!("POST {worker}/state"), r#"{"state":"idle"}"#),
        ("/api/v2/requests/1", "PATCH /api/v2/requests/1", r#"{"priority":3}"#),
        ("/api/v2/requests/1", "POST /api/v2/requests/1/close", ""),
        ("/api/v2/limits/farm", "PUT /api/v2/limits/farm", r#"{"value":4}"#),
        ("/api/v2/farm", "PUT /api/v2/farm/mode", r#"{"mode":"maintenance"}"#),
        ("/api/v2/artifacts/g/k", "PUT /api/v2/artifacts/g/k", "other"),
        ("/api/v2/artifacts/g/k", "DELETE /api/v2/artifacts/g/k", ""),
    ] {
        let seen = kit.get(read).await.header("etag").unwrap().to_owned();
        let first = kit.ask(call, &[("if-match", &seen)], sent).await;
        assert!(first.status.is_success(), "{call}: {}", first.text());
        // Whoever saw the same comes too late.
        let second = kit.ask(call, &[("if-match", &seen)], sent).await;
        assert_eq!(told(&second), (412, json!("revision_mismatch")), "{call}");
        assert!(second.json()["hint"].as_str().unwrap().contains("If-Match"), "{}", second.text());
    }
}

#[tokio::test(start_paused = true)]
async fn an_artifact_can_be_brought_only_where_none_is() {
    let kit = Kit::new().await;
    let put = "PUT /api/v2/artifacts/g/k";
    let none = [("if-none-match", "*")];
    assert_eq!(told(&kit.ask(put, &[("if-match", "*")], "a").await), (412, json!("revision_mismatch")));
    assert_eq!(kit.ask(put, &none, "a").await.status, 201);
    assert_eq!(told(&kit.ask(put, &none, "b").await), (412, json!("revision_mismatch")));
    assert_eq!(kit.get("/api/v2/artifacts/g/k").await.text(), "a");
    assert_eq!(kit.ask(put, &[("if-match", "*")], "b").await.status, 200);
    for headers in [
        [("if-none-match", "\"x\""), ("accept", "*/*")],
        [("if-none-match", "*"), ("if-match", "*")],
        [("if-match", "W/\"x\""), ("accept", "*/*")],
        [("if-match", "\"x\""), ("if-match", "\"y\"")],
    ] {
        assert_eq!(told(&kit.ask(put, &headers, "c").await), (400, json!("invalid_header")), "{headers:?}");
    }
}
