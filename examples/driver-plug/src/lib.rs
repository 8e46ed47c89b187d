//! A Linux board over ssh whose power a network plug switches over HTTP: `GET /relay/0?turn=on`, as many plugs have it.
//!
//! Sockets are those of Rust's standard library. The controller resolves the names and reaches the peers that the
//! manifest wants and the admin grants; everything else fails, and the task's log says what to grant.

mod plug;

use grove_plugin::driver::ssh::Command;
use grove_plugin::driver::{
    Access, Board, Driver, Failure, Health, Power, PowerAction, Session, export_driver, task,
};
use serde::Deserialize;

use plug::Plug;

/// Gives the account exactly the users' keys that come on stdin, beside those that are not ours.
const LET_IN: &str = r#"
set -eu
umask 077
mkdir -p "$HOME/.ssh"
cd "$HOME/.ssh"
touch authorized_keys
grep -v ' plug-session$' authorized_keys > authorized_keys.new || [ $? = 1 ]
cat >> authorized_keys.new
mv authorized_keys.new authorized_keys
"#;

/// What an admin writes for one board; `plugin.toml` has the same as a schema, for people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the controller logs in.
    pub host: String,
    /// And at which port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// As whom; users share this account.
    #[serde(default = "root")]
    pub user: String,
    /// Name of the controller's key: only the controller reads it.
    #[serde(default, rename = "identity")]
    _identity: Option<String>,
    /// The board's public host key.
    #[serde(default)]
    pub host_key: Option<String>,
    /// The plug, as HOST:PORT.
    pub plug: String,
}

fn ssh_port() -> u16 {
    22
}

fn root() -> String {
    "root".to_owned()
}

/// The driver.
#[derive(Debug)]
pub struct Plugged;

impl Driver for Plugged {
    type Config = Config;

    fn validate(config: &Config) -> Result<(), String> {
        Plug::parse(&config.plug).map(drop)
    }

    fn check(board: &Board<Config>) -> Result<Health, Failure> {
        let state = if plug(board)?.is_on()? { "on" } else { "off" };
        Command::new("true").run()?;
        Ok(Health::well("it answers").reading("plug", state))
    }

    fn prepare(board: &Board<Config>) -> Result<Access, Failure> {
        task::step("power")?;
        plug(board)?.turn(true)?;
        task::step("lock")?;
        let_in(&[])?;
        Ok(access(board))
    }

    fn authorize(board: &Board<Config>, session: &Session) -> Result<Access, Failure> {
        let_in(&session.authorized_keys)?;
        Ok(access(board))
    }

    fn revoke(_board: &Board<Config>) -> Result<(), Failure> {
        let_in(&[])
    }
}

impl Power for Plugged {
    fn set_power(board: &Board<Config>, action: PowerAction) -> Result<(), Failure> {
        let plug = plug(board)?;
        if matches!(action, PowerAction::Off | PowerAction::Cycle) {
            plug.turn(false)?;
        }
        if matches!(action, PowerAction::On | PowerAction::Cycle) {
            plug.turn(true)?;
        }
        Ok(())
    }
}

fn plug(board: &Board<Config>) -> Result<Plug<'_>, Failure> {
    Plug::parse(&board.config.plug).map_err(Failure::config)
}

fn let_in(keys: &[String]) -> Result<(), Failure> {
    let lines: String = keys.iter().map(|key| format!("{} plug-session\n", key.trim())).collect();
    Command::script(LET_IN).stdin(lines).run().map(drop)
}

fn access(board: &Board<Config>) -> Access {
    let Config { host, port, user, host_key, .. } = &board.config;
    Access::new(host, *port, user, host_key.iter().cloned().collect())
}

export_driver!(Plugged, power);
