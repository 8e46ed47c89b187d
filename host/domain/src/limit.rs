//! Limits on running tasks: of the whole farm, of a driver, of a host.

use std::fmt;

/// What a limit is on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// Every task.
    Farm,
    /// Tasks of this driver.
    Driver(String),
    /// Tasks on workers of this host.
    Host(String),
}

impl Scope {
    /// Its kind, as stored and shown.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Farm => "farm",
            Self::Driver(_) => "driver",
            Self::Host(_) => "host",
        }
    }

    /// Of which driver or host; empty for the farm.
    pub fn name(&self) -> &str {
        match self {
            Self::Farm => "",
            Self::Driver(name) | Self::Host(name) => name,
        }
    }

    /// The scope of that kind and name.
    pub fn from_parts(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "farm" if name.is_empty() => Some(Self::Farm),
            "driver" => Some(Self::Driver(name.to_owned())),
            "host" => Some(Self::Host(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Farm => f.write_str("farm"),
            Self::Driver(name) => write!(f, "driver {name}"),
            Self::Host(name) => write!(f, "host {name}"),
        }
    }
}

/// How many tasks may run at the same time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Of what.
    pub scope: Scope,
    /// At most so many; none = any number, 0 = nothing starts: a drain.
    pub value: Option<u32>,
    /// ETag: changes with every write, from 1.
    pub revision: u64,
}

impl Limit {
    /// Whether another one may start where so many run.
    pub fn allows(&self, running: u32) -> bool {
        self.value.is_none_or(|value| running < value)
    }
}
