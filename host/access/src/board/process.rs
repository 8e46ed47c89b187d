//! A program on a board, between its start and the end of its channel.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pty_process::{OwnedWritePty, Size};
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Site;

/// Pieces of input that may wait for the program; a piece is at most a packet of 32 KiB.
const MAX_INPUT: usize = 1024;
/// Read from the program at a time.
const PIECE: usize = 32 * 1024;
/// Between asking a program to go and making it go.
const GRACE: Duration = Duration::from_millis(500);
/// Longest wait for the last output of a program that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Standard error is extended data of this type.
const STDERR: u32 = 1;
/// So often the end of its input is told to a terminal whose program goes on.
const END_AGAIN: Duration = Duration::from_millis(500);
/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: &[u8] = &[4];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where systems keep the server half of sftp and scp.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// What a visitor asks for.
pub(super) enum Program {
    Shell,
    Command(Vec<u8>),
    Sftp,
}

/// The terminal a visitor sits at.
pub(super) struct Terminal {
    pub(super) term: String,
    pub(super) size: Size,
}

/// What a visitor sends to the program.
pub(super) enum Input {
    Bytes(Vec<u8>),
    Resize(Size),
    End,
}

/// A started program. When dropped, it is killed.
pub(super) struct Running {
    pub(super) input: mpsc::Sender<Input>,
    group: Option<Pid>,
    over: CancellationToken,
    _kill: DropGuard,
}

impl Running {
    /// Passes a signal on.
    pub(super) fn signal(&self, signal: &Sig) {
        if let (Some(group), Some(signal)) = (self.group, from_ssh(signal))
            && !self.over.is_cancelled()
        {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// The way back to the visitor.
pub(super) struct Exit {
    handle: Handle,
    write: ChannelWriteHalf<Msg>,
}

impl Exit {
    pub(super) fn new(handle: Handle, write: ChannelWriteHalf<Msg>) -> Exit {
        Exit { handle, write }
    }

    /// Sends what a program says until it says no more.
    async fn pass_on(&self, mut from: impl AsyncRead + Unpin, extended: Option<u32>) {
        let mut piece = vec![0; PIECE];
        // A terminal whose last program has gone answers with an error: that is its end.
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let data = piece.get(..length).unwrap_or_default().to_vec();
            let sent = match extended {
                None => self.write.data_bytes(data).await,
                Some(kind) => self.write.extended_data_bytes(kind, data).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// Says how it ended, and closes the channel.
    async fn end(&self, status: Option<ExitStatus>) {
        match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => drop(self.write.exit_status(code.cast_unsigned()).await),
            Some((None, Some(number))) => match to_ssh(number) {
                Some(signal) => {
                    let (id, nothing) = (self.write.id(), String::new());
                    let _ =
                        self.handle.exit_signal_request(id, signal, false, nothing.clone(), nothing).await;
                }
                None => drop(self.write.exit_status(128 + number.cast_unsigned()).await),
            },
            _ => {}
        }
        let _ = self.write.eof().await;
        let _ = self.write.close().await;
    }
}

/// Starts a program in the board's home, in a process group of its own.
pub(super) fn start(
    site: &Site,
    user: &str,
    program: Program,
    terminal: Option<Terminal>,
    env: Vec<(String, String)>,
    exit: Exit,
) -> io::Result<Running> {
    let settings = &site.settings;
    let interactive = terminal.is_some() && matches!(program, Program::Shell);
    let (path, args) = words(program, interactive, &settings.shell)?;
    let mut command = Command::new(path);
    command.args(args).env_clear().envs(env).current_dir(&settings.home).kill_on_drop(true);
    command.env("PATH", PATH).env("HOME", &settings.home).env("SHELL", &settings.shell);
    command.env("USER", user).env("LOGNAME", user).env("GROVE_BOARD", &settings.name);
    let (input, inputs) = mpsc::channel(MAX_INPUT);
    let (kill, over) = (CancellationToken::new(), CancellationToken::new());
    let ends = Ends { kill: kill.clone(), stopping: site.stopping.clone(), over: over.clone() };
    let group;
    match terminal {
        Some(Terminal { term, size }) => {
            let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
            pty.resize(size).map_err(io::Error::other)?;
            command.env("TERM", term).env("PS1", format!("{user}@{}$ ", settings.name));
            let child = pty_process::Command::from(command).spawn(pts).map_err(io::Error::other)?;
            group = group_of(&child);
            let (from, to) = pty.into_split();
            let motd = if interactive { settings.motd.replace('\n', "\r\n") } else { String::new() };
            site.tasks.spawn(async move {
                let output = async {
                    let _ = exit.write.data_bytes(motd.into_bytes()).await;
                    exit.pass_on(from, None).await;
                };
                let status = attend(child, group, ends, output, feed_terminal(to, inputs)).await;
                exit.end(status).await;
            });
        }
        None => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
            let mut child = command.spawn()?;
            group = group_of(&child);
            let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            site.tasks.spawn(async move {
                let output = async {
                    let out = async {
                        if let Some(out) = out {
                            exit.pass_on(out, None).await;
                        }
                    };
                    let err = async {
                        if let Some(err) = err {
                            exit.pass_on(err, Some(STDERR)).await;
                        }
                    };
                    tokio::join!(out, err);
                };
                let status = attend(child, group, ends, output, feed_pipe(to, inputs)).await;
                exit.end(status).await;
            });
        }
    }
    Ok(Running { input, group, over, _kill: kill.drop_guard() })
}

/// The program and its arguments.
fn words(program: Program, interactive: bool, shell: &Path) -> io::Result<(PathBuf, Vec<OsString>)> {
    let shell = shell.to_owned();
    Ok(match program {
        // The prompt is the board's own, whatever this host's rc files say.
        Program::Shell if interactive && shell.ends_with("bash") => {
            (shell, vec!["--norc".into(), "-i".into()])
        }
        Program::Shell if interactive => (shell, vec!["-i".into()]),
        Program::Shell => (shell, vec![]),
        Program::Command(line) => (shell, vec!["-c".into(), OsString::from_vec(line)]),
        Program::Sftp => {
            let server = SFTP_SERVERS.iter().map(Path::new).find(|path| path.exists());
            (server.ok_or(io::ErrorKind::NotFound)?.to_owned(), vec![])
        }
    })
}

/// How a program's time can end before it does, and how it is told that it has.
struct Ends {
    kill: CancellationToken,
    stopping: CancellationToken,
    over: CancellationToken,
}

/// Stays with the program until it has ended and said its last word; `None` when it was made to go.
async fn attend(
    mut child: Child,
    group: Option<Pid>,
    ends: Ends,
    output: impl Future<Output = ()>,
    feed: impl Future<Output = ()>,
) -> Option<ExitStatus> {
    let mut output = std::pin::pin!(output);
    let mut feed = std::pin::pin!(feed);
    let (mut silent, mut fed) = (false, false);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.ok(),
            () = ends.kill.cancelled() => break None,
            () = ends.stopping.cancelled() => break None,
            () = &mut output, if !silent => silent = true,
            () = &mut feed, if !fed => fed = true,
        }
    };
    let kill = |signal| {
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
    };
    if status.is_none() {
        kill(Signal::HUP);
        let _ = timeout(GRACE, child.wait()).await;
    }
    // Also what the program left behind: nothing outlives its channel.
    kill(Signal::KILL);
    let _ = child.wait().await;
    ends.over.cancel();
    if status.is_some() && !silent {
        let _ = timeout(LAST_WORDS, output).await;
    }
    status
}

async fn feed_pipe(to: Option<ChildStdin>, mut inputs: mpsc::Receiver<Input>) {
    let Some(mut to) = to else { return };
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Bytes(bytes) if to.write_all(&bytes).await.is_ok() => {}
            Input::Resize(_) => {}
            Input::Bytes(_) | Input::End => break,
        }
    }
    drop(to);
    // A visitor who goes on talking is not held up.
    while inputs.recv().await.is_some() {}
}

