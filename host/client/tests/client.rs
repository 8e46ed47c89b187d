//! The client against a farm that answers what each test says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]
#![expect(dead_code, reason = "the canned farm is shared with the tests of the command line")]

mod canned;

use std::time::Duration;

use canned::Farm;
use grove_client::wire::request::NewRequest;
use grove_client::wire::worker::WorkerState;
use grove_client::wire::{Code, Problem, Uuid};
use grove_client::{Client, Error, ErrorKind, EventsQuery, WorkersQuery};
use serde_json::{Value, json};

const UUID: &str = "01900000-0000-7000-8000-000000000001";

fn worker(revision: u64) -> Value {
    json!({
        "uuid": UUID, "state": "idle", "since": "2026-01-01T00:00:00Z", "reason": null, "driver": "ssh",
        "driver_config": {}, "host": null, "notes": null, "groups": [], "capabilities": {"board": "rpi4"},
        "sources": {"agent": {}, "introspected": {}, "admin": {}},
        "health": {"ok": true, "checked_at": null, "note": ""}, "job": null, "task": null, "recovery": null,
        "generation": 1, "revision": revision, "a_field_of_the_future": 1,
    })
}

fn request(state: &str) -> Value {
    json!({
        "id": 42, "state": state, "since": "2026-01-01T00:00:00Z", "reason": null, "owner": "local",
        "wants": ["camera"], "priority": 8, "position": 1, "created": "2026-01-01T00:00:00Z",
        "valid_after": "2026-01-01T00:00:00Z", "deadline": "2026-02-01T00:00:00Z", "for": "1h",
        "heartbeat": null, "hints": {}, "reserved": null, "job": null, "revision": 1,
    })
}

fn event(seq: u64) -> Value {
    json!({
        "seq": seq, "at": "2026-01-01T00:00:00Z", "actor": "core", "kind": "worker.state",
        "subject": "farm", "before": null, "after": null, "note": null,
    })
}

fn frames(seqs: impl IntoIterator<Item = u64>) -> String {
    let frame = |seq: u64| format!("id: {seq}\nevent: worker.state\ndata: {}\n\n", event(seq));
    format!(": welcome\n\n{}", seqs.into_iter().map(frame).collect::<String>())
}

fn client(farm: &Farm) -> Client {
    Client::new(&farm.url).unwrap()
}

#[tokio::test]
async fn lists_go_on_through_their_pages() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, json!({"items": [worker(1), worker(2)], "next": "a b"}))
        .on("GET /api/v2/workers", 200, json!({"items": [], "next": "c"}))
        .on("GET /api/v2/workers", 200, json!({"items": [worker(3)], "next": null}));
    let query = WorkersQuery { state: Some(WorkerState::Idle), ..WorkersQuery::default() };
    let workers = client(&farm).workers(&query).take(3).await.unwrap();
    assert_eq!(workers.iter().map(|worker| worker.revision).collect::<Vec<_>>(), [1, 2, 3]);
    let lines: Vec<String> = farm.calls().into_iter().map(|call| call.line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v2/workers?state=idle&limit=3",
            "GET /api/v2/workers?state=idle&limit=3&cursor=a+b",
            "GET /api/v2/workers?state=idle&limit=3&cursor=c",
        ]
    );
}

#[tokio::test]
async fn a_list_that_never_ends_is_refused() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, json!({"items": [], "next": "same"}));
    let error = client(&farm).workers(&WorkersQuery::default()).take(1).await.unwrap_err();
    assert!(error.is_protocol(), "{error:?}");
}

#[tokio::test]
async fn a_refusal_keeps_its_problem() {
    let farm = Farm::new();
    let problem = Problem::new(Code::WorkerRuns, "it runs job 42").hint("close request 42 first");
    farm.on(&format!("DELETE /api/v2/workers/{UUID}"), 409, serde_json::to_value(&problem).unwrap());
    let uuid: Uuid = UUID.parse().unwrap();
    let error = client(&farm).delete_worker(uuid, true, Some(7)).await.unwrap_err();
    assert_eq!(error.problem(), &problem);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "worker_runs"));
    assert!(error.is_conflict() && error.is_refused() && !error.is_not_found());
    assert_eq!(error.to_string(), "it runs job 42");
    assert_eq!(error.hint(), Some("close request 42 first"));
    assert!(!error.is_transient());
    let call = &farm.calls()[0];
    assert!(call.line.ends_with("?force=true"), "{}", call.line);
    assert_eq!(call.headers["if-match"], "\"7\"");
}

