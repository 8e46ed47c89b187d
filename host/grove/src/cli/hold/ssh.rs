//! The system's ssh, in the foreground, on its way through the job's tunnel.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use grove_client::wire::job::Access;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use super::identity::Identity;
use super::pulse::Pulse;
use super::signals::{Signal, Signals};
use crate::cli::failure::Hinted;

/// How long ssh may take to end by itself after the terminal told it to, or its job is over.
const GRACE: Duration = Duration::from_secs(3);
/// How much later than ssh we may see the signal that ended it.
const SAME_SIGNAL: Duration = Duration::from_millis(200);
/// What ssh itself exits with when it fails.
const SSH_FAILED: u8 = 255;

/// What ssh shall do on the board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Session {
    /// Run one command.
    Command {
        /// Program and arguments, as the remote program shall see them.
        argv: Vec<String>,
        /// With a terminal of its own.
        tty: bool,
    },
    /// A shell, or whatever the user's arguments to ssh say.
    Shell {
        /// Options for ssh, then perhaps a remote command.
        args: Vec<String>,
    },
}

/// Where ssh is, so that its absence is known before a board is asked for.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("ssh")).find(|file| file.is_file());
    found.ok_or_else(|| Hinted::new("there is no ssh in PATH", "install the OpenSSH client").into())
}

/// The way to one board.
#[derive(Debug)]
pub(crate) struct Way {
    alias: String,
    destination: String,
    port: u16,
    known_hosts: PathBuf,
    host_is_known: bool,
    files: Vec<PathBuf>,
}

impl Way {
    /// The way that `access` describes; what ssh needs as files goes to `folder`.
    pub(crate) fn new(job: u64, access: &Access, identity: &Identity, folder: &Path) -> anyhow::Result<Self> {
        for (what, text) in [("user", &access.user), ("host", &access.host)] {
            // What the farm says must not become an option of ssh.
            let sane = !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:%".contains(c));
            ensure!(sane, "the farm names a {what} that ssh must not be given: {text:?}");
        }
        let alias = format!("grove-job-{job}");
        let known_hosts = folder.join("known_hosts");
        let lines = known_hosts_lines(&alias, &access.host_keys)?;
        std::fs::write(&known_hosts, &lines)
            .with_context(|| format!("cannot write {}", known_hosts.display()))?;
        Ok(Self {
            alias,
            destination: format!("{}@{}", access.user, access.host),
            port: access.port,
            known_hosts,
            host_is_known: !lines.is_empty(),
            files: identity.files.clone(),
        })
    }

    /// Everything after the word `ssh`.
    pub(crate) fn arguments(&self, session: &Session) -> Vec<OsString> {
        let known_hosts = quoted_path(&self.known_hosts);
        let mut args: Vec<OsString> = vec!["-p".into(), self.port.to_string().into()];
        let mut option = |text: String| args.extend(["-o".into(), OsString::from(text)]);
        option(format!("HostKeyAlias={}", self.alias));
        option(format!("UserKnownHostsFile={known_hosts}"));
        option("GlobalKnownHostsFile=/dev/null".to_owned());
        option(format!("StrictHostKeyChecking={}", if self.host_is_known { "yes" } else { "accept-new" }));
        option("UpdateHostKeys=no".to_owned());
        option("IdentitiesOnly=yes".to_owned());
        option("PreferredAuthentications=publickey".to_owned());
        // A connection that another job left open must not be taken for this one's.
        option("ControlMaster=no".to_owned());
        option("ControlPath=none".to_owned());
        option("ServerAliveInterval=15".to_owned());
        for file in &self.files {
            args.extend(["-i".into(), file.into()]);
        }
        match session {
            Session::Command { argv, tty } => {
                // Nothing but the command's own words on stderr.
                args.extend(["-o".into(), "LogLevel=ERROR".into(), if *tty { "-tt" } else { "-T" }.into()]);
                args.extend(["--".into(), OsString::from(&self.destination), quoted(argv).into()]);
            }
            Session::Shell { args: own } => {
                args.push(OsString::from(&self.destination));
                args.extend(own.iter().map(OsString::from));
            }
        }
        args
    }
}

/// Lines of a known_hosts file that holds the board's keys under the job's name.
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

/// Arguments as one text that a POSIX shell splits into the same arguments.
fn quoted(argv: &[String]) -> String {
    let quote = |word: &String| {
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c));
        if plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A path as the value of an ssh option, where blanks part values and `%` begins a token.
