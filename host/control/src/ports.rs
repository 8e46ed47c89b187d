//! What the controller needs of the rooms below it. The binary adapts the real ones; tests bring their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use grove_domain::capability::Map;
use grove_domain::change::{Batch, Loaded};
use grove_domain::event::Event;
pub use grove_domain::history::{EventQuery, IntrospectionQuery, TaskQuery};
use grove_domain::id::{IntrospectionId, RequestId, TaskId, WorkerId};
use grove_domain::instance::Instance;
use grove_domain::introspection::{Change, Findings, Introspection, Kind, View};
use grove_domain::moment::Timestamp;
use grove_domain::plugin::Digest;
use grove_domain::request::Request;
use grove_domain::task::Task;
use grove_domain::worker::{Access, Failure, Health, Registration, Worker};
use tokio_util::sync::CancellationToken;

/// Called once, with what became of a batch, after it is on disk (or certainly is not).
pub type Committed = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The durable truth.
pub trait Store: Send + Sync + 'static {
    /// Everything, from disk; begins a new epoch. An instance that the store does not know becomes the newest; for one
    /// that a newer one took over from, nothing begins, and the answer says who.
    fn load(&self, instance: Instance) -> BoxFuture<'static, Result<Loaded, StoreError>>;
    /// Queues a batch. Batches are committed in the order of these calls.
    /// After one that was refused, every later batch of the same epoch is refused too: it was decided on what is not
    /// stored.
    fn commit(&self, batch: Batch, committed: Committed);
    /// A page of kept tasks, newest first.
    fn tasks(&self, query: TaskQuery) -> BoxFuture<'static, Result<Vec<Task>, StoreError>>;
    /// One kept task.
    fn task(&self, id: TaskId) -> BoxFuture<'static, Result<Option<Task>, StoreError>>;
    /// A page of kept runs of introspection, newest first.
    fn introspections(
        &self,
        query: IntrospectionQuery,
    ) -> BoxFuture<'static, Result<Vec<Introspection>, StoreError>>;
    /// One kept run.
    fn introspection(
        &self,
        id: IntrospectionId,
    ) -> BoxFuture<'static, Result<Option<Introspection>, StoreError>>;
    /// What is kept of the inventory of a run.
    fn inventory(
        &self,
        id: IntrospectionId,
        kind: Kind,
    ) -> BoxFuture<'static, Result<Option<Arc<str>>, StoreError>>;
    /// What was found in a run.
    fn findings(&self, id: IntrospectionId) -> BoxFuture<'static, Result<Option<Findings>, StoreError>>;
    /// Events after a place in the sequence, oldest first.
    fn events(&self, query: EventQuery) -> BoxFuture<'static, Result<Vec<Event>, StoreError>>;
    /// Forgets history older than this, a bounded piece at a time; how many rows went.
    fn prune(&self, before: Timestamp) -> BoxFuture<'static, Result<u64, StoreError>>;
}

/// The store cannot do it now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store refused: {0}")]
pub struct StoreError(pub String);

/// Drivers, by name.
pub trait Drivers: Send + Sync + 'static {
    /// Names of the drivers there are, sorted.
    fn names(&self) -> Vec<String>;
    /// Whether this version of the driver takes this configuration (JSON text); otherwise its words why not. Without a
    /// version: the one that is there.
    fn validate(
        &self,
        driver: &str,
        version: Option<&Digest>,
        config: &str,
    ) -> BoxFuture<'static, Result<(), String>>;
    /// What this version of the driver can; none where it is not there now. Without a version: the one that is there.
    fn abilities(&self, driver: &str, version: Option<&Digest>) -> Option<Abilities>;
    /// Begins work on one worker, on this version: one fresh instance for all calls of one task. Without a version: on
    /// the one that is there.
    fn start(
        &self,
        driver: &str,
        version: Option<&Digest>,
        target: Target,
        watch: Arc<dyn Watch>,
    ) -> Result<Box<dyn Driver>, Failure>;
}

/// The worker as its driver sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Identity.
    pub worker: WorkerId,
    /// Effective capabilities.
    pub capabilities: Arc<Map>,
    /// The driver's configuration: JSON text.
    pub config: String,
}

/// What a running task tells about itself.
pub trait Watch: Send + Sync + 'static {
    /// Percent and a remark.
    fn progress(&self, percent: u8, note: &str);
    /// Ends the running step and begins this one.
    fn step(&self, name: &str);
    /// A line of the driver's log.
    fn log(&self, level: &str, line: &str);
}

/// The logs of tasks.
pub trait TaskLogs: Send + Sync + 'static {
    /// The task was taken up; its log begins.
    fn begin(&self, task: TaskId) -> Arc<dyn TaskLog>;
}

