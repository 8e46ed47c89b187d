//! The way to a board through its job's tunnel: what the system's ssh needs to know, as arguments and as files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use grove_client::wire::job::Access;
use grove_client::wire::{Span, Uuid};

use super::identity::Identity;
use super::visit::Visit;
use crate::cli::failure::Hinted;

/// The name of the board in a configuration for ssh.
pub(crate) const BOARD: &str = "board";
/// How long ssh may take to get to the board's sshd, in seconds: longer than the tunnel waits for the board.
const CONNECT_TIMEOUT: u64 = 15;

/// Where ssh is, so that its absence is known before a board is asked for.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    in_path("ssh".as_ref())
        .ok_or_else(|| Hinted::new("there is no ssh in PATH", "install the OpenSSH client").into())
}

/// The file that a program's name stands for.
pub(crate) fn in_path(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The name by which ssh knows a board's host keys: ports and addresses of tunnels are used by one board after another.
pub(crate) fn alias(worker: Uuid) -> String {
    format!("grove-{worker}")
}

/// The way to one board.
#[derive(Debug)]
pub(crate) struct Way {
    job: u64,
    worker: Uuid,
    access: Access,
    known_hosts: PathBuf,
    host_is_known: bool,
    files: Vec<PathBuf>,
    alive: Span,
}

impl Way {
    /// The way that `access` describes; what ssh needs as files goes to `folder`, whose name needs no quotes. Board and
    /// client ask each other every `alive` whether they are there.
    pub(crate) fn new(
        job: u64,
        worker: Uuid,
        access: &Access,
        identity: &Identity,
        folder: &Path,
        alive: Span,
    ) -> anyhow::Result<Self> {
        for (what, text) in [("user", &access.user), ("host", &access.host)] {
            // What the farm says must not become an option of ssh.
            let sane = !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:%".contains(c));
            ensure!(sane, "the farm names a {what} that ssh must not be given: {text:?}");
        }
        let known_hosts = folder.join("known_hosts");
        let lines = known_hosts_lines(&alias(worker), &access.host_keys)?;
        std::fs::write(&known_hosts, &lines)
            .with_context(|| format!("cannot write {}", known_hosts.display()))?;
        let files = identity.files.clone();
        let host_is_known = !lines.is_empty();
        Ok(Self { job, worker, access: access.clone(), known_hosts, host_is_known, files, alive })
    }

    /// What makes this connection the job's own, whatever else ssh is told.
    fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HostKeyAlias", alias(self.worker)),
            ("UserKnownHostsFile", self.known_hosts.display().to_string()),
            ("GlobalKnownHostsFile", "/dev/null".to_owned()),
            ("StrictHostKeyChecking", if self.host_is_known { "yes" } else { "accept-new" }.to_owned()),
            ("UpdateHostKeys", "no".to_owned()),
            ("IdentitiesOnly", "yes".to_owned()),
            ("PreferredAuthentications", "publickey".to_owned()),
            // A connection that another job left open must not be taken for this one's.
            ("ControlMaster", "no".to_owned()),
            ("ControlPath", "none".to_owned()),
            ("ServerAliveInterval", self.alive.as_secs().to_string()),
            ("ConnectTimeout", CONNECT_TIMEOUT.to_string()),
            // As Debian's own configuration has it; and what the board should know of its job.
            ("SendEnv", "LANG LC_* GROVE_JOB GROVE_WORKER".to_owned()),
        ]
    }

    /// Everything after the word `ssh`.
    ///
    /// The user's configuration of ssh is left out: it is about hosts with names, which a board is not, and some of it
    /// (ForkAfterAuthentication, RemoteCommand, SessionType, ProxyJump, BindAddress, a file with wrong permissions …) would
    /// make a lie of the command's result. `-F` and `-o` after `--` bring back what is wanted.
    pub(crate) fn arguments(&self, visit: &Visit, log: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if !visit.configured {
            args.extend(["-F".into(), "none".into()]);
        }
        args.extend(["-p".into(), self.access.port.to_string().into()]);
        for (name, value) in self.options() {
            args.extend(["-o".into(), format!("{name}={value}").into()]);
        }
        let level = if visit.verbosity > 2 { "DEBUG3" } else { "DEBUG2" };
        args.extend(["-o".into(), format!("LogLevel={level}").into(), "-E".into(), log.into()]);
        for file in &self.files {
            args.extend(["-i".into(), file.into()]);
        }
        args.extend(visit.options.iter().cloned());
        args.extend(["--".into(), format!("{}@{}", self.access.user, self.access.host).into()]);
        args.extend(visit.command.clone());
        args
    }

    /// What programs around the job should know.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [("GROVE_JOB", self.job.to_string()), ("GROVE_WORKER", self.worker.to_string())]
    }

    /// Where the board is, for programs that talk to it themselves.
    pub(crate) fn address(&self) -> [(&'static str, String); 3] {
        [
            ("GROVE_BOARD_HOST", self.access.host.clone()),
            ("GROVE_BOARD_PORT", self.access.port.to_string()),
            ("GROVE_BOARD_USER", self.access.user.clone()),
        ]
    }

    /// A configuration for `ssh -F`, in which the board is called [`BOARD`].
    pub(crate) fn configuration(&self) -> String {
        let mut text = format!(
            "Host {BOARD}\n  HostName {}\n  Port {}\n  User {}\n",
            self.access.host, self.access.port, self.access.user
        );
        for (name, value) in self.options() {
            text.push_str(&format!("  {name} {value}\n"));
        }
        for file in &self.files {
            let file = file.display().to_string().replace('%', "%%");
            text.push_str(&format!("  IdentityFile \"{file}\"\n"));
        }
        text
    }
}

