use insta::assert_snapshot;

use crate::kit::{Farm, Home, grove, help, items, problem, told, worker};

#[test]
fn help_says() {
    assert_snapshot!(help(&[]), @"
    A farm of real boards, handed out one job at a time

    Usage: grove [OPTIONS] <COMMAND>

    Commands:
      run          Get a board, run one command on it, give it back
      ssh          Get a board, open a shell on it, give it back
      request      Wishes for boards
      why          Say why a request waits, or ended as it did
      worker       Boards and what supervises them
      job          Boards in the hands of users
      task         What the farm does on its workers
      introspect   Find out what a board is made of
      rule         What is concluded from the inventories of boards
      artifact     Files for boards, like images to flash
      plugin       Policies, drivers and inspectors
      limit        How many tasks may run at the same time
      farm         The farm as a whole
      services     Show what the controller is made of, and what is missing
      events       Show what happened, and what happens
      serve        Run the controller
      demo         Run a farm of small boards on this machine, to try Grove on
      completions  Print the completions of a shell

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
fn the_server_comes_from_the_option_before_the_environment() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([]));
    let home = Home::new();
    let mut command = home.command(&farm, &["worker", "list", "--server", &farm.url]);
    let output = command.env("GROVE_SERVER", "http://127.0.0.1:1").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    no workers
    ");
}

#[test]
fn an_absent_farm_is_told_with_what_to_do() {
    assert_snapshot!(grove(&Farm::new(), &["--server", "http://127.0.0.1:1", "worker", "list"]), @"
    --- stderr
    error: no answer from http://127.0.0.1:1: Connection refused (os error 111)
    hint: is `grove serve` running at http://127.0.0.1:1? set --server or GROVE_SERVER
    --- exit status: 1
    ");
}

#[test]
fn what_is_no_address_is_refused() {
    assert_snapshot!(grove(&Farm::new(), &["--server", "farm", "worker", "list"]), @r#"
    --- stderr
    error: "farm" is no address of a farm: relative URL without a base
    hint: an address is written like http://farm.example:8487; see --server and GROVE_SERVER
    --- exit status: 1
    "#);
}

#[test]
fn what_is_no_farm_is_told() {
    let farm = Farm::new();
    farm.on_text("GET /api/v2/workers", 200, "text/html", "<h1>Welcome</h1>");
    assert_snapshot!(grove(&farm, &["worker", "list"]), @"
    --- stderr
    error: http://FARM does not answer as a farm does: expected value at line 1 column 1
    hint: is that address a farm of this version? see --server and GROVE_SERVER
    --- exit status: 1
    ");
}

#[test]
fn a_refusal_is_told_with_its_hint() {
    let farm = Farm::new();
    let refused = problem(grove_wire::Code::Overloaded, "1000 lists are being read", Some("try again"));
    farm.on("GET /api/v2/workers", 503, refused);
    assert_snapshot!(grove(&farm, &["worker", "list", "-q", "-o", "json"]), @"
    --- stderr
    error: 1000 lists are being read
    hint: try again in a moment
    --- exit status: 1
    ");
}

#[test]
fn colour_is_there_when_asked_for() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([worker("idle")]));
    let colored = grove(&farm, &["worker", "list", "--color", "always"]);
    assert!(colored.contains("\u{1b}[38;5;10m idle "), "{colored:?}");
    assert!(!grove(&farm, &["worker", "list"]).contains('\u{1b}'));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items(vec![worker("idle"); 2000]));
    let home = Home::new();
    let mut child = home.command(&farm, &["worker", "list", "-o", "json"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_snapshot!(told(&farm, &output), @"");
}

#[test]
fn this_machine_is_never_behind_a_proxy() {
    let farm = Farm::new();
    farm.on("GET /api/v2/workers", 200, items([]));
    let (home, proxy) = (Home::new(), "http://user:secret@127.0.0.1:1");
    let mut command = home.command(&farm, &["worker", "list"]);
    let output = command.env("http_proxy", proxy).output().unwrap();
    assert!(output.status.success(), "{}", told(&farm, &output));

    let words = ["worker", "list", "--server", "http://farm.example:8487"];
    let output = home.command(&farm, &words).env("http_proxy", proxy).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: no answer from http://farm.example:8487 through the proxy http://127.0.0.1:1: Connection refused (os error 111)
    hint: the proxy comes from http_proxy; set NO_PROXY for a farm that is reached without it
    --- exit status: 1
    ");
}
