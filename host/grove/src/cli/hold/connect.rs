//! The system's ssh, in the foreground.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::log::{Facts, Log};
use super::notices::Notices;
use super::pulse::Pulse;
use super::signals::{Signal, Signals};

/// How long ssh may take to end by itself after the terminal told it to, or its job is over.
const GRACE: Duration = Duration::from_secs(3);
/// How much later than ssh we may see the signal that ended it.
const SAME_SIGNAL: Duration = Duration::from_millis(200);
/// Between two looks at ssh's log.
const LOOK: Duration = Duration::from_millis(200);
/// What ssh itself exits with when it fails.
const SSH_FAILED: u8 = 255;
/// What shells say of a command that nobody reads any more.
const UNREAD: u8 = 128 + 13;

/// What to run.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, String)>,
    /// Whether it reads our stdin.
    pub(crate) stdin: bool,
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// What ran on the board ended with this code, or its user left.
    Ended(u8),
    /// The connection broke after the board had let us in.
    Cut,
    /// There was no connection, as ssh says here; there may be one later.
    Unreachable(String),
    /// ssh failed, for a reason that stays.
    Failed(u8),
}

/// How ssh ended.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) ending: Ending,
    /// The signal that the user sent meanwhile.
    pub(crate) interrupted: Option<Signal>,
    /// What ssh said, and was not shown, as it may yet be tried again.
    pub(crate) unsaid: Vec<String>,
}

/// Runs ssh until it ends, or must. `again`: what to say when there is a session.
///
/// Ctrl-C on a terminal reaches ssh as well as us, and is ssh's: a shell on the board goes on. Without a terminal, or
/// the second time, it is for us, as every other signal is.
pub(crate) async fn connect(
    call: Call,
    log: &mut Log,
    pulse: &mut Pulse,
    signals: &mut Signals,
    notices: &mut Notices,
    again: Option<&str>,
) -> anyhow::Result<Parting> {
    let mut child = Command::new(&call.program)
        .args(&call.args)
        .envs(call.env)
        .stdin(if call.stdin { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", call.program.display()))?;
    let on_terminal = io::stdin().is_terminal();
    let mut interrupted = None;
    let mut over = false;
    let mut ended_by_us = false;
    let mut end_at: Option<Instant> = None;
    let mut looks = interval(LOOK);
    let mut unsaid = Vec::new();
    let mut again = again;
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
            told = pulse.next(), if !over => {
                notices.warn(&told.warnings);
                if told.over {
                    over = true;
                    // The tunnel is closed, which ssh sees by itself.
                    end_at = end_at.or_else(|| Some(Instant::now() + GRACE));
                }
            }
            () = late, if end_at.is_some() => {
                stop(&mut child, ended_by_us)?;
                ended_by_us = true;
                end_at = Some(Instant::now() + GRACE);
            }
            _ = looks.tick() => {
                show(log, &mut unsaid, notices, &mut again);
                if log.facts().unread {
                    // A server that is told ends the command; others would go on for ever.
                    end_at = end_at.or_else(|| Some(Instant::now() + GRACE));
                }
            }
        }
    };
    while log.is_behind() {
        show(log, &mut unsaid, notices, &mut again);
    }
    let ending = ending(status, log.facts(), ended_by_us);
    if matches!(ending, Ending::Ended(_)) || interrupted.is_some() {
        return Ok(Parting { ending, interrupted, unsaid });
    }
    // What ended ssh may be on its way to us.
    let interrupted = timeout(SAME_SIGNAL, signals.next()).await.ok();
    Ok(Parting { ending, interrupted, unsaid })
}

/// Shows what ssh says once there is a session; before, it is kept back: there may be another attempt.
fn show(log: &mut Log, unsaid: &mut Vec<String>, notices: &Notices, again: &mut Option<&str>) {
    unsaid.extend(log.follow());
    if log.facts().begun {
        if let Some(text) = again.take() {
            notices.say(text);
        }
        for line in unsaid.drain(..) {
            notices.line(&line);
        }
    }
}

fn ending(status: ExitStatus, facts: &Facts, ended_by_us: bool) -> Ending {
    let of_signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(of_signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(SSH_FAILED);
    if facts.unread && (ended_by_us || code == SSH_FAILED) {
        return Ending::Ended(UNREAD);
    }
    let killed = facts.killed || of_signal.is_some();
    if code != SSH_FAILED && !ended_by_us && !killed || facts.ended || facts.left {
        return Ending::Ended(code);
    }
    if facts.refused || killed {
        return Ending::Failed(code);
    }
    match (facts.begun, facts.unreachable) {
        (true, _) => Ending::Cut,
        (false, true) => Ending::Unreachable(facts.last.clone().unwrap_or_default()),
        (false, false) => Ending::Failed(code),
    }
}

/// Asks a program to end; the second time it is not asked.
pub(crate) fn stop(child: &mut Child, asked: bool) -> anyhow::Result<()> {
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

    fn ended(code: i32, facts: Facts) -> Ending {
        ending(ExitStatus::from_raw(code << 8), &facts, false)
    }

    #[test]
    fn what_255_means_is_in_the_log() {
        let begun = Facts { begun: true, ..Facts::default() };
        assert_eq!(ended(3, begun.clone()), Ending::Ended(3));
        assert_eq!(ended(255, Facts { ended: true, ..begun.clone() }), Ending::Ended(255));
        assert_eq!(ended(255, Facts { left: true, ..begun.clone() }), Ending::Ended(255));
        assert_eq!(ended(255, Facts { unread: true, ..begun.clone() }), Ending::Ended(141));
        assert_eq!(ended(255, Facts { refused: true, ..begun.clone() }), Ending::Failed(255));
        assert_eq!(ended(255, begun), Ending::Cut);
        let refused = Facts { unreachable: true, last: Some("refused".to_owned()), ..Facts::default() };
        assert_eq!(ended(255, refused), Ending::Unreachable("refused".to_owned()));
        // Nothing in the log: nothing is known to have begun, and nothing is tried again.
        assert_eq!(ended(255, Facts::default()), Ending::Failed(255));
        assert_eq!(ending(ExitStatus::from_raw(9), &Facts::default(), false), Ending::Failed(137));
    }
}
