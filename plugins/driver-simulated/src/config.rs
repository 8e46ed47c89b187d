//! What a simulated board does, call by call. Everything is optional; nothing said means: at once, and well.

use serde::Deserialize;
use serde_json::Value;

/// The longest delay: an hour.
const MAX_DELAY_MS: u32 = 3_600_000;

/// The config of one simulated board.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    prepare: Behaviour,
    maintenance: Behaviour,
    check: Behaviour,
    authorize: Behaviour,
    revoke: Behaviour,
    cleanup: Behaviour,
    power: Behaviour,
    introspect: Behaviour,
    /// What an introspection finds; without it, a small board with four serial ports.
    pub inventory: Option<Value>,
    /// Key of an artifact of the group `demo`, read whenever the board is prepared.
    pub artifact: Option<String>,
    /// Where users' tunnels go.
    pub address: Address,
    /// Whom users are on the board.
    pub user: String,
    /// The board's public host keys.
    pub host_keys: Vec<String>,
}

/// How one call behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// How long it takes.
    pub delay_ms: u32,
    /// How it ends, if not well.
    pub failure: Option<Kind>,
    /// The failure's text.
    pub text: String,
    /// The share of boards that fail. Which ones follows from `seed`, the worker's uuid and the call, so the same
    /// board fails every time.
    pub probability: f64,
    /// Chooses other boards to fail.
    pub seed: u64,
    /// Never ends, after the delay.
    pub hang: Option<Hang>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The board's.
    Device,
    /// The config's.
    Config,
    /// Anything's between controller and board.
    Environment,
}

/// Where to hang.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Hang {
    /// In an infinite loop.
    Wasm,
    /// In a call to the controller that sleeps for ever.
    Host,
}

/// A TCP address.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Address {
    /// Name or number.
    pub host: String,
    /// 22 if not given.
    pub port: u16,
}

/// The calls whose behaviour can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `prepare`
    Prepare,
    /// `put-in-maintenance`
    Maintenance,
    /// `check`
    Check,
    /// `authorize`
    Authorize,
    /// `revoke`
    Revoke,
    /// `cleanup`
    Cleanup,
    /// `power.set`
    Power,
    /// `introspect.inventory`
    Introspect,
}

impl Call {
    /// The call's field in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Maintenance => "maintenance",
            Self::Check => "check",
            Self::Authorize => "authorize",
            Self::Revoke => "revoke",
            Self::Cleanup => "cleanup",
            Self::Power => "power",
            Self::Introspect => "introspect",
        }
    }

    const ALL: [Self; 8] = [
        Self::Prepare,
        Self::Maintenance,
        Self::Check,
        Self::Authorize,
        Self::Revoke,
        Self::Cleanup,
        Self::Power,
        Self::Introspect,
    ];
}

impl Config {
    /// How a call behaves.
    pub fn behaviour(&self, call: Call) -> &Behaviour {
        match call {
            Call::Prepare => &self.prepare,
            Call::Maintenance => &self.maintenance,
            Call::Check => &self.check,
            Call::Authorize => &self.authorize,
            Call::Revoke => &self.revoke,
            Call::Cleanup => &self.cleanup,
            Call::Power => &self.power,
            Call::Introspect => &self.introspect,
        }
    }

    /// Says what no board can do.
    ///
    /// # Errors
    /// The field, and what it may be.
    pub fn validate(&self) -> Result<(), String> {
        for call in Call::ALL {
            let Behaviour { delay_ms, probability, .. } = self.behaviour(call);
            if *delay_ms > MAX_DELAY_MS {
                return Err(format!("{}.delay_ms is {delay_ms}: at most {MAX_DELAY_MS}", call.name()));
            }
            if !(0.0..=1.0).contains(probability) {
                return Err(format!("{}.probability is {probability}: from 0 to 1", call.name()));
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        let quick = Behaviour::default;
        Self {
            prepare: quick(),
            maintenance: quick(),
            check: quick(),
            authorize: quick(),
            revoke: quick(),
            cleanup: quick(),
            power: quick(),
            introspect: quick(),
            inventory: None,
            artifact: None,
            address: Address::default(),
            user: "boruta-user".into(),
            host_keys: Vec::new(),
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { delay_ms: 0, failure: None, text: String::new(), probability: 1.0, seed: 0, hang: None }
    }
}

impl Default for Address {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 22 }
    }
}
