use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{Farm, ago, calls, grove, help, items, problem};

fn service(name: &str, state: &str) -> Value {
    json!({
        "name": name, "state": state, "inputs": [], "waits_for": [], "starts": 1, "restarts": 0, "bounces": 0,
        "last_error": null, "last_start": ago("3m30s"), "next_start": null, "detail": {},
    })
}

fn waiting() -> Value {
    let mut waiting = service("plugin/ssh@0123456789ab", "waiting");
    waiting["inputs"] =
        json!([{"name": "runtime", "state": "started"}, {"name": "store", "state": "stopped"}]);
    waiting["waits_for"] = json!(["store"]);
    waiting["starts"] = 3.into();
    waiting["bounces"] = 2.into();
    waiting["last_error"] = "it traps in init".into();
    waiting["detail"] = json!({"calls": "17", "memory": "3 MiB"});
    waiting
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["services"]), @"
    Show what the controller is made of, and what is missing

    Usage: grove services [OPTIONS] [NAME]

    Arguments:
      [NAME]  Only this one, in full

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

    With -o dot it is drawn, in the language of graphviz.
    ");
}

#[test]
fn list() {
    let farm = Farm::new();
    let mut store = service("store", "waiting");
    store["last_error"] = "disk I/O error".into();
    store["next_start"] = ago("-3m30s").into();
    store["last_start"] = Value::Null;
    farm.on("GET /api/v2/services", 200, items([waiting(), service("runtime", "started"), store]));
    assert_snapshot!(grove(&farm, &["services"]), @"
    SERVICE                  STATE    STARTED  STARTS  NOTE
    plugin/ssh@0123456789ab  waiting  3m ago   3       waits for store
    runtime                  started  3m ago   1       -
    store                    waiting  -        1       starts again in 3m: disk I/O error
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/services");
    let shown: Value = serde_json::from_str(&grove(&farm, &["services", "-o", "json"])).unwrap();
    assert_eq!(shown["items"][1]["name"], "runtime");
}

#[test]
fn show() {
    let farm = Farm::new();
    farm.on("GET /api/v2/services/plugin%2Fssh@0123456789ab", 200, waiting());
    assert_snapshot!(grove(&farm, &["services", "plugin/ssh@0123456789ab"]), @"
    service        plugin/ssh@0123456789ab
    state          waiting
    waits for      store
    inputs         runtime (started)
                   store (stopped)
    started        3m ago
    starts         3
    after errors   0
    after changes  2
    last error     it traps in init

    DETAIL  VALUE
    calls   17
    memory  3 MiB
    ");
    let args = ["services", "plugin/ssh@0123456789ab", "-o", "json"];
    assert_eq!(serde_json::from_str::<Value>(&grove(&farm, &args)).unwrap()["starts"], 3);
    let refused = problem(grove_wire::Code::ServiceNotFound, "no service is named \"x\"", Some("list them"));
    farm.on("GET /api/v2/services/x", 404, refused);
    assert_snapshot!(grove(&farm, &["services", "x"]), @r#"
    --- stderr
    error: no service is named "x"
    hint: `grove services` shows the services there are
    --- exit status: 1
    "#);
}

#[test]
fn the_picture() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/services", 200, "text/vnd.graphviz", "digraph services {\n}\n");
    assert_snapshot!(grove(&farm, &["services", "-o", "dot"]), @"
    digraph services {
    }
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/services?format=dot");
    assert_snapshot!(grove(&farm, &["services", "store", "-o", "dot"]), @"
    --- stderr
    error: -o dot draws all services together
    hint: leave the name out
    --- exit status: 1
    ");
    assert_snapshot!(grove(&farm, &["worker", "list", "-o", "dot"]), @"
    --- stderr
    error: there is nothing to draw with -o dot
    hint: only `grove services` can be drawn: write -o json, or leave it out
    --- exit status: 1
    ");
    assert_eq!(farm.calls().len(), 1);
}