async fn feed_terminal(mut to: OwnedWritePty, mut inputs: mpsc::Receiver<Input>) {
    let mut ended = false;
    loop {
        let input = match timeout(END_AGAIN, inputs.recv()).await {
            Ok(Some(input)) => input,
            Ok(None) => break,
            // A shell that was only starting may have thrown it away.
            Err(_) if ended => Input::End,
            Err(_) => continue,
        };
        let fed = match input {
            Input::Bytes(bytes) => to.write_all(&bytes).await,
            Input::Resize(size) => to.resize(size).map_err(io::Error::other),
            Input::End => {
                ended = true;
                to.write_all(END_OF_TRANSMISSION).await
            }
        };
        if fed.is_err() {
            break;
        }
    }
    while inputs.recv().await.is_some() {}
}

/// The child leads its group.
fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

const SIGNALS: [(Sig, Signal); 12] = [
    (Sig::HUP, Signal::HUP),
    (Sig::INT, Signal::INT),
    (Sig::QUIT, Signal::QUIT),
    (Sig::ILL, Signal::ILL),
    (Sig::ABRT, Signal::ABORT),
    (Sig::FPE, Signal::FPE),
    (Sig::KILL, Signal::KILL),
    (Sig::SEGV, Signal::SEGV),
    (Sig::PIPE, Signal::PIPE),
    (Sig::ALRM, Signal::ALARM),
    (Sig::TERM, Signal::TERM),
    (Sig::USR1, Signal::USR1),
];

fn from_ssh(signal: &Sig) -> Option<Signal> {
    let kind = std::mem::discriminant(signal);
    SIGNALS.iter().find(|(ssh, _)| std::mem::discriminant(ssh) == kind).map(|(_, unix)| *unix)
}

fn to_ssh(number: i32) -> Option<Sig> {
    SIGNALS.iter().find(|(_, unix)| unix.as_raw() == number).map(|(ssh, _)| ssh.clone())
}
