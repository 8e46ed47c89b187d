use insta::assert_snapshot;

use crate::kit::{BOARD, DIGEST, Farm, Home, TASK, ago, calls, grove, help, items, task, told};

#[test]
fn help_says() {
    assert_snapshot!(help(&["task"]), @"
    What the farm does on its workers

    Usage: grove task [OPTIONS] <COMMAND>

    Commands:
      list    Show tasks, newest first
      show    Show one task, step by step
      logs    Show what a task said
      cancel  Stop a task; to its worker that is a failure

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
    assert_snapshot!(help(&["task", "list"]), @"
    Show tasks, newest first

    Usage: grove task list [OPTIONS]

    Options:
          --worker <WORKER>    Only those of this worker [env: GROVE_WORKER]
          --request <REQUEST>  Only those that open the job of this request
          --kind <KIND>        Only those that do this: prepare, maintain, open, check, recheck
          --phase <PHASE>      Only those that are so far: waiting, running, succeeded, failed,
                               cancelled
          --limit <N>          How many of the newest [default: 50]
          --all                Every one
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
    assert_snapshot!(help(&["task", "show"]), @"
    Show one task, step by step

    Usage: grove task show [OPTIONS] <TASK>

    Arguments:
      <TASK>  UUID of the task

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
    assert_snapshot!(help(&["task", "cancel"]), @"
    Stop a task; to its worker that is a failure

    Usage: grove task cancel [OPTIONS] <TASK>

    Arguments:
      <TASK>  UUID of the task

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
fn list() {
    let farm = Farm::new();
    farm.on("GET /api/v2/tasks", 200, items([task(), task(), task()]));
    let home = Home::new();
    let mut command = home.command(&farm, &["task", "list", "--phase", "running", "--limit", "2"]);
    let output = command.env("GROVE_WORKER", BOARD).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    TASK                                  KIND     PHASE    DONE  WORKER                                QUEUED  NOTE
    01900000-0000-7000-8000-00000000000a  prepare  running  40%   01900000-0000-7000-8000-000000000001  4m ago  waiting for the board
    01900000-0000-7000-8000-00000000000a  prepare  running  40%   01900000-0000-7000-8000-000000000001  4m ago  waiting for the board
    --- stderr
    the newest 2 of more; --all shows every one
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/tasks?phase=running&worker=01900000-0000-7000-8000-000000000001&limit=2");
}

#[test]
fn show() {
    let farm = Farm::new();
    let mut versioned = task();
    versioned["driver_version"] = DIGEST.into();
    farm.on(&format!("GET /api/v2/tasks/{TASK}"), 200, versioned);
    assert_snapshot!(grove(&farm, &["task", "show", TASK]), @"
    task      01900000-0000-7000-8000-00000000000a
    kind      prepare
    phase     running
    worker    01900000-0000-7000-8000-000000000001
    driver    ssh
    version   0123456789ab
    progress  40%
    note      waiting for the board
    queued    4m ago
    started   3m ago
    deadline  in 5m

    STEP        OUTCOME  TOOK
    clean user  success  2m
    reboot      running  3h 30m
    ");
}

#[test]
fn what_was_skipped_and_said_last_is_shown() {
    let farm = Farm::new();
    let mut failed = task();
    failed["steps"] = serde_json::json!([
        {"kind": "check", "name": "check", "started": ago("200s"), "ended": ago("80s"), "outcome": "failed"},
        {"kind": "open_tunnel", "name": "open tunnel", "started": null, "ended": ago("80s"), "outcome": "skipped"},
        {"kind": "clean_up", "name": "clean up", "started": null, "ended": null, "outcome": null},
    ]);
    let said = |n: usize| serde_json::json!({"at": "2026-01-31T12:00:00.123Z", "level": "warn", "text": format!("line {n}")});
    failed["log"] = (1..=12).map(said).collect::<Vec<_>>().into();
    farm.on(&format!("GET /api/v2/tasks/{TASK}"), 200, failed);
    assert_snapshot!(grove(&farm, &["task", "show", TASK]), @"
    task      01900000-0000-7000-8000-00000000000a
    kind      prepare
    phase     running
    worker    01900000-0000-7000-8000-000000000001
    driver    ssh
    progress  40%
    note      waiting for the board
    queued    4m ago
    started   3m ago
    deadline  in 5m

    STEP         OUTCOME  TOOK
    check        failed   2m
    open tunnel  skipped  -
    clean up     to come  -

    2026-01-31T12:00:00.123Z  warn      line 3
    2026-01-31T12:00:00.123Z  warn      line 4
    2026-01-31T12:00:00.123Z  warn      line 5
    2026-01-31T12:00:00.123Z  warn      line 6
    2026-01-31T12:00:00.123Z  warn      line 7
    2026-01-31T12:00:00.123Z  warn      line 8
    2026-01-31T12:00:00.123Z  warn      line 9
    2026-01-31T12:00:00.123Z  warn      line 10
    2026-01-31T12:00:00.123Z  warn      line 11
    2026-01-31T12:00:00.123Z  warn      line 12
    --- stderr
    the last 10 lines; `grove task logs 01900000-0000-7000-8000-00000000000a` shows every one
    ");
}

#[test]
fn cancel() {
    let farm = Farm::new();
    let mut cancelled = task();
    cancelled["phase"] = "cancelled".into();
    farm.on(&format!("POST /api/v2/tasks/{TASK}/cancel"), 200, cancelled);
    assert_snapshot!(grove(&farm, &["task", "cancel", TASK]), @"task 01900000-0000-7000-8000-00000000000a is cancelled");
}

fn line(n: u64, kind: &str, level: &str, text: &str) -> serde_json::Value {
    serde_json::json!({"n": n, "at": "2026-01-31T12:00:00.123Z", "kind": kind, "level": level, "text": text})
}

#[test]
fn logs() {
    let farm = Farm::new();
    let lines = [line(1, "step", "info", "prepare"), line(2, "log", "warn", "it is warm")];
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let path = format!("GET /api/v2/tasks/{TASK}/log");
    farm.on_text(&path, 200, "application/x-ndjson", &body).on_text(&path, 200, "application/x-ndjson", "");
    assert_snapshot!(grove(&farm, &["task", "logs", TASK]), @"
    2026-01-31T12:00:00.123Z  step      prepare
    2026-01-31T12:00:00.123Z  warn      it is warm
    ");
    // Its name of before.
    assert_snapshot!(grove(&farm, &["task", "log", TASK, "--after", "2"]), @"
    --- stderr
    nothing was said
    ");
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/tasks/01900000-0000-7000-8000-00000000000a/log?after=0
    GET /api/v2/tasks/01900000-0000-7000-8000-00000000000a/log?after=2
    ");
}

#[test]
fn a_log_is_followed_through_lost_connections_until_the_task_ends() {
    let farm = Farm::new();
    let frame = |line: serde_json::Value| format!("id: {}\ndata: {line}\n\n", line["n"]);
    let first = frame(line(1, "step", "info", "prepare"));
    let rest = format!("{first}{}event: end\ndata:\n\n", frame(line(2, "end", "info", "done")));
    let path = format!("GET /api/v2/tasks/{TASK}/log");
    farm.on_text(&path, 200, "text/event-stream", &first).on_text(&path, 200, "text/event-stream", &rest);
    assert_snapshot!(grove(&farm, &["task", "logs", "-f", TASK, "-o", "json"]), @r#"
    {"n":1,"at":"2026-01-31T12:00:00.123Z","kind":"step","level":"info","text":"prepare"}
    {"n":2,"at":"2026-01-31T12:00:00.123Z","kind":"end","level":"info","text":"done"}
    "#);
    assert_snapshot!(calls(&farm), @"
    GET /api/v2/tasks/01900000-0000-7000-8000-00000000000a/log?after=0
    GET /api/v2/tasks/01900000-0000-7000-8000-00000000000a/log?after=1
    ");
}
