//! Runs tasks: at most one per worker at a time, the newest wins.
//!
//! A newer task cancels the running one at once; it starts when the earlier has really ended. The runner decides
//! nothing: what became of a task goes to the dispatcher, which knows whether it still counts.

mod execute;
mod introspect;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::introspection::Introspection;
use grove_domain::request::Request;
use grove_domain::task::{Task, TaskSpec};
use grove_domain::worker::{Access, Failure, Health, Worker};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::command::Command;
use crate::live::LiveTasks;
use crate::ports::{Drivers, Keys, Tunnels};
use crate::runs::Runs;
use crate::settings::Settings;

/// A task with the rows that it starts from.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) task: Arc<Task>,
    pub(crate) worker: Arc<Worker>,
    /// The request that a job is opened for.
    pub(crate) request: Option<Arc<Request>>,
    /// The introspection that it works for.
    pub(crate) run: Option<Arc<Introspection>>,
    /// Why its driver may not run.
    pub(crate) refused: Option<String>,
}

/// What became of a task.
pub(crate) struct TaskResult {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerId,
    pub(crate) driver: String,
    pub(crate) outcome: Result<Found, Failure>,
    /// The plugin itself broke: worth an event of its own.
    pub(crate) plugin_died: bool,
    /// What the farm is short of, where that is why it failed.
    pub(crate) lack: Lack,
    /// Whether the board is as it was before.
    pub(crate) untouched: bool,
}

/// What tasks need of the farm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Lack {
    /// Ports, and what else it takes to listen on one.
    Tunnels,
    /// Key pairs for users who bring none.
    Keys,
    /// A driver that is there, and has room for one more at work.
    Driver(String),
}

/// What a task found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) access: Option<Access>,
    pub(crate) health: Option<Health>,
    pub(crate) opened: Option<Opened>,
}

/// What opening a job brought about.
pub(crate) struct Opened {
    pub(crate) request: RequestId,
    pub(crate) port: u16,
    pub(crate) access: Access,
    pub(crate) private_key: Option<String>,
    pub(crate) authorized_keys: Vec<String>,
}

/// What the runner works with.
pub(crate) struct Tools {
    pub(crate) drivers: Arc<dyn Drivers>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) tunnels: Arc<dyn Tunnels>,
    pub(crate) doors: Doors,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<LiveTasks>,
    pub(crate) runs: Runs,
    pub(crate) settings: Arc<Settings>,
}

/// Lets one task at a time open the tunnel of a request. A few requests share a lock, which costs them little.
pub(crate) struct Doors([tokio::sync::Mutex<()>; Self::LOCKS]);

impl Doors {
    const LOCKS: usize = 64;

    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| tokio::sync::Mutex::default()))
    }

    fn of(&self, request: RequestId) -> &tokio::sync::Mutex<()> {
        let lock = request.0 % Self::LOCKS as u64;
        #[expect(clippy::indexing_slicing, reason = "a remainder of their number")]
        &self.0[lock as usize]
    }
}

/// The runner; cheap to clone.
#[derive(Clone)]
pub(crate) struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    tools: Tools,
    /// Weak: whether the dispatcher lives on is for those to say who ask something of it.
    results: mpsc::WeakSender<Command>,
    slots: Mutex<HashMap<WorkerId, Slot>>,
    running: TaskTracker,
    stop: CancellationToken,
}

/// One worker's place for a task.
struct Slot {
    running: TaskId,
    spec: Arc<TaskSpec>,
    cancel: CancellationToken,
    /// It has ended, and its result is on its way to the dispatcher.
    reported: bool,
    next: Option<Start>,
}

impl Runner {
    pub(crate) fn new(tools: Tools, results: mpsc::WeakSender<Command>) -> Self {
        let stop = CancellationToken::new();
        let inner = Inner { tools, results, slots: Mutex::default(), running: TaskTracker::new(), stop };
        Self { inner: Arc::new(inner) }
    }

    /// Starts a task; whatever runs on the same worker is cancelled first.
    pub(crate) fn start(&self, start: Start) {
        if self.inner.stop.is_cancelled() {
            return;
        }
        let mut slots = self.inner.slots.lock();
        if let Some(slot) = slots.get_mut(&start.worker.id) {
            if slot.running != start.task.id {
                slot.cancel.cancel();
                slot.next = Some(start);
            }
            return;
        }
        let slot = self.launch(start);
        slots.insert(slot.0, slot.1);
    }

