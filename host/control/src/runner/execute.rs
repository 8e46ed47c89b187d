//! What each kind of task does, call by call.

use std::collections::BTreeMap;
use std::time::Duration;

use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::plugin::Digest;
use grove_domain::task::{StepKind, StepOutcome, TaskKind};
use grove_domain::worker::{Access, Failure, FailureKind, Worker};
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Found, Lack, Opened, Start, TaskResult, Tools};
use crate::live::LiveTask;
use crate::ports::{Call, CallError, Driver, HealthReport, Reply, Said, Target};

/// Carries out a task. None when it was cancelled.
pub(super) async fn execute(tools: &Tools, start: &Start, cancel: &CancellationToken) -> Option<TaskResult> {
    if cancel.is_cancelled() {
        return None;
    }
    if let Some(reason) = start.refused.clone() {
        return Some(result_of(start, Err(Failure { kind: FailureKind::Shortage, reason }), false));
    }
    let timeout = Duration::try_from(start.task.spec.timeout).unwrap_or_default();
    let watch = tools.live.begin(&start.task);
    let _log = watch.open_log();
    let mut work = Work {
        tools,
        task: start.task.id,
        worker: &start.worker,
        version: start.task.spec.driver_version.as_ref(),
        watch: watch.clone(),
        cancel,
        ends: Instant::now() + timeout,
        driver: None,
        lack: Lack::Driver(start.worker.registration.driver.clone()),
        untouched: true,
    };
    let outcome = work.carry_out(start).await;
    let (failed, plugin_died) = match &outcome {
        Ok(_) => (false, false),
        Err(CallError::Cancelled) => (true, false),
        Err(CallError::Failed { plugin_died, .. }) => (*plugin_died, *plugin_died),
    };
    if failed {
        let before = if plugin_died { StepOutcome::Failed } else { StepOutcome::Cancelled };
        work.clean_up(before).await;
    }
    let outcome = match outcome {
        Ok(found) => {
            watch.say(Said::Done);
            Ok(found)
        }
        Err(CallError::Failed { mut failure, .. }) => {
            watch.say(Said::Failed(&failure.reason));
            // A version that one board is pinned to and that is not to be had is no shortage of the others.
            let pinned = start.worker.driver_version.is_some() && matches!(work.lack, Lack::Driver(_));
            if failure.kind == FailureKind::Shortage && pinned {
                failure.kind = FailureKind::Environment;
            }
            Err(failure)
        }
        Err(CallError::Cancelled) => {
            watch.say(Said::Cancelled);
            return None;
        }
    };
    let Work { lack, untouched, .. } = work;
    Some(TaskResult { lack, untouched, ..result_of(start, outcome, plugin_died) })
}

/// The result of a task whose driver, or what adapts it, broke in a way that nobody foresaw.
pub(super) fn panicked(start: &Start) -> TaskResult {
    let reason = "the driver's side of the controller broke; its log says how".to_owned();
    result_of(start, Err(Failure { kind: FailureKind::Plugin, reason }), true)
}

fn result_of(start: &Start, outcome: Result<Found, Failure>, plugin_died: bool) -> TaskResult {
    let driver = start.worker.registration.driver.clone();
    let lack = Lack::Driver(driver.clone());
    let (task, worker) = (start.task.id, start.worker.id);
    TaskResult { task, worker, driver, outcome, plugin_died, lack, untouched: true }
}

/// One task under way.
pub(super) struct Work<'a> {
    pub(super) tools: &'a Tools,
    pub(super) task: TaskId,
    worker: &'a Worker,
    version: Option<&'a Digest>,
    pub(super) watch: std::sync::Arc<LiveTask>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) ends: Instant,
    pub(super) driver: Option<Box<dyn Driver>>,
    /// What it is about to need.
    lack: Lack,
    /// Nobody was let in yet.
    untouched: bool,
}

