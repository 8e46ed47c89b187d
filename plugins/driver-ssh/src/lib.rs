//! Any Linux machine that can be reached over ssh. The controller logs in; here is what it runs there: the admin's
//! commands, and small scripts that let users in and out.
//!
//! Must never happen here: a value pasted into a script's text, a credential, or a board that is handed on while
//! somebody of the last job can still get in.

mod commands;
pub mod config;
pub mod inventory;
pub mod keys;
pub mod scripts;

use config::{Config, Mode};
use grove_plugin::driver::{
    Access, Board, Driver, Failure, Health, Introspect, Power, PowerAction, Session, export_driver, task,
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
        scripts::admits(board)?;
        commands::all(board, "prepare", &board.config.prepare, &board.uuid)?;
        commands::must_be_well(board)?;
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

impl Power for Ssh {
    fn set_power(board: &Board<Config>, action: PowerAction) -> Result<(), Failure> {
        let (field, what, commands) = match action {
            PowerAction::On => ("power_on", "switch this board on", &board.config.power_on),
            PowerAction::Off => ("power_off", "switch this board off", &board.config.power_off),
            PowerAction::Cycle => ("power_cycle", "switch this board off and on", &board.config.power_cycle),
        };
        if commands.as_slice().is_empty() {
            return Err(Failure::Unsupported(format!(
                "nothing says how to {what}; set {field} in its driver config to the commands that do it"
            )));
        }
        commands::all(board, field, commands, &board.uuid)
    }
}

impl Introspect for Ssh {
    fn inventory(_board: &Board<Config>) -> Result<String, Failure> {
        Ok(inventory::parse(&scripts::inventory()?).to_string())
    }
}

fn access(config: &Config) -> Access {
    let address = config.address();
    Access::new(address.host, address.port, config.session_user(), config.host_keys())
}

export_driver!(Ssh, power, introspect);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_that_is_not_configured_is_unsupported_and_says_what_to_set() {
        for (action, field) in [
            (PowerAction::On, "power_on"),
            (PowerAction::Off, "power_off"),
            (PowerAction::Cycle, "power_cycle"),
        ] {
            let config = serde_json::from_str(r#"{"host": "a"}"#).unwrap();
            let board = Board { uuid: "b".into(), capabilities: Vec::new(), config };
            match Ssh::set_power(&board, action) {
                Err(Failure::Unsupported(text)) => assert!(text.contains(&format!("set {field} ")), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
