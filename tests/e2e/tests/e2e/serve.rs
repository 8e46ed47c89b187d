//! How `grove serve` starts, refuses to start, and stops.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::farm::{uuid, wish};
use grove_tests_kit::{Grove, Process, Setup, history, wait};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

/// Runs `grove serve` on a state of its own; it must end by itself, badly.
async fn refused(command: &mut Command) -> String {
    let process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let Output { status, stdout, stderr } = process.output().await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(stdout.is_empty(), "it said that it was ready: {said}");
    said
}

fn serve(folder: &std::path::Path, flags: &[&str]) -> Command {
    let mut command = grove_tests_kit::grove::grove_command(folder);
    command.arg("serve").arg("--state").arg(folder.join("state")).args(flags);
    command
}

#[tokio::test]
async fn what_would_be_wrong_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(&mut serve(folder.path(), &["--listen", "0.0.0.0:0"])).await;
    assert!(said.contains("listen = 0.0.0.0 ") && said.contains("--insecure-listen"), "{said}");

    let file = folder.path().join("grove.toml");
    for (text, words) in [
        ("[jobs]\nlenght = \"1h\"\n", &["lenght", "line 2", "grove.toml"][..]),
        ("[jobs]\nlength = \"soon\"\n", &["length", "line 2"]),
        ("listen = 7\n", &["listen", "line 1"]),
        ("[tunnels]\nbind = \"0.0.0.0\"\n", &["tunnels.bind", "--insecure-listen"]),
        ("[tunnels]\nfirst_port = 9\nlast_port = 8\n", &["tunnels.first_port"]),
        ("[instance]\nheartbeat = \"0s\"\n", &["instance.heartbeat"]),
        ("[instance]\nsilence = \"20s\"\n", &["instance.silence = 20s", "instance.heartbeat = 15s"]),
        ("[plugins.grants.x]\nshh = true\n", &["shh", "line 2"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = refused(&mut serve(folder.path(), &["--config", &file.display().to_string()])).await;
        assert!(words.iter().all(|word| said.contains(word)), "{text}{words:?} in {said}");
    }

    let missing = folder.path().join("missing.toml").display().to_string();
    let said = refused(&mut serve(folder.path(), &["--config", &missing])).await;
    assert!(said.contains("missing.toml"), "{said}");
    let said = refused(&mut serve(folder.path(), &["--listen", "127.0.0.1:0", "--plugins", &missing])).await;
    assert!(said.contains("missing.toml"), "{said}");
}

#[tokio::test]
async fn one_state_has_one_controller() {
    let mut grove = Grove::start(Setup::default());
    let said = refused(&mut grove.serve_command()).await;
    assert!(said.contains("in use by another process"), "{said}");
    grove.farm().simulated(1, json!({}), &[]).await;
    // A lock that its holder did not come to release is no lock.
    grove.kill();
    grove.start_again();
    assert_eq!(grove.farm().all_workers().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_loses_nothing() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "rpi4")]).await;
    let (running, before) = farm.get(&wish(&["board=rpi4"])).await;
    // One whose task is under way, and one who waits for an answer: neither holds up the stop.
    let slow = json!({ "prepare": { "delay_ms": 600_000 } });
    farm.register(uuid(9), "simulated", slow, &[("board", "slow")]).await;
    farm.want_idle(uuid(9)).await;
    let waiting = farm.create_request(&wish(&["board=none"]), None).await.unwrap();
    let patient = farm.clone();
    let poll = tokio::spawn(async move {
        let wait = Duration::from_secs(60);
        patient.request_newer_than(waiting.id, waiting.revision, wait).await.map(drop)
    });
    let events = farm.all_events().await;

    let began = Instant::now();
    let status = tokio::task::block_in_place(|| grove.terminate());
    assert!(status.success(), "{status}: {}", grove.log());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "it waited for a task: {took:?}");
    assert!(!grove.log().contains("clean-up failed"), "the task was not cleaned up after");
    // Answered or cut off: but not left hanging.
    let _ = wait::ends("the long poll", poll).await.unwrap();

    grove.start_again();
    let farm = grove.farm();
    let after = farm.until_request(running, RequestState::InProgress).await;
    assert_eq!(after.job.and_then(|job| job.access).map(|access| access.port), Some(before.port));
    assert_eq!(farm.request(waiting.id).await.unwrap().state, RequestState::Waiting);
    assert_eq!(farm.all_events().await[..events.len()], events, "the history changed");
    farm.close_request(running, None).await.unwrap();
    let body = serde_json::from_value(json!({ "state": "maintenance", "force": true })).unwrap();
    farm.move_worker(uuid(9), &body, None).await.unwrap();
    history::check_when_settled(&farm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let mut grove = Grove::start(Setup::config("drain = \"60s\"\n"));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let (running, before) = farm.get(&wish(&["board=rpi4"])).await;
    // One whose body never comes holds up a clean stop for as long as that may take.
    let mut slow = TcpStream::connect(grove.base().trim_start_matches("http://")).unwrap();
    slow.write_all(b"POST /api/v2/requests HTTP/1.1\r\nHost: farm\r\nContent-Length: 9\r\n\r\n{").unwrap();
    let waiting = farm.create_request(&wish(&["board=none"]), None).await.unwrap();
    grove.signal(Signal::TERM);
    let base = grove.base().to_owned();
    let refused = || async { TcpStream::connect(base.trim_start_matches("http://")).is_err() };
    wait::until_is("it to take nobody in", refused, |refused| *refused).await;
    grove.signal(Signal::TERM);
    let began = Instant::now();
    let status = tokio::task::block_in_place(|| grove.ended());
    assert_eq!(status.code(), Some(130), "{}", grove.log());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "it went on with the clean stop: {took:?}");

    grove.start_again();
    let farm = grove.farm();
    let after = farm.until_request(running, RequestState::InProgress).await;
    assert_eq!(after.job.and_then(|job| job.access).map(|access| access.port), Some(before.port));
    assert_eq!(farm.request(waiting.id).await.unwrap().state, RequestState::Waiting);
    farm.close_request(running, None).await.unwrap();
    history::check_when_settled(&farm).await;
}

#[tokio::test]
async fn what_ends_it_at_its_start_is_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // Whichever of its services ends first.
    for _ in 0..5 {
        let mut command = grove_tests_kit::grove::grove_command(folder.path());
        command.args(["demo", "--boards", "1", "--requests", "0", "--listen", &address]);
        let said = refused(&mut command).await;
        let error = said.lines().rev().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(&format!("failed to listen on {address}")), "{said}");
        assert!(error.contains("--listen") && !said.contains("shutting down"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_does_not_end_it() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let (running, _) = farm.get(&wish(&["board=rpi4"])).await;
    for _ in 0..3 {
        grove.signal(Signal::HUP);
    }
    let told = || async { grove.log().contains("SIGHUP: nothing was changed") };
    wait::until_is("a word about it", told, |told| *told).await;
    assert!(grove.log().contains("restart it to have it read again"), "{}", grove.log());
    assert_eq!(farm.request(running).await.unwrap().state, RequestState::InProgress);
    farm.close_request(running, None).await.unwrap();
    assert!(tokio::task::block_in_place(|| grove.terminate()).success());
}
