//! The system's `ssh`, as a user's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A way to an ssh server with one key.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// Host to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Account.
    pub user: String,
    /// File of the private key.
    pub key: PathBuf,
}

impl Ssh {
    /// The way to a server on this machine.
    pub fn to_port(port: u16, user: &str, key: &Path) -> Ssh {
        Ssh { host: "127.0.0.1".to_owned(), port, user: user.to_owned(), key: key.to_owned() }
    }

    /// `ssh` with nothing of the user's own configuration, asking nobody anything.
    pub fn command(&self, remote: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"]);
        ssh.arg("-i").arg(&self.key).args(["-p", &self.port.to_string(), "-l", &self.user, &self.host]);
        ssh.arg(remote).env_remove("SSH_AUTH_SOCK");
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }

    /// Runs a command to its end.
    pub fn run(&self, remote: &str) -> Output {
        let output = self.command(remote).output();
        output.expect("ssh does not start; on Debian: apt-get install openssh-client")
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn must(&self, remote: &str) -> String {
        let output = self.run(remote);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{remote}` on port {}: {} {said}", self.port, output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether the server lets this key in. Panics when it cannot be asked.
    pub fn is_let_in(&self) -> bool {
        let output = self.run("true");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("Permission denied"), "{}: {said}", output.status);
        output.status.success()
    }
}
