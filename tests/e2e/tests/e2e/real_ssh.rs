//! The way of a job over version 1, with a real sshd as the board and a real ssh as the user.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{uuid, wish};
use grove_tests_kit::{Grove, Process, Setup, Ssh, Sshd, wait};
use serde_json::json;

#[tokio::test]
async fn a_job_over_version_1_from_the_wish_to_the_next_user() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
    sshd.join(&grove, uuid(1), &[("board", "rpi4")]).await;
    let (v1, farm, keys) = (grove.v1(), grove.farm(), tempfile::tempdir().unwrap());

    let request = v1.ask(json!({ "board": "rpi4" })).await;
    let acquired = wait::until("the worker", || v1.acquire(request)).await;
    assert_eq!(v1.state(request).await, "IN PROGRESS");
    assert!(acquired.key.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "{}", acquired.key);
    assert_eq!(v1.acquire(request).await.unwrap(), acquired, "asked again, it is the same");
    let key = keys.path().join("first");
    acquired.save_key(&key);
    let through = Ssh { host: acquired.host.clone(), ..Ssh::to_port(acquired.port, &acquired.user, &key) };
    assert_eq!(through.must("echo here; echo there"), "here\nthere\n");
    assert_eq!(through.run("exit 7").status.code(), Some(7));
    let big = through.must("head -c 3000000 /dev/zero | tr '\\0' x");
    assert_eq!(big.len(), 3_000_000, "what comes is all that was sent");

    // Someone is on the board while the job is closed.
    let mut shell = Process::start(through.command("echo on the board; cat").stdin(Stdio::piped()));
    let mut out = shell.stdout.take().unwrap();
    let mut greeting = [0; 13];
    out.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"on the board\n");
    v1.close(request).await;
    // Its input is still open: only the tunnel can have ended it.
    let status = tokio::task::spawn_blocking(move || shell.wait());
    assert_eq!(status.await.unwrap().code(), Some(255), "the connection was cut");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();

    farm.until_worker(uuid(1), WorkerState::Idle).await;
    assert_eq!(v1.state(request).await, "DONE");
    assert_eq!(v1.acquire(request).await, None);
    assert!(
        TcpStream::connect((acquired.host.as_str(), acquired.port)).is_err(),
        "the tunnel's port is open"
    );
    let direct = Ssh::to_port(sshd.port, &acquired.user, &key);
    assert!(!direct.is_let_in(), "the key of a closed job still opens the board");
    assert!(sshd.admin().is_let_in(), "the admin's own key was removed");

    // The next one gets in, and with another key.
    let request = v1.ask(json!({ "board": "rpi4" })).await;
    let next = wait::until("the worker", || v1.acquire(request)).await;
    assert_ne!(next.key, acquired.key);
    next.save_key(&keys.path().join("next"));
    let through = Ssh::to_port(next.port, &next.user, &keys.path().join("next"));
    assert_eq!(through.must("echo again"), "again\n");
    assert!(!Ssh::to_port(next.port, &next.user, &key).is_let_in(), "the last user's key opens the next job");
    v1.close(request).await;
    farm.until_worker(uuid(1), WorkerState::Idle).await;
}

/// A board without ssh: says back what it hears until it hears no more, then says how much that was.
fn echo_board() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut heard = Vec::new();
                if stream.read_to_end(&mut heard).is_ok() {
                    let _ = stream.write_all(format!("{} bytes", heard.len()).as_bytes());
                }
            });
        }
    });
    port
}

/// A board that says something and hangs up, whatever it hears.
fn terse_board() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"good day").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    port
}

#[tokio::test]
async fn each_side_of_a_tunnel_ends_by_itself_and_nothing_is_held_open() {
    let grove = Grove::start(Setup::default());
    let before = {
        let farm = grove.farm();
        for (number, port, kind) in [(1, echo_board(), "echo"), (2, terse_board(), "terse")] {
            let config = json!({ "address": { "host": "127.0.0.1", "port": port } });
            farm.register(uuid(number), "simulated", config, &[("board", kind)]).await;
            farm.to_idle(uuid(number)).await;
        }
        grove.open_files()
    };

    let farm = grove.farm();
    let (echo, access) = farm.get(&wish(&["board=echo"])).await;
    let port = access.port;
    // The user's half ends first: the board hears that, and its answer still comes.
    let talk = move |size: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&vec![b'x'; size]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("{size} bytes"));
    };
    let talks: Vec<_> = (1..=20).map(|number| thread::spawn(move || talk(number * 10_000))).collect();
    for talk in talks {
        wait::ends("the echo", tokio::task::spawn_blocking(|| talk.join())).await.unwrap().unwrap();
    }

    // The board's half ends first: the user hears that, and can still speak.
    let (terse, access) = farm.get(&wish(&["board=terse"])).await;
    let spoken = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", access.port)).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(b"more").unwrap();
        heard
    });
    assert_eq!(wait::ends("the terse board", spoken).await.unwrap(), "good day");

    // One that says nothing at all, until its job is closed.
    let mut silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    farm.close_request(echo, None).await.unwrap();
    let cut = tokio::task::spawn_blocking(move || {
        let mut end = Vec::new();
        // A reset is an end, too.
        let _ = silent.read_to_end(&mut end);
        end
    });
    assert!(wait::ends("the cut", cut).await.unwrap().is_empty());
    farm.close_request(terse, None).await.unwrap();
    for number in [1, 2] {
        farm.until_worker(uuid(number), WorkerState::Idle).await;
    }
    drop(farm);
    let look = || async { grove.open_files() };
    wait::until_is("open files to be as many as before", look, |now| *now <= before).await;
}
