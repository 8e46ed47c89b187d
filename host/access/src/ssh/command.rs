//! One command on one channel, to its end, whoever ends it.
//!
//! The shell on the other side first tells its process id, so that a command that nobody waits for any more can be
//! killed: many servers take no signals over the channel (OpenSSH none for root).

use std::future::pending;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::pool::{Connection, Pool};
use super::{MAX_OUTPUT, SshError, SshOutput};

/// A command that has ended may have left children behind that hold its outputs open; so long is waited for their
/// words.
const AFTERMATH: Duration = Duration::from_secs(2);
/// A signal over the channel does it in this time, or does not do it.
const SIGNAL: Duration = Duration::from_millis(250);
/// Longest wait for a killed command to be gone. Longer, and its connection is given up.
const BURIAL: Duration = Duration::from_secs(5);
/// Standard error is extended data of this type.
const STDERR: u32 = 1;
/// What the process id is told after, on a line of standard error that is not passed on.
const TELL: &str = "grove-command-process ";

/// A command and all it holds. When dropped before its end, the command is killed.
pub(super) struct Running {
    pool: Pool,
    held: Option<Held>,
}

struct Held {
    connection: Connection,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    seen: Seen,
}

/// What is known of a command so far.
#[derive(Default)]
struct Seen {
    output: SshOutput,
    /// Of the shell that runs it, which leads its process group.
    process: Option<u32>,
    status: Option<i32>,
    closed: bool,
}

impl Running {
    pub(super) fn new(pool: Pool, connection: Connection, channel: Channel<Msg>) -> Running {
        let (read, write) = channel.split();
        Running { pool, held: Some(Held { connection, read, write, seen: Seen::default() }) }
    }

    pub(super) async fn run(mut self, line: String, stdin: Vec<u8>) -> Result<SshOutput, SshError> {
        let Some(held) = &mut self.held else { return Err(SshError::Closed) };
        if held.write.exec(true, format!("echo {TELL}$$ >&2; {line}")).await.is_err() {
            return Err(SshError::Closed);
        }
        let write = &held.write;
        let feed = async {
            // A command need not read its input; its end tells what became of it.
            if write.data_bytes(stdin).await.is_ok() {
                let _ = write.eof().await;
            }
            pending().await
        };
        tokio::select! {
            ended = held.seen.watch(&mut held.read) => ended?,
            () = feed => {}
        }
        let output = std::mem::take(&mut held.seen.output);
        let status = held.seen.status.ok_or(SshError::Closed)?;
        if held.seen.closed
            && let Some(held) = self.held.take()
        {
            self.pool.put_back(held.connection);
        }
        Ok(SshOutput { status, ..output })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.held.take(), Handle::try_current()) {
            runtime.spawn(bury(self.pool.clone(), held));
        }
    }
}

/// Kills the command; keeps the connection if it then turns out to be clean.
async fn bury(pool: Pool, held: Held) {
    let Held { connection, mut read, write, mut seen } = held;
    // A command that is over is not killed: what still holds the channel open are its children, and they may stay.
    if seen.status.is_none() {
        let _ = write.signal(Sig::KILL).await;
        let _ = timeout(SIGNAL, seen.watch(&mut read)).await;
    }
    if seen.status.is_none()
        && !seen.closed
        && let Some(process) = seen.process
    {
        let _ = timeout(BURIAL, connection.exec(&kill_line(process))).await;
        let _ = timeout(BURIAL, seen.watch(&mut read)).await;
    }
    if seen.closed {
        pool.put_back(connection);
    } else {
        let _ = timeout(BURIAL, write.close()).await;
        connection.close().await;
    }
}

/// The whole group; the shell alone where it leads none.
fn kill_line(process: u32) -> String {
    format!("kill -KILL -- -{process} 2>/dev/null || kill -KILL {process}")
}

impl Seen {
    /// Follows the command to its end.
    async fn watch(&mut self, read: &mut ChannelReadHalf) -> Result<(), SshError> {
        while !self.closed {
            let message = match self.status {
                None => read.wait().await,
                Some(_) => match timeout(AFTERMATH, read.wait()).await {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    keep(&mut self.output.stdout, &data, &mut self.output.truncated);
                }
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                    keep(&mut self.output.stderr, &data, &mut self.output.truncated);
                    self.look_for_process();
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status.cast_signed()),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.status = Some(128 + number(&signal_name));
                }
                Some(ChannelMsg::Failure) => {
                    return Err(SshError::Denied("the board runs no commands for us".to_owned()));
                }
                Some(ChannelMsg::Close) => self.closed = true,
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Takes the line with the process id out of standard error; what a login script says may come before it.
    fn look_for_process(&mut self) {
        if self.process.is_some() {
            return;
        }
        let text = &mut self.output.stderr;
        let mut begin = 0;
        while let Some(length) = text.iter().skip(begin).position(|byte| *byte == b'\n') {
            let end = begin + length;
            let line = text.get(begin..end).and_then(|line| std::str::from_utf8(line).ok());
            let told = line.and_then(|line| line.strip_prefix(TELL)).and_then(|id| id.parse().ok());
            if told.is_some() {
                self.process = told;
                text.drain(begin..=end);
                return;
            }
            begin = end + 1;
        }
    }
}

fn keep(kept: &mut Vec<u8>, data: &[u8], truncated: &mut bool) {
    let room = MAX_OUTPUT - kept.len();
    kept.extend_from_slice(data.get(..room).unwrap_or(data));
    *truncated |= data.len() > room;
}

/// The number of a signal that ssh names, the same on every Unix; 0 for others.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::USR1 | Sig::Custom(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_is_found_and_not_passed_on() {
        let mut seen = Seen::default();
        for piece in ["welcome\ngrove-command-pro", "cess 4", "2\noops\n", "grove-command-process 7\n"] {
            seen.output.stderr.extend_from_slice(piece.as_bytes());
            seen.look_for_process();
        }
        assert_eq!(seen.process, Some(42));
        assert_eq!(seen.output.stderr, b"welcome\noops\ngrove-command-process 7\n");
    }

    #[test]
    fn nothing_is_found_where_nothing_was_told() {
        let mut seen = Seen::default();
        seen.output.stderr.extend_from_slice(b"grove-command-process x\n\xff\n grove-command-process 1\n");
        seen.look_for_process();
        assert_eq!(seen.process, None);
    }
}