/// Lines of a known_hosts file that holds the board's keys under this name.
fn known_hosts_lines(alias: &str, keys: &[String]) -> anyhow::Result<String> {
    let mut lines = String::new();
    for key in keys {
        let mut words = key.split_whitespace();
        let (Some(kind), Some(body), false) = (words.next(), words.next(), key.contains(['\n', '\r'])) else {
            bail!("the farm gives a host key that is none: {key:?}");
        };
        lines.push_str(&format!("{alias} {kind} {body}\n"));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(user: &str, host: &str, host_keys: &[&str]) -> Access {
        Access {
            host: host.to_owned(),
            port: 20_007,
            user: user.to_owned(),
            host_keys: host_keys.iter().map(|&key| key.to_owned()).collect(),
            private_key: None,
        }
    }

    fn to(access: &Access, folder: &Path) -> anyhow::Result<Way> {
        Way::new(42, Uuid::nil(), access, &Identity::default(), folder, Span::from_secs(10).unwrap())
    }

    #[test]
    fn host_keys_are_known_by_the_boards_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["ssh-ed25519 AAAAC3 board", "ssh-rsa AAAAB3"];
        let way = to(&access("u", "h", &keys), folder.path()).unwrap();
        let written = std::fs::read_to_string(folder.path().join("known_hosts")).unwrap();
        assert_eq!(written, format!("{0} ssh-ed25519 AAAAC3\n{0} ssh-rsa AAAAB3\n", alias(Uuid::nil())));
        assert!(way.host_is_known);
        let way = to(&access("u", "h", &[]), folder.path()).unwrap();
        assert!(!way.host_is_known);
    }

    #[test]
    fn a_farm_cannot_give_ssh_options() {
        let folder = tempfile::tempdir().unwrap();
        let refused =
            |user, host, keys: &[&str]| to(&access(user, host, keys), folder.path()).unwrap_err().to_string();
        assert!(refused("-oProxyCommand=x", "h", &[]).contains("-oProxyCommand"));
        assert!(refused("u", "-h", &[]).contains("host"));
        assert!(refused("u", "h h", &[]).contains("host"));
        assert!(refused("u", "", &[]).contains("host"));
        assert!(refused("u", "h", &["ssh-rsa"]).contains("host key"));
        assert!(refused("u", "h", &["ssh-rsa AAAA\n* ssh-rsa BBBB"]).contains("host key"));
    }
}
