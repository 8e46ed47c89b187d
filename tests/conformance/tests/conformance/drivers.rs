//! Drivers that behave well.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use grove_runtime::{
    Abilities, Cause, DriverCall, DriverReply, Failure, FailureKind, Grants, Level, PowerAction, SecretHost,
    Session, SshError, SshHost, SshOutput, SshTarget, StorageError, StorageHost, StoredInfo,
};
use grove_tests_conformance::{Recorder, load, manifest, patient, target, try_load};
use parking_lot::Mutex;

#[tokio::test]
async fn driver_echo_answers_every_call_in_one_instance() {
    let echo = load("driver-echo", "").await.unwrap().into_driver().unwrap();
    assert_eq!(echo.abilities(), Abilities { power: true, introspect: true });
    assert_eq!(echo.digest().len(), 64);
    let task = Recorder::new();
    let mut instance = echo.open(task.context(patient()));

    let DriverReply::Described(info) = instance.call(DriverCall::Describe).await.unwrap() else { panic!() };
    assert_eq!(info.name, "driver-echo");
    assert_eq!(instance.call(DriverCall::Validate("{}".into())).await, Ok(DriverReply::Done));

    let DriverReply::Health(health) = instance.call(DriverCall::Check(target("{\"a\":1}"))).await.unwrap()
    else {
        panic!()
    };
    assert!(health.ok);
    assert_eq!(health.note, "{\"a\":1}");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let expected =
        [pair("board", "rpi4"), pair("arguments", "0"), pair("environment", "0"), pair("root", "false")];
    assert_eq!(health.readings, expected, "a guest sees its target and nothing of the host");
    assert_eq!(
        *task.lines.lock(),
        [
            (Level::Info, "checked on stdout".to_owned()),
            (Level::Debug, "checked in the log".to_owned()),
            (Level::Error, "and on stderr, without a newline".to_owned()),
        ]
    );

    let DriverReply::Access(access) = instance.call(DriverCall::Prepare(target(""))).await.unwrap() else {
        panic!()
    };
    assert_eq!((access.host.as_str(), access.port, access.user.as_str()), ("board", 22, "grove"));
    assert_eq!(*task.steps.lock(), ["wipe", "boot"]);
    assert_eq!(*task.progress.lock(), [(50, "half way".to_owned())]);

    let session = Session { user: "ann".into(), authorized_keys: vec!["ssh-ed25519 BBBB".into()] };
    let reply = instance.call(DriverCall::Authorize(target(""), session)).await.unwrap();
    let DriverReply::Access(access) = reply else { panic!() };
    assert_eq!(
        (access.user.as_str(), access.host_keys.as_slice()),
        ("ann", &["ssh-ed25519 BBBB".to_owned()][..])
    );

    for call in [
        DriverCall::Revoke(target("")),
        DriverCall::PutInMaintenance(target(""), "closed for today".into()),
        DriverCall::Cleanup(target("")),
        DriverCall::Power(target(""), PowerAction::Cycle),
    ] {
        assert_eq!(instance.call(call).await, Ok(DriverReply::Done));
    }
    assert!(task.heard("closed for today") && task.heard("Cycle"));
    let inventory = instance.call(DriverCall::Inventory(target(""))).await;
    assert_eq!(inventory, Ok(DriverReply::Inventory("{\"board\":\"rpi4\"}".into())));

    drop(instance);
    assert_eq!(Arc::strong_count(&task), 1, "the store is gone with the instance");
}

#[tokio::test]
async fn driver_echo_failures_are_typed_and_end_nothing() {
    let echo = load("driver-echo", "").await.unwrap().into_driver().unwrap();
    let mut instance = echo.open(Recorder::new().context(patient()));
    for (config, kind, text) in [
        ("device", FailureKind::Device, "it smokes"),
        ("config", FailureKind::Config, "no such pin"),
        ("environment", FailureKind::Environment, "no power in the rack"),
        ("unsupported", FailureKind::Unsupported, "not this board"),
    ] {
        let error = instance.call(DriverCall::Prepare(target(config))).await.unwrap_err();
        assert_eq!(error.cause, Cause::Failure(Failure { kind, text: text.to_owned() }));
        assert!(error.to_string().starts_with("driver `driver-echo`: prepare: "), "{error}");
    }
    let error = instance.call(DriverCall::Validate("bad".into())).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| failure.kind), Some(FailureKind::Config));
    assert!(instance.is_alive());
}

