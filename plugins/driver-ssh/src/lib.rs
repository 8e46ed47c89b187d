//! Any Linux machine that can be reached over ssh. The controller logs in; here is what it runs there: the admin's
//! commands, and small scripts that let users in and out.
//!
//! Must never happen here: a value pasted into a script's text, a credential, or a board that is handed on while
//! somebody of the last job can still get in.

mod commands;
pub mod config;
pub mod keys;
pub mod scripts;

use config::{Config, Mode};
use grove_plugin::driver::{
    Access, Board, Driver, Failure, Health, Introspect, Session, export_driver, task,
};

/// The driver.
#[derive(Debug)]
pub struct Ssh;

impl Driver for Ssh {
    type Config = Config;

    fn validate(config: &Config) -> Result<(), String> {
        config.validate()
    }

    fn check(board: &Board<Config>) -> Result<Health, Failure> {
        commands::check(board)
    }

    fn prepare(board: &Board<Config>) -> Result<Access, Failure> {
        match board.config.mode {
            Mode::AuthorizedKeys => {
                task::step("shut users out")?;
                scripts::revoke(board)?;
            }
            Mode::Recreate => {
                task::step("recreate the session user")?;
                scripts::recreate(board)?;
            }
        }
        commands::all(board, "prepare", &board.config.prepare, &board.uuid)?;
        Ok(access(&board.config))
    }

    fn authorize(board: &Board<Config>, session: &Session) -> Result<Access, Failure> {
        scripts::authorize(board, keys::lines(&session.authorized_keys)?)?;
        Ok(access(&board.config))
    }

    fn revoke(board: &Board<Config>) -> Result<(), Failure> {
        scripts::revoke(board)
    }

    fn put_in_maintenance(board: &Board<Config>, message: &str) -> Result<(), Failure> {
        task::step("shut users out")?;
        scripts::revoke(board)?;
        commands::all(board, "maintenance", &board.config.maintenance, message)
    }

    fn cleanup(board: &Board<Config>) -> Result<(), Failure> {
        scripts::revoke(board)
    }
}

impl Introspect for Ssh {
    fn inventory(_board: &Board<Config>) -> Result<String, Failure> {
        scripts::inventory()
    }
}

fn access(config: &Config) -> Access {
    let address = config.address();
    Access::new(address.host, address.port, config.session_user(), config.host_keys())
}

export_driver!(Ssh, introspect);
