//! The forms that travel.

use grove_wire::plugin::{PickError, SwapPlugin, VersionChoice, is_digest};
use grove_wire::request::{NewRequest, PatchRequest};
use grove_wire::worker::{MoveWorker, PatchWorker, PutWorker};
use grove_wire::{Code, Error, ErrorKind, Problem, Span};
use proptest::prelude::*;

#[test]
fn spans_read_and_print() {
    for (text, seconds, printed) in [
        ("90s", 90, "1m30s"),
        ("30m", 1800, "30m"),
        ("1h30m", 5400, "1h30m"),
        ("2d", 172_800, "2d"),
        ("0s", 0, "0s"),
        ("1d1h1m1s", 90_061, "1d1h1m1s"),
        ("3660d", 316_224_000, "3660d"),
        ("3600s", 3600, "1h"),
    ] {
        let span: Span = text.parse().unwrap();
        assert_eq!((span.as_secs(), span.to_string().as_str()), (seconds, printed), "{text}");
    }
}

#[test]
fn spans_that_are_none() {
    let errors: Vec<String> =
        ["", "90", "h", "1x", "1s1h", "1h1h", "-1s", "1.5h", "1h ", "3661d", "99999999999999999999s", "١s"]
            .into_iter()
            .map(|text| text.parse::<Span>().unwrap_err().to_string())
            .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    an empty text is not a duration; write it like 90s, 30m, 1h30m or 2d
    "90" lacks a unit; write it like 90s, 30m, 1h30m or 2d
    "h" is not a duration; write it like 90s, 30m, 1h30m or 2d
    "1x" is not a duration; write it like 90s, 30m, 1h30m or 2d
    "1s1h" must name each of d, h, m, s at most once, from large to small
    "1h1h" must name each of d, h, m, s at most once, from large to small
    "-1s" is not a duration; write it like 90s, 30m, 1h30m or 2d
    "1.5h" is not a duration; write it like 90s, 30m, 1h30m or 2d
    "1h " is not a duration; write it like 90s, 30m, 1h30m or 2d
    "3661d" is longer than 3660d
    "99999999999999999999s" is longer than 3660d
    "١s" is not a duration; write it like 90s, 30m, 1h30m or 2d
    "#);
}

proptest! {
    #[test]
    fn a_span_survives_its_text(seconds in 0..=316_224_000_u64) {
        let span = Span::from_secs(seconds).unwrap();
        prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
    }

    #[test]
    fn no_text_upsets_the_parser(text in ".*") {
        let _ = text.parse::<Span>();
    }
}

#[test]
fn null_and_absent_are_two_things_in_a_patch() {
    let patch: PatchWorker = serde_json::from_str(r#"{"groups":null,"host":"rack2"}"#).unwrap();
    assert_eq!(patch.groups, Some(None));
    assert_eq!(patch.host, Some(Some("rack2".to_owned())));
    assert_eq!((patch.notes, patch.capabilities), (None, None));
    let text = r#"{"capabilities":{"a":"b"},"groups":null}"#;
    let patch: PatchWorker = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&patch).unwrap(), text);
}