fn quoted_path(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// How ssh ended.
#[derive(Debug)]
pub(crate) struct Parting {
    status: ExitStatus,
    /// The signal that the user sent meanwhile.
    pub(crate) interrupted: Option<Signal>,
    /// Whether we had to end it.
    ended_by_us: bool,
}

impl Parting {
    /// The remote command's exit code, when ssh brought one.
    pub(crate) fn remote_code(&self) -> Option<u8> {
        self.status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .filter(|code| *code != SSH_FAILED && !self.ended_by_us)
    }

    /// ssh's own exit code, as shells tell it.
    pub(crate) fn code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(SSH_FAILED)
    }
}

/// Runs ssh until it ends, or must.
///
/// Ctrl-C on a terminal reaches ssh as well as us, and is ssh's: a shell on the board goes on. Without a terminal, or
/// the second time, it is for us, as every other signal is.
pub(crate) async fn connect(
    program: &Path,
    args: &[OsString],
    mut pulse: Pulse,
    signals: &mut Signals,
) -> anyhow::Result<Parting> {
    let mut child = Command::new(program)
        .args(args)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let on_terminal = io::stdin().is_terminal();
    let mut interrupted = None;
    let mut over = false;
    let mut ended_by_us = false;
    let mut end_at: Option<Instant> = None;
    let status = loop {
        let late = sleep_until(end_at.unwrap_or_else(Instant::now));
        tokio::select! {
            // A signal first: ssh may have ended by the same one.
            biased;
            signal = signals.next() => {
                let left_to_ssh = signal == Signal::Interrupt && on_terminal && interrupted.is_none();
                match signal {
                    _ if left_to_ssh => {}
                    // Whoever pressed Ctrl-C told ssh, too: it may end by itself, with a better exit code.
                    Signal::Interrupt => end_at = end_at.or_else(|| Some(Instant::now() + GRACE)),
                    Signal::Terminate | Signal::HangUp => end_at = Some(Instant::now()),
                }
                interrupted = Some(signal);
            }
            status = child.wait() => break status.context("lost sight of ssh")?,
            () = pulse.stopped(), if !over => {
                over = true;
                // The tunnel is closed, which ssh sees by itself.
                end_at = end_at.or_else(|| Some(Instant::now() + GRACE));
            }
            () = late, if end_at.is_some() => {
                stop(&mut child, ended_by_us)?;
                ended_by_us = true;
                end_at = Some(Instant::now() + GRACE);
            }
        }
    };
    let parting = Parting { status, interrupted, ended_by_us };
    if parting.remote_code().is_some() || parting.interrupted.is_some() {
        return Ok(parting);
    }
    // What ended ssh may be on its way to us.
    let interrupted = timeout(SAME_SIGNAL, signals.next()).await.ok();
    Ok(Parting { interrupted, ..parting })
}

/// Asks ssh to end; the second time it is not asked.
fn stop(child: &mut Child, asked: bool) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    match pid {
        Some(pid) if !asked => match rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
            // It ended meanwhile.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Some(_) => Ok(child.start_kill()?),
        None => Ok(()),
    }
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

    #[test]
    fn words_survive_the_remote_shell() {
        let words = ["ls", "a b", "", "it's", "$HOME", "x;y", "-la", "é", "a\nb", "*"].map(str::to_owned);
        let script = format!("printf '%s\\0' {}", quoted(&words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let seen: Vec<String> =
            String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(seen, words);
        assert_eq!(quoted(&["make".to_owned(), "-j2".to_owned()]), "make -j2");
    }

    #[test]
    fn host_keys_are_known_by_the_jobs_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["ssh-ed25519 AAAAC3 board", "ssh-rsa AAAAB3"];
        let way = Way::new(42, &access("u", "h", &keys), &Identity::default(), folder.path()).unwrap();
        let written = std::fs::read_to_string(folder.path().join("known_hosts")).unwrap();
        assert_eq!(written, "grove-job-42 ssh-ed25519 AAAAC3\ngrove-job-42 ssh-rsa AAAAB3\n");
        assert!(way.host_is_known);
        let way = Way::new(42, &access("u", "h", &[]), &Identity::default(), folder.path()).unwrap();
        assert!(!way.host_is_known);
    }

    #[test]
    fn a_farm_cannot_give_ssh_options() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |user, host, keys: &[&str]| {
            Way::new(1, &access(user, host, keys), &Identity::default(), folder.path())
                .unwrap_err()
                .to_string()
        };
        assert!(refused("-oProxyCommand=x", "h", &[]).contains("-oProxyCommand"));
        assert!(refused("u", "-h", &[]).contains("host"));
        assert!(refused("u", "h h", &[]).contains("host"));
        assert!(refused("u", "", &[]).contains("host"));
        assert!(refused("u", "h", &["ssh-rsa"]).contains("host key"));
        assert!(refused("u", "h", &["ssh-rsa AAAA\n* ssh-rsa BBBB"]).contains("host key"));
    }
}
