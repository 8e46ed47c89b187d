//! A driver for boards that are not there, for demos, tests and for trying a farm's settings: it answers at once, or
//! takes as long, fails and hangs as its config says.
//!
//! Must never happen here: state between calls, or behaviour that does not follow from config and worker.

mod behaviour;
mod config;
mod inventory;

use config::{Call, Config};
use grove_plugin::driver::{
    Access, Board, Driver, Failure, Health, Introspect, Power, PowerAction, Session, export_driver,
    storage::Artifact, task,
};
use grove_plugin::log;

/// The driver.
#[derive(Debug)]
pub struct Simulated;

impl Driver for Simulated {
    type Config = Config;

    fn validate(config: &Config) -> Result<(), String> {
        config.validate()
    }

    fn check(board: &Board<Config>) -> Result<Health, Failure> {
        behaviour::act(board, Call::Check)?;
        Ok(Health::well("simulated").reading("temperature", "42"))
    }

    fn prepare(board: &Board<Config>) -> Result<Access, Failure> {
        task::step("prepare")?;
        behaviour::act(board, Call::Prepare)?;
        if let Some(key) = &board.config.artifact {
            flash(key)?;
        }
        Ok(access(board))
    }

    fn authorize(board: &Board<Config>, _session: &Session) -> Result<Access, Failure> {
        behaviour::act(board, Call::Authorize)?;
        Ok(access(board))
    }

    fn revoke(board: &Board<Config>) -> Result<(), Failure> {
        behaviour::act(board, Call::Revoke)
    }

    fn put_in_maintenance(board: &Board<Config>, _message: &str) -> Result<(), Failure> {
        task::step("maintenance")?;
        behaviour::act(board, Call::Maintenance)
    }

    fn cleanup(board: &Board<Config>) -> Result<(), Failure> {
        behaviour::act(board, Call::Cleanup)
    }
}

impl Power for Simulated {
    fn set_power(board: &Board<Config>, action: PowerAction) -> Result<(), Failure> {
        behaviour::act(board, Call::Power)?;
        log::info(match action {
            PowerAction::On => "the board was switched on",
            PowerAction::Off => "the board was switched off",
            PowerAction::Cycle => "the board was switched off and on",
        });
        Ok(())
    }
}

impl Introspect for Simulated {
    fn inventory(board: &Board<Config>) -> Result<String, Failure> {
        behaviour::act(board, Call::Introspect)?;
        let inventory = board.config.inventory.clone();
        Ok(inventory.unwrap_or_else(inventory::small_board).to_string())
    }
}

/// As a driver would that writes it to a board.
fn flash(key: &str) -> Result<(), Failure> {
    task::step("flash")?;
    let image = Artifact::find("demo", key)?;
    let mut bytes = 0;
    image.for_each_piece(|piece| {
        bytes += piece.len() as u64;
        task::progress(u8::try_from(bytes * 100 / image.size).unwrap_or(100), "flashing")
    })?;
    log::info(format!("flashed {bytes} bytes, sha256 {}", image.sha256));
    Ok(())
}

fn access(board: &Board<Config>) -> Access {
    let Config { address, user, host_keys, .. } = &board.config;
    Access::new(&address.host, address.port, user, host_keys.clone())
}

export_driver!(Simulated, power, introspect);