#[derive(Default)]
struct Board {
    calls: Mutex<Vec<String>>,
}

impl SshHost for Board {
    fn hang_up(&self, _target: &SshTarget) {}

    fn run<'a>(
        &'a self,
        target: &'a SshTarget,
        argv: Vec<String>,
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<SshOutput, SshError>> {
        let said = format!("{target:?} {argv:?} {} {timeout:?}", String::from_utf8_lossy(&stdin));
        self.calls.lock().push(said);
        Box::pin(async { Ok(SshOutput { stdout: b"board.example".to_vec(), ..SshOutput::default() }) })
    }

    fn write_file<'a>(
        &'a self,
        target: &'a SshTarget,
        path: String,
        mode: u32,
        data: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), SshError>> {
        let said = format!("{} {path} {mode:o} {}", target.host, String::from_utf8_lossy(&data));
        self.calls.lock().push(said);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Has a secret for every name, so that only the grants can hold one back.
struct Talkative;

impl SecretHost for Talkative {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(std::future::ready(Some(format!("secret of {name}"))))
    }
}

#[tokio::test]
async fn driver_granted_reaches_what_it_was_granted_and_no_more() {
    let wants = "ssh = true\nsecrets = [\"token\", \"other\"]";
    let manifest = manifest("driver-granted", wants).unwrap();
    let grants = Grants { ssh: true, secrets: vec!["token".into()], ..Grants::default() };
    let driver = try_load(manifest, &grants).await.unwrap().unwrap().into_driver().unwrap();
    let (task, board) = (Recorder::new(), Arc::new(Board::default()));
    let mut context = task.context(patient());
    context.secrets = Arc::new(Talkative);
    context.ssh = Some(board.clone());
    let mut instance = driver.open(context);

    let DriverReply::Health(health) = instance.call(DriverCall::Check(target(""))).await.unwrap() else {
        panic!()
    };
    assert_eq!(health.readings[0].1, "secret of token");
    assert_eq!(health.readings[1].1, "none", "wanted, but not granted");
    assert!(task.heard("`other` is not granted"));

    let config =
        r#"{"host":"10.0.0.9","port":2222,"user":"root","identity":"farm","host_key":"ssh-ed25519 CCCC"}"#;
    let reply = instance.call(DriverCall::Prepare(target(config))).await.unwrap();
    let DriverReply::Access(access) = reply else { panic!() };
    assert_eq!(access.host, "board.example");
    let calls = board.calls.lock().clone();
    assert_eq!(calls[0], "10.0.0.9 /etc/motd 644 hello");
    for needle in ["10.0.0.9", "2222", "\"root\"", "farm", "ssh-ed25519 CCCC", "two words", "input", "1s"] {
        assert!(calls[1].contains(needle), "`{needle}` is missing in {}", calls[1]);
    }

    let error = instance.call(DriverCall::Prepare(target("{}"))).await.unwrap_err();
    assert!(error.to_string().contains("no `host`"), "{error}");
}

/// One artifact in every group, so that only the grants can hold one back; it gives more than it is asked for.
struct Generous;

const ARTIFACT: usize = (2 << 20) + 3;

impl StorageHost for Generous {
    fn stat<'a>(&'a self, _group: &'a str, key: &'a str) -> BoxFuture<'a, Result<StoredInfo, StorageError>> {
        let found = if key == "image" {
            Ok(StoredInfo { size: ARTIFACT as u64, sha256: "abc".to_owned() })
        } else {
            Err(StorageError::NotFound)
        };
        Box::pin(std::future::ready(found))
    }

    fn read<'a>(
        &'a self,
        _group: &'a str,
        _key: &'a str,
        sha256: &'a str,
        range: std::ops::Range<u64>,
    ) -> BoxFuture<'a, Result<Vec<u8>, StorageError>> {
        let from = usize::try_from(range.start).unwrap().min(ARTIFACT);
        let read = if sha256 == "abc" { Ok(vec![1; ARTIFACT - from]) } else { Err(StorageError::Changed) };
        Box::pin(std::future::ready(read))
    }
}

