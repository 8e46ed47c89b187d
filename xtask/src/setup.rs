//! What chores need of the machine beside Rust: installed where that may be done from here, named where it may not.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};

use crate::project;

/// A program, and the Debian package that has it.
type Program = (&'static str, &'static str);

/// What the demo needs: a compiler for what is written in C, and a user's side of ssh.
pub(crate) const FOR_DEMO: &[Program] = &[("cc", "gcc"), ("ssh", "openssh-client")];

/// What tests need: that and the other end of ssh, a small board's tools, users to make and remove in a private
/// namespace, and what the examples are written in.
pub(crate) const FOR_TESTS: &[Program] = &[
    ("cc", "gcc"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("ip", "iproute2"),
    ("busybox", "busybox"),
    ("useradd", "passwd"),
    ("unshare", "util-linux"),
    ("curl", "curl"),
    ("python3", "python3"),
];

/// The daemon that comes with a package of ours, and its service.
const DAEMON: (&str, &str) = ("sshd", "ssh");

/// Who may install packages here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Right {
    Root,
    /// Through sudo, which asks for no password.
    Sudo,
    Nobody,
}

/// Sees to it that these programs are there, before anything is built for ten minutes.
///
/// # Errors
/// What to type, where it cannot be done from here; what the package manager says, where it fails.
pub(crate) fn ensure_programs(programs: &[Program]) -> Result<()> {
    let missing = missing(programs, &folders());
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let install = Install { packages: packages(&missing), right: right() };
    if install.right == Right::Nobody {
        bail!(
            "{names} not found on this machine; on Debian, install what is missing with: {}",
            install.shown()
        );
    }
    eprintln!("xtask: {names} not found; {}", install.shown());
    let before = daemons();
    for mut command in install.commands() {
        project::run(command.stdin(Stdio::null()))?;
    }
    // Tests start the daemons that they need, on ports of their own; a package must not have started one.
    if daemons().is_subset(&before) {
        return Ok(());
    }
    project::run(install.command("service").args([DAEMON.1, "stop"]).stdin(Stdio::null()))?;
    ensure!(
        daemons().is_subset(&before),
        "the package started {}, and it does not stop: stop it, then run this again",
        DAEMON.0
    );
    Ok(())
}

/// Where programs are looked for: Debian keeps daemons where only root looks.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect()
}

fn missing(programs: &[Program], folders: &[PathBuf]) -> Vec<Program> {
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    programs.iter().copied().filter(|(program, _)| !is_there(program)).collect()
}

fn packages(missing: &[Program]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for (_, package) in missing {
        if !packages.contains(package) {
            packages.push(*package);
        }
        // Without recommendations, the compiler comes without what every program is linked with.
        if *package == "gcc" {
            packages.push("libc6-dev");
        }
    }
    packages
}

fn right() -> Right {
    let has = |program| folders().iter().any(|folder| folder.join(program).is_file());
    if !has("apt-get") {
        return Right::Nobody;
    }
    let quietly = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output()
    };
    match quietly("id", &["-u"]) {
        Ok(id) if id.stdout.trim_ascii() == b"0" => Right::Root,
        _ if has("sudo") && quietly("sudo", &["-n", "true"]).is_ok_and(|sudo| sudo.status.success()) => {
            Right::Sudo
        }
        _ => Right::Nobody,
    }
}

/// Packages to install.
struct Install {
    packages: Vec<&'static str>,
    right: Right,
}

impl Install {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(if self.right == Right::Root { program } else { "sudo" });
        match self.right {
            Right::Root => {}
            Right::Sudo => drop(command.args(["-n", program])),
            Right::Nobody => drop(command.arg(program)),
        }
        command
    }

    fn commands(&self) -> [Command; 2] {
        let apt_get = || {
            let mut command = self.command("env");
            command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
            command
        };
        let (mut update, mut install) = (apt_get(), apt_get());
        update.arg("update");
        install.args(["install", "-y", "--no-install-recommends"]).args(&self.packages);
        [update, install]
    }

    /// As one would type it.
    fn shown(&self) -> String {
        let mut command = self.command("apt-get");
        command.arg("install").args(&self.packages);
        project::shown(&command)
    }
}

/// Processes that are the daemon.
fn daemons() -> BTreeSet<OsString> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let is_daemon = |process: &Path| {
        std::fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim_end() == DAEMON.0)
    };
    processes
        .flatten()
        .filter(|process| is_daemon(&process.path()))
        .map(|process| process.file_name())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_program_names_its_package_once() {
        let folder = tempfile::TempDir::new().unwrap();
        for there in ["ssh", "ip", "useradd", "unshare", "curl", "python3"] {
            std::fs::write(folder.path().join(there), "").unwrap();
        }
        let missing = missing(FOR_TESTS, &[folder.path().to_owned()]);
        let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        assert_eq!(names, ["cc", "ssh-keygen", "sshd", "busybox"]);
        assert_eq!(packages(&missing), ["gcc", "libc6-dev", "openssh-client", "openssh-server", "busybox"]);
    }

    #[test]
    fn what_to_type_depends_on_who_one_is() {
        let shown = |right| Install { packages: vec!["busybox", "curl"], right }.shown();
        assert_eq!(shown(Right::Root), "apt-get install busybox curl");
        assert_eq!(shown(Right::Sudo), "sudo -n apt-get install busybox curl");
        assert_eq!(shown(Right::Nobody), "sudo apt-get install busybox curl");
        let commands = Install { packages: vec!["busybox"], right: Right::Sudo }.commands();
        assert_eq!(
            commands.map(|command| project::shown(&command)),
            [
                "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q update",
                "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends busybox"
            ]
        );
    }
}
