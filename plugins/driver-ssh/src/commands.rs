//! The admin's own commands.

use std::time::Duration;

use grove_plugin::driver::ssh::{Command, Output};
use grove_plugin::driver::{Board, Failure, Health, task};
use grove_plugin::log;

use crate::config::{Commands, Config};

/// A check comes right before a board is handed out: someone waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_READINGS: usize = 32;

/// Runs the commands of a step, one after the other.
///
/// # Errors
/// The first that fails, and what it said.
pub(crate) fn all(board: &Board<Config>, step: &str, commands: &Commands, word: &str) -> Result<(), Failure> {
    let commands = commands.as_slice();
    if commands.is_empty() {
        return Ok(());
    }
    task::step(step)?;
    let timeout = Duration::from_secs(u64::from(board.config.timeout_s));
    for (at, command) in commands.iter().enumerate() {
        let which = format!("{step} command {} of {}", at + 1, commands.len());
        task::progress(u8::try_from(at * 100 / commands.len()).unwrap_or(100), &which)?;
        let run = Command::script(command).arg(word).timeout(timeout).output();
        let output = run.map_err(|failure| failure.while_doing(&which))?;
        say(&output);
        if output.status != 0 {
            return Err(Failure::Device(output.failed()).while_doing(&which));
        }
    }
    task::progress(100, step)
}

/// Puts what a command wrote into the task's log.
fn say(output: &Output) {
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        log::info(line);
    }
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        log::warn(line);
    }
    if output.truncated {
        log::warn("… and more, which was not kept");
    }
}

/// A board that its admin's check finds unwell is not ready for anybody.
///
/// # Errors
/// What the check said, or why the board cannot be asked.
pub(crate) fn must_be_well(board: &Board<Config>) -> Result<(), Failure> {
    if board.config.check.as_slice().is_empty() {
        return Ok(());
    }
    task::step("check")?;
    let health = check(board)?;
    if health.ok { Ok(()) } else { Err(Failure::Device(health.note)) }
}

/// Whether the board answers and the admin's check, if there is one, succeeds. Lines `key=value` that it writes are
/// readings.
///
/// # Errors
/// When the board cannot be asked.
pub(crate) fn check(board: &Board<Config>) -> Result<Health, Failure> {
    let commands = board.config.check.as_slice();
    if commands.is_empty() {
        Command::new("true").timeout(CHECK_TIMEOUT).run()?;
        return Ok(Health::well("the board answers"));
    }
    let mut health = Health::well("the check succeeded");
    for command in commands {
        let output = Command::script(command).arg(&board.uuid).timeout(CHECK_TIMEOUT).output()?;
        for (key, value) in readings(&output).take(MAX_READINGS - health.readings.len()) {
            health = health.reading(key, value);
        }
        if output.status != 0 {
            return Ok(Health {
                ok: false,
                note: format!("the check failed: {}", output.failed()),
                ..health
            });
        }
    }
    Ok(health)
}

fn readings(output: &Output) -> impl Iterator<Item = (String, String)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs: Vec<_> = text.lines().filter_map(pair).collect();
    pairs.into_iter()
}

fn pair(line: &str) -> Option<(String, String)> {
    let (key, value) = line.trim().split_once('=')?;
    let plain =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    plain.then(|| (key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_assign_are_readings() {
        let stdout = b"hello\ntemperature=41.5\nnot a key=1\n  disk.free=10G \n".to_vec();
        let output = Output { status: 0, stdout, stderr: Vec::new(), truncated: false };
        let expected =
            [("temperature".to_owned(), "41.5".to_owned()), ("disk.free".to_owned(), "10G".to_owned())];
        assert_eq!(readings(&output).collect::<Vec<_>>(), expected);
    }
}
