//! Commands on the board over ssh. The controller logs in, with the `host`, `port`, `user`, `identity` and `host_key`
//! of the driver config; it needs the grant `ssh`.

use std::time::Duration;

use super::Failure;
use crate::bindings::driver::grove::plugin::ssh::{self, SshError};

pub use crate::bindings::driver::grove::plugin::ssh::Output;

/// How long a command may take when nothing else is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of what a command wrote is put into a failure's text.
const MAX_QUOTED: usize = 500;

/// A command, word by word: no shell sees the words.
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until it is run"]
pub struct Command {
    argv: Vec<String>,
    stdin: Vec<u8>,
    timeout: Duration,
}

impl Command {
    /// A program to run.
    pub fn new(program: impl Into<String>) -> Self {
        Self { argv: vec![program.into()], stdin: Vec::new(), timeout: DEFAULT_TIMEOUT }
    }

    /// A script for `sh`. Words given with [`arg`](Self::arg) are its `$1`, `$2`, …: never put a value into the
    /// text itself.
    pub fn script(text: impl Into<String>) -> Self {
        Self::new("sh").arg("-c").arg(text).arg("grove")
    }

    /// One more word.
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.argv.push(word.into());
        self
    }

    /// What the command reads.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Runs the command, whatever its status.
    ///
    /// # Errors
    /// When the command could not be run or did not end: what to do about it.
    pub fn output(&self) -> Result<Output, Failure> {
        let ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        ssh::run(&self.argv, &self.stdin, ms).map_err(|error| explained(error, self.timeout))
    }

    /// Runs the command, which must succeed, and returns what it wrote.
    ///
    /// # Errors
    /// As [`output`](Self::output); [`Failure::Device`] with the end of what it said when its status is not 0.
    pub fn run(&self) -> Result<Vec<u8>, Failure> {
        let output = self.output()?;
        if output.status == 0 { Ok(output.stdout) } else { Err(Failure::Device(output.failed())) }
    }
}

/// Writes a file on the board.
///
/// # Errors
/// When it was not written: what to do about it.
pub fn write_file(path: &str, mode: u32, data: &[u8]) -> Result<(), Failure> {
    ssh::write_file(path, mode, data).map_err(|error| explained(error, DEFAULT_TIMEOUT))
}

impl Output {
    /// In words, that the command failed and what it said last.
    pub fn failed(&self) -> String {
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        let said = String::from_utf8_lossy(said);
        match tail(said.trim()) {
            "" => format!("the command ended with status {} and said nothing", self.status),
            said => format!("the command ended with status {}: {said}", self.status),
        }
    }
}

/// The last bytes of a text, from the beginning of a character on.
fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(MAX_QUOTED);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(from..).unwrap_or_default()
}

fn explained(error: SshError, timeout: Duration) -> Failure {
    match error {
        SshError::Denied(why) => Failure::Config(format!(
            "the board does not let the controller in: {why}; look at `user`, `identity` and `host_key`"
        )),
        SshError::Unreachable(why) => Failure::Environment(format!(
            "the board cannot be reached: {why}; look at its power and network, and at `host` and `port`"
        )),
        SshError::TimedOut => Failure::Environment(format!(
            "the command did not end within {} s; the board hangs or its network is slow",
            timeout.as_secs()
        )),
        SshError::Closed => Failure::Environment(
            "the connection closed in the middle of a command; did the board restart?".into(),
        ),
        SshError::Other(why) => Failure::Environment(format!("ssh to the board: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_quotes_the_end_of_what_was_said() {
        let said = format!("{}é the end", "x".repeat(MAX_QUOTED));
        let output = Output { status: 3, stdout: Vec::new(), stderr: said.into_bytes(), truncated: false };
        let text = output.failed();
        assert!(
            text.starts_with("the command ended with status 3: x") && text.ends_with("é the end"),
            "{text}"
        );
        assert!(text.len() < MAX_QUOTED + 50);
    }

    #[test]
    fn words_of_a_script_stay_words() {
        let command = Command::script("echo \"$1\"").arg("; rm -rf /");
        assert_eq!(command.argv, ["sh", "-c", "echo \"$1\"", "grove", "; rm -rf /"]);
    }
}
