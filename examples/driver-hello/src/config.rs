//! What an admin writes for one board. The controller logs in by `host`, `port`, `user`, `identity` and `host_key`.

use serde::Deserialize;

/// Longest greeting, in bytes.
const MAX_GREETING: usize = 200;

/// The driver config of one worker; `plugin.toml` has the same as a schema, for people.
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
    /// What users find in `~/hello.txt`.
    #[serde(default = "hello")]
    pub greeting: String,
    /// Seconds that the board needs to settle.
    #[serde(default)]
    pub settle_s: u16,
}

impl Config {
    /// Looks at what serde cannot know.
    pub fn validate(&self) -> Result<(), String> {
        if self.host.is_empty() {
            return Err("host is empty: say where the board is".to_owned());
        }
        if self.greeting.len() > MAX_GREETING {
            return Err(format!("greeting has {} bytes: at most {MAX_GREETING}", self.greeting.len()));
        }
        if self.settle_s > 300 {
            return Err(format!("settle_s is {}: at most 300", self.settle_s));
        }
        Ok(())
    }
}

fn ssh_port() -> u16 {
    22
}

fn root() -> String {
    "root".to_owned()
}

fn hello() -> String {
    "hello".to_owned()
}
