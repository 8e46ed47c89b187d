//! Commands and files on a board's supervisor.
//!
//! ```text
//! run --> pool (idle connection to the same target) or dial + pin host key + log in --> one channel --> output
//! ```
//!
//! A connection serves one command at a time and is kept for the next one. It is trusted again only after the channel
//! of its last command is closed on both sides; every other end of a command ends the connection too.

mod command;
mod connect;
mod pool;
mod quote;

use std::sync::Arc;
use std::time::Duration;

use self::command::Running;
use self::pool::Pool;
pub use self::quote::QuoteError;
use crate::secrets::{SecretError, Secrets};

/// Kept of each of the two outputs of a command, in bytes.
pub const MAX_OUTPUT: usize = 1024 * 1024;

/// How boards are reached.
#[derive(Clone, Debug)]
pub struct SshSettings {
    /// Longest wait for a connection, a key exchange and a log-in together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// Most connections at a time, used and unused; more commands wait.
    pub max_connections: usize,
    /// A silent peer is asked for a sign of life this often, and given up after three times.
    pub keepalive: Duration,
    /// Longest time for writing one file.
    pub file_timeout: Duration,
    /// Most bytes of a file to write or of a command's input.
    pub max_input: usize,
    /// Identity for targets that name none.
    pub default_identity: Option<String>,
    /// Accept any host key of targets that pin none. Whoever sits in between can then play the board: only for
    /// networks where nobody can.
    pub allow_unpinned_hosts: bool,
}

impl Default for SshSettings {
    fn default() -> SshSettings {
        SshSettings {
            connect_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            max_connections: 256,
            keepalive: Duration::from_secs(5),
            file_timeout: Duration::from_secs(120),
            max_input: 64 * 1024 * 1024,
            default_identity: None,
            allow_unpinned_hosts: false,
        }
    }
}

/// Where a board's supervisor is and how one logs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SshTarget {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Name of the secret that holds the private key; `None`: the default one.
    pub identity: Option<String>,
    /// The only host key to accept: an OpenSSH public key line.
    pub host_key: Option<String>,
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshOutput {
    /// Exit status; 128 + signal when a signal ended it.
    pub status: i32,
    /// Standard output, its first [`MAX_OUTPUT`] bytes.
    pub stdout: Vec<u8>,
    /// Standard error, its first [`MAX_OUTPUT`] bytes.
    pub stderr: Vec<u8>,
    /// Whether some output was cut off.
    pub truncated: bool,
}

/// Why a command or a file did not work.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The board does not let us in, or we have nothing to log in with.
    #[error("denied: {0}")]
    Denied(String),
    /// Nobody there.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Not done in time; the command was killed.
    #[error("timed out")]
    TimedOut,
    /// The connection ended in the middle: whether the command did its work is unknown.
    #[error("connection closed in the middle of a command")]
    Closed,
    /// Somebody else answered, or nobody said who should.
    #[error("host key: {0}")]
    HostKey(String),
    /// Nothing was tried, because the controller itself is short of something.
    #[error("the controller is short of something: {0}")]
    Short(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<SecretError> for SshError {
    fn from(error: SecretError) -> SshError {
        SshError::Denied(error.to_string())
    }
}

impl From<QuoteError> for SshError {
    fn from(error: QuoteError) -> SshError {
        SshError::Other(error.to_string())
    }
}

/// Runs commands on boards. Clones share the connections.
#[derive(Clone)]
pub struct SshClient {
    settings: Arc<SshSettings>,
    pool: Pool,
}

impl SshClient {
    /// A client without connections.
    pub fn new(settings: SshSettings, secrets: Secrets) -> SshClient {
        let settings = Arc::new(settings);
        SshClient { pool: Pool::new(Arc::clone(&settings), secrets), settings }
    }

    /// Runs a command whose words are `argv` (quoted here), feeds it `stdin`, and waits for its end, all within
    /// `timeout`. Dropping the future kills the command.
    pub async fn run(
        &self,
        target: &SshTarget,
        argv: &[String],
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> Result<SshOutput, SshError> {
        let line = quote::command_line(argv)?;
        if stdin.len() > self.settings.max_input {
            let most = self.settings.max_input;
            return Err(SshError::Other(format!("input of {} bytes is more than {most}", stdin.len())));
        }
        let work = async {
            let (connection, channel) = self.pool.channel(target).await?;
            Running::new(self.pool.clone(), connection, channel).run(line, stdin).await
        };
        tokio::time::timeout(timeout, work).await.map_err(|_| SshError::TimedOut)?
    }

    /// Writes a whole file with these permission bits: it is replaced at once, or stays as it was.
    pub async fn write_file(
        &self,
        target: &SshTarget,
        path: &str,
        mode: u32,
        data: Vec<u8>,
    ) -> Result<(), SshError> {
        if path.is_empty() || path.ends_with('/') {
            return Err(SshError::Other(format!("`{path}` is not the path of a file")));
        }
        let mode = format!("{:o}", mode & 0o7777);
        let length = data.len().to_string();
        let argv = ["sh", "-c", WRITE_FILE, "sh", path, &mode, &length].map(str::to_owned);
        let output = self.run(target, &argv, data, self.settings.file_timeout).await?;
        if output.status == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(SshError::Other(format!("cannot write {path}: {} (status {})", said.trim(), output.status)))
    }

    /// Closes unused connections to a target, so that the next command finds out whether it still answers.
    pub fn hang_up(&self, target: &SshTarget) {
        self.pool.hang_up(target);
    }

    /// Connections that are open and unused.
    pub fn idle_connections(&self) -> usize {
        self.pool.idle_connections()
    }
}

/// `$1` path, `$2` mode, `$3` length. The length tells a whole file from one that was cut off with the connection.
const WRITE_FILE: &str = r#"set -eu
part="$1.grove-$$"
trap 'rm -f -- "$part"' EXIT
umask 077
rm -f -- "$part"
set -C
cat > "$part"
[ "$(($(wc -c < "$part")))" -eq "$3" ] || { echo "input was cut off" >&2; exit 74; }
chmod -- "$2" "$part"
mv -f -- "$part" "$1"
"#;
