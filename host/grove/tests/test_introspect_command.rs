use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{BOARD, Farm, ago, calls, grove, help, items, problem};

const RUN: &str = "01900000-0000-7000-8000-0000000000aa";
const BEFORE: &str = "01900000-0000-7000-8000-0000000000a9";

fn run(state: &str) -> Value {
    let ended = matches!(state, "finished" | "error");
    json!({
        "id": RUN, "worker": BOARD, "way": "pull", "state": state, "since": ago("90s"), "started": ago("3m30s"),
        "finished": ended.then(|| ago("90s")), "error": (state == "error").then_some("inspector/linux: no disk"),
        "has_data": {"raw": ended, "processed": state == "finished"}, "revision": 4,
    })
}

fn pushed() -> Value {
    let mut run = run("starting");
    run["way"] = "push".into();
    run["token"] = "AbC-_x".into();
    run["data_url"] = format!("/api/v2/introspections/{RUN}/data").into();
    run
}

fn findings(labels: Value) -> Value {
    json!({
        "capabilities": {"arch": "aarch64", "uart": "4"}, "labels": labels,
        "by": {"arch": "inspector/linux-inventory", "uart": "rule/01900000-0000-7000-8000-0000000000ff"},
    })
}

/// A farm where the worker has this run.
fn with(state: &str) -> Farm {
    let farm = Farm::new();
    farm.on("GET /api/v2/introspections", 200, items([run(state)]));
    farm
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["introspect"]), @"");
    assert_snapshot!(help(&["introspect", "start"]), @"");
    assert_snapshot!(help(&["introspect", "status"]), @"");
    assert_snapshot!(help(&["introspect", "list"]), @"");
    assert_snapshot!(help(&["introspect", "abort"]), @"");
    assert_snapshot!(help(&["introspect", "data"]), @"");
    assert_snapshot!(help(&["introspect", "diff"]), @"");
    assert_snapshot!(help(&["introspect", "reapply"]), @"");
}

