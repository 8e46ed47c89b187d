//! A real OpenSSH server on the loopback, as a board: own folder, own host key, own authorized keys. It changes nothing
//! on the machine, and ends with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use grove_client::wire::Uuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Grove, Ssh, tools};

const SSHD: &str = "/usr/sbin/sshd";
/// Name of the controller's key.
pub const IDENTITY: &str = "board";
/// Polls of 50 ms until sshd answers: a deadline against hangs.
const POLLS: usize = 2400;

/// Keeps sshd for as long as somebody holds the other end of its input, so that it goes even when the test is killed.
/// As root, sshd insists on a folder in /run: it gets a /run of its own.
const PLAIN: &str = r#"
set -e
if [ "$(id -u)" = 0 ]; then
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -m 755 /run/sshd
fi
"$1" -D -e -f "$2/sshd_config" &
cat > /dev/null
kill $!
wait
"#;

/// The same on a machine of its own, as far as users can tell: whatever is done to users there happens to copies.
const CELL: &str = r#"
set -e
fresh() {
    for folder in "$@"; do
        [ ! -d "$folder" ] || mount -t tmpfs -o mode="${mode:-755}" tmpfs "$folder"
    done
}
mount --make-rprivate /
fresh /run
mkdir -m 755 /run/sshd /run/board /run/etc
mount --bind "$2" /run/board
cp -a /etc/. /run/etc/ 2>/dev/null || :
mount --bind /run/etc /etc
fresh /home /root /var/mail /var/spool /var/log
mode=1777 fresh /tmp /var/tmp /dev/shm
"$1" -D -e -f /run/board/sshd_config &
cat > /dev/null
kill $!
wait
"#;

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its host key: an OpenSSH public key line.
    pub host_key: String,
    /// Whom the controller logs in as.
    pub admin: String,
    folder: TempDir,
    keeper: Child,
}

impl Sshd {
    /// A server that acts as whoever runs the tests, and lets the controller's key in.
    pub fn start() -> Sshd {
        let admin = tools::user();
        let mut keeper = if tools::is_root() { Command::new("unshare") } else { Command::new("sh") };
        if tools::is_root() {
            keeper.args(["--mount", "sh"]);
        }
        keeper.args(["-c", PLAIN, "keeper", SSHD]);
        // Everybody's keys are in one file, as everybody is the same user.
        Self::start_as(&admin, keeper, |folder| (folder.to_owned(), format!("AllowUsers {admin}")))
    }

    /// A server on a machine of its own: its own users, homes and processes. Root there, whoever runs the tests.
    pub fn start_in_cell() -> Sshd {
        let mut keeper = Command::new("unshare");
        if !tools::is_root() {
            keeper.args(["--user", "--map-auto", "--map-root-user"]);
        }
        keeper.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        keeper.args(["sh", "-c", CELL, "keeper", SSHD]);
        Self::start_as("root", keeper, |_| {
            let keys = "AuthorizedKeysFile /run/board/keys-of-%u .ssh/authorized_keys";
            (PathBuf::from("/run/board"), keys.to_owned())
        })
    }

    /// `seen` gives the folder as the server sees it, and more lines of its configuration.
    fn start_as(admin: &str, mut keeper: Command, seen: impl Fn(&Path) -> (PathBuf, String)) -> Sshd {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing; on Debian: apt-get install openssh-server");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host_key = tools::make_key(folder.path(), "host_key");
        let admin_key = tools::make_key(folder.path(), "admin");
        tools::write_private(&folder.path().join(format!("keys-of-{admin}")), &format!("{admin_key}\n"));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (seen, more) = seen(folder.path());
        let seen = seen.display();
        // Of two lines that say the same, sshd takes the first.
        let config = format!(
            "{more}\nListenAddress 127.0.0.1:{port}\nHostKey {seen}/host_key\nPidFile none\nStrictModes no\nUsePAM no\n\
             AuthorizedKeysFile {seen}/keys-of-{admin}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PubkeyAuthentication yes\nPermitRootLogin yes\nUseDNS no\nMaxStartups 100\nMaxAuthTries 20\n\
             LogLevel VERBOSE\n{}",
            // Newer ones keep clients out for a while whose key was refused; here all clients have one address.
            if version() >= (9, 8) { "PerSourcePenalties no\n" } else { "" },
        );
        fs::write(folder.path().join("sshd_config"), config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        keeper.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper =
            keeper.spawn().expect("unshare and sh are missing; on Debian: apt-get install util-linux dash");
        let mut sshd = Sshd { port, host_key, admin: admin.to_owned(), folder, keeper };
        sshd.wait_until_up();
        sshd
    }

    /// The board's registration with the driver for ssh; `more` is added to its configuration.
    pub fn driver_config(&self, more: Value) -> Value {
        let mut config = json!({
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.admin,
            "identity": IDENTITY,
            "host_key": self.host_key,
        });
        let fields = config.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        config
    }

    /// Registers this server as a board whose users are whoever runs the tests, and waits until it is idle.
    pub async fn join(&self, grove: &Grove, uuid: Uuid, capabilities: &[(&str, &str)]) {
        let config = self.driver_config(json!({ "authorized_keys": self.key_file() }));
        self.join_as(grove, uuid, capabilities, config).await;
    }

    /// Registers this server as a board with this configuration, and waits until it is idle.
    pub async fn join_as(&self, grove: &Grove, uuid: Uuid, capabilities: &[(&str, &str)], config: Value) {
        self.know(grove);
        let farm = grove.farm();
        farm.register(uuid, "ssh", config, capabilities).await;
        farm.to_idle(uuid).await;
    }

    /// Gives the controller the key that this server lets in as its admin.
    pub fn know(&self, grove: &Grove) {
        grove.add_secret(IDENTITY, &self.admin_key());
    }

    /// The file of the keys that are let in.
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join(format!("keys-of-{}", self.admin))
    }

    /// The controller's key.
    pub fn admin_key(&self) -> String {
        fs::read_to_string(self.folder.path().join("admin")).unwrap()
    }

    /// The controller's own way in.
    pub fn admin(&self) -> Ssh {
        Ssh::to_port(self.port, &self.admin, &self.folder.path().join("admin"))
    }

    /// What it has to say so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn wait_until_up(&mut self) {
        for _ in 0..POLLS {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            if let Some(status) = self.keeper.try_wait().unwrap() {
                panic!(
                    "no sshd ({status}): {}\nas root, the tests need CAP_SYS_ADMIN; as a user, user namespaces and a \
                     line in /etc/subuid and /etc/subgid (apt-get install uidmap)",
                    self.log()
                );
            }
            sleep(Duration::from_millis(50));
        }
        panic!("sshd does not listen: {}", self.log());
    }
}

/// Version of OpenSSH, from `OpenSSH_9.2p1 …`.
fn version() -> (u32, u32) {
    let said =
        Command::new("ssh").arg("-V").output().expect("no ssh; on Debian: apt-get install openssh-client");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        if std::thread::panicking() {
            eprintln!("--- sshd on port {} said:\n{}", self.port, self.log());
        }
    }
}