/// The log of one task. Nothing here waits, whatever becomes of what is said: it is taken, or counted as lost.
pub trait TaskLog: Send + Sync + 'static {
    /// One line.
    fn say(&self, at: Timestamp, said: Said<'_>);
    /// The task has ended: nothing more is said.
    fn close(&self);
}

/// What goes into the log of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'a> {
    /// The driver's line.
    Line {
        /// error, warn, info or debug.
        level: &'a str,
        /// What it said.
        line: &'a str,
    },
    /// This step begins.
    Step(&'a str),
    /// How far it is, with another note than before.
    Progress {
        /// Of 100.
        percent: u8,
        /// For people.
        note: &'a str,
    },
    /// It failed, for this reason.
    Failed(&'a str),
    /// It was cancelled.
    Cancelled,
    /// It is done.
    Done,
}

/// Keeps no logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoLogs;

impl TaskLogs for NoLogs {
    fn begin(&self, _task: TaskId) -> Arc<dyn TaskLog> {
        Arc::new(Self)
    }
}

impl TaskLog for NoLogs {
    fn say(&self, _at: Timestamp, _said: Said<'_>) {}

    fn close(&self) {}
}

/// Inspectors: what an inventory says of a board. Pure: the same versions answer the same question the same way.
pub trait Inspectors: Send + Sync + 'static {
    /// Names, in the order in which they are asked.
    fn names(&self) -> Vec<String>;
    /// Has every inspector bring the inventory (JSON text) into form, then every one conclude from it. All of them
    /// normalize even where some fail; each failure names its inspector. When `cancel` fires, the instances are destroyed.
    fn inspect(
        &self,
        raw: Arc<str>,
        worker: View,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Inspected, Vec<Blame>>>;
    /// Asks in order who the unknown board is that sent this inventory; the first that knows decides.
    fn unknown(
        &self,
        raw: Arc<str>,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Option<Enrolment>, Vec<Blame>>>;
}

/// No inspector at all: an inventory stays as it came, and rules alone conclude from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoInspectors;

impl Inspectors for NoInspectors {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn inspect(
        &self,
        raw: Arc<str>,
        _worker: View,
        _cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Inspected, Vec<Blame>>> {
        ready(Ok(Inspected { inventory: raw, changes: Vec::new(), by: Vec::new() })).boxed()
    }

    fn unknown(
        &self,
        _raw: Arc<str>,
        _cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Option<Enrolment>, Vec<Blame>>> {
        ready(Ok(None)).boxed()
    }
}

/// What inspectors made of an inventory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// In the common form: JSON text.
    pub inventory: Arc<str>,
    /// (inspector, conclusion), in order.
    pub changes: Vec<(String, Change)>,
    /// Every inspector that was at work on it, and its version.
    pub by: Vec<(String, Digest)>,
}

/// Who an unknown board is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolment {
    /// The inspector that says so.
    pub inspector: String,
    /// Identity.
    pub worker: WorkerId,
    /// As if the board had registered.
    pub registration: Registration,
}

/// An inspector that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blame {
    /// Which.
    pub inspector: String,
    /// Its version, where one was at work.
    pub version: Option<Digest>,
    /// Why.
    pub reason: String,
}

/// One call to a driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Is the board well?
    Check,
    /// Clean, ready, nobody authorized.
    Prepare,
    /// Let exactly these keys in.
    Authorize {
        /// Account wished for; empty = the driver's own.
        user: String,
        /// authorized_keys lines.
        keys: Vec<String>,
    },
    /// Let nobody in, end their sessions.
    Revoke,
    /// Show that the admin has it.
    Maintain {
        /// Why.
        message: String,
    },
    /// Leave nothing half done; after a cancel or a trap, in a fresh instance.
    Cleanup,
    /// Read what the board is made of.
    Inventory,
    /// Switch the board's power.
    Power(Power),
}

/// What to do with a board's power.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Power {
    /// Off.
    Off,
    /// Off and on: it starts anew.
    Cycle,
}

/// What a driver can beyond what every driver can.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Abilities {
    /// Switch the board's power.
    pub power: bool,
    /// Read what the board is made of.
    pub introspect: bool,
}

/// What a call found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// Check.
    Health(HealthReport),
    /// Prepare, authorize.
    Access(Access),
    /// Inventory: JSON text.
    Inventory(Arc<str>),
}

/// What a driver says of a board's health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthReport {
    /// Whether it is well.
    pub ok: bool,
    /// Remark.
    pub note: String,
    /// Measured values.
    pub readings: BTreeMap<String, String>,
}

impl HealthReport {
    /// As kept with the worker.
    pub fn at(self, now: Timestamp) -> Health {
        Health { ok: self.ok, checked_at: Some(now), note: self.note }
    }
}

