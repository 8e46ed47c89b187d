//! Sessions that go on: through reboots, cut lines, and restarts of the controller. And commands that end as they should.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::uuid;
use grove_tests_kit::{Grove, Process, Setup, Sshd, Terminal, tools, wait};
use serde_json::json;

/// Sessions that a controller is killed under.
const SESSIONS: u64 = 20;
/// Within which all of them must be back, from when it answers again.
const BACK: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "it is measured as a user would feel it")]
fn now() -> Instant {
    Instant::now()
}

/// A farm with this board, whose users log in as its admin.
async fn farm_with(sshd: &Sshd) -> Grove {
    let grove = Grove::start(Setup::default());
    let config = sshd.driver_config(json!({ "authorized_keys": "/run/board/keys-of-root" }));
    sshd.join_as(&grove, uuid(1), &[("board", "rpi4")], config).await;
    grove
}

/// Waits until this request is there, and has a board.
async fn is_running(grove: &Grove, id: u64) {
    let farm = grove.farm();
    let look =
        || async { farm.request(id).await.ok().filter(|request| request.state == RequestState::InProgress) };
    wait::until("the job", look).await;
}

async fn ran(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Process::start(&mut command).output().await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

#[tokio::test]
async fn a_board_reboots() {
    let mut sshd = Sshd::start_in_cell();
    let grove = farm_with(&sshd).await;
    let mut shell = Terminal::start(&grove.cli(&["ssh", "board=rpi4"]));
    is_running(&grove, 1).await;
    shell.type_line("echo first: $((6 * 7)) in job $GROVE_JOB");
    shell.until_said("first: 42 in job 1", 1).await;

    sshd.cut_power();
    shell.until_said("no connection to the board", 1).await;
    sshd.boot();
    shell.until_said("connected again; this is a new shell", 1).await;
    shell.type_line("echo second: $((7 * 7)) in job $GROVE_JOB");
    shell.until_said("second: 49 in job 1", 1).await;
    let job = grove.farm().request(1).await.unwrap();
    assert_eq!(job.state, RequestState::InProgress);
    shell.type_line("exit 3");
    let (status, said) = shell.ended().await;
    assert_eq!(status.code(), Some(3), "{said}");
    grove.farm().until_request(1, RequestState::Done).await;

    // A command does not begin a second time.
    grove.farm().until_worker(uuid(1), WorkerState::Idle).await;
    let mut command = grove.cli(&["run", "board=rpi4", "--", "sh", "-c", "echo begun; exec sleep 1000"]);
    let command = Process::start(command.stdout(Stdio::piped()));
    is_running(&grove, 2).await;
    let begun = || async { sshd.log().contains("Starting session: command for root").then_some(()) };
    wait::until("the command to begin", begun).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    sshd.cut_power();
    let ended = command.output().await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(121), "{said}");
    assert!(said.contains("connection lost; whether the command ended is unknown"), "{said}");
    assert_eq!(ended.stdout, b"begun\n");
    let request = grove.farm().until_request(2, RequestState::Done).await;
    assert_eq!(request.reason.as_deref(), Some("the connection to the board was lost"));
}

