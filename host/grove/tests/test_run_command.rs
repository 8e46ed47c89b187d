use std::process::{Child, Command, Output};

use grove_wire::Code;
use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::kit::{
    Farm, Home, calls, ended, help, problem, request, run_with_input, running, signal, signal_group, told,
    waiting,
};

const REQUEST: &str = "GET /api/v2/requests/42";
const CLOSE: &str = "POST /api/v2/requests/42/close";
const HEARTBEAT: &str = "POST /api/v2/requests/42/heartbeat";
const HOST_KEYS: [&str; 2] = ["ssh-ed25519 AAAAboard board", "ssh-rsa AAAAboard2"];

/// A farm that has a board at once.
fn generous() -> Farm {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests", 201, waiting(1, ""))
        .on(REQUEST, 200, running(&HOST_KEYS))
        .on(HEARTBEAT, 200, running(&HOST_KEYS))
        .on(CLOSE, 200, ended("done", None, false));
    farm
}

/// A farm that has none.
fn busy() -> Farm {
    let farm = Farm::new();
    let waiting = waiting(1, "2 workers match, both running jobs");
    farm.on("POST /api/v2/requests", 201, waiting.clone())
        .on(REQUEST, 200, waiting.clone())
        .on(HEARTBEAT, 200, waiting)
        .on(CLOSE, 200, request("cancelled"));
    farm
}

/// `grove run` with a fake ssh that does `what`.
fn command(home: &Home, farm: &Farm, options: &[&str], what: &str) -> Command {
    let args: Vec<&str> =
        ["run", "board=rpi4"].iter().chain(options).chain(&["--", "make", "it work"]).copied().collect();
    let mut command = home.command(farm, &args);
    command.env("FAKE_DO", what);
    command
}

fn run(farm: &Farm, options: &[&str], what: &str) -> Output {
    command(&Home::new(), farm, options, what).output().unwrap()
}

/// Calls without the heartbeats, whose number depends on the machine's speed.
fn main_calls(farm: &Farm) -> String {
    let calls = calls(farm);
    let (heartbeats, others): (Vec<_>, Vec<_>) = calls.lines().partition(|line| line.starts_with(HEARTBEAT));
    assert!(!heartbeats.is_empty(), "no heartbeat: {calls}");
    others.into_iter().map(|line| format!("{}\n", without_key(line))).collect()
}

fn without_key(line: &str) -> String {
    match line.split_once(r#""keys":["ssh-ed25519 "#) {
        Some((before, after)) => {
            let (_, after) = after.split_once('"').unwrap();
            format!("{before}\"keys\":[\"KEY\"{after}")
        }
        None => line.to_owned(),
    }
}

fn closed_because(farm: &Farm) -> Value {
    let closes = farm.calls_of(CLOSE);
    assert_eq!(closes.len(), 1, "{}", calls(farm));
    serde_json::from_str::<Value>(&closes[0].body).unwrap()["reason"].clone()
}

