//! Taking up a farm from its rows: at the start, and after the store refused.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use grove_domain::change::Loaded;
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, TaskId};
use grove_domain::matching::Matcher;
use grove_domain::moment::after;
use grove_domain::request::{Event, JobAccess, Request, State};
use grove_domain::task::Task;
use grove_domain::worker::{self, Worker};
use tokio::sync::mpsc;

use super::events::CORE;
use super::{Dispatcher, STORE_RETRY, TICK, Turn};
use crate::command::Command;
use crate::farm::Farm;
use crate::matching::told::Told;
use crate::ports::{Assignment, Store};
use crate::refusal::Refused;
use crate::timers::{Due, Timers};

impl Dispatcher {
    /// Makes everything in memory from rows, and starts what they call for.
    pub(super) async fn take_up(&mut self, loaded: Loaded) {
        self.turn = Turn::default();
        self.turn.batch.epoch = loaded.epoch;
        self.next_request = loaded.last_request + 1;
        self.next_place = loaded.last_place + 1;
        self.next_event = loaded.last_event + 1;
        self.farm = Farm::default();
        self.matcher = Matcher::new();
        self.timers = Timers::default();
        self.ended.clear();
        // Being taken up again counts as a sign of life.
        self.heartbeats.clear();
        self.policy.told = Told::default();
        self.policy.open = false;
        self.policy.round = None;
        self.policy.wake_at = None;
        self.policy.waits.clear();
        if let Some(info) = &self.policy.info {
            self.matcher.set_own_keys(info.own_keys.iter().cloned().collect());
        }
        self.ask_for_policy();
        for version in loaded.plugin_versions {
            self.farm.put_version(Arc::new(version));
        }
        for plugin in loaded.plugins {
            self.index_plugin(None, &Arc::new(plugin));
        }
        for worker in loaded.workers {
            let worker = Arc::new(worker);
            self.index_worker(None, &worker);
            self.recall_assignment(&worker);
        }
        for request in loaded.requests {
            self.index_request(None, &Arc::new(request));
        }
        self.ended.make_contiguous().sort_unstable();
        for task in loaded.live_tasks {
            self.farm.put_task(Arc::new(task));
        }
        self.timers.add(after(self.clock.now(), TICK), Due::Tick);
        self.take_up_tasks(loaded.stopped);
        self.take_up_requests().await;
        for result in std::mem::take(&mut self.missed) {
            self.task_ended(result);
        }
    }

    /// The next session with the policy is told of it as if it had made it.
    fn recall_assignment(&mut self, worker: &Worker) {
        if let (Some(occupation), Some(dense)) = (worker.occupation, self.matcher.dense(worker.id)) {
            let reason = "assigned before the controller took up the farm".to_owned();
            let assignment = Assignment { request: occupation.request, worker: dense, score: 0, reason };
            self.policy.told.occupied(worker.id, assignment);
        }
    }

    async fn take_up_requests(&mut self) {
        let live: Vec<Arc<Request>> =
            self.farm.requests().iter().filter(|request| !request.state.is_terminal()).cloned().collect();
        for request in live {
            if request.spec.heartbeat.is_some() {
                self.expect_heartbeat(&request);
            }
            if request.state == State::InProgress {
                self.reopen_tunnel(&request).await;
            }
        }
    }

    /// The same job has the same port; when something else took it, a new one, and an event.
    async fn reopen_tunnel(&mut self, request: &Request) {
        let Some(job) = request.running_job() else { return };
        let target = (job.access.target_host.clone(), job.access.target_port);
        let id = request.id;
        match self.runner.tunnels().open(id, target, Some(job.access.port)).await {
            Ok(port) if port == job.access.port => {}
            Ok(port) => {
                let access = Arc::new(JobAccess { port, ..JobAccess::clone(&job.access) });
                if let Err(refused) = self.apply_request(CORE, id, Event::Moved { access }) {
                    tracing::error!(request = %id, %refused, "a moved tunnel could not be recorded");
                }
            }
            Err(reason) => self.job_without_tunnel(id, &reason),
        }
    }

