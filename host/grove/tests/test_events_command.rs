use std::io::{BufRead, BufReader};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{BOARD, Farm, Home, calls, grove, help, items, signal};

fn event(seq: u64, before: Option<&str>, after: Option<&str>, note: Option<&str>) -> Value {
    json!({
        "seq": seq, "at": "2026-01-31T12:00:00.123456Z", "actor": "user:ann", "kind": "worker.state",
        "subject": format!("worker/{BOARD}"), "before": before, "after": after, "note": note,
    })
}

fn frames(seqs: &[u64]) -> String {
    let frame = |seq: &u64| {
        format!("id: {seq}\nevent: worker.state\ndata: {}\n\n", event(*seq, None, Some("idle"), None))
    };
    seqs.iter().map(frame).collect()
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["events"]), @"
    Show what happened, and what happens

    Usage: grove events [OPTIONS]

    Options:
      -f, --follow             Go on with what happens from now, until Ctrl-C
          --after <SEQ>        Only events after this place in the sequence
          --subject <SUBJECT>  Only about worker/UUID, request/NUMBER, task/UUID, plugin/NAME or farm
          --kind <KIND>        Only of this kind, like worker.state or request.created
          --limit <N>          How many of the newest, without --follow [default: 1000]
          --all                Every one that is kept
      -h, --help               Print help
      -V, --version            Print version

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
fn what_happened() {
    let farm = Farm::new();
    let events = [
        event(7, Some("prepare"), Some("idle"), None),
        event(8, None, Some("rack2"), None),
        event(9, Some("lab"), None, Some("moved out")),
        event(10, None, None, None),
    ];
    // The newest come first; they are shown as they happened.
    farm.on("GET /api/v2/events", 200, items(events.iter().cloned().rev().collect::<Vec<_>>()));
    assert_snapshot!(grove(&farm, &["events", "--after", "6", "--subject", &format!("worker/{BOARD}")]), @"
     7  2026-01-31T12:00:00.123Z  worker.state  worker/01900000-0000-7000-8000-000000000001  prepare -> idle  by user:ann
     8  2026-01-31T12:00:00.123Z  worker.state  worker/01900000-0000-7000-8000-000000000001  rack2  by user:ann
     9  2026-01-31T12:00:00.123Z  worker.state  worker/01900000-0000-7000-8000-000000000001  lab ->  by user:ann: moved out
    10  2026-01-31T12:00:00.123Z  worker.state  worker/01900000-0000-7000-8000-000000000001  by user:ann
    ");
    assert_snapshot!(grove(&farm, &["events", "--limit", "1", "-o", "json"]), @r#"
    {
      "items": [
        {
          "seq": 10,
          "at": "2026-01-31T12:00:00.123456Z",
          "actor": "user:ann",
          "kind": "worker.state",
          "subject": "worker/01900000-0000-7000-8000-000000000001",
          "before": null,
          "after": null,
          "note": null
        }
      ]
    }
    --- stderr
    the newest 1 of more; --all shows every one
    "#);
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/events?after=6&order=desc&subject=worker%2F01900000-0000-7000-8000-000000000001&limit=1000
    GET /api/v2/events?order=desc&limit=1
    ");
}

#[test]
fn what_is_cut_says_so_and_all_is_all() {
    let farm = Farm::new();
    let some = |seqs: [u64; 2], next: Value| json!({ "items": seqs.map(|seq| event(seq, None, Some("idle"), None)), "next": next });
    farm.on("GET /api/v2/events", 200, some([9, 8], json!("8")))
        .on("GET /api/v2/events", 200, some([9, 8], json!("8")))
        .on("GET /api/v2/events", 200, some([7, 6], Value::Null))
        .on("GET /api/v2/events", 200, some([9, 8], Value::Null));
    let cut = grove(&farm, &["events", "--limit", "2"]);
    assert!(cut.starts_with("     8  2026") && cut.contains("\n     9  2026"), "{cut}");
    assert!(cut.ends_with("--- stderr\nthe newest 2 of more; --all shows every one\n"), "{cut}");
    let all = grove(&farm, &["events", "--all"]);
    assert_eq!(
        all.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(),
        ["6", "7", "8", "9"]
    );
    assert!(!grove(&farm, &["events", "--limit", "2"]).contains("stderr"), "these are all");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/events?order=desc&limit=2
    GET /api/v2/events?order=desc&limit=1000
    GET /api/v2/events?order=desc&limit=1000&cursor=8
    GET /api/v2/events?order=desc&limit=2
    ");
}

#[test]
fn what_happens_is_followed_through_lost_connections() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/events", 200, "text/event-stream", &frames(&[7, 8])).on_text(
        "GET /api/v2/events",
        200,
        "text/event-stream",
        &frames(&[8, 9]),
    );
    let home = Home::new();
    let mut child = home.command(&farm, &["events", "-f", "-o", "json", "--after", "6"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seqs: Vec<Value> = (0..3)
        .map(|_| serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["seq"].clone())
        .collect();
    assert_eq!(seqs, [7, 8, 9]);
    signal(&child, rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"the connection was lost, and is back");
}
