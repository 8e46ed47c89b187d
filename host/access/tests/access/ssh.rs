use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use grove_access::secrets::Secrets;
use grove_access::ssh::{MAX_OUTPUT, SshClient, SshError, SshOutput, SshSettings, SshTarget};
use tempfile::TempDir;

use crate::sshd::{Sshd, make_key};
use crate::{DEADLINE, until, within};

/// A farm with one board.
struct Farm {
    sshd: Sshd,
    secrets: TempDir,
    client: SshClient,
    target: SshTarget,
}

fn client(secrets: &Path, settings: SshSettings) -> SshClient {
    SshClient::new(settings, Secrets::new(secrets))
}

fn farm() -> Farm {
    farm_with(SshSettings::default())
}

fn farm_with(settings: SshSettings) -> Farm {
    let sshd = Sshd::start();
    let secrets = tempfile::tempdir().unwrap();
    sshd.authorize(&make_key(secrets.path(), "farm"));
    let target = SshTarget {
        host: "127.0.0.1".to_owned(),
        port: sshd.port,
        user: sshd.user.clone(),
        identity: Some("farm".to_owned()),
        host_key: Some(sshd.host_key.clone()),
    };
    Farm { client: client(secrets.path(), settings), sshd, secrets, target }
}

impl Farm {
    async fn run(&self, argv: &[&str], stdin: &[u8]) -> Result<SshOutput, SshError> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        within(self.client.run(&self.target, &argv, stdin.to_vec(), DEADLINE)).await
    }

    async fn sh(&self, script: &str) -> Result<SshOutput, SshError> {
        self.run(&["sh", "-c", script], b"").await
    }
}

#[tokio::test]
async fn words_input_outputs_and_status_pass() {
    let farm = farm();
    let words = ["printf", "%s|", "it's", "", "$HOME `id`", "a\nb", "-n", "*", "ünïcödé"];
    let output = farm.run(&words, b"").await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), words[2..].join("|") + "|");
    let output = farm.run(&["sh", "-c", "cat; echo trouble >&2; exit 7"], b"in\0put").await.unwrap();
    let expected =
        SshOutput { status: 7, stdout: b"in\0put".into(), stderr: b"trouble\n".into(), truncated: false };
    assert_eq!(output, expected);
    assert_eq!(farm.sh("kill -9 $$").await.unwrap().status, 137);
    assert_eq!(farm.sh("exit 255").await.unwrap().status, 255);
    assert_eq!(farm.client.idle_connections(), 1, "all of that over one connection");
}

#[tokio::test]
async fn much_input_passes_and_much_output_is_cut() {
    let farm = farm();
    let input: Vec<u8> = (0..5_000_000_u32).map(|at| at as u8).collect();
    assert_eq!(farm.run(&["wc", "-c"], &input).await.unwrap().stdout.trim_ascii(), b"5000000");
    // Input that nobody reads does not hang.
    assert_eq!(farm.run(&["true"], &input).await.unwrap().status, 0);
    let output = farm.sh("head -c 3000000 /dev/zero; head -c 10 /dev/zero >&2").await.unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len(), output.truncated), (MAX_OUTPUT, 10, true));
    let most = SshSettings { max_input: 10, ..SshSettings::default() };
    let strict = client(farm.secrets.path(), most);
    let refused = strict.run(&farm.target, &["true".to_owned()], input, DEADLINE).await.unwrap_err();
    assert_eq!(refused.to_string(), "input of 5000000 bytes is more than 10");
}

