use insta::assert_snapshot;

use crate::kit::{Farm, calls, grove, help, items, job, problem};

#[test]
fn help_says() {
    assert_snapshot!(help(&["job"]), @"
    Boards in the hands of users

    Usage: grove job [OPTIONS] <COMMAND>

    Commands:
      list  Show the jobs that run
      show  Show one job and how to get in

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
    assert_snapshot!(help(&["job", "list"]), @"
    Show the jobs that run

    Usage: grove job list [OPTIONS]

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
    assert_snapshot!(help(&["job", "show"]), @"
    Show one job and how to get in

    Usage: grove job show [OPTIONS] <REQUEST>

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
fn list() {
    let farm = Farm::new();
    farm.on("GET /api/v2/jobs", 200, items([job("running")]));
    assert_snapshot!(grove(&farm, &["job", "list"]), @"
    JOB  WORKER                                OPENED  ENDS    ACCESS
    42   01900000-0000-7000-8000-000000000001  3m ago  in 56m  ssh -p 20007 boruta-user@farm.example
    ");
    assert_snapshot!(calls(&farm), @"GET /api/v2/jobs?limit=1000");
}

#[test]
fn show() {
    let farm = Farm::new();
    let mut shown = job("running");
    shown["prolongs"] = 2.into();
    shown["access"]["host_keys"] = ["ssh-ed25519 AAAA1", "ssh-rsa AAAA2"].as_slice().into();
    shown["access"]["private_key"] = "-----BEGIN RSA PRIVATE KEY-----\nabc\n".into();
    farm.on("GET /api/v2/jobs/42", 200, shown);
    assert_snapshot!(grove(&farm, &["job", "show", "42"]), @"
    job          42
    state        running
    worker       01900000-0000-7000-8000-000000000001
    opened       3m ago
    ends         in 56m
    prolonged    2 times
    access       ssh -p 20007 boruta-user@farm.example
    host keys    ssh-ed25519 AAAA1
                 ssh-rsa AAAA2
    private key  -----BEGIN RSA PRIVATE KEY-----
                 abc
    ");
}

#[test]
fn an_unknown_job_is_an_error() {
    let farm = Farm::new();
    let absent =
        problem(grove_wire::Code::JobNotFound, "request 43 has no job yet", Some("see `grove why 43`"));
    farm.on("GET /api/v2/jobs/43", 404, absent);
    assert_snapshot!(grove(&farm, &["job", "show", "43"]), @"
    --- stderr
    error: request 43 has no job yet
    hint: see `grove why 43`
    --- exit status: 1
    ");
}
