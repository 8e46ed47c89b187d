//! What comes from boards, plugins and users reaches the terminal as text, whatever it is.

use grove_wire::Code;
use serde_json::{Value, json};

use crate::kit::{BOARD, Farm, Home, TASK, ago, items, job, plugin, problem, request, task, worker};

/// Sets the title, clears the screen, colours in the other control set, turns the direction, goes back, forges a line.
const DIRT: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\u{8}\u{7f}\u{85}\nhint: owned";
/// Fields that others write.
const OTHERS: [&str; 22] = [
    "reason",
    "note",
    "notes",
    "owner",
    "error",
    "text",
    "summary",
    "trouble",
    "actor",
    "host",
    "driver",
    "detail",
    "hint",
    "title",
    "board",
    "user",
    "group",
    "key",
    "level",
    "last_error",
    "private_key",
    "version",
];

/// The same from somebody who means harm.
fn dirty(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                *value = match value.take() {
                    Value::String(text) if OTHERS.contains(&name.as_str()) => Value::String(text + DIRT),
                    Value::Null
                        if ["note", "notes", "reason", "trouble", "error"].contains(&name.as_str()) =>
                    {
                        DIRT.into()
                    }
                    Value::Array(texts)
                        if ["wants", "groups", "host_keys", "grants"].contains(&name.as_str()) =>
                    {
                        texts.into_iter().chain([DIRT.into()]).collect()
                    }
                    other => dirty(other),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = dirty(item.take())),
        _ => {}
    }
    value
}

fn farm() -> Farm {
    let farm = Farm::new();
    let event = json!({
        "seq": 7, "at": "2026-01-31T12:00:00Z", "actor": "user:ann", "kind": "worker.state", "subject": "farm",
        "before": "idle", "after": format!("failed{DIRT}"), "note": "x",
    });
    let line = json!({ "n": 1, "at": "2026-01-31T12:00:00Z", "kind": "log", "level": "info", "text": DIRT });
    let mut logged = task();
    logged["log"] = json!([line]);
    let artifact = json!({
        "group": "lab", "key": "image", "size": 3, "sha256": "0".repeat(64), "created": ago("1h"), "used": ago("1h"),
    });
    let service = json!({
        "name": "store", "state": "waiting", "waits_for": [], "inputs": [], "starts": 2, "restarts": 1, "bounces": 0,
        "last_start": ago("1h"), "next_start": null, "last_error": "broke", "detail": {},
    });
    let answers = [
        ("workers".to_owned(), items([worker("failed")])),
        (format!("workers/{BOARD}"), worker("failed")),
        ("requests".to_owned(), items([request("failed")])),
        ("requests/42".to_owned(), request("failed")),
        (
            "requests/42/why".to_owned(),
            json!([{ "code": "failed", "text": "x", "worker": null, "until": null }]),
        ),
        ("jobs".to_owned(), items([job("running")])),
        ("jobs/42".to_owned(), job("running")),
        ("tasks".to_owned(), items([task()])),
        (format!("tasks/{TASK}"), logged),
        ("events".to_owned(), items([event])),
        ("plugins".to_owned(), items([plugin()])),
        ("plugins/hello".to_owned(), plugin()),
        ("artifacts".to_owned(), items([artifact])),
        ("services".to_owned(), items([service])),
    ];
    for (path, answer) in answers {
        let line = format!("GET /api/v2/{path}");
        farm.on(&line, 200, dirty(answer.clone())).on(&line, 200, dirty(answer));
    }
    farm.on("GET /api/v2/limits", 503, dirty(problem(Code::Internal, "broken", Some("wait"))));
    farm.on("GET /api/v2/limits", 503, dirty(problem(Code::Internal, "broken", Some("wait"))));
    farm
}

/// What would steer the terminal; newlines and tabs are layout.
fn steers(c: char) -> bool {
    (c.is_control() && !['\n', '\t'].contains(&c))
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn nothing_from_outside_steers_the_terminal() {
    let commands: [&[&str]; 15] = [
        &["worker", "list"],
        &["worker", "show", BOARD],
        &["request", "list"],
        &["request", "show", "42"],
        &["why", "42"],
        &["job", "show", "42"],
        &["task", "list"],
        &["task", "show", TASK],
        &["events"],
        &["plugin", "list"],
        &["plugin", "show", "hello"],
        &["artifact", "list"],
        &["services"],
        &["limit", "list"],
        &["request", "list", "--color", "always"],
    ];
    for command in commands {
        for form in ["human", "json"] {
            let coloured = command.contains(&"--color");
            let farm = farm();
            let output = Home::new().command(&farm, &[command, &["-o", form]].concat()).output().unwrap();
            let (out, err) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            let mut shown = format!("{out}{err}");
            assert!(shown.contains("owned"), "{command:?} {form} shows what came:\n{shown}");
            if coloured {
                // Red for failed, and the end of it.
                shown = shown.replace("\u{1b}[38;5;9m", "").replace("\u{1b}[39m", "");
            }
            let found = shown.chars().find(|c| steers(*c));
            assert_eq!(found, None, "{command:?} {form}:\n{}", shown.escape_debug());
            if form == "json" && !out.is_empty() {
                let value: Value = serde_json::from_str(&out).unwrap();
                assert!(value.to_string().contains(json!(DIRT).to_string().trim_matches('"')), "{command:?}");
            }
            assert!(
                command[0] != "events" || !out.contains("\nhint:"),
                "a note is no line of its own:\n{out}"
            );
        }
    }
}
