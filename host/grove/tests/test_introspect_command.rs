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
    assert_snapshot!(help(&["introspect"]), @"
    Find out what a board is made of

    Usage: grove introspect [OPTIONS] <COMMAND>

    Commands:
      start    Begin, on a worker in maintenance
      status   Show where it is, and what it found
      list     Show runs, newest first
      abort    End it; the board is switched off where its driver can
      data     Print an inventory, as JSON
      diff     Show what changed in the inventory since the run before
      reapply  Process what is stored again, by today's inspectors and rules

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "start"]), @"
    Begin, on a worker in maintenance

    Usage: grove introspect start [OPTIONS] <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

    Options:
          --push     The board sends its inventory itself: prints how, with a token that is good for
                     once
          --wait     Wait until it ends; fails if it does
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "status"]), @"
    Show where it is, and what it found

    Usage: grove introspect status [OPTIONS] <UUID>

    Arguments:
      <UUID>  UUID of a worker, whose newest run is meant, or of a run [env: GROVE_WORKER]

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "list"]), @"
    Show runs, newest first

    Usage: grove introspect list [OPTIONS]

    Options:
          --worker <WORKER>  Only those of this worker [env: GROVE_WORKER]
          --state <STATE>    Only those in this state: starting, waiting, processing, finished, error,
                             reapplying, enrolling, aborting
          --limit <N>        How many of the newest [default: 50]
          --all              Every one
      -h, --help             Print help
      -V, --version          Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "abort"]), @"
    End it; the board is switched off where its driver can

    Usage: grove introspect abort [OPTIONS] <UUID>

    Arguments:
      <UUID>  UUID of a worker, whose newest run is meant, or of a run [env: GROVE_WORKER]

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "data"]), @"
    Print an inventory, as JSON

    Usage: grove introspect data [OPTIONS] <UUID>

    Arguments:
      <UUID>  UUID of a worker, whose newest run is meant, or of a run [env: GROVE_WORKER]

    Options:
          --raw      As it came from the board, before inspectors brought it into form
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "diff"]), @"
    Show what changed in the inventory since the run before

    Usage: grove introspect diff [OPTIONS] <UUID>

    Arguments:
      <UUID>  UUID of a worker, whose newest run is meant, or of a run [env: GROVE_WORKER]

    Options:
          --with <RUN>  The run to compare with [default: the worker's one before]
      -h, --help        Print help
      -V, --version     Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["introspect", "reapply"]), @"
    Process what is stored again, by today's inspectors and rules

    Usage: grove introspect reapply [OPTIONS] <UUID|--all>

    Arguments:
      [UUID]  UUID of a worker, whose newest stored inventory is meant, or of a run

    Options:
          --all      Of every worker
          --wait     Wait until it ends; fails if it does
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
}

