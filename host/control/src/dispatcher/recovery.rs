//! Taking up a farm from its rows: at the start, and after the store refused.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use grove_domain::change::{Change, Loaded};
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, TaskId};
use grove_domain::instance::Instance;
use grove_domain::matching::Matcher;
use grove_domain::request::{Event, Job, JobAccess, Request};
use grove_domain::task::{End, Phase, Task};
use grove_domain::worker::{self, Worker};
use tokio::sync::mpsc;

use super::events::CORE;
use super::slots::Slots;
use super::{Dispatcher, STORE_RETRY, TICK, Turn};
use crate::clock::Clock;
use crate::command::Command;
use crate::farm::Farm;
use crate::matching::told::Told;
use crate::ports::{Assignment, Store};
use crate::publisher::Effect;
use crate::refusal::Refused;
use crate::timers::{Due, Timers};

/// How often the port of a running job is asked for when somebody else has it, and the pause between: connections and
/// programs of a moment let go of it.
const OWN_PORT_TRIES: u32 = 5;
const OWN_PORT_PAUSE: Duration = Duration::from_millis(200);

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
        self.shortages.take_up();
        self.ended.clear();
        self.made_once.clear();
        self.heard.clear();
        self.meters.clear();
        self.seen.clear();
        self.policy.told = Told::default();
        self.policy.open = false;
        self.policy.round = None;
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
        self.instances = loaded.instances;
        self.farm.set_mode(Arc::new(loaded.mode));
        self.slots = Slots::default();
        for rule in loaded.rules {
            self.farm.put_rule(Arc::new(rule));
        }
        for run in loaded.introspections {
            self.index_introspection(None, &Arc::new(run));
        }
        for limit in loaded.limits {
            let limit = Arc::new(limit);
            self.slots.put_limit(&limit);
            self.farm.put_limit(limit);
        }
        for task in loaded.live_tasks {
            self.index_task(Arc::new(task), false);
        }
        self.timers.after(self.times(), self.settings.life.heartbeat, Due::Alive);
        self.timers.after(self.times(), TICK, Due::Tick);
        self.take_up_tasks();
        self.take_up_requests().await;
        self.take_up_introspections();
        for result in std::mem::take(&mut self.missed) {
            self.task_ended(result);
        }
        self.start_waiting();
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
        }
        self.reopen_tunnels().await;
    }

    /// Every job has the port that its user knows. All claim their own first, so that none is given to another job; where
    /// somebody else has taken one and does not let go of it, its job gets one that no job had, and an event.
    async fn reopen_tunnels(&mut self) {
        let running = self
            .farm
            .requests()
            .iter()
            .filter_map(|request| Some((request.id, request.running_job()?.clone())));
        let mut waiting: Vec<(RequestId, Arc<Job>)> = running.collect();
        for attempt in 0..OWN_PORT_TRIES {
            if attempt > 0 {
                tokio::time::sleep(OWN_PORT_PAUSE).await;
            }
            let mut taken = Vec::new();
            for (id, job) in waiting {
                let own = Some(job.access.port);
                if self.runner.tunnels().open(id, target(&job), own).await != Ok(job.access.port) {
                    taken.push((id, job));
                }
            }
            waiting = taken;
            if waiting.is_empty() {
                return;
            }
        }
        for (id, job) in waiting {
            match self.runner.tunnels().open(id, target(&job), None).await {
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
    }

    fn job_without_tunnel(&mut self, id: RequestId, reason: &str) {
        let note = format!("its tunnel could not be opened again: {reason}");
        self.note(CORE, "job.unreachable", Subject::Request(id), note.clone());
        if let Err(refused) = self.apply_request(CORE, id, Event::Close { reason: Some(note) }) {
            tracing::error!(request = %id, %refused, "a job without tunnel could not be closed");
        }
    }

    /// A task that waits goes on waiting. One that nobody runs any more is ended, and begun again unless it was a mere
    /// look.
    fn take_up_tasks(&mut self) {
        let farm = self.farm.clone();
        let runs =
            |task: TaskId| farm.tasks().get(&task).is_some_and(|task| task.status.phase == Phase::Running);
        self.runner.retain(runs);
        self.live.retain(runs);
        for (task, spec) in self.runner.under_way() {
            if !runs(task) {
                self.slots.count_winding(task, spec);
            }
        }
        let missed: HashSet<TaskId> = self.missed.iter().map(|result| result.task).collect();
        let mut tasks: Vec<Arc<Task>> = farm.tasks().values().cloned().collect();
        tasks.sort_unstable_by_key(|task| task.id);
        for task in &tasks {
            let running = task.status.phase == Phase::Running;
            if !running && self.worker_of(task).is_some() {
                self.wait(task);
            } else if !running {
                self.end_cancelled(task.id, "its worker has another task");
            } else if task.status.instance == Some(self.instance.id)
                && !missed.contains(&task.id)
                && !self.runner.holds(task.spec.worker, task.id)
            {
                self.begin_again(task, End::Cancelled, "the farm was taken up again");
            }
        }
        self.end_orphans();
    }

    /// Tasks of instances that are no more. Their workers' states call for what is begun again; no request fails.
    fn end_orphans(&mut self) {
        let now = self.clock.now();
        let mut orphans: Vec<(Arc<Task>, End, &str)> = Vec::new();
        for task in self.farm.tasks().values() {
            let other = task.status.instance.filter(|instance| *instance != self.instance.id);
            if task.status.phase != Phase::Running || task.status.instance.is_some() && other.is_none() {
                continue;
            }
            let ran = self.instances.iter().find(|known| Some(known.id) == other);
            let newest = self.instance.incarnation;
            match ran {
                Some(ran) if ran.ended.is_some() => {
                    orphans.push((task.clone(), End::Cancelled, "the controller stopped"));
                }
                Some(ran) if !ran.has_died(newest, now, self.settings.life.silence) => {}
                // One that is no longer remembered died long ago.
                _ => orphans.push((task.clone(), End::Failed, "its instance died")),
            }
        }
        orphans.sort_unstable_by_key(|(task, ..)| task.id);
        for (task, end, why) in orphans {
            self.begin_again(&task, end, why);
        }
    }

    /// Shows that this instance lives, and looks after what others left.
    pub(super) fn alive(&mut self) {
        let now = self.clock.now();
        self.instance.heartbeat = now;
        self.turn.change(Change::PutInstance(Arc::new(self.instance)));
        self.timers.after(self.times(), self.settings.life.heartbeat, Due::Alive);
        self.end_orphans();
    }

    /// The worker whose live task this is.
    pub(super) fn worker_of(&self, task: &Task) -> Option<Arc<Worker>> {
        let worker = self.farm.worker(task.spec.worker)?;
        worker.task.is_some_and(|(live, _)| live == task.id).then(|| worker.clone())
    }

    /// A task was cut off, and nothing of it runs any more: its end is recorded, and what its worker calls for is
    /// queued.
    pub(super) fn begin_again(&mut self, task: &Task, end: End, why: &str) {
        // In this order: two tasks of a worker never run at once, not even between two rows; and what is queued must
        // still see whom the one before worked for.
        let ended = self.write_end(CORE, task, end, Some(why.to_owned()));
        if self.worker_of(task).is_some()
            && let Err(refused) = self.apply_worker(CORE, task.spec.worker, worker::Event::Restarted, None)
        {
            tracing::error!(task = %task.id, %refused, "a task could not be taken up again");
        }
        self.index_task(ended, false);
        self.turn.effect(Effect::Forget(task.id));
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
        let loading = load(self.store.clone(), self.instance, self.clock.clone(), self.trouble.clone());
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
        if let Some(by) = loaded.superseded_by {
            self.superseded = Some(format!(
                "instance {} took over: it is number {}, and this is number {}",
                by.id, by.incarnation, self.instance.incarnation
            ));
            return ControlFlow::Break(None);
        }
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

/// Where the tunnel of a job leads.
fn target(job: &Job) -> (String, u16) {
    (job.access.target_host.clone(), job.access.target_port)
}

/// Everything, as soon as the store answers.
async fn load(
    store: Arc<dyn Store>,
    instance: Instance,
    clock: Arc<dyn Clock>,
    trouble: Arc<ArcSwap<Option<String>>>,
) -> Loaded {
    loop {
        match store.load(Instance { heartbeat: clock.now(), ..instance }).await {
            Ok(loaded) => return loaded,
            Err(error) => trouble.store(Arc::new(Some(error.0))),
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}
