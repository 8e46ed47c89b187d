//! Steps: the parts of a task, with times and an outcome of their own.

use std::borrow::Cow;
use std::fmt;

use crate::moment::Timestamp;

/// What a step does.
///
/// As text it is one word for the core's own steps, and `driver:NAME` for a driver's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StepKind {
    /// Look whether the board is well.
    Check,
    /// Shut the former user out.
    Revoke,
    /// Clean and make ready.
    Prepare,
    /// Let the user's keys in.
    Authorize,
    /// Take a key pair from the pool.
    TakeKey,
    /// Open the tunnel.
    OpenTunnel,
    /// Put in maintenance.
    Maintain,
    /// Leave nothing half done after a call that was cut off.
    CleanUp,
    /// Read what the board is made of.
    Introspect,
    /// Wait until inspectors and rules have concluded from what was read.
    Process,
    /// Start the board anew, so that it sends what it is made of.
    PowerCycle,
    /// Switch the board off.
    PowerOff,
    /// A step of the driver's own, by its name.
    Driver(String),
    /// Written by a newer version, in its words: only ever read from a store.
    Unknown(String),
}

/// Before the name of a driver's step.
const DRIVER: &str = "driver:";

impl StepKind {
    /// The core's own.
    pub const CORE: [Self; 12] = [
        Self::Check,
        Self::Revoke,
        Self::Prepare,
        Self::Authorize,
        Self::TakeKey,
        Self::OpenTunnel,
        Self::Maintain,
        Self::CleanUp,
        Self::Introspect,
        Self::Process,
        Self::PowerCycle,
        Self::PowerOff,
    ];

    /// As stored.
    pub fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Check => "check",
            Self::Revoke => "revoke",
            Self::Prepare => "prepare",
            Self::Authorize => "authorize",
            Self::TakeKey => "take_key",
            Self::OpenTunnel => "open_tunnel",
            Self::Maintain => "maintain",
            Self::CleanUp => "clean_up",
            Self::Introspect => "introspect",
            Self::Process => "process",
            Self::PowerCycle => "power_cycle",
            Self::PowerOff => "power_off",
            Self::Driver(name) => return Cow::Owned(format!("{DRIVER}{name}")),
            Self::Unknown(raw) => raw,
        })
    }

    /// Of a store's text. What this version does not know is kept as it is.
    pub fn stored(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|unknown| Self::Unknown(unknown.0))
    }

    /// Of a text that somebody gives.
    ///
    /// # Errors
    /// There is no such step.
    pub fn parse(text: &str) -> Result<Self, UnknownStep> {
        if let Some(name) = text.strip_prefix(DRIVER) {
            return Ok(Self::Driver(name.to_owned()));
        }
        let known = Self::CORE.into_iter().find(|kind| kind.text() == text);
        known.ok_or_else(|| UnknownStep(text.to_owned()))
    }
}

impl fmt::Display for StepKind {
    /// As people read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakeKey => "take session key",
            Self::OpenTunnel => "open tunnel",
            Self::Maintain => "put in maintenance",
            Self::CleanUp => "clean up",
            Self::Introspect => "read the inventory",
            Self::Process => "process the inventory",
            Self::PowerCycle => "power cycle",
            Self::PowerOff => "power off",
            Self::Driver(name) | Self::Unknown(name) => name,
            kind => return f.write_str(&kind.text()),
        })
    }
}

/// A step that this version does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no step {0:?}")]
pub struct UnknownStep(pub String);

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StepOutcome {
    /// The next step began, or the task ended well.
    Success,
    /// The task failed in it.
    Failed,
    /// The task was cancelled in it.
    Cancelled,
    /// It was never begun.
    Skipped,
}

impl StepOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failed, Self::Cancelled, Self::Skipped];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// A part of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// When it began; none where it is still to come, or was skipped.
    pub started: Option<Timestamp>,
    /// When it was over; set exactly when `outcome` is.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<StepOutcome>,
}

impl Step {
    /// A step that is still to come.
    pub fn planned(kind: StepKind) -> Self {
        Self { kind, started: None, ended: None, outcome: None }
    }

    /// Whether it has begun and goes on.
    pub fn is_running(&self) -> bool {
        self.started.is_some() && self.outcome.is_none()
    }

    pub(super) fn end(&mut self, outcome: StepOutcome, at: Timestamp) {
        self.ended = Some(at);
        self.outcome = Some(outcome);
    }
}
