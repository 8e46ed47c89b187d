//! Conditions, one by one.

use grove_domain::inventory::{Path, Value};
use grove_domain::rule::{Comparison, Condition, Multiple, Source, Test, Verdict};

use crate::fixtures::{list, number, real, text, tree};
use crate::rule::{rule, tried};

fn condition(op: &str, value: Option<Value>, multiple: Multiple, invert: bool) -> Condition {
    let path = Path::parse("/v/*").unwrap();
    Condition { source: Source::Data, path, test: Test::parse(op, value).unwrap(), multiple, invert }
}

/// What a test says of values, one verdict each: `y`, `n`, or `?` where it cannot be told.
fn verdicts<const N: usize>(op: &str, value: Option<Value>, values: [Value; N]) -> String {
    let inventory = tree([("v", list(values))]);
    let tried = |invert| {
        let condition = condition(op, value.clone(), Multiple::Any, invert);
        tried(&rule(vec![condition], vec![]), &inventory).conditions.remove(0).values
    };
    let straight = tried(false).into_iter().map(|(_, verdict)| match verdict {
        Verdict::Holds => 'y',
        Verdict::Not => 'n',
        Verdict::Unfit(_) => '?',
    });
    let straight: String = straight.collect();
    let inverted = tried(true).into_iter().map(|(_, verdict)| match verdict {
        Verdict::Holds => 'n',
        Verdict::Not => 'y',
        Verdict::Unfit(_) => '?',
    });
    assert_eq!(inverted.collect::<String>(), straight, "{op} {value:?} turned round");
    straight
}

#[test]
fn whole_numbers_compare_with_what_can_be_made_one() {
    let values = || [number(1), number(2), number(3), real(2.9), text("2"), text(" 3 "), Value::Bool(true)];
    let all = ["eq", "ne", "lt", "le", "gt", "ge"].map(|op| verdicts(op, Some(number(2)), values()));
    assert_eq!(all, ["nynyynn", "ynynnyy", "ynnnnny", "yynyyny", "nnynnyn", "nyyyyyn"]);
    let unfit = || [text("two"), text("2.5"), text(""), Value::Null, list([number(2)]), tree([])];
    for op in ["eq", "ne", "lt", "le", "gt", "ge"] {
        assert_eq!(verdicts(op, Some(number(2)), unfit()), "??????", "{op}");
    }
    let large = [Value::Number(u64::MAX.into()), text("18446744073709551615"), real(1e300), real(-1e300)];
    assert_eq!(verdicts("eq", Some(Value::Number(u64::MAX.into())), large.clone()), "yynn");
    assert_eq!(verdicts("ge", Some(Value::Number(u64::MAX.into())), large), "yyyn");
    assert_eq!(verdicts("eq", Some(number(i64::MIN)), [number(i64::MIN), number(i64::MIN + 1)]), "yn");
}

#[test]
fn floats_compare_with_what_can_be_made_one() {
    let values = [number(2), number(3), real(2.5), text("2.5"), text("3"), Value::Bool(true), text("2e0")];
    assert_eq!(verdicts("lt", Some(real(2.5)), values.clone()), "ynnnnyy");
    assert_eq!(verdicts("ge", Some(real(2.5)), values), "nyyyynn");
    assert_eq!(verdicts("eq", Some(real(2.5)), [text("x"), text("NaN"), text("inf"), Value::Null]), "????");
}

#[test]
fn a_boolean_is_zero_or_one() {
    let values =
        [Value::Bool(true), Value::Bool(false), number(1), number(0), number(2), text("1"), text("true")];
    assert_eq!(verdicts("eq", Some(Value::Bool(true)), values), "ynynny?");
}

#[test]
fn text_compares_with_text() {
    let values = || [text("a"), text("b"), text("c"), text("B"), text("")];
    let all = ["eq", "ne", "lt", "le", "gt", "ge"].map(|op| verdicts(op, Some(text("b")), values()));
    assert_eq!(all, ["nynnn", "ynyyy", "ynnyy", "yynyy", "nnynn", "nyynn"]);
    let others = || [number(2), Value::Bool(true), Value::Null, list([]), tree([])];
    let all = ["eq", "ne", "lt", "le", "gt", "ge"].map(|op| verdicts(op, Some(text("2")), others()));
    assert_eq!(all, ["nnnnn", "yyyyy", "?????", "?????", "?????", "?????"]);
}