fn plugin() -> Value {
    json!({
        "name": "hello", "kind": "driver", "state": "active", "active": true, "enabled": true,
        "version": "0.1.0", "digest": null, "world": "0.1.0", "summary": "", "since": "2026-01-01T00:00:00Z",
        "previous": null, "probation": null, "grants": [], "trouble": null, "config_schema": null,
        "versions": [], "revision": 1, "a_field_of_the_future": 1,
    })
}

#[tokio::test]
async fn a_plugin_is_sent_as_a_form() {
    let farm = Farm::new();
    farm.on("POST /api/v2/plugins", 201, plugin()).on("POST /api/v2/plugins", 200, plugin());
    let client = client(&farm);
    let (plugin, new) =
        client.install_plugin("[plugin]".to_owned(), b"\0asm".to_vec(), false, Some(7)).await.unwrap();
    assert_eq!((plugin.name.as_str(), new), ("hello", true));
    assert!(!client.install_plugin("[plugin]".to_owned(), b"\0asm".to_vec(), true, None).await.unwrap().1);
    let call = &farm.calls()[0];
    assert_eq!(call.headers["if-match"], "\"7\"");
    let boundary = call.headers["content-type"].strip_prefix("multipart/form-data; boundary=").unwrap();
    let parts: Vec<&str> =
        call.body.split(boundary).map(|part| part.trim_matches(['-', '\r', '\n'])).collect();
    assert_eq!(parts.len(), 5);
    assert!(parts[1].contains("name=\"manifest\"") && parts[1].ends_with("[plugin]"), "{}", parts[1]);
    assert!(parts[2].contains("name=\"component\"") && parts[2].ends_with("\0asm"), "{}", parts[2]);
    assert!(parts[3].contains("name=\"activate\"") && parts[3].ends_with("false"), "{}", parts[3]);
}

#[tokio::test]
async fn names_with_slashes_are_one_segment() {
    let farm = Farm::new();
    let service = json!({
        "name": "plugin/ssh@0123456789ab", "state": "started", "inputs": [], "waits_for": [], "starts": 1,
        "restarts": 0, "bounces": 0, "last_error": null, "last_start": null, "next_start": null, "detail": {},
    });
    farm.on("GET /api/v2/services/plugin%2Fssh@0123456789ab", 200, service)
        .on_text("GET /api/v2/services", 200, "text/vnd.graphviz", "digraph {}")
        .on("DELETE /api/v2/plugins/a%2Fb", 204, Value::Null);
    let client = client(&farm);
    assert_eq!(client.service("plugin/ssh@0123456789ab").await.unwrap().starts, 1);
    assert_eq!(client.services_dot().await.unwrap(), "digraph {}");
    client.remove_plugin("a/b", None, None).await.unwrap();
    client.remove_plugin("a/b", Some(&"1.0.0".parse().unwrap()), Some(7)).await.unwrap();
    let lines: Vec<String> = farm.calls().into_iter().skip(2).map(|call| call.line).collect();
    assert_eq!(lines, ["DELETE /api/v2/plugins/a%2Fb", "DELETE /api/v2/plugins/a%2Fb?version=1.0.0"]);
    assert_eq!(farm.calls()[3].headers["if-match"], "\"7\"");
}

#[tokio::test]
async fn what_is_no_farm_is_told_apart() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/requests/1", 404, "text/html", "\n<h1>Not found</h1>\n")
        .on_text("GET /api/v2/requests/2", 200, "text/html", "<h1>Welcome</h1>")
        .on_text("GET /api/v2/requests/3", 409, "application/problem+json", "{}");
    for id in 1..=3 {
        let error = client(&farm).request(id).await.unwrap_err();
        assert!(error.is_protocol(), "{error:?}");
        assert!(error.to_string().contains(&farm.url), "{error}");
    }
}

#[tokio::test]
async fn a_gateway_without_its_farm_is_waited_for() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/requests/1", 502, "text/html", "<h1>Bad gateway</h1>").on_text(
        "GET /readyz",
        503,
        "text/plain",
        "controller waits for store: disk I/O error\n",
    );
    let away = client(&farm).request(1).await.unwrap_err();
    assert!(away.is_unavailable() && away.is_transient(), "{away:?}");
    let missing = client(&farm).ready().await.unwrap_err();
    assert_eq!((missing.is_unavailable(), missing.code()), (true, "unavailable"));
    assert!(missing.message().ends_with("controller waits for store: disk I/O error"), "{missing}");
}

