use insta::assert_snapshot;
use serde_json::json;

use crate::kit::{BOARD, Farm, Home, ago, grove, help, told};

#[test]
fn help_says() {
    assert_snapshot!(help(&["why"]), @"
    Say why a request waits, or ended as it did

    Usage: grove why [OPTIONS] <REQUEST>

    Arguments:
      <REQUEST>  Number of the request [env: GROVE_REQUEST]

    Options:
      -h, --help     Print help
      -V, --version  Print version

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
fn reasons() {
    let farm = Farm::new();
    let reasons = json!([
        {"code": "no_idle_worker", "text": "2 workers match, both running jobs", "worker": null, "until": null},
        {"code": "policy", "text": "kept for the nightly run", "worker": BOARD, "until": "2026-01-31T12:00:00Z"},
    ]);
    farm.on("GET /api/v2/requests/42/why", 200, reasons.clone());
    let home = Home::new();
    let output = home.command(&farm, &["why"]).env("GROVE_REQUEST", "42").output().unwrap();
    let text = told(&farm, &output);
    let (text, _) = text.rsplit_once(" (").unwrap();
    assert_snapshot!(text, @"
    2 workers match, both running jobs
    kept for the nightly run (worker 01900000-0000-7000-8000-000000000001), until 2026-01-31T12:00:00Z
    ");
    let json = grove(&farm, &["why", "42", "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), reasons);
}

#[test]
fn times_are_told_from_now() {
    let farm = Farm::new();
    let reason =
        json!([{"code": "not_yet_valid", "text": "not yet", "worker": null, "until": ago("-2h30m30s")}]);
    farm.on("GET /api/v2/requests/42/why", 200, reason);
    let text = grove(&farm, &["why", "42"]);
    assert!(text.ends_with("(in 2h 30m)\n"), "{text}");
}

#[test]
fn what_the_text_tells_is_not_told_twice() {
    let farm = Farm::new();
    let until = ago("-2h30m30s");
    let text = format!("its job runs on worker {BOARD} until {until}");
    let reason = json!([{"code": "running", "text": text, "worker": BOARD, "until": until}]);
    farm.on("GET /api/v2/requests/42/why", 200, reason);
    assert_eq!(grove(&farm, &["why", "42"]), format!("{text} (in 2h 30m)\n"));
}

#[test]
fn no_reason() {
    let farm = Farm::new();
    farm.on("GET /api/v2/requests/42/why", 200, json!([]));
    assert_snapshot!(grove(&farm, &["why", "42"]), @"
    --- stderr
    the farm gives no reason
    ");
}

#[test]
fn which_request_must_be_said() {
    assert_snapshot!(grove(&Farm::new(), &["why"]), @"
    --- stderr
    error: the following required arguments were not provided:
      <REQUEST>

    Usage: grove why --server <URL> <REQUEST>

    For more information, try '--help'.
    --- exit status: 2
    ");
}
