//! Introspection: finding out what a board is made of, one run at a time.
//!
//! A run reads an inventory (its driver pulls one, or the board pushes one), has it processed into capabilities, and ends.
//! What a run found replaces what the run before found, as one, or not at all.

mod change;
mod drift;
mod findings;
mod machine;

pub use change::{Change, View};
pub use drift::{Drift, drift, named};
pub use findings::{Findings, MAX_LABELS, findings};
pub(crate) use findings::{capability_key, name};
pub use machine::{Effect, Event, Refusal, Transition, next};

use crate::id::{IntrospectionId, WorkerId};
use crate::moment::{SignedDuration, Timestamp, after};

/// State of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Accepted; its task waits for its turn, or gets the board ready.
    Starting,
    /// Its inventory is expected: the driver reads it, or the board was started and sends it.
    Waiting,
    /// An inventory is there; inspectors and rules are at work.
    Processing,
    /// Done.
    Finished,
    /// Failed, aborted or timed out; the error says which.
    Error,
    /// Today's inspectors and rules are at work on the stored inventory.
    Reapplying,
    /// An inventory came from a board that nobody registered; it is decided whether it becomes a worker.
    Enrolling,
    /// To be ended; the board is being switched off.
    Aborting,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Waiting,
        Self::Processing,
        Self::Finished,
        Self::Error,
        Self::Reapplying,
        Self::Enrolling,
        Self::Aborting,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Processing => "processing",
            Self::Finished => "finished",
            Self::Error => "error",
            Self::Reapplying => "reapplying",
            Self::Enrolling => "enrolling",
            Self::Aborting => "aborting",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the run has ended. It may be reapplied.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Error)
    }
}

/// How the inventory comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// The driver reads it.
    Pull,
    /// The board sends it, with the run's token.
    Push,
    /// A board that nobody registered sent it.
    Enrol,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Enrol];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Enrol => "enrol",
        }
    }

    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// What is kept of the inventory of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// As it came.
    Raw,
    /// As inspectors brought it into form.
    Processed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Processed];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Processed => "processed",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Bytes of an inventory, as it came or processed.
pub const MAX_INVENTORY: usize = 1 << 20;

/// SHA-256 of a run's one-time token. The token itself is shown once, to whoever started the run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenDigest(pub [u8; 32]);

/// Why what a board sends is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// Whoever sends it does not have the run's token.
    #[error("this is not the token of the introspection")]
    WrongToken,
    /// The board is still being started.
    #[error("the board is not expected to send yet: it is being started")]
    Early,
    /// Its inventory has come.
    #[error("the token was used: the inventory of this introspection has come")]
    Used,
    /// Nobody waits for it any more, for this reason.
    #[error("the introspection is over: {0}")]
    Late(String),
}

/// Why a run is being aborted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// In a sentence: becomes the run's error.
    pub reason: String,
    /// Whether the run had to do with the board: then that is switched off where its driver can.
    pub switch_off: bool,
}

/// A run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introspection {
    /// Identity.
    pub id: IntrospectionId,
    /// Of which worker; none while it is not decided whether an unknown board becomes one.
    pub worker: Option<WorkerId>,
    /// How the inventory comes.
    pub way: Way,
    /// State.
    pub state: State,
    /// When it came into this state.
    pub since: Timestamp,
    /// When it was started, or was last reapplied.
    pub started: Timestamp,
    /// When it ended: set exactly in FINISHED and ERROR.
    pub finished: Option<Timestamp>,
    /// Why it is in ERROR.
    pub error: Option<String>,
    /// Why it is in ABORTING.
    pub ending: Option<Ending>,
    /// What the board must show to send its inventory: kept to tell late senders from strangers.
    pub token: Option<TokenDigest>,
    /// Whether an inventory as it came is stored.
    pub has_raw: bool,
    /// Whether a processed inventory is stored.
    pub has_processed: bool,
    /// Changes with every write, from 1.
    pub revision: u64,
}

/// Longest times in states; beyond them a run ends with an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// STARTING.
    pub starting: SignedDuration,
    /// WAITING.
    pub waiting: SignedDuration,
    /// PROCESSING.
    pub processing: SignedDuration,
    /// REAPPLYING.
    pub reapplying: SignedDuration,
    /// ENROLLING.
    pub enrolling: SignedDuration,
    /// ABORTING.
    pub aborting: SignedDuration,
}

impl Default for Rules {
    fn default() -> Self {
        let minutes = SignedDuration::from_mins;
        Self {
            starting: minutes(5),
            waiting: minutes(60),
            processing: minutes(5),
            reapplying: minutes(5),
            enrolling: minutes(5),
            aborting: minutes(2),
        }
    }
}

impl Rules {
    /// The longest time in that state; none in those that are final.
    pub fn longest(&self, state: State) -> Option<SignedDuration> {
        match state {
            State::Starting => Some(self.starting),
            State::Waiting => Some(self.waiting),
            State::Processing => Some(self.processing),
            State::Reapplying => Some(self.reapplying),
            State::Enrolling => Some(self.enrolling),
            State::Aborting => Some(self.aborting),
            State::Finished | State::Error => None,
        }
    }
}

impl Introspection {
    /// A run of a worker that was just accepted.
    pub fn start(
        id: IntrospectionId,
        worker: WorkerId,
        way: Way,
        token: Option<TokenDigest>,
        now: Timestamp,
    ) -> Self {
        Self { worker: Some(worker), token, ..Self::new(id, way, State::Starting, now) }
    }

    /// A run that an inventory of an unknown board began.
    pub fn enrol(id: IntrospectionId, now: Timestamp) -> Self {
        Self { has_raw: true, ..Self::new(id, Way::Enrol, State::Enrolling, now) }
    }

    fn new(id: IntrospectionId, way: Way, state: State, now: Timestamp) -> Self {
        Self {
            id,
            worker: None,
            way,
            state,
            since: now,
            started: now,
            finished: None,
            error: None,
            ending: None,
            token: None,
            has_raw: false,
            has_processed: false,
            revision: 1,
        }
    }

    /// Whether a board that shows this token may send its inventory now.
    ///
    /// # Errors
    /// It has another token, or it is too early or too late.
    pub fn admit(&self, token: TokenDigest) -> Result<(), NotAdmitted> {
        if self.way != Way::Push || self.token != Some(token) {
            return Err(NotAdmitted::WrongToken);
        }
        match self.state {
            _ if self.has_raw => Err(NotAdmitted::Used),
            State::Waiting => Ok(()),
            State::Starting => Err(NotAdmitted::Early),
            _ => {
                let ending = self.ending.as_ref().map(|ending| ending.reason.clone());
                Err(NotAdmitted::Late(self.error.clone().or(ending).unwrap_or_default()))
            }
        }
    }

    /// When it has been in its state for too long. A run whose task waits for its turn is not late: its caller knows.
    pub fn due(&self, rules: &Rules) -> Option<Timestamp> {
        rules.longest(self.state).map(|longest| after(self.since, longest))
    }
}
