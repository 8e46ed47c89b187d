//! Rules: added, told, tried out, removed, and refused.

use grove_domain::id::WorkerId;
use serde_json::{Value, json};

use crate::kit::{Answer, Kit, uuid};

fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn full() -> Value {
    json!({
        "id": uuid(7), "description": "consoles", "scope": "lab",
        "conditions": [
            {"path": "/uart", "op": "ge", "value": 2},
            {"source": "worker", "path": "/found/*", "op": "matches", "value": "[0-9]+", "multiple": "all", "invert": true},
            {"path": "/gpu", "op": "is-empty"},
        ],
        "actions": [
            {"action": "set-capability", "name": "console", "value": "{data[uart]}"},
            {"action": "set-capability", "name": "old"},
            {"action": "extend-capability", "name": "buses", "value": "i2c"},
            {"action": "set-label", "name": "seen", "value": "yes"},
            {"action": "add-trait", "name": "big"},
            {"action": "remove-trait", "name": "small"},
            {"action": "fail", "message": "never"},
        ],
    })
}

#[tokio::test(start_paused = true)]
async fn rules_are_added_told_and_removed() {
    let kit = Kit::new().await;
    let added = kit.post("/api/v2/rules", &full().to_string()).await;
    assert_eq!((added.status.as_u16(), added.header("etag")), (201, Some("\"1\"")), "{}", added.text());
    let rule = added.json();
    let mut expected = full();
    // What was left out is told as it is.
    for (place, source) in [(0, "data"), (1, "worker"), (2, "data")] {
        let condition = &mut expected["conditions"][place];
        condition["source"] = source.into();
        condition["multiple"] = condition.get("multiple").cloned().unwrap_or_else(|| "any".into());
        condition["invert"] = condition.get("invert").cloned().unwrap_or_else(|| false.into());
    }
    for field in ["place", "created", "revision"] {
        expected[field] = rule[field].clone();
    }
    assert_eq!(rule, expected);
    let path = format!("/api/v2/rules/{}", uuid(7));
    assert_eq!(kit.get(&path).await.json(), rule);
    assert_eq!(told(&kit.post("/api/v2/rules", &full().to_string()).await), (409, "rule_exists".to_owned()));

    let mut ids = vec![rule["id"].clone()];
    for name in ["x", "y"] {
        let body = json!({"actions": [{"action": "add-trait", "name": name}]}).to_string();
        ids.push(kit.post("/api/v2/rules", &body).await.json()["id"].clone());
    }
    let listed = kit.get("/api/v2/rules").await.json();
    let order: Vec<Value> =
        listed["items"].as_array().unwrap().iter().map(|rule| rule["id"].clone()).collect();
    assert_eq!((order, &listed["next"]), (ids.clone(), &Value::Null));

    let stale = kit.ask(&format!("DELETE {path}"), &[("if-match", "\"9\"")], "").await;
    assert_eq!(told(&stale), (412, "revision_mismatch".to_owned()));
    assert_eq!(kit.ask(&format!("DELETE {path}"), &[("if-match", "\"1\"")], "").await.status, 204);
    assert_eq!(told(&kit.get(&path).await), (404, "rule_not_found".to_owned()));
    assert_eq!(told(&kit.ask(&format!("DELETE {path}"), &[], "").await), (404, "rule_not_found".to_owned()));
    assert_eq!(kit.ask("DELETE /api/v2/rules", &[], "").await.status, 204);
    assert_eq!(kit.get("/api/v2/rules").await.json()["items"], json!([]));
    let kinds = kit.get("/api/v2/events?kind=rule.removed").await.json();
    assert_eq!(kinds["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_rule_is_refused_with_its_place() {
    let kit = Kit::new().await;
    let action = || json!([{"action": "add-trait", "name": "x"}]);
    let condition = |condition: Value| json!({"conditions": [condition], "actions": action()});
    let acts = |action: Value| json!({"actions": [{"action": "add-trait", "name": "x"}, action]});
    let mut refusals = Vec::new();
    for body in [
        json!({}),
        json!({"actions": []}),
        json!({"actions": action(), "colour": "red"}),
        json!({"actions": action(), "id": "7"}),
        json!({"actions": action(), "scope": ""}),
        json!({"actions": action(), "description": "x".repeat(1025)}),
        json!({"actions": vec![json!({"action": "add-trait", "name": "x"}); 33]}),
        condition(json!({"op": "eq", "value": 1})),
        condition(json!({"path": "/a", "value": 1})),
        condition(json!({"path": "a", "op": "eq", "value": 1})),
        condition(json!({"path": "/~9", "op": "eq", "value": 1})),
        condition(json!({"path": "/a", "op": "like", "value": 1})),
        condition(json!({"path": "/a", "op": "eq"})),
        condition(json!({"path": "/a", "op": "eq", "value": null})),
        condition(json!({"path": "/a", "op": "lt", "value": [[[]]]})),
        condition(json!({"path": "/a", "op": "is-empty", "value": 1})),
        condition(json!({"path": "/a", "op": "in-net", "value": "10.0.0.0/99"})),
        condition(json!({"path": "/a", "op": "matches", "value": "(a"})),
        condition(json!({"path": "/a", "op": "contains", "value": 7})),
        condition(json!({"path": "/a", "op": "eq", "value": 1, "multiple": "some"})),
        condition(json!({"path": "/a", "op": "eq", "value": 1, "source": "moon"})),
        condition(json!({"path": "/a", "op": "eq", "value": 1, "weight": 2})),
        acts(json!({"action": "explode"})),
        acts(json!({"name": "x"})),
        acts(json!({"action": "add-trait"})),
        acts(json!({"action": "add-trait", "name": "x", "value": "y"})),
        acts(json!({"action": "set-capability", "name": "UUID", "value": "y"})),
        acts(json!({"action": "set-capability", "name": "x", "value": "{data[a}"})),
        acts(json!({"action": "fail", "message": ""})),
    ] {
        let answer = kit.post("/api/v2/rules", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), 422, "{body}: {}", answer.text());
        let problem = answer.json();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        refusals.push(format!("{} [{}] {}", text("code"), text("field"), text("detail")));
        let tested = json!({"worker": uuid(1), "rule": body}).to_string();
        let tested = kit.post("/api/v2/rules/test", &tested).await;
        assert_eq!(tested.status.as_u16(), 422, "{}", tested.text());
        assert!(tested.json()["field"].as_str().unwrap().starts_with("rule"), "{}", tested.text());
    }
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    invalid_field [actions] actions: missing field `actions`
    invalid_field [actions] actions: a rule has at least one action
    unknown_field [colour] unknown field `colour`, expected one of `id`, `description`, `scope`, `conditions`, `actions`
    invalid_field [id] id: UUID parsing failed: invalid length: found 1
    invalid_field [scope] scope: a group has a name; leave the scope out for every worker
    invalid_field [description] description: 1025 bytes: at most 1024 are accepted
    invalid_field [actions] actions: 33 actions: at most 32 are accepted
    invalid_field [conditions[0].path] conditions[0].path: missing field `path`
    invalid_field [conditions[0].op] conditions[0].op: missing field `op`
    invalid_field [conditions[0].path] conditions[0].path: a path begins with /, for example /cpu/count
    invalid_field [conditions[0].path] conditions[0].path: ~ is written ~0 in a path (/ is ~1, and * is ~2)
    invalid_field [conditions[0].op] conditions[0].op: unknown variant `like`, expected one of `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in-net`, `matches`, `contains`, `is-empty`
    invalid_field [conditions[0].value] conditions[0].value: eq needs a value to compare with
    invalid_field [conditions[0].value] conditions[0].value: eq needs a value to compare with
    invalid_field [conditions[0].value] conditions[0].value: lt compares with text, a number or a boolean, not with a list
    invalid_field [conditions[0].value] conditions[0].value: is-empty takes no value
    invalid_field [conditions[0].value] conditions[0].value: "10.0.0.0/99" is no network such as 10.0.0.0/8
    invalid_field [conditions[0].value] conditions[0].value: the pattern cannot be read: unclosed group
    invalid_field [conditions[0].value] conditions[0].value: contains needs a text, not a number
    invalid_field [conditions[0].multiple] conditions[0].multiple: unknown variant `some`, expected one of `any`, `all`, `first`
    invalid_field [conditions[0].source] conditions[0].source: unknown variant `moon`, expected `data` or `worker`
    unknown_field [conditions[0].weight] unknown field `weight`, expected one of `source`, `path`, `op`, `value`, `multiple`, `invert`
    invalid_field [actions[1].action] actions[1].action: unknown variant `explode`, expected one of `fail`, `set-capability`, `extend-capability`, `set-label`, `add-trait`, `remove-trait`
    invalid_field [actions[1].action] actions[1].action: missing field `action`
    invalid_field [actions[1].name] actions[1].name: missing field `name`
    unknown_field [actions[1].value] unknown field `value`, expected `name`
    invalid_field [actions[1].name] actions[1].name: UUID is the farm's own capability
    invalid_field [actions[1].value] actions[1].value: {data[a} stands for nothing: write {data[key][key]}
    invalid_field [actions[1].message] actions[1].message: say why the run fails
    "#);
    assert_eq!(kit.get("/api/v2/rules").await.json()["items"], json!([]));
    assert_eq!(kit.get("/api/v2/rules/7").await.status, 400);
    assert_eq!(kit.get("/api/v2/rules?x=1").await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_tried_out_and_changes_nothing() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.fakes.drivers.inventory(WorkerId(uuid(1)), r#"{"uart":4,"disks":[{"gib":32},{"gib":64}]}"#);
    let standing =
        json!({"actions": [{"action": "set-capability", "name": "ruled", "value": "1"}]}).to_string();
    kit.post("/api/v2/rules", &standing).await;
    let run = kit.post("/api/v2/introspections", &json!({"worker": uuid(1)}).to_string()).await.json();
    kit.until("it ends", |farm| {
        farm.newest_introspection(WorkerId(uuid(1))).is_some_and(|run| run.state.is_terminal())
    })
    .await;
    let before = kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.text();
    let test = async |rule: Value| {
        let answer =
            kit.post("/api/v2/rules/test", &json!({"worker": uuid(1), "rule": rule}).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let told = test(json!({
        "conditions": [
            {"path": "/disks/*/gib", "op": "ge", "value": 64},
            {"path": "/disks", "op": "eq", "value": 64, "invert": true},
            {"path": "/gpu", "op": "eq", "value": 1},
        ],
        "actions": [{"action": "add-trait", "name": "big"}],
    }))
    .await;
    assert_eq!(
        told,
        json!({
            "introspection": run["id"], "in_scope": true, "applies": false, "changes": [], "error": null,
            "conditions": [
                {"holds": true, "count": 2, "values": [
                    {"value": "32", "holds": false, "unfit": null}, {"value": "64", "holds": true, "unfit": null},
                ]},
                {"holds": false, "count": 1, "values": [{"value": "a list", "holds": false, "unfit": "no number"}]},
                {"holds": false, "count": 0, "values": []},
            ],
        })
    );
    let told = test(json!({
        "conditions": [
            {"source": "worker", "path": "/found/uart", "op": "eq", "value": "4"},
            {"source": "worker", "path": "/found/ruled", "op": "is-empty"},
        ],
        "actions": [
            {"action": "extend-capability", "name": "uart", "value": "{data[disks][1][gib]}"},
            {"action": "remove-trait", "name": "uart"},
            {"action": "set-label", "name": "a", "value": "b"},
        ],
    }))
    .await;
    assert_eq!(
        (&told["applies"], &told["changes"]),
        (
            &json!(true),
            &json!([
                {"change": "set-capability", "key": "uart", "value": "4,64"},
                {"change": "unset-capability", "key": "uart"},
                {"change": "set-label", "key": "a", "value": "b"},
            ])
        )
    );
    let told = test(json!({"scope": "lab", "actions": [{"action": "fail", "message": "no"}]})).await;
    assert_eq!(
        (&told["in_scope"], &told["applies"], &told["error"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    let told = test(json!({"actions": [{"action": "set-label", "name": "a", "value": "{data[gpu]}"}]})).await;
    assert_eq!(told["error"], "there is no data[gpu] in the inventory");
    assert_eq!(kit.get(&format!("/api/v2/workers/{}", uuid(1))).await.text(), before);

    let nobody = json!({"worker": uuid(9), "rule": {"actions": [{"action": "add-trait", "name": "x"}]}});
    let answer = kit.post("/api/v2/rules/test", &nobody.to_string()).await;
    assert_eq!(super::v2_rules::told(&answer), (404, "worker_not_found".to_owned()));
}
