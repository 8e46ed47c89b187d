//! Boards that are not what they should be: they are found out before anybody gets them, and say why.

use std::net::TcpStream;
use std::process::Stdio;

use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::uuid;
use grove_tests_kit::{Grove, Process, Setup, Sshd};
use serde_json::json;

/// A board whose preparation must fail; why it did.
async fn fails(sshd: &Sshd, grove: &Grove, more: serde_json::Value) -> String {
    sshd.know(grove);
    let farm = grove.farm();
    farm.register(uuid(1), "ssh", sshd.driver_config(more), &[("board", "rpi4")]).await;
    farm.want_idle(uuid(1)).await;
    farm.until_worker(uuid(1), WorkerState::Failed).await.reason.unwrap()
}

/// What `grove …` writes.
async fn told(grove: &Grove, words: &[&str]) -> (Option<i32>, String) {
    let mut command = grove.cli(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Process::start(&mut command).output().await;
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn one_whose_sshd_no_longer_listens_is_given_to_nobody() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start_in_cell());
    let config = sshd.driver_config(json!({ "authorized_keys": "/run/board/keys-of-root" }));
    sshd.join_as(&grove, uuid(1), &[("board", "rpi4")], config).await;
    assert_eq!(told(&grove, &["run", "--", "true"]).await.0, Some(0));
    grove.farm().until_worker(uuid(1), WorkerState::Idle).await;

    // The controller's connection from the preparation lives on.
    sshd.admin().run("kill $(sed -n 's/^PPid:[[:space:]]*//p' /proc/$PPID/status)");
    assert!(TcpStream::connect((sshd.host.as_str(), sshd.port)).is_err(), "it listens still");
    let (code, said) = told(&grove, &["run", "--wait", "20s", "--", "true"]).await;
    assert_eq!(code, Some(120), "{said}");
    let worker = grove.farm().until_worker(uuid(1), WorkerState::Failed).await;
    assert!(worker.reason.as_ref().unwrap().contains("cannot be reached"), "{worker:?}");
}

#[tokio::test]
async fn one_that_its_check_finds_unwell_is_not_ready() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
    let more = json!({ "authorized_keys": sshd.key_file(), "check": "test -e /dev/video0-that-is-absent" });
    let reason = fails(&sshd, &grove, more).await;
    assert!(reason.contains("the check failed"), "{reason}");
}

#[tokio::test]
async fn what_preparation_says_is_in_its_log() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
    let script =
        "for number in $(seq 300); do echo \"line $number of preparation\"; done; echo oops >&2; exit 3";
    let reason = fails(&sshd, &grove, json!({ "authorized_keys": sshd.key_file(), "prepare": script })).await;
    assert!(reason.contains("prepare command 1 of 1") && reason.contains("oops"), "{reason}");
    let tasks = grove.farm().all_tasks().await;
    let (code, said) = told(&grove, &["task", "logs", &tasks[0].id.to_string()]).await;
    assert_eq!(code, Some(0), "{said}");
    for line in ["line 1 of preparation", "line 300 of preparation", "oops"] {
        assert!(said.contains(line), "{line:?} is not in {said}");
    }
}

#[tokio::test]
async fn one_whose_session_user_cannot_log_in_says_so_before_anybody_waits_for_it() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start_in_cell());
    // With PAM, a locked password would keep nobody out. Its own sshd has it in another file.
    sshd.admin().must("printf 'UsePAM no\n' > /etc/ssh/sshd_config");
    for (treat, why) in [
        ("usermod --lock dev", "the account is locked"),
        ("usermod --password '*' --shell /usr/sbin/nologin dev", "its shell is /usr/sbin/nologin"),
        ("usermod --shell /bin/sh --expiredate 2020-01-01 dev", "the account has expired"),
    ] {
        sshd.admin().must(&format!("id dev >/dev/null 2>&1 || useradd -m -p x -s /bin/sh dev; {treat}"));
        let reason = fails(&sshd, &grove, json!({ "session_user": "dev" })).await;
        assert!(reason.contains("user dev cannot log in") && reason.contains(why), "{treat}: {reason}");
    }
    sshd.admin().must("usermod --expiredate '' dev");
    grove.farm().to_idle(uuid(1)).await;
    let (code, said) = told(&grove, &["run", "--", "id", "-un"]).await;
    assert_eq!((code, said.contains("dev")), (Some(0), true), "{said}");
}
