//! Inventories: paths into them, and what is different between two.

use std::collections::BTreeMap;

use grove_domain::inventory::{BadPath, Difference, MAX_PATH, Number, Path, Value, diff};
use proptest::prelude::*;

use crate::fixtures::{anything, list, number, text, tree};

fn board() -> Value {
    tree([
        ("disks", list([tree([("size", number(4)), ("kind", text("ssd"))]), tree([("size", number(9))])])),
        ("net", tree([("a/b", text("slash")), ("m~n", text("tilde")), ("*", text("star"))])),
        ("10", text("a name of digits")),
    ])
}

#[test]
fn a_path_leads_to_every_value_it_names() {
    let board = board();
    let at = |path: &str| -> Vec<String> {
        let values = Path::parse(path).unwrap();
        let values = values.select(&board);
        values.into_iter().map(|value| value.text().unwrap_or_else(|| value.kind().to_owned())).collect()
    };
    assert_eq!(at(""), ["a map"]);
    assert_eq!(at("/disks/0/size"), ["4"]);
    assert_eq!(at("/disks/*/size"), ["4", "9"]);
    assert_eq!(at("/disks/*/kind"), ["ssd"]);
    assert_eq!(at("/disks/*/*"), ["ssd", "4", "9"]);
    assert_eq!(at("/net/a~1b"), ["slash"]);
    assert_eq!(at("/net/m~0n"), ["tilde"]);
    assert_eq!(at("/net/~2"), ["star"]);
    assert_eq!(at("/net/*"), ["star", "slash", "tilde"]);
    assert_eq!(at("/10"), ["a name of digits"]);
    for nowhere in [
        "/none",
        "/disks/2/size",
        "/disks/00",
        "/disks/-1",
        "/disks/+1",
        "/disks/size",
        "/10/*",
        "/",
        "/net/",
    ] {
        assert!(at(nowhere).is_empty(), "{nowhere}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    assert_eq!(Path::parse("disks"), Err(BadPath::NoSlash));
    assert_eq!(Path::parse("$.disks"), Err(BadPath::NoSlash));
    for escape in ["/~", "/a~3", "/~~"] {
        assert_eq!(Path::parse(escape), Err(BadPath::Escape), "{escape}");
    }
    assert!(Path::parse(&format!("/{}", "n".repeat(MAX_PATH - 1))).is_ok());
    assert_eq!(Path::parse(&format!("/{}", "n".repeat(MAX_PATH))), Err(BadPath::TooLong(MAX_PATH + 1)));
}

fn told(before: &Value, after: &Value, most: usize) -> Vec<String> {
    let shown = |value: Option<&Value>| {
        value.map_or("-".to_owned(), |value| value.text().unwrap_or_else(|| value.kind().to_owned()))
    };
    let line = |difference: Difference<'_>| {
        format!("{}: {} -> {}", difference.path, shown(difference.before), shown(difference.after))
    };
    diff(before, after, most).into_iter().map(line).collect()
}

#[test]
fn a_difference_is_told_as_far_down_as_it_lies() {
    let before = board();
    let after = tree([
        ("disks", list([tree([("size", number(8)), ("kind", text("ssd"))])])),
        ("net", tree([("a/b", text("slash")), ("m~n", Value::Null), ("new", list([]))])),
        ("10", list([])),
    ]);
    let all = told(&before, &after, 100);
    assert_eq!(
        all,
        [
            "/10: a name of digits -> a list",
            "/disks/0/size: 4 -> 8",
            "/disks/1: a map -> -",
            "/net/~2: star -> -",
            "/net/m~0n: tilde -> null",
            "/net/new: - -> a list",
        ]
    );
    assert_eq!(told(&before, &after, 3), all[..3]);
    assert_eq!(told(&before, &after, 0), [""; 0]);
    assert_eq!(told(&number(1), &number(2), 9), [": 1 -> 2"]);
}

#[test]
fn numbers_are_kept_as_they_were_written() {
    for number in [0, 7, u64::MAX] {
        assert_eq!(Number::from(number).as_u64(), Some(number));
        assert_eq!(Number::from(number).to_string(), number.to_string());
    }
    assert_eq!(Number::from(i64::MIN).as_negative(), Some(i64::MIN));
    assert_eq!(Number::from(5i64), Number::from(5u64));
    assert_eq!(Number::real(f64::NAN), None);
    assert_eq!(Number::real(f64::NEG_INFINITY), None);
    assert_eq!(Number::real(0.5).map(|number| number.to_string()).as_deref(), Some("0.5"));
}

/// Writes a difference into a tree, by the words of its path alone.
fn write(top: &mut Value, path: &str, after: Option<&Value>) {
    let Some((_, parts)) = path.split_once('/') else {
        *top = after.cloned().unwrap();
        return;
    };
    let parts: Vec<_> =
        parts.split('/').map(|part| part.replace("~2", "*").replace("~1", "/").replace("~0", "~")).collect();
    let (last, above) = parts.split_last().unwrap();
    let mut place = top;
    for part in above {
        place = match place {
            Value::Map(map) => map.get_mut(part).unwrap(),
            Value::List(list) => list.get_mut(part.parse::<usize>().unwrap()).unwrap(),
            other => panic!("{other:?} has no {part}"),
        };
    }
    match (place, after) {
        (Value::Map(map), Some(after)) => drop(map.insert(last.clone(), after.clone())),
        (Value::Map(map), None) => drop(map.remove(last).unwrap()),
        (Value::List(list), after) => {
            let at: usize = last.parse().unwrap();
            match after {
                Some(after) if at == list.len() => list.push(after.clone()),
                Some(after) => list[at] = after.clone(),
                // Later places went first: the differences are taken from the last.
                None => drop(list.remove(at)),
            }
        }
        (other, _) => panic!("{other:?} has nothing in it"),
    }
}

proptest! {
    #[test]
    fn nothing_is_different_from_itself(a in anything()) {
        let b = a.clone();
        prop_assert_eq!(diff(&a, &b, usize::MAX), []);
    }

    /// Additions in order, then everything else from the last: the one becomes the other.
    #[test]
    fn the_differences_make_one_the_other(a in anything(), b in anything()) {
        let differences = diff(&a, &b, usize::MAX);
        prop_assert_eq!(differences.is_empty(), a == b);
        let mut made = a.clone();
        let (added, others): (Vec<_>, Vec<_>) =
            differences.iter().partition(|difference| difference.before.is_none());
        for difference in added.into_iter().chain(others.into_iter().rev()) {
            prop_assert_ne!(difference.before, difference.after);
            write(&mut made, &difference.path.to_string(), difference.after);
        }
        prop_assert_eq!(made, b);
    }

    /// A path that was written is read as itself, and one to a difference leads to it.
    #[test]
    fn paths_are_read_as_they_are_written(a in anything(), b in anything(), text in "(/(\\*|~0|~1|~2|[a-z*0-9]){0,3}){0,4}") {
        for difference in diff(&a, &b, 20) {
            let path = Path::parse(&difference.path.to_string()).unwrap();
            prop_assert_eq!(&path, &difference.path);
            prop_assert_eq!(path.select(&a).first().copied(), difference.before);
            prop_assert_eq!(path.select(&b).first().copied(), difference.after);
        }
        let path = Path::parse(&text).unwrap();
        prop_assert_eq!(&Path::parse(&path.to_string()).unwrap(), &path);
        path.select(&a);
    }

    #[test]
    fn no_text_is_too_strange_for_a_path(text in ".{0,40}") {
        let _ = Path::parse(&text);
    }
}

/// A list or map of every depth is compared and searched without harm.
#[test]
fn deep_trees_do_no_harm() {
    let deep = |levels: usize, inside: Value| {
        (0..levels).fold(inside, |below, _| Value::Map(BTreeMap::from([("a".to_owned(), below)])))
    };
    let (one, two) = (deep(64, number(1)), deep(64, number(2)));
    assert_eq!(told(&one, &two, 9), [format!("{}: 1 -> 2", "/a".repeat(64))]);
}