#[test]
fn addresses_lie_in_networks() {
    let values =
        || [text("10.1.2.3"), text("11.0.0.1"), text("fd00::1"), text("10.1.2.3/8"), text("x"), number(10)];
    assert_eq!(verdicts("in-net", Some(text("10.0.0.0/8")), values()), "ynn???");
    assert_eq!(verdicts("in-net", Some(text("10.9.9.9/8")), values()), "ynn???");
    assert_eq!(verdicts("in-net", Some(text("10.1.2.3")), values()), "ynn???");
    assert_eq!(verdicts("in-net", Some(text("fd00::/8")), values()), "nny???");
    assert_eq!(verdicts("in-net", Some(text("::/0")), [Value::Null, list([]), Value::Bool(true)]), "???");
}

#[test]
fn patterns_match_the_whole_or_a_part() {
    let values = || {
        [text("rpi"), text("rpi4"), text("a rpi"), text(""), text("rpi\n"), number(4), Value::Null, list([])]
    };
    assert_eq!(verdicts("matches", Some(text("rpi")), values()), "ynnnnn??");
    assert_eq!(verdicts("matches", Some(text("^rpi$")), values()), "ynnnnn??");
    assert_eq!(verdicts("matches", Some(text("rpi|rpi4|4")), values()), "yynnny??");
    assert_eq!(verdicts("matches", Some(text("")), values()), "nnnynn??");
    assert_eq!(verdicts("contains", Some(text("rpi")), values()), "yyynyn??");
    assert_eq!(verdicts("contains", Some(text("i$")), values()), "ynynnn??");
    assert_eq!(verdicts("contains", Some(text("(?i)RPI[0-9]")), values()), "nynnnn??");
    assert_eq!(verdicts("matches", Some(text("true|-?[0-9.]+")), [Value::Bool(true), real(-0.5)]), "yy");
}

#[test]
fn what_is_empty() {
    let values = [
        Value::Null,
        text(""),
        list([]),
        tree([]),
        text(" "),
        number(0),
        Value::Bool(false),
        list([Value::Null]),
    ];
    assert_eq!(verdicts("is-empty", None, values), "yyyynnnn");
}

