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
    assert_snapshot!(help(&["farm", "mode"]), @"");
}

#[test]
fn show() {
    let farm = Farm::new();
    let mode = maintenance();
    farm.on("GET /api/v2/farm", 200, shown(&mode)).on("GET /api/v2/farm", 200, shown(&normal()));
    assert_snapshot!(grove(&farm, &["farm", "mode"]), @"");
    assert_snapshot!(grove(&farm, &["farm", "mode"]), @"");
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
    assert_snapshot!(grove(&farm, &args), @"");
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal"]), @"");
    assert_snapshot!(calls(&farm), @"");
    farm.on("PUT /api/v2/farm/mode", 200, maintenance());
    let text = grove(&farm, &["farm", "mode", "maintenance", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["reason"], "a new switch");
}

#[test]
fn refused() {
    let farm = Farm::new();
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal", "--cut"]), @"");
    assert_snapshot!(grove(&farm, &["farm", "mode", "--reason", "x"]), @"");
    assert_snapshot!(grove(&farm, &["farm", "mode", "asleep"]), @"");
    let refused = problem(grove_wire::Code::Unavailable, "the farm cannot store changes now", None);
    farm.on("PUT /api/v2/farm/mode", 503, refused);
    assert_snapshot!(grove(&farm, &["farm", "mode", "normal"]), @"");
    assert_snapshot!(calls(&farm), @"");
}

#[test]
fn a_farm_in_maintenance_is_told_at_once() {
    let farm = Farm::new();
    let detail = "the farm is in maintenance since 2026-01-01T00:00:00Z: a new switch; try again later";
    let refused = problem(grove_wire::Code::FarmMaintenance, detail, Some("try again when it is over"));
    farm.on("POST /api/v2/requests", 503, refused);
    assert_snapshot!(grove(&farm, &["run", "--", "true"]), @"");
}
