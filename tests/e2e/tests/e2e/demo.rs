//! `grove demo`: from nothing to being on a board, and back to nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use grove_tests_kit::Process;
use grove_tests_kit::client::Client;
use grove_tests_kit::farm::Farm;
use grove_tests_kit::grove::{grove_command, ready};
use rustix::process::Signal;

/// A user who has just read how to begin would not wait longer.
const AT_ONCE: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "it is measured as a user would feel it")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn the_demo_comes_up_serves_and_leaves_nothing() {
    let (home, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = grove_command(home.path());
    command.args(["demo", "--listen", "127.0.0.1:0", "--boards", "2", "--requests", "0"]);
    command.env("TMPDIR", tmp.path()).stderr(Stdio::piped());
    let started = now();
    let (demo, base) = ready(&mut command, String::new);
    println!("the demo was ready after {:?}", started.elapsed());
    // The user's own home: the demo's has to be as it was.
    let user = tempfile::tempdir().unwrap();
    let call = |words: &[&str]| {
        let mut command = grove_command(user.path());
        command.args(["--server", &base]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let ended = |mut command: Command| async move { Process::start(&mut command).output().await };

    let started = now();
    let ran = ended(call(&["run", "board=rpi4", "--", "echo", "on a board"])).await;
    let took = started.elapsed();
    println!("`grove run` took {took:?}");
    assert_eq!(
        (&*String::from_utf8_lossy(&ran.stdout), ran.status.code()),
        ("on a board\n", Some(0)),
        "{ran:?}"
    );
    assert!(took < AT_ONCE, "`grove run` took {took:?}");

    let started = now();
    let ran = ended(call(&["ssh", "board=odroid", "--", "exit 5"])).await;
    let took = started.elapsed();
    println!("`grove ssh` took {took:?}");
    assert_eq!(ran.status.code(), Some(5), "{ran:?}");
    assert!(took < AT_ONCE, "`grove ssh` took {took:?}");

    let workers = Farm::new(Client::new(&base).unwrap()).all_workers().await;
    assert_eq!(workers.len(), 2);
    let boards: Vec<_> =
        workers.iter().map(|worker| worker.driver_config["port"].as_u64().unwrap()).collect();

    demo.signal(Signal::INT);
    let ended = demo.output().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let left: Vec<_> = std::fs::read_dir(tmp.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo left {left:?}");
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo left {left:?} at home");
    for port in boards {
        let port = u16::try_from(port).unwrap();
        assert!(
            std::net::TcpStream::connect(("127.0.0.1", port)).is_err(),
            "a board still listens on {port}"
        );
    }
}
