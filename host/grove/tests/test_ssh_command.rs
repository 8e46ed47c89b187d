use insta::assert_snapshot;

use crate::kit::{Farm, Home, ended, help, running, told};

fn farm(host_keys: &[&str]) -> Farm {
    let farm = Farm::new();
    farm.on("POST /api/v2/requests", 201, running(host_keys))
        .on("POST /api/v2/requests/42/heartbeat", 200, running(host_keys))
        .on("POST /api/v2/requests/42/close", 200, ended("done", None, false));
    farm
}

#[test]
fn help_says() {
    assert_snapshot!(help(&["ssh"]), @"
    Get a board, open a shell on it, give it back

    Usage: grove ssh [OPTIONS] [TERM]... [-- <SSH ARGUMENT>...]

    Arguments:
      [TERM]...          What the board must have: camera, !camera, board=rpi4, baud=57600,115200,
                         uart=2.., lab!=berlin; none = any
      [SSH ARGUMENT]...  Options for ssh, like -L 8080:localhost:80, then perhaps a command for the
                         board's shell

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
          --job <REQUEST>     Go to the board of this job, which goes on when this session ends, instead
                              of asking for one
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
fn opens_a_shell() {
    let (farm, home) = (farm(&["ssh-ed25519 AAAAboard"]), Home::new());
    let output = home.command(&farm, &["ssh", "board=rpi4"]).env("FAKE_DO", "exit 3").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    --- exit status: 3
    ");
    assert_snapshot!(home.ssh_words(), @"
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
    --
    boruta-user@farm.example
    ");
    assert_snapshot!(home.read("fake/known_hosts"), @"grove-01900000-0000-7000-8000-000000000001 ssh-ed25519 AAAAboard");
    assert_eq!(farm.calls_of("POST /api/v2/requests/42/close").len(), 1);
}

#[test]
fn a_board_without_known_keys_is_taken_as_it_is() {
    let (farm, home) = (farm(&[]), Home::new());
    home.command(&farm, &["ssh"]).output().unwrap();
    let words = home.ssh_words();
    assert!(words.contains("-o StrictHostKeyChecking=accept-new\n"), "{words}");
    assert_eq!(home.read("fake/known_hosts"), "");
}

#[test]
fn the_users_own_arguments_follow_ours() {
    let (farm, home) = (farm(&[]), Home::new());
    home.command(&farm, &["ssh", "camera", "--", "-L", "8080:localhost:80", "uptime"]).output().unwrap();
    let words = home.ssh_words();
    let end = "\n-L\n8080:localhost:80\n--\nboruta-user@farm.example\nsh -c 'trap : INT QUIT TERM HUP; \
               \"${SHELL:-sh}\" -c \"$1\"; exit $?' sh uptime\n";
    assert!(words.ends_with(end), "{words}");
    assert!(words.starts_with("-F none\n"), "{words}");

    let home = Home::new();
    home.command(&farm, &["ssh", "--", "-F", "mine"]).output().unwrap();
    assert!(!home.ssh_words().contains("-F none"), "{}", home.ssh_words());
}

#[test]
fn the_background_is_no_place_for_ssh() {
    let (farm, home) = (farm(&[]), Home::new());
    let output = home.command(&farm, &["ssh", "--", "-fN"]).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: with -f ssh goes to the background, and the board would be given back
    hint: leave it out, and let your shell put it there: grove ssh … -- -N -L … &
    --- exit status: 1
    ");
    assert!(farm.calls().is_empty());
}

#[test]
fn a_shell_that_reads_a_script_is_not_opened_again() {
    let (farm, home) = (farm(&[]), Home::new());
    let mut command = home.command(&farm, &["ssh", "-q"]);
    let what = "says 'debug1: Entering interactive session.'; exit 255";
    let output = command.env("FAKE_DO", what).output().unwrap();
    assert_eq!((output.status.code(), home.attempts()), (Some(121), 1), "{}", told(&farm, &output));
}

#[test]
fn ways_through_the_board_are_opened_again() {
    let (farm, home) = (farm(&[]), Home::new());
    farm.on("GET /api/v2/requests/42", 200, running(&[]));
    let mut command = home.command(&farm, &["ssh", "--", "-N", "-L", "1:localhost:1"]);
    let begun = "says 'debug1: Entering interactive session.'";
    let what =
        format!("{begun}; if [ $(wc -l <\"$FAKE/attempts\") -lt 2 ]; then exit 255; fi; sleep 0.5; exit 4");
    let output = command.env("FAKE_DO", what).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    grove: no connection to the board; trying again for up to 15m, Ctrl-C gives it back
    grove: connected
    --- exit status: 4
    ");
    assert_eq!((output.status.code(), home.attempts()), (Some(4), 2));
}

#[test]
fn joins_a_job_and_leaves_it_alone() {
    let (farm, home) = (farm(&[]), Home::new());
    let mut job = crate::kit::job("running");
    job["access"]["private_key"] = "THE KEY\n".into();
    farm.on("GET /api/v2/requests/42", 200, running(&[])).on("GET /api/v2/jobs/42", 200, job);
    let output = home.command(&farm, &["ssh", "--job", "42"]).env("FAKE_DO", "exit 3").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", told(&farm, &output));
    let words = home.ssh_words();
    assert!(words.contains("-i PRIVATE/job_key\n-i HOME/.config/grove/id_ed25519\n"), "{words}");
    assert!(farm.calls_of("POST /api/v2/requests/42/close").is_empty());
    assert!(farm.calls_of("POST /api/v2/requests ").is_empty());
    assert!(!farm.calls_of("POST /api/v2/requests/42/heartbeat").is_empty());

    let output = home.command(&farm, &["ssh", "--job", "42", "camera"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));

    let waiting = crate::kit::waiting(1, "");
    let farm = Farm::new();
    farm.on("GET /api/v2/requests/42", 200, waiting);
    let output = home.command(&farm, &["ssh", "--job", "42"]).output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    error: request 42 has no board yet
    hint: `grove why 42` says what it waits for
    --- exit status: 1
    ");
}
