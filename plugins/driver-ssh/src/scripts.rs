//! What runs on the board. The scripts take everything that varies as positional arguments, so that no value is ever
//! read as shell.

use grove_plugin::driver::ssh::{Command, Output};
use grove_plugin::driver::{Board, Failure};

use crate::config::Config;

macro_rules! script {
    ($name:literal) => {
        concat!(include_str!("scripts/common.sh"), "\n", include_str!(concat!("scripts/", $name, ".sh")))
    };
}

/// `authorize SESSION LOGIN PATH`, keys on stdin.
pub const AUTHORIZE: &str = script!("authorize");
/// `revoke SESSION LOGIN PATH PROC`
pub const REVOKE: &str = script!("revoke");
/// `recreate SESSION LOGIN PROC`
pub const RECREATE: &str = script!("recreate");
/// `admits SESSION LOGIN`
pub const ADMITS: &str = script!("admits");
/// `inventory ROOT`
pub const INVENTORY: &str = script!("inventory");

/// The status with which a script says that the config is at fault.
const WRONG_CONFIG: i32 = 78;
const PROC: &str = "/proc";

/// Lets exactly these keys in.
///
/// # Errors
/// Why they are not.
pub fn authorize(board: &Board<Config>, keys: Vec<u8>) -> Result<(), Failure> {
    let Config { user, .. } = &board.config;
    let script =
        Command::script(AUTHORIZE).arg(board.config.session_user()).arg(user).arg(board.config.key_file());
    run(&script.stdin(keys)).map(drop)
}

/// Lets nobody in.
///
/// # Errors
/// Why someone may still be in.
pub fn revoke(board: &Board<Config>) -> Result<(), Failure> {
    let Config { user, .. } = &board.config;
    let script =
        Command::script(REVOKE).arg(board.config.session_user()).arg(user).arg(board.config.key_file());
    run(&script.arg(PROC)).map(drop)
}

/// Makes sure that the board lets the session user in, once they have a key.
///
/// # Errors
/// Why it would not.
pub fn admits(board: &Board<Config>) -> Result<(), Failure> {
    let Config { user, .. } = &board.config;
    run(&Command::script(ADMITS).arg(board.config.session_user()).arg(user)).map(drop)
}

/// Makes the session user anew.
///
/// # Errors
/// Why they are not.
pub fn recreate(board: &Board<Config>) -> Result<(), Failure> {
    let Config { user, .. } = &board.config;
    run(&Command::script(RECREATE).arg(board.config.session_user()).arg(user).arg(PROC)).map(drop)
}

/// What the board tells of itself; see [`inventory`](crate::inventory).
///
/// # Errors
/// Why it cannot be asked, or that it told more than the controller takes.
pub fn inventory() -> Result<Vec<u8>, Failure> {
    let output = Command::script(INVENTORY).arg("").output()?;
    match output {
        Output { truncated: true, stdout, .. } => Err(Failure::Device(format!(
            "the board tells more of itself than can be taken: more than {} bytes",
            stdout.len()
        ))),
        Output { status: 0, stdout, .. } if !stdout.is_empty() => Ok(stdout),
        other => Err(Failure::Device(other.failed())),
    }
}

fn run(script: &Command) -> Result<Vec<u8>, Failure> {
    let output = script.output()?;
    match output.status {
        0 => Ok(output.stdout),
        WRONG_CONFIG => Err(Failure::Config(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        _ => Err(Failure::Device(output.failed())),
    }
}