fn interrupted(child: Child) -> Output {
    signal_group(&child, Signal::INT);
    child.wait_with_output().unwrap()
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["run"]), @"
    Get a board, run one command on it, give it back

    Usage: grove run [OPTIONS] [TERM]... -- <COMMAND>...

    Arguments:
      [TERM]...     What the board must have: camera, !camera, board=rpi4, baud=57600,115200, uart=2..,
                    lab!=berlin; none = any
      <COMMAND>...  Program and arguments; they reach the board as they are

    Options:
          --for <TIME>        How long the job may run, like 90s, 30m, 1h30m [default: the farm's]
          --priority <N>      Place in the queue: 1 (first) to 16 [default: 8]
          --hint <KEY=VALUE>  For the farm's policy
      -i, --identity <FILE>   Private key to get in with, instead of those that are found [the agent's,
                              ~/.ssh/id_*, else a new one]
          --wait <TIME>       Longest time to wait for a board, like 90s, 5m [default: no limit]
          --heartbeat <TIME>  How often to tell the farm that we are still here; it takes the board back
                              after three silences [default: 10s]
      -t, --tty               Give the command a terminal
      -h, --help              Print help
      -V, --version           Print version

    Global options:
          --server <URL>   Address of the farm [env: GROVE_SERVER] [default: http://127.0.0.1:8487]
      -o, --output <FORM>  Form of the result: for people, or what the farm sent [default: human]
                           [possible values: human, json]
      -q, --quiet          Say nothing but the result
          --color <WHEN>   When to colour the result; auto: on terminals, unless NO_COLOR is set
                           [default: auto] [possible values: auto, always, never]

    Exit codes:
      the remote command's own, and of the farm:
      120  no board in time (--wait, or the request's deadline)
      121  the board failed under the job
      122  the request was closed by somebody else
      123  the farm refused the request, or no board could ever satisfy it
      124  the job's time was up
      125  the farm could not be reached
      255  ssh failed; 128 + N: ended by signal N (130 is Ctrl-C)
    ");
}

#[test]
fn asks_connects_and_releases() {
    let (farm, home) = (generous(), Home::new());
    let options = ["uart=2..", "--for", "1h", "--priority", "3", "--hint", "why=test"];
    let output = command(&home, &farm, &options, "echo out; echo err >&2; exit 7").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    out
    --- stderr
    request 42 waits at place 1
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    err
    --- exit status: 7
    ");
    assert_eq!(output.status.code(), Some(7));
    assert_snapshot!(main_calls(&farm), @r#"
    POST /api/v2/requests {"wants":["board=rpi4","uart=2.."],"priority":3,"for":"1h","keys":["KEY"],"heartbeat":"10s","hints":{"why":"test"}}
    GET /api/v2/requests/42?wait=10s&revision=1
    POST /api/v2/requests/42/close {}
    "#);
    assert_snapshot!(home.ssh_words(), @r#"
    -p
    20007
    -o HostKeyAlias=grove-job-42
    -o UserKnownHostsFile="PRIVATE/known_hosts"
    -o GlobalKnownHostsFile=/dev/null
    -o StrictHostKeyChecking=yes
    -o UpdateHostKeys=no
    -o IdentitiesOnly=yes
    -o PreferredAuthentications=publickey
    -o ControlMaster=no
    -o ControlPath=none
    -o ServerAliveInterval=15
    -i PRIVATE/id_ed25519
    -o LogLevel=ERROR
    -T
    --
    boruta-user@farm.example
    make 'it work'
    "#);
    assert_snapshot!(home.read("fake/known_hosts"), @"
    grove-job-42 ssh-ed25519 AAAAboard
    grove-job-42 ssh-rsa AAAAboard2
    ");
}

#[test]
fn makes_a_key_where_there_is_none_and_leaves_nothing() {
    let (farm, home) = (generous(), Home::new());
    assert!(command(&home, &farm, &[], "exit 0").status().unwrap().success());
    let private = home.read("fake/identity");
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"), "{private}");
    let sent: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    let sent = sent["keys"][0].as_str().unwrap().to_owned();
    // The two halves belong together.
    let key = home.path("key");
    std::fs::write(&key, private).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let public = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&key).output().unwrap();
    let public = String::from_utf8(public.stdout).unwrap();
    assert_eq!(public.split_whitespace().nth(1), sent.split_whitespace().nth(1));
    assert_eq!(home.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn takes_the_keys_at_home() {
    let (farm, home) = (generous(), Home::new());
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f"])
        .arg(home.path(".ssh/id_ed25519"))
        .status();
    assert!(made.unwrap().success());
    // One that nobody can be asked the passphrase of, and one without its private half: both useless.
    let locked = Command::new("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-N", "secret", "-f"])
        .arg(home.path(".ssh/id_ecdsa"))
        .status();
    assert!(locked.unwrap().success());
    std::fs::write(home.path(".ssh/id_rsa.pub"), "ssh-rsa AAAAalone").unwrap();
    assert!(command(&home, &farm, &[], "exit 0").status().unwrap().success());
    let sent: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    assert_eq!(sent["keys"], json!([home.read(".ssh/id_ed25519.pub").trim()]));
    assert!(home.ssh_words().contains("-i HOME/.ssh/id_ed25519\n"), "{}", home.ssh_words());
}

#[test]
fn takes_the_key_it_is_told() {
    let (farm, home) = (generous(), Home::new());
    std::fs::write(home.path("mine"), "private").unwrap();
    std::fs::write(home.path("mine.pub"), "ssh-ed25519 AAAAmine me\n").unwrap();
    let mine = home.path("mine");
    let status = command(&home, &farm, &["-i", mine.to_str().unwrap()], "exit 0").status().unwrap();
    assert!(status.success());
    assert!(
        farm.calls()[0].body.contains(r#""keys":["ssh-ed25519 AAAAmine me"]"#),
        "{}",
        farm.calls()[0].body
    );
    assert_eq!(home.read("fake/identity"), "private");
}

#[test]
fn a_key_that_is_not_there_asks_nobody() {
    let farm = generous();
    assert_snapshot!(told(&farm, &run(&farm, &["-i", "/nowhere/key"], "exit 0")), @"
    --- stderr
    error: there is no key at /nowhere/key
    hint: --identity takes the file of a private key, like ~/.ssh/id_ed25519
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn without_ssh_nobody_is_asked() {
    let (farm, home) = (generous(), Home::new());
    let output = command(&home, &farm, &[], "exit 0").env("PATH", "/nowhere").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: there is no ssh in PATH
    hint: install the OpenSSH client
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn stdin_reaches_the_board() {
    let (farm, home) = (generous(), Home::new());
    let output = run_with_input(command(&home, &farm, &["-q"], "cat"), "through and through");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "through and through");
}

#[test]
fn a_terminal_is_there_when_asked_for() {
    let (farm, home) = (generous(), Home::new());
    command(&home, &farm, &["-t"], "exit 0").output().unwrap();
    let words = home.ssh_words();
    assert!(words.contains("\n-tt\n") && !words.contains("\n-T\n"), "{words}");
}

#[test]
fn tells_what_it_waits_for() {
    let farm = Farm::new();
    let mut opening = waiting(1, "");
    opening["why"] = Value::Null;
    opening["position"] = Value::Null;
    opening["reserved"] = crate::kit::BOARD.into();
    farm.on("POST /api/v2/requests", 201, waiting(2, "2 workers match, both running jobs"))
        .on(REQUEST, 200, waiting(2, "2 workers match, both running jobs"))
        .on(REQUEST, 200, waiting(1, "1 worker matches, it is being prepared"))
        .on(REQUEST, 200, opening)
        .on(REQUEST, 200, running(&HOST_KEYS))
        .on(HEARTBEAT, 200, running(&HOST_KEYS))
        .on(CLOSE, 200, ended("done", None, false));
    assert_snapshot!(told(&farm, &run(&farm, &[], "exit 0")), @"
    --- stderr
    request 42 waits at place 2: 2 workers match, both running jobs
    request 42 waits at place 1: 1 worker matches, it is being prepared
    request 42: a board is being opened
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    ");
}

#[test]
fn says_nothing_when_told_so() {
    let farm = generous();
    assert_snapshot!(told(&farm, &run(&farm, &["-q"], "echo out")), @"out");
}

#[test]
fn waits_no_longer_than_told() {
    let farm = busy();
    let output = run(&farm, &["--wait", "1s"], "exit 0");
    assert_eq!(output.status.code(), Some(120));
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 waits at place 1: 2 workers match, both running jobs
    error: request 42 got no board within 1s
    hint: `--wait` bounds the wait; `grove worker list` shows which boards there are
    --- exit status: 120
    ");
    assert_snapshot!(closed_because(&farm), @r#""its user waited 1s for a board, and no longer""#);
}

#[test]
fn a_request_that_ends_without_a_board_has_its_code() {
    for (state, reason, code) in [
        ("timeout", None, 120),
        ("invalid", Some("no worker has board=rpi5"), 123),
        ("cancelled", Some("closed by ann"), 122),
    ] {
        let farm = busy();
        let mut over = request(state);
        over["reason"] = reason.into();
        // The first answer to the poll is given once, this one from then on.
        farm.on(REQUEST, 200, over);
        let output = run(&farm, &["-q"], "exit 0");
        assert_eq!(output.status.code(), Some(code), "{state}: {}", told(&farm, &output));
        let text = told(&farm, &output);
        assert!(
            text.contains("error: request 42 ") && reason.is_none_or(|reason| text.contains(reason)),
            "{text}"
        );
        assert!(farm.calls_of(CLOSE).is_empty(), "{state}");
    }
}

#[test]
fn a_refused_request_is_123() {
    let farm = Farm::new();
    let refused = problem(Code::JobTooLong, "a job may run 2h at the longest", Some("ask for less time"));
    farm.on("POST /api/v2/requests", 422, refused);
    let output = run(&farm, &["--for", "3h"], "exit 0");
    assert_eq!(output.status.code(), Some(123));
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: a job may run 2h at the longest
    hint: ask for less time
    --- exit status: 123
    ");
}

#[test]
fn an_absent_farm_is_125() {
    let (farm, home) = (generous(), Home::new());
    let output = command(&home, &farm, &["--server", "http://127.0.0.1:1"], "exit 0").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: no answer from http://127.0.0.1:1: Connection refused (os error 111)
    hint: is `grove serve` running at http://127.0.0.1:1? set --server or GROVE_SERVER
    --- exit status: 125
    ");
}

#[test]
fn a_restart_of_the_farm_is_waited_out() {
    let farm = Farm::new();
    let stopping = problem(Code::Stopping, "the controller is shutting down", None);
    farm.on("POST /api/v2/requests", 503, stopping.clone())
        .on("POST /api/v2/requests", 201, waiting(1, ""))
        .on(REQUEST, 503, stopping.clone())
        .on(REQUEST, 200, running(&HOST_KEYS))
        .on(HEARTBEAT, 503, stopping.clone())
        .on(CLOSE, 503, stopping)
        .on(CLOSE, 200, ended("done", None, false));
    let output = run(&farm, &["-q"], "exit 7");
    assert_eq!(output.status.code(), Some(7), "{}", told(&farm, &output));
    let creations = farm.calls_of("POST /api/v2/requests");
    let keys: Vec<&String> =
        creations.iter().filter_map(|call| call.headers.get("idempotency-key")).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(farm.calls_of(CLOSE).len(), 2);
}

#[test]
fn when_ssh_fails_the_farm_is_asked_why() {
    for (over, code) in [
        (ended("failed", Some("the board does not answer"), false), 121),
        (ended("done", Some("closed by ann"), false), 122),
        (ended("done", Some("the job's time is up"), true), 124),
    ] {
        let farm = generous();
        farm.on(REQUEST, 200, over);
        let output = run(&farm, &["-q"], "exit 255");
        assert_eq!(output.status.code(), Some(code), "{}", told(&farm, &output));
        assert!(farm.calls_of(CLOSE).is_empty());
    }
    // It knows nothing: ssh failed by itself.
    let farm = generous();
    let output = run(&farm, &["-q"], "exit 255");
    assert_eq!(output.status.code(), Some(255), "{}", told(&farm, &output));
    assert_eq!(closed_because(&farm), Value::Null);
}

#[test]
fn heartbeats_go_on_and_tell_of_the_end() {
    let (farm, home) = (generous(), Home::new());
    let over = problem(Code::RequestState, "request 42 is done", None);
    farm.on(HEARTBEAT, 200, running(&HOST_KEYS)).on(HEARTBEAT, 409, over);
    // Where the farm is asked how it ended.
    farm.on(REQUEST, 200, ended("done", Some("closed by ann"), false));
    let what = "echo $$ >\"$FAKE/pid\"; exec sleep 1000";
    let output = command(&home, &farm, &["--heartbeat", "1s"], what).output().unwrap();
    assert_eq!(output.status.code(), Some(122));
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 waits at place 1
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    error: request 42 was closed by somebody else: closed by ann
    --- exit status: 122
    ");
    assert_eq!(farm.calls_of(HEARTBEAT).len(), 3);
    assert!(crate::kit::is_gone(&home.path("fake/pid")));
    assert!(farm.calls()[0].body.contains(r#""heartbeat":"1s""#));
}

#[test]
fn ctrl_c_takes_the_wish_back() {
    let (farm, home) = (busy(), Home::new());
    let child = command(&home, &farm, &[], "exit 0").spawn().unwrap();
    farm.wait_for(REQUEST, 2);
    let output = interrupted(child);
    assert_eq!(output.status.code(), Some(130));
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 waits at place 1: 2 workers match, both running jobs
    --- exit status: 130
    ");
    assert_eq!(closed_because(&farm), "interrupted by its user");
    assert_eq!(home.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn ctrl_c_ends_the_command_and_releases() {
    let (farm, home) = (generous(), Home::new());
    let child = command(&home, &farm, &["-q"], "exec sleep 1000").spawn().unwrap();
    home.wait_for("fake/started");
    let output = interrupted(child);
    assert_eq!(output.status.code(), Some(130), "{}", told(&farm, &output));
    assert_eq!(closed_because(&farm), "interrupted by its user");
}

#[test]
fn a_command_that_handles_ctrl_c_says_its_own_code() {
    let (farm, home) = (generous(), Home::new());
    let what = "trap 'exit 9' INT; touch \"$FAKE/ready\"; while :; do sleep 0.1; done";
    let child = command(&home, &farm, &["-q"], what).spawn().unwrap();
    home.wait_for("fake/ready");
    let output = interrupted(child);
    assert_eq!(output.status.code(), Some(9), "{}", told(&farm, &output));
    assert_eq!(farm.calls_of(CLOSE).len(), 1);
}

#[test]
fn terminate_ends_ssh_too() {
    let (farm, home) = (generous(), Home::new());
    let what = "echo $$ >\"$FAKE/pid\"; touch \"$FAKE/ready\"; exec sleep 1000";
    let child = command(&home, &farm, &["-q"], what).spawn().unwrap();
    home.wait_for("fake/ready");
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", told(&farm, &output));
    assert_eq!(closed_because(&farm), "interrupted by its user");
    assert!(crate::kit::is_gone(&home.path("fake/pid")));
}

#[test]
fn an_ssh_that_does_not_listen_is_killed() {
    let (farm, home) = (generous(), Home::new());
    let what = "trap '' TERM; echo $$ >\"$FAKE/pid\"; touch \"$FAKE/ready\"; while :; do sleep 0.1; done";
    let child = command(&home, &farm, &["-q"], what).spawn().unwrap();
    home.wait_for("fake/ready");
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", told(&farm, &output));
    assert!(crate::kit::is_gone(&home.path("fake/pid")));
}

#[test]
fn a_farm_cannot_give_ssh_options() {
    let (farm, home) = (Farm::new(), Home::new());
    let mut trap = running(&[]);
    trap["job"]["access"]["user"] = "-oProxyCommand=touch".into();
    farm.on("POST /api/v2/requests", 201, trap.clone()).on(HEARTBEAT, 200, trap).on(
        CLOSE,
        200,
        ended("done", None, false),
    );
    let output = command(&home, &farm, &["-q"], "exit 0").output().unwrap();
    assert_snapshot!(told(&farm, &output), @r#"
    --- stderr
    error: the farm names a user that ssh must not be given: "-oProxyCommand=touch"
    --- exit status: 1
    "#);
    assert_eq!(closed_because(&farm), "its user could not connect");
    assert!(!home.path("fake/started").exists());
}

#[test]
fn a_farm_that_goes_away_is_warned_about() {
    let (farm, home) = (generous(), Home::new());
    let child = command(&home, &farm, &["-q"], "while ! [ -e \"$FAKE/go\" ]; do sleep 0.1; done; exit 5");
    let mut child = child;
    let child = child.spawn().unwrap();
    home.wait_for("fake/started");
    let url = farm.url.clone();
    drop(farm);
    std::fs::write(home.path("fake/go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8(output.stderr).unwrap().replace(&url, "http://FARM");
    assert_snapshot!(text, @"warning: request 42 could not be closed: http://FARM does not answer; the farm closes it when no heartbeat comes");
}
