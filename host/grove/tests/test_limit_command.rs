use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{Farm, calls, grove, help, items, problem};

fn limit(scope: &str, name: &str, value: Option<u32>) -> Value {
    json!({"scope": scope, "name": name, "value": value, "running": 2, "revision": 1})
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["limit"]), @"");
    assert_snapshot!(help(&["limit", "list"]), @"");
    assert_snapshot!(help(&["limit", "set"]), @"");
    assert_snapshot!(help(&["limit", "set", "farm"]), @"");
    assert_snapshot!(help(&["limit", "set", "driver"]), @"");
}

#[test]
fn list() {
    let farm = Farm::new();
    let limits = [limit("farm", "", Some(3)), limit("driver", "ssh", Some(0)), limit("host", "rack2", None)];
    farm.on("GET /api/v2/limits", 200, items(limits)).on("GET /api/v2/limits", 200, items([]));
    assert_snapshot!(grove(&farm, &["limit", "list"]), @"");
    assert_snapshot!(grove(&farm, &["limit", "list"]), @"");
    assert_snapshot!(calls(&farm), @"");
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
    assert_snapshot!(grove(&farm, &["limit", "set", "farm", "3"]), @"");
    assert_snapshot!(grove(&farm, &["limit", "set", "driver", "ssh", "drain"]), @"");
    assert_snapshot!(grove(&farm, &["limit", "set", "host", "rack 2", "none"]), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = grove(&farm, &["limit", "set", "farm", "3", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), limit("farm", "", Some(3)));
    assert_snapshot!(grove(&farm, &["limit", "set", "farm", "many"]), @"");
}

#[test]
fn refused() {
    let farm = Farm::new();
    let refused = problem(grove_wire::Code::FarmFull, "the farm holds 3 limits already", Some("use fewer"));
    farm.on("PUT /api/v2/limits/host/x", 429, refused);
    assert_snapshot!(grove(&farm, &["limit", "set", "host", "x", "1"]), @"");
}
