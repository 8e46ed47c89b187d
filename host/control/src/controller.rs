//! The controller as its callers see it.

mod introspections;

pub use introspections::Begin;

use std::sync::Arc;

use arc_swap::ArcSwap;
use grove_domain::event::{Event, Subject};
use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::instance::Instance;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode, RunningJobs};
use grove_domain::moment::{Moment, SignedDuration};
use grove_domain::plugin::{self, Digest, Plugin, PluginVersion};
use grove_domain::request::{self, Request};
use grove_domain::task::Task;
use grove_domain::worker::{self, Edit, Worker};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::command::{Command, Moved, Reply};
use crate::farm::Farm;
use crate::feed::{Feed, Watcher};
use crate::live::LiveTasks;
use crate::matching::why::Reason;
use crate::ports::{Drivers, EventQuery, Store, TaskQuery};
use crate::refusal::Refused;
use crate::registering::Registering;
use crate::settings::Settings;
use crate::warning::Warning;

/// What a decision answers.
pub type Answer<T> = Result<T, Refused>;

/// Handle to a running controller; cheap to clone. Reads come from the last committed snapshot; writes answer after
/// their commit.
#[derive(Clone)]
pub struct Controller {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) view: Arc<ArcSwap<Farm>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) drivers: Arc<dyn Drivers>,
    pub(crate) live: Arc<LiveTasks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) trouble: Arc<ArcSwap<Option<String>>>,
    /// Why it ended by itself.
    pub(crate) ended: watch::Receiver<Option<String>>,
    pub(crate) instance: Instance,
}

/// Whether a registration made the worker, or met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    /// It is new.
    Yes,
    /// It existed.
    No,
}

/// Where an admin wants a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// IDLE; with `force` also from FAILED.
    Idle {
        /// Also from FAILED.
        force: bool,
    },
    /// MAINTENANCE.
    Maintenance {
        /// Run the task again where the worker is there already, or on its way.
        rerun: bool,
        /// End a job that runs on it.
        interrupt: bool,
    },
    /// MAINTENANCE, as soon as no job runs on it.
    MaintenanceWhenFree,
}