/// Each kind of quantity over no, one and two values, straight and turned round. Turning round comes first.
#[test]
fn turned_round_and_over_several_values() {
    let mut table = String::new();
    let (yes, no, odd) = (number(1), number(2), Value::Null);
    let rows = [
        ("nothing", list([])),
        ("y", list([yes.clone()])),
        ("n", list([no.clone()])),
        ("?", list([odd.clone()])),
        ("y n", list([yes.clone(), no.clone()])),
        ("n y", list([no.clone(), yes.clone()])),
        ("y y", list([yes.clone(), yes.clone()])),
        ("n n", list([no.clone(), no.clone()])),
        ("y ?", list([yes.clone(), odd.clone()])),
        ("? n", list([odd.clone(), no.clone()])),
    ];
    for (name, values) in rows {
        let inventory = tree([("v", values)]);
        let cells = Multiple::ALL.into_iter().flat_map(|multiple| [(multiple, false), (multiple, true)]);
        let cells = cells.map(|(multiple, invert)| {
            let condition = condition("eq", Some(number(1)), multiple, invert);
            let tried = tried(&rule(vec![condition], vec![]), &inventory);
            assert_eq!(tried.applies, tried.conditions[0].holds);
            format!("{:5}", if tried.applies { "holds" } else { "-" })
        });
        table += &format!("{name:8}{}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    insta::assert_snapshot!(format!("        any    any!   all    all!   first  first!\n{table}"), @"
            any    any!   all    all!   first  first!
    nothing -      -      -      -      -      -
    y       holds  -      holds  -      holds  -
    n       -      holds  -      holds  -      holds
    ?       -      -      -      -      -      -
    y n     holds  holds  -      -      holds  -
    n y     holds  holds  -      -      -      holds
    y y     holds  -      holds  -      holds  -
    n n     -      holds  -      holds  -      holds
    y ?     holds  -      -      -      holds  -
    ? n     -      holds  -      -      -      -
    ");
}

#[test]
fn a_value_that_is_not_there_is_only_empty() {
    let nothing = tree([]);
    let tests = [
        ("eq", Some(text("x"))),
        ("ne", Some(text("x"))),
        ("lt", Some(number(1))),
        ("in-net", Some(text("::/0"))),
        ("matches", Some(text(".*"))),
        ("contains", Some(text(""))),
    ];
    for (op, value) in tests {
        for multiple in Multiple::ALL {
            for invert in [false, true] {
                let condition = condition(op, value.clone(), multiple, invert);
                assert!(
                    !tried(&rule(vec![condition], vec![]), &nothing).applies,
                    "{op} {multiple:?} {invert}"
                );
            }
        }
    }
    for multiple in Multiple::ALL {
        let empty = |invert| {
            let condition = condition("is-empty", None, multiple, invert);
            tried(&rule(vec![condition], vec![]), &nothing).applies
        };
        assert!(empty(false));
        assert!(!empty(true));
    }
}

#[test]
fn what_is_no_test_is_refused_when_it_is_made() {
    let refused = |op: &str, value| Test::parse(op, value).unwrap_err();
    let refusals = [
        refused("like", Some(text("x"))),
        refused("eq", None),
        refused("eq", Some(Value::Null)),
        refused("lt", Some(list([]))),
        refused("ge", Some(text(&"x".repeat(1025)))),
        refused("is-empty", Some(Value::Null)),
        refused("in-net", None),
        refused("in-net", Some(number(10))),
        refused("in-net", Some(text("10.0.0.0/33"))),
        refused("in-net", Some(text("farm.example"))),
        refused("matches", None),
        refused("matches", Some(number(4))),
        refused("matches", Some(text("(a"))),
        refused("matches", Some(text("a)|(b"))),
        refused("matches", Some(text("(?x)a # b"))),
        refused("contains", Some(text("[z-a]"))),
        refused("contains", Some(text("(a)\\1"))),
        refused("contains", Some(text("a(?=b)"))),
        refused("contains", Some(text("(\\w{1000}){1000}"))),
        refused("contains", Some(text(&"(".repeat(1000)))),
        refused("contains", Some(text(&"x".repeat(1025)))),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    "like" is none of eq, ne, lt, le, gt, ge, in-net, matches, contains, is-empty
    eq needs a value to compare with
    eq compares with text, a number or a boolean, not with null
    lt compares with text, a number or a boolean, not with a list
    1025 bytes: at most 1024 are accepted
    is-empty takes no value
    in-net needs a text as its value
    in-net needs a text, not a number
    "10.0.0.0/33" is no network such as 10.0.0.0/8
    "farm.example" is no network such as 10.0.0.0/8
    matches needs a text as its value
    matches needs a text, not a number
    the pattern cannot be read: unclosed group
    the pattern cannot be read: unopened group
    the pattern cannot be read: unclosed group
    the pattern cannot be read: invalid character class range, the start must be <= the end
    the pattern cannot be read: backreferences are not supported
    the pattern cannot be read: look-around, including look-ahead and look-behind, is not supported
    the pattern is too large when compiled
    the pattern cannot be read: unclosed group
    1025 bytes: at most 1024 are accepted
    "#);
}

#[test]
fn a_test_is_made_again_from_its_parts() {
    let tests = [
        ("eq", Some(text("x"))),
        ("ne", Some(number(-1))),
        ("lt", Some(real(0.5))),
        ("le", Some(Value::Bool(true))),
        ("gt", Some(number(1))),
        ("ge", Some(number(1))),
        ("in-net", Some(text("10.0.0.0/8"))),
        ("matches", Some(text("a.*"))),
        ("contains", Some(text("a.*"))),
        ("is-empty", None),
    ];
    assert_eq!(tests.clone().map(|(op, _)| op), Test::OPS);
    for (op, value) in tests {
        let test = Test::parse(op, value.clone()).unwrap();
        assert_eq!((test.op(), test.value()), (op, value.clone()));
        assert_eq!(Test::parse(test.op(), test.value()).unwrap(), test);
        let other = Test::parse(op, Some(text("10.0.0.0/9"))).ok();
        assert_ne!(other, Some(test));
    }
    assert_eq!(Test::parse("eq", Some(number(1))).unwrap(), Test::Compare(Comparison::Eq, number(1)));
    for source in Source::ALL {
        assert_eq!(Source::from_name(source.name()), Some(source));
    }
    for multiple in Multiple::ALL {
        assert_eq!(Multiple::from_name(multiple.name()), Some(multiple));
    }
}