/// Starts something that tells its process id and then lasts; gives up when `stop` says so.
async fn last_for_ever(farm: &Farm, scratch: &Path, stop: impl Future<Output = ()>) -> u32 {
    let file = scratch.join("pid");
    let script = format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 1000", file.display());
    let argv = ["sh".to_owned(), "-c".to_owned(), script];
    let work = farm.client.run(&farm.target, &argv, Vec::new(), DEADLINE);
    tokio::select! {
        ended = work => panic!("it ended: {ended:?}"),
        () = async {
            until("it runs", || file.exists()).await;
            stop.await;
        } => {}
    }
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[tokio::test]
async fn leaving_a_command_kills_it_and_keeps_the_connection_good() {
    let farm = farm();
    let scratch = tempfile::tempdir().unwrap();
    let pid = last_for_ever(&farm, scratch.path(), async {}).await;
    until("the command is gone", || !is_alive(pid)).await;
    until("its connection is good again", || farm.client.idle_connections() == 1).await;
    for _ in 0..3 {
        assert_eq!(farm.sh("echo fine").await.unwrap().stdout, b"fine\n");
    }
    assert_eq!(farm.sshd.log().matches("Accepted publickey").count(), 1, "one connection was enough");
}

#[tokio::test]
async fn time_runs_out() {
    let farm = farm();
    let argv = ["sleep".to_owned(), "1000".to_owned()];
    farm.sh("true").await.unwrap();
    let late = farm.client.run(&farm.target, &argv, Vec::new(), Duration::from_millis(300));
    assert!(matches!(within(late).await, Err(SshError::TimedOut)));
    assert_eq!(farm.sh("echo fine").await.unwrap().stdout, b"fine\n");
}

#[tokio::test]
async fn a_connection_that_dies_is_replaced() {
    let farm = farm();
    // The parent of the shell is sshd's half of this connection.
    let lost = farm.sh("kill -9 $PPID; sleep 5").await;
    assert!(matches!(lost, Err(SshError::Closed)), "{lost:?}");
    assert_eq!(farm.sh("echo fine").await.unwrap().stdout, b"fine\n");
    // And one that dies while nobody uses it.
    let parent = farm.sh("echo $PPID").await.unwrap().stdout;
    let parent = String::from_utf8(parent).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", parent.trim()]).status().unwrap().success());
    assert_eq!(farm.sh("echo fine").await.unwrap().stdout, b"fine\n");
}

#[tokio::test]
async fn what_a_command_leaves_behind_does_not_hold_it_up() {
    let farm = farm();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("pid");
    let output = farm.sh(&format!("sleep 1000 & echo $! > {}; echo started", file.display())).await.unwrap();
    assert_eq!((output.status, &output.stdout[..]), (0, &b"started\n"[..]));
    let pid: u32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid), "a daemon that a driver starts stays");
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}

