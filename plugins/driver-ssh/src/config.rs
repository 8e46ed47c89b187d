//! What an admin says of a board that is reached over ssh.

use std::net::Ipv6Addr;

use grove_plugin::driver::Address;
use serde::Deserialize;

/// The longest path, command list and name that are reasonable.
const MAX_PATH: usize = 4096;
const MAX_COMMANDS: usize = 100;
const MAX_TIMEOUT_S: u32 = 86_400;

/// The driver config of one board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the controller logs in.
    pub host: String,
    /// And at which port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// As whom.
    #[serde(default = "root")]
    pub user: String,
    /// Name of the key to log in with. The controller has the key; a driver never sees it.
    pub identity: Option<String>,
    /// The board's public host key.
    pub host_key: Option<String>,
    /// Whom the board's users are there; by default the login user.
    pub session_user: Option<String>,
    /// How users are let in and out.
    #[serde(default)]
    pub mode: Mode,
    /// Commands that make the board ready for its next user; `$1` is the worker's uuid.
    #[serde(default)]
    pub prepare: Commands,
    /// Commands that tell people in front of the board that it is being worked on; `$1` is the message.
    #[serde(default)]
    pub maintenance: Commands,
    /// Commands that succeed when the board may be handed out; `$1` is the worker's uuid.
    #[serde(default)]
    pub check: Commands,
    /// Commands that switch the board on; `$1` is the worker's uuid.
    #[serde(default)]
    pub power_on: Commands,
    /// Commands that switch it off; `$1` is the worker's uuid.
    #[serde(default)]
    pub power_off: Commands,
    /// Commands that switch it off and on; `$1` is the worker's uuid.
    #[serde(default)]
    pub power_cycle: Commands,
    /// How long each command of `prepare`, `maintenance` and power may take, in seconds.
    #[serde(default = "ten_minutes")]
    pub timeout_s: u32,
    /// The file of the session user's keys, absolute or relative to their home.
    pub authorized_keys: Option<String>,
    /// Where users' tunnels go, when that is not where the controller logs in.
    pub address: Option<UserAddress>,
}

/// How users are let in and out.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The session user stays; their keys change.
    #[default]
    AuthorizedKeys,
    /// The session user is removed with everything that is theirs, and made anew.
    Recreate,
}

/// One command or several, each run by `sh`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, expecting = "a command or a list of commands")]
pub enum Commands {
    /// One.
    One(String),
    /// Several, in order; the first that fails ends it.
    Several(Vec<String>),
}

/// A TCP address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAddress {
    host: String,
    #[serde(default = "ssh_port")]
    port: u16,
}

fn ssh_port() -> u16 {
    22
}

fn root() -> String {
    "root".to_owned()
}

fn ten_minutes() -> u32 {
    600
}

impl Default for Commands {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Commands {
    /// The commands, in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(command) => std::slice::from_ref(command),
            Self::Several(commands) => commands,
        }
    }
}

impl Config {
    /// Whom users are on the board.
    pub fn session_user(&self) -> &str {
        self.session_user.as_deref().unwrap_or(&self.user)
    }

    /// Where users' tunnels go.
    pub fn address(&self) -> Address {
        match &self.address {
            Some(UserAddress { host, port }) => Address { host: host.clone(), port: *port },
            None => Address { host: self.host.clone(), port: self.port },
        }
    }

    /// What users may hold the board against: its host key, if they meet the same sshd as the controller.
    pub fn host_keys(&self) -> Vec<String> {
        if self.address.is_none() { self.host_key.iter().cloned().collect() } else { Vec::new() }
    }

    /// The key file as the scripts take it: empty for the usual one.
    pub fn key_file(&self) -> &str {
        self.authorized_keys.as_deref().unwrap_or_default()
    }

