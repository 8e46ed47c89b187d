//! The grammar of terms: what they mean, what is refused, and a second, naive reading to compare with.

use std::collections::BTreeMap;

use grove_domain::capability::Map;
use grove_domain::wants::{Term, Wants};
use proptest::prelude::*;

/// Checks `term` against offers: `Some(value)` of its capability, or none at all.
fn check(term: &str, holds_for: &[Option<&str>], not_for: &[Option<&str>]) {
    let parsed = Term::parse(term).unwrap_or_else(|error| panic!("{term}: {error}"));
    assert_eq!(parsed.as_str(), term);
    assert_eq!(parsed.to_string(), term);
    assert_eq!(Term::parse(parsed.as_str()).unwrap(), parsed);
    let offers = |value: &Option<&str>| {
        let mut map = Map::from([("unrelated".to_owned(), "2".to_owned())]);
        map.extend(value.map(|value| (parsed.key().to_owned(), value.to_owned())));
        map
    };
    for value in holds_for {
        assert!(parsed.matches(&offers(value)), "{term} should hold for {value:?}");
    }
    for value in not_for {
        assert!(!parsed.matches(&offers(value)), "{term} should not hold for {value:?}");
    }
}

#[test]
fn presence_looks_at_the_key_alone() {
    check("camera", &[Some("yes"), Some("no"), Some("")], &[None]);
    check("!camera", &[None], &[Some("yes"), Some("")]);
    check(" ! camera ", &[None], &[Some("yes")]);
}

#[test]
fn equality_is_of_text() {
    check("board=rpi4", &[Some("rpi4"), Some(" rpi4 ")], &[None, Some("rpi40"), Some("RPI4"), Some("")]);
    check("firmware=1.10", &[Some("1.10")], &[Some("1.1"), Some("1.100")]);
    check("serial=007", &[Some("007")], &[Some("7")]);
    check("name=My Board", &[Some("My Board")], &[Some("MyBoard")]);
    check("path=/dev/ttyS0", &[Some("/dev/ttyS0")], &[Some("/dev/ttyS1")]);
    check("a = b", &[Some("b")], &[Some(" = b")]);
    check("a=b=c", &[Some("b=c")], &[Some("b")]);
}

#[test]
fn lists_on_both_sides_meet_in_one_value() {
    check(
        "baud=57600,115200",
        &[Some("57600"), Some("9600,115200"), Some("57600, 9600")],
        &[Some("9600"), None],
    );
    check("baud=57600", &[Some("9600,57600")], &[Some("9600,576000")]);
    check("lab!=berlin", &[None, Some("paris")], &[Some("berlin"), Some("paris,berlin")]);
    check("lab!=berlin,paris", &[None, Some("rome")], &[Some("berlin"), Some("paris")]);
}

#[test]
fn ranges_are_of_numbers_and_include_their_ends() {
    check(
        "uart=2..",
        &[Some("2"), Some("2.0"), Some("10"), Some("1,3"), Some("..5")],
        &[Some("1"), Some("two"), None],
    );
    check(
        "v=..5",
        &[Some("5"), Some("-3"), Some("4.."), Some("0..99")],
        &[Some("5.000000000000000001"), Some("6..")],
    );
    check(
        "voltage=2.9..3.6",
        &[Some("3.3"), Some("2.9"), Some("3.60"), Some("1.8..3.0")],
        &[Some("3.7"), Some("3.61..5")],
    );
    check("t=-40..-10", &[Some("-40"), Some("-10.0")], &[Some("10"), Some("-9.99")]);
    check("v=1,4..5", &[Some("1"), Some("4.5")], &[Some("2"), Some("1.0")]);
    check("v!=4..5", &[None, Some("3"), Some("x")], &[Some("4"), Some("3,5")]);
    // A number that is wanted as text lies within a range that is offered.
    check("voltage=3.3", &[Some("2.9..3.6"), Some("5,3.3..")], &[Some("3.30"), Some("3.4..3.6")]);
    check("uart>=2", &[Some("2"), Some("3")], &[Some("1")]);
    check("uart <= 4", &[Some("4"), Some("-1")], &[Some("5")]);
}

#[test]
fn an_offer_that_is_no_proper_range_is_text() {
    check("v=2..5", &[], &[Some("5..2"), Some(".."), Some("a..b"), Some("2..x")]);
}

