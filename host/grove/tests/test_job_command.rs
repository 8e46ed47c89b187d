use insta::assert_snapshot;

use crate::kit::{Farm, ago, calls, grove, help, items, job, problem, running};

#[test]
fn help_says() {
    assert_snapshot!(help(&["job"]), @"
    Boards in the hands of users

    Usage: grove job [OPTIONS] <COMMAND>

    Commands:
      list     Show the jobs that run
      show     Show one job and how to get in
      key      Print the private key that the farm has made for a job
      keep     Let a job outlive its terminal: it goes on until it is closed or its time is up
      prolong  Let a job run longer

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
    assert_snapshot!(help(&["job", "key"]), @"
    Print the private key that the farm has made for a job

    Usage: grove job key [OPTIONS] <REQUEST>

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
    assert_snapshot!(help(&["job", "keep"]), @"
    Let a job outlive its terminal: it goes on until it is closed or its time is up

    Usage: grove job keep [OPTIONS] <REQUEST>

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
    assert_snapshot!(help(&["job", "prolong"]), @"
    Let a job run longer

    Usage: grove job prolong [OPTIONS] <REQUEST>

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
    JOB  WORKER                                OPENED  ENDS    AWAY  ACCESS
    42   01900000-0000-7000-8000-000000000001  3m ago  in 56m  -     grove ssh --job 42
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
    access       ssh -p 20007 -o HostKeyAlias=grove-01900000-0000-7000-8000-000000000001 boruta-user@farm.example
    host keys    ssh-ed25519 AAAA1
                 ssh-rsa AAAA2
    private key  `grove job key 42` prints it
    ");
}

#[test]
fn a_key_is_printed_as_it_is() {
    let farm = Farm::new();
    let mut shown = job("running");
    shown["access"]["private_key"] = "-----BEGIN RSA PRIVATE KEY-----\nabc\n".into();
    farm.on("GET /api/v2/jobs/42", 200, shown).on("GET /api/v2/jobs/43", 200, job("running"));
    assert_snapshot!(grove(&farm, &["job", "key", "42"]), @"
    -----BEGIN RSA PRIVATE KEY-----
    abc
    --- stderr
    ssh takes it from a file that only you can read: (umask 077; grove job key … > job.key)
    ");
    assert_snapshot!(grove(&farm, &["job", "key", "43"]), @"
    --- stderr
    error: the farm has made no key for job 43, or the job has ended
    hint: `grove request create` without --key lets the farm make one
    --- exit status: 1
    ");
}

#[test]
fn keep_and_prolong() {
    let farm = Farm::new();
    let mut away = running(&[]);
    away["job"]["away_since"] = ago("2m30s").into();
    farm.on("POST /api/v2/requests/42/keep", 200, running(&[]));
    farm.on("POST /api/v2/requests/42/prolong", 200, running(&[]));
    farm.on("GET /api/v2/jobs/42", 200, away["job"].clone());
    assert_snapshot!(grove(&farm, &["job", "keep", "42"]), @"job 42 outlives its terminal, ends in 56m: `grove ssh --job 42` goes there");
    assert_snapshot!(grove(&farm, &["job", "prolong", "42", "--for", "2h"]), @"request 42 runs on worker 01900000-0000-7000-8000-000000000001, ends in 56m");
    grove(&farm, &["job", "prolong", "42", "--for", "1m", "--shorten"]);
    assert_snapshot!(calls(&farm), @r#"
    POST /api/v2/requests/42/keep
    POST /api/v2/requests/42/prolong {"for":"2h"}
    POST /api/v2/requests/42/prolong {"for":"1m","shorten":true}
    "#);
    assert_snapshot!(grove(&farm, &["job", "show", "42"]), @"
    job         42
    state       running
    worker      01900000-0000-7000-8000-000000000001
    opened      3m ago
    ends        in 56m
    away since  2m ago
    access      ssh -p 20007 -o HostKeyAlias=grove-01900000-0000-7000-8000-000000000001 boruta-user@farm.example
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
    hint: `grove request show` says where the request is: it may still wait
    --- exit status: 1
    ");
}
