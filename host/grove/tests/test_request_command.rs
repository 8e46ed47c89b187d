use insta::assert_snapshot;
use serde_json::Value;

use crate::kit::{Farm, Home, calls, ended, grove, help, items, problem, request, running, told, waiting};

#[test]
fn help_says() {
    assert_snapshot!(help(&["request"]), @"
    Wishes for boards

    Usage: grove request [OPTIONS] <COMMAND>

    Commands:
      create   Ask for a board; the job goes on until it is closed or its time is up
      list     Show requests, newest first
      show     Show one request
      close    Take the wish back, or end the job
      prolong  Let the job run longer
      update   Change a request that waits

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
    assert_snapshot!(help(&["request", "create"]), @"
    Ask for a board; the job goes on until it is closed or its time is up

    Usage: grove request create [OPTIONS] [TERM]...

    Arguments:
      [TERM]...  What the board must have: camera, !camera, board=rpi4, baud=57600,115200, uart=2..,
                 lab!=berlin; none = any

    Options:
          --for <TIME>          How long the job may run, like 90s, 30m, 1h30m [default: the farm's]
          --priority <N>        Place in the queue: 1 (first) to 16 [default: 8]
          --hint <KEY=VALUE>    For the farm's policy
          --deadline <TIME>     Not to be given a board after this: a time, or a length from now
                                [default: in a month]
          --valid-after <TIME>  Not to be given a board before this: a time, or a length from now
                                [default: now]
          --key <FILE>          Public key to get in with [default: the farm makes a pair]
          --heartbeat <TIME>    Promise a heartbeat this often: the farm closes the request after three
                                silences
          --away <TIME>         Keep the job so long after the last heartbeat [default: until three are
                                missed]
          --extend              Let the job run longer by itself for as long as it is used, up to the
                                farm's limit
          --idle <TIME>         End the job when nothing went to or from its board for so long, at least
                                1m [default: never]
      -h, --help                Print help
      -V, --version             Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["request", "list"]), @"
    Show requests, newest first

    Usage: grove request list [OPTIONS]

    Options:
          --state <STATE>    Only those in this state: waiting, in_progress, cancelled, timeout,
                             invalid, done, failed
          --owner <NAME>     Only those of this owner
          --worker <WORKER>  Only those whose job is, or was, on this worker [env: GROVE_WORKER]
          --limit <N>        How many of the newest [default: 50]
          --all              Every one
      -h, --help             Print help
      -V, --version          Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["request", "show"]), @"
    Show one request

    Usage: grove request show [OPTIONS] <REQUEST>

    Arguments:
      <REQUEST>  Number of the request [env: GROVE_REQUEST]

    Options:
          --wait     Wait until it has a board, or never will
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
    assert_snapshot!(help(&["request", "close"]), @"
    Take the wish back, or end the job

    Usage: grove request close [OPTIONS] <REQUEST>

    Arguments:
      <REQUEST>  Number of the request [env: GROVE_REQUEST]

    Options:
          --reason <REASON>  Why, for those who read it later
      -h, --help             Print help
      -V, --version          Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["request", "prolong"]), @"
    Let the job run longer

    Usage: grove request prolong [OPTIONS] <REQUEST>

    Arguments:
      <REQUEST>  Number of the request [env: GROVE_REQUEST]

    Options:
          --for <TIME>  How long it may run from now [default: as long as it was asked for, else the
                        farm's]
          --shorten     Also when it ends earlier by that than it would
      -h, --help        Print help
      -V, --version     Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["request", "update"]), @"
    Change a request that waits

    Usage: grove request update [OPTIONS] <--priority <N>|--deadline <TIME>|--valid-after <TIME>> <REQUEST>

    Arguments:
      <REQUEST>  Number of the request [env: GROVE_REQUEST]

    Options:
          --priority <N>        New place in the queue: 1 (first) to 16
          --deadline <TIME>     New latest time
          --valid-after <TIME>  New earliest time
      -h, --help                Print help
      -V, --version             Print version

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
fn create() {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests", 201, waiting(3, "2 workers match, both running jobs"));
    let home = Home::new();
    std::fs::write(home.path("me.pub"), "# mine\nssh-ed25519 AAAAme me\n").unwrap();
    let key = home.path("me.pub");
    let args = [
        "request",
        "create",
        "board=rpi4",
        "uart=2..",
        "--for",
        "1h30m",
        "--priority",
        "3",
        "--deadline",
        "2030-01-31T12:00:00Z",
        "--valid-after",
        "2030-01-30T12:00:00Z",
        "--key",
        key.to_str().unwrap(),
        "--heartbeat",
        "30s",
        "--hint",
        "why=nightly",
    ];
    let output = home.command(&farm, &args).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    42
    --- stderr
    request 42 waits at place 3: 2 workers match, both running jobs
    ");
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/requests {"wants":["board=rpi4","uart=2.."],"priority":3,"for":"1h30m","valid_after":"2030-01-30T12:00:00Z","deadline":"2030-01-31T12:00:00Z","keys":["ssh-ed25519 AAAAme me"],"heartbeat":"30s","hints":{"why":"nightly"}}"#);
    let key = &farm.calls()[0].headers["idempotency-key"];
    assert!(key.parse::<grove_wire::Uuid>().is_ok(), "{key}");
    assert_snapshot!(grove(&farm, &["request", "create", "-q"]), @"42");
}

#[test]
fn create_counts_times_from_now() {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests", 201, waiting(1, ""));
    grove(&farm, &["request", "create", "--deadline", "2h"]);
    let body: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    let deadline: jiff::Timestamp = body["deadline"].as_str().unwrap().parse().unwrap();
    let expected: jiff::Timestamp = crate::kit::ago("-2h").parse().unwrap();
    assert!(expected.duration_since(deadline).as_secs().abs() < 600, "{deadline}");
}

#[test]
fn create_of_nonsense_asks_nobody() {
    let farm = Farm::new();
    assert_snapshot!(grove(&farm, &["request", "create", "--for", "90"]), @r#"
    --- stderr
    error: invalid value '90' for '--for <TIME>': "90" lacks a unit; write it like 90s, 30m, 1h30m or 2d

    For more information, try '--help'.
    --- exit status: 2
    "#);
    assert_snapshot!(grove(&farm, &["request", "create", "--priority", "17"]), @"
    --- stderr
    error: invalid value '17' for '--priority <N>': 17 is not in 1..=16

    For more information, try '--help'.
    --- exit status: 2
    ");
    assert_snapshot!(grove(&farm, &["request", "create", "--deadline", "tomorrow"]), @"
    --- stderr
    error: invalid value 'tomorrow' for '--deadline <TIME>': expected a time like 2026-01-31T12:00:00Z, or a length from now like 2h

    For more information, try '--help'.
    --- exit status: 2
    ");
    assert_snapshot!(grove(&farm, &["request", "create", "--key", "/dev/null"]), @"
    --- stderr
    error: /dev/null holds no public key; --key takes a .pub file
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn create_refused() {
    let farm = Farm::new();
    let refused = problem(
        grove_wire::Code::InvalidWant,
        "uart=..x is no range",
        Some("write ranges like 2.., ..3 or 2..3"),
    );
    farm.on("POST /api/v2/requests", 422, refused);
    assert_snapshot!(grove(&farm, &["request", "create", "uart=..x"]), @"
    --- stderr
    error: uart=..x is no range
    hint: write ranges like 2.., ..3 or 2..3
    --- exit status: 1
    ");
}

#[test]
fn list() {
    let farm = Farm::new();
    let mut any = waiting(1, "");
    any["id"] = 43.into();
    any["wants"] = Value::Array(Vec::new());
    farm.on("GET /api/v2/requests", 200, items([any, running(&[])]));
    assert_snapshot!(grove(&farm, &["request", "list", "--state", "in_progress"]), @"
    REQUEST  STATE        SINCE   PRIORITY  PLACE  OWNER  WORKER                                WANTS
    43       waiting      1m ago  8         1      local  -                                     -
    42       in_progress  1m ago  8         -      local  01900000-0000-7000-8000-000000000001  board=rpi4 uart=2..
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/requests?order=desc&state=in_progress&limit=50");
    assert_snapshot!(grove(&farm, &["request", "list", "--state", "running"]), @"
    --- stderr
    error: invalid value 'running' for '--state <STATE>': unknown variant `running`, expected one of `waiting`, `in_progress`, `cancelled`, `timeout`, `invalid`, `done`, `failed`

    For more information, try '--help'.
    --- exit status: 2
    ");
}

#[test]
fn show() {
    let farm = Farm::new();
    farm.on("GET /api/v2/requests/42", 200, waiting(3, "2 workers match, both running jobs"))
        .on("GET /api/v2/requests/42", 200, running(&[]))
        .on("GET /api/v2/requests/42", 200, ended("failed", Some("the board does not answer"), false));
    assert_snapshot!(grove(&farm, &["request", "show", "42"]), @"
    request    42
    state      waiting
    since      1m ago
    why        2 workers match, both running jobs
    owner      local
    wants      board=rpi4
               uart=2..
    priority   8
    place      3
    for        1h
    heartbeat  every 10s
    created    1m ago
    deadline   in 30d
    ");
    assert_snapshot!(grove(&farm, &["request", "show", "42"]), @"
    request    42
    state      in_progress
    since      1m ago
    owner      local
    wants      board=rpi4
               uart=2..
    priority   8
    for        1h
    heartbeat  every 10s
    created    1m ago
    worker     01900000-0000-7000-8000-000000000001
    ends       in 56m
    access     ssh -p 20007 -o HostKeyAlias=grove-01900000-0000-7000-8000-000000000001 boruta-user@farm.example
    ");
    assert_snapshot!(grove(&farm, &["request", "show", "42"]), @"
    request    42
    state      failed
    since      1m ago
    reason     the board does not answer
    owner      local
    wants      board=rpi4
               uart=2..
    priority   8
    for        1h
    heartbeat  every 10s
    created    1m ago
    worker     01900000-0000-7000-8000-000000000001
    ");
}

#[test]
fn show_waits() {
    let farm = Farm::new();
    farm.on("GET /api/v2/requests/42", 200, waiting(2, "1 worker matches, it is running a job"))
        .on("GET /api/v2/requests/42", 200, waiting(1, "1 worker matches, it is running a job"))
        .on("GET /api/v2/requests/42", 200, running(&[]));
    let home = Home::new();
    let output =
        home.command(&farm, &["request", "show", "--wait"]).env("GROVE_REQUEST", "42").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    request    42
    state      in_progress
    since      1m ago
    owner      local
    wants      board=rpi4
               uart=2..
    priority   8
    for        1h
    heartbeat  every 10s
    created    1m ago
    worker     01900000-0000-7000-8000-000000000001
    ends       in 56m
    access     ssh -p 20007 -o HostKeyAlias=grove-01900000-0000-7000-8000-000000000001 boruta-user@farm.example
    --- stderr
    request 42 waits at place 2: 1 worker matches, it is running a job
    request 42 waits at place 1: 1 worker matches, it is running a job
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/requests/42
    GET /api/v2/requests/42?wait=10s&revision=1
    GET /api/v2/requests/42?wait=10s&revision=1
    ");
}

#[test]
fn json_is_what_the_farm_sent() {
    let farm = Farm::new();
    let sent = running(&["ssh-ed25519 AAAA"]);
    farm.on("GET /api/v2/requests/42", 200, sent.clone());
    let shown: Value = serde_json::from_str(&grove(&farm, &["request", "show", "42", "-o", "json"])).unwrap();
    assert_eq!(shown, sent);
}

#[test]
fn close() {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests/42/close", 200, request("cancelled"));
    assert_snapshot!(grove(&farm, &["request", "close", "42", "--reason", "not needed"]), @"request 42 is cancelled");
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/requests/42/close {"reason":"not needed"}"#);
}

#[test]
fn prolong() {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests/42/prolong", 200, running(&[]));
    assert_snapshot!(grove(&farm, &["request", "prolong", "42", "--for", "30m"]), @"request 42 runs on worker 01900000-0000-7000-8000-000000000001, ends in 56m");
    grove(&farm, &["request", "prolong", "42"]);
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/requests/42/prolong {"for":"30m"}
    POST /api/v2/requests/42/prolong {}
    "#);
}

#[test]
fn update() {
    let farm = Farm::new();
    farm.on("PATCH /api/v2/requests/42", 200, waiting(1, "no worker is idle"));
    assert_snapshot!(grove(&farm, &["request", "update", "42", "--priority", "1"]), @"request 42 waits at place 1: no worker is idle");
    assert_snapshot!(calls(&farm), @r#"PATCH /api/v2/requests/42 {"priority":1}"#);
    assert_snapshot!(grove(&farm, &["request", "update", "42"]), @"
    --- stderr
    error: the following required arguments were not provided:
      <--priority <N>|--deadline <TIME>|--valid-after <TIME>>

    Usage: grove request update --server <URL> <--priority <N>|--deadline <TIME>|--valid-after <TIME>> <REQUEST>

    For more information, try '--help'.
    --- exit status: 2
    ");
}