impl Work<'_> {
    async fn carry_out(&mut self, start: &Start) -> Result<Found, CallError> {
        match start.task.spec.kind {
            TaskKind::Prepare => {
                if start.task.spec.request.is_some() {
                    self.call(StepKind::Revoke, Call::Revoke).await?;
                }
                if let Some(run) = &start.run {
                    self.introspect_first(run).await?;
                }
                let access = self.call_for_access(StepKind::Prepare, Call::Prepare).await?;
                Ok(Found { access: Some(access), ..Found::default() })
            }
            TaskKind::Maintain => {
                if start.task.spec.request.is_some() {
                    self.call(StepKind::Revoke, Call::Revoke).await?;
                }
                let message = self.worker.notes.clone().unwrap_or_else(|| "in maintenance".to_owned());
                self.call(StepKind::Maintain, Call::Maintain { message }).await?;
                Ok(Found::default())
            }
            TaskKind::Check | TaskKind::Recheck => self.check().await,
            TaskKind::Open => self.open(start).await,
            TaskKind::Introspect => match &start.run {
                Some(run) => self.introspect(run).await.map(|()| Found::default()),
                None => Err(nonsense("introspect without a run")),
            },
            TaskKind::PowerOff => self.switch_off().await.map(|()| Found::default()),
        }
    }

    async fn check(&mut self) -> Result<Found, CallError> {
        let report = match self.call(StepKind::Check, Call::Check).await {
            Ok(Reply::Health(report)) => report,
            Ok(_) => return Err(nonsense("check")),
            // A board that nothing can be asked of is as well as it was when it was prepared.
            Err(CallError::Failed { failure, .. }) if failure.kind == FailureKind::Unsupported => {
                let note = "not looked at: its driver cannot check".to_owned();
                HealthReport { ok: true, note, readings: BTreeMap::new() }
            }
            Err(error) => return Err(error),
        };
        Ok(Found { health: Some(report.at(self.tools.clock.now())), ..Found::default() })
    }

    async fn open(&mut self, start: &Start) -> Result<Found, CallError> {
        let Some(request) = &start.request else { return Err(nonsense("open without a request")) };
        let mut found = Found::default();
        if start.task.has_step(&StepKind::Check) {
            found = self.check().await?;
            if found.health.as_ref().is_some_and(|health| !health.ok) {
                return Ok(found);
            }
        }
        let (private_key, authorized_keys) = if request.spec.keys.is_empty() {
            self.watch.own_step(StepKind::TakeKey, StepOutcome::Success);
            self.lack = Lack::Keys;
            let pair = self.unless_short(self.tools.keys.take()).await?;
            (Some(pair.private_pem), vec![pair.public_line])
        } else {
            (None, request.spec.keys.clone())
        };
        // Before anything is done to the board.
        self.lack = Lack::Tunnels;
        self.claim_tunnel(request.id).await?;
        self.lack = Lack::Driver(self.worker.registration.driver.clone());
        self.untouched = false;
        let user = self.worker.access.as_ref().map(|access| access.user.clone()).unwrap_or_default();
        let call = Call::Authorize { user, keys: authorized_keys.clone() };
        let access = self.call_for_access(StepKind::Authorize, call).await?;
        self.watch.own_step(StepKind::OpenTunnel, StepOutcome::Success);
        let target = (access.host.clone(), access.port);
        self.lack = Lack::Tunnels;
        let door = door(self.tools, self.cancel, self.ends, request.id).await?;
        // Not cancelled halfway: whoever superseded this task must be able to tell whether a tunnel is open.
        let opened = self.tools.tunnels.open(request.id, target, None);
        let port = match tokio::time::timeout_at(self.ends, opened).await {
            Ok(port) => port.map_err(shortage)?,
            Err(_) => {
                self.tools.tunnels.close(request.id).await;
                return Err(shortage("no tunnel was opened in time".to_owned()));
            }
        };
        drop(door);
        let opened =
            Opened { request: request.id, port, access: access.clone(), private_key, authorized_keys };
        Ok(Found { access: Some(access), opened: Some(opened), ..found })
    }

    /// Has a port for the tunnel of this request.
    async fn claim_tunnel(&mut self, request: RequestId) -> Result<(), CallError> {
        let door = door(self.tools, self.cancel, self.ends, request).await?;
        // An earlier attempt on another worker may have left one open.
        self.tools.tunnels.close(request).await;
        let claimed = self.tools.tunnels.claim(request).await;
        drop(door);
        claimed.map_err(shortage)
    }

    /// What the farm has or not, within the task's time.
    async fn unless_short<T>(
        &mut self,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, CallError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(CallError::Cancelled),
            done = tokio::time::timeout_at(self.ends, work) => match done {
                Ok(done) => done.map_err(shortage),
                Err(_) => Err(shortage("there was none within the task's time".to_owned())),
            },
        }
    }

    async fn call_for_access(&mut self, step: StepKind, call: Call) -> Result<Access, CallError> {
        match self.call(step.clone(), call).await? {
            Reply::Access(access) => Ok(access),
            _ => Err(nonsense(&step.to_string())),
        }
    }

    pub(super) async fn call(&mut self, step: StepKind, call: Call) -> Result<Reply, CallError> {
        self.call_until(step, call, self.cancel.clone()).await
    }

    /// The same, to be ended by `cancel`.
    pub(super) async fn call_until(
        &mut self,
        step: StepKind,
        call: Call,
        cancel: CancellationToken,
    ) -> Result<Reply, CallError> {
        self.watch.own_step(step.clone(), StepOutcome::Success);
        let left = self.ends.saturating_duration_since(Instant::now());
        if self.driver.is_none() {
            self.driver = Some(start_driver(self.tools, self.worker, self.version, self.watch.clone())?);
        }
        match &mut self.driver {
            Some(driver) => driver.call(call, left, cancel).await,
            None => Err(nonsense(&step.to_string())),
        }
    }

    /// A fresh instance leaves nothing half done. Its own failure only shows in the log: the task has failed already.
    pub(super) async fn clean_up(&mut self, before: StepOutcome) {
        self.driver = None;
        self.watch.own_step(StepKind::CleanUp, before);
        let deadline = self.tools.settings.timeouts.cleanup;
        let result = match start_driver(self.tools, self.worker, self.version, self.watch.clone()) {
            Ok(mut driver) => driver.call(Call::Cleanup, deadline, CancellationToken::new()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(worker = %self.worker.id, ?error, "clean-up failed");
        }
    }
}

