use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{Farm, ago, calls, grove, help, problem};

fn maintenance() -> Value {
    json!({
        "mode": "maintenance", "since": ago("3m30s"), "reason": "a new switch", "until": ago("-2h30s"),
        "revision": 4,
    })
}

fn normal() -> Value {
    json!({"mode": "normal", "since": ago("3m30s"), "reason": null, "until": null, "revision": 5})
}

fn shown(mode: &Value) -> Value {
    json!({"mode": mode, "workers": 7, "waiting": 3, "jobs": 2, "tasks": 1})
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["farm", "mode"]), @"
    Show whether the farm is in maintenance, or change that

    Usage: grove farm mode [OPTIONS] [MODE]

    Arguments:
      [MODE]  What it shall be: normal, maintenance [default: as it is, which is shown]

    Options:
          --cut            End the jobs that run now
          --reason <TEXT>  Why, for everybody who is refused
          --until <TIME>   When it is expected to be over: like 2026-01-31T12:00:00Z, or a length from
                           now like 2h
      -h, --help           Print help
      -V, --version        Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]

    In maintenance the farm takes nothing new; jobs that run are left to their end.
    ");
}

#[test]
fn show() {
    let farm = Farm::new();
    let mode = maintenance();
    farm.on("GET /api/v2/farm", 200, shown(&mode)).on("GET /api/v2/farm", 200, shown(&normal()));
    assert_snapshot!(grove(&farm, &["farm", "mode"]), @"
    mode     maintenance
    since    3m ago
    reason   a new switch
    over     in 2h
    workers  7
    waiting  3
    jobs     2
    tasks    1
    ");
    assert_snapshot!(grove(&farm, &["farm", "mode"]), @"
    mode     normal
    since    3m ago
    workers  7
    waiting  3
    jobs     2
    tasks    1
    ");
    let farm = Farm::new();
    farm.on("GET /api/v2/farm", 200, shown(&mode));
    let text = grove(&farm, &["farm", "mode", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), shown(&mode));
}

#[test]
fn change() {
    let farm = Farm::new();
    farm.on("PUT /api/v2/farm/mode", 200, maintenance()).on("PUT /api/v2/farm/mode", 200, normal());
    let until = "2027-01-01T00:00:00Z";
    let args = ["farm", "mode", "maintenance", "--cut", "--reason", "a new switch", "--until", until];
    assert_snapshot!(grove(&farm, &args), @"the farm is in maintenance: a new switch; expected to be over in 2h");
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal"]), @"the farm does its work");
    assert_snapshot!(calls(&farm), @r#"
    PUT /api/v2/farm/mode {"mode":"maintenance","running":"cut","reason":"a new switch","until":"2027-01-01T00:00:00Z"}
    PUT /api/v2/farm/mode {"mode":"normal"}
    "#);
    let farm = Farm::new();
    farm.on("PUT /api/v2/farm/mode", 200, maintenance());
    let text = grove(&farm, &["farm", "mode", "maintenance", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["reason"], "a new switch");
}

#[test]
fn refused() {
    let farm = Farm::new();
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal", "--cut"]), @"
    --- stderr
    error: --cut, --reason and --until go with maintenance
    hint: write `grove farm mode maintenance` with them
    --- exit status: 1
    ");
    assert_snapshot!(grove(&farm, &["farm", "mode", "--reason", "x"]), @"
    --- stderr
    error: --cut, --reason and --until go with maintenance
    hint: write `grove farm mode maintenance` with them
    --- exit status: 1
    ");
    assert_snapshot!(grove(&farm, &["farm", "mode", "asleep"]), @"
    --- stderr
    error: invalid value 'asleep' for '[MODE]': unknown variant `asleep`, expected `normal` or `maintenance`

    For more information, try '--help'.
    --- exit status: 2
    ");
    let refused = problem(grove_wire::Code::Unavailable, "the farm cannot store changes now", None);
    farm.on("PUT /api/v2/farm/mode", 503, refused);
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal"]), @"
    --- stderr
    error: the farm cannot store changes now
    hint: try again later; `grove services` shows what is missing
    --- exit status: 1
    ");
    assert_snapshot!(calls(&farm), @r#"PUT /api/v2/farm/mode {"mode":"normal"}"#);
}

#[test]
fn a_farm_in_maintenance_is_told_at_once() {
    let farm = Farm::new();
    let detail = "the farm is in maintenance since 2026-01-01T00:00:00Z: a new switch; try again later";
    let refused = problem(grove_wire::Code::FarmMaintenance, detail, Some("try again when it is over"));
    farm.on("POST /api/v2/requests", 503, refused);
    assert_snapshot!(grove(&farm, &["run", "--", "true"]), @"
    --- stderr
    error: the farm is in maintenance since 2026-01-01T00:00:00Z: a new switch; try again later
    hint: `grove farm mode` shows since when, why, and until when
    --- exit status: 123
    ");
}