impl Controller {
    /// The farm as last committed.
    pub fn farm(&self) -> Arc<Farm> {
        self.inner.view.load_full()
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Which start of a controller this is.
    pub fn instance(&self) -> Instance {
        self.inner.instance
    }

    /// Live events.
    pub fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// Begins to wait for a change of `subject`; see [`Feed::watch`].
    pub fn watch(&self, subject: Subject) -> Watcher {
        self.inner.feed.watch(subject)
    }

    /// Why the farm cannot take writes now; none = it can.
    pub fn trouble(&self) -> Option<String> {
        self.inner.trouble.load().as_ref().clone()
    }

    /// How many tasks run at this moment.
    pub fn running_tasks(&self) -> usize {
        self.inner.live.count()
    }

    /// A board registers, or registers again. `edit` holds what of the admin's part the registration names: it is
    /// applied as an edit, without a change of state.
    pub async fn register(
        &self,
        actor: &str,
        worker: WorkerId,
        registration: impl Into<Registering>,
        edit: Edit,
        expected: Option<u64>,
    ) -> Answer<(Arc<Worker>, Created)> {
        let registration = registration.into();
        let (farm, drivers) = (self.farm(), &self.inner.drivers);
        let plugin = farm.plugin(&registration.driver);
        if plugin.is_some_and(|plugin| !plugin.enabled) {
            return Err(Refused::DriverDisabled(registration.driver));
        }
        let known = drivers.names();
        if !known.contains(&registration.driver) {
            return Err(Refused::UnknownDriver { name: registration.driver, known });
        }
        let before = farm.worker(worker).filter(|worker| worker.registration.driver == registration.driver);
        let pin = edit.driver_version.unwrap_or_else(|| before.and_then(|worker| worker.driver_version));
        let version = pin.or_else(|| plugin?.in_use());
        drivers
            .validate(&registration.driver, version.as_ref(), &registration.driver_config)
            .await
            .map_err(Refused::DriverConfig)?;
        let actor = actor.into();
        let (worker, created) = self
            .ask(|reply| Command::Register { actor, worker, registration, edit, expected, reply })
            .await?;
        Ok((worker, if created { Created::Yes } else { Created::No }))
    }

    /// The admin edits a worker; no state changes.
    pub async fn edit_worker(
        &self,
        actor: &str,
        worker: WorkerId,
        edit: Edit,
        expected: Option<u64>,
    ) -> Answer<Arc<Worker>> {
        let actor = actor.into();
        self.ask(|reply| Command::EditWorker { actor, worker, edit, expected, reply }).await
    }

    /// The admin wants a worker elsewhere. An answer means accepted: the worker may still be on its way.
    pub async fn move_worker(
        &self,
        actor: &str,
        worker: WorkerId,
        want: Want,
        expected: Option<u64>,
    ) -> Answer<Arc<Worker>> {
        let event = match want {
            Want::Idle { force } => worker::Event::WantIdle { force },
            Want::Maintenance { rerun, interrupt } => worker::Event::WantMaintenance { rerun, interrupt },
            Want::MaintenanceWhenFree => worker::Event::Drain,
        };
        self.worker_event(actor, worker, event, expected).await
    }

    /// Somebody reports that a worker is broken; with `stays`, until its admin says otherwise.
    pub async fn report_failure(
        &self,
        actor: &str,
        worker: WorkerId,
        reason: String,
        stays: bool,
        expected: Option<u64>,
    ) -> Answer<Arc<Worker>> {
        self.worker_event(actor, worker, worker::Event::ReportFailure { reason, stays }, expected).await
    }

    /// A worker leaves the farm. The answer is the worker as it was.
    pub async fn deregister(
        &self,
        actor: &str,
        worker: WorkerId,
        force: bool,
        expected: Option<u64>,
    ) -> Answer<Arc<Worker>> {
        self.worker_event(actor, worker, worker::Event::Deregister { force }, expected).await
    }

    async fn worker_event(
        &self,
        actor: &str,
        worker: WorkerId,
        event: worker::Event,
        expected: Option<u64>,
    ) -> Answer<Arc<Worker>> {
        let actor = actor.into();
        self.ask(|reply| Command::MoveWorker { actor, worker, event, expected, reply }).await
    }

    /// A user asks for a worker.
    pub async fn create_request(&self, actor: &str, wish: request::Create) -> Answer<Arc<Request>> {
        self.create_request_once(actor, wish).await.map(|(request, _)| request)
    }

    /// The same, and whether it was made now: a wish whose key its owner used before is the request that was made then,
    /// for as long as that is kept.
    pub async fn create_request_once(
        &self,
        actor: &str,
        wish: request::Create,
    ) -> Answer<(Arc<Request>, Created)> {
        let actor = actor.into();
        let (request, new) =
            self.ask(|reply| Command::CreateRequest { actor, wish: Box::new(wish), reply }).await?;
        Ok((request, if new { Created::Yes } else { Created::No }))
    }

    /// The owner changes a waiting request; none = unchanged.
    pub async fn update_request(
        &self,
        actor: &str,
        request: RequestId,
        priority: Option<u8>,
        valid_after: Option<Moment>,
        deadline: Option<Moment>,
        expected: Option<u64>,
    ) -> Answer<Arc<Request>> {
        let event = request::Event::Update { priority, valid_after, deadline };
        self.request_event(actor, request, event, expected).await
    }

    /// The owner is done: WAITING -> CANCELLED, IN PROGRESS -> DONE.
    pub async fn close_request(
        &self,
        actor: &str,
        request: RequestId,
        reason: Option<String>,
        expected: Option<u64>,
    ) -> Answer<Arc<Request>> {
        self.request_event(actor, request, request::Event::Close { reason }, expected).await
    }

    async fn request_event(
        &self,
        actor: &str,
        request: RequestId,
        event: request::Event,
        expected: Option<u64>,
    ) -> Answer<Arc<Request>> {
        let actor = actor.into();
        self.ask(|reply| Command::MoveRequest { actor, request, event, expected, reply }).await
    }

    /// The job shall run for `length` from now (none: as long as was asked for, else the farm's default). Refused when it
    /// would end earlier by that, unless it is to be made shorter.
    pub async fn prolong(
        &self,
        actor: &str,
        request: RequestId,
        length: Option<SignedDuration>,
        shorten: bool,
        expected: Option<u64>,
    ) -> Answer<Arc<Request>> {
        let actor = actor.into();
        self.ask(|reply| Command::Prolong { actor, request, length, shorten, expected, reply }).await
    }

    /// The running job outlives its client: heartbeats are no longer needed.
    pub async fn keep_job(
        &self,
        actor: &str,
        request: RequestId,
        expected: Option<u64>,
    ) -> Answer<Arc<Request>> {
        self.request_event(actor, request, request::Event::Keep, expected).await
    }

    /// The client of a request is still there, and `busy` when something that it started still runs. What its user should
    /// know. Refused when the request has ended.
    pub async fn heartbeat(&self, request: RequestId, busy: bool) -> Answer<(Arc<Request>, Vec<Warning>)> {
        self.ask(|reply| Command::Heartbeat { request, busy, reply }).await
    }

    /// Stops a live task; to its worker that is a failure of the task.
    pub async fn cancel_task(&self, actor: &str, task: TaskId) -> Answer<()> {
        let actor = actor.into();
        self.ask(|reply| Command::CancelTask { actor, task, reply }).await
    }

    /// Why a request waits (or ended as it did).
    pub async fn why(&self, request: RequestId) -> Answer<Vec<Reason>> {
        self.ask(|reply| Command::Why { request, reply }).await
    }

    /// A version of a plugin is there; `activate` uses it: a new name is enabled with it, a known one is given it, and
    /// stays disabled where it was. Its component must have been seen at work. One that is installed already stays as
    /// it was. `expected` is the revision of the plugin that the caller saw.
    pub async fn install_plugin(
        &self,
        actor: &str,
        version: PluginVersion,
        activate: bool,
        expected: Option<u64>,
    ) -> Answer<(Arc<Plugin>, Arc<PluginVersion>)> {
        let name = version.name.clone();
        let version = Arc::new(version);
        let event = plugin::Event::Install { version: version.clone(), activate };
        let (plugin, kept) = self.move_plugin(actor, name, event, expected).await?;
        Ok((plugin, kept.unwrap_or(version)))
    }

    /// Another installed version is used from the next task or round on; those under way end on the one that they began
    /// on. Its component must have been seen at work.
    pub async fn swap_plugin(
        &self,
        actor: &str,
        name: &str,
        to: Digest,
        expected: Option<u64>,
    ) -> Answer<Arc<Plugin>> {
        let swap = plugin::Event::Swap { to };
        self.move_plugin(actor, name.to_owned(), swap, expected).await.map(|(plugin, _)| plugin)
    }

    /// The plugin is used. Enabling a policy disables the one before. Its component must have been seen at work.
    pub async fn enable_plugin(&self, actor: &str, name: &str, expected: Option<u64>) -> Answer<Arc<Plugin>> {
        let enable = plugin::Event::Enable;
        self.move_plugin(actor, name.to_owned(), enable, expected).await.map(|(plugin, _)| plugin)
    }

    /// Nothing of the plugin runs for new tasks or rounds.
    pub async fn disable_plugin(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> Answer<Arc<Plugin>> {
        let disable = plugin::Event::Disable;
        self.move_plugin(actor, name.to_owned(), disable, expected).await.map(|(plugin, _)| plugin)
    }

    /// A version that is not used goes; with the last one the plugin. The answer is the version as it was.
    pub async fn remove_plugin_version(
        &self,
        actor: &str,
        name: &str,
        digest: Digest,
        expected: Option<u64>,
    ) -> Answer<Arc<PluginVersion>> {
        let event = plugin::Event::Remove { digest };
        let (plugin, version) = self.move_plugin(actor, name.to_owned(), event, expected).await?;
        version.ok_or(Refused::NoSuchVersion { plugin: plugin.name.clone(), digest })
    }

    /// The component of a version cannot be loaded: on probation it goes back to the version before. Refused as stale
    /// when that version is not the active one.
    pub async fn plugin_load_failed(
        &self,
        name: &str,
        digest: Digest,
        reason: String,
    ) -> Answer<Arc<Plugin>> {
        let event = plugin::Event::LoadFailed { digest, reason };
        self.move_plugin("core", name.to_owned(), event, None).await.map(|(plugin, _)| plugin)
    }

    /// A component was not taken in, and everything stays as it was: told in an event.
    pub async fn plugin_refused(&self, actor: &str, name: &str, reason: String) -> Answer<()> {
        let (actor, name) = (actor.into(), name.to_owned());
        self.ask(|reply| Command::PluginRefused { actor, name, reason, reply }).await
    }

    async fn move_plugin(
        &self,
        actor: &str,
        name: String,
        event: plugin::Event,
        expected: Option<u64>,
    ) -> Answer<Moved> {
        let actor = actor.into();
        self.ask(|reply| Command::MovePlugin { actor, name, event, expected, reply }).await
    }

    /// At most so many tasks run in this scope from now on: none = any number, 0 = nothing starts. What runs is left to
    /// its end. `expected` is the revision that the caller saw; 0 = never set.
    pub async fn set_limit(
        &self,
        actor: &str,
        scope: Scope,
        value: Option<u32>,
        expected: Option<u64>,
    ) -> Answer<Arc<Limit>> {
        let actor = actor.into();
        self.ask(|reply| Command::SetLimit { actor, scope, value, expected, reply }).await
    }

    /// Limits that were ever set, by scope.
    pub fn limits(&self) -> Vec<Arc<Limit>> {
        self.farm().limits().values().cloned().collect()
    }

    /// The farm's mode becomes this; `running` says what becomes of jobs when that is maintenance. Asked again, it may
    /// still cut what was left to its end.
    pub async fn set_mode(
        &self,
        actor: &str,
        mode: Mode,
        running: RunningJobs,
        expected: Option<u64>,
    ) -> Answer<Arc<FarmMode>> {
        let actor = actor.into();
        self.ask(|reply| Command::SetMode { actor, mode, running, expected, reply }).await
    }

    /// One task, live or kept.
    pub async fn task(&self, id: TaskId) -> Answer<Task> {
        if let Some(task) = self.farm().tasks().get(&id) {
            return Ok(self.inner.live.overlay(task));
        }
        let kept = self.inner.store.task(id).await.map_err(|error| Refused::Unavailable(error.0))?;
        kept.map(|task| self.inner.live.overlay(&task)).ok_or(Refused::NoSuchTask)
    }

    /// A page of tasks, live and kept, newest first.
    pub async fn tasks(&self, query: TaskQuery) -> Answer<Vec<Task>> {
        let kept = self.inner.store.tasks(query).await.map_err(|error| Refused::Unavailable(error.0))?;
        Ok(kept.iter().map(|task| self.inner.live.overlay(task)).collect())
    }

    /// Kept events after a place in the sequence, oldest first.
    pub async fn events(&self, query: EventQuery) -> Answer<Vec<Event>> {
        self.inner.store.events(query).await.map_err(|error| Refused::Unavailable(error.0))
    }

    /// The active policy is another one now, or there is one or none: the next round asks it in a session of its own.
    pub async fn policy_changed(&self) {
        // A controller that has stopped has no policy to change.
        let _ = self.inner.commands.send(Command::PolicyChanged).await;
    }

    /// Resolves when the controller ended without having been stopped, to the reason: something in it broke. By then
    /// everything of it has ended; whoever asks it is refused. Never resolves otherwise.
    pub fn ended(&self) -> impl Future<Output = String> + Send + 'static {
        let mut ended = self.inner.ended.clone();
        async move {
            let reason = match ended.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone(),
                Err(_) => None,
            };
            match reason {
                Some(reason) => reason,
                None => std::future::pending().await,
            }
        }
    }

    /// Stops deciding, ends running tasks and records them as cancelled, and returns when that is stored. What their
    /// workers call for next is queued for the next start. Jobs and their tunnels are not ended: they are rows, and go
    /// on with the next start.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.inner.commands.send(Command::Stop { done }).await.is_ok() {
            // An error means that it is gone already.
            let _ = stopped.await;
        }
    }

    /// Who leaves before the dispatcher has taken the command into a turn has asked for nothing. Afterwards it is carried
    /// out, and who still waits is told the truth.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        self.inner.commands.send(command(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }
}
