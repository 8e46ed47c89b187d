//! Rules on inventories that nobody thought of.

use grove_domain::capability::Map;
use grove_domain::id::{RuleId, Uuid};
use grove_domain::introspection::findings;
use grove_domain::inventory::{Path, Value};
use grove_domain::rule::{Action, Condition, Multiple, Rule, Source, Template, Test, apply, trial};
use proptest::prelude::*;

use crate::fixtures::{anything, at};
use crate::rule::view;

fn tests() -> impl Strategy<Value = Test> {
    let comparing = (prop::sample::select(&["eq", "ne", "lt", "le", "gt", "ge"][..]), anything());
    prop_oneof![
        comparing.prop_filter_map("compares with no scalar", |(op, value)| Test::parse(op, Some(value)).ok()),
        (prop::sample::select(&["matches", "contains"][..]), "[ab0-9.*]{0,4}")
            .prop_filter_map("no pattern", |(op, text)| Test::parse(op, Some(Value::Text(text))).ok()),
        Just(Test::parse("in-net", Some(Value::Text("10.0.0.0/8".to_owned()))).unwrap()),
        Just(Test::IsEmpty),
    ]
}

fn conditions() -> impl Strategy<Value = Condition> {
    let sources = prop::sample::select(&Source::ALL[..]);
    let multiples = prop::sample::select(&Multiple::ALL[..]);
    (sources, "(/(\\*|[ab0]|found|capabilities)){0,3}", tests(), multiples, any::<bool>()).prop_map(
        |(source, path, test, multiple, invert)| Condition {
            source,
            path: Path::parse(&path).unwrap(),
            test,
            multiple,
            invert,
        },
    )
}

fn actions() -> impl Strategy<Value = Action> {
    let names = || "[ab]";
    let templates =
        || "[a,]{0,3}(\\{data(\\[[ab0]\\]){1,2}\\})?".prop_map(|text| Template::parse(&text).unwrap());
    prop_oneof![
        1 => Just(Action::Fail { message: "no".to_owned() }),
        4 => (names(), prop::option::of(templates())).prop_map(|(name, value)| Action::SetCapability { name, value }),
        4 => (names(), templates()).prop_map(|(name, value)| Action::ExtendCapability { name, value }),
        2 => (names(), templates()).prop_map(|(name, value)| Action::SetLabel { name, value }),
        2 => names().prop_map(|name| Action::AddTrait { name }),
        2 => names().prop_map(|name| Action::RemoveTrait { name }),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let parts = (
        prop::collection::vec(conditions(), 0..3),
        prop::collection::vec(actions(), 1..4),
        prop::option::of("lab|day"),
    );
    prop::collection::vec(parts, 0..5).prop_map(|all| {
        let rule = |(place, (conditions, actions, scope)): (usize, (_, _, Option<String>))| Rule {
            id: RuleId(Uuid::from_u128(place as u128)),
            place: place as u64,
            description: String::new(),
            scope,
            conditions,
            actions,
            created: at(0),
            revision: 1,
        };
        all.into_iter().enumerate().map(rule).collect()
    })
}

fn maps() -> impl Strategy<Value = Map> {
    prop::collection::btree_map("[ab]", "[ab,]{0,3}", 0..3)
}

proptest! {
    /// Equal data gives equal results, in whatever order the rules are handed over; and each rule does together with others
    /// what it does alone, but for what it extends.
    #[test]
    fn the_same_data_has_the_same_consequences(rules in rules(), inventory in anything(), found in maps()) {
        let view = view();
        let once = apply(&rules, &inventory, &view, &found);
        prop_assert_eq!(&apply(rules.iter().rev(), &inventory, &view, &found), &once);
        match &once {
            Ok(changes) => {
                for rule in &rules {
                    let alone = trial(rule, &inventory, &view, &found);
                    let together: Vec<_> = changes.iter().filter(|(id, _)| *id == rule.id).collect();
                    prop_assert_eq!(together.len(), alone.outcome.unwrap().len());
                    prop_assert_eq!(alone.applies, !together.is_empty());
                }
                let folded = findings(changes.iter().map(|(id, change)| (format!("rule/{id}"), change.clone())));
                prop_assert!(folded.is_ok(), "{:?}", folded);
            }
            Err(failed) => {
                let rule = rules.iter().find(|rule| rule.id == failed.rule).unwrap();
                prop_assert_eq!(trial(rule, &inventory, &view, &found).outcome, Err(failed.reason.clone()));
            }
        }
    }

    #[test]
    fn no_text_is_too_strange_for_a_pattern_or_template(text in "\\PC{0,30}|[(){}\\[\\]data*+?|^$]{0,30}") {
        let _ = Template::parse(&text);
        for op in Test::OPS {
            let _ = Test::parse(op, Some(Value::Text(text.clone())));
        }
    }

    /// A pattern that matches the whole finds what a part of it finds, and no more.
    #[test]
    fn the_whole_is_a_part(pattern in "[ab|]{1,5}", text in "[ab]{0,4}") {
        let holds = |op: &str, pattern: &str| {
            let test = Test::parse(op, Some(Value::Text(pattern.to_owned()))).unwrap();
            let condition = Condition { source: Source::Data, path: Path::default(), test, multiple: Multiple::Any, invert: false };
            let rule = crate::rule::rule(vec![condition], vec![]);
            trial(&rule, &Value::Text(text.clone()), &view(), &Map::new()).applies
        };
        prop_assert_eq!(holds("matches", &pattern), pattern.split('|').any(|word| word == text));
        prop_assert_eq!(holds("contains", &pattern), pattern.split('|').any(|word| text.contains(word)));
    }
}