/// A driver at work on one worker.
pub trait Driver: Send {
    /// One call. When `cancel` fires, or `deadline` (from the beginning of the call) passes, the instance is destroyed
    /// whatever it is doing; the future resolves only after that.
    fn call<'a>(
        &'a mut self,
        call: Call,
        deadline: Duration,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Reply, CallError>>;
}

/// Why a call has no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// It was cancelled.
    Cancelled,
    /// It failed. When `plugin_died`, the instance is gone, and clean-up is called for.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether the plugin itself broke (trap, limit, deadline).
        plugin_died: bool,
    },
}

/// Session keys.
pub trait Keys: Send + Sync + 'static {
    /// A pair that nobody else ever got.
    fn take(&self) -> BoxFuture<'static, Result<KeyPair, String>>;
}

/// A generated session key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// PKCS#1 PEM.
    pub private_pem: String,
    /// authorized_keys line.
    pub public_line: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("public_line", &self.public_line).finish_non_exhaustive()
    }
}

/// Tunnels from users to boards.
pub trait Tunnels: Send + Sync + 'static {
    /// Takes a port for the tunnel of a job that is about to be opened, or says what is short. It is given back by
    /// [`Self::close`].
    fn claim(&self, job: RequestId) -> BoxFuture<'static, Result<(), String>>;
    /// Opens the tunnel of a job: on the port that it `had` and on no other, or else on the one that was claimed, or else on
    /// any that no job has or had and could not get again. The port it has. One that is open to the same target stays as
    /// it is.
    fn open(
        &self,
        job: RequestId,
        target: (String, u16),
        had: Option<u16>,
    ) -> BoxFuture<'static, Result<u16, String>>;
    /// Whether somebody takes a connection there, within a few seconds.
    fn reach(&self, target: (String, u16)) -> BoxFuture<'static, bool>;
    /// How many bytes the tunnel of a job has carried since it was opened, both ways; 0 when there is none.
    fn carried(&self, job: RequestId) -> u64;
    /// Closes it with every connection through it. Nothing happens when there is none. From the first poll on, an
    /// `open` of the same job is a later one.
    fn close(&self, job: RequestId) -> BoxFuture<'static, ()>;
}

/// Policies: who gets which board.
pub trait Policies: Send + Sync + 'static {
    /// The active policy's name, for events and reasons: also of one that cannot be opened. Empty: there is none, and
    /// none is opened. Asked anew for every session, and whenever the controller is told that the policy changed.
    fn name(&self) -> String;
    /// The version that [`Self::open`] would open, where it is known: asked just before.
    fn version(&self) -> Option<Digest>;
    /// Opens a session of the active policy; its state begins empty.
    fn open(&self) -> BoxFuture<'static, Result<Box<dyn Policy>, String>>;
}

/// A session with a policy.
pub trait Policy: Send {
    /// Capability keys that the policy matches itself.
    fn own_keys(&self) -> Vec<String>;
    /// Most candidates a set may hold; 0 = all.
    fn max_candidates(&self) -> usize;
    /// Tells what changed and asks for a plan. After an error the session is over.
    fn plan(&mut self, ask: Ask) -> BoxFuture<'_, Result<Plan, String>>;
}

/// What a policy is asked in one round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Now.
    pub now: Timestamp,
    /// What changed since the last round.
    pub changes: Vec<PolicyChange>,
    /// Sets of dense worker numbers.
    pub candidate_sets: Vec<Vec<u32>>,
    /// (request, index of its candidate set), in queue order.
    pub demands: Vec<(RequestId, u32)>,
}

/// What a policy is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyChange {
    /// A worker is new or looks different.
    WorkerPut(u32, Arc<Worker>),
    /// A worker is gone.
    WorkerGone(u32),
    /// A request is about to be demanded for.
    RequestPut(Arc<Request>),
    /// A request no longer waits nor runs.
    RequestGone(RequestId),
    /// The core took this assignment.
    Started(Assignment),
    /// The occupation by this assignment is over.
    Finished(Assignment),
}

/// A policy's answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Who gets what.
    pub assignments: Vec<Assignment>,
    /// Who waits, and why.
    pub waits: Vec<Wait>,
    /// When the policy wants to be asked again.
    pub wake_at: Option<Timestamp>,
}

/// One request gets one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Request.
    pub request: RequestId,
    /// Dense worker number.
    pub worker: u32,
    /// Higher is better; for people.
    pub score: i64,
    /// For people.
    pub reason: String,
}

/// One request waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Request.
    pub request: RequestId,
    /// For people.
    pub reason: String,
    /// Until when it surely waits.
    pub until: Option<Timestamp>,
}
