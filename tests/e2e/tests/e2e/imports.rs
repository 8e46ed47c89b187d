//! What nobody could bring over HTTP comes in with no export either.

#![expect(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use grove_tests_kit::farm::wish;
use grove_tests_kit::{Grove, Setup, tools};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An export with one row changed, and its digest made right again; the line of that row.
fn changed(export: &str, table: &str, change: &dyn Fn(&mut Value)) -> (String, usize) {
    let mut lines: Vec<String> = export.lines().map(str::to_owned).collect();
    let begins = format!("{{\"table\":\"{table}\"");
    let at = lines.iter().position(|line| line.starts_with(&begins)).unwrap();
    let mut line: Value = serde_json::from_str(&lines[at]).unwrap();
    change(&mut line["row"]);
    lines[at] = line.to_string();
    let mut last: Value = serde_json::from_str(&lines.pop().unwrap()).unwrap();
    let mut text = lines.join("\n") + "\n";
    let digest = Sha256::digest(text.as_bytes());
    last["sha256"] = json!(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    text += &format!("{last}\n");
    (text, at + 1)
}

type Change = (&'static str, &'static str, fn(&mut Value));

const CHANGES: &[Change] = &[
    ("requests", "wants holds 5000 terms", |row| {
        let terms: Vec<_> = (0..5000).map(|number| format!("cap{number}")).collect();
        row["spec"]["wants"] = json!({ "terms": terms });
    }),
    ("requests", "heartbeat: promise one every 1s to 1d", |row| row["spec"]["heartbeat"] = json!("PT0S")),
    ("requests", "heartbeat: promise one every 1s to 1d", |row| row["spec"]["heartbeat"] = json!("PT25H")),
    ("requests", "away: it counts from the last heartbeat", |row| row["spec"]["away"] = json!("PT60S")),
    ("requests", "idle: what moves is counted by the minute", |row| row["spec"]["idle"] = json!("PT1S")),
    ("requests", "length: a job takes some time", |row| row["spec"]["length"] = json!("PT0S")),
    ("requests", "length: a job takes some time", |row| row["spec"]["length"] = json!("-PT5S")),
    ("requests", "keys: ", |row| row["spec"]["keys"] = json!(["no key"])),
    ("requests", "hints holds 17 entries", |row| {
        row["spec"]["hints"] = (0..17).map(|number| (number.to_string(), json!(""))).collect();
    }),
    ("requests", "id: 9223372036854775807 is too large", |row| row["id"] = json!(i64::MAX)),
    ("requests", "place: 9223372036854775807 is too large", |row| row["place"] = json!(i64::MAX)),
    ("workers", "revision: 9223372036854775806 is too large", |row| row["revision"] = json!(i64::MAX - 1)),
    ("workers", "generation: 9223372036854775807 is too large", |row| row["generation"] = json!(i64::MAX)),
    ("workers", "driver holds 65 bytes", |row| row["driver"] = json!("x".repeat(65))),
    ("workers", "driver_config: it must be an object", |row| row["driver_config"] = json!([1])),
    ("workers", "groups holds 65 entries", |row| row["groups"] = json!(vec!["lab"; 65])),
    ("workers", "notes holds 4097 bytes", |row| row["notes"] = json!("x".repeat(4097))),
    ("workers", "agent holds 257 entries", |row| {
        row["agent"] = (0..257).map(|number| (number.to_string(), json!(""))).collect();
    }),
    ("events", "seq: 9223372036854775807 is too large", |row| row["seq"] = json!(i64::MAX)),
    ("limits", "name: it must be a name", |row| row["name"] = json!("a\nb")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_refuses_what_the_api_refuses_and_says_in_which_line() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    farm.create_request(&wish(&["board=none"]), None).await.unwrap();
    tokio::task::block_in_place(|| tools::run(&mut grove.cli(&["limit", "set", "host", "rack", "3"])));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farm.jsonl").display().to_string();
    tokio::task::block_in_place(|| tools::run(&mut grove.cli(&["farm", "export", &file])));
    let export = std::fs::read_to_string(&file).unwrap();
    let import = || {
        let output = grove.cli(&["farm", "import", &file, "--dry-run"]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (taken, said) = tokio::task::block_in_place(import);
    assert!(taken, "{said}");
    for (table, told, change) in CHANGES {
        let (text, line) = changed(&export, table, change);
        std::fs::write(&file, text).unwrap();
        let (taken, said) = tokio::task::block_in_place(import);
        assert!(
            !taken && said.contains(told) && said.contains(&format!("line {line}: ")),
            "{table}, {told}: {said}"
        );
    }
}
