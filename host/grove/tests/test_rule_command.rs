use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{BOARD, Farm, Home, ago, calls, grove, help, items, problem, run_with_input, told};

const RULE: &str = "01900000-0000-7000-8000-0000000000ff";

fn rule() -> Value {
    json!({
        "id": RULE, "place": 3, "description": "consoles", "scope": "lab",
        "conditions": [
            {"source": "data", "path": "/usb/*/vendor", "op": "eq", "value": "0403", "multiple": "any", "invert": false},
            {"source": "worker", "path": "/found/uart", "op": "ge", "value": 2, "multiple": "all", "invert": true},
            {"source": "data", "path": "", "op": "is-empty", "multiple": "first", "invert": false},
        ],
        "actions": [
            {"action": "set-capability", "name": "console", "value": "ftdi"},
            {"action": "set-capability", "name": "old"},
            {"action": "extend-capability", "name": "buses", "value": "spi"},
            {"action": "set-label", "name": "seen", "value": "yes"},
            {"action": "add-trait", "name": "big"},
            {"action": "remove-trait", "name": "small"},
            {"action": "fail", "message": "no"},
        ],
        "created": ago("3m30s"), "revision": 1,
    })
}

/// What a user writes.
const FILE: &str = r#"{
  "conditions": [{ "path": "/usb/*/vendor", "op": "eq", "value": "0403" }],
  "actions": [{ "action": "add-trait", "name": "console" }]
}"#;

/// `grove ARGS` with the file `rule.json` that holds `text`.
fn with_file(farm: &Farm, args: &[&str], text: &str) -> String {
    let home = Home::new();
    std::fs::write(home.path("rule.json"), text).unwrap();
    let mut command = home.command(farm, args);
    let output = command.current_dir(home.path("")).output().unwrap();
    home.plain(&told(farm, &output))
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["rule"]), @"");
    assert_snapshot!(help(&["rule", "add"]), @"");
    assert_snapshot!(help(&["rule", "test"]), @"");
    assert_snapshot!(help(&["rule", "remove"]), @"");
}

#[test]
fn add() {
    let farm = Farm::new();
    farm.on("POST /api/v2/rules", 201, rule());
    assert_snapshot!(with_file(&farm, &["rule", "add", "rule.json"], FILE), @"");
    assert_snapshot!(with_file(&farm, &["rule", "add", "rule.json"], &format!("[{FILE},{FILE}]")), @"");
    let home = Home::new();
    let output = run_with_input(home.command(&farm, &["rule", "add", "-", "-q"]), FILE);
    assert_snapshot!(told(&farm, &output), @"");
    assert_snapshot!(calls(&farm), @"");
    let text = with_file(&farm, &["rule", "add", "rule.json", "-o", "json"], FILE);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), rule());
}

#[test]
fn a_file_that_holds_no_rule() {
    let farm = Farm::new();
    let refused = problem(grove_wire::Code::InvalidField, "actions: a rule has at least one action", None);
    farm.on("POST /api/v2/rules", 422, refused);
    let mut said = String::new();
    for text in [
        "",
        "{",
        "[7]",
        r#"{"actions":[],"colour":1}"#,
        r#"{"actions":[{"action":"explode"}]}"#,
        r#"{"actions":[]}"#,
    ] {
        said += &format!("{text}\n{}", with_file(&farm, &["rule", "add", "rule.json"], text));
    }
    assert_snapshot!(said, @"");
    assert_snapshot!(with_file(&farm, &["rule", "add", "other.json"], ""), @"");
}

#[test]
fn list() {
    let farm = Farm::new();
    let mut bare = rule();
    bare["scope"] = Value::Null;
    bare["description"] = "".into();
    bare["conditions"] = json!([]);
    bare["actions"] = json!([{"action": "add-trait", "name": "any"}]);
    farm.on("GET /api/v2/rules", 200, items([rule(), bare])).on("GET /api/v2/rules", 200, items([]));
    assert_snapshot!(grove(&farm, &["rule", "list"]), @"");
    assert_snapshot!(grove(&farm, &["rule", "list"]), @"");
}

#[test]
fn test() {
    let farm = Farm::new();
    let value = |value: &str, holds: bool, unfit: Option<&str>| json!({"value": value, "holds": holds, "unfit": unfit});
    let values = [
        value("\"1d6b\"", false, None),
        value("\"0403\"", true, None),
        value("a list", false, Some("no text")),
    ];
    let applies = json!({
        "introspection": RULE, "in_scope": true, "applies": true, "error": null,
        "conditions": [{"holds": true, "count": 30, "values": values}],
        "changes": [
            {"change": "set-capability", "key": "console", "value": "ftdi"},
            {"change": "unset-capability", "key": "old"},
            {"change": "set-label", "key": "seen", "value": "yes"},
        ],
    });
    let not = json!({
        "introspection": RULE, "in_scope": false, "applies": false, "error": null, "changes": [],
        "conditions": [{"holds": false, "count": 0, "values": []}],
    });
    let fails = json!({
        "introspection": RULE, "in_scope": true, "applies": true, "error": "there is no data[gpu]", "changes": [], "conditions": [],
    });
    farm.on("POST /api/v2/rules/test", 200, applies.clone()).on("POST /api/v2/rules/test", 200, not).on(
        "POST /api/v2/rules/test",
        200,
        fails,
    );
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], FILE), @"");
    let scoped = r#"{"scope":"lab","conditions":[{"path":"/a","op":"is-empty","invert":true}],"actions":[{"action":"add-trait","name":"x"}]}"#;
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], scoped), @"");
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], r#"{"actions":[{"action":"fail","message":"x"}]}"#), @"");
    let farm = Farm::new();
    farm.on("POST /api/v2/rules/test", 200, applies.clone());
    let text = with_file(&farm, &["rule", "test", "rule.json", BOARD, "-o", "json"], FILE);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), applies);
    assert_snapshot!(calls(&farm), @"");
}

#[test]
fn remove() {
    let farm = Farm::new();
    farm.on(&format!("DELETE /api/v2/rules/{RULE}"), 204, Value::Null).on(
        "DELETE /api/v2/rules",
        204,
        Value::Null,
    );
    assert_snapshot!(grove(&farm, &["rule", "remove", RULE]), @"");
    assert_snapshot!(grove(&farm, &["rule", "remove", "--all"]), @"");
    assert_snapshot!(calls(&farm), @"");
    assert_snapshot!(grove(&farm, &["rule", "remove"]), @"");
}
