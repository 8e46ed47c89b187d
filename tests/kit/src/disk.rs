//! A small disk of its own for a controller: a file system in memory, mounted where only that controller sees it, which
//! can be filled, emptied and made read-only. It changes nothing on the machine, and is gone with the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Process, tools};

/// Keeps the mount for as long as somebody holds the other end of its input.
const KEEPER: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs -o "size=$2m,mode=700" tmpfs "$1"
echo mounted
cat > /dev/null
"#;

/// Bytes of the ballast that are written at once.
const PIECE: usize = 1 << 20;

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    keeper: Process,
    at: PathBuf,
}

impl Disk {
    /// Mounts one of this many MiB on a folder that exists.
    pub fn mount(at: &Path, mib: u32) -> Disk {
        let mut command = Command::new("unshare");
        if !tools::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", KEEPER, "keeper"]).arg(at).arg(mib.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = Process::start(&mut command);
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            let mut why = String::new();
            keeper.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!(
                "no disk can be mounted: {why}\nas root, the tests need CAP_SYS_ADMIN; as a user, user namespaces (in \
                 Docker: --privileged, or --cap-add SYS_ADMIN --security-opt apparmor=unconfined)"
            );
        }
        Disk { keeper, at: at.to_owned() }
    }

    /// The same program, run where the disk is mounted.
    pub fn seen_by(&self, program: &Command) -> Command {
        let mut command = self.enter();
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        command
    }

    /// Its root, as the test sees it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.at.strip_prefix("/").unwrap())
    }

    /// Takes no writes from now on, or takes them again. As long as a file is open for writing, it stays as it is.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        let mut mount = self.enter();
        tools::run(mount.args([OsStr::new("mount"), OsStr::new("-o"), OsStr::new(options)]).arg(&self.at));
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let mut piece = PIECE;
        while piece > 0 {
            match ballast.write(&vec![0x55; piece]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 2,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.id().to_string());
        if !tools::is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--"]);
        command
    }
}
