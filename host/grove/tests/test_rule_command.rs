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
    assert_snapshot!(help(&["rule"]), @"
    What is concluded from the inventories of boards

    Usage: grove rule [OPTIONS] <COMMAND>

    Commands:
      add     Add rules: they act after those that are there; prints their UUIDs
      list    Show the rules, in the order in which they act
      test    Show what a rule would do with what is stored of a worker, and why
      remove  Remove a rule; what it found stays until the next introspection

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
    assert_snapshot!(help(&["rule", "add"]), @"
    Add rules: they act after those that are there; prints their UUIDs

    Usage: grove rule add [OPTIONS] <FILE>

    Arguments:
      <FILE>  JSON: a rule, or a list of rules; - = stdin

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
    assert_snapshot!(help(&["rule", "test"]), @"
    Show what a rule would do with what is stored of a worker, and why

    Usage: grove rule test [OPTIONS] <FILE> <WORKER>

    Arguments:
      <FILE>    JSON: a rule, or a list of rules; - = stdin
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

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
    assert_snapshot!(help(&["rule", "remove"]), @"
    Remove a rule; what it found stays until the next introspection

    Usage: grove rule remove [OPTIONS] <RULE|--all>

    Arguments:
      [RULE]  UUID of the rule

    Options:
          --all      Every rule
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
fn add() {
    let farm = Farm::new();
    let sent = rule();
    farm.on("POST /api/v2/rules", 201, sent.clone());
    assert_snapshot!(with_file(&farm, &["rule", "add", "rule.json"], FILE), @"
    01900000-0000-7000-8000-0000000000ff
    --- stderr
    1 rule is there from the next introspection on; `grove introspect reapply --all` applies to what is stored
    ");
    assert_snapshot!(with_file(&farm, &["rule", "add", "rule.json"], &format!("[{FILE},{FILE}]")), @"
    01900000-0000-7000-8000-0000000000ff
    01900000-0000-7000-8000-0000000000ff
    --- stderr
    2 rules are there from the next introspection on; `grove introspect reapply --all` applies to what is stored
    ");
    let home = Home::new();
    let output = run_with_input(home.command(&farm, &["rule", "add", "-", "-q"]), FILE);
    assert_snapshot!(told(&farm, &output), @"01900000-0000-7000-8000-0000000000ff");
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/rules {"description":"","scope":null,"conditions":[{"source":"data","path":"/usb/*/vendor","op":"eq","value":"0403","multiple":"any","invert":false}],"actions":[{"action":"add-trait","name":"console"}]}
    POST /api/v2/rules {"description":"","scope":null,"conditions":[{"source":"data","path":"/usb/*/vendor","op":"eq","value":"0403","multiple":"any","invert":false}],"actions":[{"action":"add-trait","name":"console"}]}
    POST /api/v2/rules {"description":"","scope":null,"conditions":[{"source":"data","path":"/usb/*/vendor","op":"eq","value":"0403","multiple":"any","invert":false}],"actions":[{"action":"add-trait","name":"console"}]}
    POST /api/v2/rules {"description":"","scope":null,"conditions":[{"source":"data","path":"/usb/*/vendor","op":"eq","value":"0403","multiple":"any","invert":false}],"actions":[{"action":"add-trait","name":"console"}]}
    "#);
    let text = with_file(&farm, &["rule", "add", "rule.json", "-o", "json"], FILE);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), sent);
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
    assert_snapshot!(said, @r#"
    --- stderr
    error: rule.json is not JSON: EOF while parsing a value at line 1 column 0
    --- exit status: 1
    {
    --- stderr
    error: rule.json is not JSON: EOF while parsing an object at line 1 column 1
    --- exit status: 1
    [7]
    --- stderr
    error: rule 1 in rule.json is not one: invalid type: integer `7`, expected a rule
    --- exit status: 1
    {"actions":[],"colour":1}
    --- stderr
    error: rule 1 in rule.json is not one: unknown field `colour`, expected one of `id`, `description`, `scope`, `conditions`, `actions`
    --- exit status: 1
    {"actions":[{"action":"explode"}]}
    --- stderr
    error: rule 1 in rule.json is not one: unknown variant `explode`, expected one of `fail`, `set-capability`, `extend-capability`, `set-label`, `add-trait`, `remove-trait`
    --- exit status: 1
    {"actions":[]}
    --- stderr
    error: rule 1 was not added: actions: a rule has at least one action
    hint: correct what the error names; `--help` says what it takes
    --- exit status: 1
    "#);
    let output = run_with_input(Home::new().command(&farm, &["rule", "add", "-"]), "7");
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: rule 1 in stdin is not one: invalid type: integer `7`, expected a rule
    --- exit status: 1
    ");
    assert_snapshot!(with_file(&farm, &["rule", "add", "other.json"], ""), @"
    --- stderr
    error: failed to read other.json: No such file or directory (os error 2)
    --- exit status: 1
    ");
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
    assert_snapshot!(grove(&farm, &["rule", "list"]), @r#"
    RULE                                  SCOPE  CONDITIONS                       ACTIONS                         DESCRIPTION
    01900000-0000-7000-8000-0000000000ff  lab    /usb/*/vendor eq "0403"          set-capability console=ftdi     consoles
                                                 all worker /found/uart not ge 2  unset old
                                                 first / is-empty                 extend-capability buses by spi
                                                                                  set-label seen=yes
                                                                                  add-trait big
                                                                                  remove-trait small
                                                                                  fail "no"
    01900000-0000-7000-8000-0000000000ff  -      -                                add-trait any                   -
    "#);
    assert_snapshot!(grove(&farm, &["rule", "list"]), @"
    --- stderr
    no rules
    ");
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
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], FILE), @r#"
    on the inventory of introspection 01900000-0000-7000-8000-0000000000ff:
    holds: /usb/*/vendor eq "0403"
      "1d6b" does not hold
      "0403" holds
      a list does not hold: it is no text
      and 27 more
    it would find the capability console=ftdi
    it would take the capability old away
    it would set the label seen=yes
    "#);
    let scoped = r#"{"scope":"lab","conditions":[{"path":"/a","op":"is-empty","invert":true}],"actions":[{"action":"add-trait","name":"x"}]}"#;
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], scoped), @"
    on the inventory of introspection 01900000-0000-7000-8000-0000000000ff:
    the worker is not in group lab, which the rule is for
    does not hold: /a not is-empty
      nothing is there
    it would change nothing
    ");
    assert_snapshot!(with_file(&farm, &["rule", "test", "rule.json", BOARD], r#"{"actions":[{"action":"fail","message":"x"}]}"#), @"
    on the inventory of introspection 01900000-0000-7000-8000-0000000000ff:
    the introspection would fail: there is no data[gpu]
    ");
    let farm = Farm::new();
    farm.on("POST /api/v2/rules/test", 200, applies.clone());
    let text = with_file(&farm, &["rule", "test", "rule.json", BOARD, "-o", "json"], FILE);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), applies);
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/rules/test {"rule":{"description":"","scope":null,"conditions":[{"source":"data","path":"/usb/*/vendor","op":"eq","value":"0403","multiple":"any","invert":false}],"actions":[{"action":"add-trait","name":"console"}]},"worker":"01900000-0000-7000-8000-000000000001"}"#);
}

#[test]
fn remove() {
    let farm = Farm::new();
    farm.on(&format!("DELETE /api/v2/rules/{RULE}"), 204, Value::Null).on(
        "DELETE /api/v2/rules",
        204,
        Value::Null,
    );
    assert_snapshot!(grove(&farm, &["rule", "remove", RULE]), @"
    --- stderr
    rule 01900000-0000-7000-8000-0000000000ff is removed
    ");
    assert_snapshot!(grove(&farm, &["rule", "remove", "--all"]), @"
    --- stderr
    every rule is removed
    ");
    assert_snapshot!(calls(&farm), @"
    DELETE /api/v2/rules/01900000-0000-7000-8000-0000000000ff
    DELETE /api/v2/rules
    ");
    assert_snapshot!(grove(&farm, &["rule", "remove"]), @"
    --- stderr
    error: the following required arguments were not provided:
      <RULE|--all>

    Usage: grove rule remove --server <URL> <RULE|--all>

    For more information, try '--help'.
    --- exit status: 2
    ");
}