    fn job_without_tunnel(&mut self, id: RequestId, reason: &str) {
        let note = format!("its tunnel could not be opened again: {reason}");
        self.note(CORE, "job.unreachable", Subject::Request(id), note.clone());
        if let Err(refused) = self.apply_request(CORE, id, Event::Close { reason: Some(note) }) {
            tracing::error!(request = %id, %refused, "a job without tunnel could not be closed");
        }
    }

    /// A task that this process does not run any more is begun again, or forgotten when it was a mere look. After a stop
    /// none has ever run: they begin now.
    fn take_up_tasks(&mut self, stopped: bool) {
        let farm = self.farm.clone();
        self.runner.retain(|task| farm.tasks().contains_key(&task));
        self.live.retain(|task| farm.tasks().contains_key(&task));
        let missed: HashSet<TaskId> = self.missed.iter().map(|result| result.task).collect();
        let mut tasks: Vec<Arc<Task>> = farm.tasks().values().cloned().collect();
        tasks.sort_unstable_by_key(|task| task.id);
        for task in tasks {
            if missed.contains(&task.id) || self.runner.holds(task.spec.worker, task.id) {
                continue;
            }
            match self.worker_of(&task) {
                Some(worker) if stopped => self.launch(task, worker),
                _ => self.begin_again(&task, "the controller started again"),
            }
        }
    }

    /// The worker whose live task this is.
    fn worker_of(&self, task: &Task) -> Option<Arc<Worker>> {
        let worker = self.farm.worker(task.spec.worker)?;
        worker.task.is_some_and(|(live, _)| live == task.id).then(|| worker.clone())
    }

    /// A task was cut off: it is recorded as cancelled, and what its worker calls for is queued.
    pub(super) fn begin_again(&mut self, task: &Task, why: &str) {
        if self.worker_of(task).is_some()
            && let Err(refused) = self.apply_worker(CORE, task.spec.worker, worker::Event::Restarted, None)
        {
            tracing::error!(task = %task.id, %refused, "a task could not be taken up again");
        }
        self.end_cancelled(task.id, why);
    }

    /// A batch did not reach the disk: everything decided since is void. Whoever waits is told so; then the farm is
    /// taken up again from what is stored, as soon as the store answers.
    pub(super) async fn start_over(
        &mut self,
        epoch: u64,
        error: String,
        inbox: &mut mpsc::Receiver<Command>,
    ) -> ControlFlow<Option<Command>> {
        if epoch != self.turn.batch.epoch {
            return ControlFlow::Continue(());
        }
        tracing::error!(%error, "the store refused; reloading");
        self.trouble.store(Arc::new(Some(error.clone())));
        self.refuse_turn(&error);
        while self.in_flight.count() > 0 {
            self.in_flight.changed().await;
        }
        let loading = load(self.store.clone(), self.trouble.clone());
        tokio::pin!(loading);
        let loaded = loop {
            tokio::select! {
                biased;
                loaded = &mut loading => break loaded,
                command = inbox.recv() => match command {
                    None => return ControlFlow::Break(None),
                    Some(stop @ Command::Stop { .. }) => return ControlFlow::Break(Some(stop)),
                    Some(Command::TaskEnded(result)) => self.missed.push(*result),
                    // Callers get a clear answer at once while the store is away.
                    Some(command) => {
                        let why = self.trouble.load().as_ref().clone().unwrap_or_default();
                        command.refuse(&Refused::Unavailable(why));
                    }
                },
            }
        };
        self.take_up(loaded).await;
        self.trouble.store(Arc::new(None));
        self.note(CORE, "farm.reloaded", Subject::Farm, error);
        ControlFlow::Continue(())
    }

    fn refuse_turn(&mut self, error: &str) {
        for answer in std::mem::take(&mut self.turn).answers {
            answer(Err(Refused::Unavailable(error.to_owned())));
        }
    }
}

/// Everything, as soon as the store answers.
async fn load(store: Arc<dyn Store>, trouble: Arc<ArcSwap<Option<String>>>) -> Loaded {
    loop {
        match store.load().await {
            Ok(loaded) => return loaded,
            Err(error) => trouble.store(Arc::new(Some(error.0))),
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}