#[tokio::test]
async fn a_cable_is_pulled() {
    let sshd = Sshd::start_cabled();
    let grove = farm_with(&sshd).await;
    let mut shell = Terminal::start(&grove.cli(&["ssh", "--heartbeat", "1s", "board=rpi4"]));
    is_running(&grove, 1).await;
    shell.type_line("echo first: $((6 * 7))");
    shell.until_said("first: 42", 1).await;

    // Nobody says a word any more: only silence tells.
    sshd.plug(false);
    shell.until_said("no connection to the board", 1).await;
    sshd.plug(true);
    shell.until_said("connected again; this is a new shell", 1).await;
    shell.type_line("echo second: $((7 * 7))");
    shell.until_said("second: 49", 1).await;
    shell.type_line("exit 4");
    let (status, said) = shell.ended().await;
    assert_eq!(status.code(), Some(4), "{said}");

    grove.farm().until_worker(uuid(1), WorkerState::Idle).await;
    let words = ["run", "--heartbeat", "1s", "board=rpi4", "--", "sh", "-c", "echo begun; exec sleep 1000"];
    let command = Process::start(&mut grove.cli(&words));
    let before = sshd.log().len();
    is_running(&grove, 2).await;
    let begun = || async {
        let log = sshd.log();
        log.get(before..).is_some_and(|log| log.contains("Starting session: command for root")).then_some(())
    };
    wait::until("the command to begin", begun).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    sshd.plug(false);
    let ended = command.output().await;
    assert_eq!(ended.status.code(), Some(121), "{ended:?}");
    sshd.plug(true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_is_killed_under_sessions() {
    let mut grove = Grove::start(Setup::default());
    let boards: Vec<_> = (1..=SESSIONS).map(|_| Sshd::start()).collect();
    for (number, sshd) in (1..).zip(&boards) {
        let name = format!("board-{number}");
        grove.add_secret(&name, &sshd.admin_key());
        let config = sshd.driver_config(json!({ "authorized_keys": sshd.key_file(), "identity": name }));
        grove.farm().register(uuid(number), "ssh", config, &[("board", &name)]).await;
        grove.farm().want_idle(uuid(number)).await;
    }
    for number in 1..=SESSIONS {
        grove.farm().until_worker(uuid(number), WorkerState::Idle).await;
    }
    let mut shells = Vec::new();
    for number in 1..=SESSIONS {
        let mut shell = Terminal::start(&grove.cli(&["ssh", &format!("board=board-{number}")]));
        shell.type_line(&format!("echo $((6 * 7)): worker $GROVE_WORKER for {number}"));
        shells.push(shell);
    }
    for (number, shell) in (1..).zip(&shells) {
        shell.until_said(&format!("42: worker {} for {number}", uuid(number)), 1).await;
    }

    // And somebody who wants one of them, should it come free.
    let rival = grove.farm().create_request(&grove_tests_kit::farm::wish(&["board=board-1"]), None).await;
    let rival = rival.unwrap().id;
    tokio::task::block_in_place(|| grove.kill());
    join_all(shells.iter().map(|shell| shell.until_said("no connection to the board", 1))).await;
    grove.start_unready().await;
    let started = now();
    join_all(shells.iter().map(|shell| shell.until_said("connected again; this is a new shell", 1))).await;
    let took = started.elapsed();
    println!("{SESSIONS} sessions were back {took:?} after the controller answered");
    assert!(took < BACK, "{took:?}");

    for (number, shell) in (1..).zip(&mut shells) {
        shell.type_line(&format!("echo $((7 * 7)): worker $GROVE_WORKER for {number}"));
        shell.until_said(&format!("49: worker {} for {number}", uuid(number)), 1).await;
        shell.type_line(&format!("exit {number}"));
    }
    for (number, shell) in (1..).zip(shells) {
        let (status, said) = shell.ended().await;
        assert_eq!(status.code(), Some(number), "{said}");
    }
    let farm = grove.farm();
    for request in farm.all_requests().await {
        let job = request.job.clone();
        if request.id == rival {
            // It came after its user had left.
            let left = farm.until_request(rival, RequestState::InProgress).await;
            assert!(left.job.unwrap().opened > request.created);
            continue;
        }
        let ended = farm.until_request(request.id, RequestState::Done).await;
        assert_eq!((ended.reason, job.is_some()), (None, true), "its user left");
    }
    farm.close_request(rival, None).await.unwrap();
}

#[tokio::test]
async fn commands_end_as_they_do() {
    let sshd = Sshd::start_in_cell();
    let grove = farm_with(&sshd).await;
    for (signal, code) in [("SEGV", 139), ("KILL", 137), ("TERM", 143)] {
        let kill = format!("kill -{signal} $$");
        for words in [
            &["run", "--", "sh", "-c", &kill][..],
            &["run", "-t", "--", "sh", "-c", &kill],
            &["ssh", "--", &kill],
            &["ssh", "--", "-tt", &kill],
        ] {
            let (ended, _, said) = ran(grove.cli(words)).await;
            assert_eq!(ended, Some(code), "{words:?}: {said}");
        }
    }
    assert_eq!(ran(grove.cli(&["run", "--", "sh", "-c", "exit 255"])).await.0, Some(255));

    // Whatever the user's configuration of ssh says.
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    for option in [
        "ForkAfterAuthentication yes",
        "RemoteCommand false",
        "SessionType none",
        "ProxyJump nowhere.example",
        "StdinNull yes",
        "RequestTTY force",
        "LocalForward 1 localhost:1\n  ExitOnForwardFailure yes",
        "BindAddress 203.0.113.1",
        "NoSuchOption yes",
    ] {
        std::fs::write(home.path().join(".ssh/config"), format!("Host *\n  {option}\n")).unwrap();
        let mut command = grove.cli(&["run", "--", "cat"]);
        command.env("HOME", home.path()).stdin(Stdio::piped());
        let mut process = Process::start(&mut command);
        std::io::Write::write_all(&mut process.stdin.take().unwrap(), b"through").unwrap();
        let ended = process.output().await;
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(0), &b"through"[..]), "{option}: {ended:?}");
    }

    // The end of the reader ends the command.
    let grove_words = format!("{} run -- sh -c yes | head -1", shown(&grove));
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{grove_words}; echo ${{PIPESTATUS[0]}}")]);
    let (_, said, _) = ran(with_environment(bash, &grove)).await;
    assert_eq!(said, "y\n141\n");

    let (code, said, _) = ran(grove.cli(&["run", "--", "sh", "-c", "echo $GROVE_JOB $GROVE_WORKER"])).await;
    assert_eq!(code, Some(0));
    assert!(said.ends_with(&format!(" {}\n", uuid(1))), "{said}");
}

