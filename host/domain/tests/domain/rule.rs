//! Rules: whom they are for, what they do, in which order, and what becomes of a failure.

use std::sync::Arc;

use grove_domain::id::{RuleId, Uuid};
use grove_domain::introspection::{Change, View};
use grove_domain::inventory::{Path, Value};
use grove_domain::rule::{
    Action, Condition, Failed, MAX_ACTIONS, MAX_CONDITIONS, MAX_EFFORT, MAX_TRIED, Multiple, Rule, Source,
    Template, Test, Trial, apply, trial,
};

use crate::fixtures::{at, list, map, number, real, text, tree, worker_id};

pub(crate) fn rule(conditions: Vec<Condition>, actions: Vec<Action>) -> Rule {
    Rule {
        id: RuleId(Uuid::from_u128(1)),
        place: 1,
        description: String::new(),
        scope: None,
        conditions,
        actions,
        created: at(0),
        revision: 1,
    }
}

fn numbered(number: u128, rule: Rule) -> Rule {
    Rule { id: RuleId(Uuid::from_u128(number)), place: number as u64, ..rule }
}

pub(crate) fn view() -> View {
    View {
        worker: worker_id(1),
        driver: "ssh".to_owned(),
        host: Some("rack2".to_owned()),
        groups: vec!["lab".to_owned(), "night".to_owned()],
        capabilities: Arc::new(map(&[("board", "rpi4"), ("buses", "i2c, spi")])),
    }
}

/// What the one rule would do where inspectors found `uart` = 4.
pub(crate) fn tried(rule: &Rule, inventory: &Value) -> Trial {
    trial(rule, inventory, &view(), &map(&[("uart", "4")]))
}

fn done(rules: &[Rule], inventory: &Value) -> Result<Vec<(RuleId, Change)>, Failed> {
    apply(rules, inventory, &view(), &map(&[("uart", "4")]))
}

