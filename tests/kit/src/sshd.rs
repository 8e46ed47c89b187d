//! A real OpenSSH server on the loopback, as a board: own folder, own host key, own authorized keys. It changes nothing
//! on the machine, and ends with the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
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

/// What a server runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The machine itself.
    Plain,
    /// A machine of its own, as far as users can tell.
    Cell,
    /// The same, at the end of a cable of this number.
    Cabled(u8),
}

impl Kind {
    /// Who keeps it: takes the path of sshd, then its folder.
    fn keeper(self) -> Command {
        let script = if self == Kind::Plain { PLAIN } else { CELL };
        let mut keeper = match self {
            Kind::Plain if !tools::is_root() => Command::new("sh"),
            _ => Command::new("unshare"),
        };
        match self {
            Kind::Plain if !tools::is_root() => {}
            Kind::Plain => drop(keeper.args(["--mount", "sh"])),
            Kind::Cell | Kind::Cabled(_) => {
                if !tools::is_root() {
                    keeper.args(["--user", "--map-auto", "--map-root-user"]);
                }
                if self != Kind::Cell {
                    keeper.arg("--net");
                }
                keeper.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"]);
            }
        }
        keeper.args(["-c", script, "keeper", SSHD]);
        keeper
    }

    /// Our end of its cable, and addresses of both ends.
    fn cable(self) -> Option<(String, String, String)> {
        match self {
            Kind::Cabled(number) => Some((
                format!("grove-test-{number}"),
                format!("10.213.{number}.1"),
                format!("10.213.{number}.2"),
            )),
            _ => None,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    /// Its address.
    pub host: String,
    /// Its port there.
    pub port: u16,
    /// Its host key: an OpenSSH public key line.
    pub host_key: String,
    /// Whom the controller logs in as.
    pub admin: String,
    kind: Kind,
    folder: TempDir,
    keeper: Child,
}

impl Sshd {
    /// A server that acts as whoever runs the tests, and lets the controller's key in.
    pub fn start() -> Sshd {
        let admin = tools::user();
        // Everybody's keys are in one file, as everybody is the same user.
        Self::start_as(&admin, Kind::Plain, |folder| (folder.to_owned(), format!("AllowUsers {admin}")))
    }

    /// A server on a machine of its own: its own users, homes and processes. Root there, whoever runs the tests.
    pub fn start_in_cell() -> Sshd {
        Self::start_cell(Kind::Cell)
    }

    /// The same, at the end of a cable that can be pulled. Only root can lay one.
    pub fn start_cabled() -> Sshd {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        assert!(
            tools::is_root(),
            "this test lays a network cable, which only root can: run the tests as root"
        );
        let number = (std::process::id() as u8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        Self::start_cell(Kind::Cabled(number))
    }

    fn start_cell(kind: Kind) -> Sshd {
        Self::start_as("root", kind, |_| {
            let keys = "AuthorizedKeysFile /run/board/keys-of-%u .ssh/authorized_keys";
            (PathBuf::from("/run/board"), keys.to_owned())
        })
    }

    /// `seen` gives the folder as the server sees it, and more lines of its configuration.
    fn start_as(admin: &str, kind: Kind, seen: impl Fn(&Path) -> (PathBuf, String)) -> Sshd {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing; on Debian: apt-get install openssh-server");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host_key = tools::make_key(folder.path(), "host_key");
        let admin_key = tools::make_key(folder.path(), "admin");
        tools::write_private(&folder.path().join(format!("keys-of-{admin}")), &format!("{admin_key}\n"));
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let host = kind.cable().map_or_else(|| "127.0.0.1".to_owned(), |(_, _, theirs)| theirs);
        let listen = if kind.cable().is_some() { "0.0.0.0" } else { &host };
        let (seen, more) = seen(folder.path());
        let seen = seen.display();
        // Of two lines that say the same, sshd takes the first.
        let config = format!(
            "{more}\nListenAddress {listen}:{port}\nHostKey {seen}/host_key\nPidFile none\nStrictModes no\nUsePAM no\n\
             AuthorizedKeysFile {seen}/keys-of-{admin}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PubkeyAuthentication yes\nPermitRootLogin yes\nUseDNS no\nMaxStartups 100\nMaxAuthTries 20\n\
             AcceptEnv LANG LC_* GROVE_*\nPrintMotd no\nLogLevel VERBOSE\n{}",
            // Newer ones keep clients out for a while whose key was refused; here all clients have one address.
            if version() >= (9, 8) { "PerSourcePenalties no\n" } else { "" },
        );
        fs::write(folder.path().join("sshd_config"), config).unwrap();
        let keeper = Self::boot_in(kind, folder.path());
        let mut sshd = Sshd { host, port, host_key, admin: admin.to_owned(), kind, folder, keeper };
        sshd.wait_until_up();
        sshd
    }

    fn boot_in(kind: Kind, folder: &Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut keeper = kind.keeper();
        keeper.arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper =
            keeper.spawn().expect("unshare and sh are missing; on Debian: apt-get install util-linux dash");
        if let Some((name, ours, theirs)) = kind.cable() {
            lay(keeper.id(), &name, &ours, &theirs);
        }
        keeper
    }

    /// Everything on it ends at once, as when its power is cut; only for those with a machine of their own.
    pub fn cut_power(&mut self) {
        assert!(self.kind != Kind::Plain, "its sessions would live on");
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        // The kernel takes a moment to tidy up behind it.
        let is_there = || match self.kind.cable() {
            Some((name, ..)) => Path::new("/sys/class/net").join(name).exists(),
            None => TcpStream::connect((self.host.as_str(), self.port)).is_ok(),
        };
        for _ in 0..POLLS {
            if !is_there() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("it is on still");
    }

    /// Starts it again after that.
    pub fn boot(&mut self) {
        self.keeper = Self::boot_in(self.kind, self.folder.path());
        self.wait_until_up();
    }

    /// Pulls its cable, or puts it in again.
    pub fn plug(&self, is_in: bool) {
        let (name, _, _) = self.kind.cable().expect("it has a cable");
        tools::run(Command::new("ip").args(["link", "set", &name, if is_in { "up" } else { "down" }]));
    }

    /// The board's registration with the driver for ssh; `more` is added to its configuration.
    pub fn driver_config(&self, more: Value) -> Value {
        let mut config = json!({
            "host": self.host,
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
            if TcpStream::connect((self.host.as_str(), self.port)).is_ok() {
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

/// Lays a cable into the network namespace of this process. It goes with that namespace.
fn lay(into: u32, name: &str, ours: &str, theirs: &str) {
    let namespace = format!("/proc/{into}/ns/net");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    for _ in 0..POLLS {
        if fs::read_link(&namespace).is_ok_and(|other| other != own) {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    let ip = |words: &str| tools::run(Command::new("ip").args(words.split(' ')));
    ip(&format!("link add {name} type veth peer name board netns {into}"));
    ip(&format!("addr add {ours}/30 dev {name}"));
    ip(&format!("link set {name} up"));
    let there = format!("ip link set lo up; ip addr add {theirs}/30 dev board; ip link set board up");
    tools::run(Command::new("nsenter").arg(format!("--net={namespace}")).args(["sh", "-ec", &there]));
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
