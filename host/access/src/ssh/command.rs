//! One command on one channel, to its end, whoever ends it.

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
/// Longest wait for a killed command to be gone. Longer, and its connection is given up.
const BURIAL: Duration = Duration::from_secs(5);
/// Standard error is extended data of this type.
const STDERR: u32 = 1;

/// A command and all it holds. When dropped before its end, the command is killed.
pub(super) struct Running {
    pool: Pool,
    held: Option<Held>,
}

struct Held {
    connection: Connection,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    /// The command itself is over, and must not be killed: what still holds the channel open are its children.
    over: bool,
}

impl Running {
    pub(super) fn new(pool: Pool, connection: Connection, channel: Channel<Msg>) -> Running {
        let (read, write) = channel.split();
        Running { pool, held: Some(Held { connection, read, write, over: false }) }
    }

    pub(super) async fn run(mut self, line: String, stdin: Vec<u8>) -> Result<SshOutput, SshError> {
        let Some(held) = &mut self.held else { return Err(SshError::Closed) };
        if held.write.exec(true, line).await.is_err() {
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
        let ended = tokio::select! {
            ended = collect(&mut held.read) => ended?,
            () = feed => return Err(SshError::Closed),
        };
        held.over = true;
        if ended.closed
            && let Some(held) = self.held.take()
        {
            self.pool.put_back(held.connection);
        }
        Ok(ended.output)
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
    let Held { connection, mut read, write, over } = held;
    let gone = async {
        let _ = write.signal(Sig::KILL).await;
        loop {
            match read.wait().await {
                Some(ChannelMsg::Close) => break true,
                Some(_) => {}
                None => break false,
            }
        }
    };
    if !over && timeout(BURIAL, gone).await.unwrap_or(false) {
        pool.put_back(connection);
    } else {
        let _ = timeout(BURIAL, write.close()).await;
        connection.close().await;
    }
}

struct Ended {
    output: SshOutput,
    /// Whether the channel is closed on both sides.
    closed: bool,
}

async fn collect(read: &mut ChannelReadHalf) -> Result<Ended, SshError> {
    let mut output = SshOutput::default();
    let mut status = None;
    let closed = loop {
        let message = match status {
            None => read.wait().await,
            Some(_) => match timeout(AFTERMATH, read.wait()).await {
                Ok(message) => message,
                Err(_) => break false,
            },
        };
        match message {
            Some(ChannelMsg::Data { data }) => keep(&mut output.stdout, &data, &mut output.truncated),
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                keep(&mut output.stderr, &data, &mut output.truncated);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status.cast_signed()),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(128 + number(&signal_name)),
            Some(ChannelMsg::Failure) => {
                return Err(SshError::Denied("the board runs no commands for us".to_owned()));
            }
            Some(ChannelMsg::Close) => break true,
            Some(_) => {}
            None => break false,
        }
    };
    output.status = status.ok_or(SshError::Closed)?;
    Ok(Ended { output, closed })
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