#[tokio::test]
async fn an_absent_farm_is_told_with_what_to_do() {
    // Nobody listens at port 1.
    let url = "http://127.0.0.1:1";
    let error = Client::new(url).unwrap().health().await.unwrap_err();
    assert!(error.is_transient() && error.is_unreachable() && !error.is_refused(), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    assert!(error.hint().unwrap().contains(&format!("`grove serve` running at {url}")), "{error}");
}

#[test]
fn addresses_that_are_none_are_refused() {
    for address in ["", "farm:8487", "https://farm", "http://", "http://farm/?a=b", "ftp://farm"] {
        let error = Client::new(address).unwrap_err();
        assert_eq!(error.code(), "invalid_address", "{address}: {error}");
    }
    assert_eq!(Client::new("http://farm:1/grove/").unwrap().base_url(), "http://farm:1/grove");
}

#[tokio::test]
async fn a_prefix_of_the_address_is_kept() {
    let farm = Farm::new();
    farm.on("GET /grove/api/v2/requests/42", 200, request("waiting")).on(
        "GET /grove/healthz",
        200,
        json!({}),
    );
    let client = Client::new(&format!("{}/grove/", farm.url)).unwrap();
    assert_eq!(client.request(42).await.unwrap().id, 42);
    client.health().await.unwrap();
}

#[tokio::test]
async fn requests_are_made_once_by_key_and_waited_for() {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests", 201, request("waiting"))
        .on("GET /api/v2/requests/42", 200, request("cancelled"))
        .on("POST /api/v2/requests/42/close", 200, request("cancelled"));
    let wish = NewRequest { wants: vec!["camera".to_owned()], ..NewRequest::default() };
    client(&farm).create_request(&wish, Some("once")).await.unwrap();
    client(&farm).request_newer_than(42, 7, Duration::from_secs(1000)).await.unwrap();
    client(&farm).close_request(42, Some("done")).await.unwrap();
    let calls = farm.calls();
    assert_eq!(calls[0].headers["idempotency-key"], "once");
    assert_eq!(calls[0].body, r#"{"wants":["camera"],"priority":8,"keys":[],"hints":{}}"#);
    assert_eq!(calls[1].line, "GET /api/v2/requests/42?wait=1m&revision=7");
    assert_eq!(calls[2].body, r#"{"reason":"done"}"#);
}

#[tokio::test]
async fn events_go_on_after_the_last_one_told() {
    let farm = Farm::new();
    let problem = Problem::new(Code::Stopping, "restarting");
    farm.on_text("GET /api/v2/events", 200, "text/event-stream", &frames([6, 7]))
        .on("GET /api/v2/events", 503, serde_json::to_value(&problem).unwrap())
        .on_text("GET /api/v2/events", 200, "text/event-stream", &frames([7, 8, 9]));
    let query = EventsQuery { after: Some(5), subject: Some("farm".to_owned()), kind: None, order: None };
    let mut events = client(&farm).events(query).await.unwrap();
    let mut seqs = Vec::new();
    for _ in 0..4 {
        seqs.push(events.next().await.unwrap().seq);
    }
    assert_eq!(seqs, [6, 7, 8, 9]);
    assert_eq!(events.connections(), 2);
    let after: Vec<String> = farm.calls().iter().map(|call| call.headers["last-event-id"].clone()).collect();
    assert_eq!(after, ["5", "7", "7"]);
    assert_eq!(farm.calls()[0].headers["accept"], "text/event-stream");
}

#[tokio::test]
async fn past_events_begin_at_their_place_and_plugins_come_in_one_piece() {
    let farm = Farm::new();
    farm.on("GET /api/v2/events", 200, json!({"items": [event(6)], "next": "6"}))
        .on("GET /api/v2/events", 200, json!({"items": [event(7)], "next": null}))
        .on("GET /api/v2/plugins", 200, json!({"items": [], "next": null}));
    let query = EventsQuery { after: Some(5), ..EventsQuery::default() };
    assert_eq!(client(&farm).past_events(&query).take(9).await.unwrap().len(), 2);
    assert_eq!(client(&farm).plugins().next().await.unwrap(), None);
    let lines: Vec<String> = farm.calls().into_iter().map(|call| call.line).collect();
    let expected =
        ["GET /api/v2/events?limit=9&cursor=5", "GET /api/v2/events?limit=9&cursor=6", "GET /api/v2/plugins"];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn broken_events_end_the_stream() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/events", 200, "text/event-stream", "id: 1\ndata: {}\n\n");
    let mut events = client(&farm).events(EventsQuery::default()).await.unwrap();
    let error = events.next().await.unwrap_err();
    assert!(error.is_protocol(), "{error:?}");
}

#[test]
fn no_server_is_among_the_dependencies() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"reqwest"), "{names:?}");
    let ours: Vec<&&str> = names.iter().filter(|name| name.starts_with("grove-")).collect();
    assert!(ours.iter().all(|name| ["grove-client", "grove-wire"].contains(name)), "{ours:?}");
    assert!(!names.contains(&"axum"), "{names:?}");
}