fn on(source: Source, path: &str, op: &str, value: Option<Value>) -> Condition {
    let path = Path::parse(path).unwrap();
    Condition { source, path, test: Test::parse(op, value).unwrap(), multiple: Multiple::Any, invert: false }
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn set(name: &str, value: &str) -> Action {
    Action::SetCapability { name: name.to_owned(), value: Some(template(value)) }
}

fn extend(name: &str, value: &str) -> Action {
    Action::ExtendCapability { name: name.to_owned(), value: template(value) }
}

fn changed(key: &str, value: &str) -> Change {
    Change::SetCapability(key.to_owned(), value.to_owned())
}

fn changes(rules: &[Rule], inventory: &Value) -> Vec<Change> {
    done(rules, inventory).unwrap().into_iter().map(|(_, change)| change).collect()
}

#[test]
fn each_action_changes_what_it_says() {
    let actions = vec![
        set("disk", "{data[disk]}GB"),
        Action::SetCapability { name: "old".to_owned(), value: None },
        Action::SetLabel { name: "note".to_owned(), value: template("seen") },
        Action::AddTrait { name: "big".to_owned() },
        Action::RemoveTrait { name: "small".to_owned() },
    ];
    assert_eq!(
        actions.iter().map(Action::kind).collect::<Vec<_>>(),
        ["set-capability", "set-capability", "set-label", "add-trait", "remove-trait"]
    );
    assert_eq!(
        changes(&[rule(vec![], actions)], &tree([("disk", number(8))])),
        [
            changed("disk", "8GB"),
            Change::UnsetCapability("old".to_owned()),
            Change::Label("note".to_owned(), "seen".to_owned()),
            changed("big", "true"),
            Change::UnsetCapability("small".to_owned()),
        ]
    );
}

#[test]
fn a_list_is_extended_from_what_is_there_and_holds_nothing_twice() {
    let inventory = tree([("more", text("can, spi,,usb"))]);
    let extended = |actions| changes(&[rule(vec![], actions)], &inventory);
    assert_eq!(extended(vec![extend("new", "a")]), [changed("new", "a")]);
    assert_eq!(extended(vec![extend("uart", "5")]), [changed("uart", "4,5")], "what inspectors found");
    assert_eq!(
        extended(vec![extend("buses", "{data[more]}")]),
        [changed("buses", "i2c,spi,can,usb")],
        "the worker's own"
    );
    assert_eq!(
        extended(vec![extend("a", "1"), extend("a", "2"), extend("a", "1")]),
        [changed("a", "1"), changed("a", "1,2"), changed("a", "1,2")]
    );
    let two = [
        numbered(1, rule(vec![], vec![extend("uart", "5")])),
        numbered(2, rule(vec![], vec![Action::RemoveTrait { name: "uart".to_owned() }, extend("uart", "6")])),
        numbered(3, rule(vec![], vec![extend("uart", "7")])),
    ];
    let by_two = changes(&two, &inventory);
    assert_eq!(by_two.last(), Some(&changed("uart", "6,7")), "{by_two:?}");
}

#[test]
fn a_rule_is_for_its_scope() {
    let scoped =
        |scope: Option<&str>| Rule { scope: scope.map(str::to_owned), ..rule(vec![], vec![set("a", "1")]) };
    for (scope, acts) in
        [(None, true), (Some("lab"), true), (Some("night"), true), (Some("day"), false), (Some("*"), false)]
    {
        let tried = tried(&scoped(scope), &tree([]));
        assert_eq!((tried.in_scope, tried.applies), (acts, acts), "{scope:?}");
        assert_eq!(changes(&[scoped(scope)], &tree([])).len(), usize::from(acts), "{scope:?}");
    }
}

#[test]
fn conditions_see_the_worker_and_what_inspectors_found() {
    let seen = |path: &str, value: &str| {
        let condition = on(Source::Worker, path, "eq", Some(text(value)));
        tried(&rule(vec![condition], vec![]), &tree([("driver", text("no"))])).applies
    };
    assert!(seen("/uuid", "00000000-0000-0000-0000-000000000001"));
    assert!(seen("/driver", "ssh"));
    assert!(seen("/host", "rack2"));
    assert!(seen("/groups/*", "night"));
    assert!(seen("/capabilities/board", "rpi4"));
    assert!(seen("/found/uart", "4"));
    assert!(!seen("/capabilities/uart", "4"));
    let nowhere = View { host: None, ..view() };
    let condition = on(Source::Worker, "/host", "is-empty", None);
    assert!(trial(&rule(vec![condition], vec![]), &tree([]), &nowhere, &map(&[])).applies);
}

#[test]
fn every_condition_must_hold() {
    let yes = || on(Source::Data, "/a", "eq", Some(number(1)));
    let no = || on(Source::Data, "/a", "eq", Some(number(2)));
    let applies = |conditions| tried(&rule(conditions, vec![]), &tree([("a", number(1))])).applies;
    assert!(applies(vec![]));
    assert!(applies(vec![yes(), yes()]));
    assert!(!applies(vec![yes(), no()]));
    assert!(!applies(vec![no(), yes()]));
}

/// The second rule would not apply if it were judged after the first had acted, and the third would.
#[test]
fn all_are_judged_before_any_acts() {
    let four = || on(Source::Worker, "/found/uart", "eq", Some(text("4")));
    let nine = on(Source::Worker, "/found/uart", "eq", Some(text("9")));
    let rules = [
        numbered(1, rule(vec![four()], vec![set("uart", "9")])),
        numbered(2, rule(vec![four()], vec![set("second", "acted")])),
        numbered(3, rule(vec![nine], vec![set("third", "acted")])),
    ];
    assert_eq!(changes(&rules, &tree([])), [changed("uart", "9"), changed("second", "acted")]);
}

#[test]
fn rules_act_in_the_order_in_which_they_were_made() {
    let rules =
        [5, 2, 9, 1].map(|place| numbered(place, rule(vec![], vec![set("last", &place.to_string())])));
    let order: Vec<_> =
        done(&rules, &tree([])).unwrap().into_iter().map(|(rule, _)| rule.0.as_u128()).collect();
    assert_eq!(order, [1, 2, 5, 9]);
}

#[test]
fn a_failure_leaves_nothing() {
    let failing = |third: Action| {
        let rules = [
            numbered(1, rule(vec![], vec![set("a", "1")])),
            numbered(2, rule(vec![], vec![set("b", "2"), third])),
            numbered(3, rule(vec![], vec![set("c", "3")])),
        ];
        let failed =
            done(&rules, &tree([("list", list([])), ("long", text(&"x".repeat(2000)))])).unwrap_err();
        assert_eq!(failed.rule, RuleId(Uuid::from_u128(2)));
        failed.to_string()
    };
    let refusals = [
        failing(Action::Fail { message: "this board is {broken}".to_owned() }),
        failing(set("x", "{data[disks][0][size]}")),
        failing(set("x", "{data[list]}")),
        failing(set("x", "{data[list][0]}")),
        failing(set("x", "{data[long]}")),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    rule/00000000-0000-0000-0000-000000000002: this board is {broken}
    rule/00000000-0000-0000-0000-000000000002: there is no data[disks] in the inventory
    rule/00000000-0000-0000-0000-000000000002: data[list] in the inventory is a list, no text or number
    rule/00000000-0000-0000-0000-000000000002: there is no data[list][0] in the inventory
    rule/00000000-0000-0000-0000-000000000002: "{data[long]}" becomes longer than the 1024 bytes of a value
    "#);
    let never = on(Source::Data, "/a", "eq", Some(number(1)));
    let failing = rule(vec![never], vec![Action::Fail { message: "no".to_owned() }]);
    assert_eq!(done(&[failing], &tree([])), Ok(vec![]), "a rule that does not apply fails nothing");
}

#[test]
fn templates_stand_for_values_of_the_inventory() {
    let inventory = tree([
        ("a", tree([("b c", text("deep")), ("n", list([number(-1), real(0.5), Value::Bool(true)]))])),
        ("brace", text("{data[a]}")),
        ("none", Value::Null),
    ]);
    let rendered = |text: &str| match changes(&[rule(vec![], vec![set("k", text)])], &inventory).remove(0) {
        Change::SetCapability(_, value) => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(rendered("plain"), "plain");
    assert_eq!(rendered(""), "");
    assert_eq!(rendered("{data[a][b c]}"), "deep");
    assert_eq!(rendered("<{data[a][n][0]}|{data[a][n][1]}{data[a][n][2]}>"), "<-1|0.5true>");
    assert_eq!(rendered("{{data[a]}} {{{data[a][b c]}}}"), "{data[a]} {deep}");
    assert_eq!(rendered("{data[brace]}"), "{data[a]}", "what comes from a board is no template");
    let refusals = [
        "{",
        "}",
        "a}b",
        "{}",
        "{data}",
        "{data[}",
        "{data[]}",
        "{data[a]b}",
        "{data.a}",
        "{data[a].b}",
        "{worker[a]}",
        "{data[a]!r}",
        "{data[a]:>9}",
        "{ data[a]}",
    ]
    .map(|text| format!("{text:12} {}", Template::parse(text).unwrap_err()));
    insta::assert_snapshot!(refusals.join("\n"), @"
    {            a { has no }; write {{ for a brace
    }            a } has no {; write }} for a brace
    a}b          a } has no {; write }} for a brace
    {}           {} stands for nothing: write {data[key][key]}
    {data}       {data} stands for nothing: write {data[key][key]}
    {data[}      {data[} stands for nothing: write {data[key][key]}
    {data[]}     {data[]} stands for nothing: write {data[key][key]}
    {data[a]b}   {data[a]b} stands for nothing: write {data[key][key]}
    {data.a}     {data.a} stands for nothing: write {data[key][key]}
    {data[a].b}  {data[a].b} stands for nothing: write {data[key][key]}
    {worker[a]}  {worker[a]} stands for nothing: write {data[key][key]}
    {data[a]!r}  {data[a]!r} stands for nothing: write {data[key][key]}
    {data[a]:>9} {data[a]:>9} stands for nothing: write {data[key][key]}
    { data[a]}   { data[a]} stands for nothing: write {data[key][key]}
    ");
    assert!(Template::parse(&"x".repeat(1024)).is_ok());
    assert_eq!(Template::parse(&"x".repeat(1025)), Err("1025 bytes: at most 1024 are accepted".to_owned()));
}

#[test]
fn a_rule_that_cannot_be_is_refused_with_the_place() {
    let good = || rule(vec![], vec![set("a", "1")]);
    assert_eq!(good().check(), Ok(()));
    let condition = || on(Source::Data, "", "is-empty", None);
    let refused = |rule: Rule| rule.check().unwrap_err().to_string();
    let with = |action| refused(rule(vec![], vec![set("a", "1"), action]));
    let refusals = [
        refused(rule(vec![], vec![])),
        refused(Rule { description: "x".repeat(1025), ..good() }),
        refused(Rule { scope: Some(String::new()), ..good() }),
        refused(Rule { scope: Some("x".repeat(65)), ..good() }),
        refused(rule(vec![condition(); MAX_CONDITIONS + 1], vec![set("a", "1")])),
        refused(rule(vec![], vec![set("a", "1"); MAX_ACTIONS + 1])),
        with(set("", "1")),
        with(set("UUID", "1")),
        with(extend("DRIFT", "1")),
        with(Action::AddTrait { name: "x".repeat(129) }),
        with(Action::RemoveTrait { name: "UUID".to_owned() }),
        with(Action::SetLabel { name: String::new(), value: template("") }),
        with(Action::Fail { message: String::new() }),
        with(Action::Fail { message: "x".repeat(1025) }),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @"
    actions: a rule has at least one action
    description: 1025 bytes: at most 1024 are accepted
    scope: a group has a name; leave the scope out for every worker
    scope: 65 bytes: at most 64 are accepted
    conditions: 33 conditions: at most 32 are accepted
    actions: 33 actions: at most 32 are accepted
    actions[1].name: a name is empty
    actions[1].name: UUID is the farm's own capability
    actions[1].name: DRIFT is the farm's own capability
    actions[1].name: a name has 129 bytes: at most 128 are accepted
    actions[1].name: UUID is the farm's own capability
    actions[1].name: a name is empty
    actions[1].message: say why the run fails
    actions[1].message: 1025 bytes: at most 1024 are accepted
    ");
    assert_eq!(rule(vec![condition(); MAX_CONDITIONS], vec![set("a", "1"); MAX_ACTIONS]).check(), Ok(()));
}

#[test]
fn a_trial_tells_why() {
    let values = Value::List((0..100).map(number).collect());
    let inventory = tree([("v", values), ("cpu", tree([("model", text("A53"))]))]);
    let conditions = vec![
        on(Source::Data, "/v/*", "ge", Some(number(99))),
        on(Source::Data, "/cpu/model", "matches", Some(text("A7[0-9]"))),
        on(Source::Data, "/gpu", "eq", Some(number(1))),
    ];
    let told = tried(&rule(conditions, vec![Action::Fail { message: "never".to_owned() }]), &inventory);
    assert_eq!(
        told.conditions.iter().map(|tried| (tried.holds, tried.count)).collect::<Vec<_>>(),
        [(true, 100), (false, 1), (false, 0)]
    );
    assert_eq!(told.conditions[0].values.len(), MAX_TRIED);
    assert_eq!(told.conditions[1].values[0].0, text("A53"));
    assert!(!told.applies);
    assert_eq!(told.outcome, Ok(vec![]), "a rule that does not apply changes nothing");
    let told = tried(&rule(vec![], vec![Action::Fail { message: "always".to_owned() }]), &inventory);
    assert_eq!((told.applies, told.outcome), (true, Err("always".to_owned())));
    let told = tried(&rule(vec![], vec![extend("uart", "{data[cpu][model]}")]), &inventory);
    assert_eq!(told.outcome, Ok(vec![changed("uart", "4,A53")]));
}

#[test]
fn rules_look_at_so_much_and_no_more() {
    let wide =
        tree([("v", Value::List((0..1000).map(number).collect())), ("text", text(&"x".repeat(64_000)))]);
    // Two steps, and a thousand values.
    let looks = |number| {
        numbered(
            number,
            rule(vec![on(Source::Data, "/v/*", "lt", Some(self::number(0)))], vec![set("a", "1")]),
        )
    };
    let searches = |number| {
        numbered(
            number,
            rule(vec![on(Source::Data, "/text", "contains", Some(text("y")))], vec![set("a", "1")]),
        )
    };
    for (each, most) in [(&looks as &dyn Fn(u128) -> Rule, MAX_EFFORT / 1002), (&searches, MAX_EFFORT / 1002)]
    {
        let rules: Vec<_> = (1..=most as u128).map(each).collect();
        assert_eq!(done(&rules, &wide), Ok(vec![]));
        let rules: Vec<_> = (1..=most as u128 + 1).map(each).collect();
        let failed = done(&rules, &wide).unwrap_err();
        assert_eq!(failed.rule, rules.last().unwrap().id, "the one that went too far");
        assert!(failed.reason.contains("more than 1000000 values"), "{failed}");
    }

    let heavy = tree([("v", Value::List(vec![Value::Null; MAX_EFFORT]))]);
    let conditions =
        vec![on(Source::Data, "/v", "is-empty", None), on(Source::Data, "/v/*", "is-empty", None)];
    let heavy_rule = rule(conditions, vec![set("a", "1")]);
    let told = tried(&heavy_rule, &heavy);
    assert_eq!((told.conditions.len(), told.applies), (1, false));
    assert!(told.outcome.unwrap_err().contains("more than 1000000 values"));
    let elsewhere = Rule { scope: Some("day".to_owned()), ..heavy_rule };
    assert_eq!(tried(&elsewhere, &heavy).outcome, Ok(vec![]), "nobody asks it");
}
