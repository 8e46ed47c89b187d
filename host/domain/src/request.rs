//! A request: a user's wish for a worker; and its job once one was opened.

mod machine;

pub use machine::{Bounds, Context, Create, Effect, Event, Refusal, Transition, create, step};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::group::Owner;
use crate::id::{RequestId, WorkerId};
use crate::moment::{Moment, SignedDuration, Timestamp, after, one_month_after};
use crate::plugin::Digest;
use crate::wants::Wants;

/// State of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// In the queue, or reserved for a worker whose job is being opened.
    Waiting,
    /// Its job runs.
    InProgress,
    /// Closed before it got a worker.
    Cancelled,
    /// Its deadline passed before it got a worker.
    Timeout,
    /// No registered worker could ever satisfy it.
    Invalid,
    /// Its job ended as it should.
    Done,
    /// Its job ended with the worker's failure.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::InProgress,
        Self::Cancelled,
        Self::Timeout,
        Self::Invalid,
        Self::Done,
        Self::Failed,
    ];

    /// As stored and shown (v2).
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InProgress => "in_progress",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing will happen any more.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Waiting | Self::InProgress)
    }
}

/// What a request asks for. Written once, never changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Who asks.
    pub owner: Owner,
    /// Which capabilities.
    pub wants: Wants,
    /// For how long; none = the farm's default.
    pub length: Option<SignedDuration>,
    /// The user's own public keys, as authorized_keys lines; empty = generate a pair.
    pub keys: Vec<String>,
    /// The client promises a heartbeat this often; none = no promise.
    pub heartbeat: Option<SignedDuration>,
    /// Its job is kept so long after the last heartbeat; none = until a few are missed. Means nothing without a promise.
    pub away: Option<SignedDuration>,
    /// Its job is given back when nothing went through its tunnel for so long; none = never.
    pub idle: Option<SignedDuration>,
    /// Its job is prolonged by itself for as long as it is used.
    pub extend: bool,
    /// For policies: no meaning to the core.
    pub hints: BTreeMap<String, String>,
    /// What makes this wish, when it is sent again, the same one.
    pub idempotency: Option<Idempotency>,
}

/// What tells a wish that is sent again from another one of the same owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// As its sender chose it.
    pub key: String,
    /// SHA-256 of what was sent under it.
    pub body: Digest,
}

/// Priority of a request: 1 (highest) to 16 (lowest).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u8);

impl Priority {
    /// Highest.
    pub const MIN: u8 = 1;
    /// Lowest.
    pub const MAX: u8 = 16;

    /// A priority, when `number` is one.
    pub fn new(number: u8) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// 1..=16.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Public number.
    pub id: RequestId,
    /// What it asks for.
    pub spec: Arc<Spec>,
    /// State.
    pub state: State,
    /// When it came into this state.
    pub since: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// Priority.
    pub priority: Priority,
    /// Place among requests of the same priority: lower comes first.
    pub place: u64,
    /// Not to be matched before.
    pub valid_after: Moment,
    /// Not to be matched after.
    pub deadline: Moment,
    /// The worker it is reserved for while that is being opened; only in WAITING.
    pub reserved: Option<WorkerId>,
    /// Its job; kept after the end.
    pub job: Option<Arc<Job>>,
    /// Why it is in this state, where that is worth telling.
    pub reason: Option<String>,
    /// Who ended it; none while it lives, and of one that an earlier version ended.
    pub ended_by: Option<String>,
    /// ETag: changes with every write, from 1.
    pub revision: u64,
}

impl Request {
    /// Whether it may be matched at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == State::Waiting
            && self.reserved.is_none()
            && self.begins().is_none_or(|begins| begins <= now)
            && (self.deadline.at > now || self.ends().is_none())
    }

    /// Not to be matched before, where that was asked for. One that nobody asked to wait may be matched from its beginning
    /// on, also when the wall clock steps back behind that.
    pub fn begins(&self) -> Option<Timestamp> {
        (self.valid_after.at > self.created).then_some(self.valid_after.at)
    }

    /// Not to be matched after, where that was asked for: not the deadline that it has because everything must have one.
    pub fn ends(&self) -> Option<Timestamp> {
        (self.deadline.at != one_month_after(self.created)).then_some(self.deadline.at)
    }

    /// Its job while that runs.
    pub fn running_job(&self) -> Option<&Arc<Job>> {
        self.job.as_ref().filter(|job| job.ended.is_none())
    }
}

/// The time-bounded occupation of one worker by one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// On which worker.
    pub worker: WorkerId,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ends by itself.
    pub timeout: Timestamp,
    /// How often it was prolonged.
    pub prolongs: u32,
    /// How the user gets in.
    pub access: Arc<JobAccess>,
    /// When it ended; set exactly when the request is terminal.
    pub ended: Option<Timestamp>,
    /// Since when its client has been silent; none while it is heard of.
    pub away: Option<Timestamp>,
    /// Since when its board has not answered; none while it does.
    pub unreachable: Option<Timestamp>,
    /// Whether it outlives its client: heartbeats are no longer needed.
    pub kept: bool,
    /// How many of the warnings before its present end were given.
    pub warned: u8,
}

impl Job {
    /// A user is warned so long before the end, unless the job is shorter.
    pub const WARNINGS: [SignedDuration; 2] = [SignedDuration::from_mins(10), SignedDuration::from_mins(2)];

    /// A job that begins.
    pub fn new(worker: WorkerId, opened: Timestamp, timeout: Timestamp, access: Arc<JobAccess>) -> Self {
        Self {
            worker,
            opened,
            timeout,
            prolongs: 0,
            access,
            ended: None,
            away: None,
            unreachable: None,
            kept: false,
            warned: warnings_over(timeout.duration_since(opened)),
        }
    }

    /// The same with another end, of which nobody was warned.
    fn until(&self, timeout: Timestamp, now: Timestamp) -> Self {
        Self { timeout, warned: warnings_over(timeout.duration_since(now)), ..self.clone() }
    }

    /// When its user is to be warned next.
    pub fn next_warning(&self) -> Option<Timestamp> {
        let before = Self::WARNINGS.get(usize::from(self.warned))?;
        Some(after(self.timeout, -*before))
    }

    /// Whether its user should know by now that it ends, with so much of it left.
    pub fn is_ending(&self, left: SignedDuration) -> bool {
        let length = self.timeout.duration_since(self.opened);
        Self::WARNINGS.iter().any(|before| left <= *before && *before < length)
    }
}

/// How many warnings come too late for a job that ends so soon.
fn warnings_over(left: SignedDuration) -> u8 {
    let over = Job::WARNINGS.iter().filter(|before| **before >= left).count();
    u8::try_from(over).unwrap_or(u8::MAX)
}

/// How a user gets to the worker of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobAccess {
    /// The tunnel's port on the controller.
    pub port: u16,
    /// Where the tunnel leads: host.
    pub target_host: String,
    /// Where the tunnel leads: TCP port.
    pub target_port: u16,
    /// Account on the board.
    pub user: String,
    /// The board's OpenSSH host key lines; empty when its driver knows none.
    pub host_keys: Vec<String>,
    /// Generated private key, PKCS#1 PEM; none when the user's own keys were authorized, or after the end.
    pub private_key: Option<String>,
    /// The authorized_keys lines that were let in.
    pub authorized_keys: Vec<String>,
}