#[tokio::test]
async fn only_the_pinned_host_key_is_spoken_to() {
    let mut farm = farm();
    let print = |line: &str| grove_access::keys::parse_public_line(line).unwrap().fingerprint().to_owned();
    let right = farm.sshd.host_key.clone();
    let scratch = tempfile::tempdir().unwrap();
    let wrong = make_key(scratch.path(), "other");
    farm.target.host_key = Some(wrong.clone());
    let Err(SshError::HostKey(text)) = farm.sh("true").await else { panic!("it spoke to a stranger") };
    assert!(text.contains(&print(&wrong)) && text.contains(&print(&right)), "{text}");
    assert!(!farm.sshd.log().contains("Accepted"), "nothing was offered to a stranger");

    farm.target.host_key = None;
    let Err(SshError::HostKey(text)) = farm.sh("true").await else { panic!("it spoke to anyone") };
    let key: Vec<&str> = right.split(' ').take(2).collect();
    assert!(text.contains(&key.join(" ")), "the text shows what to pin: {text}");
    let trusting = SshSettings { allow_unpinned_hosts: true, ..SshSettings::default() };
    farm.client = client(farm.secrets.path(), trusting);
    assert_eq!(farm.sh("true").await.unwrap().status, 0);

    farm.target.host_key = Some("ssh-ed25519 nonsense".to_owned());
    assert!(matches!(farm.sh("true").await, Err(SshError::HostKey(text)) if text.contains("ssh-keyscan")));
    // A type the server does not have.
    let rsa = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-N", "", "-f"])
        .arg(scratch.path().join("rsa"))
        .status();
    assert!(rsa.unwrap().success());
    farm.target.host_key = Some(std::fs::read_to_string(scratch.path().join("rsa.pub")).unwrap());
    let refused = farm.sh("true").await;
    assert!(
        matches!(&refused, Err(SshError::HostKey(text)) if text.contains("offered ssh-ed25519")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_why() {
    let mut farm = farm();
    let denied = async |farm: &Farm| match farm.sh("true").await {
        Err(SshError::Denied(text)) => text,
        other => panic!("{other:?}"),
    };
    make_key(farm.secrets.path(), "unknown");
    farm.target.identity = Some("unknown".to_owned());
    assert!(denied(&farm).await.contains("authorized_keys"));
    farm.target.identity = Some("missing".to_owned());
    assert!(denied(&farm).await.contains("there is no secret missing"));
    for name in ["../farm", ".farm", "", "a/b", "a b"] {
        farm.target.identity = Some(name.to_owned());
        assert!(denied(&farm).await.contains("cannot name a secret"), "{name}");
    }
    farm.target.identity = None;
    assert!(denied(&farm).await.contains("set `identity`"));
    farm.target.identity = Some("farm".to_owned());
    let path = farm.secrets.path().join("farm");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(denied(&farm).await.contains("(mode 640): chmod 600 secrets/farm"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let locked =
        std::process::Command::new("ssh-keygen").args(["-q", "-p", "-N", "secret", "-f"]).arg(&path).status();
    assert!(locked.unwrap().success());
    assert!(denied(&farm).await.contains("has a passphrase"));
    std::fs::write(&path, "nonsense").unwrap();
    assert!(denied(&farm).await.contains("not a private key"));

    let default = SshSettings { default_identity: Some("unknown".to_owned()), ..SshSettings::default() };
    farm.client = client(farm.secrets.path(), default);
    farm.target.identity = None;
    assert!(denied(&farm).await.contains("the identity unknown"));
}

#[tokio::test]
async fn an_rsa_identity_works_too() {
    let farm = farm();
    let path = farm.secrets.path().join("rsa");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    farm.sshd.authorize(&std::fs::read_to_string(path.with_extension("pub")).unwrap());
    let farm = Farm { target: SshTarget { identity: Some("rsa".to_owned()), ..farm.target.clone() }, ..farm };
    assert_eq!(farm.sh("echo fine").await.unwrap().stdout, b"fine\n");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let mut farm = farm();
    farm.target.port = 1;
    assert!(matches!(farm.sh("true").await, Err(SshError::Unreachable(_))));
    // Somebody who takes connections and says nothing.
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    farm.target.port = mute.local_addr().unwrap().port();
    let hasty = SshSettings { connect_timeout: Duration::from_millis(300), ..SshSettings::default() };
    farm.client = client(farm.secrets.path(), hasty);
    let refused = farm.sh("true").await;
    assert!(
        matches!(&refused, Err(SshError::Unreachable(text)) if text.contains("did not answer")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn files_are_written_whole() {
    let farm = farm();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("it's a $file");
    let name = path.to_str().unwrap();
    let data: Vec<u8> = (0..300_000_u32).map(|at| (at * 7) as u8).collect();
    let write = async |name: &str, mode, data: &[u8]| {
        within(farm.client.write_file(&farm.target, name, mode, data.to_vec())).await
    };
    write(name, 0o640, &data).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), data);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    write(name, 0o600, b"").await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    let missing = scratch.path().join("missing/file");
    let error = write(missing.to_str().unwrap(), 0o600, b"x").await.unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("missing/file"), "{error}");
    assert!(write("", 0o600, b"x").await.is_err() && write("/tmp/", 0o600, b"x").await.is_err());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "no part of a file is left");
}

#[tokio::test]
async fn connections_are_limited_reused_and_forgotten() {
    let few = SshSettings { max_connections: 2, idle: Duration::from_millis(300), ..SshSettings::default() };
    let farm = farm_with(few);
    let elsewhere = SshTarget { host: "localhost".to_owned(), ..farm.target.clone() };
    let mut work = tokio::task::JoinSet::new();
    for round in 0..10 {
        let client = farm.client.clone();
        let target = if round % 2 == 0 { farm.target.clone() } else { elsewhere.clone() };
        let argv = ["sh".to_owned(), "-c".to_owned(), format!("echo {round}")];
        work.spawn(async move { client.run(&target, &argv, Vec::new(), DEADLINE).await.unwrap().stdout });
    }
    let mut said = within(work.join_all()).await;
    said.sort();
    assert_eq!(said.concat(), b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert!(farm.client.idle_connections() <= 2);
    until("unused connections are closed", || farm.client.idle_connections() == 0).await;
}
