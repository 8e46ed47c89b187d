//! Why a call failed, in the words that decide what the controller does next.

use super::{Access, Address, Failure, Health};
use crate::Pair;
use crate::bindings::driver::grove::plugin::task::Stop;

impl Failure {
    /// The board is at fault: it may be tried again or taken out of service.
    pub fn device(what: impl Into<String>) -> Self {
        Self::Device(what.into())
    }

    /// The config is at fault: trying again is of no use.
    pub fn config(what: impl Into<String>) -> Self {
        Self::Config(what.into())
    }

    /// Something between controller and board is at fault: try again later.
    pub fn environment(what: impl Into<String>) -> Self {
        Self::Environment(what.into())
    }

    /// The driver cannot do this at all.
    pub fn cannot(what: &str) -> Self {
        Self::Unsupported(format!("this driver cannot {what}"))
    }

    /// The same failure, with words before its text.
    #[must_use]
    pub fn while_doing(self, what: &str) -> Self {
        let with = |text: String| format!("{what}: {text}");
        match self {
            Self::Device(text) => Self::Device(with(text)),
            Self::Config(text) => Self::Config(with(text)),
            Self::Environment(text) => Self::Environment(with(text)),
            Self::Unsupported(text) => Self::Unsupported(with(text)),
            Self::Stopped => Self::Stopped,
        }
    }
}

impl From<Stop> for Failure {
    fn from(_: Stop) -> Self {
        Self::Stopped
    }
}

impl Health {
    /// The board may be handed out.
    pub fn well(note: impl Into<String>) -> Self {
        Self { ok: true, note: note.into(), readings: Vec::new() }
    }

    /// The board must not be handed out.
    pub fn ill(note: impl Into<String>) -> Self {
        Self { ok: false, ..Self::well(note) }
    }

    /// The same, with a measured value.
    #[must_use]
    pub fn reading(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.readings.push(Pair { key: key.into(), value: value.into() });
        self
    }
}

impl Access {
    /// Where users of the board go, and as whom. Host keys, if known, are lines of the kind that ssh reads from
    /// `known_hosts`, without the host.
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>, host_keys: Vec<String>) -> Self {
        Self { ssh: Address { host: host.into(), port }, user: user.into(), host_keys }
    }
}
