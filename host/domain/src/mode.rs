//! The mode of the whole farm.

use crate::moment::Timestamp;

/// What the farm does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Its work.
    #[default]
    Normal,
    /// Nothing new; what runs is wound down.
    Maintenance {
        /// Why.
        reason: String,
        /// When that is expected to be over: what callers are told.
        until: Option<Timestamp>,
    },
}

impl Mode {
    /// As stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Maintenance { .. } => "maintenance",
        }
    }

    /// Whether nothing new is taken.
    pub fn is_maintenance(&self) -> bool {
        matches!(self, Self::Maintenance { .. })
    }
}

/// What becomes of jobs when the farm goes into maintenance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunningJobs {
    /// They are left to their end.
    Drain,
    /// They end now.
    Cut,
}

/// The mode as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FarmMode {
    /// Which.
    pub mode: Mode,
    /// Since when; none where it never was another.
    pub since: Option<Timestamp>,
    /// ETag: changes with every write; 0 = never written.
    pub revision: u64,
}
