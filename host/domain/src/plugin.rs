//! A plugin: which versions of it are installed, and which of them is used.

mod machine;

pub use machine::{Context, Effect, Event, Happening, Refusal, Rules, Transition, step};

use std::fmt;
use std::str::FromStr;

use crate::moment::Timestamp;

/// A SHA-256. That of its component tells a version of a plugin from others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::BYTES]);

impl Digest {
    /// Length in bytes.
    pub const BYTES: usize = 32;

    /// From its bytes.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The first twelve characters: enough for people.
    pub fn short(&self) -> String {
        self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let wrong = || NotADigest(text.to_owned());
        let digit = |character: u8| match character {
            b'0'..=b'9' => Some(character - b'0'),
            b'a'..=b'f' => Some(character - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; Self::BYTES];
        if pairs.len() != Self::BYTES || !rest.is_empty() {
            return Err(wrong());
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

/// A text that is no digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no digest: it has 64 characters, 0 to 9 and a to f")]
pub struct NotADigest(pub String);

/// What a plugin does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PluginKind {
    /// Decides who gets which board.
    Policy,
    /// Knows one kind of board.
    Driver,
    /// Turns an inventory into capabilities.
    Inspector,
}

impl PluginKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Policy, Self::Driver, Self::Inspector];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Driver => "driver",
            Self::Inspector => "inspector",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a version came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// It is part of the binary.
    BuiltIn,
    /// It lay in the plugin folder.
    Folder,
    /// An admin installed it.
    Installed,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 3] = [Self::BuiltIn, Self::Folder, Self::Installed];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::Folder => "folder",
            Self::Installed => "installed",
        }
    }

    /// The origin of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}

/// An installed version of a plugin. Written once, never changed; several of a name live side by side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PluginVersion {
    /// Name of the plugin.
    pub name: String,
    /// Which component.
    pub digest: Digest,
    /// What it does.
    pub kind: PluginKind,
    /// Its maker's number for it.
    pub version: String,
    /// Its manifest: TOML text as it was given.
    pub manifest: String,
    /// Where it came from.
    pub origin: Origin,
    /// When it was installed.
    pub installed: Timestamp,
}

impl PluginVersion {
    /// For people: the number and the short digest.
    pub fn label(&self) -> String {
        format!("{} ({})", self.version, self.digest.short())
    }
}

/// The time in which a version that replaced another must prove itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probation {
    /// Until when.
    pub until: Timestamp,
    /// Tasks, plans or introspections that ended on it since.
    pub outcomes: u32,
    /// Those of them that it failed.
    pub failures: u32,
}

/// Which version of a name is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plugin {
    /// Identity.
    pub name: String,
    /// What it does.
    pub kind: PluginKind,
    /// Whether it is used at all. Of policies at most one is; without any the built-in rule decides.
    pub enabled: bool,
    /// The version in use.
    pub active: Option<Digest>,
    /// The version before the active one.
    pub previous: Option<Digest>,
    /// When it was last enabled, disabled, or given another version.
    pub since: Timestamp,
    /// While the active version must prove itself; a disabled plugin's time stands still.
    pub probation: Option<Probation>,
    /// What is amiss with it.
    pub trouble: Option<String>,
    /// ETag: changes with every write, from 1.
    pub revision: u64,
}

impl Plugin {
    /// The version that new work runs on; none while it is disabled.
    pub fn in_use(&self) -> Option<Digest> {
        self.active.filter(|_| self.enabled)
    }

    /// When its probation ends, as long as it is used.
    pub fn probation_ends(&self) -> Option<Timestamp> {
        self.probation.filter(|_| self.enabled).map(|probation| probation.until)
    }
}
