//! `grove run` and `grove ssh` as users type them, onto a real sshd.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::uuid;
use grove_tests_kit::{Farm, Grove, Process, Setup, Sshd, tools, wait};
use rustix::process::Signal;
use tempfile::TempDir;

/// A farm with one real board, and a user with a key of their own.
struct Lab {
    grove: Grove,
    sshd: Sshd,
    farm: Farm,
    home: TempDir,
}

impl Lab {
    async fn new() -> Lab {
        let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
        sshd.join(&grove, uuid(1), &[("board", "rpi4")]).await;
        let home = tempfile::tempdir().unwrap();
        tools::make_key(home.path(), "mine");
        let farm = grove.farm();
        Lab { grove, sshd, farm, home }
    }

    fn key(&self) -> PathBuf {
        self.home.path().join("mine")
    }

    fn spawn(&self, words: &[&str], stdin: Stdio) -> Process {
        let key = self.key().display().to_string();
        let (verb, rest) = words.split_first().unwrap();
        let words: Vec<_> = [*verb, "-i", &key].iter().chain(rest).copied().collect();
        Process::start(self.grove.cli(&words).stdin(stdin))
    }

    async fn run(&self, words: &[&str]) -> Output {
        self.spawn(words, Stdio::null()).output().await
    }

    /// The board is given back, and nobody can get in with the user's key.
    async fn is_released(&self, request: u64, state: RequestState) {
        self.farm.until_request(request, state).await;
        self.farm.until_worker(uuid(1), WorkerState::Idle).await;
        let keys = std::fs::read_to_string(self.sshd.key_file()).unwrap();
        let public = std::fs::read_to_string(self.key().with_extension("pub")).unwrap();
        assert!(!keys.contains(public.trim()), "the user's key is still on the board");
    }

    /// Waits until the job runs and its command has begun, as a file shows.
    async fn until_there(&self, request: u64, file: &std::path::Path) {
        self.farm.until_event("request.created", &format!("request/{request}")).await;
        self.farm.until_request(request, RequestState::InProgress).await;
        wait::until("the command to begin", || async { file.exists().then_some(()) }).await;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn run_is_the_remote_command() {
    let lab = Lab::new().await;
    let ended = lab.run(&["run", "board=rpi4", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!((text(&ended.stdout).as_str(), ended.status.code()), ("out\n", Some(7)), "{ended:?}");
    assert!(text(&ended.stderr).contains("err\n"), "{ended:?}");
    lab.is_released(1, RequestState::Done).await;

    let ended = lab.run(&["run", "board=rpi4", "--", "printf", "%s|", "two words", "$HOME", "it's"]).await;
    assert_eq!(text(&ended.stdout), "two words|$HOME|it's|", "arguments arrive as they are: {ended:?}");
    assert_eq!(ended.status.code(), Some(0));
    lab.is_released(2, RequestState::Done).await;

    let ended = lab.run(&["run", "--wait", "1s", "board=none", "--", "true"]).await;
    assert_eq!(ended.status.code(), Some(120), "{ended:?}");
    lab.is_released(3, RequestState::Cancelled).await;
}

#[tokio::test]
async fn ssh_is_a_shell_on_the_board() {
    let lab = Lab::new().await;
    let mut shell = lab.spawn(&["ssh", "board=rpi4"], Stdio::piped());
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(b"echo typed: $((6 * 7))\nexit 3\n").unwrap();
    let ended = shell.output().await;
    assert!(text(&ended.stdout).contains("typed: 42\n"), "{ended:?}");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    drop(stdin);
    lab.is_released(1, RequestState::Done).await;

    let ended = lab.run(&["ssh", "board=rpi4", "--", "-v", "echo own arguments"]).await;
    assert_eq!(text(&ended.stdout), "own arguments\n", "{ended:?}");
    lab.is_released(2, RequestState::Done).await;
}

#[tokio::test]
async fn ctrl_c_gives_the_board_back() {
    let lab = Lab::new().await;
    let there = lab.home.path().join("there");
    let script = format!("touch {}; exec sleep 1000", there.display());
    let command = lab.spawn(&["run", "board=rpi4", "--", "sh", "-c", &script], Stdio::null());
    lab.until_there(1, &there).await;
    command.signal(Signal::INT);
    assert_eq!(command.output().await.status.code(), Some(130));
    lab.is_released(1, RequestState::Done).await;

    // While it waits, there is nothing to give back but its place.
    let command = lab.spawn(&["run", "board=none", "--", "true"], Stdio::null());
    lab.farm.until_event("request.created", "request/2").await;
    command.signal(Signal::INT);
    assert_eq!(command.output().await.status.code(), Some(130));
    lab.is_released(2, RequestState::Cancelled).await;
}

#[tokio::test]
async fn a_killed_client_loses_its_board_by_silence() {
    let lab = Lab::new().await;
    let there = lab.home.path().join("there");
    let script = format!("touch {}; exec sleep 1000", there.display());
    let words = ["run", "--heartbeat", "1s", "board=rpi4", "--", "sh", "-c", &script];
    let mut command = lab.spawn(&words, Stdio::null());
    lab.until_there(1, &there).await;
    command.kill();
    lab.is_released(1, RequestState::Done).await;
}

#[tokio::test]
async fn a_job_ends_when_its_time_is_up() {
    let lab = Lab::new().await;
    let ended = lab.run(&["run", "--for", "2s", "board=rpi4", "--", "sleep", "1000"]).await;
    assert_eq!(ended.status.code(), Some(124), "{ended:?}");
    lab.is_released(1, RequestState::Done).await;
}
