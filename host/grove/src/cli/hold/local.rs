//! A command on this machine, for as long as which the board is held.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal as Unix, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::Stay;
use super::exit::Exit;
use super::session::Hanging;
use super::signals::{Signal, Signals};
use super::ssh::{self, Way};
use super::wait::Place;
use crate::cli::failure::Hinted;

/// Between asking a command to end and ending it.
const GRACE: Duration = Duration::from_secs(10);

/// The file of a program, so that its absence is known before a board is asked for.
pub(super) fn program(argv: &[OsString]) -> anyhow::Result<PathBuf> {
    let name = argv.first().map(Path::new).context("there is no command")?;
    ssh::in_path(name).ok_or_else(|| {
        let hint = "with --local the command runs on this machine; leave it out to run it on the board";
        Hinted::new(format!("there is no {} on this machine", name.display()), hint).into()
    })
}

impl Stay<'_> {
    /// Runs the command to its end, or to the end of the job.
    pub(super) async fn local(&mut self, argv: &[OsString], place: Place, signals: &mut Signals) -> Exit {
        match self.local_to_its_end(argv, place, signals).await {
            Ok(exit) => exit,
            Err(error) => Exit::Local(error),
        }
    }

    async fn local_to_its_end(
        &mut self,
        argv: &[OsString],
        mut place: Place,
        signals: &mut Signals,
    ) -> anyhow::Result<Exit> {
        let config = self.folder.join("ssh_config");
        let way = self.way(&place)?;
        write(&config, &way)?;
        let mut command = Command::new(program(argv)?);
        command.args(argv.iter().skip(1)).envs(way.environment()).envs(way.address());
        command.env("GROVE_SSH_CONFIG", &config).kill_on_drop(true);
        if !self.stdin {
            command.stdin(Stdio::null());
        }
        // A terminal's own processes stay one group, so that the command may read from it.
        let group = !io::stdin().is_terminal();
        if group {
            command.process_group(0);
        }
        let mut child = command.spawn().with_context(|| format!("cannot run {}", argv_name(argv)))?;
        self.pulse.busy(true);
        let mut interrupted = None;
        let mut lost = None;
        let mut end_at: Option<Instant> = None;
        let status = loop {
            let silent = self.pulse.told().at + self.away.duration();
            let late = sleep_until(end_at.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                signal = signals.next() => {
                    // Ctrl-C on a terminal has reached the command already.
                    if group || signal != Signal::Interrupt {
                        pass_on(&child, group, unix(signal));
                    }
                    interrupted = Some(signal);
                }
                status = child.wait() => break status.context("lost sight of the command")?,
                told = self.pulse.next(), if lost.is_none() => {
                    self.notices.warn(&told.warnings);
                    if told.over {
                        lost = Some(Hanging::Over);
                    } else if let Some(access) = told.access.filter(|access| is_elsewhere(&place, access)) {
                        place.access = access;
                        write(&config, &self.way(&place)?)?;
                    }
                }
                () = sleep_until(silent), if lost.is_none() => lost = Some(Hanging::Silent),
                () = late, if end_at.is_some() => {
                    pass_on(&child, group, Unix::KILL);
                    end_at = Some(Instant::now() + GRACE);
                }
            }
            if lost.is_some() && end_at.is_none() {
                self.notices.say("the board is gone: the command is asked to end");
                pass_on(&child, group, Unix::TERM);
                end_at = Some(Instant::now() + GRACE);
            }
        };
        self.pulse.busy(false);
        if let Some(lost) = lost {
            return Ok(self.why_lost(lost).await);
        }
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
        match interrupted {
            Some(signal @ (Signal::Terminate | Signal::HangUp)) => Ok(Exit::Interrupted(signal)),
            _ => Ok(Exit::Remote(u8::try_from(code).unwrap_or(255))),
        }
    }
}

fn argv_name(argv: &[OsString]) -> String {
    argv.first().map_or_else(String::new, |name| name.display().to_string())
}

fn is_elsewhere(place: &Place, access: &grove_client::wire::job::Access) -> bool {
    let now = &place.access;
    (&now.host, now.port, &now.user, &now.host_keys)
        != (&access.host, access.port, &access.user, &access.host_keys)
}

/// Replaces the file as a whole: the command may be reading it.
fn write(config: &Path, way: &Way) -> anyhow::Result<()> {
    let new = config.with_extension("new");
    std::fs::write(&new, way.configuration())
        .and_then(|()| std::fs::rename(&new, config))
        .with_context(|| format!("cannot write {}", config.display()))
}

/// Sends it to the command, and to all that it started where that is a group of its own. What has ended needs none.
fn pass_on(child: &Child, group: bool, signal: Unix) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
    let _ = if group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
}

fn unix(signal: Signal) -> Unix {
    match signal {
        Signal::Interrupt => Unix::INT,
        Signal::Terminate => Unix::TERM,
        Signal::HangUp => Unix::HUP,
    }
}
