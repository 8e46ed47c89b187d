use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use grove_access::board::{Board, BoardSettings};
use grove_access::secrets::Secrets;
use grove_access::ssh::{SshClient, SshSettings, SshTarget};
use grove_access::tunnel::{TunnelSettings, Tunnels};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::sshd::make_key;
use crate::{DEADLINE, until, within};

/// A board, and the keys of its admin and of a user.
struct Site {
    board: Board,
    folder: TempDir,
    user_key: String,
}

impl Site {
    async fn start() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let admin_key = make_key(folder.path(), "admin");
        let user_key = make_key(folder.path(), "user");
        let settings = BoardSettings::new("oak-1", folder.path().join("home"), &admin_key);
        let board = Board::start(settings).await.unwrap();
        Site { board, folder, user_key }
    }

    fn home(&self) -> std::path::PathBuf {
        self.folder.path().join("home")
    }

    fn authorize(&self, lines: &str) {
        std::fs::write(self.home().join(".ssh/authorized_keys"), lines).unwrap();
    }

    /// A real ssh client that comes with this key.
    fn ssh(&self, key: &str, user: &str, port: u16, args: &[&str]) -> Command {
        let known = self.folder.path().join("known_hosts");
        std::fs::write(&known, format!("board {}\n", self.board.host_key_line())).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "HostKeyAlias=board",
        ]);
        ssh.args([
            "-o",
            "LogLevel=ERROR",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "GlobalKnownHostsFile=none",
        ]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
        ssh.arg("-i").arg(self.folder.path().join(key)).args(["-p", &port.to_string()]);
        ssh.args(args.iter().take_while(|arg| arg.starts_with('-'))).arg(format!("{user}@127.0.0.1"));
        ssh.args(args.iter().skip_while(|arg| arg.starts_with('-')));
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }

    async fn user(&self, args: &[&str], stdin: &[u8]) -> Output {
        run_with(self.ssh("user", "board", self.board.addr().port(), args), stdin).await
    }
}

async fn run_with(mut ssh: Command, stdin: &[u8]) -> Output {
    let mut child = spawn(ssh.stdin(Stdio::piped()));
    let mut input = child.stdin.take().unwrap();
    let feed = async move {
        let _ = input.write_all(stdin).await;
    };
    let (output, ()) = within(async { tokio::join!(child.wait_with_output(), feed) }).await;
    output.unwrap()
}

fn spawn(ssh: &mut Command) -> Child {
    ssh.spawn().expect("ssh is missing: install openssh-client")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

async fn pid_in(file: &Path) -> String {
    until("the program runs", || std::fs::read_to_string(file).is_ok_and(|pid| pid.ends_with('\n'))).await;
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn users_come_in_while_they_are_authorized() {
    let site = Site::start().await;
    let refused = site.user(&["true"], b"").await;
    assert_eq!(refused.status.code(), Some(255), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("Permission denied (publickey)"), "{}", text(&refused.stderr));

    site.authorize(&format!("# comment\nnonsense\n{}\n", site.user_key));
    let output = site.user(&["pwd; echo $USER $GROVE_BOARD $HOME; env | wc -l >&2; exit 7"], b"").await;
    let home = site.home().canonicalize().unwrap().display().to_string();
    assert_eq!(text(&output.stdout), format!("{home}\nboard oak-1 {}\n", site.home().display()));
    assert_eq!(output.status.code(), Some(7));
    let variables: u32 = text(&output.stderr).trim().parse().unwrap();
    assert!(variables < 12, "the board's own environment stays outside: {variables}");

    site.authorize("");
    assert_eq!(site.user(&["true"], b"").await.status.code(), Some(255));
    // Nobody else, and no other way.
    let port = site.board.addr().port();
    site.authorize(&site.user_key);
    for (key, user) in [("user", "admin"), ("user", "root"), ("admin", "root")] {
        let output = run_with(site.ssh(key, user, port, &["true"]), b"").await;
        assert_eq!(output.status.code(), Some(255), "{user} with the key of {key}: {}", text(&output.stderr));
    }
    // The driver's key opens both accounts, also while no user is authorized.
    site.authorize("");
    for user in ["admin", "board"] {
        let output = run_with(site.ssh("admin", user, port, &["echo $USER; exit 3"]), b"").await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), format!("{user}\n")));
    }
}

