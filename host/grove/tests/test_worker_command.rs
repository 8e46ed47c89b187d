use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{
    BOARD, DIGEST, Farm, Home, NEWER, ago, calls, grove, help, items, plugin, problem, told, worker,
};

const AT_BOARD: &str = "/api/v2/workers/01900000-0000-7000-8000-000000000001";

#[test]
fn help_says() {
    assert_snapshot!(help(&["worker"]), @"
    Boards and what supervises them

    Usage: grove worker [OPTIONS] <COMMAND>

    Commands:
      list    Show workers
      show    Show one worker
      add     Register a worker, or register it anew; prints its UUID
      edit    Change the admin's part: no state changes
      groups  Say who may use it
      state   Take it to idle or maintenance
      fail    Report that it is broken: it stays out until it is wanted idle, with --force
      remove  Take it out of the farm

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
    assert_snapshot!(help(&["worker", "list"]), @"
    Show workers

    Usage: grove worker list [OPTIONS]

    Options:
          --state <STATE>  Only those in this state: maintenance, prepare, idle, running, busy, failed
          --wants <TERM>   Only those that fit this term, like board=rpi4 or uart=2..
          --group <GROUP>  Only those that this group may use
          --host <HOST>    Only those that stand here
          --driver <NAME>  Only those of this driver
      -h, --help           Print help
      -V, --version        Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["worker", "show"]), @"
    Show one worker

    Usage: grove worker show [OPTIONS] <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

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
    assert_snapshot!(help(&["worker", "add"]), @"
    Register a worker, or register it anew; prints its UUID

    Usage: grove worker add [OPTIONS] --driver <NAME> [WORKER]

    Arguments:
      [WORKER]  UUID of the worker [default: a new one] [env: GROVE_WORKER]

    Options:
          --driver <NAME>    Driver for this kind of board
          --config <CONFIG>  The driver's configuration: KEY=VALUE (value: JSON, else text), @FILE.json
                             or a JSON object; later ones win
          --cap <KEY=VALUE>  What the board can do [default: nothing, or as it was]
          --no-caps          The board can do nothing, whatever was said before
          --group <GROUP>    Who may use it [default: everyone, or as it was]
          --host <HOST>      Where it stands: tasks of one host share a limit
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
    assert_snapshot!(help(&["worker", "edit"]), @"
    Change the admin's part: no state changes

    Usage: grove worker edit [OPTIONS] <--cap <KEY=VALUE>|--no-cap <KEY>|--host <HOST>|--notes <TEXT>|--driver-version <VERSION>> <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

    Options:
          --cap <KEY=VALUE>           Set a capability: it wins over what the board says of itself
          --no-cap <KEY>              Take back a capability that was set so
          --host <HOST>               Where it stands; empty = nowhere
          --notes <TEXT>              Remarks; empty = none
          --driver-version <VERSION>  Pin it to a version of its driver: a digest, 6 characters or more
                                      of that, or a number; empty = whichever is active
      -h, --help                      Print help
      -V, --version                   Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["worker", "groups"]), @"
    Say who may use it

    Usage: grove worker groups [OPTIONS] <--group <GROUP>|--everyone> <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

    Options:
          --group <GROUP>  A group that may use it
          --everyone       Everyone may use it
      -h, --help           Print help
      -V, --version        Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["worker", "state"]), @"
    Take it to idle or maintenance

    Usage: grove worker state [OPTIONS] <STATE> [WORKER]

    Arguments:
      <STATE>   Where it shall go: ready for jobs, or in the admin's hands [possible values: idle,
                maintenance]
      [WORKER]  UUID of the worker [env: GROVE_WORKER]

    Options:
          --host <HOST>  All that stand here
          --force        idle: also from failed; maintenance: also when a job runs on it, which ends
          --when-free    maintenance: when no job runs on it any more; `grove worker state idle` calls
                         that off
      -h, --help         Print help
      -V, --version      Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]
    ");
    assert_snapshot!(help(&["worker", "fail"]), @"
    Report that it is broken: it stays out until it is wanted idle, with --force

    Usage: grove worker fail [OPTIONS] --reason <REASON> <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

    Options:
          --reason <REASON>  What is wrong with it
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
    assert_snapshot!(help(&["worker", "remove"]), @"
    Take it out of the farm

    Usage: grove worker remove [OPTIONS] <WORKER>

    Arguments:
      <WORKER>  UUID of the worker [env: GROVE_WORKER]

    Options:
          --force    From every state; a job that runs on it ends
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
fn list() {
    let farm = Farm::new();
    let mut taken = worker("running");
    taken["job"] = json!({"id": 42, "open": true});
    taken["groups"] = json!([]);
    taken["host"] = Value::Null;
    farm.on("GET /api/v2/workers", 200, items([worker("idle"), taken]));
    assert_snapshot!(grove(&farm, &["worker", "list", "--state", "idle"]), @"
    WORKER                                STATE    SINCE   DRIVER  HOST   GROUPS  JOB  CAPABILITIES
    01900000-0000-7000-8000-000000000001  idle     3m ago  ssh     rack2  lab     -    board=rpi4 uart=2
    01900000-0000-7000-8000-000000000001  running  3m ago  ssh     -      -       42   board=rpi4 uart=2
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/workers?state=idle&limit=1000");
}

#[test]
fn list_of_nothing() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([]));
    assert_snapshot!(grove(&farm, &["worker", "list"]), @"
    --- stderr
    no workers
    ");
    assert_snapshot!(grove(&farm, &["worker", "list", "-q"]), @"");
    assert_snapshot!(grove(&farm, &["worker", "list", "-o", "json"]), @r#"
    {
      "items": []
    }
    "#);
}

#[test]
fn json_is_what_the_farm_sent() {
    let farm = Farm::new();
    let sent = worker("idle");
    farm.on("GET /api/v2/workers", 200, items([sent.clone()])).on(
        &format!("GET {AT_BOARD}"),
        200,
        sent.clone(),
    );
    let shown: Value = serde_json::from_str(&grove(&farm, &["-o", "json", "worker", "list"])).unwrap();
    assert_eq!(shown, json!({"items": [sent]}));
    let shown: Value = serde_json::from_str(&grove(&farm, &["worker", "show", BOARD, "-o", "json"])).unwrap();
    assert_eq!(shown, sent);
}

#[test]
fn show() {
    let farm = Farm::new();
    farm.on(&format!("GET {AT_BOARD}"), 200, worker("idle"));
    let home = Home::new();
    let output = home.command(&farm, &["worker", "show"]).env("GROVE_WORKER", BOARD).output().unwrap();
    assert_snapshot!(told(&farm, &output), @r#"
    worker          01900000-0000-7000-8000-000000000001
    state           idle
    since           3m ago
    health          well, checked 1m ago
    driver          ssh
    configuration   {"host":"10.0.0.7","port":22}
    host            rack2
    groups          lab
    capabilities    board=rpi4 uart=2
      of the board  board=rpi3 uart=2
      of the admin  board=rpi4
    "#);
}

#[test]
fn show_a_broken_one() {
    let farm = Farm::new();
    let mut broken = worker("failed");
    broken["reason"] = "the board does not answer".into();
    broken["health"] = json!({"ok": false, "checked_at": ago("2h30m30s"), "note": "no route to host"});
    broken["recovery"] =
        json!({"relapses": 1, "attempts": 2, "recheck_at": ago("-3m30s"), "quarantined": false});
    broken["task"] = json!({"id": crate::kit::TASK, "kind": "recheck"});
    farm.on(&format!("GET {AT_BOARD}"), 200, broken.clone());
    assert_snapshot!(grove(&farm, &["worker", "show", BOARD]), @r#"
    worker          01900000-0000-7000-8000-000000000001
    state           failed
    since           3m ago
    reason          the board does not answer
    recovery        checked again in 3m
    task            recheck 01900000-0000-7000-8000-00000000000a
    health          not well, checked 2h 30m ago: no route to host
    driver          ssh
    configuration   {"host":"10.0.0.7","port":22}
    host            rack2
    groups          lab
    capabilities    board=rpi4 uart=2
      of the board  board=rpi3 uart=2
      of the admin  board=rpi4
    "#);
    broken["recovery"]["quarantined"] = true.into();
    let farm = Farm::new();
    farm.on(&format!("GET {AT_BOARD}"), 200, broken);
    let text = grove(&farm, &["worker", "show", BOARD]);
    assert!(text.contains(&format!("none until `grove worker state idle --force {BOARD}`")), "{text}");
}

#[test]
fn add() {
    let farm = Farm::new();
    farm.on(&format!("PUT {AT_BOARD}"), 201, worker("maintenance"));
    let args = [
        "worker",
        "add",
        BOARD,
        "--driver",
        "ssh",
        "--config",
        r#"{"host":"10.0.0.1"}"#,
        "--config",
        "host=10.0.0.7",
        "--config",
        "port=22",
        "--cap",
        "board=rpi4",
        "--cap",
        "uart=2",
        "--group",
        "lab",
        "--host",
        "rack2",
    ];
    assert_snapshot!(grove(&farm, &args), @"
    01900000-0000-7000-8000-000000000001
    --- stderr
    worker 01900000-0000-7000-8000-000000000001 is in maintenance
    `grove worker state idle 01900000-0000-7000-8000-000000000001` makes it ready for jobs
    ");
    assert_snapshot!(calls(&farm), @r#"PUT /api/v2/workers/01900000-0000-7000-8000-000000000001 {"driver":"ssh","driver_config":{"host":"10.0.0.7","port":22},"capabilities":{"board":"rpi4","uart":"2"},"groups":["lab"],"host":"rack2"}"#);
    // What nothing is said of stays as it was.
    for (more, sent) in [(None, ""), (Some("--no-caps"), r#","capabilities":{}"#)] {
        let farm = Farm::new();
        farm.on(&format!("PUT {AT_BOARD}"), 200, worker("maintenance"));
        let mut args = vec!["worker", "add", BOARD, "--driver", "ssh", "--config", "host=a"];
        args.extend(more);
        grove(&farm, &args);
        let body = format!(r#"{{"driver":"ssh","driver_config":{{"host":"a"}}{sent}}}"#);
        assert_eq!(farm.calls()[0].body, body);
    }
}

#[test]
fn add_makes_a_uuid() {
    let farm = Farm::new();
    let output = grove(&farm, &["worker", "add", "--driver", "ssh"]);
    let call = &farm.calls()[0];
    let uuid: grove_wire::Uuid = call.line.strip_prefix("PUT /api/v2/workers/").unwrap().parse().unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(call.body, r#"{"driver":"ssh","driver_config":{}}"#);
    assert!(output.contains("error: "), "the canned farm has no answer: {output}");
}

#[test]
fn add_of_nonsense_asks_nobody() {
    let farm = Farm::new();
    assert_snapshot!(grove(&farm, &["worker", "add", "--driver", "ssh", "--config", "port"]), @"
    --- stderr
    error: --config port: expected KEY=VALUE, @file.json or a JSON object
    --- exit status: 1
    ");
    assert_snapshot!(grove(&farm, &["worker", "add", "--driver", "ssh", "--config", "@/nowhere/board.json"]), @"
    --- stderr
    error: cannot read /nowhere/board.json: No such file or directory (os error 2)
    --- exit status: 1
    ");
    assert_snapshot!(grove(&farm, &["worker", "add", "--driver", "ssh", "--cap", "board"]), @"
    --- stderr
    error: invalid value 'board' for '--cap <KEY=VALUE>': expected KEY=VALUE

    For more information, try '--help'.
    --- exit status: 2
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn edit_changes_what_is_named() {
    let farm = Farm::new();
    farm.on(&format!("GET {AT_BOARD}"), 200, worker("idle")).on(
        &format!("PATCH {AT_BOARD}"),
        200,
        worker("idle"),
    );
    let args = ["worker", "edit", BOARD, "--cap", "lab=berlin", "--no-cap", "board", "--host", ""];
    assert_snapshot!(grove(&farm, &args), @"worker 01900000-0000-7000-8000-000000000001 is in idle");
    assert_snapshot!(calls(&farm), @r#"
    GET /api/v2/workers/01900000-0000-7000-8000-000000000001
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"capabilities":{"lab":"berlin"},"host":null}
    "#);
    assert_eq!(farm.calls()[1].headers["if-match"], "\"7\"");
}

#[test]
fn edit_is_tried_again_on_what_a_worker_is_now() {
    let farm = Farm::new();
    let (get, patch) = (format!("GET {AT_BOARD}"), format!("PATCH {AT_BOARD}"));
    let mut newer = worker("idle");
    newer["revision"] = json!(8);
    newer["sources"]["admin"] = json!({ "site": "oslo" });
    let changed = problem(grove_wire::Code::RevisionMismatch, "it is at revision 8 now", None);
    farm.on(&get, 200, worker("prepare")).on(&get, 200, newer.clone());
    farm.on(&patch, 412, changed.clone()).on(&patch, 200, newer);
    let args = ["worker", "edit", BOARD, "--cap", "lab=berlin"];
    assert_snapshot!(grove(&farm, &args), @"worker 01900000-0000-7000-8000-000000000001 is in idle");
    let edits = farm.calls_of("PATCH");
    assert_eq!(edits[1].headers["if-match"], "\"8\"");
    assert_eq!(edits[1].body, r#"{"capabilities":{"lab":"berlin","site":"oslo"}}"#);

    // But not for ever.
    let farm = Farm::new();
    farm.on(&get, 200, worker("prepare")).on(&patch, 412, changed);
    assert_snapshot!(grove(&farm, &args), @"
    --- stderr
    error: it is at revision 8 now
    hint: it changed at the same time: look at what it is now, and try again
    --- exit status: 1
    ");
    assert_eq!(farm.calls_of("PATCH").len(), 10);
}

#[test]
fn edit_pins_to_a_version() {
    let farm = Farm::new();
    farm.on(&format!("GET {AT_BOARD}"), 200, worker("idle")).on("GET /api/v2/plugins/ssh", 200, plugin()).on(
        &format!("PATCH {AT_BOARD}"),
        200,
        worker("idle"),
    );
    let pin = |version: &str| grove(&farm, &["worker", "edit", BOARD, "--driver-version", version]);
    for version in ["0.1.0", "fedcba", NEWER, ""] {
        assert_eq!(pin(version), format!("worker {BOARD} is in idle\n"));
    }
    assert_snapshot!(calls(&farm), @r#"
    GET /api/v2/workers/01900000-0000-7000-8000-000000000001
    GET /api/v2/plugins/ssh
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"driver_version":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
    GET /api/v2/workers/01900000-0000-7000-8000-000000000001
    GET /api/v2/plugins/ssh
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"driver_version":"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"driver_version":"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"driver_version":null}
    "#);
    assert_snapshot!(pin("7.0.0"), @r#"
    --- stderr
    error: driver ssh has no version "7.0.0"
    hint: it has 0.2.0 (fedcba987654), 0.1.0 (0123456789ab)
    --- exit status: 1
    "#);
    assert_snapshot!(pin(" "), @"
    --- stderr
    error: a version is named by its digest, the first 6 characters of that or more, or its number
    --- exit status: 1
    ");
    let mut twice = plugin();
    twice["versions"][1]["version"] = "0.2.0".into();
    let farm = Farm::new();
    farm.on(&format!("GET {AT_BOARD}"), 200, worker("idle")).on("GET /api/v2/plugins/ssh", 200, twice);
    assert_snapshot!(grove(&farm, &["worker", "edit", BOARD, "--driver-version", "0.2.0"]), @r#"
    --- stderr
    error: "0.2.0" names more than one version of driver ssh
    hint: it has 0.2.0 (fedcba987654), 0.2.0 (0123456789ab)
    --- exit status: 1
    "#);
}

#[test]
fn show_a_pinned_one() {
    let farm = Farm::new();
    let mut pinned = worker("idle");
    pinned["driver_version"] = DIGEST.into();
    farm.on(&format!("GET {AT_BOARD}"), 200, pinned);
    let text = grove(&farm, &["worker", "show", BOARD]);
    assert!(text.contains("  pinned to     0123456789ab\n"), "{text}");
}

#[test]
fn edit_needs_a_change() {
    assert_snapshot!(grove(&Farm::new(), &["worker", "edit", BOARD]), @"
    --- stderr
    error: the following required arguments were not provided:
      <--cap <KEY=VALUE>|--no-cap <KEY>|--host <HOST>|--notes <TEXT>|--driver-version <VERSION>>

    Usage: grove worker edit --server <URL> <--cap <KEY=VALUE>|--no-cap <KEY>|--host <HOST>|--notes <TEXT>|--driver-version <VERSION>> <WORKER>

    For more information, try '--help'.
    --- exit status: 2
    ");
}

#[test]
fn groups() {
    let farm = Farm::new();
    farm.on(&format!("PATCH {AT_BOARD}"), 200, worker("idle"));
    grove(&farm, &["worker", "groups", BOARD, "--group", "lab", "--group", "ci"]);
    grove(&farm, &["worker", "groups", BOARD, "--everyone"]);
    assert_snapshot!(calls(&farm), @r#"
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"groups":["lab","ci"]}
    PATCH /api/v2/workers/01900000-0000-7000-8000-000000000001 {"groups":[]}
    "#);
}

#[test]
fn state() {
    let farm = Farm::new();
    farm.on(&format!("POST {AT_BOARD}/state"), 202, worker("prepare"));
    assert_snapshot!(grove(&farm, &["worker", "state", "idle", BOARD]), @"worker 01900000-0000-7000-8000-000000000001 is in prepare");
    grove(&farm, &["worker", "state", "maintenance", BOARD, "--force"]);
    grove(&farm, &["worker", "state", "maintenance", BOARD, "--when-free"]);
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/workers/01900000-0000-7000-8000-000000000001/state {"state":"idle","force":false}
    POST /api/v2/workers/01900000-0000-7000-8000-000000000001/state {"state":"maintenance","force":true}
    POST /api/v2/workers/01900000-0000-7000-8000-000000000001/state {"state":"maintenance","force":false,"when_free":true}
    "#);
}

#[test]
fn state_of_all_at_a_host() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([worker("running")]));
    let mut drained = worker("running");
    drained["drain"] = true.into();
    farm.on(&format!("POST {AT_BOARD}/state"), 202, drained);
    assert_snapshot!(grove(&farm, &["worker", "state", "maintenance", "--host", "rack2", "--when-free"]), @"worker 01900000-0000-7000-8000-000000000001 is in running, and goes to maintenance when its job ends");
    assert!(calls(&farm).starts_with("GET /api/v2/workers?host=rack2"), "{}", calls(&farm));
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([]));
    assert_snapshot!(grove(&farm, &["worker", "state", "maintenance", "--host", "rack9"]), @"
    --- stderr
    error: no worker stands at rack9
    hint: `grove worker list` shows where workers stand
    --- exit status: 1
    ");
}

#[test]
fn state_refused() {
    let farm = Farm::new();
    let refused = problem(grove_wire::Code::WorkerRuns, "job 42 runs on it", Some("close request 42 first"));
    farm.on(&format!("POST {AT_BOARD}/state"), 409, refused);
    assert_snapshot!(grove(&farm, &["worker", "state", "maintenance", BOARD]), @"
    --- stderr
    error: job 42 runs on it
    hint: end the job first with `grove request close`, or say --force, which ends it
    --- exit status: 1
    ");
}

#[test]
fn fail() {
    let farm = Farm::new();
    let mut failed = worker("failed");
    failed["reason"] = "smoke".into();
    farm.on(&format!("POST {AT_BOARD}/failure"), 202, failed);
    assert_snapshot!(grove(&farm, &["worker", "fail", BOARD, "--reason", "smoke"]), @"worker 01900000-0000-7000-8000-000000000001 is in failed: smoke");
    assert_snapshot!(calls(&farm), @r#"POST /api/v2/workers/01900000-0000-7000-8000-000000000001/failure {"reason":"smoke"}"#);
}

#[test]
fn remove() {
    let farm = Farm::new();
    farm.on(&format!("DELETE {AT_BOARD}"), 204, Value::Null);
    assert_snapshot!(grove(&farm, &["worker", "remove", BOARD, "--force"]), @"
    --- stderr
    worker 01900000-0000-7000-8000-000000000001 is removed
    ");
    assert_snapshot!(calls(&farm), @"DELETE /api/v2/workers/01900000-0000-7000-8000-000000000001?force=true");
}
