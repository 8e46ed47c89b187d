//! Requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::job::Job;
use crate::limits;
use crate::span::Span;

/// State of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// In the queue, or its job is being opened.
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

impl RequestState {
    /// Whether nothing will happen any more.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Waiting | Self::InProgress)
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Number; its job has the same.
    pub id: u64,
    /// State.
    pub state: RequestState,
    /// When it came into this state.
    pub since: Timestamp,
    /// Why it is in this state, where that is worth telling.
    pub reason: Option<String>,
    /// Who asks.
    pub owner: String,
    /// What it wants of a worker: terms, all of which must hold.
    pub wants: Vec<String>,
    /// 1 (highest) to 16.
    pub priority: u8,
    /// Place in the queue, from 1, among those that want boards that it could have; where the queue is very long, among all.
    /// Null when it is not in it.
    pub position: Option<u64>,
    /// Why it waits. Only in the answer to its creation, and with `?why=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Vec<Reason>>,
    /// When it was made.
    pub created: Timestamp,
    /// Not to be matched before.
    pub valid_after: Timestamp,
    /// Not to be matched after.
    pub deadline: Timestamp,
    /// Length of its job; null = the farm's default.
    #[serde(rename = "for")]
    pub length: Option<Span>,
    /// How often its client promised a heartbeat; null = no promise.
    pub heartbeat: Option<Span>,
    /// Its job is kept so long after the last heartbeat, as far as the farm allows; null = until a few are missed.
    #[serde(default)]
    pub away: Option<Span>,
    /// Its job is given back when nothing went through its tunnel for so long; null = never.
    #[serde(default)]
    pub idle: Option<Span>,
    /// Its job is prolonged by itself for as long as it is used.
    #[serde(default)]
    pub extend: bool,
    /// For policies.
    pub hints: BTreeMap<String, String>,
    /// The worker whose job is being opened for it.
    pub reserved: Option<Uuid>,
    /// Its job, once opened; kept after the end.
    pub job: Option<Job>,
    /// Who ended it; null while it lives, and of one that an earlier version of the farm ended.
    #[serde(default)]
    pub ended_by: Option<String>,
    /// What its user should know now. Only in the answer to a heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<Warning>>,
    /// Changes with every write; also its ETag.
    pub revision: u64,
}

/// Why a request waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// Stable word: `not_yet_valid`, `no_such_worker`, `no_idle_worker`, `opening`, `limit`, `shortage`, `ahead`,
    /// `job_ahead`, `recheck`, `farm_maintenance`, `policy`, `requeued`, `ended` …
    pub code: String,
    /// A sentence.
    pub text: String,
    /// The worker that it is about.
    pub worker: Option<Uuid>,
    /// Until when it surely holds.
    pub until: Option<Timestamp>,
}

/// What the user of a job should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Warning {
    /// Stable word: `ending` (its time is soon up), `idle` (it is soon given back, because nothing moves), `unreachable` (its
    /// board does not answer).
    pub code: String,
    /// A sentence.
    pub text: String,
    /// When what it warns of happens; of `unreachable`, since when it is so.
    pub at: Timestamp,
}

/// `POST /api/v2/requests`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Terms: `camera`, `!camera`, `board=rpi4`, `baud=57600,115200`, `uart=2..`, `lab!=berlin` …; all must hold.
    #[serde(default)]
    pub wants: Vec<String>,
    /// 1 (highest) to 16.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// Length of the job; left out = the farm's default.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Span>,
    /// Not to be matched before; left out = now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after: Option<Timestamp>,
    /// Not to be matched after; left out = one calendar month from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The user's public keys, as lines of authorized_keys; empty = the farm makes a pair.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The client promises a heartbeat this often: the request is closed when it goes silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Span>,
    /// Keep the job so long after the last heartbeat, as far as the farm allows; left out = until a few are missed. Only with
    /// `heartbeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Span>,
    /// Give the job back when nothing went through its tunnel for so long; left out = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// Prolong the job by itself for as long as it is used, as far as the farm allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// For policies.
    #[serde(default)]
    pub hints: BTreeMap<String, String>,
}

impl Default for NewRequest {
    fn default() -> Self {
        Self {
            wants: Vec::new(),
            priority: default_priority(),
            length: None,
            valid_after: None,
            deadline: None,
            keys: Vec::new(),
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
        }
    }
}

/// `PATCH /api/v2/requests/{id}`: what is left out stays as it is. Only while it waits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchRequest {
    /// 1 (highest) to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Not to be matched before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_after: Option<Timestamp>,
    /// Not to be matched after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// `POST /api/v2/requests/{id}/close`; the body may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /api/v2/requests/{id}/prolong`; the body may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prolong {
    /// How long the job shall run from now; left out = as long as it was asked for, or else the farm's default.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Span>,
    /// Also when it would end earlier than it does now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shorten: bool,
}

/// `POST /api/v2/requests/{id}/heartbeat`; the body may be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Something that the client started on the board still runs.
    #[serde(default)]
    pub busy: bool,
}

fn default_priority() -> u8 {
    limits::PRIORITY_DEFAULT
}