    /// Looks at what the form cannot say.
    ///
    /// # Errors
    /// The field, and what to write instead.
    pub fn validate(&self) -> Result<(), String> {
        named("host", &self.host)?;
        if let Some(address) = &self.address {
            named("address.host", &address.host)?;
        }
        if let Some(key) = &self.host_key {
            public_key(key)?;
        }
        if self.port == 0 || self.address.as_ref().is_some_and(|address| address.port == 0) {
            return Err("port 0 cannot be reached; write the port of sshd, usually 22".into());
        }
        user_name("user", &self.user)?;
        user_name("session_user", self.session_user())?;
        let same = self.session_user() == self.user;
        if self.session_user() == "root" && !same {
            return Err("session_user is root; give users a user of their own".into());
        }
        if self.mode == Mode::Recreate && same {
            return Err(
                "mode recreate removes the session user, so it cannot be the login user; set session_user"
                    .into(),
            );
        }
        self.key_path()?;
        for (field, commands) in [
            ("prepare", &self.prepare),
            ("maintenance", &self.maintenance),
            ("check", &self.check),
            ("power_on", &self.power_on),
            ("power_off", &self.power_off),
            ("power_cycle", &self.power_cycle),
        ] {
            let commands = commands.as_slice();
            if commands.len() > MAX_COMMANDS {
                return Err(format!(
                    "{field} has {} commands: at most {MAX_COMMANDS}; put them into a script",
                    commands.len()
                ));
            }
            if commands.iter().any(|command| command.trim().is_empty() || command.contains('\0')) {
                return Err(format!("{field} has an empty command; remove it"));
            }
        }
        if !(1..=MAX_TIMEOUT_S).contains(&self.timeout_s) {
            return Err(format!("timeout_s is {}: from 1 to {MAX_TIMEOUT_S}", self.timeout_s));
        }
        Ok(())
    }

    fn key_path(&self) -> Result<(), String> {
        let Some(path) = &self.authorized_keys else { return Ok(()) };
        let plain = !path.is_empty() && path.len() <= MAX_PATH && !path.chars().any(char::is_control);
        let names_a_file = path.split('/').all(|part| part != "..") && !path.ends_with('/');
        if plain && names_a_file {
            Ok(())
        } else {
            Err(format!(
                "authorized_keys is {path:?}; write a file's path without `..`, absolute or relative to the session user's home"
            ))
        }
    }
}

/// What can be connected to as it stands.
fn named(field: &str, host: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_%[]".contains(&byte);
    let wrong = |instead: &str| Err(format!("{field} is {host:?}; write {instead}"));
    if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) || host.starts_with('-') {
        return wrong("a name or an address");
    }
    if let Some((inside, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return wrong(&match port.strip_prefix(':') {
            Some(port) => format!("{inside}, and the port {port} as `port`"),
            None => format!("{inside}, without brackets"),
        });
    }
    let (address, scope) =
        host.split_once('%').map_or((host, None), |(address, scope)| (address, Some(scope)));
    match (address.parse::<Ipv6Addr>(), scope) {
        (Ok(ip), Some(scope)) if !ip.is_unicast_link_local() || scope.is_empty() => {
            wrong(&format!("{address}: only addresses in fe80::/10 have a scope"))
        }
        (Ok(_), _) => Ok(()),
        (Err(_), _) => match host.split_once(':') {
            Some((name, port)) if !port.contains(':') => {
                wrong(&format!("{name}, and the port {port} as `port`"))
            }
            _ if host.contains([':', '%', '[', ']']) => wrong("a name or an address"),
            _ => Ok(()),
        },
    }
}

/// A public key as it is in a `.pub` file, and not what `ssh-keyscan` puts in front of it.
fn public_key(text: &str) -> Result<(), String> {
    let is_kind = |word: &&str| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind));
    let is_body = |word: &str| {
        let mut bytes = word.bytes();
        word.starts_with("AAAA") && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let words: Vec<_> = text.split_whitespace().collect();
    let key = |at: usize| {
        Some((words.get(at).filter(|word| is_kind(word))?, words.get(at + 1).filter(|word| is_body(word))?))
    };
    match (key(0), (1..words.len()).find_map(key)) {
        (Some(_), _) if !text.trim().contains('\n') => Ok(()),
        (Some((kind, body)), _) | (None, Some((kind, body))) => {
            Err(format!("host_key is more than one public key; write \"{kind} {body}\""))
        }
        (None, None) => Err(format!(
            "host_key is {text:?}; write a public key like \"ssh-ed25519 AAAA…\", which ssh-keyscan shows behind the host"
        )),
    }
}

