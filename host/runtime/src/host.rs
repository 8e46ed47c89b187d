//! What the controller offers to plugins. The binary implements these traits with the real rooms.
//!
//! The futures are polled on the guests' threads and are dropped when the call is cancelled, wherever they are: they
//! must never block a thread and must clean up in `Drop`.

use std::ops::Range;
use std::time::Duration;

use futures_util::future::BoxFuture;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For those who debug the plugin.
    Trace,
    /// For those who debug the farm.
    Debug,
    /// Ordinary.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// Takes the lines that policies and inspectors log.
pub trait LogSink: Send + Sync {
    /// One line, already bounded in length; must return at once.
    fn log(&self, level: Level, line: &str);
}

/// The running task.
pub trait TaskHost: Send + Sync {
    /// How far the running step is (0 to 100), with a note for people.
    fn progress<'a>(&'a self, percent: u8, note: &'a str) -> BoxFuture<'a, ()>;
    /// Ends the running step and begins this one.
    fn step<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;
    /// One line of the driver, already bounded in length; must return at once.
    fn log(&self, level: Level, line: &str);
}

/// Where a worker's supervisor is and how one logs in: read from its driver config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Name of the identity (private key) to log in with; never the key.
    pub identity: Option<String>,
    /// The only host key to accept, as an OpenSSH public key line.
    pub host_key: Option<String>,
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshOutput {
    /// Exit status; 128 + signal when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether output was cut.
    pub truncated: bool,
}

/// Why a command or file did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// Not allowed: by the config, a grant, or the other side.
    #[error("denied: {0}")]
    Denied(String),
    /// Nobody there.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Not done in time.
    #[error("timed out")]
    TimedOut,
    /// The connection ended in the middle.
    #[error("connection closed")]
    Closed,
    /// Nothing was tried, because the controller is short of something.
    #[error("the controller is short of something: {0}")]
    Short(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Commands on a worker's own supervisor.
pub trait SshHost: Send + Sync {
    /// Forgets connections to a worker: the next command finds out whether it still answers.
    fn hang_up(&self, target: &SshTarget);

    /// Runs a command whose words are `argv` (the host quotes them), with `stdin`, for at most `timeout`.
    fn run<'a>(
        &'a self,
        target: &'a SshTarget,
        argv: Vec<String>,
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<SshOutput, SshError>>;

    /// Writes a whole file with these permission bits.
    fn write_file<'a>(
        &'a self,
        target: &'a SshTarget,
        path: String,
        mode: u32,
        data: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), SshError>>;
}

/// Secrets by name. Asked only for names that are granted.
pub trait SecretHost: Send + Sync {
    /// The secret, if there is one of that name.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>>;
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInfo {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Why an artifact could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is none of that group and key.
    #[error("there is no such artifact")]
    NotFound,
    /// It is another one than was asked for.
    #[error("another artifact took its place")]
    Changed,
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Artifacts by cache group and key. Asked only for groups that are granted.
pub trait StorageHost: Send + Sync {
    /// What it is.
    fn stat<'a>(&'a self, group: &'a str, key: &'a str) -> BoxFuture<'a, Result<StoredInfo, StorageError>>;

    /// These bytes of it, as far as it has them, if it is still the one of that digest.
    fn read<'a>(
        &'a self,
        group: &'a str,
        key: &'a str,
        sha256: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Vec<u8>, StorageError>>;
}

/// A controller without secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl SecretHost for NoSecrets {
    fn get<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(std::future::ready(None))
    }
}

impl SshTarget {
    /// Reads the target from a worker's driver config. The error is for the driver's and the admin's eyes.
    pub fn from_config(config: &str) -> Result<SshTarget, String> {
        #[derive(serde::Deserialize)]
        struct Fields {
            host: Option<String>,
            port: Option<u16>,
            user: Option<String>,
            identity: Option<String>,
            host_key: Option<String>,
        }
        let fields: Fields =
            serde_json::from_str(config).map_err(|error| format!("the worker's driver config: {error}"))?;
        let host = fields.host.filter(|host| !host.is_empty());
        let host =
            host.ok_or("the worker's driver config has no `host`; add the address of its supervisor")?;
        Ok(SshTarget {
            host,
            port: fields.port.unwrap_or(22),
            user: fields.user.unwrap_or_else(|| "root".to_owned()),
            identity: fields.identity,
            host_key: fields.host_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_target_comes_from_the_config() {
        let target = SshTarget::from_config(r#"{"host":"b1","port":2222,"user":"grove","other":1}"#).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.user.as_str()), ("b1", 2222, "grove"));
        assert_eq!(SshTarget::from_config(r#"{"host":"b1"}"#).unwrap().port, 22);
        assert!(SshTarget::from_config("{}").unwrap_err().contains("`host`"));
        assert!(SshTarget::from_config("nonsense").unwrap_err().contains("driver config"));
    }
}