#[tokio::test]
async fn keys_that_no_board_takes_lock_nobody_out() {
    let sshd = Sshd::start_in_cell();
    let grove = farm_with(&sshd).await;
    let keys = tempfile::tempdir().unwrap();
    let script = r#"
        set -e
        cd "$0"
        ssh-keygen -q -t rsa -b 1024 -N '' -f short
        ssh-keygen -q -t ed25519 -N '' -f ca
        ssh-keygen -q -t ed25519 -N '' -C mine -f mine
        ssh-keygen -q -s ca -I me -n root mine.pub
        eval "$(ssh-agent)" >/dev/null
        trap 'kill $SSH_AGENT_PID' EXIT
        ssh-add -q short
        ssh-add -q mine
        "$@"
    "#;
    let mut shell = Command::new("sh");
    let cli = grove.cli(&["run", "--", "echo", "in"]);
    shell.args(["-c", script]).arg(keys.path()).arg(cli.get_program()).args(cli.get_args());
    let (code, said, errors) = ran(with_environment(shell, &grove)).await;
    assert_eq!((code, said.as_str()), (Some(0), "in\n"), "{errors}");
    assert_eq!(errors.matches("is left out").count(), 2, "{errors}");
}

#[tokio::test]
async fn a_job_is_joined_and_kept() {
    let sshd = Sshd::start_in_cell();
    let grove = farm_with(&sshd).await;
    let mut shell = Terminal::start(&grove.cli(&["ssh", "board=rpi4"]));
    is_running(&grove, 1).await;
    for number in [5, 6] {
        let (code, said, errors) =
            ran(grove.cli(&["ssh", "--job", "1", "--", &format!("echo in; exit {number}")])).await;
        assert_eq!((code, said.as_str()), (Some(number), "in\n"), "{errors}");
    }
    assert_eq!(grove.farm().request(1).await.unwrap().state, RequestState::InProgress);
    shell.type_line("exit");
    assert_eq!(shell.ended().await.0.code(), Some(0));
    grove.farm().until_request(1, RequestState::Done).await;

    // With the key that the farm has made.
    let (code, id, _) = ran(grove.cli(&["request", "create"])).await;
    assert_eq!((code, id.trim()), (Some(0), "2"));
    grove.farm().until_request(2, RequestState::InProgress).await;
    let (code, said, errors) = ran(grove.cli(&["ssh", "--job", "2", "--", "echo in"])).await;
    assert_eq!((code, said.as_str()), (Some(0), "in\n"), "{errors}");
    let (_, key, _) = ran(grove.cli(&["job", "key", "2"])).await;
    tools::write_private(&grove.state().join("pasted"), &key);
    let (_, shown, _) = ran(grove.cli(&["job", "show", "2"])).await;
    let access = shown.lines().find_map(|line| line.strip_prefix("access")).unwrap().trim().to_owned();
    let known = tempfile::tempdir().unwrap();
    let options = format!(
        "ssh -F none -i {} -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={}/known_hosts",
        grove.state().join("pasted").display(),
        known.path().display()
    );
    let line = access.replacen("ssh", &options, 1);
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{line} echo pasted")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, said, errors) = ran(bash).await;
    assert_eq!((code, said.as_str()), (Some(0), "pasted\n"), "{errors}");
    let hosts = std::fs::read_to_string(known.path().join("known_hosts")).unwrap();
    assert!(hosts.starts_with(&format!("grove-{} ", uuid(1))), "{hosts}");
    grove.farm().close_request(2, None).await.unwrap();
}

#[tokio::test]
async fn a_local_command_holds_a_board() {
    let sshd = Sshd::start_in_cell();
    let mut grove = farm_with(&sshd).await;
    let script = "ssh -F $GROVE_SSH_CONFIG board 'echo on $GROVE_JOB'; exit 6";
    let (code, said, errors) = ran(grove.cli(&["run", "--local", "--", "sh", "-c", script])).await;
    assert_eq!((code, said.as_str()), (Some(6), "on 1\n"), "{errors}");
    grove.farm().until_request(1, RequestState::Done).await;
    grove.farm().until_worker(uuid(1), WorkerState::Idle).await;

    // It lives through a restart of the controller, and ends with the job.
    let ready = grove.state().join("ready");
    let script = format!("trap 'echo asked; exit 0' TERM; touch {}; sleep 1000 & wait", ready.display());
    let words = ["run", "--heartbeat", "1s", "--local", "--", "sh", "-c", &script];
    let command = Process::start(&mut grove.cli(&words));
    is_there(&ready).await;
    grove.kill();
    grove.start_unready().await;
    let look = || async {
        grove.farm().request(2).await.ok().filter(|request| request.state == RequestState::InProgress)
    };
    wait::until("the job to go on", look).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    grove.farm().close_request(2, Some("enough")).await.unwrap();
    let ended = command.output().await;
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(122), &b"asked\n"[..]), "{ended:?}");
}

async fn is_there(file: &Path) {
    wait::until(&format!("{}", file.display()), || async { file.exists().then_some(()) }).await;
}

/// `grove --server …`, for a shell.
fn shown(grove: &Grove) -> String {
    let cli = grove.cli(&[]);
    let words = [cli.get_program()].into_iter().chain(cli.get_args());
    words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The command in the surroundings of a user of this farm.
fn with_environment(mut command: Command, grove: &Grove) -> Command {
    for (name, value) in grove.cli(&[]).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