/// One of a request at a time, and none that was superseded: else a driver that does not hear that it was cancelled would take
/// away the tunnel to the worker that its request has by now, and give one to its own.
async fn door<'a>(
    tools: &'a Tools,
    cancel: &CancellationToken,
    ends: Instant,
    request: RequestId,
) -> Result<MutexGuard<'a, ()>, CallError> {
    let door = until_cancelled(cancel, ends, tools.doors.of(request).lock()).await?;
    if cancel.is_cancelled() { Err(CallError::Cancelled) } else { Ok(door) }
}

pub(super) async fn until_cancelled<T>(
    cancel: &CancellationToken,
    ends: Instant,
    work: impl Future<Output = T>,
) -> Result<T, CallError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CallError::Cancelled),
        done = tokio::time::timeout_at(ends, work) => done.map_err(|_| times_up()),
    }
}

fn times_up() -> CallError {
    environment("the task's time was up".to_owned())
}

fn start_driver(
    tools: &Tools,
    worker: &Worker,
    version: Option<&Digest>,
    watch: std::sync::Arc<LiveTask>,
) -> Result<Box<dyn Driver>, CallError> {
    tools
        .drivers
        .start(&worker.registration.driver, version, target_of(worker.id, worker), watch)
        .map_err(|failure| CallError::Failed { failure, plugin_died: false })
}

fn target_of(id: WorkerId, worker: &Worker) -> Target {
    Target {
        worker: id,
        capabilities: worker.capabilities.effective().clone(),
        config: worker.registration.driver_config.clone(),
    }
}

fn shortage(reason: String) -> CallError {
    let failure = Failure { kind: FailureKind::Shortage, reason };
    CallError::Failed { failure, plugin_died: false }
}

pub(super) fn environment(reason: String) -> CallError {
    let failure = Failure { kind: FailureKind::Environment, reason };
    CallError::Failed { failure, plugin_died: false }
}

/// A reply of the wrong kind: an adapter's mistake, reported rather than trusted.
pub(super) fn nonsense(what: &str) -> CallError {
    let reason = format!("{what}: the driver answered something else than was asked");
    let failure = Failure { kind: FailureKind::Plugin, reason };
    CallError::Failed { failure, plugin_died: false }
}