#[tokio::test]
async fn input_passes_even_to_slow_readers() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    let data: Vec<u8> = (0..6_000_000_u32).map(|at| (at / 3) as u8).collect();
    let output = site.user(&["sleep 1; cat"], &data).await;
    assert!(output.stdout == data, "{} bytes came back", output.stdout.len());
    let output = site.user(&["-T"], b"echo from a script; echo trouble >&2; kill -TERM $$").await;
    assert_eq!(text(&output.stdout), "from a script\n");
    assert!(text(&output.stderr).contains("trouble\n"));
    assert_eq!(output.status.code(), Some(255), "what ssh makes of a signal");
}

#[tokio::test]
async fn it_behaves_as_an_openssh_with_bash() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    // The login shell is gone when its last command dies.
    let output = site.user(&["sh -c 'kill -SEGV $$'"], b"").await;
    assert_eq!(output.status.code(), Some(255), "{}", text(&output.stderr));
    let output = site.user(&["-oSetEnv=GROVE_JOB=7", "echo $GROVE_JOB $GROVE_BOARD"], b"").await;
    assert_eq!(text(&output.stdout), "7 oak-1\n");
}

#[tokio::test]
async fn a_terminal_is_a_terminal() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    let script = b"stty size; tty; echo term is $TERM; echo in $GROVE_BOARD\nexit 3\n";
    let mut ssh = site.ssh("user", "board", site.board.addr().port(), &["-tt"]);
    ssh.env("TERM", "vt100");
    let output = run_with(ssh, script).await;
    let said = text(&output.stdout);
    assert!(said.starts_with("This is oak-1, all yours until your job ends.\n"), "{said}");
    for expected in ["/dev/pts/", "term is vt100\n", "in oak-1\n", "board@oak-1$"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(output.status.code(), Some(3), "{said}");
    // The end of the input ends the shell.
    let output = site.user(&["-tt"], b"").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    // Control-C reaches the program.
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.1; done";
    let mut ssh = site.ssh("user", "board", site.board.addr().port(), &["-tt", script]);
    let mut child = spawn(ssh.stdin(Stdio::piped()));
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    assert_eq!(within(lines.next_line()).await.unwrap().unwrap().trim(), "ready");
    input.write_all(b"\x03").await.unwrap();
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(4));
}

#[tokio::test]
async fn nothing_outlives_its_channel() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    let port = site.board.addr().port();
    // The user's machine goes away; with and without a terminal.
    for flag in ["-T", "-tt"] {
        let file = site.home().join(format!("pid{flag}"));
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let mut child = spawn(&mut site.ssh("user", "board", port, &[flag, &script]));
        let pid = pid_in(&file).await;
        child.kill().await.unwrap();
        until("it is gone", || !is_alive(&pid)).await;
    }
    // What a command leaves in the background goes with it.
    let file = site.home().join("daemon");
    let output = site.user(&[&format!("sleep 1000 & echo $! > {}", file.display())], b"").await;
    assert_eq!(output.status.code(), Some(0));
    let pid = pid_in(&file).await;
    until("it is gone", || !is_alive(&pid)).await;
    // The board is switched off.
    let file = site.home().join("last");
    let script = format!("echo $$ > {}; sleep 1000", file.display());
    let child = spawn(&mut site.ssh("user", "board", port, &[&script]));
    let pid = pid_in(&file).await;
    within(site.board.stop()).await;
    assert!(!is_alive(&pid));
    assert_eq!(within(child.wait_with_output()).await.unwrap().status.code(), Some(255));
}