#[test]
fn quotes_mean_the_whole_value() {
    check(r#"name="a,b""#, &[Some("a,b")], &[Some("a"), Some("b"), Some("b,a"), Some("a, b"), Some("a,b,c")]);
    check(r#"name="57600""#, &[Some("57600")], &[Some("57600,9600"), Some("1..100000")]);
    check(r#"name="""#, &[Some("")], &[None, Some(" ")]);
    check(r#"name="say \"hi\" \\o/""#, &[Some(r#"say "hi" \o/"#)], &[Some("say")]);
    check(r#"name="x" , y"#, &[Some("x"), Some("y"), Some("y,z")], &[Some("x,z")]);
    check(r#"name!="x""#, &[None, Some("x,y")], &[Some("x")]);
    check(r#""odd key!"="x""#, &[Some("x")], &[Some("y")]);
    check("\"odd key!\"", &[Some("x")], &[None]);
    check(r#"name="2..5""#, &[Some("2..5")], &[Some("3")]);
}

#[test]
fn what_is_refused_and_the_words_for_it() {
    let long = "k".repeat(129);
    let longer = format!("k={}", "v".repeat(1024));
    let refused = [
        "",
        "   ",
        "!",
        "=x",
        ",",
        "!!camera",
        "board rpi4",
        "uart>2",
        "uart < 4",
        "uart==2",
        "uart=>2",
        "uart=<2",
        "uart~=2",
        "uart~2",
        "!camera=yes",
        "!camera!=yes",
        "board=",
        "board!=",
        "board=a,",
        "board=,a",
        "board=a,,b",
        "uart>=",
        "uart>=two",
        "uart>=2,3",
        "uart>=2..4",
        "uart=2..x",
        "uart=a..b",
        "uart=..",
        "uart=5..2",
        "v=1.2..1.10",
        "v=0..1234567890123456789",
        "name=\"a",
        "name=\"a\\",
        "name=\"a\\n\"",
        "name=\"a\"b",
        "name=a\"b\"",
        "name=a\nb",
        "größe#=1",
        &long,
        &longer,
    ];
    let words: Vec<String> = refused
        .iter()
        .map(|text| {
            let error = Term::parse(text).expect_err(text);
            let shown: String = text.chars().take(20).collect();
            format!("{shown:?}: {error}")
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"));
}

#[test]
fn limits_are_inclusive() {
    assert!(Term::parse(&"k".repeat(128)).is_ok());
    assert!(Term::parse(&format!("k={}", "v".repeat(1022))).is_ok());
    assert!(Wants::parse(&vec!["camera"; 64]).is_ok());
    let error = Wants::parse(&vec!["camera"; 65]).unwrap_err();
    insta::assert_snapshot!(error, @"65 terms are wanted: at most 64 are accepted");
    let error = Wants::parse(&["camera", "uart>2"]).unwrap_err();
    insta::assert_snapshot!(error, @"term 2: unknown operator '>' at position 5: ranges include their ends, use >=");
}

#[test]
fn wants_hold_when_all_their_terms_do() {
    let map = Map::from([("board", "rpi4"), ("uart", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let holds = |terms: &[&str]| Wants::parse(terms).unwrap().matches(&map);
    assert!(holds(&[]));
    assert!(holds(&["board=rpi4", "uart=1..2", "!camera"]));
    assert!(!holds(&["board=rpi4", "uart=3.."]));
    assert!(Wants::Exact(None).matches(&map));
    assert!(Wants::Exact(Some(BTreeMap::new())).matches(&map));
}

#[test]
fn wants_describe_themselves_in_terms() {
    let terms = Wants::parse(&["board = rpi4", "!camera"]).unwrap();
    assert_eq!(terms.describe(), ["board = rpi4", "!camera"]);
    let exact = [("board", "rpi4"), ("name", "a \"b\", \\c"), ("odd key", "")];
    let exact = Wants::Exact(Some(exact.map(|(k, v)| (k.to_owned(), v.to_owned())).into()));
    assert_eq!(exact.describe(), [r#"board="rpi4""#, r#"name="a \"b\", \\c""#, r#""odd key"="""#]);
    assert_eq!(Wants::Exact(None).describe(), [""; 0]);
}

/// A naive second reading of the grammar, for terms without quotes and numbers of at most three digits a side.
mod naive {
    /// Thousandths.
    fn number(text: &str) -> Option<i64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || fraction.len() > 3 || !fraction.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let bare = whole.strip_prefix('-').unwrap_or(whole);
        if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        let thousandths: i64 = format!("{fraction:0<3}").parse().unwrap();
        Some(sign * (bare.parse::<i64>().unwrap() * 1000 + thousandths))
    }

    fn range(text: &str) -> Option<(i64, i64)> {
        let at = text.find("..")?;
        let (low, high) = (&text[..at], &text[at + 2..]);
        let low = if low.is_empty() { i64::MIN } else { number(low)? };
        let high = if high.is_empty() { i64::MAX } else { number(high)? };
        ((low, high) != (i64::MIN, i64::MAX) && low <= high).then_some((low, high))
    }

    fn meets(wanted: &str, offered: &str) -> bool {
        let within = |number: i64, (low, high): (i64, i64)| low <= number && number <= high;
        match (range(wanted), range(offered)) {
            (Some(one), Some(two)) => one.0.max(two.0) <= one.1.min(two.1),
            (Some(range), None) => number(offered).is_some_and(|number| within(number, range)),
            (None, Some(range)) => number(wanted).is_some_and(|number| within(number, range)),
            (None, None) => wanted == offered,
        }
    }

    pub(super) fn any_meets(wanted: &str, offered: Option<&str>) -> bool {
        let Some(offered) = offered else { return false };
        wanted.split(',').any(|wanted| offered.split(',').any(|offered| meets(wanted, offered)))
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (-4i32..5).prop_map(|n| n.to_string()),
        (-4i32..5, 0u32..20).prop_map(|(n, f)| format!("{n}.{f}")),
        Just("03".to_owned()),
    ]
}

fn range() -> impl Strategy<Value = String> {
    prop_oneof![
        (number(), number()).prop_map(|(low, high)| format!("{low}..{high}")),
        number().prop_map(|low| format!("{low}..")),
        number().prop_map(|high| format!("..{high}")),
    ]
}

fn list() -> impl Strategy<Value = String> {
    let value = prop_oneof![number(), range(), "[abc]{1,2}".prop_map(String::from)];
    prop::collection::vec(value, 1..4).prop_map(|values| values.join(","))
}

proptest! {
    #[test]
    fn terms_hold_as_the_naive_reading_says(wanted in list(), offered in prop::option::of(list())) {
        let offer: Map = offered.iter().map(|value| ("k".to_owned(), value.clone())).collect();
        let equal = Term::parse(&format!("k={wanted}"));
        let unequal = Term::parse(&format!("k!={wanted}"));
        // Only ranges that are empty are refused here.
        prop_assert_eq!(equal.is_ok(), unequal.is_ok());
        let (Ok(equal), Ok(unequal)) = (equal, unequal) else { return Ok(()) };
        let expected = naive::any_meets(&wanted, offered.as_deref());
        prop_assert_eq!(equal.matches(&offer), expected);
        prop_assert_eq!(unequal.matches(&offer), !expected);
    }

    #[test]
    fn at_least_and_at_most_are_ranges(n in number(), offered in list()) {
        let offer = Map::from([("k".to_owned(), offered)]);
        let holds = |text: String| Term::parse(&text).unwrap().matches(&offer);
        prop_assert_eq!(holds(format!("k>={n}")), holds(format!("k={n}..")));
        prop_assert_eq!(holds(format!("k<={n}")), holds(format!("k=..{n}")));
    }

    #[test]
    fn any_text_is_a_term_or_a_polite_refusal(text in "\\PC{0,40}") {
        match Term::parse(&text) {
            Ok(term) => {
                prop_assert_eq!(term.as_str(), &text);
                term.matches(&Map::new());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn nearly_terms_never_panic(text in "[ab!=<>,.\"\\\\0-9 é-]{0,16}") {
        if let Ok(term) = Term::parse(&text) {
            term.matches(&Map::from([("a".to_owned(), "1".to_owned())]));
        }
    }

    #[test]
    fn exact_wants_mean_what_they_describe(
        wanted in prop::collection::btree_map("[a-c \"é]{0,2}", "[a-c,.\"\\\\ 0-9\n]{0,4}", 0..3),
        offered in prop::collection::btree_map("[a-c \"é]{0,2}", "[a-c,.\"\\\\ 0-9\n]{0,4}", 0..6),
        honest in any::<bool>(),
    ) {
        let mut offered = offered;
        if honest {
            offered.extend(wanted.clone());
        }
        let exact = Wants::Exact(Some(wanted));
        let terms = Wants::parse(&exact.describe()).unwrap();
        prop_assert_eq!(exact.matches(&offered), terms.matches(&offered));
        prop_assert!(!honest || exact.matches(&offered));
    }
}
