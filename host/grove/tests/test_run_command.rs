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
          --wait <TIME>       Longest time to wait for a board, like 90s, 5m [default: no limit]
          --extend            Let the job run longer by itself for as long as it is used, up to the
                              farm's limit
          --idle <TIME>       Give the board back when nothing went to or from it for so long, at least
                              1m [default: never]
      -i, --identity <FILE>   Private key to get in with, instead of those that are found [the agent's,
                              ~/.ssh/id_*, else one of grove's own]
          --heartbeat <TIME>  How often to tell the farm that we are still here [default: 10s]
          --away <TIME>       How long the board is kept, and the way to it looked for, while the farm
                              does not hear from us or the board is down [default: 15m for ssh, 1m for
                              run]
          --no-reconnect      End when the connection is lost
      -n, --no-stdin          Read nothing from stdin, as in loops that read there
      -t, --tty               Give the command a terminal
          --local             Run the command on this machine instead, with the board's address in
                              GROVE_BOARD_HOST, GROVE_BOARD_PORT, GROVE_BOARD_USER, and a configuration
                              for `ssh -F` in GROVE_SSH_CONFIG, in which the board is called `board`
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
      121  the board failed, or the connection to it was lost, under the job
      122  the request was closed by somebody else
      123  the farm refused the request, or no board could ever satisfy it
      124  the job's time was up, or nothing moved for --idle
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
    POST /api/v2/requests {"wants":["board=rpi4","uart=2.."],"priority":3,"for":"1h","keys":["KEY"],"heartbeat":"10s","away":"1m","hints":{"why":"test"}}
    GET /api/v2/requests/42?wait=10s&revision=1
    POST /api/v2/requests/42/close {}
    "#);
    assert_snapshot!(home.ssh_words(), @r#"
    -F none
    -p 20007
    -o HostKeyAlias=grove-01900000-0000-7000-8000-000000000001
    -o UserKnownHostsFile=PRIVATE/known_hosts
    -o GlobalKnownHostsFile=/dev/null
    -o StrictHostKeyChecking=yes
    -o UpdateHostKeys=no
    -o IdentitiesOnly=yes
    -o PreferredAuthentications=publickey
    -o ControlMaster=no
    -o ControlPath=none
    -o ServerAliveInterval=10
    -o ConnectTimeout=15
    -o SendEnv=LANG LC_* GROVE_JOB GROVE_WORKER
    -o LogLevel=DEBUG2
    -E PRIVATE/ssh.log
    -i HOME/.config/grove/id_ed25519
    -T
    --
    boruta-user@farm.example
    sh -c 'trap : INT QUIT TERM HUP; "$@"; exit $?' sh make 'it work'
    "#);
    assert_snapshot!(home.read("fake/known_hosts"), @"
    grove-01900000-0000-7000-8000-000000000001 ssh-ed25519 AAAAboard
    grove-01900000-0000-7000-8000-000000000001 ssh-rsa AAAAboard2
    ");
}

#[test]
fn makes_a_key_once_where_there_is_none() {
    let (farm, home) = (generous(), Home::new());
    assert!(command(&home, &farm, &[], "exit 0").status().unwrap().success());
    let key = home.path(".config/grove/id_ed25519");
    assert_eq!(home.read("fake/identity"), home.read(".config/grove/id_ed25519"));
    // The two halves belong together.
    let public = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&key).output().unwrap();
    let public = String::from_utf8(public.stdout).unwrap();
    let sent = |call: usize| {
        let sent: Value = serde_json::from_str(&farm.calls_of("POST /api/v2/requests")[call].body).unwrap();
        sent["keys"][0].as_str().unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(public.split_whitespace().nth(1), Some(sent(0).as_str()));
    assert_eq!(home.left_behind(), Vec::<std::path::PathBuf>::new());

    let again = generous();
    assert!(command(&home, &again, &[], "exit 0").status().unwrap().success());
    assert!(again.calls()[0].body.contains(&sent(0)), "{}", again.calls()[0].body);
}

#[test]
fn takes_the_keys_at_home() {
    let (farm, home) = (generous(), Home::new());
    let mine = home.make_key(".ssh/id_ed25519", &["ed25519"], "");
    // One that nobody can be asked the passphrase of, and one without its private half: both useless.
    home.make_key(".ssh/id_ecdsa", &["ecdsa"], "secret");
    std::fs::write(home.path(".ssh/id_rsa.pub"), "ssh-rsa AAAAalone").unwrap();
    assert!(command(&home, &farm, &[], "exit 0").status().unwrap().success());
    let sent: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    assert_eq!(sent["keys"], json!([mine]));
    assert!(home.ssh_words().contains("-i HOME/.ssh/id_ed25519\n"), "{}", home.ssh_words());
}

#[test]
fn keys_that_no_board_takes_are_left_out_with_a_word() {
    let (farm, home) = (generous(), Home::new());
    let mine = home.make_key(".ssh/id_ed25519", &["ed25519"], "");
    home.make_key(".ssh/id_rsa", &["rsa", "-b", "1024"], "");
    let output = command(&home, &farm, &[], "exit 0").output().unwrap();
    let text = told(&farm, &output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("your key me is left out: an rsa key of 1024 bits is not taken: use 2048 to"),
        "{text}"
    );
    let sent: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    assert_eq!(sent["keys"], json!([mine]));
}

#[test]
fn takes_the_key_it_is_told() {
    let (farm, home) = (generous(), Home::new());
    let public = home.make_key("mine", &["ed25519"], "");
    let mine = home.path("mine");
    let status = command(&home, &farm, &["-i", mine.to_str().unwrap()], "exit 0").status().unwrap();
    assert!(status.success());
    let sent: Value = serde_json::from_str(&farm.calls()[0].body).unwrap();
    assert_eq!(sent["keys"], json!([public]));
    assert_eq!(home.read("fake/identity"), home.read("mine"));
}

#[test]
fn a_locked_key_without_a_terminal_asks_nobody() {
    let (farm, home) = (generous(), Home::new());
    home.make_key("mine", &["ed25519"], "secret");
    let mine = home.path("mine").display().to_string();
    let grove = command(&home, &farm, &["-i", &mine], "exit 0");
    let mut alone = home.command(&farm, &[]);
    // Nothing is on a terminal in a session of its own.
    let mut setsid = Command::new("setsid");
    setsid.arg("--wait").arg(grove.get_program()).args(grove.get_args());
    for (name, value) in alone.env("FAKE_DO", "exit 0").get_envs() {
        setsid.env(name, value.unwrap());
    }
    let output = setsid.env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS").output().unwrap();
    assert_snapshot!(home.plain(&told(&farm, &output)), @"
    --- stderr
    error: the key HOME/mine has a passphrase, and there is no terminal to ask for it
    hint: unlock it for your agent with ssh-add, or name another with -i
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
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
    hint: ask for less with --for, and prolong the job while it runs: grove request prolong
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
    // It knows nothing: ssh failed by itself, and says so.
    let farm = generous();
    let what = "says 'debug1: Connecting'; says 'board@farm: Permission denied (publickey).'; exit 255";
    let output = run(&farm, &["-q"], what);
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    board@farm: Permission denied (publickey).
    --- exit status: 255
    ");
    assert_eq!(closed_because(&farm), "its user's ssh failed with exit code 255");
}

const BEGUN: &str = "says 'debug1: Entering interactive session.'";

#[test]
fn a_command_is_never_begun_twice() {
    let (farm, home) = (generous(), Home::new());
    let output = command(&home, &farm, &["-q"], &format!("{BEGUN}; exit 255")).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: job 42: connection lost; whether the command ended is unknown
    --- exit status: 121
    ");
    assert_eq!((output.status.code(), home.attempts()), (Some(121), 1));
    assert_eq!(closed_because(&farm), "the connection to the board was lost");
}

#[test]
fn a_command_that_did_not_begin_is_tried_again() {
    let (farm, home) = (generous(), Home::new());
    let refused = "says 'ssh: connect to host farm.example port 20007: Connection refused'; exit 255";
    let what = format!("if [ $(wc -l <\"$FAKE/attempts\") -lt 3 ]; then {refused}; fi; {BEGUN}; exit 7");
    let output = command(&home, &farm, &[], &what).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 waits at place 1
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    grove: no connection to the board: ssh: connect to host farm.example port 20007: Connection refused; trying again for up to 1m, Ctrl-C gives it back
    grove: connected
    --- exit status: 7
    ");
    assert_eq!(home.attempts(), 3);

    let home = Home::new();
    let output = command(&home, &farm, &["-q", "--no-reconnect"], &what).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: job 42 has no connection to its board: ssh: connect to host farm.example port 20007: Connection refused
    --- exit status: 121
    ");
    assert_eq!(home.attempts(), 1);

    let home = Home::new();
    let what = refused.to_owned();
    let output = command(&home, &farm, &["-q", "--away", "2s"], &what).output().unwrap();
    assert_eq!(output.status.code(), Some(121), "{}", told(&farm, &output));
    assert!(home.attempts() > 1);
}

#[test]
fn a_code_of_255_is_the_commands_own() {
    let (farm, home) = (generous(), Home::new());
    let status = "says 'debug1: client_input_channel_req: channel 0 rtype exit-status reply 0'";
    let output = command(&home, &farm, &["-q"], &format!("{BEGUN}; {status}; exit 255")).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", told(&farm, &output));
    assert_eq!(closed_because(&farm), Value::Null);
}

#[test]
fn a_command_that_nobody_reads_ends() {
    let (farm, home) = (generous(), Home::new());
    let what = format!("{BEGUN}; says 'debug2: channel 0: write failed'; exec sleep 1000");
    let output = command(&home, &farm, &["-q"], &what).output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{}", told(&farm, &output));
}

#[test]
fn the_farms_warnings_are_shown_once() {
    let (farm, home) = (generous(), Home::new());
    let mut warned = running(&HOST_KEYS);
    let at = crate::kit::ago("-9m");
    warned["warnings"] = json!([{"code": "ending", "text": "job 42 ends in 9m", "at": at}]);
    farm.on(HEARTBEAT, 200, warned);
    let child =
        command(&home, &farm, &["--heartbeat", "1s"], "while ! [ -e \"$FAKE/go\" ]; do sleep 0.1; done");
    let mut child = child;
    let child = child.spawn().unwrap();
    farm.wait_for(HEARTBEAT, 4);
    std::fs::write(home.path("fake/go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 waits at place 1
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    grove: job 42 ends in 9m
    ");
}

#[test]
fn a_job_that_is_kept_is_not_closed() {
    let (farm, home) = (generous(), Home::new());
    let mut kept = running(&HOST_KEYS);
    kept["job"]["kept"] = true.into();
    farm.on(HEARTBEAT, 200, kept);
    let child =
        command(&home, &farm, &["--heartbeat", "1s"], "while ! [ -e \"$FAKE/go\" ]; do sleep 0.1; done");
    let mut child = child;
    let child = child.spawn().unwrap();
    farm.wait_for(HEARTBEAT, 3);
    std::fs::write(home.path("fake/go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        told(&farm, &output).contains("job 42 goes on: `grove ssh --job 42`"),
        "{}",
        told(&farm, &output)
    );
    assert!(farm.calls_of(CLOSE).is_empty());
}

#[test]
fn a_terminal_that_goes_leaves_the_board_to_its_user() {
    let (farm, home) = (generous(), Home::new());
    let what = "touch \"$FAKE/ready\"; exec sleep 1000";
    let child = command(&home, &farm, &["-q", "--away", "5m"], what).spawn().unwrap();
    home.wait_for("fake/ready");
    signal(&child, Signal::HUP);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(129), "{}", told(&farm, &output));
    assert!(farm.calls_of(CLOSE).is_empty());
    assert!(farm.calls()[0].body.contains(r#""away":"5m""#), "{}", farm.calls()[0].body);
}

#[test]
fn local_runs_here_and_knows_the_board() {
    let (farm, home) = (generous(), Home::new());
    let script = "env | grep ^GROVE_ | grep -v SERVER | sort; cat \"$GROVE_SSH_CONFIG\"; exit 3";
    let mut command = home.command(&farm, &["run", "-q", "--local", "--", "sh", "-c", script]);
    let output = command.env("XDG_CONFIG_HOME", home.path("conf")).output().unwrap();
    assert_snapshot!(home.plain(&told(&farm, &output)), @r#"
    GROVE_BOARD_HOST=farm.example
    GROVE_BOARD_PORT=20007
    GROVE_BOARD_USER=boruta-user
    GROVE_JOB=42
    GROVE_SSH_CONFIG=PRIVATE/ssh_config
    GROVE_WORKER=01900000-0000-7000-8000-000000000001
    Host board
      HostName farm.example
      Port 20007
      User boruta-user
      HostKeyAlias grove-01900000-0000-7000-8000-000000000001
      UserKnownHostsFile PRIVATE/known_hosts
      GlobalKnownHostsFile /dev/null
      StrictHostKeyChecking yes
      UpdateHostKeys no
      IdentitiesOnly yes
      PreferredAuthentications publickey
      ControlMaster no
      ControlPath none
      ServerAliveInterval 10
      ConnectTimeout 15
      SendEnv LANG LC_* GROVE_JOB GROVE_WORKER
      IdentityFile "HOME/conf/grove/id_ed25519"
    --- exit status: 3
    "#);
    assert!(!home.path("fake/started").exists());
    assert_eq!(farm.calls_of(CLOSE).len(), 1);
}

#[test]
fn local_ends_with_the_board() {
    let (farm, home) = (generous(), Home::new());
    let over = problem(Code::RequestState, "request 42 is failed", None);
    farm.on(HEARTBEAT, 200, running(&HOST_KEYS)).on(HEARTBEAT, 409, over);
    farm.on(REQUEST, 200, ended("failed", Some("the board does not answer"), false));
    let script = "trap 'echo asked to; exit 0' TERM; sleep 1000 & wait";
    let words = ["run", "-q", "--heartbeat", "1s", "--local", "--", "sh", "-c", script];
    let output = home.command(&farm, &words).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    asked to
    --- stderr
    error: request 42 lost its board, which failed: the board does not answer
    --- exit status: 121
    ");
    assert!(farm.calls_of(CLOSE).is_empty());
}

#[test]
fn local_needs_its_program() {
    let farm = generous();
    let output = Home::new().command(&farm, &["run", "--local", "--", "no-such-program"]).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: there is no no-such-program on this machine
    hint: with --local the command runs on this machine; leave it out to run it on the board
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn words_and_folders_of_any_bytes_do() {
    use std::os::unix::ffi::OsStringExt;
    let (farm, home) = (generous(), Home::new());
    let odd = home.path("t'm \"p");
    std::fs::create_dir(&odd).unwrap();
    let mut command = home.command(&farm, &["run", "-q", "--", "printf"]);
    command.arg(std::ffi::OsString::from_vec(b"caf\xe9".to_vec())).env("TMPDIR", &odd);
    assert!(command.status().unwrap().success());
    let words = std::fs::read(home.path("fake/argv")).unwrap();
    let end = b"exit $?' sh printf 'caf\xe9'\n";
    assert!(words.ends_with(end), "{}", String::from_utf8_lossy(&words));
    assert!(!String::from_utf8_lossy(&words).contains("t'm"), "{}", String::from_utf8_lossy(&words));
}

#[test]
fn stdin_may_be_left_to_the_caller() {
    let (farm, home) = (generous(), Home::new());
    let script = "while read line; do \"$0\" run -nq -- \"$line\"; done";
    let mut command = home.command(&farm, &[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_grove")]).stdin(std::process::Stdio::piped());
    for (name, value) in command.env("FAKE_DO", "cat; exit 0").get_envs() {
        shell.env(name, value.unwrap());
    }
    run_with_input(shell, "one\ntwo\n");
    assert_eq!(home.attempts(), 2);
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
    assert_snapshot!(text, @"warning: request 42 could not be closed: http://FARM does not answer; the farm closes it when it has heard nothing for 1m");
}
