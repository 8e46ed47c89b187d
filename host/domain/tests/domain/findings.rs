//! What conclusions come to, and what they contradict.

use std::sync::Arc;

use grove_domain::capability::{Capabilities, DRIFT_KEY, MAX_CAPABILITIES, MAX_KEY, MAX_VALUE, UUID_KEY};
use grove_domain::introspection::{Change, Findings, MAX_LABELS, drift, findings, named};

use crate::fixtures::{map, worker_id};

fn set(key: &str, value: &str) -> Change {
    Change::SetCapability(key.to_owned(), value.to_owned())
}

fn folded(changes: &[(&str, Change)]) -> Result<Findings, String> {
    findings(changes.iter().map(|(by, change)| ((*by).to_owned(), change.clone())))
}

#[test]
fn a_later_conclusion_takes_the_place_of_an_earlier_one() {
    let found = folded(&[
        ("inspector/linux", set("uart", "4")),
        ("inspector/linux", set("cpu", "2")),
        ("inspector/linux", Change::Label("model".to_owned(), "old".to_owned())),
        ("rule/1", set("cpu", "3")),
        ("rule/1", Change::UnsetCapability("uart".to_owned())),
        ("rule/2", set("uart", "5")),
        ("rule/2", Change::UnsetCapability("never there".to_owned())),
        ("rule/2", Change::Label("model".to_owned(), "new".to_owned())),
    ]);
    assert_eq!(
        found,
        Ok(Findings {
            capabilities: map(&[("cpu", "3"), ("uart", "5")]),
            labels: map(&[("model", "new")]),
            by: map(&[("cpu", "rule/1"), ("uart", "rule/2")]),
        })
    );
    assert_eq!(folded(&[]), Ok(Findings::default()));
}

#[test]
fn whoever_concludes_what_cannot_be_is_named() {
    let refused =
        |change: Change| folded(&[("inspector/a", set("x", "1")), ("inspector/b", change)]).unwrap_err();
    assert_eq!(refused(Change::Fail("no disk".to_owned())), "inspector/b: no disk");
    for key in [UUID_KEY, DRIFT_KEY] {
        let words = format!("inspector/b: {key} is the farm's own capability");
        assert_eq!(refused(set(key, "1")), words);
        assert_eq!(refused(Change::UnsetCapability(key.to_owned())), words);
    }
    assert_eq!(refused(set("", "1")), "inspector/b: a name is empty");
    assert_eq!(refused(Change::Label(String::new(), String::new())), "inspector/b: a name is empty");
    let long = "k".repeat(MAX_KEY + 1);
    assert_eq!(refused(set(&long, "")), "inspector/b: a name has 129 bytes: at most 128 are accepted");
    let value = "v".repeat(MAX_VALUE + 1);
    assert_eq!(
        refused(set("k", &value)),
        "inspector/b: the value of k has 1025 bytes: at most 1024 are accepted"
    );
    assert!(folded(&[("a", set(&long[1..], &value[1..]))]).is_ok());
    assert!(
        folded(&[("a", Change::Label(UUID_KEY.to_owned(), String::new()))]).is_ok(),
        "a label is no capability"
    );
}

#[test]
fn findings_are_limited() {
    let numbered =
        |count: usize| (0..count).map(|number| ("rule/1".to_owned(), set(&number.to_string(), "")));
    assert!(findings(numbered(MAX_CAPABILITIES)).is_ok());
    let more = findings(numbered(MAX_CAPABILITIES + 1));
    assert_eq!(more, Err("rule/1: more than 256 capabilities were found".to_owned()));
    let labels = |count: usize| {
        (0..count).map(|number| ("rule/1".to_owned(), Change::Label(number.to_string(), String::new())))
    };
    assert!(findings(labels(MAX_LABELS)).is_ok());
    assert_eq!(findings(labels(MAX_LABELS + 1)), Err("rule/1: more than 256 labels were set".to_owned()));
}

#[test]
fn drift_is_what_contradicts_a_promise() {
    let capabilities = |agent, introspected, admin| {
        Capabilities::new(
            worker_id(1),
            Arc::new(map(agent)),
            Arc::new(map(introspected)),
            Arc::new(map(admin)),
        )
    };
    let before = capabilities(
        &[("agent says", "1"), ("agent overruled", "1"), ("agent untouched", "1")],
        &[
            ("same", "1"),
            ("other", "1"),
            ("gone", "1"),
            ("admin over it", "1"),
            ("gone below admin", "1"),
            (DRIFT_KEY, "x"),
        ],
        &[
            ("agent overruled", "2"),
            ("admin over it", "2"),
            ("gone below admin", "2"),
            ("admin untouched", "1"),
        ],
    );
    let found = map(&[
        ("agent says", "2"),
        ("agent overruled", "2"),
        ("same", "1"),
        ("other", "2"),
        ("admin over it", "1"),
        ("new", "1"),
    ]);
    let drift_found = drift(&before, &found);
    let told: Vec<_> = drift_found
        .iter()
        .map(|drift| {
            format!("{}: {} -> {}", drift.key, drift.promised, drift.found.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "admin over it: 2 -> 1",
            "agent says: 1 -> 2",
            "gone: 1 -> -",
            "gone below admin: 2 -> -",
            "other: 1 -> 2",
        ]
    );
    assert_eq!(named(&drift_found).as_deref(), Some("admin over it,agent says,gone,gone below admin,other"));

    let fresh = capabilities(&[], &[], &[]);
    assert_eq!(drift(&fresh, &found), [], "what nobody promised is no drift");
    assert_eq!(named(&[]), None);
    let again = before.with_introspected(worker_id(1), Arc::new(map(&[("new", "1")])));
    assert_eq!(again.effective()["new"], "1");
    assert_eq!(again.effective()["admin over it"], "2");
}
