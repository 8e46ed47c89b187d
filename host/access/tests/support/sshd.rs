//! A real OpenSSH server on the loopback, for one test: own folder, own host key, own authorized keys. It acts as
//! whoever runs the test, changes nothing on the machine, and ends with the test.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part of it")]

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";
/// Polls of 50 ms: a deadline against hangs.
const PATIENCE: usize = 400;

/// Listens for sshd's end of life: it goes when our end of the pipe does, even when this process is killed.
/// As root, sshd insists on a folder in /run: it gets a /run of its own.
const KEEPER: &str = r#"
if [ "$(id -u)" = 0 ]; then
    mount -t tmpfs -o mode=755 tmpfs /run || { echo "cannot mount: the test as root needs CAP_SYS_ADMIN, or run it as a user" >&2; exit 1; }
    mkdir -m 755 /run/sshd
fi
"$1" -D -e -f "$2" &
cat > /dev/null
kill $!
wait
"#;

/// A running server.
pub(crate) struct Sshd {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// The only user it knows.
    pub(crate) user: String,
    /// Its host key: an OpenSSH public key line.
    pub(crate) host_key: String,
    folder: TempDir,
    keeper: Child,
}

impl Sshd {
    /// Starts one that lets nobody in yet.
    pub(crate) fn start() -> Sshd {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: install it with `apt-get install openssh-server`"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host_key = make_key(folder.path(), "host_key");
        let authorized = folder.path().join("authorized_keys");
        fs::write(&authorized, "").unwrap();
        let user = run(Command::new("id").arg("-un")).trim().to_owned();
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication yes\n\
             PermitRootLogin yes\nAllowUsers {user}\nUseDNS no\nMaxStartups 100\nLogLevel VERBOSE\n",
            folder.path().join("host_key").display(),
            authorized.display(),
        );
        let config_file = folder.path().join("sshd_config");
        fs::write(&config_file, config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let is_root = run(Command::new("id").arg("-u")).trim() == "0";
        let mut keeper = if is_root { Command::new("unshare") } else { Command::new("sh") };
        if is_root {
            keeper.args(["--mount", "sh"]);
        }
        keeper.args(["-c", KEEPER, "keeper", SSHD]).arg(&config_file);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper = keeper.spawn().expect("unshare and sh: install util-linux and dash");
        let mut sshd = Sshd { port, user, host_key, folder, keeper };
        sshd.wait_until_up();
        sshd
    }

    /// Lets in whoever has the private half of these lines, and nobody else.
    pub(crate) fn authorize(&self, lines: &str) {
        fs::write(self.folder.path().join("authorized_keys"), lines).unwrap();
    }

    /// What it has to say so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let log = fs::File::open(self.folder.path().join("log"));
        log.and_then(|mut log| log.read_to_string(&mut text)).unwrap();
        text
    }

    fn wait_until_up(&mut self) {
        for _ in 0..PATIENCE {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            assert!(self.keeper.try_wait().unwrap().is_none(), "sshd did not start: {}", self.log());
            sleep(Duration::from_millis(50));
        }
        panic!("sshd does not listen: {}", self.log());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Makes an ed25519 pair `name`, `name.pub` in the folder; returns the public line.
pub(crate) fn make_key(folder: &Path, name: &str) -> String {
    let path: PathBuf = folder.join(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let line = fs::read_to_string(path.with_extension("pub")).unwrap();
    line.trim().to_owned()
}

/// Runs a tool that must succeed; returns what it printed.
fn run(command: &mut Command) -> String {
    let name = command.get_program().to_owned();
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("{name:?}: {error}; install openssh-client and coreutils"));
    assert!(output.status.success(), "{name:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