/// Names that every system takes, and no script can mistake for something else.
fn user_name(field: &str, name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if first && rest && name.len() <= 32 {
        Ok(())
    } else {
        Err(format!(
            "{field} is {name:?}; a user name is 1 to 32 of a-z, 0-9, _ and -, and begins with a letter or _"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: &str) -> Result<Config, String> {
        let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        config.validate().map(|()| config)
    }

    #[test]
    fn the_least_is_a_host() {
        let config = checked(r#"{"host": "board7.lab"}"#).unwrap();
        assert_eq!((config.port, config.user.as_str(), config.session_user()), (22, "root", "root"));
        assert_eq!((config.address().host.as_str(), config.address().port), ("board7.lab", 22));
    }

    #[test]
    fn users_are_sent_elsewhere_without_a_host_key_that_is_not_theirs() {
        let config =
            checked(r#"{"host": "a", "host_key": "ssh-ed25519 AAAA", "address": {"host": "b", "port": 23}}"#);
        let config = config.unwrap();
        assert_eq!((config.address().host.as_str(), config.address().port), ("b", 23));
        assert!(config.host_keys().is_empty());
        let pinned = checked(r#"{"host": "fe80::1%eth0", "host_key": "ssh-rsa AAAA b"}"#).unwrap();
        assert_eq!(pinned.host_keys(), ["ssh-rsa AAAA b"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_field() {
        for (config, word) in [
            (r#"{}"#, "host"),
            (r#"{"host": "a b"}"#, "host"),
            (r#"{"host": "-oProxyCommand=x"}"#, "host"),
            (r#"{"host": "[::1]"}"#, "write ::1, without brackets"),
            (r#"{"host": "[::1]:23"}"#, "write ::1, and the port 23 as `port`"),
            (r#"{"host": "127.0.0.1:21901"}"#, "write 127.0.0.1, and the port 21901 as `port`"),
            (r#"{"host": "::1%lo"}"#, "write ::1: only addresses in fe80::/10 have a scope"),
            (r#"{"host": "1:2"}"#, "as `port`"),
            (r#"{"host": "a:b:c"}"#, "a name or an address"),
            (r#"{"host": "a", "host_key": "[a]:22 ssh-ed25519 AAAAC3"}"#, "write \"ssh-ed25519 AAAAC3\""),
            (
                r#"{"host": "a", "host_key": "ssh-ed25519 AAAAC3\nssh-rsa AAAAB3"}"#,
                "more than one public key",
            ),
            (r#"{"host": "a", "host_key": "SHA256:abc"}"#, "which ssh-keyscan shows"),
            (r#"{"host": "a", "port": 0}"#, "port"),
            (r#"{"host": "a", "prot": 22}"#, "prot"),
            (r#"{"host": "a", "user": "Root"}"#, "user"),
            (r#"{"host": "a", "session_user": "a;b"}"#, "session_user"),
            (r#"{"host": "a", "session_user": "-r"}"#, "session_user"),
            (r#"{"host": "a", "session_user": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "session_user"),
            (r#"{"host": "a", "user": "admin", "session_user": "root"}"#, "session_user"),
            (r#"{"host": "a", "mode": "recreate"}"#, "session_user"),
            (r#"{"host": "a", "mode": "rebuild"}"#, "rebuild"),
            (r#"{"host": "a", "authorized_keys": "../keys"}"#, "authorized_keys"),
            (r#"{"host": "a", "authorized_keys": "keys/"}"#, "authorized_keys"),
            (r#"{"host": "a", "prepare": ["true", " "]}"#, "prepare"),
            (r#"{"host": "a", "prepare": 7}"#, "a command or a list of commands"),
            (r#"{"host": "a", "power_cycle": [""]}"#, "power_cycle"),
            (r#"{"host": "a", "timeout_s": 0}"#, "timeout_s"),
        ] {
            let error = checked(config).expect_err(config);
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