#[test]
fn start() {
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting"));
    assert_snapshot!(grove(&farm, &["introspect", "start", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = grove(&farm, &["introspect", "start", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "starting");
}

#[test]
fn a_push_is_told_ready_to_run() {
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, pushed());
    assert_snapshot!(grove(&farm, &["introspect", "start", "--push", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = grove(&farm, &["introspect", "start", "--push", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["token"], "AbC-_x");
}

#[test]
fn a_wait_ends_with_the_run() {
    let path = format!("GET /api/v2/introspections/{RUN}");
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting"))
        .on(&path, 200, run("processing"))
        .on(&path, 200, run("finished"))
        .on(&format!("{path}/findings"), 200, findings(json!({})));
    assert_snapshot!(grove(&farm, &["introspect", "start", "--wait", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");

    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting")).on(&path, 200, run("error"));
    assert_snapshot!(grove(&farm, &["introspect", "start", "--wait", BOARD]), @"");
    let text = grove(&farm, &["introspect", "start", "--wait", BOARD, "-o", "json"]);
    assert!(text.contains("\"state\": \"error\"") && text.ends_with("--- exit status: 1\n"), "{text}");

    // With -o json there is one value, but for a push: its token comes first.
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting")).on(&path, 200, run("finished"));
    let text = grove(&farm, &["introspect", "start", "--wait", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "finished");
}

#[test]
fn refused() {
    let farm = Farm::new();
    let refused = problem(
        grove_wire::Code::WorkerState,
        "the worker is not in maintenance",
        Some("bring it to maintenance first"),
    );
    farm.on("POST /api/v2/introspections", 409, refused);
    assert_snapshot!(grove(&farm, &["introspect", "start", BOARD]), @"");
    let farm = Farm::new();
    let missing = problem(grove_wire::Code::IntrospectionNotFound, "no introspection has this id", None);
    farm.on("GET /api/v2/introspections", 200, items([])).on(
        &format!("GET /api/v2/introspections/{BOARD}"),
        404,
        missing,
    );
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"");
}

#[test]
fn status() {
    let farm = with("error");
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"");
    let farm = with("finished");
    farm.on(&format!("GET /api/v2/introspections/{RUN}/findings"), 200, findings(json!({"serial": "SIM1"})));
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = grove(&farm, &["introspect", "status", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "finished");

    // An id of a run will do, too.
    let farm = Farm::new();
    farm.on("GET /api/v2/introspections", 200, items([])).on(
        &format!("GET /api/v2/introspections/{RUN}"),
        200,
        run("waiting"),
    );
    assert_snapshot!(grove(&farm, &["introspect", "status", RUN]), @"");
}

#[test]
fn list() {
    let farm = Farm::new();
    let mut unknown = run("enrolling");
    unknown["worker"] = Value::Null;
    unknown["way"] = "enrol".into();
    farm.on("GET /api/v2/introspections", 200, items([run("error"), unknown])).on(
        "GET /api/v2/introspections",
        200,
        items([]),
    );
    assert_snapshot!(grove(&farm, &["introspect", "list"]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "list", "--worker", BOARD, "--state", "aborting", "--limit", "7"]), @"");
    assert_snapshot!(calls(&farm), @"");
    let farm = with("finished");
    let text = grove(&farm, &["introspect", "list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["items"][0]["id"], RUN);
}

#[test]
fn abort() {
    let farm = with("waiting");
    farm.on(&format!("POST /api/v2/introspections/{RUN}/abort"), 202, run("aborting"));
    assert_snapshot!(grove(&farm, &["introspect", "abort", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");
}

#[test]
fn data() {
    let farm = Farm::new();
    let mut older = run("finished");
    older["id"] = BEFORE.into();
    // The newest failed before inspectors were done: what is processed is of the one before.
    farm.on("GET /api/v2/introspections", 200, items([run("error"), older]))
        .on(&format!("GET /api/v2/introspections/{BEFORE}/data"), 200, json!({"cpu": {"count": 4}}))
        .on(&format!("GET /api/v2/introspections/{RUN}/data"), 200, json!({"raw": true}));
    assert_snapshot!(grove(&farm, &["introspect", "data", BOARD]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "data", "--raw", BOARD]), @"");
    assert_snapshot!(calls(&farm), @"");
}

#[test]
fn diff() {
    let farm = with("finished");
    let path = format!("GET /api/v2/introspections/{RUN}/diff");
    let diff = |differences: Value, more: bool| json!({"id": RUN, "with": BEFORE, "differences": differences, "more": more});
    let some = json!([
        {"path": "/cpu/count", "before": 4, "after": 8},
        {"path": "/disks/1", "before": {"gib": 32}},
        {"path": "/gpu", "after": null},
        {"path": "", "before": {}, "after": {"a": 1}},
    ]);
    farm.on(&path, 200, diff(some, true)).on(&path, 200, diff(json!([]), false));
    assert_snapshot!(grove(&farm, &["introspect", "diff", BOARD]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "diff", BOARD, "--with", BEFORE]), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = grove(&farm, &["introspect", "diff", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["with"], BEFORE);
}

#[test]
fn reapply() {
    let farm = with("finished");
    farm.on(&format!("POST /api/v2/introspections/{RUN}/reapply"), 202, run("reapplying"))
        .on("POST /api/v2/introspections/reapply", 202, json!({"count": 17}))
        .on(&format!("GET /api/v2/introspections/{RUN}"), 200, run("finished"))
        .on(&format!("GET /api/v2/introspections/{RUN}/findings"), 200, findings(json!({})));
    assert_snapshot!(grove(&farm, &["introspect", "reapply", BOARD]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--wait", BOARD]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--all"]), @"");
    assert_snapshot!(calls(&farm), @"");
    assert_snapshot!(grove(&farm, &["introspect", "reapply"]), @"");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--all", BOARD]), @"");
}
