//! What the dispatcher is told: by callers, by tasks, by the policy session, by the publisher.

use std::sync::Arc;

use grove_domain::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use grove_domain::introspection::{self, Introspection, TokenDigest};
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode, RunningJobs};
use grove_domain::moment::SignedDuration;
use grove_domain::plugin::{self, Plugin, PluginVersion};
use grove_domain::request::{self, Request};
use grove_domain::rule::Rule;
use grove_domain::worker::{self, Edit, Worker};
use tokio::sync::oneshot;

use crate::controller::Begin;
use crate::matching::session::Planned;
use crate::matching::why::Reason;
use crate::processor::Processed;
use crate::refusal::Refused;
use crate::registering::Registering;
use crate::runner::TaskResult;
use crate::warning::Warning;

/// Where the answer of a decision goes, after its commit.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// A plugin after it moved, and the version that came or went.
pub(crate) type Moved = (Arc<Plugin>, Option<Arc<PluginVersion>>);

/// One thing for the dispatcher to decide on.
pub(crate) enum Command {
    Register {
        actor: Arc<str>,
        worker: WorkerId,
        registration: Registering,
        edit: Edit,
        expected: Option<u64>,
        reply: Reply<(Arc<Worker>, bool)>,
    },
    EditWorker {
        actor: Arc<str>,
        worker: WorkerId,
        edit: Edit,
        expected: Option<u64>,
        reply: Reply<Arc<Worker>>,
    },
    MoveWorker {
        actor: Arc<str>,
        worker: WorkerId,
        event: worker::Event,
        expected: Option<u64>,
        reply: Reply<Arc<Worker>>,
    },
    CreateRequest {
        actor: Arc<str>,
        wish: Box<request::Create>,
        reply: Reply<(Arc<Request>, bool)>,
    },
    MoveRequest {
        actor: Arc<str>,
        request: RequestId,
        event: request::Event,
        expected: Option<u64>,
        reply: Reply<Arc<Request>>,
    },
    Prolong {
        actor: Arc<str>,
        request: RequestId,
        length: Option<SignedDuration>,
        shorten: bool,
        expected: Option<u64>,
        reply: Reply<Arc<Request>>,
    },
    Heartbeat {
        request: RequestId,
        busy: bool,
        reply: Reply<(Arc<Request>, Vec<Warning>)>,
    },
    CancelTask {
        actor: Arc<str>,
        task: TaskId,
        reply: Reply<()>,
    },
    Why {
        request: RequestId,
        reply: Reply<Vec<Reason>>,
    },
    MovePlugin {
        actor: Arc<str>,
        name: String,
        event: plugin::Event,
        expected: Option<u64>,
        reply: Reply<Moved>,
    },
    /// A component was not taken in: nothing changes, and it is told.
    PluginRefused {
        actor: Arc<str>,
        name: String,
        reason: String,
        reply: Reply<()>,
    },
    StartIntrospection {
        actor: Arc<str>,
        worker: WorkerId,
        begin: Begin,
        expected: Option<u64>,
        reply: Reply<Arc<Introspection>>,
    },
    /// A board sends its inventory.
    Pushed {
        run: IntrospectionId,
        token: TokenDigest,
        inventory: Arc<str>,
        reply: Reply<Arc<Introspection>>,
    },
    /// A task has read a board's inventory, or found out that it cannot be read.
    Pulled {
        run: IntrospectionId,
        task: TaskId,
        inventory: Result<Arc<str>, String>,
        reply: Reply<()>,
    },
    /// A board that nobody registered sends its inventory.
    Enrol {
        actor: Arc<str>,
        inventory: Arc<str>,
        reply: Reply<Arc<Introspection>>,
    },
    MoveIntrospection {
        actor: Arc<str>,
        run: IntrospectionId,
        event: introspection::Event,
        expected: Option<u64>,
        reply: Reply<Arc<Introspection>>,
    },
    ReapplyAll {
        actor: Arc<str>,
        reply: Reply<Vec<IntrospectionId>>,
    },
    /// Inspectors and rules are done with an inventory.
    Processed(Box<Processed>),
    AddRule {
        actor: Arc<str>,
        rule: Box<Rule>,
        reply: Reply<Arc<Rule>>,
    },
    /// One rule, or all of them.
    RemoveRules {
        actor: Arc<str>,
        rule: Option<RuleId>,
        expected: Option<u64>,
        reply: Reply<Vec<Arc<Rule>>>,
    },
    /// The active policy is another one now, or may be opened again.
    PolicyChanged,
    SetLimit {
        actor: Arc<str>,
        scope: Scope,
        value: Option<u32>,
        expected: Option<u64>,
        reply: Reply<Arc<Limit>>,
    },
    SetMode {
        actor: Arc<str>,
        mode: Mode,
        running: RunningJobs,
        expected: Option<u64>,
        reply: Reply<Arc<FarmMode>>,
    },
    TaskEnded(Box<TaskResult>),
    /// The board of a job was looked at.
    Probed {
        request: RequestId,
        answered: bool,
    },
    /// A task that was cancelled has really ended.
    TaskGone(WorkerId, TaskId),
    Planned(Box<Planned>),
    /// A batch did not make it to disk: everything after it is void.
    CommitFailed {
        epoch: u64,
        error: String,
    },
    Stop {
        done: oneshot::Sender<()>,
    },
}

