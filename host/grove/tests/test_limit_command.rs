use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{Farm, calls, grove, help, items, problem};

fn limit(scope: &str, name: &str, value: Option<u32>) -> Value {
    json!({"scope": scope, "name": name, "value": value, "running": 2, "revision": 1})
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["limit"]), @"
    How many tasks may run at the same time

    Usage: grove limit [OPTIONS] <COMMAND>

    Commands:
      list  Show the limits that were ever set
      set   Set a limit, or take it away

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
    assert_snapshot!(help(&["limit", "list"]), @"
    Show the limits that were ever set

    Usage: grove limit list [OPTIONS]

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
    assert_snapshot!(help(&["limit", "set"]), @"
    Set a limit, or take it away

    Usage: grove limit set [OPTIONS] <COMMAND>

    Commands:
      farm    On all tasks
      driver  On tasks of a driver
      host    On tasks on workers of a host

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
    assert_snapshot!(help(&["limit", "set", "farm"]), @"
    On all tasks

    Usage: grove limit set farm [OPTIONS] <VALUE>

    Arguments:
      <VALUE>  How many at most; none = any number, drain = nothing starts

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
    assert_snapshot!(help(&["limit", "set", "driver"]), @"
    On tasks of a driver

    Usage: grove limit set driver [OPTIONS] <NAME> <VALUE>

    Arguments:
      <NAME>   Name of the driver or the host
      <VALUE>  How many at most; none = any number, drain = nothing starts

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
}

#[test]
fn list() {
    let farm = Farm::new();
    let limits = [limit("farm", "", Some(3)), limit("driver", "ssh", Some(0)), limit("host", "rack2", None)];
    farm.on("GET /api/v2/limits", 200, items(limits)).on("GET /api/v2/limits", 200, items([]));
    assert_snapshot!(grove(&farm, &["limit", "list"]), @"
    SCOPE   NAME   LIMIT  RUNNING
    farm    -      3      2
    driver  ssh    drain  2
    host    rack2  none   2
    ");
    assert_snapshot!(grove(&farm, &["limit", "list"]), @"
    --- stderr
    no limits
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/limits
    GET /api/v2/limits
    ");
    let farm = Farm::new();
    farm.on("GET /api/v2/limits", 200, items([limit("farm", "", Some(3))]));
    let shown: Value = serde_json::from_str(&grove(&farm, &["limit", "list", "-o", "json"])).unwrap();
    assert_eq!(shown["items"][0], limit("farm", "", Some(3)));
}

#[test]
fn set() {
    let farm = Farm::new();
    farm.on("PUT /api/v2/limits/farm", 200, limit("farm", "", Some(3)))
        .on("PUT /api/v2/limits/driver/ssh", 200, limit("driver", "ssh", Some(0)))
        .on("PUT /api/v2/limits/host/rack%202", 200, limit("host", "rack 2", None));
    assert_snapshot!(grove(&farm, &["limit", "set", "farm", "3"]), @"farm: at most 3 tasks; 2 running");
    assert_snapshot!(grove(&farm, &["limit", "set", "driver", "ssh", "drain"]), @"driver ssh: no task starts; 2 running");
    assert_snapshot!(grove(&farm, &["limit", "set", "host", "rack 2", "none"]), @"host rack 2: any number of tasks; 2 running");
    assert_snapshot!(calls(&farm), @r#"
    PUT /api/v2/limits/farm {"value":3}
    PUT /api/v2/limits/driver/ssh {"value":0}
    PUT /api/v2/limits/host/rack%202 {"value":null}
    "#);
    let text = grove(&farm, &["limit", "set", "farm", "3", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), limit("farm", "", Some(3)));
    assert_snapshot!(grove(&farm, &["limit", "set", "farm", "many"]), @"
    --- stderr
    error: invalid value 'many' for '<VALUE>': expected a number, none or drain

    For more information, try '--help'.
    --- exit status: 2
    ");
}

#[test]
fn refused() {
    let farm = Farm::new();
    let refused = problem(grove_wire::Code::FarmFull, "the farm holds 3 limits already", Some("use fewer"));
    farm.on("PUT /api/v2/limits/host/x", 429, refused);
    assert_snapshot!(grove(&farm, &["limit", "set", "host", "x", "1"]), @"
    --- stderr
    error: the farm holds 3 limits already
    hint: use fewer
    --- exit status: 1
    ");
}
