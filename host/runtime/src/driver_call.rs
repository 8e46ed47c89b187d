//! What one says to a driver, and what it answers.

use crate::bindings::driver::exports::grove::plugin::lifecycle;
use crate::bindings::driver::grove::plugin::{driver_types, types};
use crate::bindings::power::exports::grove::plugin::power;
use crate::error::{Failure, FailureKind};
use crate::guest_log::cut;
use crate::limits::MAX_TEXT;

/// A call into a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverCall {
    /// What are you? Answer: [`DriverReply::Described`].
    Describe,
    /// Is this driver config (JSON) good? Answer: [`DriverReply::Done`], or a failure of kind config.
    Validate(String),
    /// Is the board well? Answer: [`DriverReply::Health`].
    Check(Target),
    /// Make it clean and ready, with nobody authorized. Answer: [`DriverReply::Access`].
    Prepare(Target),
    /// Let exactly these keys in. Answer: [`DriverReply::Access`].
    Authorize(Target, Session),
    /// Let nobody in and end their sessions. Answer: [`DriverReply::Done`].
    Revoke(Target),
    /// Put it into maintenance with this message. Answer: [`DriverReply::Done`].
    PutInMaintenance(Target, String),
    /// Clean up after a cancelled or trapped task, in a fresh instance. Answer: [`DriverReply::Done`].
    Cleanup(Target),
    /// Switch its power. Answer: [`DriverReply::Done`], or a failure of kind unsupported.
    Power(Target, PowerAction),
    /// What is it made of? Answer: [`DriverReply::Inventory`], or a failure of kind unsupported.
    Inventory(Target),
}

/// A driver's answer to a call that worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverReply {
    /// Nothing more to say.
    Done,
    /// What it is.
    Described(Info),
    /// How the board is.
    Health(Health),
    /// How to reach the board.
    Access(Access),
    /// Inventory as JSON text, as the driver gave it (not checked).
    Inventory(String),
}

/// What a plugin says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name for itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line.
    pub summary: String,
}

/// The worker that a driver call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The worker's uuid.
    pub uuid: String,
    /// Its effective capabilities.
    pub capabilities: Vec<(String, String)>,
    /// Its driver config, JSON text.
    pub config: String,
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// User on the board.
    pub user: String,
    /// OpenSSH `authorized_keys` lines.
    pub authorized_keys: Vec<String>,
}

/// How to reach a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Name or address of its ssh server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Its host keys, OpenSSH lines.
    pub host_keys: Vec<String>,
}

/// How a board is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it can be handed out.
    pub ok: bool,
    /// For people.
    pub note: String,
    /// What was measured.
    pub readings: Vec<(String, String)>,
}

/// What to do with the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerAction {
    /// On.
    On,
    /// Off.
    Off,
    /// Off and on again.
    Cycle,
}

impl DriverCall {
    /// The call, in the words of the contract.
    pub fn name(&self) -> &'static str {
        match self {
            DriverCall::Describe => "describe",
            DriverCall::Validate(_) => "validate",
            DriverCall::Check(_) => "check",
            DriverCall::Prepare(_) => "prepare",
            DriverCall::Authorize(..) => "authorize",
            DriverCall::Revoke(_) => "revoke",
            DriverCall::PutInMaintenance(..) => "put-in-maintenance",
            DriverCall::Cleanup(_) => "cleanup",
            DriverCall::Power(..) => "power",
            DriverCall::Inventory(_) => "inventory",
        }
    }

    /// The worker it is about, if it is about one.
    pub fn target(&self) -> Option<&Target> {
        match self {
            DriverCall::Describe | DriverCall::Validate(_) => None,
            DriverCall::Check(target)
            | DriverCall::Prepare(target)
            | DriverCall::Authorize(target, _)
            | DriverCall::Revoke(target)
            | DriverCall::PutInMaintenance(target, _)
            | DriverCall::Cleanup(target)
            | DriverCall::Power(target, _)
            | DriverCall::Inventory(target) => Some(target),
        }
    }
}

impl From<Target> for driver_types::Target {
    fn from(target: Target) -> Self {
        let capabilities =
            target.capabilities.into_iter().map(|(key, value)| types::Pair { key, value }).collect();
        driver_types::Target { uuid: target.uuid, capabilities, config: target.config }
    }
}

impl From<Session> for driver_types::Session {
    fn from(session: Session) -> Self {
        driver_types::Session { user: session.user, authorized_keys: session.authorized_keys }
    }
}

impl From<PowerAction> for power::Action {
    fn from(action: PowerAction) -> Self {
        match action {
            PowerAction::On => power::Action::On,
            PowerAction::Off => power::Action::Off,
            PowerAction::Cycle => power::Action::Cycle,
        }
    }
}

impl From<driver_types::Access> for DriverReply {
    fn from(access: driver_types::Access) -> Self {
        DriverReply::Access(Access {
            host: access.ssh.host,
            port: access.ssh.port,
            user: access.user,
            host_keys: access.host_keys,
        })
    }
}

impl From<driver_types::Health> for DriverReply {
    fn from(health: driver_types::Health) -> Self {
        let readings = health.readings.into_iter().map(|pair| (pair.key, pair.value)).collect();
        DriverReply::Health(Health { ok: health.ok, note: cut(&health.note, MAX_TEXT).to_owned(), readings })
    }
}

impl From<lifecycle::Info> for DriverReply {
    fn from(info: lifecycle::Info) -> Self {
        DriverReply::Described(Info { name: info.name, version: info.version, summary: info.summary })
    }
}

impl From<driver_types::Failure> for Failure {
    fn from(failure: driver_types::Failure) -> Self {
        use driver_types::Failure as F;
        let (kind, text) = match failure {
            F::Device(text) => (FailureKind::Device, text),
            F::Config(text) => (FailureKind::Config, text),
            F::Environment(text) => (FailureKind::Environment, text),
            F::Unsupported(text) => (FailureKind::Unsupported, text),
            F::Stopped => (FailureKind::Stopped, String::new()),
        };
        Failure { kind, text: cut(&text, MAX_TEXT).to_owned() }
    }
}