#[tokio::test]
async fn scp_works() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    let file = site.folder.path().join("firmware");
    std::fs::write(&file, vec![9; 200_000]).unwrap();
    let ssh = site.ssh("user", "board", site.board.addr().port(), &[]);
    let options: Vec<_> = ssh.as_std().get_args().collect();
    let mut scp = Command::new("scp");
    // As for ssh, up to the port.
    let upto = options.iter().position(|option| *option == "-p").unwrap();
    scp.args(&options[..upto]).arg("-P").arg(site.board.addr().port().to_string());
    scp.arg(&file).arg("board@127.0.0.1:firmware").stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run_with(scp, b"").await;
    assert!(output.status.success(), "{}; is openssh-sftp-server installed?", text(&output.stderr));
    assert_eq!(std::fs::read(site.home().join("firmware")).unwrap().len(), 200_000);
}

#[tokio::test]
async fn our_own_client_prepares_a_board() {
    let site = Site::start().await;
    let secrets = tempfile::tempdir().unwrap();
    std::fs::copy(site.folder.path().join("admin"), secrets.path().join("admin")).unwrap();
    let client = SshClient::new(SshSettings::default(), Secrets::new(secrets.path()));
    let target = SshTarget {
        host: "127.0.0.1".to_owned(),
        port: site.board.addr().port(),
        user: "admin".to_owned(),
        identity: Some("admin".to_owned()),
        host_key: Some(site.board.host_key_line().to_owned()),
    };
    let key = format!("{}\n", site.user_key).into_bytes();
    within(client.write_file(&target, ".ssh/authorized_keys", 0o600, key)).await.unwrap();
    assert_eq!(site.user(&["exit 5"], b"").await.status.code(), Some(5));
    let run = async |script: &str| {
        let argv = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        within(client.run(&target, &argv, Vec::new(), DEADLINE)).await
    };
    assert_eq!(run("kill -TERM $$").await.unwrap().status, 143);
    assert_eq!(run("echo $USER").await.unwrap().stdout, b"admin\n");
    // A command that is left is killed.
    let file = site.home().join("pid");
    let script = format!("echo $$ > {}; exec sleep 1000", file.display());
    tokio::select! {
        ended = run(&script) => panic!("it ended: {ended:?}"),
        pid = pid_in(&file) => until("it is gone", || !is_alive(&pid)).await,
    }
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn closing_the_tunnel_throws_the_user_out_at_once() {
    let site = Site::start().await;
    site.authorize(&site.user_key);
    let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tunnels = Tunnels::new(TunnelSettings { bind, ports: 22_200..=22_299, ..TunnelSettings::default() });
    let target = ("127.0.0.1".to_owned(), site.board.addr().port());
    let opened = tunnels.open(1, target, None).await.unwrap();
    let mut ssh = site.ssh("user", "board", opened, &["echo $$; echo ready; exec sleep 1000"]);
    let mut child = spawn(&mut ssh);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = within(lines.next_line()).await.unwrap().unwrap();
    assert_eq!(within(lines.next_line()).await.unwrap().unwrap(), "ready");
    within(tunnels.close(1)).await;
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(255));
    until("the program is gone too", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn a_board_keeps_its_host_key() {
    let site = Site::start().await;
    let line = site.board.host_key_line().to_owned();
    within(site.board.stop()).await;
    let settings = BoardSettings::new("oak-1", site.home(), &site.user_key);
    // An address of its own: nobody else takes the port while the board is down.
    let own = SocketAddr::from(([127, 0, 0, 9], 0));
    let board = Board::start(BoardSettings { listen: own, ..settings.clone() }).await.unwrap();
    let listen = board.addr();
    within(board.stop()).await;
    let again = Board::start(BoardSettings { listen, ..settings.clone() }).await.unwrap();
    assert_eq!((again.host_key_line(), again.addr()), (&line[..], listen));
    let error = Board::start(BoardSettings { listen, ..settings.clone() }).await.unwrap_err().to_string();
    assert!(error.contains("cannot listen on"), "{error}");
    let error = Board::start(BoardSettings { admin_key: "x".to_owned(), ..settings }).await.unwrap_err();
    assert!(error.to_string().contains("the admin key of the board"), "{error}");
    tokio::time::timeout(Duration::from_secs(30), again.stop()).await.unwrap();
}