#[tokio::test]
async fn driver_storage_reads_granted_groups_only_and_in_bounded_pieces() {
    let manifest = manifest("driver-storage", "storage = [\"rpi4\", \"odroid\"]").unwrap();
    let grants = Grants { storage: vec!["rpi4".into()], ..Grants::default() };
    let driver = try_load(manifest, &grants).await.unwrap().unwrap().into_driver().unwrap();
    let context = || {
        let mut context = Recorder::new().context(patient());
        context.storage = Some(Arc::new(Generous));
        context
    };
    let reply = driver.call(DriverCall::Check(target("rpi4 image")), context()).await.unwrap();
    let DriverReply::Health(health) = reply else { panic!() };
    let found: Vec<_> = health.readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let size = ARTIFACT;
    let wanted = [
        format!("size {size}"),
        "sha256 abc".into(),
        format!("read {size}"),
        "reads 4".into(),
        format!("sum {size}"),
    ];
    assert_eq!(found, wanted);
    assert!(health.note.contains("Changed"), "{}", health.note);

    for (config, word) in [("odroid image", "`odroid` is not granted"), ("rpi4 other", "NotFound")] {
        let error = driver.call(DriverCall::Check(target(config)), context()).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let without =
        driver.call(DriverCall::Check(target("rpi4 image")), Recorder::new().context(patient())).await;
    assert!(without.unwrap_err().to_string().contains("offers no storage"));
}

#[tokio::test]
async fn driver_tcp_reaches_granted_peers_only() {
    let greeter = |listener: TcpListener| {
        std::thread::spawn(move || {
            listener.accept().map(|(mut peer, _)| peer.write_all(b"hello from the board"))
        })
    };
    let allowed = TcpListener::bind("127.0.0.1:0").unwrap();
    let forbidden = TcpListener::bind("127.0.0.1:0").unwrap();
    let (allowed_at, forbidden_at) = (allowed.local_addr().unwrap(), forbidden.local_addr().unwrap());
    greeter(allowed);

    let wants = format!("tcp = [\"127.0.0.1:{}\"]", allowed_at.port());
    let tcp = load("driver-tcp", &wants).await.unwrap().into_driver().unwrap();
    let check = |peer: String| tcp.call(DriverCall::Check(target(&peer)), Recorder::new().context(patient()));
    let DriverReply::Health(health) = check(allowed_at.to_string()).await.unwrap() else { panic!() };
    assert_eq!(health.note, "hello from the board");

    forbidden.set_nonblocking(true).unwrap();
    let task = Recorder::new();
    let call = DriverCall::Check(target(&forbidden_at.to_string()));
    let error = tcp.call(call, task.context(patient())).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| failure.kind), Some(FailureKind::Environment), "{error}");
    assert!(
        task.heard(&format!("TCP to {forbidden_at} is not granted"))
            && task.heard(&format!("tcp = [\"{forbidden_at}\"] in [plugins.grants.driver-tcp]")),
        "{task:?}"
    );
    let connected = forbidden.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(connected, Err(std::io::ErrorKind::WouldBlock), "nobody came");
    check(format!("localhost:{}", allowed_at.port())).await.expect_err("the name is not granted");
}

#[tokio::test]
async fn driver_tcp_reaches_granted_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for peer in listener.incoming() {
            let _ = peer.and_then(|mut peer| peer.write_all(b"hello by name"));
        }
    });
    let tcp =
        load("driver-tcp", &format!("tcp = [\"localhost:{port}\"]")).await.unwrap().into_driver().unwrap();
    let task = Recorder::new();
    let check = |peer: String| tcp.call(DriverCall::Check(target(&peer)), task.context(patient()));
    let DriverReply::Health(health) = check(format!("LocalHost:{port}")).await.unwrap() else { panic!() };
    assert_eq!(health.note, "hello by name");
    // The grant is of the name, at that port: nobody resolved this number in this instance, and the port is another.
    check(format!("127.0.0.1:{port}")).await.expect_err("a number is not the name");
    check("localhost:1".to_owned()).await.expect_err("another port");
    assert!(task.heard("tcp = [\"localhost:1\"]"), "{task:?}");
    check(format!("other.invalid:{port}")).await.expect_err("another name");
    assert!(task.heard("the name other.invalid is not granted"), "{task:?}");
}