#[tokio::test]
async fn introspections_and_rules_are_asked_and_changed() {
    use grove_client::IntrospectionsQuery;
    use grove_client::wire::introspection::{InventoryKind, StartIntrospection, WantedWay};
    use grove_client::wire::rule::{Action, AddRule, TestRule};

    let (worker, id) = (UUID.parse().unwrap(), UUID.parse().unwrap());
    let run = json!({
        "id": UUID, "worker": UUID, "way": "push", "state": "waiting", "since": "2026-01-01T00:00:00Z", "started": "2026-01-01T00:00:00Z", "finished": null,
        "error": null, "has_data": {"raw": true, "processed": false}, "revision": 4, "colour": "new",
    });
    let path = format!("/api/v2/introspections/{UUID}");
    let farm = Farm::new();
    let mut told = run.clone();
    told["token"] = "secret".into();
    let diff = json!({
        "id": UUID, "with": UUID, "differences": [{"path": "/a", "before": null}, {"path": "/b", "after": 1}], "more": false,
    });
    farm.on("POST /api/v2/introspections", 202, told)
        .on("GET /api/v2/introspections", 200, json!({"items": [run], "next": null}))
        .on(&format!("GET {path}"), 200, run.clone())
        .on(&format!("POST {path}/abort"), 202, run.clone())
        .on(&format!("POST {path}/reapply"), 202, run.clone())
        .on("POST /api/v2/introspections/reapply", 202, json!({"count": 3}))
        .on(&format!("GET {path}/data"), 200, json!({"cpu": 4}))
        .on(&format!("GET {path}/findings"), 200, json!({"capabilities": {"a": "b"}, "labels": {}, "by": {}}))
        .on(&format!("GET {path}/diff"), 200, diff);
    let client = client(&farm);
    let started =
        client.start_introspection(&StartIntrospection { worker, way: WantedWay::Push }, Some(7)).await;
    assert_eq!(started.unwrap().token.as_deref(), Some("secret"));
    let query = IntrospectionsQuery { worker: Some(worker), state: None };
    assert_eq!(client.introspections(&query).take(9).await.unwrap().len(), 1);
    assert!(!client.introspection(id).await.unwrap().state.is_terminal());
    client.introspection_newer_than(id, 4, Duration::from_secs(5)).await.unwrap();
    client.abort_introspection(id, Some(4)).await.unwrap();
    client.reapply_introspection(id, None).await.unwrap();
    assert_eq!(client.reapply_introspections().await.unwrap().count, 3);
    assert_eq!(client.inventory(id, InventoryKind::Raw).await.unwrap(), json!({"cpu": 4}));
    assert_eq!(client.findings(id).await.unwrap().capabilities["a"], "b");
    let differences = client.inventory_diff(id, Some(id)).await.unwrap().differences;
    assert_eq!((&differences[0].before, &differences[0].after), (&Some(Value::Null), &None));
    assert_eq!((&differences[1].before, &differences[1].after), (&None, &Some(json!(1))));

    let rule = json!({
        "id": UUID, "place": 1, "description": "", "scope": null, "conditions": [],
        "actions": [{"action": "add-trait", "name": "x"}], "created": "2026-01-01T00:00:00Z", "revision": 1,
    });
    let trial = json!({
        "introspection": UUID, "in_scope": true, "applies": true, "conditions": [], "error": null,
        "changes": [{"change": "unset-capability", "key": "x"}],
    });
    farm.on("POST /api/v2/rules", 201, rule.clone())
        .on("GET /api/v2/rules", 200, json!({"items": [rule], "next": null}))
        .on(&format!("GET /api/v2/rules/{UUID}"), 200, rule.clone())
        .on("POST /api/v2/rules/test", 200, trial)
        .on(&format!("DELETE /api/v2/rules/{UUID}"), 204, Value::Null)
        .on("DELETE /api/v2/rules", 204, Value::Null);
    let new = AddRule {
        id: None,
        description: String::new(),
        scope: None,
        conditions: Vec::new(),
        actions: vec![Action::SetCapability { name: "x".to_owned(), value: None }],
    };
    assert_eq!(client.add_rule(&new).await.unwrap().place, 1);
    assert_eq!(client.rules().take(9).await.unwrap().len(), 1);
    client.rule(id).await.unwrap();
    assert!(client.test_rule(&TestRule { rule: new, worker }).await.unwrap().applies);
    client.remove_rule(id, Some(1)).await.unwrap();
    client.remove_rules().await.unwrap();
    let calls: Vec<String> = farm
        .calls()
        .iter()
        .map(|call| {
            let expected = call.headers.get("if-match").map_or("", String::as_str);
            format!("{} {} {expected}", call.line, call.body).trim_end().to_owned()
        })
        .collect();
    let one = format!("{path}/");
    let calls = calls.join("\n").replace(&one, "RUN/").replace(&path, "RUN").replace(UUID, "ID");
    let expected = [
        r#"POST /api/v2/introspections {"worker":"ID","way":"push"} "7""#,
        "GET /api/v2/introspections?worker=ID&limit=9",
        "GET RUN",
        "GET RUN?wait=5s&revision=4",
        r#"POST RUN/abort  "4""#,
        "POST RUN/reapply",
        "POST /api/v2/introspections/reapply",
        "GET RUN/data?kind=raw",
        "GET RUN/findings",
        "GET RUN/diff?with=ID",
        r#"POST /api/v2/rules {"description":"","scope":null,"conditions":[],"actions":[{"action":"set-capability","name":"x"}]}"#,
        "GET /api/v2/rules",
        "GET /api/v2/rules/ID",
        r#"POST /api/v2/rules/test {"rule":{"description":"","scope":null,"conditions":[],"actions":[{"action":"set-capability","name":"x"}]},"worker":"ID"}"#,
        r#"DELETE /api/v2/rules/ID  "1""#,
        "DELETE /api/v2/rules",
    ];
    assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn limits_and_the_mode_are_asked_and_set() {
    use grove_client::wire::limit::LimitScope;
    use grove_client::wire::mode::{Mode, SetMode};

    let limit = json!({"scope": "host", "name": "rack 2", "value": 3, "running": 1, "revision": 4});
    let mode = json!({"mode": "maintenance", "since": null, "reason": "x", "until": null, "revision": 2});
    let farm = Farm::new();
    farm.on("GET /api/v2/limits", 200, json!({"items": [limit], "next": null}))
        .on("GET /api/v2/limits/farm", 200, limit.clone())
        .on("PUT /api/v2/limits/host/rack%202", 200, limit.clone())
        .on("GET /api/v2/farm", 200, json!({"mode": mode, "workers": 1, "waiting": 2, "jobs": 3, "tasks": 4}))
        .on("PUT /api/v2/farm/mode", 200, mode.clone());
    let client = client(&farm);
    assert_eq!(client.limits().take(9).await.unwrap().len(), 1);
    assert_eq!(client.limit(LimitScope::Farm, "").await.unwrap().value, Some(3));
    client.set_limit(LimitScope::Host, "rack 2", None, Some(3)).await.unwrap();
    assert_eq!(client.farm().await.unwrap().jobs, 3);
    let set = SetMode { mode: Mode::Maintenance, running: None, reason: None, until: None };
    assert_eq!(client.set_mode(&set, Some(1)).await.unwrap().revision, 2);
    let puts = farm.calls_of("PUT");
    assert_eq!((puts[0].headers["if-match"].as_str(), puts[0].body.as_str()), ("\"3\"", r#"{"value":null}"#));
    assert_eq!(
        (puts[1].headers["if-match"].as_str(), puts[1].body.as_str()),
        ("\"1\"", r#"{"mode":"maintenance"}"#)
    );
}

#[test]
fn a_maintenance_is_not_waited_for() {
    for (code, transient) in
        [(Code::Unavailable, true), (Code::Stopping, true), (Code::FarmMaintenance, false)]
    {
        assert_eq!(Error::new(code, "").is_transient(), transient, "{code:?}");
    }
}
