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
      -i, --identity <FILE>   Private key to get in with, instead of those that are found [the agent's,
                              ~/.ssh/id_*, else a new one]
          --wait <TIME>       Longest time to wait for a board, like 90s, 5m [default: no limit]
          --heartbeat <TIME>  How often to tell the farm that we are still here; it takes the board back
                              after three silences [default: 10s]
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
fn opens_a_shell() {
    let (farm, home) = (farm(&["ssh-ed25519 AAAAboard"]), Home::new());
    let output = home.command(&farm, &["ssh", "board=rpi4"]).env("FAKE_DO", "exit 3").output().unwrap();
    assert_snapshot!(told(&farm, &output), @"
    --- stderr
    request 42 runs on worker 01900000-0000-7000-8000-000000000001
    --- exit status: 3
    ");
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
    boruta-user@farm.example
    "#);
    assert_snapshot!(home.read("fake/known_hosts"), @"grove-job-42 ssh-ed25519 AAAAboard");
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
fn the_users_own_arguments_follow_the_address() {
    let (farm, home) = (farm(&[]), Home::new());
    home.command(&farm, &["ssh", "camera", "--", "-L", "8080:localhost:80", "uptime"]).output().unwrap();
    let words = home.ssh_words();
    assert!(words.ends_with("boruta-user@farm.example\n-L\n8080:localhost:80\nuptime\n"), "{words}");
}