#[test]
fn a_pin_is_set_and_taken_away() {
    let digest = "0".repeat(64);
    let patch: PatchWorker = serde_json::from_str(&format!(r#"{{"driver_version":"{digest}"}}"#)).unwrap();
    assert_eq!(patch.driver_version, Some(Some(digest)));
    let patch: PatchWorker = serde_json::from_str(r#"{"driver_version":null}"#).unwrap();
    assert_eq!(patch, PatchWorker { driver_version: Some(None), ..PatchWorker::default() });
}

#[test]
fn versions_are_picked_by_what_people_write() {
    let digest = |start: &str| format!("{start:f<64}");
    let versions = [
        (digest("0123456789"), "1.0.0".to_owned()),
        (digest("0123459999"), "1.1.0".to_owned()),
        (digest("abcdef"), "2.0.0".to_owned()),
        (digest("123456"), "2.0.0".to_owned()),
        // Its number could begin a digest, and does.
        (digest("77"), "123456".to_owned()),
    ];
    let pick = |text: &str| {
        let choice: VersionChoice = text.parse().unwrap();
        let picked = choice.pick(&versions, |(digest, version)| (digest, version));
        picked.map(|picked| versions.iter().position(|version| version == picked).unwrap())
    };
    assert_eq!(pick("1.1.0"), Ok(1));
    assert_eq!(pick("01234567"), Ok(0));
    assert_eq!(pick(&versions[1].0), Ok(1));
    assert_eq!(pick("123456"), Ok(4));
    assert_eq!(pick("1234567"), Err(PickError::None));
    assert_eq!(pick("012345"), Err(PickError::Several));
    assert_eq!(pick("2.0.0"), Err(PickError::Several));
    assert_eq!(pick("abcde"), Err(PickError::None));
    for text in ["", " 1.0.0", "1.0.0\n", &"1".repeat(129)] {
        assert!(text.parse::<VersionChoice>().is_err(), "{text:?}");
    }
    assert!(is_digest(&versions[0].0) && !is_digest("0123") && !is_digest(&"A".repeat(64)));
    assert_eq!(serde_json::from_str::<SwapPlugin>(r#"{"to":"1.0.0"}"#).unwrap().to.as_str(), "1.0.0");
    assert!(serde_json::from_str::<SwapPlugin>(r#"{"to":""}"#).is_err());
}

#[test]
fn bodies_refuse_what_they_do_not_know() {
    for error in [
        serde_json::from_str::<PutWorker>(r#"{"driver":"ssh","color":"red"}"#).unwrap_err(),
        serde_json::from_str::<PatchWorker>(r#"{"driver":"ssh"}"#).unwrap_err(),
        serde_json::from_str::<MoveWorker>(r#"{"state":"idle","froce":true}"#).unwrap_err(),
        serde_json::from_str::<NewRequest>(r#"{"owner":"root"}"#).unwrap_err(),
        serde_json::from_str::<PatchRequest>(r#"{"state":"done"}"#).unwrap_err(),
        serde_json::from_str::<SwapPlugin>(r#"{"version":"1.0.0"}"#).unwrap_err(),
    ] {
        assert!(error.to_string().starts_with("unknown field"), "{error}");
    }
}

#[test]
fn what_is_left_out_of_a_request_has_its_default() {
    let request: NewRequest = serde_json::from_str("{}").unwrap();
    assert_eq!(request, NewRequest::default());
    assert_eq!(request.priority, 8);
}

#[test]
fn codes_are_stable() {
    let table: String = Code::ALL
        .iter()
        .map(|code| format!("{} {} {}\n", code.status(), code.name(), code.title()))
        .collect();
    insta::assert_snapshot!(table);
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.name()), Some(*code));
        assert!(code.cause().ends_with('.') && code.remedy().ends_with('.'), "{code:?}");
    }
}

#[test]
fn a_problem_as_sent() {
    let problem = Problem::new(Code::WorkerRuns, "request 42 runs on it").hint("close request 42 first");
    let text = serde_json::to_string_pretty(&problem).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "type": "/errors/worker_runs",
      "title": "The worker is running a job",
      "status": 409,
      "code": "worker_runs",
      "detail": "request 42 runs on it",
      "hint": "close request 42 first"
    }
    "#);
    assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
}

#[test]
fn every_code_is_of_a_kind_and_newer_ones_are_of_their_status() {
    let kinds: String = Code::ALL
        .iter()
        .map(|code| format!("{:?} {}\n", Error::new(*code, "").kind(), code.name()))
        .collect();
    insta::assert_snapshot!(kinds);
    let newer =
        |status| Problem { status, code: "of_the_future".to_owned(), ..Problem::new(Code::NoRoute, "x") };
    for (status, kind) in [
        (400, ErrorKind::Invalid),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Conflict),
        (412, ErrorKind::PreconditionFailed),
        (418, ErrorKind::Invalid),
        (429, ErrorKind::Exhausted),
        (500, ErrorKind::Internal),
        (503, ErrorKind::Unavailable),
    ] {
        let error = Error::from(newer(status));
        assert_eq!(
            (error.kind(), error.code(), error.known_code()),
            (kind, "of_the_future", None),
            "{status}"
        );
        assert!(error.is_refused());
    }
}

#[test]
fn an_error_is_what_is_public_and_its_cause_is_not_sent() {
    use Code::{Interrupted, Overloaded, Stopping, Unavailable, Unreachable};

    let cause = std::io::Error::other("disk 7");
    let error = Error::new(Unavailable, "").with_hint("wait").because(cause);
    assert_eq!(error.to_string(), "The farm is not available now", "without a message, its title");
    assert_eq!((error.code(), error.hint(), error.field()), ("unavailable", Some("wait"), None));
    assert!(error.is_unavailable() && error.is_transient() && error.is_refused() && !error.is_not_found());
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk 7");
    assert!(!serde_json::to_string(error.problem()).unwrap().contains("disk 7"));
    let local = [Unreachable, Interrupted, Code::NotAFarm, Code::InvalidAddress];
    for code in Code::ALL {
        assert_eq!(Error::new(*code, "").is_refused(), !local.contains(code), "{code:?}");
    }
    let transient: Vec<_> = Code::ALL.iter().filter(|code| Error::new(**code, "").is_transient()).collect();
    assert_eq!(transient, [&Unavailable, &Stopping, &Overloaded, &Unreachable, &Interrupted]);
}