#[test]
fn start() {
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting"));
    assert_snapshot!(grove(&farm, &["introspect", "start", BOARD]), @"introspection 01900000-0000-7000-8000-0000000000aa of worker 01900000-0000-7000-8000-000000000001 is starting");
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/introspections {"worker":"01900000-0000-7000-8000-000000000001","way":"pull"}"#);
    let text = grove(&farm, &["introspect", "start", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "starting");
}

#[test]
fn a_push_is_told_ready_to_run() {
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, pushed());
    assert_snapshot!(grove(&farm, &["introspect", "start", "--push", BOARD]), @"
    curl --fail-with-body -H 'Authorization: Bearer AbC-_x' --data-binary @inventory.json http://FARM/api/v2/introspections/01900000-0000-7000-8000-0000000000aa/data
    --- stderr
    introspection 01900000-0000-7000-8000-0000000000aa waits for the board: run this there, once
    ");
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/introspections {"worker":"01900000-0000-7000-8000-000000000001","way":"push"}"#);
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
    assert_snapshot!(grove(&farm, &["introspect", "start", "--wait", BOARD]), @"
    introspection  01900000-0000-7000-8000-0000000000aa
    worker         01900000-0000-7000-8000-000000000001
    way            pull
    state          finished
    since          1m ago
    started        3m ago
    finished       1m ago
    stored         raw and processed inventory

    CAPABILITY  VALUE    FOUND BY
    arch        aarch64  inspector/linux-inventory
    uart        4        rule/01900000-0000-7000-8000-0000000000ff
    --- stderr
    introspection 01900000-0000-7000-8000-0000000000aa of worker 01900000-0000-7000-8000-000000000001 is starting
    ");
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/introspections {"worker":"01900000-0000-7000-8000-000000000001","way":"pull"}
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa?wait=10s&revision=4
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa?wait=10s&revision=4
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/findings
    "#);

    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting")).on(&path, 200, run("error"));
    assert_snapshot!(grove(&farm, &["introspect", "start", "--wait", BOARD]), @"
    --- stderr
    introspection 01900000-0000-7000-8000-0000000000aa of worker 01900000-0000-7000-8000-000000000001 is starting
    error: introspection 01900000-0000-7000-8000-0000000000aa failed: inspector/linux: no disk
    --- exit status: 1
    ");
    let text = grove(&farm, &["introspect", "start", "--wait", BOARD, "-o", "json"]);
    assert!(text.contains("\"state\": \"error\"") && text.ends_with("--- exit status: 1\n"), "{text}");

    // With -o json there is one value, but for a push: its token comes first.
    let farm = Farm::new();
    farm.on("POST /api/v2/introspections", 202, run("starting")).on(&path, 200, run("finished"));
    let text = grove(&farm, &["introspect", "start", "--wait", BOARD, "-o", "json", "-q"]);
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
    assert_snapshot!(grove(&farm, &["introspect", "start", BOARD]), @"
    --- stderr
    error: the worker is not in maintenance
    hint: `grove worker show` says where it is; `grove worker state` changes that, from failed with --force
    --- exit status: 1
    ");
    let farm = Farm::new();
    let missing = problem(grove_wire::Code::IntrospectionNotFound, "no introspection has this id", None);
    farm.on("GET /api/v2/introspections", 200, items([])).on(
        &format!("GET /api/v2/introspections/{BOARD}"),
        404,
        missing,
    );
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"
    --- stderr
    error: 01900000-0000-7000-8000-000000000001 is no introspection, and no worker that was ever introspected
    hint: begin one: grove introspect start 01900000-0000-7000-8000-000000000001
    --- exit status: 1
    ");
}

#[test]
fn status() {
    let farm = with("error");
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"
    introspection  01900000-0000-7000-8000-0000000000aa
    worker         01900000-0000-7000-8000-000000000001
    way            pull
    state          error
    since          1m ago
    error          inspector/linux: no disk
    started        3m ago
    finished       1m ago
    stored         raw inventory
    ");
    let farm = with("finished");
    farm.on(&format!("GET /api/v2/introspections/{RUN}/findings"), 200, findings(json!({"serial": "SIM1"})));
    assert_snapshot!(grove(&farm, &["introspect", "status", BOARD]), @"
    introspection  01900000-0000-7000-8000-0000000000aa
    worker         01900000-0000-7000-8000-000000000001
    way            pull
    state          finished
    since          1m ago
    started        3m ago
    finished       1m ago
    stored         raw and processed inventory

    CAPABILITY  VALUE    FOUND BY
    arch        aarch64  inspector/linux-inventory
    uart        4        rule/01900000-0000-7000-8000-0000000000ff

    LABEL   VALUE
    serial  SIM1
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/findings
    ");
    let text = grove(&farm, &["introspect", "status", BOARD, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "finished");

    // An id of a run will do, too.
    let farm = Farm::new();
    farm.on("GET /api/v2/introspections", 200, items([])).on(
        &format!("GET /api/v2/introspections/{RUN}"),
        200,
        run("waiting"),
    );
    assert_snapshot!(grove(&farm, &["introspect", "status", RUN]), @"
    introspection  01900000-0000-7000-8000-0000000000aa
    worker         01900000-0000-7000-8000-000000000001
    way            pull
    state          waiting
    since          1m ago
    started        3m ago
    ");
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
    assert_snapshot!(grove(&farm, &["introspect", "list"]), @"
    INTROSPECTION                         WORKER                                WAY    STATE      SINCE   ERROR
    01900000-0000-7000-8000-0000000000aa  01900000-0000-7000-8000-000000000001  pull   error      1m ago  inspector/linux: no disk
    01900000-0000-7000-8000-0000000000aa  -                                     enrol  enrolling  1m ago  -
    ");
    assert_snapshot!(grove(&farm, &["introspect", "list", "--worker", BOARD, "--state", "aborting", "--limit", "7"]), @"
    --- stderr
    no introspections
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?limit=50
    GET /api/v2/introspections?state=aborting&worker=01900000-0000-7000-8000-000000000001&limit=7
    ");
    let farm = with("finished");
    let text = grove(&farm, &["introspect", "list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["items"][0]["id"], RUN);
}

#[test]
fn abort() {
    let farm = with("waiting");
    farm.on(&format!("POST /api/v2/introspections/{RUN}/abort"), 202, run("aborting"));
    assert_snapshot!(grove(&farm, &["introspect", "abort", BOARD]), @"introspection 01900000-0000-7000-8000-0000000000aa of worker 01900000-0000-7000-8000-000000000001 is aborting");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    POST /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/abort
    ");
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
    assert_snapshot!(grove(&farm, &["introspect", "data", BOARD]), @r#"
    {
      "cpu": {
        "count": 4
      }
    }
    "#);
    assert_snapshot!(grove(&farm, &["introspect", "data", "--raw", BOARD]), @r#"
    {
      "raw": true
    }
    "#);
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000a9/data?kind=processed
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/data?kind=raw
    ");
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
    assert_snapshot!(grove(&farm, &["introspect", "diff", BOARD]), @r#"
    ~ /cpu/count: 4 -> 8
    - /disks/1: {"gib":32}
    + /gpu: null
    ~ /: {} -> {"a":1}
    --- stderr
    there are more differences: compare what `grove introspect data` prints
    "#);
    assert_snapshot!(grove(&farm, &["introspect", "diff", BOARD, "--with", BEFORE]), @"
    --- stderr
    nothing changed since introspection 01900000-0000-7000-8000-0000000000a9
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/diff
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/diff?with=01900000-0000-7000-8000-0000000000a9
    ");
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
    assert_snapshot!(grove(&farm, &["introspect", "reapply", BOARD]), @"introspection 01900000-0000-7000-8000-0000000000aa of worker 01900000-0000-7000-8000-000000000001 is reapplying");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--wait", BOARD]), @"
    introspection  01900000-0000-7000-8000-0000000000aa
    worker         01900000-0000-7000-8000-000000000001
    way            pull
    state          finished
    since          1m ago
    started        3m ago
    finished       1m ago
    stored         raw and processed inventory

    CAPABILITY  VALUE    FOUND BY
    arch        aarch64  inspector/linux-inventory
    uart        4        rule/01900000-0000-7000-8000-0000000000ff
    ");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--all"]), @"17 inventories are processed again");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    POST /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/reapply
    GET /api/v2/introspections?worker=01900000-0000-7000-8000-000000000001&limit=1000
    POST /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/reapply
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa?wait=10s&revision=4
    GET /api/v2/introspections/01900000-0000-7000-8000-0000000000aa/findings
    POST /api/v2/introspections/reapply
    ");
    assert_snapshot!(grove(&farm, &["introspect", "reapply"]), @"
    --- stderr
    error: the following required arguments were not provided:
      <UUID|--all>

    Usage: grove introspect reapply --server <URL> <UUID|--all>

    For more information, try '--help'.
    --- exit status: 2
    ");
    assert_snapshot!(grove(&farm, &["introspect", "reapply", "--all", BOARD]), @"
    --- stderr
    error: the argument '--all' cannot be used with '[UUID]'

    Usage: grove introspect reapply --server <URL> <UUID|--all>

    For more information, try '--help'.
    --- exit status: 2
    ");
}
