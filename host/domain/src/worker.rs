//! A worker: a board with what supervises it.

mod machine;

pub use machine::{Context, Effect, Event, Failure, FailureKind, Outcome, Refusal, Rules, Transition, step};

use std::sync::Arc;

use crate::capability::{Capabilities, Map};
use crate::id::{RequestId, TaskId, WorkerId};
use crate::moment::Timestamp;
use crate::plugin::Digest;
use crate::task::TaskKind;

/// State of a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// The admin owns it; every worker starts here.
    Maintenance,
    /// On its way to IDLE.
    Prepare,
    /// Prepared; may be matched.
    Idle,
    /// Taken by a match: its job is being opened or runs.
    Running,
    /// On its way to MAINTENANCE.
    Busy,
    /// Reported or found broken.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Maintenance, Self::Prepare, Self::Idle, Self::Running, Self::Busy, Self::Failed];

    /// As stored and shown (v2).
    pub fn name(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Prepare => "prepare",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What the board's registration says: a change of it takes the worker through BUSY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Name of its driver.
    pub driver: String,
    /// The driver's configuration: JSON text, kept as canonical text so that equal means equal.
    pub driver_config: String,
    /// The agent's capabilities.
    pub capabilities: Arc<Map>,
}

/// The match that holds a RUNNING worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupation {
    /// For which request.
    pub request: RequestId,
    /// Whether the job is open; until then the request is only reserved.
    pub opened: bool,
}

/// How users reach the board, as its driver last said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Host that tunnels lead to.
    pub host: String,
    /// TCP port there.
    pub port: u16,
    /// Account for users.
    pub user: String,
    /// OpenSSH host key lines.
    pub host_keys: Vec<String>,
}

/// Result of the last check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Whether it was well.
    pub ok: bool,
    /// When it was checked; none when it never was.
    pub checked_at: Option<Timestamp>,
    /// The driver's remark.
    pub note: String,
}

/// What is known of a failed worker's way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Falls into FAILED since the worker last proved good.
    pub relapses: u32,
    /// Re-checks that failed since the last fall.
    pub attempts: u32,
    /// When to re-check next; none when that is pointless or the worker is not FAILED.
    pub recheck_at: Option<Timestamp>,
    /// Whether it stays FAILED until its admin or a changed registration says otherwise.
    pub quarantined: bool,
}

/// A worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Identity.
    pub id: WorkerId,
    /// State.
    pub state: State,
    /// When it came into this state.
    pub since: Timestamp,
    /// Why it is in this state, where that is worth telling (always in FAILED).
    pub reason: Option<String>,
    /// What the board registered.
    pub registration: Arc<Registration>,
    /// Capabilities by source.
    pub capabilities: Capabilities,
    /// Groups, sorted, as given (null and empty are kept apart for v1).
    pub groups: Option<Arc<[String]>>,
    /// Where it stands: workers of one host share a limit on running tasks.
    pub host: Option<String>,
    /// The admin's remarks.
    pub notes: Option<String>,
    /// Version of its driver that the admin pinned it to; none = the driver's active one.
    pub driver_version: Option<Digest>,
    /// Result of the last check.
    pub health: Health,
    /// How users reach it; none until it was prepared.
    pub access: Option<Arc<Access>>,
    /// Set exactly in RUNNING.
    pub occupation: Option<Occupation>,
    /// The live task.
    pub task: Option<(TaskId, TaskKind)>,
    /// Way back from FAILED.
    pub recovery: Recovery,
    /// Whether it goes to MAINTENANCE as soon as no job holds it.
    pub drain: bool,
    /// Fences tasks: changes with the state and the registration.
    pub generation: u64,
    /// ETag: changes with every write, from 1.
    pub revision: u64,
}

impl Worker {
    /// A worker that registers for the first time: in MAINTENANCE.
    pub fn register(id: WorkerId, registration: Registration, now: Timestamp) -> Self {
        let none = Arc::new(Map::new());
        let capabilities = Capabilities::new(id, registration.capabilities.clone(), none.clone(), none);
        Self {
            id,
            state: State::Maintenance,
            since: now,
            reason: None,
            registration: Arc::new(registration),
            capabilities,
            groups: None,
            host: None,
            notes: None,
            driver_version: None,
            health: Health { ok: true, checked_at: None, note: String::new() },
            access: None,
            occupation: None,
            task: None,
            recovery: Recovery::default(),
            drain: false,
            generation: 1,
            revision: 1,
        }
    }

    /// Its groups; empty when none were given.
    pub fn groups(&self) -> &[String] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// The same worker with what an introspection found in the place of what the one before found. Nothing else changes,
    /// whatever its state: what the board registered is still what it registered.
    pub fn introspected(&self, found: Map) -> Self {
        let mut worker = self.clone();
        if *worker.capabilities.introspected().as_ref() != found {
            worker.capabilities = worker.capabilities.with_introspected(worker.id, Arc::new(found));
            worker.revision += 1;
        }
        worker
    }

    /// The same worker after an administrator's edit, which changes no state.
    pub fn edited(&self, edit: Edit) -> Self {
        let mut worker = self.clone();
        if let Some(groups) = edit.groups {
            worker.groups = groups.map(|mut groups| {
                groups.sort();
                groups.into()
            });
        }
        if let Some(admin) = edit.capabilities {
            worker.capabilities = worker.capabilities.with_admin(worker.id, Arc::new(admin));
        }
        if let Some(host) = edit.host {
            worker.host = host;
        }
        if let Some(notes) = edit.notes {
            worker.notes = notes;
        }
        if let Some(version) = edit.driver_version {
            worker.driver_version = version;
        }
        if worker != *self {
            worker.revision += 1;
        }
        worker
    }
}

/// What an administrator changes; none = leave as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    /// New groups (`Some(None)` = v1's null).
    pub groups: Option<Option<Vec<String>>>,
    /// New admin capabilities, all of them.
    pub capabilities: Option<Map>,
    /// New host.
    pub host: Option<Option<String>>,
    /// New remarks.
    pub notes: Option<Option<String>>,
    /// New pin: a version of its driver. Takes effect with the next task.
    pub driver_version: Option<Option<Digest>>,
}