    /// Stops a task, if it is still there.
    pub(crate) fn cancel(&self, worker: WorkerId, task: TaskId) {
        if let Some(slot) = self.inner.slots.lock().get_mut(&worker) {
            if slot.running == task {
                slot.cancel.cancel();
            } else if slot.next.take_if(|next| next.task.id == task).is_some() {
                // It never ran, and nothing of it is left.
                let runner = self.clone();
                tokio::spawn(async move { runner.tell(Command::TaskGone(worker, task)).await });
            }
        }
    }

    /// Stops every task that `keep` does not want kept.
    pub(crate) fn retain(&self, keep: impl Fn(TaskId) -> bool) {
        for slot in self.inner.slots.lock().values_mut() {
            if !keep(slot.running) {
                slot.cancel.cancel();
            }
            slot.next.take_if(|next| !keep(next.task.id));
        }
    }

    /// Tasks that run and have not reported their end.
    pub(crate) fn under_way(&self) -> Vec<(TaskId, Arc<TaskSpec>)> {
        let slots = self.inner.slots.lock();
        let running = slots.values().filter(|slot| !slot.reported);
        running.map(|slot| (slot.running, slot.spec.clone())).collect()
    }

    /// Whether this task runs or is next, so that its result is still to come.
    pub(crate) fn holds(&self, worker: WorkerId, task: TaskId) -> bool {
        self.inner.slots.lock().get(&worker).is_some_and(|slot| {
            let runs = slot.running == task && !slot.reported;
            runs || slot.next.as_ref().is_some_and(|next| next.task.id == task)
        })
    }

    pub(crate) fn tunnels(&self) -> &Arc<dyn Tunnels> {
        &self.inner.tools.tunnels
    }

    /// Cancels everything, and returns when everything has ended.
    pub(crate) async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.running.close();
        self.inner.running.wait().await;
    }

    fn launch(&self, start: Start) -> (WorkerId, Slot) {
        let cancel = self.inner.stop.child_token();
        let (worker, running, spec) = (start.worker.id, start.task.id, start.task.spec.clone());
        let runner = self.clone();
        let token = cancel.clone();
        self.inner.running.spawn(async move {
            let execution = execute::execute(&runner.inner.tools, &start, &token);
            let result = match AssertUnwindSafe(execution).catch_unwind().await {
                Ok(result) => result,
                Err(_) => Some(execute::panicked(&start)),
            };
            match result {
                Some(result) => runner.report(worker, result).await,
                // Who stops everything writes down first what it reported.
                None if runner.inner.stop.is_cancelled() => {}
                None => {
                    runner.inner.tools.live.forget(running);
                    runner.mark_reported(worker);
                    runner.tell(Command::TaskGone(worker, running)).await;
                }
            }
            runner.ended(worker);
        });
        (worker, Slot { running, spec, cancel, reported: false, next: None })
    }

    /// Also the result of a task that was superseded in its last moment: the dispatcher undoes what that left open.
    async fn report(&self, worker: WorkerId, result: TaskResult) {
        self.mark_reported(worker);
        self.tell(Command::TaskEnded(Box::new(result))).await;
    }

    /// From now on what runs there is no longer waited for: whoever asks later is told of it by a command.
    fn mark_reported(&self, worker: WorkerId) {
        if let Some(slot) = self.inner.slots.lock().get_mut(&worker) {
            slot.reported = true;
        }
    }

    async fn tell(&self, command: Command) {
        if let Some(dispatcher) = self.inner.results.upgrade() {
            // It takes nothing any more only when everything stops.
            let _ = dispatcher.send(command).await;
        }
    }

    fn ended(&self, worker: WorkerId) {
        let mut slots = self.inner.slots.lock();
        let next = slots.remove(&worker).and_then(|slot| slot.next);
        if let Some(next) = next
            && !self.inner.stop.is_cancelled()
        {
            let slot = self.launch(next);
            slots.insert(slot.0, slot.1);
        }
    }
}
