//! Open files: as many as there may be are used, and whoever finds none left hears so.

use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use grove_tests_kit::grove::{grove_command, ready};
use grove_tests_kit::{Process, built, compiled};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than are served with few files.
const STREAMS: usize = 200;

/// A controller that is started by a shell with this limit on its files.
fn limited(ulimit: &str) -> (TempDir, Process, String) {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    compiled::give(&state);
    let config = home.path().join("grove.toml");
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\n[keys]\npool = 0\n").unwrap();
    // Of the environment only what `grove_command` lets through.
    let plain = grove_command(home.path());
    let mut command = Command::new("sh");
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", &format!("{ulimit} && exec \"$0\" serve --config \"$1\" --state \"$2\"")]);
    command.arg(built::binary()).arg(&config).arg(&state);
    command.stderr(std::fs::File::create(home.path().join("log")).unwrap());
    let log = home.path().join("log");
    let (process, base) = ready(&mut command, || std::fs::read_to_string(&log).unwrap_or_default());
    (home, process, base)
}

/// A stream that was asked for: what it was answered, and the stream.
async fn stream(base: &str) -> (String, TcpStream) {
    let mut connection = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let request = "GET /api/v2/events HTTP/1.1\r\nHost: farm\r\nAccept: text/event-stream\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut some = [0; 1024];
        let read = connection.read(&mut some).await.unwrap();
        assert!(read > 0, "cut off after {:?}", String::from_utf8_lossy(&said));
        said.extend(some.iter().take(read));
    }
    (String::from_utf8_lossy(&said).into_owned(), connection)
}

/// All who ask for a stream at the same time, and how many were given one.
async fn streams(base: &str) -> usize {
    let asked = join_all((0..STREAMS).map(|_| stream(base)));
    let answers = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
    let served = answers.iter().filter(|(said, _)| said.starts_with("HTTP/1.1 200 ")).count();
    for (said, _) in answers.iter().filter(|(said, _)| !said.starts_with("HTTP/1.1 200 ")) {
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("problem+json"), "{said}");
    }
    // Others are answered meanwhile.
    let page = reqwest::get(format!("{base}/readyz")).await.unwrap();
    assert_eq!(page.status(), 200);
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_what_can_be_served_are_refused_and_do_not_hang() {
    let (home, _process, base) = limited("ulimit -n 64");
    let served = streams(&base).await;
    assert!((1..STREAMS).contains(&served), "{served}");
    let log = std::fs::read_to_string(home.path().join("log")).unwrap();
    assert!(log.contains("limits.connections is 4096") && log.contains("64 open files"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
    // Whoever comes when those have gone is served.
    assert_eq!(streams(&base).await, served);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let (_home, process, base) = limited("ulimit -Sn 64");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
    assert_eq!(streams(&base).await, STREAMS);
}