impl Command {
    /// Whether its caller has left before anything was decided: then nothing is.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Register { reply, .. } => reply.is_closed(),
            Self::EditWorker { reply, .. } | Self::MoveWorker { reply, .. } => reply.is_closed(),
            Self::CreateRequest { reply, .. } => reply.is_closed(),
            Self::MoveRequest { reply, .. } | Self::Prolong { reply, .. } => reply.is_closed(),
            Self::Heartbeat { reply, .. } => reply.is_closed(),
            Self::CancelTask { reply, .. } | Self::PluginRefused { reply, .. } => reply.is_closed(),
            Self::MovePlugin { reply, .. } => reply.is_closed(),
            Self::SetLimit { reply, .. } => reply.is_closed(),
            Self::SetMode { reply, .. } => reply.is_closed(),
            Self::Why { reply, .. } => reply.is_closed(),
            Self::StartIntrospection { reply, .. }
            | Self::Pushed { reply, .. }
            | Self::Enrol { reply, .. }
            | Self::MoveIntrospection { reply, .. } => reply.is_closed(),
            Self::Pulled { reply, .. } => reply.is_closed(),
            Self::ReapplyAll { reply, .. } => reply.is_closed(),
            Self::AddRule { reply, .. } => reply.is_closed(),
            Self::RemoveRules { reply, .. } => reply.is_closed(),
            Self::PolicyChanged
            | Self::Processed(_)
            | Self::TaskEnded(_)
            | Self::Probed { .. }
            | Self::TaskGone(..)
            | Self::Planned(_)
            | Self::CommitFailed { .. }
            | Self::Stop { .. } => false,
        }
    }

    /// Whether it is decided also while the farm is in maintenance: what winds down, reports a fact, or leads out of it.
    pub(crate) fn is_taken_in_maintenance(&self) -> bool {
        match self {
            Self::Register { .. }
            | Self::EditWorker { .. }
            | Self::CreateRequest { .. }
            | Self::Prolong { .. }
            | Self::StartIntrospection { .. }
            | Self::Enrol { .. }
            | Self::ReapplyAll { .. }
            | Self::AddRule { .. }
            | Self::RemoveRules { .. } => false,
            Self::MoveWorker { event, .. } => matches!(event, worker::Event::ReportFailure { .. }),
            Self::MoveRequest { event, .. } => {
                matches!(event, request::Event::Close { .. } | request::Event::Keep)
            }
            Self::MovePlugin { event, .. } => matches!(event, plugin::Event::LoadFailed { .. }),
            Self::MoveIntrospection { event, .. } => matches!(event, introspection::Event::Abort { .. }),
            Self::Heartbeat { .. }
            | Self::CancelTask { .. }
            | Self::PluginRefused { .. }
            | Self::SetLimit { .. }
            | Self::SetMode { .. }
            | Self::Why { .. }
            | Self::Pushed { .. }
            | Self::Pulled { .. }
            | Self::Processed(_)
            | Self::PolicyChanged
            | Self::TaskEnded(_)
            | Self::Probed { .. }
            | Self::TaskGone(..)
            | Self::Planned(_)
            | Self::CommitFailed { .. }
            | Self::Stop { .. } => true,
        }
    }

    /// Answers with a refusal, without deciding anything. What has no caller is dropped: rows will call for it again.
    pub(crate) fn refuse(self, why: &Refused) {
        // Callers that have left need no answer.
        match self {
            Self::Register { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::EditWorker { reply, .. } | Self::MoveWorker { reply, .. } => {
                drop(reply.send(Err(why.clone())));
            }
            Self::CreateRequest { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::MoveRequest { reply, .. } | Self::Prolong { reply, .. } => {
                drop(reply.send(Err(why.clone())));
            }
            Self::Heartbeat { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::CancelTask { reply, .. } | Self::PluginRefused { reply, .. } => {
                drop(reply.send(Err(why.clone())));
            }
            Self::MovePlugin { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::SetLimit { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::SetMode { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::Why { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::StartIntrospection { reply, .. }
            | Self::Pushed { reply, .. }
            | Self::Enrol { reply, .. }
            | Self::MoveIntrospection { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::Pulled { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::ReapplyAll { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::AddRule { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::RemoveRules { reply, .. } => drop(reply.send(Err(why.clone()))),
            Self::Stop { done } => drop(done.send(())),
            Self::PolicyChanged
            | Self::Processed(_)
            | Self::TaskEnded(_)
            | Self::Probed { .. }
            | Self::TaskGone(..)
            | Self::Planned(_)
            | Self::CommitFailed { .. } => {}
        }
    }
}
